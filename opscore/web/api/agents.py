"""Routes about agents."""

from __future__ import annotations

import asyncio

from aiohttp import web

from opscore.domain.agents import AGENT_STATES, AgentSpec
from opscore.web.api import answer_schemas, answers, queries, request_schemas
from opscore.web.api.documents import operation, query
from opscore.web.config import BODIES, OPERATIONS

_SPEC = request_schemas.AgentSpecSchema()
_TEST = request_schemas.AgentTestSchema()
_BETWEEN_BREATHS = 200


@operation(
    "agents",
    "List all agents",
    answers={200: answer_schemas.AgentsSchema},
    parameters=(
        query("state", "string", "only in this state", enum=list(AGENT_STATES)),
        query("capability", "string", "only with this capability"),
    ),
)
async def list_agents(request: web.Request) -> web.Response:
    """All agents, by id."""
    return await _listed(request, active_only=False)


@operation(
    "agents",
    "List the agents that are wanted to work",
    answers={200: answer_schemas.AgentsSchema},
    parameters=(
        query("state", "string", "only in this state", enum=list(AGENT_STATES)),
        query("capability", "string", "only with this capability"),
    ),
)
async def list_active_agents(request: web.Request) -> web.Response:
    """Active agents, by id."""
    return await _listed(request, active_only=True)


async def _listed(request: web.Request, *, active_only: bool) -> web.Response:
    state = queries.word(request, "state", AGENT_STATES)
    capability = request.query.get("capability")
    agents = await request.app[OPERATIONS].agents.list(active_only=active_only, state=state, capability=capability)
    items = []
    for number, agent in enumerate(agents, 1):
        items.append(answers.agent(agent))
        if number % _BETWEEN_BREATHS == 0:  # there may be very many, and others want their turn
            await asyncio.sleep(0)
    return answers.listing(request, "agents", items)


@operation("agents", "Get an agent", answers={200: answer_schemas.AgentSchema}, problems=(404,))
async def get_agent(request: web.Request) -> web.Response:
    """One agent."""
    return answers.reply(answers.agent(await request.app[OPERATIONS].agents.get(request.match_info["agent_id"])))


@operation(
    "agents",
    "Get what an agent reported of its state",
    answers={200: answer_schemas.HistorySchema},
    parameters=(
        query("limit", "integer", "how many", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
        query("cursor", "string", "next_cursor of the page before"),
    ),
    problems=(404,),
)
async def get_history(request: web.Request) -> web.Response:
    """Newest first by the agent's own clock; ``next_cursor`` leads to the next page."""
    agent_id = request.match_info["agent_id"]
    limit = queries.integer(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MOST)
    before = queries.from_report_cursor(request.query.get("cursor"))
    found = await request.app[OPERATIONS].agents.history(agent_id, limit + 1, before)
    page = found[:limit]
    cursor = queries.to_report_cursor(page[-1]) if len(found) > limit else None
    items = [answers.report_of_state(one) for one in page]
    return answers.listing(request, "history", items, agent_id=agent_id, limit=limit, next_cursor=cursor)


@operation(
    "agents",
    "Register an agent; the same again changes nothing",
    answers={201: answer_schemas.AgentSchema, 200: answer_schemas.AgentSchema},
    body=request_schemas.AgentSpecSchema,
    problems=(409,),
)
async def register_agent(request: web.Request) -> web.Response:
    """201 for a new agent, 200 for the same again."""
    given = dict(request_schemas.load(_SPEC, await request.app[BODIES].json(request)))
    given["name"] = given["name"] or given["agent_id"]
    given["description"] = given["description"] or ""
    given["capabilities"] = tuple(given["capabilities"])
    agent, is_new = await request.app[OPERATIONS].agents.register(AgentSpec(**given))
    return answers.reply(answers.agent(agent), 201 if is_new else 200)


@operation("agents", "Forget an agent", answers={200: answer_schemas.DoneSchema}, problems=(404, 507))
async def delete_agent(request: web.Request) -> web.Response:
    """Steps that still need it will fail."""
    agent_id = request.match_info["agent_id"]
    await request.app[OPERATIONS].agents.delete(agent_id)
    return answers.reply({"message": f"The agent {agent_id} is forgotten.", "status": "deleted"})


@operation("agents", "Try an endpoint", answers={200: answer_schemas.ProbeSchema}, body=request_schemas.AgentTestSchema)
async def test_agent(request: web.Request) -> web.Response:
    """Ask an endpoint whether an agent is there."""
    given = request_schemas.load(_TEST, await request.app[BODIES].json(request))
    return answers.reply(answers.probe(await request.app[OPERATIONS].agents.test(given["endpoint"], given["protocol"])))


ROUTES = (
    web.get("/agents", list_agents),
    web.post("/agents", register_agent),
    web.get("/agents/active", list_active_agents),
    web.post("/agents/test", test_agent),
    web.get("/agents/{agent_id}", get_agent),
    web.delete("/agents/{agent_id}", delete_agent),
    web.get("/agents/{agent_id}/history", get_history),
)
