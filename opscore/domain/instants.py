"""Instants: integer microseconds since 1970-01-01T00:00:00Z, shown as RFC 3339 text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Optional

from opscore.domain.errors import Invalid

Instant = int
"""Microseconds since 1970 in UTC."""
Seconds = float

SECOND: Instant = 1_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: arithmetic only, shown as UTC
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FIRST: Instant = (datetime.min.replace(tzinfo=timezone.utc) - _EPOCH_UTC) // _MICROSECOND
_LAST: Instant = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH_UTC) // _MICROSECOND


def after(instant: Instant, seconds: Seconds) -> Instant:
    """The instant that many seconds later."""
    return instant + int(seconds * SECOND)


def show(instant: Optional[Instant]) -> Optional[str]:
    """RFC 3339 text in UTC with microseconds and ``Z``; None stays None."""
    if instant is None:
        return None
    return (_EPOCH + timedelta(microseconds=instant)).isoformat(timespec="microseconds") + "Z"


def parse(text: str, field: str) -> Instant:
    """Read RFC 3339 text; without an offset it is taken as UTC.

    Raises:
        Invalid: It is not such a text, or lies outside the years 1 to 9999 in UTC.
    """
    try:
        upper = text.strip().upper()
        moment = datetime.fromisoformat(_whole_fraction(upper[:-1] + "+00:00" if upper.endswith("Z") else upper))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        instant: Instant = (moment - _EPOCH_UTC) // _MICROSECOND
    except (ValueError, OverflowError):
        raise _no_instant(field) from None
    if not _FIRST <= instant <= _LAST:  # an offset leads out of the years that can be shown
        raise _no_instant(field)
    return instant


def _no_instant(field: str) -> Invalid:
    return Invalid(
        f"{field} is not an instant such as 2026-01-31T12:00:00Z.",
        details={field: ["Not a valid RFC 3339 instant."]},
    )


def _whole_fraction(text: str) -> str:
    """Python before 3.11 reads fractions of exactly three or six digits only."""
    head, dot, rest = text.partition(".")
    if not dot:
        return text
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[:digits][:6]:0<6}{rest[digits:]}"
