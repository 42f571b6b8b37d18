"""``opscore performance``: where the time goes, by agent, flow or node."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import click

from opscore.cli.completion import agent_ids, flow_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.output import print_json
from opscore.cli.tables import Column, print_table
from opscore.cli.wording import count, plain, span_seconds, took, took_ms

_FIGURES = (("queue_ms", "QUEUE"), ("call_ms", "CALL"), ("commit_ms", "COMMIT"))
_RANKS = ("p50", "p95", "p99")


@click.command()
@click.option("--by", type=click.Choice(["agent", "flow", "node"]), default="agent", show_default=True)
@click.option("--agent", "agent_id", metavar="ID", shell_complete=agent_ids, help="Only of this agent.")
@click.option("--flow", "flow_id", metavar="ID", shell_complete=flow_ids, help="Only of this flow.")
@click.option("--window", default="1h", show_default=True, metavar="SPAN", help="How far back: 10m, 2h, 1d.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), help="How many rows at most.")
@remote_command
def performance(remote: Remote, *, window: str, as_json: bool, **wanted: Any) -> None:
    """Show where the time goes, by agent, flow or node.

    How long work waits for its call, is called for and is stored: median, p95 and p99. Flows have the times of
    whole executions, too.
    """
    seconds = span_seconds(window, "--window")
    found = remote.ask(lambda client: client.get_performance(**wanted, window=seconds))
    if as_json:
        print_json(found)
        return
    if not found.rows:
        click.echo(f"Nothing ended in the last {took(found.window_seconds)}.", err=True)
        return
    print_table(*_table(wanted["by"], found.rows))
    if found.truncated:
        click.echo(f"Of the newest {count(found.sampled, 'step')} only; a shorter --window has all.", err=True)


def _table(by: str, rows: Sequence[Any]) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    names = {"agent": ["agent_id"], "flow": ["flow_id"], "node": ["node_id", "flow_id"]}[by]
    figures = (("execution_ms", "TOOK"), *_FIGURES) if by == "flow" else _FIGURES
    columns = [Column(name[:-3].upper(), can_be_cut=True) for name in names]
    columns += [Column(title, is_right=True, matters=9) for title in ("COUNT", "FAILED", "RETRIES")]
    for at, (_, title) in enumerate(figures):
        columns += [Column(f"{title} {rank.upper()}", is_right=True, matters=_weight(at, rank)) for rank in _RANKS]
    return columns, [_row(row, names, [name for name, _ in figures]) for row in rows]


def _weight(at: int, rank: str) -> int:
    """A median and a p95 of what comes first matter most."""
    return {"p95": 8, "p50": 6, "p99": 3}[rank] - at


def _row(row: Any, names: Sequence[str], figures: Sequence[str]) -> Sequence[str]:
    cells = [plain(row.get(name)) for name in names]
    cells += [f"{row[name]:,}" for name in ("count", "failures", "retries")]
    for name in figures:
        spread: Optional[Any] = row.get(name)
        cells += [took_ms(spread.get(rank) if spread else None) for rank in _RANKS]
    return cells
