"""Errors on the wire: the one place that knows status numbers.

Every error is a problem of RFC 9457 (``application/problem+json``), with the fields that the clients of
AI Spine and Ops-Core read beside it.
"""

from __future__ import annotations

import http
import math
from typing import Callable, Mapping, Optional

import orjson
from aiohttp import web

from opscore.domain import errors as e

STATUS: Mapping[type, int] = {
    e.Invalid: 400,
    e.Unauthenticated: 401,
    e.Forbidden: 403,
    e.NotFound: 404,
    e.Conflict: 409,
    e.TooLarge: 413,
    e.UnsupportedMediaType: 415,
    e.Overloaded: 429,
    e.Unavailable: 503,
    e.StoreFull: 507,
    e.StoreError: 503,
}
_CODES = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL_ERROR",
}
_DEFAULT_RETRY_AFTER = 5


class RequestTimeout(e.OpsCoreError):
    """A client did not send its body in time."""

    code = "REQUEST_TIMEOUT"


def status_of(error: e.OpsCoreError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, RequestTimeout):
        return 408
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def answer_error(
    error: e.OpsCoreError, request_id: str, trace_id: str, discretion: Callable[[str], str] = lambda text: text
) -> web.Response:
    """The answer for one of our errors; ``discretion`` masks what is secret in what it says."""
    status = status_of(error)
    headers = {}
    if status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or _DEFAULT_RETRY_AFTER)))
    details = {name: [discretion(text) for text in texts] for name, texts in error.details.items()}
    return problem(status, error.error_code, discretion(error.message), request_id, trace_id, details, headers)


def answer_http(error: web.HTTPException, request_id: str, trace_id: str) -> web.Response:
    """The answer for an error that aiohttp itself raised: no such route, not that method, too large."""
    phrase = http.HTTPStatus(error.status).phrase
    detail = {
        404: "There is nothing at this path.",
        405: "This path does not know that method.",
        413: "The body is larger than this server takes.",
    }.get(error.status, phrase)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    code = _CODES.get(error.status, phrase.upper().replace(" ", "_"))
    return problem(error.status, code, detail, request_id, trace_id, {}, headers)


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    trace_id: str,
    details: Optional[Mapping[str, list[str]]] = None,
    headers: Optional[Mapping[str, str]] = None,
) -> web.Response:
    """One problem, whole."""
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "error_code": code,
        "details": details or {},
        "request_id": request_id,
        "trace_id": trace_id,
    }
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )
