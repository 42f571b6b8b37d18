"""Use cases of the Ops-Core dialect: workflows are flows and sessions are executions, by other names."""

from __future__ import annotations

from typing import Any, Callable, Literal, Mapping, Optional, Sequence

import attrs
import orjson

from opscore.domain.calls import Answered, Outcome, Refused
from opscore.domain.errors import AgentNotFound, Conflict, ExecutionNotFound, Invalid, NotFound, Stale
from opscore.domain.executions import FINAL, Execution, NewExecution, Step
from opscore.domain.flows import Flow, FlowVersion, Node
from opscore.domain.planner import as_output
from opscore.domain.ports import Runs, Store
from opscore.domain.tasks import OpenTask, split_task_id, task_id
from opscore.domain.tracing import TraceContext
from opscore.domain.workflows import to_definition
from opscore.operations.executions import Executions, Start
from opscore.operations.flows import Flows

SessionStatus = Literal["started", "running", "paused", "completed", "failed", "cancelled"]


@attrs.frozen(kw_only=True)
class Trigger:
    """A workflow to run: by the id of its definition, or with the definition itself."""

    agent_id: str
    definition_id: Optional[str] = None
    definition: Any = None
    payload: Optional[Mapping[str, Any]] = attrs.field(default=None, hash=False)
    """What the first task gets, instead of its own parameters."""
    idempotency_key: Optional[str] = None
    caller: str = ""
    trace: Optional[TraceContext] = None
    """The span of the caller: the session joins its trace."""


@attrs.frozen
class SessionTask:
    """A task of a session: its definition, and the step if there is one yet."""

    task_id: str
    node: Node
    step: Optional[Step]


@attrs.frozen
class Session:
    """An execution as the dialect shows it."""

    execution: Execution
    flow: Flow
    tasks: Sequence[SessionTask]

    @property
    def status(self) -> SessionStatus:
        """``started`` until the first task is handed to an agent."""
        status = self.execution.status
        if status == "pending":
            return "started"
        if status == "running" and not any(task.step is not None and task.step.attempt for task in self.tasks):
            return "started"
        return status


@attrs.frozen
class Completion:
    """How an agent says that its task went."""

    is_success: bool
    output: Any = attrs.field(default=None, hash=False)
    error_message: str = ""
    error_code: Optional[str] = None
    retryable: bool = True

    @property
    def outcome(self) -> Outcome:
        """The same as what a call comes to."""
        if self.is_success:
            return Answered({} if self.output is None else as_output(self.output))
        message = self.error_message or "The agent reported an error and gave no message."
        return Refused(self.error_code or "AGENT_ERROR", message, retryable=self.retryable)


class Sessions:
    """Trigger workflows, follow their sessions, end their tasks."""

    def __init__(
        self, store: Store, runs: Runs, flows: Flows, executions: Executions, mask: Callable[[str], str] = str
    ) -> None:
        self._mask = mask
        self._store = store
        self._runs = runs
        self._flows = flows
        self._executions = executions

    async def trigger(self, wanted: Trigger) -> NewExecution:
        """Start a session; durable when this returns.

        The same idempotency key and request within 24 hours give the same session again, whatever became of the agent
        and the definition meanwhile.

        Raises:
            AgentNotFound: The agent is not registered.
            FlowNotFound: No workflow has this id.
            Invalid: The definition is missing, given twice, or can not run.
            Conflict: The idempotency key was used for another request.
            Overloaded: Too many executions wait already.
            Unavailable: The server is stopping.
        """
        asked = attrs.asdict(
            wanted, recurse=False, filter=lambda field, _: field.name not in ("idempotency_key", "caller", "trace")
        )
        before = await self._executions.started_before(wanted.idempotency_key, wanted.caller, asked)
        if before is not None:
            return before
        if self._store.agent_now(wanted.agent_id) is None:
            raise AgentNotFound(f'There is no agent "{wanted.agent_id[:100]}".')
        stored = await self._definition(wanted)
        return await self._executions.start(
            Start(
                flow_id=stored.flow.flow_id,
                flow_version=stored.flow.version,
                input_data=_first_input(stored.flow, wanted.payload),
                agent_id=wanted.agent_id,
                idempotency_key=wanted.idempotency_key,
                caller=wanted.caller,
                asked=asked,
                trace=wanted.trace,
            )
        )

    async def get(self, session_id: str) -> Session:
        """One session. Raises ExecutionNotFound."""
        execution = await self._store.execution(session_id)
        flow = (await self._store.flow(execution.flow_id, execution.flow_version)).flow
        steps = {step.node_id: step for step in await self._store.steps(session_id)}
        tasks = [SessionTask(task_id(session_id, node.id), node, steps.get(node.id)) for node in flow.nodes.values()]
        return Session(execution, flow, tasks)

    async def complete(self, given: str, completion: Completion) -> str:
        """End an agent's task as the agent says; the id of the task. The same word again is no error.

        Args:
            given: The task's ``opscore_task_id``; its ``taskId`` will do where only one session has it open.
            completion: How it went.

        Raises:
            NotFound: There is no such task.
            Conflict: It ended otherwise, or is none that its agent ends; several sessions have it open.
            Unavailable: It could not be recorded now.
        """
        execution_id, node_id = split_task_id(given)
        found = self._runs.find_tasks(execution_id, node_id)
        if len(found) > 1:
            raise Conflict(
                f'Several sessions have an open task "{node_id}"; name it by its opscore_task_id.',
                error_code="TASK_AMBIGUOUS",
            )
        if not found:
            return await self._completed_before(execution_id, node_id, completion)
        return await self._conclude(found[0], completion)

    async def _conclude(self, task: OpenTask, completion: Completion) -> str:
        try:
            told = attrs.evolve(completion, error_message=self._mask(completion.error_message))
            await self._runs.conclude(task, told.outcome)
        except Stale:
            return await self._completed_before(task.execution_id, task.node_id, completion)
        return task.task_id

    async def _completed_before(self, execution_id: str, node_id: str, completion: Completion) -> str:
        step = await self._step(execution_id, node_id)
        if step is not None and step.status == ("completed" if completion.is_success else "failed"):
            return task_id(execution_id, node_id)
        state = f"is {step.status}" if step is not None and step.status in FINAL else "is not held by an agent now"
        raise Conflict(f"The task {state}; it cannot be completed.", error_code="TASK_NOT_OPEN")

    async def _step(self, execution_id: str, node_id: str) -> Optional[Step]:
        """The step of a task, None before its turn has come. Raises NotFound."""
        try:
            execution = await self._store.execution(execution_id)
        except ExecutionNotFound:
            raise _no_task() from None
        if node_id not in (await self._store.flow(execution.flow_id, execution.flow_version)).flow.nodes:
            raise _no_task()
        return next((step for step in await self._store.steps(execution_id) if step.node_id == node_id), None)

    async def _definition(self, wanted: Trigger) -> FlowVersion:
        if (wanted.definition_id is None) == (wanted.definition is None):
            text = "Give either workflowDefinitionId or workflowDefinition."
            raise Invalid(text, details={"workflowDefinitionId": [text]})
        if wanted.definition_id is not None:
            return await self._flows.get(wanted.definition_id)
        return await self._flows.put(to_definition(wanted.definition))


def _no_task() -> NotFound:
    return NotFound("No task has this id.", error_code="TASK_NOT_FOUND")


def _first_input(flow: Flow, payload: Optional[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the execution begins with: the payload, or else the first task's own parameters."""
    if payload is not None:
        return payload
    if flow.kind != "workflow" or not flow.roots:
        return {}
    copied: Mapping[str, Any] = orjson.loads(orjson.dumps(flow.nodes[flow.roots[0]].config, default=dict))
    return copied
