"""Searches: reads that may have to look at very much before they find anything.

They have a connection to themselves, take turns, and are cut off after a while. So whoever searches delays other
searches and nothing else: neither a run that needs its input, nor a stream, nor the end of the server.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Any, Awaitable, Callable, TypeVar

from opscore.domain.errors import Overloaded, StoreError, TooBroad
from opscore.domain.instants import Seconds

T = TypeVar("T")
Run = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]

_MOST_WAITING = 16
_RETRY_AFTER: Seconds = 2.0
_STEPS_BETWEEN_LOOKS = 1_000
"""Steps of SQLite's machine between two looks at the clock; one that compares long texts may take a millisecond."""


class Searcher:
    """Runs searches, one at a time."""

    def __init__(self, run: Run, limit: Seconds) -> None:
        """Take what it works with.

        Args:
            run: Runs a function with the connection for searches, in that connection's thread.
            limit: Seconds that one search may take.
        """
        self._run = run
        self._limit = limit
        self._turn = asyncio.Lock()
        self._count = 0
        self._is_closed = False

    def close(self) -> None:
        """Cut off what is being searched for; nothing begins any more."""
        self._is_closed = True

    async def search(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query when its turn comes.

        Raises:
            TooBroad: It has taken too long.
            Overloaded: Too many wait already.
            StoreError: The database failed, or is being closed.
        """
        if self._count > _MOST_WAITING:
            raise Overloaded(
                "Too many searches wait for their turn; try again in a moment.",
                error_code="TOO_MANY_SEARCHES",
                retry_after=_RETRY_AFTER,
            )
        self._count += 1
        try:
            async with self._turn:
                if self._is_closed:
                    raise self._cut_off()
                found: T = await self._run(self._limited(query))
                return found
        finally:
            self._count -= 1

    def _limited(self, query: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
        def limited(connection: sqlite3.Connection) -> T:
            end = time.monotonic() + self._limit
            connection.set_progress_handler(lambda: self._is_closed or time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
            try:
                return query(connection)
            except sqlite3.OperationalError as error:
                if str(error) != "interrupted":
                    raise
                raise self._cut_off() from None
            finally:
                connection.set_progress_handler(None, _STEPS_BETWEEN_LOOKS)

        return limited

    def _cut_off(self) -> Exception:
        if self._is_closed:
            return StoreError("The store is closed.")
        return TooBroad(
            f"The search was given up after {self._limit:g} s: it has too much to look at. Narrow it: to a time, an "
            "execution, an agent or a flow."
        )
