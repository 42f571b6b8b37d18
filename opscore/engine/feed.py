"""The feed: the newest of all events, read from the store once for all who follow them.

The bell only says that something was written. While anybody follows, one task reads what is new, a page at a time,
keeps the last of it, and wakes those who want some of it. So a reader costs nothing while nothing happens that it
wants, and what many want is read once. Whoever is further back than memory reaches reads from the store.

What comes within a tick is read together, and readers are woken a few at a time with a breath between: with hundreds of
them each is woken more rarely, and there is always room for the work itself.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Sequence

from opscore.domain.errors import StoreError
from opscore.domain.events import EVERYTHING, EventFilter, FeedEvent, FeedPage
from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock, Store
from opscore.engine.clock import pause

log = logging.getLogger(__name__)

_PAGE = 500
_MOST_KEPT = 2000
_MOST_KEPT_CHARACTERS = 4_000_000
_TICK: Seconds = 0.05
_WOKEN_AT_ONCE = 20
_BREATH: Seconds = 0.01
_STORE_PAUSE: Seconds = 1.0


class Follower:
    """Implements :class:`opscore.domain.ports.Follower`."""

    def __init__(self, feed: Feed, wanted: EventFilter, after: int, on_news: Callable[[], object]) -> None:
        self.wanted = wanted
        self.on_news = on_news
        self._feed = feed
        self._place = after
        self._since: Optional[int] = after
        """There may be something for it above this; None when there is nothing, as far as the feed has looked."""

    @property
    def passed(self) -> int:
        """Where to resume."""
        return max(self._place, self._feed.passed if self._since is None else self._since)

    def note(self, since: int) -> None:
        """There may be something for it above a position."""
        if self._since is None:
            self._since = since

    async def read(self, limit: int) -> FeedPage:
        """The next wanted events."""
        self._place, self._since = self.passed, None
        page = self._feed.newest(self.wanted, self._place, limit)
        if page is None:
            page = await self._feed.stored(self.wanted, self._place, limit)
        self._place = page.passed
        if not page.is_last:
            self._since = page.passed
        return page


class Feed:
    """The newest events, and who follows them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._woken = asyncio.Event()
        self._interests: dict[tuple[str, ...], _Interest] = {}
        self._events: deque[FeedEvent] = deque()
        self._characters = 0
        self._floor = 0
        self._is_begun = False
        self.passed = 0
        """The position up to which all events were looked at for those who follow; 0 while it is not known."""

    def ring(self) -> None:
        """Something was written."""
        if self._interests:
            self._woken.set()

    @contextmanager
    def following(self, wanted: EventFilter, after: int, on_news: Callable[[], object]) -> Iterator[Follower]:
        """Have ``on_news`` called within the block when there are wanted events above a position."""
        follower = Follower(self, wanted, after, on_news)
        mask = tuple(name for name in _FIELDS if getattr(wanted, name) is not None)
        interest = self._interests.setdefault(mask, _Interest(mask))
        interest.add(follower)
        if not self._is_begun:
            self._woken.set()
        try:
            yield follower
        finally:
            interest.discard(follower)
            if interest.is_empty:
                del self._interests[mask]
            if not self._interests:
                self._woken.set()

    def newest(self, wanted: EventFilter, after: int, limit: int) -> Optional[FeedPage]:
        """A page from memory; None where memory does not reach back so far."""
        if not self._is_begun or not self._floor <= after <= self.passed:
            return None
        recent = itertools.takewhile(lambda event: event.position > after, reversed(self._events))
        fitting = [event for event in recent if wanted.fits(event)]
        fitting.reverse()
        events = fitting[:limit]
        return FeedPage(after, events, events[-1].position if len(events) == limit else self.passed, self.passed)

    async def stored(self, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        """A page from the store."""
        return await self._store.feed(wanted, after, limit)

    async def serve(self) -> None:
        """Read what is new and tell of it, for ever; nothing while nobody follows."""
        while True:
            self._woken.clear()
            try:
                if self._interests:
                    await self._look()
                else:
                    self._forget()
            except StoreError as error:
                log.warning("feed.store_failed", extra={"reason": str(error)})
                await pause(self._clock, _STORE_PAUSE)
                self._woken.set()
            await self._woken.wait()

    async def _look(self) -> None:
        if not self._is_begun:
            self.passed = self._floor = await self._store.newest_position()
            self._is_begun = True
            # Who came before may have looked at the store before, too: what was written in between is in no page below.
            early = [follower for interest in self._interests.values() for follower in interest.all()]
            for follower in early:
                follower.note(0)
            await self._wake(early)
        while self._interests:
            page = await self._store.feed(EVERYTHING, self.passed, _PAGE)
            wanting = self._wanting(page.events)
            for follower in wanting:
                follower.note(self.passed)
            self._keep(page)
            await self._wake(wanting)
            if page.is_last:
                await pause(self._clock, _TICK)
                return

    def _wanting(self, events: Sequence[FeedEvent]) -> Sequence[Follower]:
        """Who wants any of these."""
        found: dict[Follower, None] = {}
        for interest in self._interests.values():
            for event in events:
                found.update(interest.wanting(event))
        return list(found)

    def _keep(self, page: FeedPage) -> None:
        self._events.extend(page.events)
        self._characters += sum(len(event.data) for event in page.events)
        while len(self._events) > _MOST_KEPT or self._characters > _MOST_KEPT_CHARACTERS:
            oldest = self._events.popleft()
            self._characters -= len(oldest.data)
            self._floor = oldest.position
        self.passed = page.passed

    async def _wake(self, followers: Sequence[Follower]) -> None:
        for start in range(0, len(followers), _WOKEN_AT_ONCE):
            if start:
                await pause(self._clock, _BREATH)
            for follower in followers[start : start + _WOKEN_AT_ONCE]:
                follower.on_news()

    def _forget(self) -> None:
        self._events.clear()
        self._characters = self.passed = self._floor = 0
        self._is_begun = False


_FIELDS = ("execution_id", "flow_id", "agent_id", "types")
_Values = tuple[Any, ...]


class _Interest:
    """Followers whose filters give the same fields: found by an event's values in these, however many they are."""

    def __init__(self, mask: tuple[str, ...]) -> None:
        self._names = tuple("type" if name == "types" else name for name in mask)
        self._mask = mask
        self._followers: dict[_Values, dict[Follower, None]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._followers

    def add(self, follower: Follower) -> None:
        """One more."""
        for values in self._values(follower.wanted):
            self._followers.setdefault(values, {})[follower] = None

    def discard(self, follower: Follower) -> None:
        """One less."""
        for values in self._values(follower.wanted):
            followers = self._followers[values]
            del followers[follower]
            if not followers:
                del self._followers[values]

    def all(self) -> Iterator[Follower]:
        """All of them, some more than once."""
        return itertools.chain.from_iterable(self._followers.values())

    def wanting(self, event: FeedEvent) -> dict[Follower, None]:
        """Those whose filter an event fits."""
        return self._followers.get(tuple([getattr(event, name) for name in self._names]), {})

    def _values(self, wanted: EventFilter) -> Iterator[_Values]:
        given = [getattr(wanted, name) for name in self._mask]
        return itertools.product(*[sorted(one) if isinstance(one, frozenset) else (one,) for one in given])
