"""Server-Sent Events: a parser without any network, and streams that mend themselves.

A stream knows the number of the last item it gave out. When the connection breaks it connects anew and asks for what
comes after that number; an item that comes twice is dropped. So every item is given out once and in order. The events
of one execution are numbered without a gap, so one that was skipped makes the stream ask again, and it ends when the
execution has ended. A feed, of events of all executions or of log entries, goes on until it is closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Dict,
    Generic,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Type,
    TypeVar,
)

import orjson

from opscore_sdk.errors import ConnectionError as ServerLost
from opscore_sdk.errors import OpsCoreApiError
from opscore_sdk.models import Event, Model
from opscore_sdk.retries import is_worth_a_repeat
from opscore_sdk.transport import Transport
from opscore_sdk.wire import EVENT_STREAM, Request, read

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Entry = TypeVar("Entry", bound=Model)

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


class ServerSentEvent(NamedTuple):
    """One event as it came over the wire."""

    data: str
    event: str = "message"
    id: str = ""


class EventParser:
    """Makes events of bytes, however they are cut into chunks (WHATWG HTML, 9.2.6).

    Attributes:
        last_id: The id of the last event that is complete; also of one without data, which is no event otherwise.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self._rest = b""
        self._is_first = True
        self._after_cr = False
        self._data: List[str] = []
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> List[ServerSentEvent]:
        """The events that are complete with this chunk."""
        found: List[ServerSentEvent] = []
        for line in self._lines(chunk):
            if line:
                self._take(line)
                continue
            self.last_id = self._id
            if self._data:
                found.append(ServerSentEvent("\n".join(self._data), self._event or "message", self._id))
                self._data, self._event = [], ""
            else:
                self._event = ""
        return found

    def _lines(self, chunk: bytes) -> List[str]:
        if self._after_cr and chunk:  # the line feed of a CR LF that was cut in two
            chunk = chunk[1:] if chunk[:1] == b"\n" else chunk
            self._after_cr = False
        if not chunk.endswith((b"\n", b"\r")) and b"\n" not in chunk and b"\r" not in chunk:
            self._rest += chunk
            return []
        self._after_cr = chunk.endswith(b"\r")
        text = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        if self._is_first:
            self._is_first = False
            lines[0] = lines[0][3:] if lines[0].startswith(b"\xef\xbb\xbf") else lines[0]
        return [line.decode("utf-8", "replace") for line in lines]

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value


class Stream(ABC, Generic[Item]):
    """Items as they come, over one connection after another."""

    def __init__(self, transport: Transport) -> None:
        """Prepare; iterating connects.

        Args:
            transport: The network.
        """
        self._transport = transport
        self._items: Optional[AsyncGenerator[Item, None]] = None

    def __aiter__(self) -> AsyncIterator[Item]:
        if self._items is None:
            self._items = self._until_end()
        return self._items

    async def __anext__(self) -> Item:
        return await self.__aiter__().__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and close the connection."""
        if self._items is not None:
            await self._items.aclose()

    def begin_again(self) -> None:
        """After an interruption: the next item asked for connects anew, after the last one that was given out."""
        self._items = None

    @abstractmethod
    def _until_end(self) -> AsyncGenerator[Item, None]:
        """All items, over as many connections as it takes."""

    async def _pause(self, failures: int, error: Exception) -> None:
        is_final = isinstance(error, OpsCoreApiError) and not is_worth_a_repeat(error.status)
        asked_for = error.retry_after if isinstance(error, OpsCoreApiError) else None
        clock = self._transport.clock
        pause = None if is_final else self._transport.options.retries.pause(failures, clock.chance(), asked_for)
        if pause is None:
            raise error
        await clock.sleep(pause)


class EventStream(Stream[Event]):
    """The events of one execution, until it has ended. Iterate over it; ``async with`` closes it early.

    Attributes:
        last_seq: The number of the last event that was given out.
        final_status: How the execution ended, once it has.
    """

    def __init__(self, transport: Transport, ask: Callable[[int], Request], after: int = 0) -> None:
        """Prepare; iterating connects.

        Args:
            transport: The network.
            ask: Makes the request for what comes after a number.
            after: Only events above this number.
        """
        super().__init__(transport)
        self.last_seq = after
        self.final_status: Optional[str] = None
        self._ask = ask
        self._has_gap_at = -1

    async def _until_end(self) -> AsyncGenerator[Event, None]:
        failures, looks = 0, _FIRST_LOOK
        while self.final_status is None:
            before, error = self.last_seq, None
            events = self._connected()
            try:
                async for event in events:
                    yield event
            except (ServerLost, OpsCoreApiError) as lost:
                error = lost
            finally:
                await events.aclose()
            if self.last_seq > before:
                failures, looks = 0, _FIRST_LOOK
            elif error is not None:
                failures += 1
                await self._pause(failures, error)
            elif self.final_status is None:  # the server has pages only, and nothing new is on them
                await self._transport.clock.sleep(looks)
                looks = min(looks * 1.5, _LONGEST_LOOK)

    async def _connected(self) -> AsyncGenerator[Event, None]:
        """What one connection brings."""
        async with self._transport.stream(self._ask(self.last_seq)) as response:
            if response.status != 200 or response.content_type != EVENT_STREAM:
                page = read(response.status, response.headers, await response.read(), self._transport.clock.now())
                for found in _events_of(page):
                    if self._is_next(found):
                        yield found
                return
            parser = EventParser()
            async for chunk in response.content.iter_any():
                for sent in parser.feed(chunk):
                    if sent.event == "end":
                        self.final_status = self.final_status or _final_status(sent.data)
                        return
                    event = _event(sent)
                    if self._is_next(event):
                        yield event
                    if self.final_status is not None:
                        return
        raise ServerLost("The stream of events broke off.")

    def _is_next(self, event: Event) -> bool:
        """Whether an event is to be given out now.

        Raises:
            ConnectionError: One before it is missing; what is missing has to be asked for.
        """
        if event.seq <= self.last_seq:
            return False
        if event.seq > self.last_seq + 1 and self._has_gap_at != self.last_seq:
            self._has_gap_at = self.last_seq  # once; when it is missing again it is not there at all
            raise ServerLost(f"Events after {self.last_seq} are missing.")
        self.last_seq = event.seq
        if event.is_terminal:
            self.final_status = event.type.partition(".")[2]
        return True


class Pruned(Model):
    """A feed was asked for what the server no longer has: it went on with the oldest that is there."""

    __slots__ = ()
    after: int
    oldest: int


class Feed(Stream[Entry]):
    """What happens on the server, as it happens, until it is closed. Iterate over it, in an ``async with`` block.

    Attributes:
        last_id: The number of the last item that was given out or passed over; None while none is known.
        pruned: What was asked for and is gone, as the server last told it; None when nothing was.
    """

    def __init__(
        self,
        transport: Transport,
        ask: Callable[[Optional[int]], Request],
        kind: Type[Entry],
        number: str,
        after: Optional[int] = None,
    ) -> None:
        """Prepare; iterating connects.

        Args:
            transport: The network.
            ask: Makes the request for what comes after a number; without one, for what comes from now on.
            kind: What the items are.
            number: The field with an item's number.
            after: Only items above this number.
        """
        super().__init__(transport)
        self.last_id = after
        self.pruned: Optional[Pruned] = None
        self._ask = ask
        self._kind = kind
        self._number = number
        self._is_open = False

    async def _until_end(self) -> AsyncGenerator[Entry, None]:
        failures = 0
        while True:
            self._is_open = False
            items = self._connected()
            try:
                async for item in items:
                    yield item
            except (ServerLost, OpsCoreApiError) as lost:
                error: Exception = lost
            finally:
                await items.aclose()
            failures = 1 if self._is_open else failures + 1
            await self._pause(failures, error)

    async def _connected(self) -> AsyncGenerator[Entry, None]:
        """What one connection brings.

        Raises:
            ConnectionError: It broke off, as every one does in the end.
        """
        async with self._transport.stream(self._ask(self.last_id)) as response:
            if response.status != 200 or response.content_type != EVENT_STREAM:
                found = read(response.status, response.headers, await response.read(), self._transport.clock.now())
                raise ServerLost(f"What answered is no stream: {str(found)[:200]}")
            self._is_open = True
            parser = EventParser()
            async for chunk in response.content.iter_any():
                for sent in parser.feed(chunk):
                    if sent.event == "pruned":
                        self.pruned = Pruned(_object(sent.data))
                        continue
                    item = self._kind(_object(sent.data))
                    if self._is_next(item.get(self._number)):
                        yield item
                if parser.last_id.isdecimal():
                    self._is_next(int(parser.last_id))  # what a filter passed over
        raise ServerLost("The stream broke off.")

    def _is_next(self, number: Any) -> bool:
        if not isinstance(number, int):
            raise ServerLost(f"What answered has items without {self._number}.")
        if self.last_id is not None and number <= self.last_id:
            return False
        self.last_id = number
        return True


def _events_of(page: Any) -> List[Event]:
    if not isinstance(page, dict) or not isinstance(page.get("events"), list):
        _refuse(page)
    return [Event(one) for one in page["events"]]


def _event(sent: ServerSentEvent) -> Event:
    data = _object(sent.data)
    if not isinstance(data.get("seq"), int):
        _refuse(sent.data)
    return Event(data)


def _final_status(data: str) -> str:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = data
    status = found.get("status") if isinstance(found, dict) else found
    return status if isinstance(status, str) and status else "ended"


def _object(text: str) -> Dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else _refuse(text)


def _refuse(found: Any) -> NoReturn:
    raise ServerLost(f"What answered has no events of an execution: {str(found)[:200]}")
