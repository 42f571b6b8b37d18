from __future__ import annotations

import pytest

from opscore.domain.errors import Invalid
from opscore.domain.instants import parse, show

SHOWN = [
    ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
    ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000000Z"),
    ("2026-01-31T12:00:00.1234567+02:00", "2026-01-31T10:00:00.123456Z"),
    ("2026-01-31 12:00:00.5", "2026-01-31T12:00:00.500000Z"),
    ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
    ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999Z"),
    ("9999-12-31T23:59:59.999999+14:00", "9999-12-31T09:59:59.999999Z"),
]
REFUSED = [
    "", "soon", "12:00", "1700000000", "2026-02-30T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-31T25:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\u0662026-01-31T12:00:00Z", "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_an_instant_is_kept_to_the_microsecond(text: str, shown: str) -> None:
    """Text of any offset and fraction is the instant that it says, from the first to the last that can be shown."""
    assert show(parse(text, "at")) == shown
    assert parse(shown, "at") == parse(text, "at")


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Other text, and instants that could not be shown in UTC, are refused by field."""
    with pytest.raises(Invalid) as refused:
        parse(text, "at")
    assert list(refused.value.details) == ["at"]
