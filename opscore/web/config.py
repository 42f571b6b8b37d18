"""What the web server needs to know, and the typed keys under which an application keeps its parts."""

from __future__ import annotations

from typing import Callable, Optional

import attrs
from aiohttp import web

from opscore.domain.instants import Seconds
from opscore.domain.ports import Tracer, WebMetrics
from opscore.operations import Operations
from opscore.web.bodies import Bodies
from opscore.web.limits import RateLimit
from opscore.web.streams import Frames, Streams


@attrs.frozen
class WebConfig:
    """Settings of the web server. Times are seconds, sizes bytes."""

    version: str
    is_loopback: bool = True
    allowed_hosts: tuple[str, ...] = ()
    max_request_bytes: int = 1024 * 1024
    body_timeout: Seconds = 30.0
    rate_limit: float = 0.0
    max_streams: int = 1000
    discretion: Callable[[str], str] = lambda text: text
    """Gives a text without the secrets that are known, for what an error says of what was asked."""


CONFIG: web.AppKey[WebConfig] = web.AppKey("config", WebConfig)
OPERATIONS: web.AppKey[Operations] = web.AppKey("operations", Operations)
BODIES: web.AppKey[Bodies] = web.AppKey("bodies", Bodies)
RATE_LIMIT: web.AppKey[RateLimit] = web.AppKey("rate_limit", RateLimit)
STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)
FRAMES: web.AppKey[Frames] = web.AppKey("frames", Frames)
LOG_FRAMES: web.AppKey[Frames] = web.AppKey("log_frames", Frames)
TRACER: web.AppKey[Optional[Tracer]] = web.AppKey("tracer", object)  # type: ignore[arg-type]
"""Is told of every request, where there is one."""
METRICS: web.AppKey[WebMetrics] = web.AppKey("metrics")
OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)
