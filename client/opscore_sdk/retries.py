"""Whether and when a call is made again. Pure: time and chance are arguments.

A call is repeated where a repeat cannot do anything twice (it is idempotent, or carries an idempotency key) and can
help: the server answered 408, 429 or 5xx, or there was no answer. The pause before repeat *n* is chance times
``first * 2 ** (n - 1)``, at most ``longest`` ("full jitter", so that clients that failed together do not return
together). Where the server said ``Retry-After`` it is obeyed: no sooner, and not at all when that is above
``patience``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple, Optional

REPEATABLE = frozenset({408, 429})


class RetryPolicy(NamedTuple):
    """How often and how patiently calls are repeated. Times are seconds."""

    max_retries: int = 3
    first: float = 0.5
    """Longest pause before the first repeat."""
    longest: float = 8.0
    """Longest pause of our own choosing."""
    patience: float = 60.0
    """Longest ``Retry-After`` that is waited for."""
    total: Optional[float] = 120.0
    """Time limit over all attempts and pauses of one call."""

    def pause(self, repeat: int, chance: float, retry_after: Optional[float] = None) -> Optional[float]:
        """Seconds before a repeat; None when there is to be none.

        Args:
            repeat: Which repeat it would be, from 1.
            chance: A random number from 0 to 1.
            retry_after: What the server asked for.
        """
        if repeat > self.max_retries:
            return None
        own = chance * min(self.longest, self.first * 2.0 ** min(repeat - 1, 30))
        if retry_after is None:
            return own
        return max(own, retry_after) if retry_after <= self.patience else None


def is_worth_a_repeat(status: int) -> bool:
    """Whether the same request may well get another answer than this status."""
    return status in REPEATABLE or status >= 500


def read_retry_after(value: Optional[str], now: float) -> Optional[float]:
    """Seconds that a ``Retry-After`` header asks for; None when it says nothing that can be read.

    Args:
        value: The header: whole seconds or an HTTP date.
        now: Seconds since 1970.
    """
    text = (value or "").strip()
    if not text:
        return None
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text[:20])
    moment = _date(text)
    return None if moment is None else max(0.0, moment.timestamp() - now)


def _date(text: str) -> Optional[datetime]:
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
