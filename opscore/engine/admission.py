"""Admission: decides who is to do a node, and whether its call may leave now.

It is where the flow's wishes (an agent, a capability, a fallback) meet the fleet and the slots.
"""

from __future__ import annotations

from typing import Callable, Optional, Union

from opscore.domain.flows import Node
from opscore.domain.instants import Seconds, after
from opscore.domain.ports import Clock
from opscore.domain.tasks import OpenTask
from opscore.engine.fleet import Fleet
from opscore.engine.run import Admitted, Held, Run
from opscore.engine.slots import Lane, Slots, Waiter


class Admission:
    """Hands out the slots to runs, and takes them back."""

    def __init__(self, slots: Slots, fleet: Fleet, clock: Clock, time_limit: Callable[[Node], Seconds]) -> None:
        """Take what it works with.

        Args:
            slots: Calls that may be open at once.
            fleet: Who may be given work, and who holds a task.
            clock: Time.
            time_limit: For how long an agent that answers later may hold a node's task.
        """
        self._slots = slots
        self._fleet = fleet
        self._clock = clock
        self._time_limit = time_limit

    def admit(self, run: Run, node: Node) -> Union[Admitted, Held]:
        """Take a slot for a node's call; nodes that only pass data on need none."""
        lane = self._lane(run, node)
        if lane is None:
            return Admitted(None)
        state = run.steps.get(node.id)
        if state is not None and state.task is not None:
            agent_id = state.task.agent_id
            return self._admitted(run, node, agent_id) if self._slots.take_again(agent_id) else Held("slot", agent_id)
        taken = self._slots.take(lane)
        return self._held(lane) if taken is None else self._admitted(run, node, taken)

    def wait(self, run: Run, node: Node, grant: Callable[[Admitted], object]) -> Waiter:
        """Wait for a slot; ``grant`` is called once it is taken, perhaps before this returns."""
        lane = self._lane(run, node)
        assert lane is not None, "a node that only passes data on needs no slot"
        return self._slots.wait(lane, run.priority, lambda agent_id: grant(self._admitted(run, node, agent_id)))

    def give_back(self, run: Run, node_id: str) -> None:
        """Return the slot of a call that is not to leave after all."""
        agent_id = run.held.pop(node_id, None)
        if agent_id is not None:
            self.release(agent_id)

    def release(self, agent_id: str) -> None:
        """Return the slot of a call that has come back."""
        self._slots.give_back(agent_id)

    def close(self) -> None:
        """Hand out no more slots."""
        self._slots.close()

    def _lane(self, run: Run, node: Node) -> Optional[Lane]:
        """Who is to do it: an agent, anybody who has a capability, or nobody."""
        state = run.steps.get(node.id)
        if state is not None and state.is_fallback and node.on_error.agent_id is not None:
            return Lane(node.on_error.agent_id)
        if node.agent_id is not None:
            return Lane(node.agent_id)
        if node.capability is not None and (run.agent_id is None or self._fleet.capable(node.capability)):
            return Lane(node.capability, is_capability=True)
        if run.agent_id is not None and run.flow.kind == "workflow":
            return Lane(run.agent_id)
        return None

    def _admitted(self, run: Run, node: Node, agent_id: str) -> Admitted:
        """Note the slot that was taken; an agent that answers later holds the task from now on."""
        run.held[node.id] = agent_id
        if not self._fleet.answers_later(agent_id):
            return Admitted(agent_id)
        until = after(self._clock.now(), self._time_limit(node))
        self._fleet.open(OpenTask(agent_id, run.execution_id, node.id, until))
        return Admitted(agent_id, until)

    def _held(self, lane: Lane) -> Held:
        """Why nobody in a lane is given a call now."""
        if not lane.is_capability:
            detail, until = self._fleet.why_not(lane.name)
            return Held("agent", lane.name, detail, until) if detail else Held("slot", lane.name)
        if not self._fleet.capable(lane.name):
            return Held("agent", None, f'No active agent has the capability "{lane.name}".')
        return Held("agent", None, f'No agent with the capability "{lane.name}" is free.')
