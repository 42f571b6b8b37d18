"""The asynchronous client: how it is made and adjusted. What it can do is in the modules by subject."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Generic, Mapping, Optional, Type, TypeVar

from opscore_sdk import wire
from opscore_sdk._agents import AgentMethods
from opscore_sdk._flows import FlowMethods
from opscore_sdk._keys import KeyMethods
from opscore_sdk._observation import ObservationMethods
from opscore_sdk._sessions import SessionMethods
from opscore_sdk.checks import a_count, a_setting
from opscore_sdk.models import Health, Metrics, ServerStatus
from opscore_sdk.retries import RetryPolicy
from opscore_sdk.transport import (
    Clock,
    Hooks,
    Options,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    Transport,
    log_to_stderr,
)
from opscore_sdk.wire import DEFAULT_URL, base_address, credentials, request

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class OpsCoreClientAsync(SessionMethods, FlowMethods, AgentMethods, KeyMethods, ObservationMethods):
    """Talks to one Ops-Core server. Use it as an async context manager, or close it.

    Answers are models: dictionaries whose known keys are typed attributes. A refusal is an :class:`OpsCoreApiError` of
    its own kind, no answer in time a :class:`TimeoutError`, no server a :class:`ConnectionError`; all are
    :class:`OpsCoreSDKError`. Calls that may safely be made again are, on 408, 429, 5xx and broken connections.

    Example:
        >>> async with OpsCoreClientAsync("http://127.0.0.1:8000") as client:
        ...     execution = await client.execute_and_wait("credit_analysis", {"customer_id": "C-1042"})
        ...     print(execution.status, execution.output_data)
    """

    def __init__(
        self,
        base_url: Optional[str] = None,
        api_key: Optional[str] = None,
        timeout: float = 30.0,
        max_retries: int = 3,
        debug: bool = False,  # noqa: FBT001, FBT002 - the place that the users of the AI Spine SDK know
        *,
        total_timeout: Optional[float] = 120.0,
        headers: Optional[Mapping[str, str]] = None,
        on_request: Optional[Callable[[RequestSent], object]] = None,
        on_response: Optional[Callable[[ResponseReceived], object]] = None,
        on_retry: Optional[Callable[[RetryPlanned], object]] = None,
        clock: Optional[Clock] = None,
    ) -> None:
        """Choose the server; nothing is connected yet.

        Args:
            base_url: The server; by default ``OPSCORE_API_URL``, or else http://127.0.0.1:8000.
            api_key: The key; by default ``OPSCORE_API_KEY``. An empty text sends none.
            timeout: Seconds for one attempt, its answer included.
            max_retries: How often a call is made again at most.
            debug: Whether to log what happens on the wire to standard error; keys and bodies are never logged.
            total_timeout: Seconds for a call with all its repeats; None for no limit.
            headers: Sent with every request.
            on_request: Told of every attempt before it is made.
            on_response: Told of every answer.
            on_retry: Told of every repeat before its pause.
            clock: Time and chance, for tests.

        Raises:
            OpsCoreConfigurationError: The address, the key or a time could not work.
        """
        self.base_url = base_address(base_url or os.environ.get("OPSCORE_API_URL") or DEFAULT_URL)
        key = os.environ.get("OPSCORE_API_KEY") if api_key is None else api_key
        policy = RetryPolicy(
            a_count(max_retries, "max_retries"),
            total=None if total_timeout is None else a_setting(total_timeout, "total_timeout"),
        )
        options = Options(
            a_setting(timeout, "timeout"),
            policy,
            {**credentials(key), **(headers or {})},
            Hooks(on_request, on_response, on_retry),
        )
        self._transport = Transport(self.base_url, options, clock=clock)
        if debug:
            log_to_stderr()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, also those of views made by :meth:`with_options`."""
        await self._transport.close()

    def with_options(
        self,
        *,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        total_timeout: Optional[float] = None,
        api_key: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Self:
        """The same client with other options, over the same connections; it need not be closed.

        Args:
            timeout: Seconds for one attempt.
            max_retries: How often a call is made again at most.
            total_timeout: Seconds for a call with all its repeats.
            api_key: Another key.
            headers: Sent with every request, beside those that are sent already.

        Example:
            >>> await client.with_options(timeout=5, max_retries=0).health_check()
        """
        options = self._transport.options
        retries = options.retries
        if max_retries is not None:
            retries = retries._replace(max_retries=a_count(max_retries, "max_retries"))
        if total_timeout is not None:
            retries = retries._replace(total=a_setting(total_timeout, "total_timeout"))
        changed = options._replace(
            timeout=options.timeout if timeout is None else a_setting(timeout, "timeout"),
            retries=retries,
            headers={**options.headers, **credentials(api_key), **(headers or {})},
        )
        return self._viewed(type(self), self._transport.evolve(changed))

    @property
    def with_raw_response(self) -> RawMethods:
        """The same methods, returning the server's answer as it came: status, headers and body.

        Example:
            >>> answer = await client.with_raw_response.get_flow("hello")
            >>> answer.status, answer.headers["X-Request-ID"], answer.parse().flow_id
        """
        return RawMethods(self)

    def _viewed(self, kind: Type[V], transport: Transport) -> V:
        view = kind.__new__(kind)
        view.__dict__.update(self.__dict__)
        view._transport = transport  # noqa: SLF001 - another one of us
        return view

    # -- the server ------------------------------------------------------------------------------

    async def health_check(self, *, timeout: Optional[float] = None) -> Health:
        """Whether the server is there, and its version; needs no key.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(Health, request("GET", "health"), timeout)

    async def get_status(self, *, timeout: Optional[float] = None) -> ServerStatus:
        """The server at a glance: components, and counts of agents, flows and executions.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(ServerStatus, request("GET", "status"), timeout)

    async def get_metrics(self, *, timeout: Optional[float] = None) -> Metrics:
        """Counts and times over all executions.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(Metrics, request("GET", "metrics"), timeout)


V = TypeVar("V", bound=OpsCoreClientAsync)


class RawResponse(Generic[T]):
    """An answer as it came.

    Attributes:
        status: Its HTTP status; ``status_code`` is the same.
        headers: Its headers.
        body: Its body as bytes.
    """

    def __init__(self, answer: wire.Answer, parsed: T) -> None:
        """Keep an answer.

        Args:
            answer: The last one of the call.
            parsed: What the call would have returned.
        """
        self.status, self.headers, self.body = answer
        self._parsed = parsed

    @property
    def status_code(self) -> int:
        """Its HTTP status."""
        return self.status

    def parse(self) -> T:
        """What the method itself would have returned."""
        return self._parsed


_WITHOUT_ONE_ANSWER = (
    "close", "stream_all_events", "stream_events", "stream_logs", "with_options", "with_raw_response",
)  # fmt: skip


class RawMethods:
    """A client's methods, each returning a :class:`RawResponse`. Refusals are raised as ever."""

    def __init__(self, client: OpsCoreClientAsync) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[RawResponse[Any]]]:
        if name.startswith("_") or name in _WITHOUT_ONE_ANSWER:
            raise AttributeError(f"There is no raw response of {name!r}.")
        getattr(self._client, name)

        async def call(*args: Any, **options: Any) -> RawResponse[Any]:
            noted: list[wire.Answer] = []
            view = self._client._viewed(type(self._client), self._client._transport)  # noqa: SLF001 - our own
            view._note = noted.append  # type: ignore[method-assign,assignment]  # noqa: SLF001 - our own
            parsed = await getattr(view, name)(*args, **options)
            return RawResponse(noted[-1], parsed)

        return call
