"""A server at a glance, in words: what both ``status`` and ``top`` say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from opscore.cli.wording import STYLES, ago, plain

if TYPE_CHECKING:
    from opscore_sdk import Overview


def counts(numbers: Any) -> Text:
    """Numbers by state: ``3 pending, 2 running``."""
    return Text(", ").join(
        Text(f"{number:,} ").append(name, STYLES.get(name, "") if number else "") for name, number in numbers.items()
    )


def waiting_text(overview: Overview) -> Text:
    """What steps wait for, in one line."""
    parts = [
        Text(f"{one.count:,} for ").append(plain(one.reason), "yellow").append(f" ({ago(one.oldest_since)})")
        for one in overview.waiting
        if one.count
    ]
    return Text(", ").join(parts) if parts else Text("nothing")


def agents_text(overview: Overview) -> Text:
    """How the agents do, in one line."""
    found = {word: number for word, number in overview.agents["by_condition"].items() if number}
    line = Text(f"{overview.agents['total']:,}")
    return line.append(": ").append_text(counts(found)) if found else line


def attention_lines(overview: Overview) -> list[Text]:
    """What somebody should look at, a line each."""
    found = []
    for one in overview.attention:
        line = Text("✗ ", "red") if one.severity == "error" else Text("! ", "yellow")
        since = f" ({ago(one.since)})" if one.since else ""
        found.append(line.append(f"{plain(one.text)}{since}", "default"))
    return found
