"""``opscore events``: what happens to all executions and agents, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

import click
from rich.text import Text

from opscore.cli.completion import agent_ids, execution_ids, flow_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.tables import console, paragraph
from opscore.cli.tail import follow
from opscore.cli.wording import STYLES, clock_time, plain

if TYPE_CHECKING:
    from opscore_sdk import FeedEvent, OpsCoreClientAsync


@click.command()
@click.option("--type", "types", metavar="WORDS", help="Only of these types: node.failed,execution.* and so on.")
@click.option("--agent", "agent_id", metavar="ID", shell_complete=agent_ids, help="Only about this agent.")
@click.option("--flow", "flow_id", metavar="ID", shell_complete=flow_ids, help="Only of executions of this flow.")
@click.option("--execution", "execution_id", metavar="ID", shell_complete=execution_ids, help="Only of this execution.")
@click.option("--after", type=click.IntRange(min=0), help="Begin after this position. [now]")
@remote_command
def events(remote: Remote, *, as_json: bool, types: Optional[str], **wanted: Any) -> None:
    """Print what happens to executions and agents, live.

    Until Ctrl-C. With --json it is an object for each event, one a line; its "position" is where --after goes on.
    """
    out = console()

    def show(event: FeedEvent) -> None:
        click.echo(json.dumps(event, ensure_ascii=False)) if as_json else paragraph(out, line_of(event), hang=4)

    async def printed(client: OpsCoreClientAsync) -> None:
        await follow(client.stream_all_events(types=types, **wanted), show)

    remote.ask(printed)


def line_of(event: FeedEvent) -> Text:
    """An event as one line."""
    kind = str(event.type)
    line = Text(f"{clock_time(event.at)} ", "dim")
    line.append(f"{plain(kind):<19} ", STYLES.get(kind.partition(".")[2], "default"))
    about = [(name, event.get(name)) for name in ("flow_id", "node_id", "agent_id", "execution_id")]
    told = [
        (name, value) for name, value in event.data.items() if name not in event and not isinstance(value, (dict, list))
    ]
    for name, value in about + told:
        if value is not None:
            line.append(f" {plain(name).removesuffix('_id')}=", "dim").append(plain(value), "cyan")
    return line
