"""``opscore status``: a server at a glance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from opscore.cli.connection import Remote, remote_command
from opscore.cli.glance import agents_text, attention_lines, counts, waiting_text
from opscore.cli.output import FAILED, print_json
from opscore.cli.tables import console, paragraph, print_facts, word
from opscore.cli.wording import ago, plain, took

if TYPE_CHECKING:
    from opscore_sdk import OpsCoreClientAsync, Overview
    from opscore_sdk.models import ServerStatus

OPERATIONAL = "operational"


@click.command()
@remote_command
def status(remote: Remote, *, as_json: bool) -> None:
    """Show how a server does, at a glance.

    What runs, waits and failed, the agents, and what needs attention. Exit code 1 when the server is degraded.
    """
    told, overview, url = remote.ask(_look)
    if as_json:
        print_json({"status": told, "overview": overview})
    else:
        print_facts(_facts(told, overview, url))
        out = console()
        for line in attention_lines(overview):
            paragraph(out, line, hang=2)
    if told.status != OPERATIONAL:
        raise click.exceptions.Exit(FAILED)


async def _look(client: OpsCoreClientAsync) -> tuple[ServerStatus, Overview, str]:
    told, overview = await asyncio.gather(client.get_status(), client.get_overview())
    return told, overview, client.base_url


def _facts(told: ServerStatus, overview: Overview, url: str) -> list[tuple[str, Any]]:
    window, queued = overview.executions["window"], overview.queued
    parts = [
        Text(f"{plain(name)} ").append_text(word(state)) for name, state in sorted((told.components or {}).items())
    ]
    waiting = (f", the oldest for {ago(queued['oldest_since'])}") if queued["count"] else ""
    return [
        ("server", Text(f"{url} ").append_text(word(told.status)).append(f", version {plain(told.version)}, "
            f"up {took(told.uptime_seconds)}")),
        ("parts", Text(", ").join(parts)),
        ("open", counts(overview.executions["open"])),
        (f"last {took(overview.window_seconds)}", counts(window)),
        ("queue", f"{queued['count']:,}{waiting}"),
        ("waiting", waiting_text(overview)),
        ("calls", f"{overview.calls['in_flight']:,} in flight, {overview.calls['waiting']:,} waiting"),
        ("agents", agents_text(overview)),
        ("flows", f"{told.flows['total']:,}"),
    ]  # fmt: skip
