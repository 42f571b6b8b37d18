"""``opscore top``: what goes on on a server, live, on one page of the terminal."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any, Optional, Sequence

import attrs
import click
from rich.text import Text

from opscore.cli.agents import calls
from opscore.cli.connection import Remote, remote_command
from opscore.cli.glance import agents_text, attention_lines, counts, waiting_text
from opscore.cli.output import print_json
from opscore.cli.tables import Column, console, cut, lines, word
from opscore.cli.wording import NOTHING, ago, moment, plain, span_seconds, took, took_ms

if TYPE_CHECKING:
    from opscore_sdk import AgentInfo, Execution, OpsCoreClientAsync, Overview
    from opscore_sdk.models import ServerStatus

_SPARKS = "▁▂▃▄▅▆▇█"
_ROWS = 40
_SNAPSHOT = (120, 60)
_MOST_ATTENTION = 3
_WORST_FIRST = ("unreachable", "error", "offline", "unhealthy", "working", "initializing", "idle", "reachable")


@attrs.frozen
class View:
    """All that one page shows."""

    url: str
    status: ServerStatus
    overview: Overview
    agents: Sequence[AgentInfo]
    figures: dict[str, Any]
    executions: Sequence[Execution]


@click.command()
@click.option("--interval", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, help="Seconds.")
@click.option("--window", default="1h", show_default=True, metavar="SPAN", help="What counts as lately: 10m, 2h, 1d.")
@remote_command
def top(remote: Remote, *, interval: float, window: str, as_json: bool) -> None:
    """Watch a server live, on one page.

    Throughput, open runs, what waits for what, agents, the newest executions and failures. q or Ctrl-C leaves. In a
    pipe it prints what it sees once.
    """
    from opscore.cli.screen import is_interactive

    seconds = span_seconds(window, "--window")

    async def shown(client: OpsCoreClientAsync) -> None:
        view = await _look(client, seconds)
        if as_json:
            print_json({name: getattr(view, name) for name in ("status", "overview", "agents", "executions")})
        elif is_interactive():
            await _live(client, view, seconds, interval)
        else:
            for line in page(view, *_SNAPSHOT):
                console().print(line)

    remote.ask(shown)


async def _look(client: OpsCoreClientAsync, window: int) -> View:
    status, overview, agents, performance, executions = await asyncio.gather(
        client.get_status(),
        client.get_overview(window),
        client.list_agents(),
        client.get_performance("agent", window=window),
        client.list_executions(limit=_ROWS),
    )
    figures = {row.agent_id: row for row in performance.rows if row.agent_id}
    return View(client.base_url, status, overview, agents.agents, figures, executions.executions)


async def _live(client: OpsCoreClientAsync, view: View, window: int, interval: float) -> None:
    from opscore.cli.screen import open_screen
    from opscore_sdk import OpsCoreConnectionError, ServerError

    trouble: Optional[str] = None
    loop = asyncio.get_running_loop()
    with open_screen() as screen:
        while not screen.left.is_set():
            due = loop.time() + interval
            while True:
                screen.draw(page(view, screen.width, screen.height, trouble))
                await screen.pause(max(0.0, due - loop.time()))
                if screen.left.is_set() or loop.time() >= due:
                    break
            if screen.left.is_set():
                break
            try:
                view, trouble = await _look(client, window), None
            except (OpsCoreConnectionError, ServerError) as error:
                trouble = str(error)


def page(view: View, width: int, height: int, trouble: Optional[str] = None) -> list[Text]:
    """The page, as lines: never more than there is room for."""
    now = moment(view.overview.generated_at)
    head = [_title(view, width, trouble), *_numbers(view, width), *_attention(view, trouble)]
    room = height - len(head)
    for block in _blocks(view, width, room, now):
        head += block
    return head[:height]


def _title(view: View, width: int, trouble: Optional[str]) -> Text:
    at = moment(view.overview.generated_at)
    when = f"{at.astimezone():%H:%M:%S}" if at else ""
    left = Text("Ops-Core ", "bold").append(f"{view.url} ", "default")
    left.append_text(Text("no answer", "bold red") if trouble else word(view.status.status))
    left.append(f", up {took(view.status.uptime_seconds)}", "default")
    right = f"  {when}  q leaves"
    left = cut(left, max(width - len(right), width // 2))
    return left.append(" " * (width - len(left) - len(right))).append(right, "dim")


def _numbers(view: View, width: int) -> list[Text]:
    overview = view.overview
    spans = overview.throughput
    each = spans[-1].seconds if spans else None
    lately, queued = overview.executions["window"], overview.queued
    label = f"last {took(overview.window_seconds)}"
    wait = f", queued for {ago(queued['oldest_since'])}" if queued["count"] else ""
    calls_now = f"{overview.calls['in_flight']:,} in flight, {overview.calls['waiting']:,} waiting"
    return [
        _fact("open", counts(overview.executions["open"]).append(wait, "yellow")),
        _fact(label, counts(lately)),
        _fact("started", _sparkline([one.started for one in spans], width - 12, each, "cyan")),
        _fact("failed", _sparkline([one.failed for one in spans], width - 12, each, "red")),
        _fact("waiting", waiting_text(overview).append(f"; calls: {calls_now}", "default")),
    ]


def _fact(name: str, value: Text) -> Text:
    return Text(f"{name:<12}", "bold").append_text(value)


def _sparkline(numbers: Sequence[int], width: int, seconds: Optional[float], style: str) -> Text:
    """Numbers as a line of bars, the newest at the right; with the highest number in words."""
    shown = list(numbers)[-max(0, width - 18) :]
    most = max(shown, default=0)
    each = f" in {took(seconds)}" if seconds else ""
    bars = "".join(_SPARKS[-(-number * 7 // most)] if number else "▁" for number in shown) if most else "▁" * len(shown)
    return Text(bars, style if most else "dim").append(f" most {most:,}{each}", "dim")


def _attention(view: View, trouble: Optional[str]) -> list[Text]:
    found = [Text(f"✗ {plain(trouble)}", "red")] if trouble else []
    found += attention_lines(view.overview)
    more = len(found) - _MOST_ATTENTION
    if more > 0:
        found = [*found[: _MOST_ATTENTION - 1], Text(f"and {more + 1} more: opscore status", "dim")]
    return found


def _blocks(view: View, width: int, room: int, now: Optional[datetime]) -> list[list[Text]]:
    """The tables, which share the lines that are left."""
    tables = [
        _agents(view, width, now),
        _executions(view, width, now),
        _failures(view, width, now),
    ]
    return [
        [Text(), *table[:size]]
        for table, size in zip(tables, _shares([len(one) for one in tables], room - 3))
        if size > 1
    ]


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """As many lines as each wants, or an equal part of what the smaller ones leave."""
    given = [0] * len(wanted)
    left = sorted(range(len(wanted)), key=lambda at: wanted[at])
    while left:
        at = left.pop(0)
        given[at] = max(0, min(wanted[at], room // (len(left) + 1)))
        room -= given[at]
    return given


def _agents(view: View, width: int, now: Optional[datetime]) -> list[Text]:
    def weight(one: AgentInfo) -> tuple[bool, int, int, str]:
        rank = _WORST_FIRST.index(one.condition) if one.condition in _WORST_FIRST else len(_WORST_FIRST)
        return one.status != "error", rank, -one.in_flight, one.agent_id

    columns = (
        Column("AGENT", can_be_cut=True),
        Column("CONDITION"),
        Column("CALLS", is_right=True),
        Column("DONE", is_right=True, matters=3),
        Column("FAILED", is_right=True),
        Column("CALL P50", is_right=True, matters=2),
        Column("P95", is_right=True),
        Column("SEEN", is_right=True, matters=2),
    )
    rows = [_agent(one, view.figures.get(one.agent_id), now) for one in sorted(view.agents, key=weight)]
    title = _fact("agents", agents_text(view.overview))
    return [title, *lines(columns, rows, width)] if rows else [title]


def _agent(one: AgentInfo, figures: Any, now: Optional[datetime]) -> Sequence[Any]:
    done, failed = (f"{figures.count:,}", f"{figures.failures:,}") if figures else (NOTHING, NOTHING)
    spread = figures.call_ms if figures else None
    times = [took_ms(spread.get(rank)) if spread else NOTHING for rank in ("p50", "p95")]
    failed_text = Text(failed, "red" if figures and figures.failures else "")
    seen = ago(one.last_seen, now)
    return plain(one.agent_id), word(one.condition), calls(one), done, failed_text, *times, seen


def _executions(view: View, width: int, now: Optional[datetime]) -> list[Text]:
    columns = (
        Column("EXECUTION"),
        Column("FLOW", can_be_cut=True),
        Column("STATUS"),
        Column("AGE", is_right=True),
        Column("TOOK", is_right=True, matters=1),
    )
    rows = [
        (
            plain(one.execution_id),
            plain(one.flow_id),
            word(one.status),
            ago(one.created_at, now),
            took(one.execution_time),
        )
        for one in view.executions
    ]
    return lines(columns, rows, width) if rows else [Text("No executions.", "dim")]


def _failures(view: View, width: int, now: Optional[datetime]) -> list[Text]:
    columns = (
        Column("FAILED", is_right=True),
        Column("FLOW", can_be_cut=True),
        Column("ERROR", can_be_cut=True, least=40),
        Column("EXECUTION", matters=0),
    )
    rows = [
        (
            f"{ago(one.completed_at, now)} ago",
            plain(one.flow_id),
            plain(one.error_message or one.error_code),
            plain(one.execution_id),
        )
        for one in view.overview.recent_failures
    ]
    return lines(columns, rows, width) if rows else []
