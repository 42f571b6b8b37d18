"""The ``spine`` protocol: one HTTP POST, the answer is the result.

The way of a call is hot, so what can be known before is: an agent's addresses are read once, a small body is read
with one await and decoded in place. Only large bodies and compressed ones go to a thread.
"""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import os
import ssl
import time
from typing import Callable, Optional

import aiohttp
import attrs
import orjson
import yarl

from opscore.domain.agents import AgentSpec
from opscore.domain.calls import Call, Probe, Refused, Reply
from opscore.domain.errors import Invalid
from opscore.domain.instants import Seconds
from opscore.protocols import answers
from opscore.protocols.addresses import AddressGuard, ForbiddenAddress
from opscore.protocols.discretion import Discretion
from opscore.protocols.sessions import watch_sockets

PROBE_TIMEOUT: Seconds = 5.0
IN_THREAD_FROM = 256 * 1024
"""Bytes from which on a body is decoded in a thread, so that the loop keeps its pace."""

_NO_HEALTH = (404, 405, 501)
_STREAM_FROM = 1024 * 1024
_ENDPOINTS_KNOWN = 4_096
_log = logging.getLogger(__name__)


class Spine:
    """Calls agents that speak ``POST /execute``.

    Args:
        session: The session of :func:`opscore.protocols.sessions.open_session`; its owner closes it.
        guard: Says which endpoints may be called.
        max_answer_bytes: The largest answer that is read, decompressed.
        wall_clock: Seconds since 1970, for agents that name the moment of the next try.
        probe_timeout: Seconds that an agent may take to tell its health.
        discretion: What to do about secrets.
    """

    name = "spine"
    answers_later = False
    needs_endpoint = True

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guard: AddressGuard,
        max_answer_bytes: int,
        wall_clock: Callable[[], Seconds] = time.time,
        probe_timeout: Seconds = PROBE_TIMEOUT,
        discretion: Optional[Discretion] = None,
    ) -> None:
        self._session = session
        self._guard = guard
        self._limit = max_answer_bytes
        self._wall_clock = wall_clock
        self._probe_timeout = probe_timeout
        self._discretion = discretion or Discretion()
        self._routes = functools.lru_cache(_ENDPOINTS_KNOWN)(self._read_endpoint)

    def check(self, spec: AgentSpec) -> None:
        """Refuse an endpoint that could never be called.

        Raises:
            Invalid: It is missing, malformed or in a forbidden network.
        """
        self._guard.check_endpoint(spec.endpoint)

    async def call(self, call: Call) -> Reply:
        """Make one attempt; only cancellation leaves it, and closes the connection."""
        try:
            return self._discretion.reply(await self._attempt(call))
        except Exception:  # noqa: BLE001 - the port's promise; what we did not foresee is logged and is a failure
            _log.exception("spine.call_failed", extra={"agent_id": call.agent.spec.agent_id})
            return Refused("AGENT_CALL_FAILED", "The call failed inside Ops-Core; its log says why.", retryable=True)

    async def probe(self, endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
        """Ask ``/health``, once."""
        try:
            return self._discretion.probe(await self._ask(endpoint))
        except Exception:  # noqa: BLE001 - as in call()
            _log.exception("spine.probe_failed", extra={"agent_id": agent_id})
            return Probe(
                connected=False, is_reachable=False, message="The probe failed inside Ops-Core; its log says why."
            )

    async def _attempt(self, call: Call) -> Reply:
        try:
            url, _ = self._routes(call.agent.spec.endpoint)
        except Invalid as error:
            return Refused("AGENT_FORBIDDEN_ADDRESS", error.message, retryable=False)
        try:
            response = await self._send(url, call)
            try:
                return await self._read(response)
            finally:
                response.close()  # cuts the connection, unless all was read and it has gone back already
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            return _failed(error, url)

    async def _ask(self, endpoint: Optional[str]) -> Probe:
        try:
            _, url = self._routes(endpoint)
        except Invalid as error:
            return Probe(connected=False, message=error.message, is_reachable=False)
        began = time.perf_counter()
        try:
            limit = aiohttp.ClientTimeout(total=self._probe_timeout)
            response = await self._session.get(url, timeout=limit, allow_redirects=False)
            response.close()
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            return Probe(connected=False, message=_failed(error, url).error_message, is_reachable=False)
        latency = (time.perf_counter() - began) * 1000
        if answers.is_success(response.status):
            return Probe(connected=True, message="The agent is healthy.", latency_ms=latency)
        message = f"The agent answered {answers.named(response.status)} to {url.raw_path}."
        has_health = response.status not in _NO_HEALTH
        return Probe(connected=False, message=answers.shown(message), latency_ms=latency, has_health=has_health)

    def _read_endpoint(self, endpoint: Optional[str]) -> tuple[yarl.URL, yarl.URL]:
        """Where to send calls, and where probes."""
        url = self._guard.check_endpoint(endpoint)
        self._discretion.learn(endpoint or "")
        path = url.raw_path.rstrip("/")
        base = path.removesuffix("/execute")
        execute, health = (url.with_path(base + end, encoded=True, keep_query=True) for end in ("/execute", "/health"))
        return execute, health

    async def _send(self, url: yarl.URL, call: Call) -> aiohttp.ClientResponse:
        body = orjson.dumps(
            {
                "execution_id": call.execution_id,
                "node_id": call.node_id,
                "input": call.input,
                "config": call.config,
            },
            default=dict,
        )
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": call.idempotency_key,
            "X-OpsCore-Attempt": str(call.attempt),
            **call.trace_headers,
        }
        sockets = watch_sockets()
        try:
            return await self._session.post(url, data=payload_body(body), headers=headers, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # An agent may close an idle connection at the moment it is used again. That is no failure of the
            # agent; and thanks to the idempotency key a repeat is safe even if it had seen the first.
            if sockets or isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await self._session.post(url, data=payload_body(body), headers=headers, allow_redirects=False)

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        status, headers = response.status, response.headers
        encoding = headers.get("Content-Encoding", "")
        body: Optional[bytes] = b"" if answers.is_redirect(status) else await read_body(response, self._limit)
        if body is None or (len(body) < IN_THREAD_FROM and not encoding):
            reply = answers.understood(status, body, encoding, self._limit)
        else:
            reply = await asyncio.get_running_loop().run_in_executor(
                None, answers.understood, status, body, encoding, self._limit
            )
        if isinstance(reply, Refused) and "Retry-After" in headers:
            wait = answers.retry_after(headers["Retry-After"], self._wall_clock())
            return attrs.evolve(reply, retry_after=wait) if reply.retryable else reply
        return reply


async def read_body(response: aiohttp.ClientResponse, limit: int) -> Optional[bytes]:
    """The body as it was sent; None when it is larger than the limit."""
    length = response.content_length
    if length is not None:
        return await response.read() if length <= limit else None
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = await response.content.readany()
        if not chunk:
            return b"".join(chunks)
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)


def payload_body(body: bytes) -> object:
    """What aiohttp is to send: a large body in pieces, for it warns about sending those at once."""
    return body if len(body) < _STREAM_FROM else io.BytesIO(body)


def _failed(error: Exception, url: yarl.URL) -> Refused:
    """What it means that no whole answer came."""
    where = f"agent at {url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = f"The certificate of the {where} is not trusted."
    elif isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ForbiddenAddress):
            text = f"The {where} is in a network that agents may not live in."
            return Refused("AGENT_FORBIDDEN_ADDRESS", text, retryable=False)
        reason = f"No connection to the {where}: {os_reason(error.os_error)}."
    elif isinstance(error, aiohttp.ClientResponseError):
        return answers.bad_answer("it is not valid HTTP.")
    elif isinstance(error, asyncio.TimeoutError):
        reason = f"The {where} did not answer in time."
    elif isinstance(error, aiohttp.InvalidURL):
        reason = "The agent's endpoint cannot be called."
    else:
        reason = f"The connection to the {where} broke before its answer was complete."
    return Refused("AGENT_UNREACHABLE", answers.shown(reason), retryable=True)


def os_reason(error: OSError) -> str:
    """What went wrong in the operating system's words; look-ups of names have numbers and words of their own."""
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as it should"
    if isinstance(error, ForbiddenAddress):
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
