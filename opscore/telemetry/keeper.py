"""The keeper: it has the log kept in the store, a batch at a time, and the log's size within its bounds.

Lines come from the logs' own thread into a buffer that has an end. What the store does not take is counted and lost,
and said once the store takes lines again; nothing the keeper says of such troubles goes through the store itself.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import Any, AsyncIterator, Callable, Iterator, Optional, Sequence

import attrs

from opscore.domain.errors import StoreError
from opscore.domain.instants import SECOND, Instant, Seconds
from opscore.domain.logs import LogEntry, LogPage, LogQuery
from opscore.domain.ports import Clock, Store
from opscore.telemetry.formats import encode
from opscore.telemetry.lines import ONLY_HERE, Line
from opscore.telemetry.pipeline import Pipeline

log = logging.getLogger(__name__)

LONGEST_BUFFER = 10_000
_BATCH = 500
_SETTLE_LIMIT: Seconds = 1.0
_PRUNE_ROUND = 500
_TOLD_AT_ONCE = 20
_BREATH: Seconds = 0.01
"""Between two lots of those who listen, so that there is room for the work itself, however many they are."""
_MOST_NEWEST = 2_000
_MOST_NEWEST_CHARACTERS = 4_000_000
_GROWTH = 20
"""The log is pruned when it has grown by one part in so many."""


@attrs.frozen(kw_only=True)
class Keeping:
    """How much of the log is kept. Times are seconds."""

    most: int
    """Entries; 0 keeps none."""
    retention: Seconds = 0.0
    """How long; 0 for as long as there is room."""
    prune_interval: Seconds = 3600.0
    flush_interval: Seconds = 0.25


class Keeper:
    """Implements :class:`opscore.domain.ports.LogFeed`. Use :func:`open_keeper` to get one."""

    def __init__(self, store: Store, pipeline: Pipeline, clock: Clock, keeping: Keeping) -> None:
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self._keeping = keeping
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._buffer: deque[Line] = deque()
        self._lost = 0
        self._lost_said = 0
        self._is_rung = False
        self._is_troubled = False
        self._due = asyncio.Event()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._writing = asyncio.Lock()
        self._last_id: Instant = 0
        self._grown_by = keeping.most  # nobody knows what an earlier server left
        self._prune_at: Seconds = 0.0
        self._prune_timer: Optional[asyncio.TimerHandle] = None
        self._listeners: dict[object, Callable[[], object]] = {}
        self._untold: dict[object, Callable[[], object]] = {}
        self._tell_timer: Optional[asyncio.TimerHandle] = None
        self._newest: deque[LogEntry] = deque()
        """Written while somebody listens: all above ``_floor``, up to ``_written_to``."""
        self._characters = 0
        self._floor: Optional[int] = None
        self._written_to = 0

    # -- called in the logs' thread ------------------------------------------------------------

    def take(self, lines: Sequence[Line]) -> None:
        """Have lines kept; those that there is no room for are counted."""
        with self._lock:
            for line in lines:
                if not line.is_kept:
                    continue
                if len(self._buffer) < LONGEST_BUFFER:
                    self._buffer.append(line)
                else:
                    self._lost += 1
            is_news = bool(self._buffer) and not self._is_rung
            self._is_rung = self._is_rung or is_news
            is_much = len(self._buffer) >= _BATCH
        if is_news or is_much:
            self._loop.call_soon_threadsafe(self._ring, self._keeping.flush_interval if not is_much else 0.0)

    # -- called by whoever reads ---------------------------------------------------------------

    @property
    def lost(self) -> int:
        """Lines that could not be kept so far."""
        return self._lost

    @contextmanager
    def listening(self, on_change: Callable[[], object]) -> Iterator[None]:
        """Have ``on_change`` called after entries were written, within the block. It must be quick."""
        place = object()
        self._listeners[place] = on_change
        try:
            yield
        finally:
            del self._listeners[place]
            self._untold.pop(place, None)

    def newest(self, query: LogQuery) -> Optional[LogPage]:
        """A page of what follows ``query.after``, from memory; None where memory does not reach back so far."""
        after = query.after
        if after is None or self._floor is None or after < self._floor:
            return None
        recent = itertools.takewhile(lambda entry: entry.log_id > after, reversed(self._newest))
        fitting = [entry for entry in recent if query.fits(entry)]
        fitting.reverse()
        entries = fitting[: query.limit]
        is_full = len(entries) == query.limit
        return LogPage(entries, entries[-1].log_id if is_full else max(self._written_to, after))

    async def settle(self) -> None:
        """Return when all that was logged before can be read, or could not be kept; after a second in any case."""
        done = self._loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        self._pipeline.after_all(lambda: self._loop.call_soon_threadsafe(tell))
        await asyncio.wait({done}, timeout=_SETTLE_LIMIT)
        await self.flush()

    # -- writing -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Go on with the numbering."""
        self._last_id = self._written_to = self._floor = await self._store.last_log()

    def close(self) -> None:
        """Let no timer call any more."""
        for timer in (self._timer, self._prune_timer, self._tell_timer):
            if timer is not None:
                timer.cancel()

    async def serve(self) -> None:
        """Write and prune for ever."""
        while True:
            await self._prune_if_due()
            await self._due.wait()
            self._due.clear()
            await self.flush()

    def _ring(self, delay: Seconds) -> None:
        if not delay:
            self._due.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(delay, self._due.set)

    async def flush(self) -> None:
        """Write what is there now."""
        async with self._writing:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            with self._lock:
                self._is_rung = False
                left = len(self._buffer)
            while left > 0:
                size = min(left, _BATCH)
                with self._lock:
                    batch = [self._buffer.popleft() for _ in range(size)]
                left -= size
                await self._write(batch)

    async def _write(self, lines: Sequence[Line]) -> None:
        entries = [self._entry(line) for line in lines]
        try:
            await self._store.add_logs(entries)
        except StoreError as error:
            with self._lock:
                self._lost += len(lines)
            if not self._is_troubled:
                self._is_troubled = True
                log.warning("logs.not_kept", extra={"reason": str(error), ONLY_HERE: True})
            return
        self._is_troubled = False
        with self._lock:
            lost, self._lost_said = self._lost - self._lost_said, self._lost
        if lost:
            log.warning("logs.lost", extra={"lost": lost})
        self._grown_by += len(lines)
        self._remember(entries)
        self._untold.update(self._listeners)
        if self._tell_timer is None:
            self._tell_some()

    def _tell_some(self) -> None:
        """Tell those who listen of what was written, a few at a time."""
        for place in list(itertools.islice(self._untold, _TOLD_AT_ONCE)):
            self._untold.pop(place)()
        self._tell_timer = self._loop.call_later(_BREATH, self._tell_some) if self._untold else None

    def _remember(self, entries: Sequence[LogEntry]) -> None:
        """Keep the newest entries for those who listen; nobody else needs them."""
        self._written_to = entries[-1].log_id
        if not self._listeners:
            self._newest.clear()
            self._characters, self._floor = 0, self._written_to
            return
        self._newest.extend(entries)
        self._characters += sum(map(_size, entries))
        while len(self._newest) > _MOST_NEWEST or self._characters > _MOST_NEWEST_CHARACTERS:
            oldest = self._newest.popleft()
            self._characters -= _size(oldest)
            self._floor = oldest.log_id

    def _entry(self, line: Line) -> LogEntry:
        self._last_id = max(self._last_id + 1, line.at)
        facts: dict[str, Any] = {
            name: value if type(value) is str else _fitting(name, value) for name, value in line.facts.items()
        }
        fields = encode(line.extras) if line.extras else "{}"
        return LogEntry(
            self._last_id, line.at, line.level, line.event, line.message, line.logger, fields=fields, **facts
        )

    # -- bounds --------------------------------------------------------------------------------

    async def _prune_if_due(self) -> None:
        """Prune after every interval, and whenever the log has grown by a part."""
        keeping, now = self._keeping, self._clock.monotonic()
        if now < self._prune_at and self._grown_by <= keeping.most // _GROWTH:
            return
        self._grown_by, self._prune_at = 0, now + keeping.prune_interval
        if self._prune_timer is not None:
            self._prune_timer.cancel()
        self._prune_timer = self._loop.call_later(keeping.prune_interval, self._due.set)
        oldest = self._clock.now() - int(keeping.retention * SECOND) if keeping.retention else 0
        try:
            while await self._store.prune_logs(oldest, keeping.most, _PRUNE_ROUND) >= _PRUNE_ROUND:
                pass
        except StoreError as error:
            log.warning("logs.not_pruned", extra={"reason": str(error), ONLY_HERE: True})


def _size(entry: LogEntry) -> int:
    return len(entry.message) + len(entry.fields)


def _fitting(name: str, value: Any) -> Any:
    """A fact that is no text as its column takes it."""
    if name == "attempt":
        return value if isinstance(value, int) and abs(value) < 2**31 else None
    if name == "duration_ms":
        return float(value) if isinstance(value, (int, float)) else None
    return str(value)


@asynccontextmanager
async def open_keeper(store: Store, pipeline: Pipeline, clock: Clock, keeping: Keeping) -> AsyncIterator[Keeper]:
    """A keeper at work; at the end all that was logged within the block is written."""
    keeper = Keeper(store, pipeline, clock, keeping)
    if not keeping.most:
        yield keeper
        return
    await keeper.open()
    task = asyncio.get_running_loop().create_task(keeper.serve(), name="opscore-logs-keeper")
    pipeline.add(keeper)
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.wait({task})
        await keeper.settle()
        pipeline.remove(keeper)
        keeper.close()
