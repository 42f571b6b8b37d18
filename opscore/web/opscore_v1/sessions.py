"""Workflows and their sessions."""

from __future__ import annotations

from typing import Any, Optional

import orjson
from aiohttp import web

from opscore.domain.documents import encode_json
from opscore.domain.instants import show
from opscore.operations.sessions import Completion, Session, SessionTask, Trigger
from opscore.web.api import answers
from opscore.web.api.documents import TRACE_HEADERS, header, operation
from opscore.web.api.request_schemas import load
from opscore.web.config import BODIES, OPERATIONS
from opscore.web.middlewares import CALLER, STARTED, TRACE
from opscore.web.opscore_v1 import schemas

_TRIGGER = schemas.TriggerSchema()
_COMPLETION = schemas.CompletionSchema()
_LONGEST_MESSAGE = 1_000


@operation(
    "dialect",
    "Trigger a workflow for an agent",
    answers={202: schemas.TriggeredSchema},
    body=schemas.TriggerSchema,
    parameters=(
        header(
            "Idempotency-Key",
            "the same key and body give the same session for 24 h",
            minLength=1,
            maxLength=255,
            pattern="^[ -~]+$",
        ),
        *TRACE_HEADERS,
    ),
    problems=(404, 409),
)
async def trigger_workflow(request: web.Request) -> web.Response:
    """202 once it is durable."""
    given = load(_TRIGGER, await request.app[BODIES].json(request))
    accepted = request[STARTED] = await request.app[OPERATIONS].sessions.trigger(
        Trigger(
            agent_id=request.match_info["agentId"],
            definition_id=given["workflowDefinitionId"],
            definition=given["workflowDefinition"],
            payload=given["initialPayload"],
            idempotency_key=request.headers.get("Idempotency-Key"),
            caller=request[CALLER],
            trace=request[TRACE],
        )
    )
    body = {
        "sessionId": accepted.execution_id,
        "workflowId": accepted.flow_id,
        "message": "The workflow is started.",
    }
    return answers.reply(body, 202, {"Location": f"/v1/opscore/session/{accepted.execution_id}"})


@operation("dialect", "Get a session", answers={200: schemas.SessionSchema}, problems=(404,))
async def get_session(request: web.Request) -> web.Response:
    """A session is an execution: the same id works in the API."""
    return answers.reply(_session(await request.app[OPERATIONS].sessions.get(request.match_info["sessionId"])))


@operation(
    "dialect",
    "Complete a task",
    answers={200: schemas.TakenSchema},
    body=schemas.CompletionSchema,
    problems=(404, 409),
)
async def complete_task(request: web.Request) -> web.Response:
    """An agent closes its task explicitly; the same word again is no error."""
    given = load(_COMPLETION, await request.app[BODIES].json(request))
    completion = Completion(
        is_success=given["status"] == "success",
        output=given["output"],
        error_message=_text(given["error"]),
        error_code=_code(given["error"]),
    )
    task = await request.app[OPERATIONS].sessions.complete(request.match_info["taskId"], completion)
    return answers.reply({"status": "success", "message": f"The task {task} is closed."})


def _text(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("error_message") or error
    text = "" if error is None else error if isinstance(error, str) else encode_json(error)
    return text.replace("\x00", "\ufffd")[:_LONGEST_MESSAGE]


def _code(error: Any) -> Optional[str]:
    code = (error.get("error_code") or error.get("code")) if isinstance(error, dict) else None
    return code if isinstance(code, str) and 0 < len(code) <= 100 and code.isprintable() else None


def _session(session: Session) -> dict[str, Any]:
    found = session.execution
    outputs = found.outputs
    return {
        "sessionId": found.execution_id,
        "workflowId": found.flow_id,
        "agentId": found.agent_id,
        "status": session.status,
        "startTime": show(found.created_at),
        "last_updated_time": show(found.updated_at),
        "endTime": show(found.completed_at),
        "metadata": orjson.Fragment(found.metadata),
        "result": None if outputs is None else {task: orjson.Fragment(text) for task, text in outputs.items()},
        "error": found.error_message,
        "errorCode": found.error_code,
        "traceId": found.trace_id,
        "tasks": [_task(task) for task in session.tasks],
    }


def _task(task: SessionTask) -> dict[str, Any]:
    step, node = task.step, task.node
    body: dict[str, Any] = {
        "taskId": node.id,
        "opscoreTaskId": task.task_id,
        "name": node.name,
        "agentId": node.agent_id if step is None else step.agent_id,
        "agentCapability": node.capability,
        "status": "pending" if step is None else step.status,
        "attempt": 0 if step is None else step.attempt,
    }
    for field, ours in (
        ("error", "error_message"), ("errorCode", "error_code"),
        ("waitingFor", "waiting_for"), ("waitingDetail", "waiting_detail"),
    ):  # fmt: skip
        body[field] = getattr(step, ours, None)
    body["output"] = None if step is None or step.output is None else orjson.Fragment(step.output)
    body["startTime"] = show(None if step is None else step.started_at)
    body["endTime"] = show(None if step is None else step.completed_at)
    return body


ROUTES = (
    web.post("/v1/opscore/agent/{agentId}/workflow", trigger_workflow),
    web.get("/v1/opscore/session/{sessionId}", get_session),
    web.post("/v1/opscore/task/{taskId}/complete", complete_task),
)
