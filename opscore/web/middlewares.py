"""What happens to every request: it gets an id and a trace, is checked, and what goes wrong becomes a problem."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any, Awaitable, Callable, Optional

from aiohttp import web

from opscore.domain.errors import Forbidden, Invalid, OpsCoreError, StoreError, Unauthenticated
from opscore.domain.instants import SECOND, Seconds
from opscore.domain.ports import Served
from opscore.domain.tracing import TraceContext, read_context
from opscore.telemetry import context
from opscore.web.auth import bare_path, check_host, check_key
from opscore.web.config import CONFIG, METRICS, TRACER
from opscore.web.errors import answer_error, answer_http, problem
from opscore.web.streams import REQUEST_ID, TRACE_ID

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Typed keys are younger than the oldest aiohttp we run on.
CALLER: Any = web.RequestKey("opscore_caller", str) if hasattr(web, "RequestKey") else "opscore_caller"
TRACE: Any = web.RequestKey("opscore_trace", object) if hasattr(web, "RequestKey") else "opscore_trace"
"""The span of whoever sent the request; None where there is none."""
STARTED: Any = web.RequestKey("opscore_started", object) if hasattr(web, "RequestKey") else "opscore_started"
"""The execution that the request has started."""
_LONGEST_PATH = 500
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One middleware for all of it: each further one would cost every request a few microseconds."""
    given = request.headers.get("X-Request-ID", "")
    made = os.urandom(24).hex()
    request_id = given if _SANE_ID.fullmatch(given) else made[:16]
    caller = _caller(request)
    trace_id = made[16:] if caller is None else caller.trace_id
    request[REQUEST_ID], request[TRACE], request[TRACE_ID] = request_id, caller, trace_id
    began = time.monotonic()
    bound = context.begin(request_id=request_id, trace_id=trace_id)
    try:
        answer = await _answer(request, handler, request_id, trace_id)
        is_stream = answer.prepared
        if not is_stream:  # a stream sent its headers, with these, long ago
            answer.headers["X-Request-ID"] = request_id
            answer.headers["X-Trace-ID"] = trace_id
        _tell(request, answer.status, time.monotonic() - began, lasts=is_stream)
    except web.HTTPException as redirect:
        _tell(request, redirect.status, time.monotonic() - began)
        raise
    finally:
        context.release(bound)
    return answer


def _caller(request: web.Request) -> Optional[TraceContext]:
    """The span that the request says it comes from; two of them are as good as none."""
    headers = request.headers
    if "traceparent" not in headers:
        return None
    parents = headers.getall("traceparent")
    return read_context(parents[0] if len(parents) == 1 else None, ",".join(headers.getall("tracestate", ())))


def _tell(request: web.Request, status: int, seconds: Seconds, *, lasts: bool = False) -> None:
    """Tell of an answer; how long those took that last as long as they were asked to says nothing."""
    resource = request.match_info.route.resource
    pattern = None if resource is None else resource.canonical
    lasts = lasts or "wait=" in request.rel_url.raw_query_string
    route = None if pattern is None else bare_path(pattern)
    request.app[METRICS].answered(request.method, route, status, None if lasts else seconds)
    tracer = request.app[TRACER]
    if tracer is not None:
        tracer.answered(_served(request, pattern, status, seconds))
    level = logging.DEBUG if status < 500 else logging.WARNING
    if log.isEnabledFor(level):
        facts = {**_facts(request), "status": status, "duration_ms": round(seconds * 1000, 3)}
        log.log(level, "request.answered", extra=facts)


def _facts(request: web.Request) -> dict[str, Any]:
    """Who asks for what. The query stays out: what people put there is their own."""
    return {"method": request.method, "path": request.path[:_LONGEST_PATH], "client": request.remote}


def _served(request: web.Request, pattern: Optional[str], status: int, seconds: Seconds) -> Served:
    return Served(
        method=request.method,
        route=pattern,
        path=request.rel_url.raw_path,
        scheme=request.scheme,
        host=request.headers.get("Host"),
        status=status,
        began_at=time.time_ns() // 1000 - int(seconds * SECOND),
        seconds=seconds,
        trace_id=request[TRACE_ID],
        caller=request[TRACE],
        started=request.get(STARTED),
    )


def _check_text(request: web.Request) -> None:
    """Refuse paths and queries whose escapes make no Unicode; what is behind could not hold them.

    Raises:
        Invalid: They do not.
    """
    if "%" in request.raw_path or not request.raw_path.isascii():
        try:
            f"{request.path}{request.query_string}".encode()
        except UnicodeError:
            raise Invalid("The path or query is not valid Unicode (UTF-8).") from None


async def _answer(request: web.Request, handler: Handler, request_id: str, trace_id: str) -> web.StreamResponse:
    try:
        check_host(request, request.app[CONFIG])
        _check_text(request)
        request[CALLER] = await check_key(request)
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer_http(error, request_id, trace_id)
    except OpsCoreError as error:
        if isinstance(error, StoreError):
            log.warning("request.store_failed", extra={"reason": str(error), "error_code": error.error_code})
        elif isinstance(error, (Unauthenticated, Forbidden)) and log.isEnabledFor(logging.INFO):
            facts = {**_facts(request), "error_code": error.error_code, "reason": error.message}
            log.info("request.refused", extra=facts)
        return answer_error(error, request_id, trace_id, request.app[CONFIG].discretion)
    except Exception:
        log.exception("request.failed", extra=_facts(request))
        detail = "Something went wrong here; the server's log has it."
        return problem(500, "INTERNAL_ERROR", detail, request_id, trace_id)
