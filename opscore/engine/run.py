"""One open execution: where it stands, and what each thing that happens to it makes of it.

A run decides and remembers; it does not wait, write or call. Its methods return the unit to be written
and the steps whose calls may leave once it is. Memory runs ahead of the store by the units under way: when
one of them is not written, the run is thrown away and made anew from what the store has.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Callable, Iterable, Mapping, Optional, Sequence

import attrs

from opscore.domain import executions as x
from opscore.domain.documents import encode_json
from opscore.domain.flows import Flow, Node
from opscore.domain.instants import SECOND, Instant, after
from opscore.domain.planner import Command, Complete, Progress, Ready
from opscore.domain.ports import Answered, OpenRun, Refused, Reply, TimerHandle
from opscore.engine.slots import Waiter

Admit = Callable[[Node], bool]
"""Takes a slot for a node's call if there is one."""


class StopReason(enum.Enum):
    """Why a run's tasks end before their work does."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SHUTDOWN = "shutdown"
    LOST = "lost"
    """Memory and store disagree; the store is right."""


class StepState:
    """What a run remembers of a step that has begun and not ended."""

    __slots__ = ("attempt", "failures", "first_at", "timer", "waiter")

    def __init__(self, attempt: int = 0, failures: int = 0, first_at: Optional[Instant] = None) -> None:
        self.attempt = attempt
        self.failures = failures
        self.first_at = first_at
        self.timer: Optional[TimerHandle] = None
        self.waiter: Optional[Waiter] = None


@attrs.frozen
class Hop:
    """What to write, and what may happen once it is written."""

    unit: Optional[x.Unit]
    calls: Sequence[str] = ()
    """Nodes whose calls may leave; each holds a slot."""
    slots: Sequence[str] = ()
    """Nodes that wait for a slot."""
    timers: Mapping[str, Instant] = attrs.field(factory=dict, hash=False)
    """Nodes that are to be tried again at an instant."""
    ends: bool = False
    """Whether the execution has ended with this."""


class Run:
    """An execution in the engine's care."""

    __slots__ = (
        "begun",
        "deadline",
        "deadline_at",
        "execution_id",
        "flow",
        "priority",
        "progress",
        "seq",
        "started_at",
        "steps",
        "stop",
        "tasks",
    )

    def __init__(
        self, execution_id: str, flow: Flow, priority: int, deadline_at: Optional[Instant], seq: int = 0
    ) -> None:
        self.execution_id = execution_id
        self.flow = flow
        self.priority = priority
        self.deadline_at = deadline_at
        self.seq = seq
        self.started_at: Optional[Instant] = None
        self.progress = Progress(flow)
        self.steps: dict[str, StepState] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.begun: set[asyncio.Task[None]] = set()
        """Those of the tasks that have run a line: one that has not cannot clean up after a cancellation."""
        self.stop: Optional[StopReason] = None
        self.deadline: Optional[TimerHandle] = None

    # -- beginning -----------------------------------------------------------------------------

    def begin(self, now: Instant, admit: Admit, accepted: Optional[x.Accepted] = None) -> Hop:
        """Start a new or queued execution: its first nodes."""
        self.started_at = now
        changes: list[x.Change] = [x.Started()] if accepted is None else [accepted, x.Started()]
        return self._proceed(changes, self.progress.begin(), now, admit)

    def queue(self, now: Instant, accepted: x.Accepted) -> Hop:
        """Accept an execution that has to wait for its turn."""
        return Hop(self._unit(now, [accepted]))

    @classmethod
    def resume(cls, found: OpenRun, flow: Flow) -> tuple[Run, Sequence[tuple[str, Optional[x.Step]]]]:
        """Make a run from its record.

        Returns:
            The run, and its nodes that have yet to end, each with its step if it has one.
        """
        execution = found.execution
        run = cls(execution.execution_id, flow, execution.priority, execution.deadline_at, execution.last_seq)
        run.started_at = execution.started_at
        steps = {step.node_id: step for step in found.steps}
        run.progress, ready = Progress.resume(flow, {node_id: step.status for node_id, step in steps.items()})
        return run, [(node_id, steps.get(node_id)) for node_id in ready]

    def take_up(self, open_steps: Iterable[tuple[str, Optional[x.Step]]], now: Instant, admit: Admit) -> Hop:
        """Go on after a restart: what was under way is called again with the same key."""
        changes: list[x.Change] = []
        calls: list[str] = []
        slots: list[str] = []
        timers: dict[str, Instant] = {}
        for node_id, step in open_steps:
            if step is not None:
                self.steps[node_id] = StepState(step.attempt, step.failures, step.started_at)
            if step is not None and step.waiting_for == "retry" and (step.waiting_until or 0) > now:
                timers[node_id] = step.waiting_until or now
                continue
            change = self._open(node_id, now, admit, recovered=step is not None and step.status == "running")
            (calls if isinstance(change, x.StepStarted) else slots).append(node_id)
            waits_already = step is not None and step.waiting_for == "slot"
            if isinstance(change, x.StepStarted) or not waits_already:
                changes.append(change)
        return Hop(self._unit(now, changes) if changes else None, calls, slots, timers)

    # -- going on ------------------------------------------------------------------------------

    def settle(self, node_id: str, reply: Reply, now: Instant, chance: float, admit: Admit) -> Hop:
        """Take in what an attempt came to."""
        node = self.flow.nodes[node_id]
        if isinstance(reply, Answered):
            state = self.steps.pop(node_id)
            output = encode_json(reply.output)
            done = x.StepCompleted(node_id, node.agent_id, state.attempt, output)
            return self._proceed([done], self.progress.ended(node_id, completed=True), now, admit)
        return self._failed(node, reply, now, chance)

    def _failed(self, node: Node, refused: Refused, now: Instant, chance: float) -> Hop:
        state = self.steps[node.id]
        state.failures += 1
        delay = node.retry.next_delay(
            failures=state.failures,
            error_code=refused.error_code,
            retryable=refused.retryable,
            elapsed=(now - (state.first_at or now)) / SECOND,
            retry_after=refused.retry_after,
            chance=chance,
        )
        if delay is None:
            return self._give_up(node, refused, now)
        until = after(now, delay)
        waits = self._waits(
            node.id, "retry", until=until, error_code=refused.error_code, error_message=refused.error_message
        )
        return Hop(self._unit(now, [waits]), timers={node.id: until})

    def _give_up(self, node: Node, refused: Refused, now: Instant) -> Hop:
        state = self.steps.pop(node.id)
        failed = x.StepFailed(
            node.id, node.agent_id, state.attempt, state.failures, refused.error_code, refused.error_message
        )
        message = f'Node "{node.id}" failed: {refused.error_message}'
        return self._end([failed], StopReason.FINISHED, "failed", now, refused.error_code, message)

    def retry(self, node_id: str, now: Instant, admit: Admit) -> Hop:
        """A step's waiting time is over."""
        change = self._open(node_id, now, admit)
        unit = self._unit(now, [change])
        return Hop(unit, [node_id]) if isinstance(change, x.StepStarted) else Hop(unit, slots=[node_id])

    def granted(self, node_id: str, now: Instant) -> Hop:
        """A step that waited for a slot has one."""
        return Hop(self._unit(now, [self._starts(node_id, now)]), [node_id])

    def cancel(self, now: Instant, reason: Optional[str]) -> Hop:
        """End it because somebody asked."""
        requested = x.CancelRequested(reason)
        message = f"Cancelled: {reason}" if reason else "Cancelled."
        return self._end([requested], StopReason.CANCELLED, "cancelled", now, "CANCELLED", message)

    def fail(self, now: Instant, reason: StopReason, error_code: str, message: str) -> Hop:
        """End it for a reason that is none of its steps'."""
        return self._end([], reason, "failed", now, error_code, message)

    # -- inside --------------------------------------------------------------------------------

    def _proceed(self, changes: list[x.Change], commands: Sequence[Command], now: Instant, admit: Admit) -> Hop:
        calls: list[str] = []
        slots: list[str] = []
        for command in commands:
            if isinstance(command, Ready):
                change = self._open(command.node_id, now, admit)
                (calls if isinstance(change, x.StepStarted) else slots).append(command.node_id)
                changes.append(change)
            elif isinstance(command, Complete):
                return self._end(changes, StopReason.FINISHED, "completed", now)
            else:
                node = self.flow.nodes[command.node_id]
                changes.append(x.StepSkipped(node.id, node.agent_id, node.is_exit))
        return Hop(self._unit(now, changes), calls, slots)

    def _open(self, node_id: str, now: Instant, admit: Admit, *, recovered: bool = False) -> x.Change:
        if admit(self.flow.nodes[node_id]):
            return self._starts(node_id, now, recovered=recovered)
        return self._waits(node_id, "slot")

    def _starts(self, node_id: str, now: Instant, *, recovered: bool = False) -> x.StepStarted:
        node = self.flow.nodes[node_id]
        state = self.steps.get(node_id)
        is_new = state is None
        if state is None:
            state = self.steps[node_id] = StepState()
        state.attempt += 1
        state.waiter = None
        if state.first_at is None:
            state.first_at = now
        return x.StepStarted(node_id, node.agent_id, state.attempt, is_new, node.is_exit, recovered)

    def _waits(
        self,
        node_id: str,
        reason: x.WaitReason,
        *,
        until: Optional[Instant] = None,
        error_code: Optional[str] = None,
        error_message: Optional[str] = None,
    ) -> x.StepWaits:
        node = self.flow.nodes[node_id]
        state = self.steps.get(node_id)
        is_new = state is None
        if state is None:
            state = self.steps[node_id] = StepState()
        return x.StepWaits(
            node_id,
            node.agent_id,
            reason,
            state.attempt,
            state.failures,
            is_new,
            node.is_exit,
            until,
            error_code,
            error_message,
        )

    def _end(
        self,
        changes: list[x.Change],
        stop: StopReason,
        status: x.FinalStatus,
        now: Instant,
        error_code: Optional[str] = None,
        error_message: Optional[str] = None,
    ) -> Hop:
        self.stop = stop
        seconds = (now - self.started_at) / SECOND if self.started_at is not None else 0.0
        changes.append(x.Finished(status, max(0.0, seconds), error_code, error_message))
        return Hop(self._unit(now, changes), ends=True)

    def _unit(self, now: Instant, changes: Sequence[x.Change]) -> x.Unit:
        unit = x.Unit(self.execution_id, self.seq, now, tuple(changes))
        self.seq += len(changes)
        return unit
