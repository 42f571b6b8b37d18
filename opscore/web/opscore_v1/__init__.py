"""The camelCase dialect of Ops-Core, as its own clients, AgentKit and its agents speak it."""

from __future__ import annotations

from aiohttp import web

from opscore.web.opscore_v1 import agents, notices, sessions

ROUTES: tuple[web.RouteDef, ...] = (*agents.ROUTES, *notices.ROUTES, *sessions.ROUTES)


def add_dialect(app: web.Application) -> None:
    """Add all routes."""
    app.add_routes(ROUTES)
