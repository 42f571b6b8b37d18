"""``opscore agents``: who there is, how they do, and whether they answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Optional, Sequence

import click
from rich.text import Text

from opscore.cli.completion import agent_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.output import FAILED, print_json
from opscore.cli.sections import Listing
from opscore.cli.tables import Column, print_facts, print_table, word
from opscore.cli.wording import NOTHING, ago, clock_time, plain, took, took_ms

if TYPE_CHECKING:
    from opscore_sdk import AgentInfo, OpsCoreClientAsync
    from opscore_sdk.models import AgentHistory
    from opscore_sdk.observations import Performance

_STATES = ("unknown", "initializing", "idle", "active", "error", "finished", "offline")
_HISTORY = 10

COLUMNS = (
    Column("AGENT", can_be_cut=True),
    Column("CONDITION"),
    Column("REPORTS", matters=1),
    Column("CALLS", is_right=True, matters=3),
    Column("LATENCY", is_right=True, matters=2),
    Column("FAILING", is_right=True, matters=2),
    Column("SEEN", is_right=True),
    Column("CAN", can_be_cut=True, matters=0),
)


@click.group(cls=Listing)
def agents() -> None:
    """See agents, how they do, and whether they answer."""


@agents.command(name="list")
@click.option("--state", type=click.Choice(_STATES), help="Only those that report this state.")
@click.option("--capability", metavar="WORD", help="Only those that can do this.")
@click.option("--active", "active_only", is_flag=True, help="Only those that may be given work.")
@remote_command
def list_agents(remote: Remote, *, as_json: bool, **wanted: Any) -> None:
    """List agents, how they do and how they answer."""
    found = remote.ask(lambda client: client.list_agents(**wanted))
    if as_json:
        print_json(found)
    elif not found.agents:
        click.echo("No agents.", err=True)
    else:
        print_table(COLUMNS, [row(one) for one in found.agents])


def row(one: AgentInfo) -> Sequence[Any]:
    """An agent as a row of a table."""
    failures = (one.breaker or {}).get("failures") or 0
    return (
        plain(one.agent_id),
        word(one.condition),
        reported(one),
        calls(one),
        took_ms(one.health.latency_ms if one.health else None),
        Text(f"{failures:,}", "red" if failures else ""),
        ago(one.last_seen),
        plain(", ".join(one.capabilities)),
    )


def reported(one: AgentInfo) -> Text:
    """The state that it reports; many never do."""
    return Text(NOTHING) if one.state == "unknown" else word(one.state)


def calls(one: AgentInfo) -> str:
    """Its open calls, and how many it takes."""
    return f"{one.in_flight}/{one.max_concurrency}" if one.max_concurrency else str(one.in_flight)


@agents.command()
@click.argument("agent_id", metavar="ID", shell_complete=agent_ids)
@remote_command
def show(remote: Remote, *, agent_id: str, as_json: bool) -> None:
    """Show one agent, its figures, and what it reported."""

    async def look(client: OpsCoreClientAsync) -> tuple[AgentInfo, AgentHistory, Performance]:
        agent = await client.get_agent(agent_id)
        history, figures = await asyncio.gather(
            client.get_agent_history(agent_id, limit=_HISTORY), client.get_performance("agent", agent_id=agent_id)
        )
        return agent, history, figures

    agent, history, figures = remote.ask(look)
    if as_json:
        print_json({"agent": agent, "history": history["history"], "performance": figures["rows"]})
        return
    print_facts([*_facts(agent), *_figures(figures)])
    if history.history:
        click.echo()
        columns = (Column("REPORTED"), Column("STATE"), Column("DETAILS", can_be_cut=True))
        rows = [(clock_time(one.timestamp), word(one.state), plain(_named(one.details))) for one in history.history]
        print_table(columns, rows)


def _facts(one: AgentInfo) -> list[tuple[str, Any]]:
    breaker, health = one.breaker or {}, one.health
    facts: list[tuple[str, Any]] = [
        ("agent", plain(one.agent_id)),
        ("name", plain(one.name)),
        ("endpoint", f"{plain(one.endpoint)} ({plain(one.protocol)})"),
        ("can", plain(", ".join(one.capabilities))),
        ("condition", word(one.condition)),
        ("reports", reported(one).append(f", since {clock_time(one.state_timestamp)}" if one.state_timestamp else "")),
        ("last seen", f"{ago(one.last_seen)} ago" if one.last_seen else "never"),
        ("calls", f"{calls(one)} in flight"),
    ]
    if health is not None:
        told = f": {plain(health.message)}" if health.message else ""
        facts.append(("health", word(health.status).append(f"{told} ({took_ms(health.latency_ms)})", "default")))
    if breaker.get("state") not in (None, "closed"):
        again = f", tried again at {clock_time(breaker['retry_at'])}" if breaker.get("retry_at") else ""
        text = f"after {breaker.get('failures')} failures: {plain(breaker.get('reason'))}{again}"
        facts.append(("left alone", Text(text, "red")))
    return facts


def _figures(found: Performance) -> list[tuple[str, Any]]:
    shown = []
    for figures in found.rows:
        told = f"{figures.count:,} calls, {figures.failures:,} failed, {figures.retries:,} tried again"
        shown.append((f"last {took(found.window_seconds)}", told))
        for name, spread in (("queue", figures.queue_ms), ("call", figures.call_ms)):
            if spread is not None:
                ranks = ", ".join(f"{rank} {took_ms(spread.get(rank))}" for rank in ("p50", "p95", "p99"))
                shown.append((f"{name} time", ranks))
    return shown


def _named(details: Optional[dict[str, Any]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in (details or {}).items()) or NOTHING


@agents.command()
@click.argument("target", metavar="ID|URL", shell_complete=agent_ids)
@click.option("--protocol", metavar="NAME", help="How the endpoint is called. [the agent's own, or spine]")
@remote_command
def test(remote: Remote, *, target: str, protocol: Optional[str], as_json: bool) -> None:
    """Have the server try an agent, or an address.

    Exit code 1 when nobody answers there.
    """

    async def tried(client: OpsCoreClientAsync) -> Any:
        if "://" in target:
            return await client.test_agent(target, protocol)
        agent = await client.get_agent(target)
        if not agent.endpoint:
            raise click.ClickException(f"The agent {target} has no endpoint: it is called through its protocol.")
        return await client.test_agent(agent.endpoint, protocol or agent.protocol)

    found = remote.ask(tried)
    if as_json:
        print_json(found)
    else:
        answer = "answers" if found.connected else "does not answer"
        click.echo(f"{target} {answer} ({took_ms(found.latency_ms)}): {plain(found.message)}")
    if not found.connected:
        raise click.exceptions.Exit(FAILED)
