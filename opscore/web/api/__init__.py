"""The snake_case API: the same routes at the root and at ``/api/v1``."""

from __future__ import annotations

from aiohttp import web

from opscore.web.api import agents, events, executions, feed, flows, insight, keys, logs, system
from opscore.web.auth import API_PREFIX

ROUTES: tuple[web.RouteDef, ...] = (
    *agents.ROUTES,
    *executions.ROUTES,
    *events.ROUTES,
    *feed.ROUTES,
    *flows.ROUTES,
    *insight.ROUTES,
    *keys.ROUTES,
    *logs.ROUTES,
    *system.ROUTES,
)


def add_api(app: web.Application) -> None:
    """Add all routes, under both faces."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
        app.router.add_route(route.method, API_PREFIX + route.path, route.handler)
