"""One attempt: gather what the node gets, call its agent within the time limit, come back with a reply."""

from __future__ import annotations

import asyncio
import logging
from typing import Mapping

from opscore.domain.calls import Answered, Call, Postponed, Refused, Reply
from opscore.domain.flows import Node
from opscore.domain.instants import SECOND, Seconds
from opscore.domain.planner import given_input, passed_on, task_payload
from opscore.domain.ports import AgentProtocol, Clock, Store
from opscore.engine.payloads import Payloads
from opscore.engine.run import Run, StepState
from opscore.engine.witnesses import Witnesses

log = logging.getLogger(__name__)


class Caller:
    """Makes attempts."""

    def __init__(
        self,
        store: Store,
        payloads: Payloads,
        protocols: Mapping[str, AgentProtocol],
        clock: Clock,
        default_timeout: Seconds,
        witnesses: Witnesses,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._protocols = protocols
        self._clock = clock
        self._default_timeout = default_timeout
        self._witnesses = witnesses

    async def attempt(self, run: Run, node: Node) -> Reply:
        """Make one attempt of a node.

        Raises:
            CancelledError: The run was stopped.
            StoreError: The node's input could not be read.
        """
        state = run.steps[node.id]
        given, outputs = await self._payloads.gather(run.execution_id, node)
        if state.agent_id is None:
            return Answered(passed_on(node, given, outputs))
        agent = self._store.agent_now(state.agent_id)
        if agent is None:
            # Agents of workflows are registered by AgentKit, and anew when they restart.
            is_passing = run.flow.kind == "workflow"
            return Refused("AGENT_NOT_FOUND", f'No agent "{state.agent_id}" is registered.', retryable=is_passing)
        if not agent.spec.is_active:
            return Refused("AGENT_INACTIVE", f'The agent "{state.agent_id}" is not active.', retryable=True)
        protocol = self._protocols.get(agent.spec.protocol)
        if protocol is None:
            message = f'Nothing here speaks the protocol "{agent.spec.protocol}" of agent "{state.agent_id}".'
            return Refused("AGENT_PROTOCOL_UNKNOWN", message, retryable=False)
        if protocol.answers_later and state.task is None:
            # It was registered, or changed, after the call was let through: as one that may hold more than one task.
            return Postponed("AGENT_CHANGED", f'The agent "{state.agent_id}" was registered anew in this moment.')
        merged = given_input(run.flow, node, given, outputs)
        call = Call(
            run.execution_id,
            node.id,
            state.attempt,
            agent,
            merged,
            node.config,
            run.flow.flow_id,
            node.name,
            task_payload(run.flow, node, given, merged) if protocol.answers_later else {},
            run.subject.span,
        )
        return await self._within_time(run, state, protocol, call, self.timeout(node))

    def timeout(self, node: Node) -> Seconds:
        """The time limit of one attempt."""
        return node.timeout or self._default_timeout

    async def _within_time(
        self, run: Run, state: StepState, protocol: AgentProtocol, call: Call, timeout: Seconds
    ) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        timed_out = False

        def expire() -> None:
            nonlocal timed_out
            timed_out = True
            task.cancel()

        timer = self._clock.call_later(timeout, expire)
        began, reply = self._clock.monotonic(), None
        state.called_at = self._clock.now()
        try:
            reply = await protocol.call(call)
        except asyncio.CancelledError:
            if not timed_out or run.stop is not None:
                raise
            # Our own cancellation, meant for the call alone; before 3.11 tasks do not count them.
            if hasattr(task, "uncancel"):
                task.uncancel()
            reply = Refused("NODE_TIMEOUT", f"No answer within {timeout:g} s.", retryable=True)
        except Exception as error:
            log.exception("protocol.failed", extra={"execution_id": call.execution_id, "node_id": call.node_id})
            reply = Refused("INTERNAL_ERROR", f"The call failed: {type(error).__name__}.", retryable=True)
        finally:
            timer.cancel()
            seconds = self._clock.monotonic() - began
            if state.attempt == call.attempt:
                state.call_us = round(seconds * SECOND)
            self._witnesses.called(call, reply, seconds)
        return reply
