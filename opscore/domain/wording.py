"""How spans, instants, counts and lists are put into sentences for people."""

from __future__ import annotations

from typing import Sequence

from opscore.domain.instants import SECOND, Instant, Seconds, show

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LONGEST_QUOTE = 300


def span(seconds: Seconds) -> str:
    """A length of time in its two largest units: ``2 h 5 min``; tenths below ten seconds."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    left = int(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        if left >= size or parts:
            parts.append((left // size, unit))
            left %= size
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number)


def between(earlier: Instant, later: Instant) -> str:
    """The length of time from one instant to another; none where that is the earlier one."""
    return span((later - earlier) / SECOND)


def moment(instant: Instant) -> str:
    """An instant to the second, in UTC."""
    return (show(instant) or "")[:19] + "Z"


def counted(number: int, one: str, many: str = "") -> str:
    """``1 call``, ``2 calls``, ``10,000 calls``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int = 5) -> str:
    """A few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def sentence(text: str) -> str:
    """What somebody else said, as a sentence of bounded length."""
    short = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."
    return short if short.endswith((".", "!", "?")) else short + "."
