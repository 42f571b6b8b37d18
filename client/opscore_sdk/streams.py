"""Server-Sent Events: a parser without any network, and a stream of events that mends itself.

The stream knows the number of the last event it gave out. When the connection breaks it connects anew and asks for
what comes after that number; an event that comes twice is dropped, and one that was skipped makes it ask again. So
every event is given out once and in order, and the stream ends when the execution has ended.
"""

from __future__ import annotations

from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Dict,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Type,
)

import orjson

from opscore_sdk.errors import ConnectionError as ServerLost
from opscore_sdk.errors import OpsCoreApiError
from opscore_sdk.models import Event
from opscore_sdk.retries import is_worth_a_repeat
from opscore_sdk.transport import Transport
from opscore_sdk.wire import EVENT_STREAM, Request, read

if TYPE_CHECKING:
    from typing_extensions import Self

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


class ServerSentEvent(NamedTuple):
    """One event as it came over the wire."""

    data: str
    event: str = "message"
    id: str = ""


class EventParser:
    """Makes events of bytes, however they are cut into chunks (WHATWG HTML, 9.2.6)."""

    def __init__(self) -> None:
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
            elif self._data:
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


class EventStream:
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
        self.last_seq = after
        self.final_status: Optional[str] = None
        self._transport = transport
        self._ask = ask
        self._events: Optional[AsyncGenerator[Event, None]] = None
        self._has_gap_at = -1

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._events is None:
            self._events = self._until_end()
        return self._events

    async def __anext__(self) -> Event:
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
        if self._events is not None:
            await self._events.aclose()

    def begin_again(self) -> None:
        """After an interruption: the next event asked for connects anew, after the last one that was given out."""
        self._events = None

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

    async def _pause(self, failures: int, error: Exception) -> None:
        is_final = isinstance(error, OpsCoreApiError) and not is_worth_a_repeat(error.status)
        asked_for = error.retry_after if isinstance(error, OpsCoreApiError) else None
        clock = self._transport.clock
        pause = None if is_final else self._transport.options.retries.pause(failures, clock.chance(), asked_for)
        if pause is None:
            raise error
        await clock.sleep(pause)

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
