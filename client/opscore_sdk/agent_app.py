"""An agent's HTTP: ``POST /execute`` and ``GET /health`` by the AI Spine contract, around a :class:`Desk`."""

from __future__ import annotations

import asyncio
import http
import re
from typing import Any, Awaitable, Callable, Dict, Optional

import orjson
from aiohttp import web

from opscore_sdk.agent_work import Busy, Call, Desk, HungUp, Stopping

DECODE_IN_THREAD_FROM = 256 * 1024
"""Bytes of a body from which on it is decoded in a thread, so that the loop keeps its pace."""

_LONGEST_KEY = 255
_LONGEST_ID = 200
_BUSY_SECONDS = 1
_STOPPING_SECONDS = 5
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadCall(Exception):
    """The request is no call; it will not become one by repeating it."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class AgentRoutes:
    """The two routes of an agent.

    Args:
        desk: Does the work.
        about: What ``/health`` says of the agent.
        max_body_bytes: The largest body that is read.
        body_timeout: Seconds that a body may take to arrive.
    """

    def __init__(self, desk: Desk, about: Dict[str, Any], max_body_bytes: int, body_timeout: float) -> None:
        self._desk = desk
        self._about = about
        self._limit = max_body_bytes
        self._body_timeout = body_timeout

    def app(self) -> web.Application:
        """The routes as an application."""
        app = web.Application(client_max_size=self._limit, middlewares=[answer_problems])
        app.add_routes([web.post("/execute", self.execute), web.get("/health", self.health)])
        return app

    async def execute(self, request: web.Request) -> web.Response:
        """Do one task, or give the answer that it has already."""
        try:
            call = _call(await self._body(request), request)
            body = await self._desk.answer(call, lambda: request.transport is None)
        except BadCall as error:
            return problem(error.status, error.code, str(error))
        except Busy:
            return problem(429, "BUSY", "The agent has as much work as it takes.", _BUSY_SECONDS)
        except (Stopping, HungUp):
            return problem(503, "SHUTTING_DOWN", "The agent takes no more work.", _STOPPING_SECONDS)
        return web.Response(body=body, content_type="application/json")

    async def health(self, _: web.Request) -> web.Response:
        """200 while the agent takes work, 503 while it stops."""
        stopping = self._desk.is_stopping
        body = {"status": "stopping" if stopping else "healthy", **self._about, "in_flight": self._desk.in_flight}
        return web.json_response(body, status=503 if stopping else 200)

    async def _body(self, request: web.Request) -> Any:
        if "Origin" in request.headers:  # some web page, in a browser that can reach what the page's author cannot
            raise BadCall(403, "FORBIDDEN", "Web pages may not call agents.")
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
            raise BadCall(415, "UNSUPPORTED_MEDIA_TYPE", "Compressed bodies are not read.")
        try:
            body = await asyncio.wait_for(request.read(), self._body_timeout)
        except asyncio.TimeoutError:
            raise BadCall(408, "REQUEST_TIMEOUT", "The body did not arrive in time.") from None
        except web.HTTPRequestEntityTooLarge:
            raise BadCall(413, "TOO_LARGE", f"The body is larger than {self._limit} bytes.") from None
        except (ConnectionError, web.RequestPayloadError):
            raise BadCall(400, "INVALID_BODY", "The body ended too early.") from None
        try:
            if len(body) < DECODE_IN_THREAD_FROM:
                return orjson.loads(body)
            return await asyncio.get_running_loop().run_in_executor(None, orjson.loads, body)
        except orjson.JSONDecodeError as error:
            raise BadCall(400, "INVALID_JSON", f"The body is not JSON: {error}.") from None


def _call(given: Any, request: web.Request) -> Call:
    """The call that a request makes."""
    if not isinstance(given, dict):
        raise _invalid("The body must be a JSON object.")
    config = given.get("config")
    if not isinstance(given.get("input"), dict):
        raise _invalid("input must be an object.")
    if not isinstance(config, (dict, type(None))):
        raise _invalid("config must be an object.")
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise _invalid(f"Idempotency-Key must have 1 to {_LONGEST_KEY} characters.")
    attempt = request.headers.get("X-OpsCore-Attempt", "")
    return Call(
        execution_id=_id(given, "execution_id"),
        node_id=_id(given, "node_id"),
        input=given["input"],
        config=config or {},
        attempt=int(attempt) if _ATTEMPT.fullmatch(attempt) else 1,
        idempotency_key=key,
        traceparent=request.headers.get("traceparent"),
        tracestate=request.headers.get("tracestate"),
    )


def _id(given: Dict[str, Any], name: str) -> str:
    # Left out by people who try an agent by hand; never by Ops-Core.
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > _LONGEST_ID:
        raise _invalid(f"{name} must be a text of at most {_LONGEST_ID} characters.")
    return value


def _invalid(detail: str) -> BadCall:
    return BadCall(400, "VALIDATION_ERROR", detail)


@web.middleware
async def answer_problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer also what aiohttp itself refuses (no such path, not that method) as a problem."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        phrase = http.HTTPStatus(error.status).phrase
        response = problem(error.status, phrase.upper().replace(" ", "_"), f"{phrase}.")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def problem(status: int, code: str, detail: str, retry_after: Optional[int] = None) -> web.Response:
    """An error as RFC 9457 has it, with the fields that Ops-Core reads of agents beside it."""
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "error_code": code,
        "error_message": detail,
    }
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )
