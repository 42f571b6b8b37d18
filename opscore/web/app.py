"""The web server as an aiohttp application; all it needs is given, nothing is kept at module level."""

from __future__ import annotations

from typing import AsyncContextManager, AsyncIterator, Callable

from aiohttp import web

from opscore.domain.ports import WebMetrics
from opscore.operations import Operations
from opscore.web import docs
from opscore.web.api import add_api
from opscore.web.bodies import Bodies
from opscore.web.config import (
    BODIES,
    CONFIG,
    FRAMES,
    LOG_FRAMES,
    METRICS,
    OPERATIONS,
    RATE_LIMIT,
    STREAMS,
    TRACER,
    WebConfig,
)
from opscore.web.dashboard import add_dashboard
from opscore.web.limits import RateLimit
from opscore.web.middlewares import guarded
from opscore.web.opscore_v1 import add_dialect
from opscore.web.streams import Frames, Streams

__all__ = ["WebConfig", "make_app"]


def make_app(
    config: WebConfig, running: Callable[[], AsyncContextManager[Operations]], metrics: WebMetrics
) -> web.Application:
    """The application.

    Args:
        config: Settings of the web server.
        running: Opens the operations when the application starts; they close with it.
        metrics: Told of requests, and asked by whoever scrapes.
    """
    app = web.Application(middlewares=[guarded], client_max_size=config.max_request_bytes)
    app[CONFIG] = config
    app[BODIES] = Bodies(config.body_timeout, config.max_request_bytes)
    app[RATE_LIMIT] = RateLimit(config.rate_limit)
    app[TRACER] = None
    app[METRICS] = metrics
    app[STREAMS] = Streams(config.max_streams)
    app[FRAMES], app[LOG_FRAMES] = Frames(), Frames()

    async def operations(started: web.Application) -> AsyncIterator[None]:
        async with running() as opened:
            started[OPERATIONS] = opened
            yield

    async def close_streams(stopped: web.Application) -> None:
        await stopped[STREAMS].close()

    app.cleanup_ctx.append(operations)
    app.on_shutdown.append(close_streams)
    add_api(app)
    add_dialect(app)
    docs.add_docs(app, config.version)
    add_dashboard(app)
    return app
