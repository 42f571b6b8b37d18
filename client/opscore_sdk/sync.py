"""The synchronous client: every method of the asynchronous one, run on an event loop in another thread.

Nothing is written twice. Each method borrows name, parameters, types and docstring from its asynchronous original; what
the original returns as pages or as a stream comes as something to use in a plain ``for``.
"""

from __future__ import annotations

import functools
import inspect
import re
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Dict,
    Generic,
    Iterator,
    Optional,
    Sequence,
    Type,
    TypeVar,
    cast,
)

from opscore_sdk.aio import OpsCoreClientAsync, RawResponse
from opscore_sdk.blocking import keep, keep_stream, run
from opscore_sdk.models import Event
from opscore_sdk.pages import Item, Page, Pages
from opscore_sdk.streams import Entry, EventStream, Feed, Pruned, Stream

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec, Self

    P = ParamSpec("P")
    Q = ParamSpec("Q")

Aio = OpsCoreClientAsync
R = TypeVar("R")
S = TypeVar("S")


class SyncPages(Generic[Page, Item]):
    """A list of unknown length: ``for`` gives all items, :meth:`first` the first page, :meth:`pages` all pages.

    Pages are asked for when they are needed, and every loop begins anew.
    """

    def __init__(self, client: object, listed: Pages[Page, Item]) -> None:
        """Take what the asynchronous client listed, and that client, which is needed as long as this."""
        self._client = client
        self._listed = listed

    def __iter__(self) -> Iterator[Item]:
        return _each(self._listed.__aiter__())

    def first(self) -> Page:
        """The first page."""
        return run(_awaited(self._listed))

    def pages(self) -> Iterator[Page]:
        """All pages, in order."""
        return _each(self._listed.pages())

    def all(self, limit: Optional[int] = None) -> Sequence[Item]:
        """The items as a list.

        Args:
            limit: At most so many; by default all there are.
        """
        return run(self._listed.all(limit))


class _SyncStream(Generic[Item]):
    """Items as they come. When waiting for one is interrupted, iterating again goes on after the last one."""

    def __init__(self, client: object, stream: Stream[Item]) -> None:
        self._client = client  # which is needed as long as this
        self._items = stream
        keep_stream(stream)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            return run(self._items.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
        except BaseException as error:
            if not isinstance(error, Exception):
                self._items.begin_again()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and close the connection."""
        run(self._items.aclose())


class SyncEventStream(_SyncStream[Event]):
    """The events of one execution, until it has ended. Iterate over it; ``with`` closes it early.

    When waiting for an event is interrupted (Ctrl-C), iterating again goes on after the last event.
    """

    def __init__(self, client: object, stream: EventStream) -> None:
        """Take the asynchronous stream, and its client, which is needed as long as this."""
        super().__init__(client, stream)
        self._stream = stream

    @property
    def last_seq(self) -> int:
        """The number of the last event that was given out."""
        return self._stream.last_seq

    @property
    def final_status(self) -> Optional[str]:
        """How the execution ended, once it has."""
        return self._stream.final_status


class SyncFeed(_SyncStream[Entry]):
    """What happens on the server, as it happens, until it is closed. Iterate over it, in a ``with`` block.

    When waiting is interrupted (Ctrl-C), iterating again goes on after the last item.
    """

    def __init__(self, client: object, stream: Feed[Entry]) -> None:
        """Take the asynchronous stream, and its client, which is needed as long as this."""
        super().__init__(client, stream)
        self._stream = stream

    @property
    def last_id(self) -> Optional[int]:
        """The number of the last item that was given out or passed over; None while none is known."""
        return self._stream.last_id

    @property
    def pruned(self) -> Optional[Pruned]:
        """What was asked for and is gone, as the server last told it; None when nothing was."""
        return self._stream.pruned


class SyncRawMethods:
    """A client's methods, each returning a :class:`RawResponse`. Refusals are raised as ever."""

    def __init__(self, client: OpsCoreClientSync) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., RawResponse[Any]]:
        method = getattr(self._client._aio.with_raw_response, name)  # noqa: SLF001 - our own

        def call(*args: Any, **options: Any) -> RawResponse[Any]:
            return run(_awaited(method(*args, **options)))

        return call


def borrowed(
    original: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[Concatenate[S, Q], R]], Callable[Concatenate[S, P], R]]:
    """Give a method the name, the parameters and the docstring of its asynchronous original."""

    def dress(method: Callable[Concatenate[S, Q], R]) -> Callable[Concatenate[S, P], R]:
        returned = method.__annotations__.get("return")
        dressed: Any = functools.wraps(original)(method)
        del dressed.__wrapped__
        signature = inspect.signature(original)
        if returned is not None:
            signature = signature.replace(return_annotation=returned)
            dressed.__annotations__ = {**original.__annotations__, "return": returned}
        dressed.__signature__ = signature
        dressed.__doc__ = _without_await(original.__doc__)
        return cast("Callable[Concatenate[S, P], R]", dressed)

    return dress


def blocking(original: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[Any, P], R]:
    """A method that waits for what the original returns."""

    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> R:
        return run(original(self._aio, *args, **options))

    del call.__annotations__["return"]
    return borrowed(original)(call)


def blocking_pages(
    original: Callable[Concatenate[Any, P], Pages[Page, Item]],
) -> Callable[Concatenate[Any, P], SyncPages[Page, Item]]:
    """A method whose pages can be iterated over without ``async``."""

    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> SyncPages[Page, Item]:
        return SyncPages(self, original(self._aio, *args, **options))

    call.__annotations__["return"] = "Sync" + original.__annotations__["return"]
    return borrowed(original)(call)


def blocking_stream(
    original: Callable[Concatenate[Any, P], EventStream],
) -> Callable[Concatenate[Any, P], SyncEventStream]:
    """A method whose stream can be iterated over without ``async``."""

    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> SyncEventStream:
        return SyncEventStream(self, original(self._aio, *args, **options))

    return borrowed(original)(call)


def blocking_feed(
    original: Callable[Concatenate[Any, P], Feed[Entry]],
) -> Callable[Concatenate[Any, P], SyncFeed[Entry]]:
    """A method whose endless stream can be iterated over without ``async``."""

    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> SyncFeed[Entry]:
        return SyncFeed(self, original(self._aio, *args, **options))

    call.__annotations__["return"] = "Sync" + original.__annotations__["return"]
    return borrowed(original)(call)


def _without_await(text: Optional[str]) -> str:
    """A docstring for those who do not write ``await``."""
    return re.sub(r"\b(?:async|await) ", "", (text or "").replace("``await``", "``first()``"))


async def _awaited(what: Awaitable[R]) -> R:
    return await what


async def _next(items: AsyncIterator[Item]) -> Item:
    return await items.__anext__()


def _each(items: AsyncIterator[Item]) -> Iterator[Item]:
    while True:
        try:
            item = run(_next(items))
        except StopAsyncIteration:
            return
        yield item


class OpsCoreClientSync:
    """Talks to one Ops-Core server, without ``await``. Use it as a context manager, or close it.

    It can be used from many threads at once, in a notebook, and after a fork. Methods, answers and errors are those of
    :class:`OpsCoreClientAsync`.

    Example:
        >>> with OpsCoreClientSync("http://127.0.0.1:8000") as client:
        ...     execution = client.execute_and_wait("credit_analysis", {"customer_id": "C-1042"})
        ...     print(execution.status, execution.output_data)
    """

    _aio: OpsCoreClientAsync

    @borrowed(OpsCoreClientAsync.__init__)
    def __init__(self, /, *args: Any, **options: Any) -> None:
        self._aio = OpsCoreClientAsync(*args, **options)
        self._watch()

    def _watch(self) -> None:
        self._life = _Life()
        keep(self._life, self._aio._transport.connections)  # noqa: SLF001 - our own

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self._aio.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    close = blocking(Aio.close)

    @borrowed(OpsCoreClientAsync.with_options)
    def with_options(self, /, **options: Any) -> Self:  # noqa: D102 - borrowed
        view = type(self).__new__(type(self))
        state: Dict[str, Any] = {**self.__dict__, "_aio": self._aio.with_options(**options)}
        view.__dict__.update(state)
        return view

    @property
    def with_raw_response(self) -> SyncRawMethods:
        """The same methods, returning the server's answer as it came: status, headers and body.

        Example:
            >>> answer = client.with_raw_response.get_flow("hello")
            >>> answer.status, answer.headers["X-Request-ID"], answer.parse().flow_id
        """
        return SyncRawMethods(self)

    # -- keys
    create_key = blocking(Aio.create_key)
    list_keys = blocking(Aio.list_keys)
    revoke_key = blocking(Aio.revoke_key)
    # -- agents
    list_agents = blocking(Aio.list_agents)
    get_agent = blocking(Aio.get_agent)
    get_agent_history = blocking(Aio.get_agent_history)
    create_agent = blocking(Aio.create_agent)
    delete_agent = blocking(Aio.delete_agent)
    test_agent = blocking(Aio.test_agent)
    update_state = blocking(Aio.update_state)
    get_state = blocking(Aio.get_state)
    # -- flows
    list_flows = blocking(Aio.list_flows)
    get_flow = blocking(Aio.get_flow)
    list_flow_versions = blocking(Aio.list_flow_versions)
    create_flow = blocking(Aio.create_flow)
    update_flow = blocking(Aio.update_flow)
    validate_flow = blocking(Aio.validate_flow)
    delete_flow = blocking(Aio.delete_flow)
    # -- executions
    execute_flow = blocking(Aio.execute_flow)
    get_execution = blocking(Aio.get_execution)
    wait_for_execution = blocking(Aio.wait_for_execution)
    execute_and_wait = blocking(Aio.execute_and_wait)
    cancel_execution = blocking(Aio.cancel_execution)
    cancel_executions = blocking(Aio.cancel_executions)
    list_executions = blocking_pages(Aio.list_executions)
    get_execution_results = blocking(Aio.get_execution_results)
    list_messages = blocking(Aio.list_messages)
    get_message = blocking(Aio.get_message)
    get_execution_events = blocking(Aio.get_execution_events)
    stream_events = blocking_stream(Aio.stream_events)
    # -- what happens
    list_events = blocking_pages(Aio.list_events)
    stream_all_events = blocking_feed(Aio.stream_all_events)
    list_logs = blocking_pages(Aio.list_logs)
    stream_logs = blocking_feed(Aio.stream_logs)
    get_overview = blocking(Aio.get_overview)
    explain_execution = blocking(Aio.explain_execution)
    get_performance = blocking(Aio.get_performance)
    get_flow_graph = blocking(Aio.get_flow_graph)
    # -- sessions
    trigger_workflow = blocking(Aio.trigger_workflow)
    get_session = blocking(Aio.get_session)
    wait_for_session = blocking(Aio.wait_for_session)
    complete_task = blocking(Aio.complete_task)
    # -- client
    health_check = blocking(Aio.health_check)
    get_status = blocking(Aio.get_status)
    get_metrics = blocking(Aio.get_metrics)
    whoami = blocking(Aio.whoami)


class _Life:
    """Lives as long as a client or one of its views."""

    __slots__ = ("__weakref__",)
