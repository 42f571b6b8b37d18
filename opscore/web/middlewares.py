"""What happens to every request: it gets an id, is checked, and whatever goes wrong becomes a problem."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any, Awaitable, Callable, Optional

from aiohttp import web

from opscore.domain.errors import Invalid, OpsCoreError, StoreError
from opscore.web.auth import bare_path, check_host, check_key
from opscore.web.config import CONFIG, METRICS
from opscore.web.errors import answer_error, answer_http, problem
from opscore.web.streams import REQUEST_ID

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Typed keys are younger than the oldest aiohttp we run on.
CALLER: Any = web.RequestKey("opscore_caller", str) if hasattr(web, "RequestKey") else "opscore_caller"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One middleware for all of it: each further one would cost every request a few microseconds."""
    given = request.headers.get("X-Request-ID", "")
    request_id = given if _SANE_ID.fullmatch(given) else os.urandom(8).hex()
    request[REQUEST_ID] = request_id
    began = time.monotonic()
    answer = await _answer(request, handler, request_id)
    seconds: Optional[float] = time.monotonic() - began
    if not answer.prepared:  # a stream sent its headers, with this one, long ago
        answer.headers["X-Request-ID"] = request_id
        if "wait=" in request.rel_url.raw_query_string:
            seconds = None
    else:
        seconds = None
    request.app[METRICS].answered(request.method, _route(request), answer.status, seconds)
    return answer


def _route(request: web.Request) -> Optional[str]:
    """The pattern of the path, the same for both faces of the API; None where nothing is there."""
    resource = request.match_info.route.resource
    return None if resource is None else bare_path(resource.canonical)


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
            log.warning("request.store_failed", extra={"request_id": request_id, "reason": str(error)})
        return answer_error(error, request_id)
    except Exception:
        log.exception("request.failed", extra={"request_id": request_id, "path": request.path})
        return problem(500, "INTERNAL_ERROR", "Something went wrong here; the server's log has it.", request_id)
