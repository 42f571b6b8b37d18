"""The way of a record: taken down where it was made, worked out in a thread, written in another.

Whoever logs never waits: it puts the record into a queue that has an end, and goes on. The first thread makes lines
and hands them to the takers (the store's keeper) and to the outlet. Only the outlet's own thread writes, for a pipe
that nobody reads holds its writer for ever; then lines are dropped there, and their number is said when it goes on.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Mapping, Optional, Protocol, Sequence, TextIO, Union

from opscore.domain.instants import Seconds
from opscore.telemetry.formats import Format
from opscore.telemetry.lines import Line, Taken, not_taken, take, work_out
from opscore.telemetry.secrets import Secrets
from opscore.telemetry.sentences import sentence

_LONGEST_QUEUE = 20_000
_MOST_AT_ONCE = 256
_LONGEST_BACKLOG = 4 * 1024 * 1024
_FLUSH_LIMIT: Seconds = 2.0
_STALL_LIMIT: Seconds = 0.5
_GATHER: Seconds = 0.05
"""How long a record may wait for others: to wake a thread for each would cost the loop more than the record did."""
_LOGGER = "opscore.telemetry"

Mark = Callable[[], object]


class Taker(Protocol):
    """Somebody who is handed lines, in the logs' own thread. It must be quick."""

    def take(self, lines: Sequence[Line]) -> None:
        """Take lines, in their order."""


class Pipeline(logging.Handler):
    """Takes records from the standard logging module. Start it with its first use; close it to have all written."""

    def __init__(
        self, secrets: Secrets, outlet: Optional[Outlet] = None, *, longest_queue: int = _LONGEST_QUEUE
    ) -> None:
        """Take what it works with.

        Args:
            secrets: What is to be masked.
            outlet: Where lines are written; None for nowhere but to the takers.
            longest_queue: Records that may wait to be worked out; more are dropped and counted.
        """
        super().__init__()
        self.secrets = secrets
        self.outlet = outlet
        self._takers: tuple[Taker, ...] = ()
        self._longest = longest_queue
        self._queue: queue.SimpleQueue[Union[Taken, Mark, None]] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._lost = 0
        self._lost_said = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="opscore-logs", daemon=True)
        self._thread.start()

    # -- called by whoever logs ----------------------------------------------------------------

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record down; without the lock that handlers usually need."""
        if self._closed or not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it where there is no room."""
        if self._queue.qsize() >= self._longest:
            self._lost += 1
            return
        try:
            taken = take(record)
        except Exception as error:  # noqa: BLE001 - the promise of logging: whoever logs is not disturbed
            # Not handleError(): that waits for standard error, and shows what may be secret.
            taken = not_taken(record, error)
        self._queue.put(taken)

    def after_all(self, mark: Mark) -> None:
        """Have ``mark`` called, in the logs' thread, when all that was logged before has been handed to the takers."""
        self._put(mark)

    def _put(self, mark: Optional[Mark]) -> None:
        self._queue.put(mark)
        self._hurry.set()

    @property
    def lost(self) -> Mapping[str, int]:
        """How many were dropped so far, by where there was no room: in the queue, or in the outlet's backlog."""
        return {"queue": self._lost, "output": 0 if self.outlet is None else self.outlet.lost}

    # -- takers --------------------------------------------------------------------------------

    def add(self, taker: Taker) -> None:
        """Hand all lines from now on to somebody."""
        self._takers = (*self._takers, taker)

    def remove(self, taker: Taker) -> None:
        """Hand it no more."""
        self._takers = tuple(one for one in self._takers if one is not taker)

    # -- the end -------------------------------------------------------------------------------

    def flush(self) -> None:
        """Wait until all was written, as long as it goes on; not for a reader that does not read."""
        done = threading.Event()
        if not self._thread.is_alive() or threading.current_thread() is self._thread:
            return
        self._put(done.set)
        if done.wait(_FLUSH_LIMIT) and self.outlet is not None:
            self.outlet.flush()

    def close(self) -> None:
        """Write what waits, and end the threads."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        self._put(None)
        if self.outlet is not None:
            self.outlet.close()
        super().close()

    # -- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            batch, marks, goes_on = self._next()
            lines = list(map(self._line, batch))
            if self._lost > self._lost_said:
                lost, self._lost_said = self._lost - self._lost_said, self._lost
                lines.append(_said(lost))
            for taker in self._takers if lines else ():
                self._hand(taker, lines)
            if lines and self.outlet is not None:
                self.outlet.put(lines)
            for mark in marks:
                mark()
            if not goes_on:
                return

    def _hand(self, taker: Taker, lines: list[Line]) -> None:
        try:
            taker.take(lines)
        except Exception as error:  # noqa: BLE001 - others are to have their lines; this is told where it can be
            lines.append(_not_shown(time.time(), logging.ERROR, _LOGGER, error))

    def _next(self) -> tuple[list[Taken], list[Mark], bool]:
        """What waits, up to a mark: it is called after all before it, and before all after it."""
        batch: list[Taken] = []
        found = self._queue.get()
        if self._queue.qsize() < _MOST_AT_ONCE and not callable(found):
            self._hurry.wait(_GATHER)
        self._hurry.clear()
        while True:
            if found is None:
                return batch, [], False
            if callable(found):
                return batch, [found], True
            batch.append(found)
            if len(batch) >= _MOST_AT_ONCE:
                return batch, [], True
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return batch, [], True

    def _line(self, taken: Taken) -> Line:
        try:
            return work_out(taken, self.secrets)
        except Exception as error:  # noqa: BLE001 - one odd record must not end the log
            return _not_shown(taken.created, taken.level, taken.logger, error)


def _said(lost: int) -> Line:
    facts = {"lost": lost}
    return _own(time.time(), logging.WARNING, _LOGGER, "logs.dropped", facts)


def _not_shown(created: float, level: int, logger: str, error: Exception) -> Line:
    return _own(created, level, logger, "logs.not_shown", {"reason": type(error).__name__})


def _own(created: float, level: int, logger: str, event: str, facts: dict[str, Any]) -> Line:
    """A line that no record was made for."""
    at, name = round(created * 1_000_000), logging.getLevelName(level)
    return Line(at, level, name, logger, event, sentence(event, facts), {}, facts)


class Outlet:
    """Writes lines to a stream, in a thread of its own."""

    def __init__(self, stream: TextIO, form: Format, *, longest_backlog: int = _LONGEST_BACKLOG) -> None:
        """Take what it works with.

        Args:
            stream: Where to; its file is written to itself where it has one.
            form: What a line looks like.
            longest_backlog: Bytes that may wait to be written; lines beyond are dropped and counted.
        """
        self._form = form
        self._stream = stream
        self._file = _file_of(stream)
        self._longest = longest_backlog
        self._backlog: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._lost_said = 0
        self._written = 0
        self._is_closing = False
        self._is_busy = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="opscore-logs-outlet", daemon=True)
        self._thread.start()

    def put(self, lines: Sequence[Line]) -> None:
        """Have lines written; never waits."""
        texts = [self._form(line) for line in lines]
        with self._changed:
            if self._size < self._longest // 2:
                self._say_lost()
            for text in texts:
                if self._size + len(text) > self._longest:
                    self._lost += 1
                else:
                    self._append(text)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, as long as it goes on."""
        end = time.monotonic() + _FLUSH_LIMIT
        with self._changed:
            while (self._backlog or self._is_busy) and self._thread.is_alive():
                before = self._written
                if not self._changed.wait_for(lambda: self._written != before, _STALL_LIMIT):  # noqa: B023 - called here
                    return
                if time.monotonic() > end:
                    return

    def close(self) -> None:
        """Write what waits, as long as it goes on, and end the thread."""
        with self._changed:
            self._say_lost()
            self._changed.notify_all()
        self.flush()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    @property
    def lost(self) -> int:
        """Lines that were dropped so far."""
        return self._lost

    def _say_lost(self) -> None:
        lost, self._lost_said = self._lost - self._lost_said, self._lost
        if lost:
            self._append(self._form(_said(lost)))

    def _append(self, text: bytes) -> None:
        self._backlog.append(text)
        self._size += len(text)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._backlog or self._is_closing)
                if not self._backlog:
                    return
                texts = [self._backlog.popleft() for _ in range(min(len(self._backlog), _MOST_AT_ONCE))]
                self._is_busy = True
            data = b"".join(texts)
            is_written = self._write(data)
            with self._changed:
                self._is_busy = False
                self._size -= len(data)
                self._written += 1
                self._lost += 0 if is_written else len(texts)
                self._changed.notify_all()

    def _write(self, data: bytes) -> bool:
        """Write all of it, however long it takes; False when there is nowhere to write to."""
        if self._file is None:
            try:
                self._stream.write(data.decode())
                self._stream.flush()
            except (OSError, ValueError):
                return False
            return True
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:  # somebody made it so, for it is somebody else's too
                select.select([], [self._file], [], _STALL_LIMIT)
            except OSError:
                return False
        return True


def _file_of(stream: TextIO) -> Optional[int]:
    """The file under a stream. Writing to it avoids the stream's lock, which a thread must not hold at the end."""
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


class Silent(Pipeline):
    """For programs that embed Ops-Core: lines go to the takers alone, and records on to whoever the program logs to.

    Args:
        secrets: What is to be masked.
        stands_in: Whether to do what Python does with records that no handler takes: it sees that there is one now.
    """

    def __init__(self, secrets: Secrets, *, stands_in: bool) -> None:
        super().__init__(secrets)
        self._stands_in = stands_in

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; where the program set no logging up, have Python's last resort have it too."""
        super().emit(record)
        last = logging.lastResort
        if self._stands_in and last is not None and record.levelno >= last.level and not logging.getLogger().handlers:
            last.handle(record)


def to_standard_error(form: Format) -> Outlet:
    """An outlet to the process's standard error."""
    return Outlet(sys.stderr, form)
