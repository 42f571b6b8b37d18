"""Server-Sent Events (the HTML standard, 9.2): the open streams, and how they are written, kept alive and closed.

A stream holds no queue. It is woken, its handler reads what is new and writes it, and each write lasts until the
system has taken it all; a reader that keeps one waiting too long is cut off, and resumes from its last event.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from typing import Any, AsyncIterator, Awaitable, Callable, Optional

from aiohttp import web

from opscore.domain.errors import OpsCoreError, Unavailable
from opscore.domain.instants import Seconds

log = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
# Typed keys are younger than the oldest aiohttp we run on.
REQUEST_ID: Any = web.RequestKey("opscore_request_id", str) if hasattr(web, "RequestKey") else "opscore_request_id"
TRACE_ID: Any = web.RequestKey("opscore_trace_id", str) if hasattr(web, "RequestKey") else "opscore_trace_id"

_FAREWELL: Seconds = 0.5
_RETRY_AFTER: Seconds = 5.0
COMMENT = b":\n\n"
_STOPS = b": the server stops; resume with Last-Event-ID\n\n"
_MOST_FRAMES = 1000
_LONGEST_FRAME_KEPT = 16_384
_QUALITY = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


class ReaderGone(Exception):
    """The other end has closed, or was cut off."""


class Streams:
    """The open streams of one application."""

    def __init__(self, limit: int, heartbeat: Seconds = 15.0, write_timeout: Seconds = 30.0) -> None:
        """Take what it works with.

        Args:
            limit: Streams open at once.
            heartbeat: Seconds between two comments, which keep what is between here and the reader awake.
            write_timeout: Seconds that a reader may take to accept a write.
        """
        self._limit = limit
        self._heartbeat = heartbeat
        self._write_timeout = write_timeout
        self._open: set[Stream] = set()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._closed = False

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @asynccontextmanager
    async def place(self, request: web.Request) -> AsyncIterator[Stream]:
        """A stream that is still to begin, and ends with the block; what fails after its beginning ends it too.

        Raises:
            Unavailable: Too many are open, or the server is stopping.
        """
        self._check_room()
        stream = Stream(request, self._write_timeout)
        self._open.add(stream)
        if self._timer is None:
            self._beat_later()
        try:
            yield stream
            await stream.finish()
        except ReaderGone:
            pass
        except Exception as error:
            if not stream.begun:
                raise
            # The answer has begun, so it cannot become a problem: it ends here, and its reader resumes.
            known = isinstance(error, OpsCoreError)
            level = logging.WARNING if known else logging.ERROR
            facts = {"reason": str(error)}
            log.log(level, "stream.failed", extra=facts, exc_info=None if known else error)
            await stream.finish()
        finally:
            stream.dispose()
            self._open.discard(stream)

    async def close(self) -> None:
        """Tell all streams that the server stops; whoever does not take that in soon is cut off."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for stream in self._open:
            stream.stop()

    def _check_room(self) -> None:
        if self._closed:
            raise Unavailable("The server is stopping.", retry_after=_RETRY_AFTER)
        if len(self._open) < self._limit:
            return
        # Readers that left while nothing happened are noticed at the next write, or here.
        left = [stream for stream in self._open if stream.is_gone]
        for stream in left:
            stream.stop()
        if len(self._open) - len(left) >= self._limit:
            raise Unavailable(
                f"{self._limit} streams are open already; ask for pages, or try again.",
                error_code="TOO_MANY_STREAMS",
                retry_after=_RETRY_AFTER,
            )

    def _beat_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _beat(self) -> None:
        self._timer = None
        for stream in self._open:
            stream.beat()
        if self._open:
            self._beat_later()


class Stream:
    """One reader's stream."""

    def __init__(self, request: web.Request, write_timeout: Seconds) -> None:
        headers = {
            "Content-Type": EVENT_STREAM,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Request-ID": request[REQUEST_ID],
            "X-Trace-ID": request[TRACE_ID],
        }
        self.response = web.StreamResponse(headers=headers)
        self.response.force_close()
        self._request = request
        self._write_timeout = write_timeout
        self._writer: Any = None
        self._woken = asyncio.Event()
        self._is_rung = False
        self._is_beat_due = False
        self._is_stopping = False
        self._last_call: Optional[asyncio.TimerHandle] = None

    @property
    def begun(self) -> bool:
        """Whether the head of the answer has left."""
        return self._writer is not None

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    # -- called at any time, never waiting -----------------------------------------------------

    def ring(self) -> None:
        """There may be something new."""
        self._is_rung = True
        self._woken.set()

    def beat(self) -> None:
        """A comment is due."""
        self._is_beat_due = True
        self._woken.set()

    def stop(self) -> None:
        """It is to end, and soon, also where its reader does not read."""
        self._is_stopping = True
        self._woken.set()
        if self._last_call is None:
            self._last_call = asyncio.get_running_loop().call_later(_FAREWELL, self._cut)

    def dispose(self) -> None:
        """It has ended."""
        if self._last_call is not None:
            self._last_call.cancel()

    # -- called by its handler -----------------------------------------------------------------

    async def begin(self) -> None:
        """Send the head of the answer. Raises ReaderGone."""
        transport = self._request.transport
        if transport is None:
            raise ReaderGone
        # No buffer but the system's: a write that was not taken in whole is felt at once.
        transport.set_write_buffer_limits(high=0)
        try:
            self._writer = await self.response.prepare(self._request)
        except ConnectionError:
            raise ReaderGone from None

    async def send(self, data: bytes) -> None:
        """Write, and wait until the system has taken it. Raises ReaderGone."""
        await self._within_time(self._write(data))

    async def goes_on(self, beat: Callable[[], bytes] = lambda: COMMENT) -> bool:
        """Wait for a ring; False when the stream is to end. The comments that fall due are sent from here.

        Args:
            beat: Makes what is sent when a comment is due; it must show nothing to the reader.

        Raises:
            ReaderGone: One of them could not be sent.
        """
        while not self._is_rung and not self._is_stopping:
            self._woken.clear()
            if self._is_beat_due:
                self._is_beat_due = False
                await self.send(beat())
            else:
                await self._woken.wait()
        self._is_rung = False
        return not self._is_stopping

    async def finish(self) -> None:
        """End the answer, within the time of a write."""
        if self.begun and not self.is_gone:
            with suppress(ReaderGone):
                await self._within_time(self.response.write_eof(_STOPS if self._is_stopping else b""))

    async def _write(self, data: bytes) -> None:
        await self.response.write(data)
        await self._writer.drain()

    async def _within_time(self, writing: Awaitable[None]) -> None:
        timer = asyncio.get_running_loop().call_later(self._write_timeout, self._cut)
        try:
            await writing
        except ConnectionError:
            raise ReaderGone from None
        finally:
            timer.cancel()
        if self.is_gone:
            raise ReaderGone

    def _cut(self) -> None:
        """Close the connection without waiting for what is still to be sent."""
        transport = self._request.transport
        if transport is not None:
            log.info("stream.cut", extra={"path": self._request.path, "request_id": self._request[REQUEST_ID]})
            transport.abort()


class Frames:
    """The newest frames, by the numbers of their events: what many readers get is made once."""

    def __init__(self) -> None:
        self._made: OrderedDict[int, bytes] = OrderedDict()

    def made(self, number: int, make: Callable[[], bytes]) -> bytes:
        """The frame of an event."""
        found = self._made.get(number)
        if found is None:
            found = make()
            if len(found) <= _LONGEST_FRAME_KEPT:
                self._made[number] = found
            if len(self._made) > _MOST_FRAMES:
                self._made.popitem(last=False)
        return found


def wants_events(request: web.Request, *, otherwise: bool) -> bool:
    """Whether a request asks for a stream; ``otherwise`` where its Accept names neither that nor JSON."""
    qualities: dict[str, float] = {}
    for part in ",".join(request.headers.getall("Accept", ())).lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        given = [match[1] for match in map(_QUALITY.fullmatch, parameters) if match]
        qualities[kind] = float(given[0]) if given else 1.0
    if not qualities.keys() & {EVENT_STREAM, "application/json"}:
        return otherwise
    stream = qualities.get(EVENT_STREAM, 0.0)
    return stream > 0 and stream >= qualities.get("application/json", 0.0)


def frame(kind: str, data: bytes, number: Optional[int] = None) -> bytes:
    """One event on the wire. ``kind`` is a word of ours, ``data`` JSON in one line: neither can forge another line."""
    head = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode("ascii"), data)


def place_frame(number: int) -> bytes:
    """A frame that shows nothing, but moves the place from which its reader resumes (9.2.6: no data, no event)."""
    return b"id: %d\n\n" % number
