"""``opscore why``: what an execution waits for, since when, and what would move it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from opscore.cli.completion import execution_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.output import print_json
from opscore.cli.tables import console, paragraph, word
from opscore.cli.wording import ago, clock_time, plain

if TYPE_CHECKING:
    from opscore_sdk import Explanation


@click.command()
@click.argument("execution_id", metavar="EXECUTION", shell_complete=execution_ids)
@remote_command
def why(remote: Remote, *, execution_id: str, as_json: bool) -> None:
    """Say why an execution does not move, and what would move it."""
    explanation = remote.ask(lambda client: client.explain_execution(execution_id))
    if as_json:
        print_json(explanation)
    else:
        _print(explanation)


def _print(found: Explanation) -> None:
    out = console()
    head = Text(f"execution {plain(found.execution_id)} of flow {plain(found.flow_id)} ").append_text(
        word(found.status)
    )
    out.print(head)
    summary = plain(found.summary)
    paragraph(out, Text(summary))
    for cause in found.causes:
        paragraph(out, Text(_about(cause), "bold"))
        if plain(cause.text) not in summary:
            paragraph(out, Text(plain(cause.text)), 2)
        if cause.would_move:
            paragraph(out, Text("→ ", "green").append(plain(cause.would_move), "default"), 2)


def _about(cause: Any) -> str:
    parts = [plain(cause.what)]
    for name, value in (("node", cause.node_id), ("agent", cause.agent_id), ("attempt", cause.attempt)):
        if value is not None:
            parts.append(f"{name} {plain(value)}")
    if cause.since:
        parts.append(f"since {clock_time(cause.since)} ({ago(cause.since)})")
    if cause.until:
        parts.append(f"until {clock_time(cause.until)}")
    if cause.error_code:
        parts.append(plain(cause.error_code))
    return ", ".join(parts)
