"""Use cases about the log: pages of it, and what comes next."""

from __future__ import annotations

from typing import Callable, ContextManager

import attrs

from opscore.domain.logs import LogPage, LogQuery
from opscore.domain.ports import LogFeed, Store


class Logs:
    """Read the log that is kept in the store."""

    def __init__(self, store: Store, feed: LogFeed) -> None:
        self._store = store
        self._feed = feed

    async def page(self, query: LogQuery) -> LogPage:
        """A page, newest first; all that was logged before is in the log it is taken from."""
        await self._feed.settle()
        return await self._store.logs(query)

    async def beginning(self, query: LogQuery) -> LogQuery:
        """The query with the place where a stream of it begins: the one it names, its instant, or the newest entry."""
        if query.after is not None:
            return query
        if query.since is not None:
            # The id of an entry is never below its instant.
            return attrs.evolve(query, after=max(0, query.since - 1))
        await self._feed.settle()
        return attrs.evolve(query, after=await self._store.last_log(), is_near=True)

    async def following(self, query: LogQuery) -> LogPage:
        """A page of what follows ``query.after``, oldest first; what many follow is read for none of them."""
        return self._feed.newest(query) or await self._store.logs(query)

    def listening(self, on_change: Callable[[], object]) -> ContextManager[None]:
        """Have ``on_change`` called after entries were written, within the block. It must be quick."""
        return self._feed.listening(on_change)
