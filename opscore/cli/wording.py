"""Words for people: times, sizes, and text that others wrote, which is only ever text."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from opscore.domain.errors import Invalid
from opscore.domain.instants import SECOND, parse

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd])")
_PAIRS = (("d", "h"), ("h", "m"), ("m", "s"))
NOTHING = "-"

STYLES = {
    "pending": "dim", "running": "cyan", "paused": "yellow", "completed": "green", "failed": "red",
    "cancelled": "yellow", "waiting": "yellow", "retrying": "yellow", "skipped": "dim",
    "idle": "green", "active": "cyan", "initializing": "yellow", "error": "red", "offline": "red",
    "finished": "dim", "unknown": "dim", "inactive": "dim",
    "working": "cyan", "reachable": "green", "unhealthy": "red", "unreachable": "red",
    "operational": "green", "degraded": "yellow", "healthy": "green",
    "debug": "dim", "info": "", "warning": "yellow", "critical": "bold red",
}  # fmt: skip
"""A colour for each word of a state."""


def plain(value: Any) -> str:
    """Text as one line that does nothing to a terminal: no control characters, nothing that turns it around."""
    if value is None or value == "":
        return NOTHING
    text = " ".join(str(value).split())
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plain_lines(value: str) -> str:
    """The same for text of several lines, such as JSON."""
    return "\n".join(line and _kept(line) for line in value.split("\n"))


def _kept(line: str) -> str:
    return line if line.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def moment(text: Optional[str]) -> Optional[datetime]:
    """An instant of the API."""
    if not text:
        return None
    try:
        return datetime.fromtimestamp(parse(text, "at") / SECOND, timezone.utc)
    except (Invalid, OverflowError, ValueError):
        return None


def utc_now() -> datetime:
    """The present instant."""
    return datetime.now(timezone.utc)


def ago(text: Optional[str], now: Optional[datetime] = None) -> str:
    """How long ago an instant was, in one unit: ``12s``, ``3m``, ``2h``, ``5d``."""
    then = moment(text)
    if then is None:
        return NOTHING
    seconds = max(0, int(((now or utc_now()) - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def took(seconds: Optional[float]) -> str:
    """A stretch of time: ``35 ms``, ``1.2 s``, ``3m 12s``, ``2h``."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    larger, smaller = next((one, next_one) for one, next_one in _PAIRS if whole >= _UNITS[one])
    rest = whole % _UNITS[larger] // _UNITS[smaller]
    return f"{whole // _UNITS[larger]}{larger}" + (f" {rest}{smaller}" if rest else "")


def took_ms(milliseconds: Optional[float]) -> str:
    """A stretch of time that is given in milliseconds."""
    return took(None if milliseconds is None else milliseconds / 1000)


def clock_time(text: Optional[str]) -> str:
    """The local time of day of an instant, with its date when that is another day."""
    then = moment(text)
    if then is None:
        return NOTHING
    local = then.astimezone()
    day = "" if local.date() == utc_now().astimezone().date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def count(number: int, one: str) -> str:
    """A number and what it counts: ``1 node``, ``1,200 nodes``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def since(text: Optional[str], option: str) -> Optional[datetime]:
    """An instant as people give it: a stretch of time before now (``10m``, ``2h``), or RFC 3339.

    Raises:
        Invalid: It is neither.
    """
    if text is None:
        return None
    span = _SPAN.fullmatch(text.strip())
    if span:
        try:
            return utc_now() - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
        except OverflowError:
            raise Invalid(f"{option}: {text} is too long ago.") from None
    try:
        return datetime.fromtimestamp(parse(text, option) / SECOND, timezone.utc)
    except Invalid:
        wanted = "a stretch of time such as 30s, 10m, 2h or 1d, or an instant such as 2026-01-31T12:00:00Z"
        raise Invalid(f"{option} must be {wanted}, not {text!r}.") from None


def span_seconds(text: str, option: str) -> int:
    """A stretch of time as people give it, in seconds.

    Raises:
        Invalid: It is none.
    """
    span = _SPAN.fullmatch(text.strip())
    seconds = int(span[1]) * _UNITS[span[2]] if span else 0
    if seconds < 1:
        raise Invalid(f"{option} must be a stretch of time such as 30s, 10m, 2h or 1d, not {text!r}.")
    return seconds
