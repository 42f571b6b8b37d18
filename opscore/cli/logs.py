"""``opscore logs``: what a server noted, and what it notes now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

import click
from rich.console import Console
from rich.text import Text

from opscore.cli.completion import agent_ids, execution_ids, flow_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.tables import console, paragraph
from opscore.cli.tail import follow
from opscore.cli.wording import STYLES, clock_time, plain, since, took_ms, utc_now
from opscore.domain.errors import Invalid

if TYPE_CHECKING:
    from opscore_sdk import LogEntry, OpsCoreClientAsync

_LEVELS = ("debug", "info", "warning", "error", "critical")
_ABOUT = ("execution_id", "flow_id", "node_id", "agent_id", "attempt", "error_code")


@click.command()
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Stay, and print what comes.")
@click.option("--level", type=click.Choice(_LEVELS, case_sensitive=False), help="Only those at least as grave.")
@click.option("--agent", "agent_id", metavar="ID", shell_complete=agent_ids, help="Only about this agent.")
@click.option("--execution", "execution_id", metavar="ID", shell_complete=execution_ids, help="Only about this one.")
@click.option("--flow", "flow_id", metavar="ID", shell_complete=flow_ids, help="Only about this flow.")
@click.option("--node", "node_id", metavar="ID", help="Only about this node.")
@click.option("--error-code", metavar="CODE", help="Only with this error code.")
@click.option("--trace", "trace_id", metavar="ID", help="Only of this trace.")
@click.option("--request", "request_id", metavar="ID", help="Only of this request.")
@click.option("--grep", "q", metavar="TEXT", help="Only with this text.")
@click.option("--since", "begin", metavar="WHEN", help="From then on: 10m, 2h, 1d, or RFC 3339.")
@click.option("--until", "end", metavar="WHEN", help="Before then.")
@click.option("-n", "--limit", type=click.IntRange(min=0), help="How many at most, the newest. [50; with --since all]")
@remote_command
def logs(
    remote: Remote,
    *,
    is_followed: bool,
    begin: Optional[str],
    end: Optional[str],
    limit: Optional[int],
    as_json: bool,
    **wanted: Any,
) -> None:
    """Print what a server noted; with -f also what it notes now.

    The oldest entry comes first. With --json it is an object for each entry, one a line.
    """
    if is_followed and end is not None:
        raise Invalid("--follow has no end: leave out --until.")
    first, last = since(begin, "--since"), since(end, "--until")
    most = (None if first is not None else 50) if limit is None else limit
    out = console()

    def show(entry: LogEntry) -> None:
        click.echo(json.dumps(entry, ensure_ascii=False)) if as_json else _print(out, entry)

    async def printed(client: OpsCoreClientAsync) -> None:
        begun = utc_now()
        found = (
            list(await client.list_logs(**wanted, since=first, until=last, limit=500).all(most)) if most != 0 else []
        )
        for entry in reversed(found):
            show(entry)
        if is_followed:
            place: dict[str, Any] = {"after": found[0].log_id} if found else {"since": begun}
            await follow(client.stream_logs(**wanted, **place), show)

    remote.ask(printed)


def _print(out: Console, entry: LogEntry) -> None:
    """An entry as a line; where it came from is for ``--json``, and what its message says is said once."""
    level = str(entry.level)
    at = clock_time(entry.timestamp) if out.is_terminal else plain(entry.timestamp)
    line = Text(f"{at} ", "dim").append(f"{plain(level):<8}", STYLES.get(level.lower(), ""))
    line.append(plain(entry.message), "default")
    about = [(name, entry.get(name)) for name in _ABOUT] + list((entry.fields or {}).items())
    for name, value in about:
        if value not in (None, "") and not (isinstance(value, str) and value in str(entry.message)):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            line.append(f" {plain(name).removesuffix('_id')}=", "dim").append(plain(shown), "cyan")
    if entry.duration_ms is not None:
        line.append(" took=", "dim").append(took_ms(entry.duration_ms), "cyan")
    paragraph(out, line, hang=4)
