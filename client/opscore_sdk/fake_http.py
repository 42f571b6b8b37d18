"""The HTTP of the fake server of :mod:`opscore_sdk.testing`."""

from __future__ import annotations

import http
from typing import Any, Awaitable, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import orjson
from aiohttp import web

from opscore_sdk.fake_runs import Json
from opscore_sdk.fake_store import RecordedRequest

PREFIX = "/api/v1"

_CODES = {
    401: "UNAUTHENTICATED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "CONFLICT", 429: "RATE_LIMITED",
    500: "INTERNAL_ERROR", 503: "SHUTTING_DOWN",
}  # fmt: skip
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Route = Tuple[str, str, _Handler]
"""Method, path and handler."""


class Problem(Exception):
    """An answer that says no."""

    def __init__(
        self, status: int, detail: str, code: Optional[str] = None, details: Optional[Mapping[str, List[str]]] = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODES.get(status) or http.HTTPStatus(status).phrase.upper().replace(" ", "_")
        self.details = details or {}
        self.headers: Dict[str, str] = {}

    def answer(self, request_id: str, trace_id: str) -> web.Response:
        """It as ``application/problem+json``."""
        body = {
            "type": "about:blank",
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "message": self.detail,
            "error_code": self.code,
            "details": self.details,
            "request_id": request_id,
            "trace_id": trace_id,
        }
        return web.Response(
            status=self.status, body=orjson.dumps(body), content_type="application/problem+json", headers=self.headers
        )


class Fault(NamedTuple):
    """What shall go wrong with one request."""

    status: int = 503
    error_code: Optional[str] = None
    detail: str = ""
    headers: Optional[Mapping[str, str]] = None
    method: Optional[str] = None
    cuts: bool = False
    after_work: bool = False


def make_app(
    routes: Sequence[Route], requests: List[RecordedRequest], faults: Deque[Fault], api_key: Optional[str]
) -> web.Application:
    """The fake server as an application.

    Args:
        routes: What it answers.
        requests: Where it notes what it is asked.
        faults: What shall go wrong next.
        api_key: The key to ask for, if any.
    """

    @web.middleware
    async def around(request: web.Request, handler: _Handler) -> web.StreamResponse:
        requests.append(await _recorded(request))
        request_id = request.headers.get("X-Request-ID") or f"fake-{len(requests)}"
        trace_id = f"{len(requests):032x}"
        fault = _take(faults, request.method)
        try:
            if fault is not None and not (fault.cuts and fault.after_work):
                _fail(fault, request)
            _check_key(request, api_key)
            response = await handler(request)
            if fault is not None:
                _fail(fault, request)
        except Problem as error:
            response = error.answer(request_id, trace_id)
        except web.HTTPException as error:
            problem = Problem(error.status, "The fake server has no such route, or not with this method.")
            response = problem.answer(request_id, trace_id)
        if not response.prepared:
            response.headers["X-Request-ID"] = request_id
            response.headers["X-Trace-ID"] = trace_id
        return response

    app = web.Application(middlewares=[around], client_max_size=16 * 1024 * 1024)
    for method, path, respond in routes:
        for prefix in ("", PREFIX):
            app.router.add_route(method, prefix + path, respond)
    return app


async def _recorded(request: web.Request) -> RecordedRequest:
    raw = await request.read()
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        body = raw.decode("utf-8", "replace")
    return RecordedRequest(
        request.method, request.path.removeprefix(PREFIX), dict(request.query), request.headers, body
    )


def _take(faults: Deque[Fault], method: str) -> Optional[Fault]:
    for fault in faults:
        if fault.method in (None, method):
            faults.remove(fault)
            return fault
    return None


def _fail(fault: Fault, request: web.Request) -> None:
    if fault.cuts:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError
    problem = Problem(fault.status, fault.detail, fault.error_code)
    problem.headers.update(fault.headers or {})
    raise problem


def _check_key(request: web.Request, api_key: Optional[str]) -> None:
    given = request.headers.get("X-API-Key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    if api_key is not None and given != api_key and not request.path.removeprefix(PREFIX).startswith("/health"):
        refused = Problem(401, "This needs an API key." if not given else "The API key is not known.")
        refused.headers["WWW-Authenticate"] = "Bearer"
        raise refused


def reply(body: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def json_body(request: web.Request) -> Json:
    """The body, an object."""
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        raise Problem(400, "The body is not JSON.", "INVALID_JSON") from None
    if not isinstance(body, dict):
        raise invalid("body", "Must be an object.")
    return body


def invalid(field: str, text: str, code: str = "VALIDATION_ERROR") -> Problem:
    """A 400 about one field."""
    return Problem(400, f"{field}: {text}", code, {field: [text]})


def number(request: web.Request, name: str, default: float) -> float:
    """A number of the query."""
    try:
        return float(request.query.get(name, default))
    except ValueError:
        raise invalid(name, "Must be a number.") from None
