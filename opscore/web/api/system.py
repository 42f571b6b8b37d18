"""Routes about the server itself."""

from __future__ import annotations

from aiohttp import web

from opscore.domain.instants import show
from opscore.web.api import answer_schemas, answers
from opscore.web.api.documents import operation
from opscore.web.config import CONFIG, METRICS, OPERATIONS, STREAMS


def _health(request: web.Request, status: str) -> answers.Json:
    overview = request.app[OPERATIONS].overview
    return {
        "status": status,
        "version": request.app[CONFIG].version,
        "timestamp": show(overview.now),
        "uptime_seconds": round(overview.uptime, 3),
    }


@operation("system", "Whether the process is alive", answers={200: answer_schemas.HealthSchema})
async def health(request: web.Request) -> web.Response:
    """Without touching the store."""
    return answers.reply(_health(request, "healthy"))


@operation(
    "system",
    "Whether work would be accepted",
    answers={200: answer_schemas.HealthSchema, 503: answer_schemas.HealthSchema},
)
async def ready(request: web.Request) -> web.Response:
    """503 while the store takes no writes, or the server stops."""
    if await request.app[OPERATIONS].overview.is_ready():
        return answers.reply(_health(request, "ready"))
    return answers.reply(_health(request, "unavailable"), 503, {"Retry-After": "5"})


@operation("system", "The server at a glance", answers={200: answer_schemas.StatusSchema})
async def status(request: web.Request) -> web.Response:
    """Components, and counts of agents, flows and executions."""
    return answers.reply(answers.status(await request.app[OPERATIONS].overview.status(), request.app[CONFIG].version))


@operation("system", "Totals, as JSON or for Prometheus", answers={200: answer_schemas.MetricsSchema})
async def metrics(request: web.Request) -> web.Response:
    """JSON where it is asked for, otherwise text for Prometheus, or OpenMetrics where that is asked for."""
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return answers.reply(answers.metrics(await request.app[OPERATIONS].overview.totals()))
    page = await request.app[METRICS].scrape(accept, request.app[STREAMS].count)
    return web.Response(body=page.body, headers={"Content-Type": page.content_type})


async def pointer(request: web.Request) -> web.Response:
    """Where to look."""
    version = request.app[CONFIG].version
    return answers.reply({"name": "Ops-Core", "version": version, "docs": "/docs", "openapi": "/openapi.json"})


ROUTES = (
    web.get("/health", health),
    web.get("/health/live", health),
    web.get("/health/ready", ready),
    web.get("/status", status),
    web.get("/metrics", metrics),
)
