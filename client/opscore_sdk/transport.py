"""The network: one aiohttp session for all calls, a time limit on each, repeats where they are safe, no redirects."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
import weakref
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncContextManager,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    NamedTuple,
    Optional,
    Union,
)

from opscore_sdk._version import __version__
from opscore_sdk.errors import ConnectionError as ServerLost
from opscore_sdk.errors import OpsCoreSDKError
from opscore_sdk.errors import TimeoutError as TooLate
from opscore_sdk.retries import RetryPolicy, is_worth_a_repeat, read_retry_after
from opscore_sdk.wire import Answer, Request

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("opscore_sdk")

_MOST_CONNECTIONS = 1_000
_KEEP_OPEN = 15.0
_STREAM_SILENCE = 45.0
"""A stream says something every 15 seconds; when it is silent for three times that, it is broken."""


class Clock(NamedTuple):
    """Time and chance, so that tests can have their own."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class RequestSent(NamedTuple):
    """For ``on_request``: an attempt is about to be made."""

    method: str
    url: str
    attempt: int


class ResponseReceived(NamedTuple):
    """For ``on_response``: an answer came."""

    method: str
    url: str
    attempt: int
    status: int
    seconds: float
    request_id: Optional[str]


class RetryPlanned(NamedTuple):
    """For ``on_retry``: the call is made again after a pause."""

    method: str
    url: str
    attempt: int
    """The attempt that failed, from 1."""
    pause: float
    status: Optional[int]
    error: Optional[OpsCoreSDKError]


class Hooks(NamedTuple):
    """Functions that are told of what happens on the wire, for logs and metrics. They never see a key or a body."""

    on_request: Optional[Callable[[RequestSent], object]] = None
    on_response: Optional[Callable[[ResponseReceived], object]] = None
    on_retry: Optional[Callable[[RetryPlanned], object]] = None


class Options(NamedTuple):
    """How calls are made."""

    timeout: float = 30.0
    """Seconds for one attempt, its answer included."""
    retries: RetryPolicy = RetryPolicy()
    headers: Mapping[str, str] = {}
    hooks: Hooks = Hooks()


class Connections:
    """The connections to one server, opened by the first request; shared by all views of a client."""

    def __init__(self) -> None:
        self._session: Optional[aiohttp.ClientSession] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.is_closed = False

    def session(self) -> aiohttp.ClientSession:
        """The session of the running event loop.

        Raises:
            OpsCoreSDKError: The client is closed, or works in another loop just now.
        """
        if self.is_closed:
            raise OpsCoreSDKError("The client is closed.")
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            if self._loop is not None and self._loop is not loop and self._loop.is_running():
                raise OpsCoreSDKError("The client is in use in another event loop; make one client for each.")
            self._discard()
            self._session, self._loop = _open_session(self._socket), loop
        return self._session

    def _discard(self) -> None:
        """Let go of the connections of a loop that has ended."""
        session, self._session = self._session, None
        if session is None or session.connector is None:
            return
        closing = session.connector.close() if self._loop is not None and self._loop.is_closed() else None
        session.detach()
        if closing is not None:
            list(closing.__await__())  # without a loop there is nothing to wait for

    def _socket(self, address: Any) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    def leave_behind(self) -> Optional[aiohttp.ClientSession]:
        """Begin anew in a process that was forked; the parent's session is whoever asks for it to keep.

        This process's copies of its sockets are closed, or the server would not see it when the parent hangs up.
        """
        for one in list(self._sockets):
            one.close()
        session, self._session, self._loop = self._session, None, None
        return session

    async def close(self) -> None:
        """Close the connections; requests are refused from now on."""
        self.is_closed = True
        if self._loop is not asyncio.get_running_loop():
            self._discard()
        elif self._session is not None:
            session, self._session = self._session, None
            await session.close()


@lru_cache(maxsize=64)
def _limited_to(seconds: float) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=seconds)


def _open_session(make_socket: Callable[[Any], socket.socket]) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_MOST_CONNECTIONS, keepalive_timeout=_KEEP_OPEN, socket_factory=make_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"opscore-sdk/{__version__}", "X-SDK-Version": f"opscore-sdk/{__version__}"},
    )


class Transport:
    """Sends requests to one server."""

    def __init__(
        self,
        base_url: str,
        options: Options,
        connections: Optional[Connections] = None,
        clock: Optional[Clock] = None,
    ) -> None:
        """Prepare; the first request connects.

        Args:
            base_url: The server's address, without a trailing slash.
            options: How calls are made.
            connections: Those of another transport, to share.
            clock: Time and chance.
        """
        self.base_url = base_url
        self.options = options
        self.connections = connections or Connections()
        self.clock = clock or Clock()

    def evolve(self, options: Options) -> Transport:
        """The same connections, used otherwise."""
        return Transport(self.base_url, options, self.connections, self.clock)

    async def send(self, request: Request, timeout: Optional[float] = None) -> Answer:
        """The answer, after repeats where they are safe and help.

        Args:
            request: What to send.
            timeout: Seconds for one attempt instead of the usual.

        Raises:
            TimeoutError: No answer in time.
            ConnectionError: The server could not be reached.
        """
        limit = (self.options.timeout if timeout is None else timeout) + request.extra_seconds
        policy, clock = self.options.retries, self.clock
        deadline = None if policy.total is None else clock.monotonic() + policy.total + request.extra_seconds
        attempt = 1
        while True:
            left = limit if deadline is None else max(0.001, min(limit, deadline - clock.monotonic()))
            outcome = await self._attempt(request, attempt, left)
            pause = self._pause(request, attempt, outcome)
            if pause is None or (deadline is not None and clock.monotonic() + pause >= deadline):
                return _settled(outcome)
            self._tell_retry(request, attempt, pause, outcome)
            await clock.sleep(pause)
            attempt += 1

    def _pause(self, request: Request, attempt: int, outcome: _Outcome) -> Optional[float]:
        retry_after = None
        if isinstance(outcome, Answer):
            if not is_worth_a_repeat(outcome.status):
                return None
            retry_after = read_retry_after(outcome.headers.get("Retry-After"), self.clock.now())
        elif outcome.is_hopeless:
            return None
        if not request.idempotent:
            return None
        return self.options.retries.pause(attempt, self.clock.chance(), retry_after)

    async def _attempt(self, request: Request, attempt: int, limit: float) -> _Outcome:
        import aiohttp

        begun = self.clock.monotonic()
        try:
            async with self._opened(request, attempt, _limited_to(limit)) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except asyncio.TimeoutError:
            return _Lost(TooLate(f"{self.base_url} gave no answer within {limit:g} seconds.", limit))
        except (aiohttp.ClientError, OSError) as error:
            return self._lost(error)
        self._tell_response(request, attempt, answer, begun)
        return answer

    def _lost(self, error: Exception) -> _Lost:
        import aiohttp

        lost = ServerLost(f"Cannot reach {self.base_url}: {_reason(error)}.")
        lost.__cause__ = error
        return _Lost(lost, isinstance(error, (aiohttp.ClientSSLError, aiohttp.InvalidURL)))

    def _opened(
        self, request: Request, attempt: int, timeout: aiohttp.ClientTimeout
    ) -> AsyncContextManager[aiohttp.ClientResponse]:
        from yarl import URL

        if self._is_watched():
            url = self.base_url + _where(request)
            log.debug("-> %s %s (attempt %d)", request.method, url, attempt)
            if self.options.hooks.on_request is not None:
                self.options.hooks.on_request(RequestSent(request.method, url, attempt))
        return self.connections.session().request(
            request.method,
            URL(self.base_url + request.path, encoded=True),
            headers={**self.options.headers, **request.headers},
            data=request.body,
            timeout=timeout,
            allow_redirects=False,
        )

    def _is_watched(self) -> bool:
        """Whether anybody is to be told of single requests and answers."""
        hooks = self.options.hooks
        return hooks.on_request is not None or hooks.on_response is not None or log.isEnabledFor(logging.DEBUG)

    @asynccontextmanager
    async def stream(self, request: Request, attempt: int = 1) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is read as it comes; no repeats.

        Raises:
            TimeoutError: No answer in time, or silence.
            ConnectionError: The server could not be reached, or the connection broke.
        """
        import aiohttp

        limit = self.options.timeout
        timeout = aiohttp.ClientTimeout(total=None, connect=limit, sock_read=max(limit, _STREAM_SILENCE))
        begun = self.clock.monotonic()
        try:
            async with self._opened(request, attempt, timeout) as response:
                self._tell_response(request, attempt, Answer(response.status, response.headers, b""), begun)
                yield response
        except asyncio.TimeoutError as error:
            if isinstance(error, OpsCoreSDKError):
                raise
            raise TooLate(f"{self.base_url} fell silent.", limit) from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, OpsCoreSDKError):
                raise
            raise self._lost(error).error from error

    async def close(self) -> None:
        """Close the connections; requests are refused from now on."""
        await self.connections.close()

    def _tell_response(self, request: Request, attempt: int, answer: Answer, begun: float) -> None:
        if not self._is_watched():
            return
        seconds = self.clock.monotonic() - begun
        request_id = answer.headers.get("X-Request-ID")
        url = self.base_url + _where(request)
        log.debug("<- %d %s %s in %.3f s (request %s)", answer.status, request.method, url, seconds, request_id)
        if self.options.hooks.on_response is not None:
            told = ResponseReceived(request.method, url, attempt, answer.status, seconds, request_id)
            self.options.hooks.on_response(told)

    def _tell_retry(self, request: Request, attempt: int, pause: float, outcome: _Outcome) -> None:
        status = outcome.status if isinstance(outcome, Answer) else None
        error = None if isinstance(outcome, Answer) else outcome.error
        url = self.base_url + _where(request)
        log.debug("%s %s again in %.3f s: %s", request.method, url, pause, error or status)
        if self.options.hooks.on_retry is not None:
            self.options.hooks.on_retry(RetryPlanned(request.method, url, attempt, pause, status, error))


class _Lost(NamedTuple):
    """An attempt without an answer."""

    error: ServerLost
    is_hopeless: bool = False
    """Whether the next attempt would end no better."""


_Outcome = Union[Answer, _Lost]


def _settled(outcome: _Outcome) -> Answer:
    if isinstance(outcome, Answer):
        return outcome
    raise outcome.error


def _where(request: Request) -> str:
    """The path without its parameters: those may be nobody else's business."""
    return request.path.partition("?")[0]


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ConnectionRefusedError):
        return "nothing listens there"
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(text).split()).rstrip(".")


def log_to_stderr() -> None:
    """Show this SDK's debug log, once; it has methods, addresses and times, and neither keys nor bodies."""
    log.setLevel(logging.DEBUG)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        log.addHandler(handler)
