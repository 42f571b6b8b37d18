"""Methods about workflows and their sessions: the dialect of Ops-Core and AgentKit."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from opscore_sdk import checks
from opscore_sdk._calls import new_key
from opscore_sdk._executions import ExecutionMethods
from opscore_sdk.models import Accepted, Session, WorkflowStarted
from opscore_sdk.wire import DIALECT, IDEMPOTENCY_KEY, request, without_nones


class SessionMethods(ExecutionMethods):
    """Trigger workflows, follow their sessions, close their tasks."""

    async def trigger_workflow(
        self,
        agent_id: str,
        workflow_definition_id: Optional[str] = None,
        initial_payload: Optional[Mapping[str, Any]] = None,
        *,
        workflow_definition: Optional[Mapping[str, Any]] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> WorkflowStarted:
        """Start a workflow for an agent; the session is durable when this returns.

        A call whose answer is lost is repeated with the same idempotency key, so it makes one session.

        Args:
            agent_id: The agent that does the tasks which name no other.
            workflow_definition_id: Which workflow, if the server has it.
            initial_payload: What the first task gets instead of its own parameters.
            workflow_definition: The workflow itself, if the server may not have it.
            idempotency_key: The same key and request give the same session for 24 hours; by default a new one.
            timeout: Seconds for this call instead of the client's.

        Returns:
            ``sessionId``, ``workflowId`` and ``message``.

        Raises:
            NotFoundError: There is no such agent or workflow.
        """
        if (workflow_definition_id is None) == (workflow_definition is None):
            checks.refuse("workflow_definition_id", "or workflow_definition must be given, and not both.")
        known = (
            None if workflow_definition_id is None else checks.an_id(workflow_definition_id, "workflow_definition_id")
        )
        whole = None if workflow_definition is None else checks.an_object(workflow_definition, "workflow_definition")
        given = None if initial_payload is None else checks.an_object(initial_payload, "initial_payload")
        body = {"workflowDefinitionId": known, "workflowDefinition": whole, "initialPayload": given}
        start = request(
            "POST",
            "agent",
            checks.an_id(agent_id, "agent_id"),
            "workflow",
            prefix=DIALECT,
            json=without_nones(body),
            headers={IDEMPOTENCY_KEY: new_key(idempotency_key)},
        )
        return await self._model(WorkflowStarted, start, timeout)

    async def get_session(
        self,
        session_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> Session:
        """A session as it stands now, with its tasks.

        Args:
            session_id: Which session; its execution has the same id.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: Nothing has this id.
        """
        asked = request("GET", "session", checks.an_id(session_id, "session_id"), prefix=DIALECT)
        return await self._model(Session, asked, timeout)

    async def wait_for_session(
        self,
        session_id: str,
        timeout: Optional[float] = 300.0,
        interval: float = 2.0,
        *,
        raise_on_failure: bool = False,
    ) -> Session:
        """The session once it has ended, within milliseconds of its end.

        Args:
            session_id: Which session.
            timeout: Seconds to wait at most; None to wait for ever.
            interval: As for :meth:`wait_for_execution`.
            raise_on_failure: Whether a session that failed or was cancelled is an error.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            ExecutionError: It failed or was cancelled, and ``raise_on_failure`` is set.
        """
        checks.an_id(session_id, "session_id")
        await super().wait_for_execution(session_id, timeout, interval, raise_on_failure=raise_on_failure)
        return await self.get_session(session_id)

    async def complete_task(
        self,
        task_id: str,
        status: str = "success",
        output: Any = None,
        error: Any = None,
        *,
        timeout: Optional[float] = None,
    ) -> Accepted:
        """Close an agent's task explicitly; the same word again is no error.

        Args:
            task_id: Its ``opscore_task_id``.
            status: success or error.
            output: What the task returned.
            error: What went wrong: a sentence, or a dictionary with ``message`` and ``error_code``.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: There is no such task.
            ConflictError: It ended otherwise before.
        """
        checks.one_of(status, "status", ("success", "error"))
        body = without_nones({"status": status, "output": output, "error": error})
        segments = ("task", checks.a_token(task_id, "task_id"), "complete")
        done = request("POST", *segments, prefix=DIALECT, json=body, idempotent=True)
        return await self._model(Accepted, done, timeout)
