"""Use cases about all events, of whatever execution."""

from __future__ import annotations

from typing import Callable, ContextManager, Optional

import attrs

from opscore.domain.errors import Invalid
from opscore.domain.events import EventFilter, FeedPage
from opscore.domain.ports import Follower, Runs, Store

_MOST_LOOKS = 10
"""Pages of the store that one page of the feed is made of at most: wanting next to nothing must end too."""


class Events:
    """The feed: read it and follow it."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs

    async def page(self, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        """Wanted events after a position, in order; it may hold fewer than there are, and says how far it reaches.

        Raises:
            Invalid: There is no such position yet.
        """
        first = page = await self._store.feed(wanted, after, limit)
        _check_place(after, first.newest)
        events = list(first.events)
        for _ in range(_MOST_LOOKS - 1):
            if page.is_last or len(events) == limit:
                break
            page = await self._store.feed(wanted, page.passed, limit - len(events))
            events += page.events
        return attrs.evolve(first, events=events, passed=page.passed, newest=page.newest)

    async def place(self, after: Optional[int]) -> int:
        """Where a reader begins: after a position, or where nothing is asked for, now.

        Raises:
            Invalid: There is no such position yet.
        """
        newest = await self._store.newest_position()
        if after is None:
            return newest
        _check_place(after, newest)
        return after

    def following(self, wanted: EventFilter, after: int, on_news: Callable[[], object]) -> ContextManager[Follower]:
        """Be told within the block when there are wanted events, and read them."""
        return self._runs.following(wanted, after, on_news)


def _check_place(after: int, newest: int) -> None:
    if after > newest:
        text = f"is above the newest event's position, {newest}: it is of another database, or of none."
        raise Invalid(f"after {text}", details={"after": [text[0].upper() + text[1:]]})
