"""What happens to every request: it gets an id, is checked, and whatever goes wrong becomes a problem."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any, Awaitable, Callable

from aiohttp import web

from opscore.domain.errors import Forbidden, Invalid, OpsCoreError, StoreError, Unauthenticated
from opscore.telemetry import context
from opscore.web.auth import check_host, check_key
from opscore.web.config import CONFIG
from opscore.web.errors import answer_error, answer_http, problem
from opscore.web.streams import REQUEST_ID

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Typed keys are younger than the oldest aiohttp we run on.
CALLER: Any = web.RequestKey("opscore_caller", str) if hasattr(web, "RequestKey") else "opscore_caller"
_LONGEST_PATH = 500
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One middleware for all of it: each further one would cost every request a few microseconds."""
    given = request.headers.get("X-Request-ID", "")
    request_id = given if _SANE_ID.fullmatch(given) else os.urandom(8).hex()
    request[REQUEST_ID] = request_id
    begun = time.perf_counter()
    bound = context.begin(request_id=request_id)
    try:
        answer = await _answer(request, handler, request_id)
        if not answer.prepared:  # a stream sent its headers, with this one, long ago
            answer.headers["X-Request-ID"] = request_id
        _note(request, answer, begun)
    finally:
        context.release(bound)
    return answer


def _note(request: web.Request, answer: web.StreamResponse, begun: float) -> None:
    """Tell the log of an answer."""
    level = logging.DEBUG if answer.status < 500 else logging.WARNING
    if log.isEnabledFor(level):
        took = round((time.perf_counter() - begun) * 1000, 3)
        log.log(level, "request.answered", extra={**_facts(request), "status": answer.status, "duration_ms": took})


def _facts(request: web.Request) -> dict[str, Any]:
    """Who asks for what. The query stays out: what people put there is their own."""
    return {"method": request.method, "path": request.path[:_LONGEST_PATH], "client": request.remote}


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


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        check_host(request, request.app[CONFIG])
        _check_text(request)
        request[CALLER] = await check_key(request)
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer_http(error, request_id)
    except OpsCoreError as error:
        if isinstance(error, StoreError):
            log.warning("request.store_failed", extra={"reason": str(error), "error_code": error.error_code})
        elif isinstance(error, (Unauthenticated, Forbidden)) and log.isEnabledFor(logging.INFO):
            facts = {**_facts(request), "error_code": error.error_code, "reason": error.message}
            log.info("request.refused", extra=facts)
        return answer_error(error, request_id, request.app[CONFIG].discretion)
    except Exception:
        log.exception("request.failed", extra=_facts(request))
        return problem(500, "INTERNAL_ERROR", "Something went wrong here; the server's log has it.", request_id)
