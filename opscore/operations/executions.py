"""Use cases about executions."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Callable, ContextManager, Mapping, Optional, Sequence

import attrs
import orjson

from opscore.domain.documents import encode_json
from opscore.domain.errors import Conflict, ExecutionNotFound, Invalid, NotFound, OpsCoreError, Stale
from opscore.domain.events import Event, History
from opscore.domain.executions import Execution, Idempotency, Message, NewExecution, Step
from opscore.domain.flows import PRIORITIES, Flow
from opscore.domain.instants import Seconds, after
from opscore.domain.planner import given_input
from opscore.domain.ports import Clock, ExecutionQuery, Runs, Store
from opscore.domain.tracing import TraceContext
from opscore.operations.flows import Flows

IDEMPOTENCY_SECONDS: Seconds = 86_400.0
LONGEST_WAIT: Seconds = 300.0
"""A client that wants to wait longer asks again."""
LONGEST_KEY = 255
_CANCELLED_AT_ONCE = 50


@attrs.frozen(kw_only=True)
class Start:
    """What a caller asks for. Times are seconds."""

    flow_id: str
    input_data: Mapping[str, Any] = attrs.field(hash=False)
    metadata: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    priority: Optional[int] = None
    timeout: Optional[Seconds] = None
    flow_version: Optional[int] = None
    user_id: Optional[str] = None
    agent_id: Optional[str] = None
    """The agent that a session is triggered for."""
    idempotency_key: Optional[str] = None
    caller: str = ""
    """Whose idempotency key it is: two callers may use the same one."""
    asked: Optional[Mapping[str, Any]] = attrs.field(default=None, hash=False)
    """The request that the idempotency key stands for, where these are not its own words."""
    trace: Optional[TraceContext] = None
    """The span of the caller: the execution joins its trace."""


@attrs.frozen
class NodeResult:
    """A step with what it was given."""

    step: Step
    input_data: Mapping[str, Any] = attrs.field(hash=False)


class Executions:
    """Start, follow and end executions."""

    def __init__(self, store: Store, runs: Runs, flows: Flows, clock: Clock, default_timeout: Seconds) -> None:
        self._store = store
        self._runs = runs
        self._flows = flows
        self._clock = clock
        self._default_timeout = default_timeout

    async def start(self, wanted: Start) -> NewExecution:
        """Accept an execution; durable when this returns.

        The same idempotency key and request within 24 hours give the same execution again.

        Raises:
            FlowNotFound: No such flow.
            Invalid: A value is out of range.
            Conflict: The idempotency key was used for another request.
            Overloaded: Too many executions wait already.
            Unavailable: The server is stopping.
        """
        if wanted.priority is not None and wanted.priority not in PRIORITIES:
            raise Invalid("priority must be from 0 to 10.", details={"priority": ["Must be from 0 to 10."]})
        now = self._clock.now()
        idempotency = None
        if wanted.idempotency_key is not None:
            idempotency = _idempotency(wanted.idempotency_key, wanted.caller, wanted.asked or _asked(wanted), now)
        before = await self._started_before(idempotency) if idempotency else None
        if before is not None:
            return before
        flow = (await self._flows.get(wanted.flow_id, wanted.flow_version)).flow
        _check_doers(flow, wanted.agent_id)
        execution = self._new(wanted, flow, now)
        try:
            await self._runs.start(execution, flow, idempotency)
        except Stale:
            # Another request with the same key was faster; what it made is the answer.
            before = await self._started_before(idempotency) if idempotency else None
            if before is None:
                raise
            return before
        return execution

    def _new(self, wanted: Start, flow: Flow, now: int) -> NewExecution:
        timeout = wanted.timeout or flow.timeout or self._default_timeout
        return NewExecution(
            execution_id=self._clock.new_id(),
            flow_id=flow.flow_id,
            flow_version=flow.version,
            input=encode_json(wanted.input_data),
            metadata=encode_json(wanted.metadata),
            priority=flow.priority if wanted.priority is None else wanted.priority,
            created_at=now,
            deadline_at=after(now, timeout),
            user_id=wanted.user_id,
            agent_id=wanted.agent_id,
            caller=wanted.trace,
        )

    async def started_before(self, key: Optional[str], caller: str, asked: Mapping[str, Any]) -> Optional[NewExecution]:
        """What the same idempotency key and request started before; None when they did not.

        Raises:
            Invalid: It can be no key.
            Conflict: The key was used for another request.
        """
        idempotency = _idempotency(key, caller, asked, self._clock.now())
        return await self._started_before(idempotency) if idempotency else None

    async def _started_before(self, idempotency: Idempotency) -> Optional[NewExecution]:
        found = await self._store.started_as(idempotency.key, self._clock.now())
        if found is None:
            return None
        used, execution_id = found
        if used.fingerprint != idempotency.fingerprint:
            raise Conflict("This Idempotency-Key was used for another request.")
        execution = await self._store.execution(execution_id)
        return NewExecution(
            execution_id=execution.execution_id,
            flow_id=execution.flow_id,
            flow_version=execution.flow_version,
            input=execution.input or "{}",
            metadata=execution.metadata,
            priority=execution.priority,
            created_at=execution.created_at,
            deadline_at=execution.deadline_at,
            user_id=execution.user_id,
            agent_id=execution.agent_id,
            caller=execution.caller,
        )

    async def wait(self, execution_id: str, seconds: Seconds) -> Execution:
        """The execution as it stands when it ends, or after that many seconds.

        Raises:
            ExecutionNotFound: Nothing has this id.
        """
        await self._runs.wait(execution_id, min(seconds, LONGEST_WAIT))
        return await self._store.execution(execution_id)

    async def get(self, execution_id: str) -> Execution:
        """One execution. Raises ExecutionNotFound."""
        return await self._store.execution(execution_id)

    async def list(self, query: ExecutionQuery) -> Sequence[Execution]:
        """A page of executions, newest first."""
        return await self._store.executions(query)

    async def cancel(self, execution_id: str, reason: Optional[str]) -> Execution:
        """End an execution; again is no error.

        Raises:
            ExecutionNotFound: Nothing has this id.
            Conflict: It completed or failed before.
        """
        return await self._runs.cancel(execution_id, reason)

    async def cancel_many(
        self, execution_ids: Sequence[str], reason: Optional[str]
    ) -> tuple[Sequence[str], Mapping[str, OpsCoreError]]:
        """End executions, each for itself: one that cannot be ended keeps none of the others.

        Returns:
            The ids of those that are cancelled now, in the order given, and by id why others are not.
        """
        refused: dict[str, OpsCoreError] = {}
        wanted = list(dict.fromkeys(execution_ids))
        waiting = iter(wanted)

        async def work() -> None:
            for execution_id in waiting:
                try:
                    await self._runs.cancel(execution_id, reason)
                except OpsCoreError as error:
                    refused[execution_id] = error

        workers = [work() for _ in range(min(len(wanted), _CANCELLED_AT_ONCE))]
        for outcome in await asyncio.gather(*workers, return_exceptions=True):
            if outcome is not None:
                raise outcome
        return [one for one in wanted if one not in refused], refused

    async def results(self, execution_id: str) -> tuple[Execution, Sequence[NodeResult]]:
        """An execution and its steps, each with what it was given. Raises ExecutionNotFound."""
        execution, flow, steps = await self._whole(execution_id)
        given = orjson.loads(execution.input or "{}")
        outputs = {step.node_id: orjson.loads(step.output) for step in steps if step.output}
        return execution, [
            NodeResult(step, given_input(flow, flow.nodes[step.node_id], given, outputs)) for step in steps
        ]

    async def messages(self, execution_id: str) -> Sequence[Message]:
        """What travelled along the edges. Raises ExecutionNotFound."""
        _, flow, steps = await self._whole(execution_id)
        found = {step.node_id: step for step in steps}
        return [
            _message(found[before], step)
            for step in steps
            for before in flow.nodes[step.node_id].depends_on
            if before in found and found[before].output is not None
        ]

    async def message(self, message_id: str) -> Message:
        """One message, by the id that :meth:`messages` gave it. Raises NotFound."""
        execution_id, _, edge = message_id.partition(".")
        sender, _, receiver = edge.partition(".")
        try:
            _, flow, steps = await self._whole(execution_id)
        except ExecutionNotFound:
            raise NotFound("No message has this id.", error_code="MESSAGE_NOT_FOUND") from None
        found = {step.node_id: step for step in steps}
        sent = found.get(sender)
        got = found.get(receiver)
        is_edge = got is not None and sender in flow.nodes[receiver].depends_on
        if sent is not None and got is not None and sent.output is not None and is_edge:
            return _message(sent, got)
        raise NotFound("No message has this id.", error_code="MESSAGE_NOT_FOUND")

    async def events(self, execution_id: str, after: int, limit: int) -> Sequence[Event]:
        """Events above a number, in order. Raises ExecutionNotFound."""
        return (await self._store.history(execution_id, after, limit)).events

    async def history(self, execution_id: str, after: int, limit: int) -> History:
        """Events above a number, in order, and the status of that moment. Raises ExecutionNotFound."""
        return await self._store.history(execution_id, after, limit)

    def listening(self, execution_id: str, on_change: Callable[[], object]) -> ContextManager[None]:
        """Be told of each change within the block; what is new is then in :meth:`history`."""
        return self._runs.listening(execution_id, on_change)

    async def _whole(self, execution_id: str) -> tuple[Execution, Flow, Sequence[Step]]:
        execution = await self._store.execution(execution_id)
        stored = await self._store.flow(execution.flow_id, execution.flow_version)
        return execution, stored.flow, await self._store.steps(execution_id)


def _idempotency(key: Optional[str], caller: str, asked: Mapping[str, Any], now: int) -> Optional[Idempotency]:
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise Invalid(f"Idempotency-Key must have 1 to {LONGEST_KEY} printable ASCII characters.")
    digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Idempotency(f"{caller}:{key}", digest, after(now, IDEMPOTENCY_SECONDS))


def _asked(wanted: Start) -> Mapping[str, Any]:
    asked = attrs.asdict(wanted, recurse=False)
    del asked["idempotency_key"], asked["asked"], asked["trace"]
    if wanted.agent_id is None:
        del asked["agent_id"]
    return asked


def _check_doers(flow: Flow, agent_id: Optional[str]) -> None:
    """Refuse to start a workflow whose tasks nobody would do. Raises Invalid."""
    if flow.kind != "workflow" or agent_id is not None:
        return
    for node in flow.nodes.values():
        if node.agent_id is None and node.capability is None:
            raise Invalid(
                f'Task "{node.id}" names no agent: it is done by the agent that a session is triggered for '
                "(POST /v1/opscore/agent/{agentId}/workflow)."
            )


def _message(sender: Step, receiver: Step) -> Message:
    return Message(
        message_id=f"{sender.execution_id}.{sender.node_id}.{receiver.node_id}",
        execution_id=sender.execution_id,
        from_agent=sender.agent_id or sender.node_id,
        to_agent=receiver.agent_id or receiver.node_id,
        payload=orjson.loads(sender.output or "null"),
        timestamp=sender.completed_at,
    )
