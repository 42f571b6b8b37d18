"""Agents in Python: decorate a function, run it, and Ops-Core calls it.

Example:
    >>> from opscore_sdk import Agent
    >>> agent = Agent("greeter", capabilities=["greeting"])
    >>> @agent
    ... async def greet(input):
    ...     return {"greeting": f"Hello {input['name']}"}
    >>> agent.run(port=9001)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Iterator, Optional, Sequence, TypeVar

from opscore_sdk.agent_presence import ACTIVE, IDLE, Presence, State
from opscore_sdk.agent_work import AgentError, Call, Desk, Handler
from opscore_sdk.aio import OpsCoreClientAsync

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Agent", "AgentError", "Call"]

F = TypeVar("F", bound=Callable[..., Any])

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
_log = logging.getLogger("opscore_sdk.agent")


class Agent:
    """An HTTP agent by the AI Spine contract, around functions.

    A handler is an ``async def``, or a plain function, which gets a thread. It takes the node's input, or the
    input and the :class:`Call`, and returns the output as a dict. It fails by raising :class:`AgentError`, in its
    own words; of any other exception only the name is sent. Ops-Core calls at least once: a repeat with the same
    idempotency key gets the same answer and does not run twice, unless the first try failed and may be repeated.
    When the caller hangs up and nobody else waits, an ``async def`` is cancelled. The last 1,000 answers are kept for
    repeats, in this process.

    While it serves, the agent is registered with Ops-Core and reports ``initializing``, ``idle``, ``active``, ``error``
    (after a handler died of something unforeseen, until the next one does not) and ``offline``. It works while Ops-Core
    is away and registers when it comes; a refusal that will not pass is logged, and the agent serves unregistered.

    Args:
        agent_id: The name that flows call it by: letters, digits, ``_`` and ``-``.
        name: A name for people; by default the id.
        description: What it does, for people.
        capabilities: What it can do, for flows that ask for a capability.
        version: Its version, for people.
        base_url: The Ops-Core where it registers; by default ``OPSCORE_API_URL``, or else http://127.0.0.1:8000.
        api_key: The key; by default ``OPSCORE_API_KEY``.
        replace: Whether an agent that is registered under this name with other data is replaced.
        max_concurrency: How many calls are worked on at once; more are answered with 429.
        max_body_bytes: The largest call that is read.
        body_timeout: Seconds that a call's body may take to arrive.
        drain_timeout: Seconds that running calls get to end when the agent stops.
        report_interval: Seconds between two reports of its state at least; what lies between is left out.

    Raises:
        ValueError: The id or a limit could not work.

    Example:
        >>> agent = Agent("greeter", capabilities=["greeting"])
        >>> @agent
        ... async def greet(input):
        ...     return {"greeting": f"Hello {input['name']}"}
    """

    def __init__(
        self,
        agent_id: str,
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        capabilities: Sequence[str] = (),
        version: Optional[str] = None,
        base_url: Optional[str] = None,
        api_key: Optional[str] = None,
        replace: bool = False,
        max_concurrency: int = 100,
        max_body_bytes: int = 16 * 1024 * 1024,
        body_timeout: float = 30.0,
        drain_timeout: float = 10.0,
        report_interval: float = 0.25,
    ) -> None:
        if not isinstance(agent_id, str) or not _ID.fullmatch(agent_id):
            raise ValueError(f"{agent_id!r} is no id of an agent: 1 to 100 letters, digits, _ and -.")
        if isinstance(capabilities, str):
            raise ValueError("capabilities must be a list of texts.")  # noqa: TRY004 - one error for all arguments
        if min(max_concurrency, max_body_bytes) < 1 or body_timeout <= 0 or min(drain_timeout, report_interval) < 0:
            raise ValueError("max_concurrency, max_body_bytes and body_timeout must be above 0, times not below.")
        self.agent_id = agent_id
        self._registration: Dict[str, Any] = {
            "name": name or agent_id,
            "description": description,
            "capabilities": list(capabilities),
            "version": version,
            "max_concurrency": max_concurrency,
        }
        self._base_url = base_url
        self._api_key = api_key
        self._replace = replace
        self._max_concurrency = max_concurrency
        self._max_body_bytes = max_body_bytes
        self._body_timeout = body_timeout
        self._drain_timeout = drain_timeout
        self._report_interval = report_interval
        self._handlers: Dict[Optional[str], Handler] = {}
        self._presence: Optional[Presence] = None

    def __repr__(self) -> str:
        return f"Agent({self.agent_id!r})"

    def __call__(self, function: F) -> F:
        """Decorate the function that does the work of all nodes without a handler of their own.

        Returns:
            The function as it is, so that tests can call it.

        Raises:
            TypeError: It takes neither one nor two arguments.
            ValueError: There is such a function already.
        """
        return self._add(None, function)

    def on(self, node_id: str) -> Callable[[F], F]:
        """Decorate the function that does the work of the nodes with one id.

        Example:
            >>> agent = Agent("clerk")
            >>> @agent.on("collect")
            ... def collect(input, call):
            ...     return {"source": call.config.get("source", "mail")}
        """

        def decorate(function: F) -> F:
            return self._add(node_id, function)

        return decorate

    def _add(self, node_id: Optional[str], function: F) -> F:
        if node_id in self._handlers:
            which = "a handler" if node_id is None else f'a handler for the node "{node_id}"'
            raise ValueError(f"The agent {self.agent_id} has {which} already.")
        self._handlers[node_id] = Handler(function)
        return function

    def app(self) -> web.Application:
        """The agent as an aiohttp application that tells Ops-Core nothing: for tests, or to mount elsewhere.

        Example:
            >>> from aiohttp.test_utils import TestClient, TestServer
            >>> async def test_it_greets():
            ...     async with TestClient(TestServer(agent.app())) as client:
            ...         answer = await client.post("/execute", json={"input": {"name": "Ada"}})
            ...         assert (await answer.json())["output"] == {"greeting": "Hello Ada"}
        """
        return self._app(self._desk())

    @asynccontextmanager
    async def serving(
        self, host: str = "127.0.0.1", port: int = 0, *, endpoint: Optional[str] = None, register: bool = True
    ) -> AsyncIterator[str]:
        """Serve inside a running event loop, for as long as the block lasts: in tests, notebooks, other programs.

        At its end running calls get ``drain_timeout`` seconds to finish.

        Args:
            host: The address to listen on.
            port: The port to listen on; 0 takes a free one.
            endpoint: Where Ops-Core reaches the agent; by default the address that it listens on.
            register: Whether to register with Ops-Core and report states, as soon as it is there.

        Yields:
            The agent's own address.

        Raises:
            RuntimeError: There is no handler, or the agent serves already.
            OSError: The address cannot be listened on.
            OpsCoreConfigurationError: The address or key of Ops-Core could not work.

        Example:
            >>> async def demo():
            ...     async with agent.serving(register=False) as url:
            ...         print(url)
        """
        from aiohttp import web

        client = self._check(register=register)
        desk = self._desk()
        runner = web.AppRunner(
            self._app(desk),
            access_log=None,
            keepalive_timeout=15.0,
            handler_cancellation=True,  # who hangs up is noticed at once
            shutdown_timeout=self._drain_timeout,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            bound = int(runner.addresses[0][1])
            if client is not None:
                self._presence = self._enter(client, desk, endpoint or _address(host, bound))
            yield _address("127.0.0.1" if host in _ANY_HOST else host, bound)
        finally:
            await self._leave(desk, runner, client)

    async def registered(self, timeout: Optional[float] = None) -> None:
        """Wait until Ops-Core knows the agent that is being served.

        Args:
            timeout: Seconds to wait at most; by default for ever.

        Raises:
            OpsCoreApiError: Ops-Core refused it for good.
            asyncio.TimeoutError: Not in that time; the agent goes on trying.
            RuntimeError: The agent does not serve, or does not register.
        """
        if self._presence is None:
            raise RuntimeError(f"The agent {self.agent_id} does not register now.")
        await asyncio.wait_for(self._presence.registered(), timeout)

    def run(
        self, host: str = "127.0.0.1", port: int = 9000, *, endpoint: Optional[str] = None, register: bool = True
    ) -> None:
        """Serve until SIGTERM or Ctrl-C, then finish what runs, say goodbye and return. A second signal kills.

        Where nobody has set up logging, the agent's own lines go to standard error.

        Args:
            host: The address to listen on; 0.0.0.0 for all.
            port: The port to listen on; 0 takes a free one.
            endpoint: Where Ops-Core reaches the agent; by default the address that it listens on, or the name of
                this host.
            register: Whether to register with Ops-Core and report states, as soon as it is there.

        Raises:
            RuntimeError: There is no handler, or an event loop runs here already (use :meth:`serving` there).
            OSError: The address cannot be listened on.
            OpsCoreConfigurationError: The address or key of Ops-Core could not work.
        """
        if _loop_runs():
            raise RuntimeError("An event loop runs here already; use `async with agent.serving(port=...):` instead.")
        if not logging.getLogger().handlers and not _log.handlers:
            logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        asyncio.run(self._run(host, port, endpoint=endpoint, register=register))

    async def _run(self, host: str, port: int, **options: Any) -> None:
        stop = asyncio.Event()
        with _signals(stop):
            async with self.serving(host, port, **options) as url:
                _log.info("The agent %s is ready at %s (Ctrl-C stops it).", self.agent_id, url)
                await stop.wait()
                _log.info("The agent %s stops.", self.agent_id)

    def _check(self, *, register: bool) -> Optional[OpsCoreClientAsync]:
        if not self._handlers:
            raise RuntimeError(f"The agent {self.agent_id} has no handler; decorate a function with it.")
        if self._presence is not None:
            raise RuntimeError(f"The agent {self.agent_id} serves already.")
        return OpsCoreClientAsync(self._base_url, self._api_key) if register else None

    def _desk(self) -> Desk:
        return Desk(self._handlers, self._max_concurrency)

    def _app(self, desk: Desk) -> web.Application:
        from opscore_sdk.agent_app import AgentRoutes

        about = {"agent_id": self.agent_id, "version": self._registration["version"]}
        return AgentRoutes(desk, about, self._max_body_bytes, self._body_timeout).app()

    def _enter(self, client: OpsCoreClientAsync, desk: Desk, endpoint: str) -> Presence:
        given = {name: value for name, value in self._registration.items() if value is not None}
        presence = Presence(
            client,
            self.agent_id,
            {**given, "endpoint": endpoint},
            replace=self._replace,
            report_interval=self._report_interval,
        )
        desk.on_change = lambda: presence.show(_state(desk))
        presence.enter()
        return presence

    async def _leave(self, desk: Desk, runner: web.AppRunner, client: Optional[OpsCoreClientAsync]) -> None:
        """Stop in order: no new work, what runs, the goodbye, the connections."""
        presence, self._presence = self._presence, None
        desk.is_stopping = True
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._drain_timeout
        try:
            await runner.cleanup()  # waits for answers on their way, then cancels
            await desk.close(max(0.0, deadline - clock()))  # threads whose callers have hung up
        finally:
            if presence is not None:
                await presence.leave()
            if client is not None:
                await client.close()


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _state(desk: Desk) -> State:
    if desk.in_flight:
        return ACTIVE
    return IDLE if desk.last_crash is None else State("error", {"error": desk.last_crash})


def _address(host: str, port: int) -> str:
    """A URL of an address; that of this host by name where it listens on all."""
    if host in _ANY_HOST:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set the event at the first SIGTERM or SIGINT; a second one has its usual effect."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def end() -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number in numbers:
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(number)

    for number in numbers:
        try:
            loop.add_signal_handler(number, end)
        except (NotImplementedError, ValueError, RuntimeError):  # Windows, or not the main thread
            with contextlib.suppress(ValueError):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    try:
        yield
    finally:
        restore()
