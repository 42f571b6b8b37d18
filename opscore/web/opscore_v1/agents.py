"""Agents' own routes: they report their state, and others read it."""

from __future__ import annotations

from typing import Any, Mapping

import orjson
from aiohttp import web

from opscore.domain.agents import REPORTABLE_STATES
from opscore.domain.errors import AgentNotFound, Invalid
from opscore.domain.instants import parse, show
from opscore.web.api import answers
from opscore.web.api.documents import operation
from opscore.web.api.request_schemas import load
from opscore.web.config import BODIES, OPERATIONS
from opscore.web.opscore_v1 import schemas

_REPORT = schemas.StateReportSchema()
_TAKEN = orjson.dumps({"status": "success", "message": "State update accepted"})


@operation(
    "dialect",
    "Report an agent's state",
    answers={202: schemas.TakenSchema},
    body=schemas.StateReportSchema,
    problems=(404,),
)
async def report_state(request: web.Request) -> web.Response:
    """202 once it is durable, with all that follows from it."""
    agent_id = request.match_info["agentId"]
    given = _checked(await request.app[BODIES].json(request), agent_id)
    reported_at = parse(given["timestamp"], "timestamp")
    await request.app[OPERATIONS].agents.report(agent_id, given["state"], reported_at, given.get("details") or {})
    return web.Response(status=202, body=_TAKEN, content_type="application/json")


def _checked(given: Any, agent_id: str) -> Mapping[str, Any]:
    """Check a report. Nearly all are as they should be; those need no schema, for this is the busiest route."""
    is_plain = (
        isinstance(given, dict)
        and given.get("agentId") == agent_id
        and given.get("state") in REPORTABLE_STATES
        and isinstance(given.get("timestamp"), str)
        and isinstance(given.get("details"), (dict, type(None)))
    )
    if is_plain:
        plain: Mapping[str, Any] = given
        return plain
    loaded = load(_REPORT, given)
    text = f'The path says "{agent_id[:100]}", the body says "{loaded["agentId"]}".'
    raise Invalid(text, details={"agentId": [text]})


@operation("dialect", "Get an agent's state", answers={200: schemas.StateSchema}, problems=(404,))
async def get_state(request: web.Request) -> web.Response:
    """404 for an unknown agent, and for one that never reported."""
    agent_id = request.match_info["agentId"]
    view = await request.app[OPERATIONS].agents.get(agent_id)
    present = view.agent.present
    if present is None:
        raise AgentNotFound(f'The agent "{agent_id}" has not reported its state yet.', error_code="NO_STATE_YET")
    body = {
        "agentId": agent_id,
        "state": view.state,
        "details": orjson.Fragment(present.details),
        "timestamp": show(present.reported_at),
    }
    return answers.reply(body)


ROUTES = (
    web.post("/v1/opscore/agent/{agentId}/state", report_state),
    web.get("/v1/opscore/agent/{agentId}/state", get_state),
)
