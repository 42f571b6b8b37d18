"""One computation for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Awaitable, Callable, Generic, Hashable, Optional, TypeVar

from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock

T = TypeVar("T")

_MOST = 32


class _Place(Generic[T]):
    """What was made for one question, and whose turn it is to make it anew."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.made_at: Optional[Seconds] = None
        self.value: Optional[T] = None


class Shared(Generic[T]):
    """Keeps an answer for a short time. Who asks while it is being made waits for that one."""

    def __init__(self, clock: Clock, lasts: Seconds) -> None:
        """Take what it works with.

        Args:
            clock: Time.
            lasts: Seconds for which an answer is good.
        """
        self._clock = clock
        self._lasts = lasts
        self._places: OrderedDict[Hashable, _Place[T]] = OrderedDict()

    async def get(self, question: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer to a question, made now or a moment ago; raises what ``make`` raises."""
        place = self._places.setdefault(question, _Place())
        self._places.move_to_end(question)
        while len(self._places) > _MOST:
            self._places.popitem(last=False)
        async with place.turn:
            now = self._clock.monotonic()
            if place.made_at is None or place.value is None or now >= place.made_at + self._lasts:
                place.value = await make()
                place.made_at = now
            return place.value
