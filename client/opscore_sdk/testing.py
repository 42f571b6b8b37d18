"""A fake Ops-Core for tests: it listens on loopback, keeps everything in memory, and does as it is told.

It speaks the API for flows, executions, events, agents, states, sessions, logs, health, status, overview and metrics;
not for keys, explanations and figures of performance. Flows need no agents: each has a script that gives its output.

Example:
    >>> import asyncio
    >>> from opscore_sdk import OpsCoreClientAsync
    >>> from opscore_sdk.testing import FakeOpsCore
    >>> async def demo():
    ...     async with FakeOpsCore() as fake, OpsCoreClientAsync(fake.url) as client:
    ...         fake.on_flow("hello", lambda given: {"greet": {"greeting": f"Hello {given['name']}"}})
    ...         started = await client.execute_flow("hello", {"name": "Ada"})
    ...         done = await client.wait_for_execution(started["execution_id"])
    ...         return done["output_data"]
    >>> asyncio.run(demo())
    {'greet': {'greeting': 'Hello Ada'}}
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Deque, Dict, List, Mapping, Optional, Type

from aiohttp import web

from opscore_sdk.fake_agents import AgentRoutes, SystemRoutes
from opscore_sdk.fake_flows import FlowRoutes
from opscore_sdk.fake_http import Fault, make_app
from opscore_sdk.fake_observation import ObservationRoutes
from opscore_sdk.fake_runs import FakeExecution, FakeFlow, FlowFailed, Json, Script
from opscore_sdk.fake_store import FakeStore, RecordedRequest

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FakeExecution", "FakeFlow", "FakeOpsCore", "FlowFailed", "RecordedRequest"]

_START_LIMIT = 10.0


class FakeOpsCore:
    """A server for tests, as a context manager: ``async with`` runs it in this loop, ``with`` in a thread.

    Args:
        api_key: The key that requests must carry; by default none is asked for.

    Attributes:
        requests: All requests so far, in their order; also those that were made to fail.

    Example:
        >>> from opscore_sdk.testing import FakeOpsCore
        >>> with FakeOpsCore() as fake:
        ...     flow = fake.on_flow("report", {"write": {"text": "..."}}, held=True)
        ...     # ... start it through the code under test, look at its state, then:
        ...     flow.release()
    """

    def __init__(self, api_key: Optional[str] = None) -> None:
        self.requests: List[RecordedRequest] = []
        self._store = FakeStore()
        self._faults: Deque[Fault] = deque()
        self._api_key = api_key
        self._url: Optional[str] = None
        self._runner: Optional[web.AppRunner] = None
        self._thread: Optional[_Thread] = None

    # -- what it shall do ------------------------------------------------------------------------

    def on_flow(self, flow_id: str, result: Script = None, *, held: bool = False) -> FakeFlow:
        """Have a flow, and say how its executions end. Saying it again replaces what was said.

        Args:
            flow_id: Which flow.
            result: The output of each execution, or a function (also ``async def``) from its input to its output.
                A function fails the execution by raising :class:`FlowFailed`, or anything else.
            held: Whether executions stay ``running`` until :meth:`FakeFlow.release`.

        Returns:
            The flow: the inputs that it was given, ``hold()`` and ``release()``.

        Example:
            >>> fake = FakeOpsCore()
            >>> hello = fake.on_flow("hello", lambda given: {"greet": {"greeting": f"Hello {given['name']}"}})
            >>> hello.inputs
            []
        """
        flow = FakeFlow(flow_id, result, held=held)
        self._store.scripts[flow_id] = flow
        if flow_id not in self._store.flows:
            self._store.put_flow({"flow_id": flow_id, "nodes": [{"id": "main", "type": "input"}]})
        return flow

    def fail_flow(self, flow_id: str, message: str, error_code: str = "AGENT_ERROR") -> FakeFlow:
        """Have a flow whose executions all fail with this message and code."""

        def fail(_: Json) -> None:
            raise FlowFailed(message, error_code)

        return self.on_flow(flow_id, fail)

    def add_agent(self, agent_id: str, **fields: Any) -> None:
        """Have an agent, as if it had registered with these fields."""
        self._store.agents[agent_id] = self._store.new_agent({**fields, "agent_id": agent_id})

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Have an entry in the log; what it is about by name, such as ``agent_id``. From any thread.

        Example:
            >>> fake = FakeOpsCore()
            >>> fake.log("The agent gave no answer.", "warning", agent_id="zoe", error_code="AGENT_TIMEOUT")
        """
        self._store.log(message, level, fields)

    def fail_next(
        self,
        count: int = 1,
        *,
        status: int = 503,
        error_code: Optional[str] = None,
        detail: str = "Told to fail.",
        retry_after: Optional[str] = None,
        method: Optional[str] = None,
    ) -> None:
        """Let the next requests answer with an error, and do nothing.

        Args:
            count: How many requests.
            status: The HTTP status.
            error_code: The code; by default one that fits the status.
            detail: The message.
            retry_after: The ``Retry-After`` header: seconds, or a date.
            method: Only requests of this method count; by default all.

        Example:
            >>> fake = FakeOpsCore()
            >>> fake.fail_next(2, status=429, retry_after="1")
        """
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        fault = Fault(status=status, error_code=error_code, detail=detail, headers=headers, method=method)
        self._faults.extend([fault] * count)

    def cut_next(self, count: int = 1, *, after_work: bool = False, method: Optional[str] = None) -> None:
        """Let the next requests end with a cut connection.

        Args:
            count: How many requests.
            after_work: Whether the server does what was asked first, so that only its answer is lost.
            method: Only requests of this method count; by default all.
        """
        self._faults.extend([Fault(cuts=True, after_work=after_work, method=method)] * count)

    def reset(self) -> None:
        """Forget everything: flows, executions, agents, requests, and what was told to fail."""
        self._store.clear()
        self._faults.clear()
        self.requests.clear()

    # -- what has happened -----------------------------------------------------------------------

    @property
    def executions(self) -> Dict[str, FakeExecution]:
        """The executions by id, oldest first; ``record`` is what the API shows."""
        return self._store.executions

    @property
    def flows(self) -> Mapping[str, Json]:
        """The newest version of each flow by id."""
        return {flow_id: versions[-1] for flow_id, versions in self._store.flows.items()}

    @property
    def agents(self) -> Mapping[str, Json]:
        """The agents by id."""
        return self._store.agents

    def states(self, agent_id: str) -> List[str]:
        """The states that an agent has reported, in their order."""
        return [report["state"] for report in self._store.reports.get(agent_id, [])]

    def requests_to(self, method: str, path: str) -> List[RecordedRequest]:
        """The requests with this method and path (without ``/api/v1``), in their order."""
        return [one for one in self.requests if (one.method, one.path) == (method, path)]

    # -- its life --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens.

        Raises:
            RuntimeError: It does not listen now.
        """
        if self._url is None:
            raise RuntimeError("The fake server does not listen; use it as a context manager.")
        return self._url

    def app(self) -> web.Application:
        """The server as an application, for aiohttp's ``TestServer``."""
        kinds = (FlowRoutes, AgentRoutes, SystemRoutes, ObservationRoutes)
        routes = [route for kind in kinds for route in kind(self._store).table()]
        return make_app(routes, self.requests, self._faults, self._api_key)

    async def start(self) -> None:
        """Listen on a free port of loopback, in the running loop."""
        if self._url is not None:
            raise RuntimeError("The fake server listens already.")
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._runner = runner
        self._url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def close(self) -> None:
        """Listen no more; what has happened stays readable."""
        runner, self._runner, self._url = self._runner, None, None
        self._store.drop()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self._thread = _Thread(self)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()


class _Thread:
    """Runs a fake server in a loop of its own, for tests that block."""

    def __init__(self, fake: FakeOpsCore) -> None:
        self._fake = fake
        self._ready = threading.Event()
        self._error: Optional[Exception] = None
        self._thread = threading.Thread(target=self._run, name="fake-opscore", daemon=True)
        self._thread.start()
        self._ready.wait(_START_LIMIT)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the loop, and wait for it."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_START_LIMIT)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised where the block is entered
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with self._fake:
            self._ready.set()
            await self._end.wait()
