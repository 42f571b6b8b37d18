"""An execution as it goes: the terminal as a live page, or a line for each event in a pipe."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Optional, Sequence

import click
from rich.text import Text

from opscore.cli.output import FAILED, INTERRUPTED
from opscore.cli.tables import Cell, Column, console, lines, paragraph, word
from opscore.cli.watched import Node, Watched
from opscore.cli.wording import NOTHING, STYLES, clock_time, count, plain, took, utc_now

if TYPE_CHECKING:
    from opscore.cli.screen import Screen
    from opscore_sdk import EventStream, OpsCoreClientAsync

_DRAW_EVERY = 0.2
_PATIENT = 20
"""How often the stream connects anew before it gives up: some two minutes."""
_MOST_AT_THE_END = 16
_COLUMNS = (
    Column("NODE", can_be_cut=True),
    Column("STATE"),
    Column("TIME", is_right=True),
    Column("TRY", is_right=True, matters=1),
    Column("AGENT", can_be_cut=True, matters=2),
    Column("TOLD", can_be_cut=True, matters=0),
)


async def watch_execution(client: OpsCoreClientAsync, execution_id: str, *, as_json: bool) -> None:
    """Show an execution until it has ended; an exit code above 0 when it did not complete."""
    from opscore.cli.screen import is_interactive

    execution = await client.get_execution(execution_id)
    patient = client.with_options(max_retries=_PATIENT)
    stream = patient.stream_events(execution.execution_id)
    try:
        if as_json:
            await _print_json(stream)
        elif is_interactive() and not execution.is_final:
            await _follow_live(client, execution, stream)
        elif is_interactive():
            await _show_end(client, execution, stream)
        else:
            await _print_lines(stream)
    except asyncio.CancelledError:
        _tell_detached(execution)
        raise
    if stream.final_status != "completed":
        raise click.exceptions.Exit(FAILED)


def _tell_detached(execution: Any) -> None:
    click.echo(f"Detached; execution {execution['execution_id']} goes on.", err=True)


async def _print_json(stream: EventStream) -> None:
    async for event in stream:
        click.echo(json.dumps(event, ensure_ascii=False))


async def _print_lines(stream: EventStream) -> None:
    watched, out = Watched(), console()
    async for event in stream:
        watched.take(event)
        out.print(_event_line(event))
    out.print(_headline(stream.last_seq, watched))


def _event_line(event: Any) -> Text:
    kind, _, what = event["type"].partition(".")
    line = Text(f"{clock_time(event['at'])}  ", "dim")
    line.append(f"{plain(event.get('node_id') or kind)} ", "bold")
    line.append(what.replace("_", " "), STYLES.get(what, ""))
    if event.get("agent_id"):
        line.append(f" by {plain(event['agent_id'])}", "dim")
    if (event.get("attempt") or 0) > 1:
        line.append(f" (attempt {event['attempt']})", "dim")
    told = event["data"].get("error_message") or event["data"].get("detail") or event["data"].get("reason")
    return line.append(f": {plain(told)}") if told else line


def _headline(events: int, watched: Watched) -> Text:
    line = Text("execution ").append_text(word(watched.status))
    line.append(f" after {took(watched.seconds(utc_now()))}, {count(events, 'event')}")
    return line.append(f": {plain(watched.told)}", "red") if watched.told else line


async def _begin(client: OpsCoreClientAsync, execution: Any) -> Watched:
    """The nodes of its flow, if that is still there."""
    from opscore_sdk import NotFoundError

    try:
        graph = await client.get_flow_graph(execution.flow_id, execution.flow_version)
    except NotFoundError:
        return Watched()
    return Watched(graph.nodes)


async def _show_end(client: OpsCoreClientAsync, execution: Any, stream: EventStream) -> None:
    watched = await _begin(client, execution)
    async for event in stream:
        watched.take(event)
    _print_end(execution, watched)


async def _follow_live(client: OpsCoreClientAsync, execution: Any, stream: EventStream) -> None:
    from opscore.cli.screen import open_screen

    watched = await _begin(client, execution)
    with open_screen() as screen:
        reading = asyncio.ensure_future(_read(stream, watched))
        try:
            while not reading.done() and not screen.left.is_set():
                screen.draw(page(execution, watched, screen.width, screen.height))
                await _until_news(screen, reading)
        finally:
            if not reading.done():
                reading.cancel()
            await asyncio.wait([reading])
    if reading.cancelled():
        _tell_detached(execution)
        raise click.exceptions.Exit(INTERRUPTED)
    reading.result()
    _print_end(execution, watched)


async def _read(stream: EventStream, watched: Watched) -> None:
    async for event in stream:
        watched.take(event)


async def _until_news(screen: Screen, reading: asyncio.Future[None]) -> None:
    drawn = asyncio.ensure_future(screen.pause(_DRAW_EVERY))
    try:
        await asyncio.wait([reading, drawn], return_when=asyncio.FIRST_COMPLETED)
    finally:
        drawn.cancel()


def page(execution: Any, watched: Watched, width: int, height: int) -> list[Text]:
    """The live page, as lines."""
    now = utc_now()
    head = [
        Text("execution ", "bold").append(execution["execution_id"]).append(f"  flow {plain(execution['flow_id'])}"),
        word(watched.status)
        .append(f"  {took(watched.seconds(now))}  ", "default")
        .append_text(_bar(watched, min(30, width // 3))),
    ]
    nodes = watched.in_view(height - len(head) - 4)
    shown = lines(_COLUMNS, [_row(node) for node in nodes], width)
    rest = len(watched.nodes) - len(nodes)
    more = [Text(f"and {count(rest, 'more node')}", "dim")] if rest else []
    return [*head, Text(), *shown, *more, Text("Ctrl-C or q leaves; the execution goes on.", "dim")]


def _bar(watched: Watched, wide: int) -> Text:
    whole = len(watched.nodes)
    filled = wide * watched.done // whole if whole else 0
    bar = Text("━" * filled, "green").append("━" * (wide - filled), "bright_black")
    return bar.append(f" {watched.done}/{whole} nodes", "default")


def _row(node: Node) -> Sequence[Cell]:
    tries = str(node.attempt) if node.attempt else NOTHING
    times = took(node.seconds(utc_now()))
    told: Optional[str] = node.told
    return plain(node.node_id), word(node.state), times, tries, plain(node.agent_id), plain(told)


def _print_end(execution: Any, watched: Watched) -> None:
    out = console()
    nodes = watched.in_view(_MOST_AT_THE_END)
    for line in lines(_COLUMNS, [_row(node) for node in nodes], out.width):
        out.print(line)
    if len(nodes) < len(watched.nodes):
        rest = count(len(watched.nodes) - len(nodes), "more node")
        out.print(Text(f"and {rest}: opscore executions show {execution['execution_id']}", "dim"))
    line = Text(f"execution {execution['execution_id']} ").append_text(word(watched.status))
    line.append(f" after {took(watched.seconds(utc_now()))}")
    paragraph(out, line.append(f": {plain(watched.told)}", "red") if watched.told else line)
