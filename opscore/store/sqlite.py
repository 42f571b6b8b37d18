"""SQLite under the store: one writer with group commit, and readers of their own.

Whatever units wait are written in one ``BEGIN IMMEDIATE ... COMMIT``, in one trip to the database thread,
and their callers wake after the commit. A batch is tried as it stands; only when a unit in it fails (a guard,
a constraint) is the batch rolled back and written again with a savepoint around each unit, so that the
failing one fails alone. Nothing but the database runs between BEGIN and COMMIT, and no caller's
cancellation reaches into it (HAZARDS 1 to 4).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
import sqlite3
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, TypeVar, Union

import aiosqlite

from opscore.domain.errors import Stale, StoreError, StoreFull
from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import Refusal, StoreObserver
from opscore.store.lock import FileLock
from opscore.store.migrate import migrate
from opscore.store.searcher import Searcher

log = logging.getLogger(__name__)

T = TypeVar("T")
Params = Union[Mapping[str, Any], Sequence[Any]]
Write = tuple[str, Params, bool]
"""A statement, its parameters, and whether it must touch exactly one row."""

_MOST_UNITS = 1000
_READERS = 2
_WAL_LIMIT = 64 * 1024 * 1024
_WAL_CHECK_EVERY = 1000
_STATEMENTS = 256


class Taken(StoreError):
    """A unique value exists already."""

    code = "TAKEN"


class Fatal(StoreError):
    """The state on disk is unknown or the database is dead: the process must end and recover."""

    code = "STORE_FATAL"


class Database:
    """An open SQLite database."""

    def __init__(
        self,
        path: str,
        timeout: Seconds,
        on_fatal: Callable[[str], object],
        observer: Optional[StoreObserver] = None,
        search_limit: Seconds = 10.0,
    ) -> None:
        """Take what it works with.

        Args:
            path: The file, or ``:memory:``.
            timeout: Seconds after which a call that has not returned means a dead database.
            on_fatal: Called once, with the reason, when the process must not go on.
            observer: Told of commits and reads.
            search_limit: Seconds after which a search is given up.
        """
        self._path = path
        self._observer = observer
        self._timeout = timeout
        self._on_fatal = on_fatal
        # Well before a call that has not returned means a dead database.
        self._searcher = Searcher(self._read_for_search, min(search_limit, timeout / 2))
        self._lock = None if path == ":memory:" else FileLock(path)
        self._queue: deque[tuple[Sequence[Write], asyncio.Future[None]]] = deque()
        self._patient: deque[tuple[Sequence[Write], asyncio.Future[None]]] = deque()
        self._wake: Optional[asyncio.Future[None]] = None
        self._closing = False
        self._dead: Optional[Fatal] = None
        self._commits = 0
        self._units = 0
        self._writer: aiosqlite.Connection
        self._readers: list[aiosqlite.Connection] = []
        self._for_searches: Optional[aiosqlite.Connection] = None
        self._turns: Iterator[tuple[aiosqlite.Connection, asyncio.Lock]]
        self._task: asyncio.Task[None]

    # -- opening and closing -------------------------------------------------------------------

    async def open(self, now: Instant) -> list[str]:
        """Take the lock, bring the schema up to date, start the writer.

        Returns:
            The names of the migrations that were applied.

        Raises:
            StoreError: The file cannot be opened, is in use, or is not for this program.
        """
        if self._lock is not None:
            self._lock.acquire()
        try:
            applied = await self._connect(now)
        except Exception:
            await self._disconnect()
            raise
        self._task = asyncio.get_running_loop().create_task(self._write_forever(), name="opscore-store-writer")
        return applied

    async def _connect(self, now: Instant) -> list[str]:
        try:
            self._writer = await aiosqlite.connect(
                self._path, isolation_level=None, cached_statements=_STATEMENTS, check_same_thread=False
            )
            applied = await _run(self._writer, _prepare_writer, self._path, now)
            for _ in range(_READERS if self._lock else 0):
                self._readers.append(await self._connect_reader())
            self._for_searches = await self._connect_reader() if self._lock else None
        except sqlite3.Error as error:
            raise StoreError(f"The database {self._path} cannot be used: {error}.") from error
        # A database in memory has one connection: reads take turns with the writer's trips.
        # A lock for each and not a queue of free ones: locks are fair, and nobody who waits can be overtaken.
        self._turns = itertools.cycle([(reader, asyncio.Lock()) for reader in self._readers or [self._writer]])
        return applied

    async def _connect_reader(self) -> aiosqlite.Connection:
        reader = await aiosqlite.connect(
            f"file:{_quoted(self._path)}?mode=ro",
            uri=True,
            isolation_level=None,
            cached_statements=_STATEMENTS,
            check_same_thread=False,
        )
        await _run(reader, _prepare_reader)
        return reader

    async def close(self) -> None:
        """Write what waits, then close. Nothing may be written afterwards."""
        self._closing = True
        self._searcher.close()
        self._ring()
        await self._task
        await self._disconnect()

    async def _disconnect(self) -> None:
        writer = getattr(self, "_writer", None)
        for connection in [*self._readers, self._for_searches, writer]:
            if connection is not None:
                with suppress(sqlite3.Error, ValueError):
                    await connection.close()
        self._readers, self._for_searches = [], None
        if self._lock is not None:
            self._lock.release()

    # -- writing -------------------------------------------------------------------------------

    def write(self, unit: Sequence[Write], *, is_patient: bool = False) -> asyncio.Future[None]:
        """Queue a unit at once; the result says when it is durable, or why it was not written.

        The unit is written whether or not anybody still waits for it. Of patient ones at most one is in a commit, after
        all others: it costs them no commit of its own, and what is urgent never waits for more than one.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._dead or self._closing:
            future.set_exception(self._dead or StoreError("The store is closed."))
            return future
        (self._patient if is_patient else self._queue).append((unit, future))
        self._ring()
        return future

    def _ring(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _write_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue or self._patient or not self._closing:
            if not self._queue and not self._patient:
                self._wake = loop.create_future()
                await self._wake
                continue
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_UNITS))]
            if self._patient:
                batch.append(self._patient.popleft())
            watchdog = loop.call_later(self._timeout, self._die, "The database has not answered in time.")
            began = time.monotonic()
            try:
                outcomes = await _run(self._writer, _commit, [unit for unit, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, its callers must hear it
                outcomes = [_translate(error)] * len(batch)
            finally:
                watchdog.cancel()
            self._tell_commit(len(batch), time.monotonic() - began)
            self._deliver(batch, outcomes)
            await self._bound_wal()

    def _deliver(
        self, batch: Sequence[tuple[Any, asyncio.Future[None]]], outcomes: Sequence[Optional[Exception]]
    ) -> None:
        self._commits += 1
        self._units += len(batch)
        for (_, future), outcome in zip(batch, outcomes):
            if isinstance(outcome, Fatal):
                self._die(outcome.message)
            if outcome is not None:
                self._tell_refusal(outcome)
            if future.done():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)
                future.exception()  # seen: a caller that was cancelled is no reason for a warning

    async def _bound_wal(self) -> None:
        if self._lock is not None and self._commits % _WAL_CHECK_EVERY == 0:
            await _run(self._writer, _truncate_wal)

    def _tell_commit(self, units: int, seconds: Seconds) -> None:
        self._tell(lambda observer: observer.committed(units, seconds))

    def _tell_refusal(self, error: Exception) -> None:
        self._tell(lambda observer: observer.refused(_refusal(error)))

    def _tell(self, what: Callable[[StoreObserver], object]) -> None:
        """Tell the observer; what it gets wrong is no trouble of the store's."""
        if self._observer is None:
            return
        try:
            what(self._observer)
        except Exception:
            log.exception("observer.failed")

    def _die(self, reason: str) -> None:
        if self._dead is None:
            self._dead = Fatal(reason)
            log.critical("store.dead", extra={"reason": reason})
            self._on_fatal(reason)

    # -- reading -------------------------------------------------------------------------------

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function with a connection that can only read, in that connection's thread.

        Raises:
            StoreError: The database failed, or did not answer in time.
        """
        if self._dead:
            raise self._dead
        began = time.monotonic()
        connection, lock = next(self._turns)
        async with lock:
            return await self._read_on(connection, query, began)

    async def search(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that may have to look at very much: in its turn, and for a limited time.

        Raises:
            TooBroad: It has taken too long.
            Overloaded: Too many wait for their turn.
            StoreError: The database failed, or is being closed.
        """
        return await self._searcher.search(query)

    async def _read_for_search(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._for_searches is None:  # a database in memory has one connection
            return await self.read(query)
        if self._dead:
            raise self._dead
        return await self._read_on(self._for_searches, query, time.monotonic())

    async def _read_on(
        self, connection: aiosqlite.Connection, query: Callable[[sqlite3.Connection], T], began: Seconds
    ) -> T:
        watchdog = asyncio.get_running_loop().call_later(
            self._timeout, self._die, "The database has not answered in time."
        )
        try:
            return await _run(connection, query)
        except sqlite3.Error as error:
            raise _translate(error) from error
        finally:
            watchdog.cancel()
            self._tell(lambda observer: observer.read(time.monotonic() - began))

    @property
    def figures(self) -> Mapping[str, float]:
        """Commits and units written since the start, and units that wait."""
        return {"commits": self._commits, "units": self._units, "waiting": len(self._queue) + len(self._patient)}

    def sizes(self) -> Mapping[str, int]:
        """Bytes of the file and of its log, and free on their disk; empty in memory. Asks the disk, which may take."""
        if self._lock is None:
            return {}
        path, log_path = Path(self._path), Path(f"{self._path}-wal")
        return {
            "database": path.stat().st_size,
            "wal": log_path.stat().st_size if log_path.exists() else 0,
            "free": shutil.disk_usage(path).free,
        }


async def _run(connection: aiosqlite.Connection, function: Callable[..., T], *args: Any) -> T:
    """One trip to a connection's thread.

    aiosqlite's public methods are one trip for each statement; a group commit has hundreds. Its private
    ``_execute`` is what all of them are made of (the version is pinned below 0.23 for that).
    """
    result: T = await connection._execute(function, connection._conn, *args)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result


# -- what runs in the database threads ---------------------------------------------------------


def _commit(connection: sqlite3.Connection, units: Sequence[Sequence[Write]]) -> Sequence[Optional[Exception]]:
    """Write the units in one transaction; for each None, or why it was left out."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        cursor = connection.cursor()
        for unit in units:
            _write(cursor, unit)
        connection.execute("COMMIT")
    except (Stale, sqlite3.IntegrityError):
        connection.rollback()
        return _commit_singly(connection, units)
    finally:
        if connection.in_transaction:
            connection.rollback()
    return [None] * len(units)


def _commit_singly(connection: sqlite3.Connection, units: Sequence[Sequence[Write]]) -> Sequence[Optional[Exception]]:
    outcomes: list[Optional[Exception]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        cursor = connection.cursor()
        for unit in units:
            connection.execute("SAVEPOINT unit")
            try:
                _write(cursor, unit)
                outcomes.append(None)
            except (Stale, sqlite3.IntegrityError) as error:
                connection.execute("ROLLBACK TO unit")
                outcomes.append(error if isinstance(error, Stale) else Taken(str(error)))
            connection.execute("RELEASE unit")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()
    return outcomes


def _write(cursor: sqlite3.Cursor, unit: Sequence[Write]) -> None:
    for sql, params, guarded in unit:
        cursor.execute(sql, params)
        if guarded and cursor.rowcount != 1:
            raise Stale("What was to be changed is not as it was believed to be.")


def _prepare_writer(connection: sqlite3.Connection, path: str, now: Instant) -> list[str]:
    connection.execute("PRAGMA busy_timeout = 5000")
    if path != ":memory:":
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"The database {path} cannot use a write-ahead log (journal mode {mode}).")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != 2:
        raise StoreError("SQLite refuses synchronous=FULL; commits would not survive a power cut.")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA temp_store = MEMORY")
    return migrate(connection, now)


def _prepare_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -16384")


def _truncate_wal(connection: sqlite3.Connection) -> None:
    """Give the log's space back when it grew large; it does not shrink by itself."""
    pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    if pages * size > _WAL_LIMIT:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _refusal(error: Exception) -> Refusal:
    """Why a unit was not written, in a word."""
    if isinstance(error, Stale):
        return "stale"
    if isinstance(error, Taken):
        return "taken"
    return "full" if isinstance(error, StoreFull) else "failed"


def _translate(error: Exception) -> Exception:
    """Say what a failure of SQLite means for whoever waits (HAZARDS 7)."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        return Taken(str(error))
    name = getattr(error, "sqlite_errorname", "") or ""  # Python 3.11 and later
    text = str(error)
    if name == "SQLITE_FULL" or "disk is full" in text:
        return StoreFull("The disk is full; nothing was written.")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")) or "disk I/O error" in text:
        return Fatal(f"The database failed: {text}.")
    if name == "SQLITE_READONLY" or "readonly" in text:
        return StoreFull("The database has become read-only; nothing was written.")
    return StoreError(f"The database refused: {text}.")
