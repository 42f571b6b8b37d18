"""Everything that lasts: SQLite behind the domain's Store port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable, Optional

from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import StoreObserver
from opscore.store.sqlite import Database
from opscore.store.store import SqlStore

__all__ = ["SqlStore", "migrate_database", "open_store"]


@asynccontextmanager
async def open_store(
    path: str,
    *,
    now: Instant,
    timeout: Seconds,
    on_fatal: Callable[[str], object],
    observer: Optional[StoreObserver] = None,
    search_limit: Seconds = 10.0,
) -> AsyncIterator[SqlStore]:
    """An open store on a file or ``:memory:``, brought up to date; closed at the end.

    Args:
        path: The SQLite file, or ``:memory:``.
        now: The instant that migrations are recorded with.
        timeout: Seconds after which the database counts as dead.
        on_fatal: Called once with the reason when the process must not go on.
        observer: Told of commits and reads.
        search_limit: Seconds after which a search is given up.

    Raises:
        StoreError: The file cannot be opened, is in use, or is not for this program.
    """
    database = Database(path, timeout, on_fatal, observer, search_limit)
    await database.open(now)
    try:
        store = SqlStore(database)
        await store.load()
        yield store
    finally:
        await database.close()


async def migrate_database(path: str, *, now: Instant, timeout: Seconds) -> list[str]:
    """Bring a database up to date and close it; the names of the migrations applied.

    Raises:
        StoreError: The file cannot be opened, is in use, or is not for this program.
    """
    database = Database(path, timeout, on_fatal=lambda reason: None)
    applied = await database.open(now)
    await database.close()
    return applied
