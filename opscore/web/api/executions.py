"""Routes about executions."""

from __future__ import annotations

from typing import Any, Mapping

import attrs
from aiohttp import web

from opscore.domain.agents import is_id
from opscore.domain.executions import EXECUTION_STATUSES
from opscore.operations.executions import LONGEST_WAIT, Start
from opscore.web.api import answer_schemas, answers, queries, request_schemas
from opscore.web.api.documents import TRACE_HEADERS, header, operation, query
from opscore.web.auth import API_PREFIX
from opscore.web.config import BODIES, OPERATIONS
from opscore.web.middlewares import CALLER, STARTED, TRACE

_START = request_schemas.StartSchema()
_CANCEL = request_schemas.CancelSchema()
_CANCEL_MANY = request_schemas.CancelManySchema()
_PLAIN_START = frozenset(("flow_id", "input_data"))
_WAIT = query("wait", "number", "answer when it has ended, or after so many seconds", minimum=0, maximum=LONGEST_WAIT)


@operation(
    "executions",
    "Start a flow",
    answers={202: answer_schemas.StartedSchema, 200: answer_schemas.StartedSchema},
    body=request_schemas.StartSchema,
    parameters=(
        header(
            "Idempotency-Key",
            "the same key and body give the same execution for 24 h",
            minLength=1,
            maxLength=255,
            pattern="^[ -~]+$",
        ),
        *TRACE_HEADERS,
        _WAIT,
    ),
    problems=(404, 409),
)
async def start_execution(request: web.Request) -> web.Response:
    """202 once it is durable; with ``wait`` 200 when it ended in that time."""
    given = _start_body(await request.app[BODIES].json(request))
    wait = queries.seconds(request, "wait", LONGEST_WAIT)
    executions = request.app[OPERATIONS].executions
    key = request.headers.get("Idempotency-Key")
    wanted = Start(**given, idempotency_key=key, caller=request[CALLER], trace=request[TRACE])
    accepted = request[STARTED] = await executions.start(wanted)
    prefix = API_PREFIX if request.path.startswith(API_PREFIX) else ""
    location = {"Location": f"{prefix}/executions/{accepted.execution_id}"}
    if not wait:
        return answers.reply(answers.started(accepted), 202, location)
    found = await executions.wait(accepted.execution_id, wait)
    return answers.reply(answers.waited(found), 200 if answers.is_final(found) else 202, location)


def _start_body(given: Any) -> Mapping[str, Any]:
    """Check what is to start. Nearly all requests have the two plain fields only; those need no schema."""
    if (
        isinstance(given, dict)
        and given.keys() == _PLAIN_START
        and isinstance(given["input_data"], dict)
        and is_id(given["flow_id"])
    ):
        return given
    loaded = dict(request_schemas.load(_START, given))
    loaded["metadata"] = loaded["metadata"] or {}
    return loaded


@operation(
    "executions",
    "List executions, newest first",
    answers={200: answer_schemas.ExecutionsSchema},
    parameters=(
        query(
            "q",
            "string",
            "only those whose id begins so, or that have this in their flow id, error code, error message or user id",
            minLength=1,
            maxLength=200,
        ),
        query("flow_id", "string", "only of this flow"),
        query("status", "string", "only in this state", enum=list(EXECUTION_STATUSES)),
        query("agent_id", "string", "only those with a step of this agent"),
        query("created_after", "string", "only newer ones (RFC 3339)", format="date-time"),
        query("created_before", "string", "only older ones (RFC 3339)", format="date-time"),
        query("limit", "integer", "how many", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
        query("offset", "integer", "how many to leave out first", minimum=0, maximum=100_000),
        query("cursor", "string", "next_cursor of the page before"),
    ),
)
async def list_executions(request: web.Request) -> web.Response:
    """A page; ``next_cursor`` leads to the next one."""
    wanted = queries.execution_query(request)
    found = await request.app[OPERATIONS].executions.list(attrs.evolve(wanted, limit=wanted.limit + 1))
    page = found[: wanted.limit]
    cursor = queries.to_cursor(page[-1].execution_id) if len(found) > wanted.limit else None
    items = [answers.listed(one) for one in page]
    more = {"limit": wanted.limit, "offset": wanted.offset, "next_cursor": cursor}
    return answers.listing(request, "executions", items, **more)


@operation(
    "executions",
    "Get an execution",
    answers={200: answer_schemas.ExecutionSchema},
    parameters=(_WAIT,),
    problems=(404,),
)
async def get_execution(request: web.Request) -> web.Response:
    """One execution with its payloads; with ``wait`` as it stands when it has ended, or after that time."""
    executions, execution_id = request.app[OPERATIONS].executions, request.match_info["execution_id"]
    wait = queries.seconds(request, "wait", LONGEST_WAIT)
    found = await (executions.wait(execution_id, wait) if wait else executions.get(execution_id))
    return answers.reply(answers.execution(found))


@operation("executions", "Get the results of each step", answers={200: answer_schemas.ResultsSchema}, problems=(404,))
async def get_results(request: web.Request) -> web.Response:
    """An execution and its steps, with what each was given and gave."""
    found, results = await request.app[OPERATIONS].executions.results(request.match_info["execution_id"])
    body = {
        "execution_id": found.execution_id,
        "execution": answers.execution(found),
        "node_results": [answers.node_result(result) for result in results],
        "count": len(results),
    }
    return answers.reply(body)


@operation(
    "executions", "Get what travelled along the edges", answers={200: answer_schemas.MessagesSchema}, problems=(404,)
)
async def list_messages(request: web.Request) -> web.Response:
    """All messages of an execution."""
    execution_id = request.match_info["execution_id"]
    messages = await request.app[OPERATIONS].executions.messages(execution_id)
    items = [answers.message(one) for one in messages]
    return answers.listing(request, "messages", items, execution_id=execution_id)


@operation("executions", "Get one message", answers={200: answer_schemas.MessageSchema}, problems=(404,))
async def get_message(request: web.Request) -> web.Response:
    """One message."""
    found = await request.app[OPERATIONS].executions.message(request.match_info["message_id"])
    return answers.reply(answers.message(found))


@operation(
    "executions",
    "Cancel an execution",
    answers={200: answer_schemas.CancelledSchema},
    body=request_schemas.CancelSchema,
    body_required=False,
    problems=(404, 409),
)
async def cancel_execution(request: web.Request) -> web.Response:
    """Once this is answered, no further call leaves for it."""
    given = await request.app[BODIES].json(request, optional=True)
    reason = request_schemas.load(_CANCEL, {} if given is None else given)["reason"]
    found = await request.app[OPERATIONS].executions.cancel(request.match_info["execution_id"], reason)
    body = {"message": "The execution is cancelled.", "execution_id": found.execution_id, "status": found.status}
    return answers.reply(body)


@operation(
    "executions",
    "Cancel many executions",
    answers={200: answer_schemas.CancelledManySchema},
    body=request_schemas.CancelManySchema,
)
async def cancel_executions(request: web.Request) -> web.Response:
    """Each for itself; once this is answered, no further call leaves for those that are cancelled."""
    given = request_schemas.load(_CANCEL_MANY, await request.app[BODIES].json(request))
    executions = request.app[OPERATIONS].executions
    cancelled, refused = await executions.cancel_many(given["execution_ids"], given["reason"])
    return answers.reply({"cancelled": cancelled, "refused": answers.refusals(refused)})


ROUTES = (
    web.post("/flows/execute", start_execution),
    web.get("/executions", list_executions),
    web.get("/executions/{execution_id}", get_execution),
    web.get("/executions/{execution_id}/results", get_results),
    web.get("/executions/{execution_id}/messages", list_messages),
    web.post("/executions/cancel", cancel_executions),
    web.post("/executions/{execution_id}/cancel", cancel_execution),
    web.get("/messages/{message_id}", get_message),
)
