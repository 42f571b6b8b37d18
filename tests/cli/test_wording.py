from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Optional

import pytest

from opscore.cli.wording import ago, count, plain, plain_lines, since, span_seconds, took, utc_now
from opscore.domain.errors import Invalid

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"), ("", "-"), (None, "-"), (5, "5"), ("two\nlines\tand  more", "two lines and more"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"), ("\u202eabc", "\ufffdabc"), ("\x9b2J", "\ufffd2J"),
        ("[bold]x[/bold]", "[bold]x[/bold]"), ("日本語", "日本語"),
    ],
)  # fmt: skip
def test_text_of_others_is_one_line_that_does_nothing(value: object, shown: str) -> None:
    """Control characters and those that turn text around are replaced; all else stays."""
    assert plain(value) == shown


def test_text_of_several_lines_keeps_them() -> None:
    """Line breaks stay, control characters do not."""
    assert plain_lines('{\n  "a": "\x1b"\n}') == '{\n  "a": "\ufffd"\n}'


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86_400 * 5, "5d"), (-5, "0s")],
)
def test_ages_have_one_unit(seconds: float, shown: str) -> None:
    """The largest that fits; a clock that is ahead gives no negative age."""
    assert ago((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == shown


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_an_instant_that_is_none_has_no_age(text: Optional[str]) -> None:
    """Nothing is shown as a dash."""
    assert ago(text, NOW) == "-"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"), (0.0004, "0.4 ms"), (0.0351, "35 ms"), (1.24, "1.2 s"), (59.9, "59.9 s"), (192, "3m 12s"),
        (3600, "1h"), (7500, "2h 5m"), (86_400, "1d"), (93_600, "1d 2h"),
    ],
)  # fmt: skip
def test_stretches_of_time_have_two_units_at_most(seconds: Optional[float], shown: str) -> None:
    """As exact as people need it."""
    assert took(seconds) == shown


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), (" 1d ", 86_400)])
def test_a_time_may_be_a_stretch_before_now(text: str, seconds: int) -> None:
    """Seconds, minutes, hours or days."""
    found = since(text, "--since")
    assert found is not None
    assert abs((utc_now() - found).total_seconds() - seconds) < 5
    assert span_seconds(text, "--window") == seconds


def test_a_time_may_be_an_instant() -> None:
    """RFC 3339, with any offset."""
    assert since("2026-11-24T13:00:00+01:00", "--since") == NOW
    assert since(None, "--since") is None


@pytest.mark.parametrize("text", ["", "10", "ten", "-5m", "5w", "999999999d", "tomorrow", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused_by_its_option(text: str) -> None:
    """The error names the option."""
    with pytest.raises(Invalid, match="--since"):
        since(text, "--since")


@pytest.mark.parametrize("text", ["0s", "", "1.5h", "2026-11-24T12:00:00Z"])
def test_what_is_no_stretch_is_refused_by_its_option(text: str) -> None:
    """The error says how one is written."""
    with pytest.raises(Invalid, match="--window must be a stretch of time such as"):
        span_seconds(text, "--window")


def test_counts_are_read_easily() -> None:
    """One, many, and thousands."""
    assert [count(1, "node"), count(1200, "node")] == ["1 node", "1,200 nodes"]
