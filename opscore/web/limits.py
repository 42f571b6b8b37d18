"""A rate limit: one token bucket for each caller."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Callable

from opscore.domain.errors import Overloaded
from opscore.domain.instants import Seconds

_MOST_CALLERS = 10_000


class RateLimit:
    """Allows each caller so many requests per second, with a burst of one second's worth."""

    def __init__(self, per_second: float, monotonic: Callable[[], Seconds] = time.monotonic) -> None:
        """Take what it works with.

        Args:
            per_second: Requests per second for each caller; 0 for no limit.
            monotonic: The clock, in seconds.
        """
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, Seconds]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count a request.

        Raises:
            Overloaded: The caller has to wait, and how long.
        """
        if not self._per_second:
            return
        now = self._monotonic()
        tokens, since = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Overloaded("Too many requests; wait a moment.", retry_after=(1 - tokens) / self._per_second)
