"""Routes about agents."""

from __future__ import annotations

from aiohttp import web

from opscore.domain.agents import Agent, AgentSpec
from opscore.web.api import answers, schemas
from opscore.web.api.documents import operation
from opscore.web.config import BODIES, OPERATIONS

_SPEC = schemas.AgentSpecSchema()
_TEST = schemas.AgentTestSchema()


def _shown(request: web.Request, agent: Agent) -> answers.Json:
    return answers.agent(agent, request.app[OPERATIONS].agents.in_flight(agent.spec.agent_id))


@operation("agents", "List all agents", answers={200: schemas.AgentsSchema})
async def list_agents(request: web.Request) -> web.Response:
    """All agents, by id."""
    agents = await request.app[OPERATIONS].agents.list()
    return answers.listing(request, "agents", [_shown(request, agent) for agent in agents])


@operation("agents", "List the agents that may be given work", answers={200: schemas.AgentsSchema})
async def list_active_agents(request: web.Request) -> web.Response:
    """Active agents, by id."""
    agents = await request.app[OPERATIONS].agents.list(active_only=True)
    return answers.listing(request, "agents", [_shown(request, agent) for agent in agents])


@operation("agents", "Get an agent", answers={200: schemas.AgentSchema}, problems=(404,))
async def get_agent(request: web.Request) -> web.Response:
    """One agent."""
    return answers.reply(_shown(request, await request.app[OPERATIONS].agents.get(request.match_info["agent_id"])))


@operation(
    "agents",
    "Register an agent; the same again changes nothing",
    answers={201: schemas.AgentSchema, 200: schemas.AgentSchema},
    body=schemas.AgentSpecSchema,
    problems=(409,),
)
async def register_agent(request: web.Request) -> web.Response:
    """201 for a new agent, 200 for the same again."""
    given = dict(schemas.load(_SPEC, await request.app[BODIES].json(request)))
    given["name"] = given["name"] or given["agent_id"]
    given["description"] = given["description"] or ""
    given["capabilities"] = tuple(given["capabilities"])
    agent, is_new = await request.app[OPERATIONS].agents.register(AgentSpec(**given))
    return answers.reply(_shown(request, agent), 201 if is_new else 200)


@operation("agents", "Forget an agent", answers={200: schemas.DoneSchema}, problems=(404, 507))
async def delete_agent(request: web.Request) -> web.Response:
    """Steps that still need it will fail."""
    agent_id = request.match_info["agent_id"]
    await request.app[OPERATIONS].agents.delete(agent_id)
    return answers.reply({"message": f"The agent {agent_id} is forgotten.", "status": "deleted"})


@operation("agents", "Try an endpoint", answers={200: schemas.ProbeSchema}, body=schemas.AgentTestSchema)
async def test_agent(request: web.Request) -> web.Response:
    """Ask an endpoint whether an agent is there."""
    given = schemas.load(_TEST, await request.app[BODIES].json(request))
    return answers.reply(answers.probe(await request.app[OPERATIONS].agents.test(given["endpoint"], given["protocol"])))


ROUTES = (
    web.get("/agents", list_agents),
    web.post("/agents", register_agent),
    web.get("/agents/active", list_active_agents),
    web.post("/agents/test", test_agent),
    web.get("/agents/{agent_id}", get_agent),
    web.delete("/agents/{agent_id}", delete_agent),
)
