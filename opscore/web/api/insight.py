"""Routes that tell how things stand, and why."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from opscore.domain.performance import KEYS
from opscore.operations.insight import DEFAULT_WINDOW, WINDOWS
from opscore.web.api import answers, insight_answers, insight_schemas, queries
from opscore.web.api.documents import operation, query
from opscore.web.auth import given_key
from opscore.web.config import OPERATIONS

_WINDOW = query(
    "window", "integer", "seconds to look back", minimum=WINDOWS[0], maximum=WINDOWS[1], default=DEFAULT_WINDOW
)


@operation("system", "Who I am, and what I may do", answers={200: insight_schemas.IdentitySchema})
async def whoami(request: web.Request) -> web.Response:
    """The key that the request brings, or whether one is needed; a wrong key is refused."""
    found = await request.app[OPERATIONS].keys.identify(given_key(request))
    return answers.reply(insight_answers.identity(found))


@operation(
    "flows",
    "Get a flow as a graph",
    answers={200: insight_schemas.GraphSchema},
    parameters=(
        query("version", "integer", "which version; default: the newest", minimum=1, maximum=queries.NEWEST_VERSION),
    ),
    problems=(404,),
)
async def get_graph(request: web.Request) -> web.Response:
    """Nodes and edges, for flows and workflows alike."""
    version = queries.integer(request, "version", 0, 1, queries.NEWEST_VERSION) or None
    stored = await request.app[OPERATIONS].flows.get(request.match_info["flow_id"], version)
    return answers.reply(insight_answers.graph(stored.flow))


@operation(
    "system",
    "How things stand, and what needs attention",
    answers={200: insight_schemas.OverviewSchema},
    parameters=(_WINDOW,),
)
async def get_overview(request: web.Request) -> web.Response:
    """At most a second old, however many ask; the window is rounded up to whole minutes."""
    window = queries.integer(request, "window", DEFAULT_WINDOW, *WINDOWS)
    return answers.reply(insight_answers.overview(await request.app[OPERATIONS].insight.overview(window)))


@operation(
    "executions",
    "Why an execution does not move, or how it ended",
    answers={200: insight_schemas.ExplanationSchema},
    problems=(404,),
)
async def get_explanation(request: web.Request) -> web.Response:
    """For people: what each open node waits for, since when, and what would move it."""
    found = await request.app[OPERATIONS].insight.explain(request.match_info["execution_id"])
    return answers.reply(insight_answers.explanation(found))


@operation(
    "system",
    "How fast agents, flows or nodes are",
    answers={200: insight_schemas.PerformanceSchema},
    parameters=(
        query("by", "string", "what to group by", enum=list(KEYS), default="agent"),
        query("agent_id", "string", "only steps of this agent"),
        query("flow_id", "string", "only steps of this flow"),
        _WINDOW,
        query("limit", "integer", "how many rows", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
    ),
)
async def get_performance(request: web.Request) -> web.Response:
    """Slowest first; at most five seconds old."""
    by: Any = queries.word(request, "by", list(KEYS)) or "agent"
    window = queries.integer(request, "window", DEFAULT_WINDOW, *WINDOWS)
    limit = queries.integer(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MOST)
    agent_id, flow_id = request.query.get("agent_id"), request.query.get("flow_id")
    found = await request.app[OPERATIONS].insight.performance(by, window, agent_id, flow_id)
    return answers.reply(insight_answers.performance(found, window, limit))


ROUTES = (
    web.get("/whoami", whoami),
    web.get("/overview", get_overview),
    web.get("/performance", get_performance),
    web.get("/executions/{execution_id}/explanation", get_explanation),
    web.get("/flows/{flow_id}/graph", get_graph),
)
