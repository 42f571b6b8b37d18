"""``opscore executions``: find, look at, start, watch and cancel executions."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Optional, Sequence

import click

from opscore.cli.completion import agent_ids, execution_ids, flow_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.output import FAILED, print_json
from opscore.cli.run import read_input
from opscore.cli.sections import Listing
from opscore.cli.tables import Column, console, print_facts, print_table, word
from opscore.cli.watch import watch_execution
from opscore.cli.wording import NOTHING, ago, clock_time, count, plain, plain_lines, since, took, took_ms
from opscore.domain.errors import Invalid

if TYPE_CHECKING:
    from opscore_sdk import Execution, OpsCoreClientAsync

_OPEN = ("pending", "running", "paused")
_STATUSES = (*_OPEN, "completed", "failed", "cancelled")
_AT_ONCE = 100
_MOST_REFUSALS = 20


@click.group(cls=Listing)
def executions() -> None:
    """Find, see, start, watch and cancel executions."""


an_execution = click.argument("execution_id", metavar="ID", shell_complete=execution_ids)
flow_option = click.option("--flow", "flow_id", metavar="ID", shell_complete=flow_ids, help="Only of this flow.")
agent_option = click.option(
    "--agent", "agent_id", metavar="ID", shell_complete=agent_ids, help="Only those with a step of this agent."
)

_LISTED = (
    Column("EXECUTION"),
    Column("FLOW", can_be_cut=True),
    Column("STATUS"),
    Column("AGE", is_right=True),
    Column("TOOK", is_right=True, matters=1),
    Column("ERROR", can_be_cut=True, matters=0, least=16),
)


@executions.command(name="list")
@flow_option
@agent_option
@click.option("--status", type=click.Choice(_STATUSES), help="Only in this state.")
@click.option("--since", "after", metavar="WHEN", help="Only newer ones: 10m, 2h, 1d, or RFC 3339.")
@click.option("--until", "before", metavar="WHEN", help="Only older ones.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only with this metadata; repeatable.")
@click.option("--grep", "q", metavar="TEXT", help="Begin of an id, or part of the flow's id, the user's or the error.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@click.option("--ids", "only_ids", is_flag=True, help="Print only ids, one a line.")
@remote_command
def list_executions(
    remote: Remote,
    *,
    limit: int,
    labels: tuple[str, ...],
    after: Optional[str],
    before: Optional[str],
    only_ids: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """List executions, newest first."""
    wanted.update(
        created_after=since(after, "--since"), created_before=since(before, "--until"), metadata=_labels(labels)
    )

    async def listed(client: OpsCoreClientAsync) -> Sequence[Execution]:
        return await client.list_executions(**wanted, limit=min(limit, 500)).all(limit)

    found = remote.ask(listed)
    if only_ids:
        for one in found:
            click.echo(one["execution_id"])
    elif as_json:
        print_json({"executions": found, "count": len(found)})
    elif not found:
        click.echo("No executions.", err=True)
    else:
        print_table(_LISTED, [_row(one) for one in found])


def _row(one: Execution) -> Sequence[Any]:
    error = one.error_message or one.error_code if one.status in ("failed", "cancelled") else None
    told = plain(error) if error else ""
    status = word(one.status)
    return plain(one.execution_id), plain(one.flow_id), status, ago(one.created_at), took(one.execution_time), told


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise Invalid(f"--label must look like NAME=VALUE, not {label!r}.")
        found[name] = value
    return found


_NODES = (
    Column("NODE", can_be_cut=True),
    Column("STATE"),
    Column("TRY", is_right=True, matters=3),
    Column("TIME", is_right=True),
    Column("QUEUE", is_right=True, matters=2),
    Column("CALL", is_right=True, matters=2),
    Column("COMMIT", is_right=True, matters=1),
    Column("AGENT", can_be_cut=True, matters=4),
    Column("ERROR", can_be_cut=True, matters=0),
)


@executions.command()
@an_execution
@click.option("--data", "with_data", is_flag=True, help="Also its input, and the output of each node.")
@remote_command
def show(remote: Remote, *, execution_id: str, with_data: bool, as_json: bool) -> None:
    """Show one execution, its nodes and where their time went."""
    results = remote.ask(lambda client: client.get_execution_results(execution_id))
    if as_json:
        print_json(results)
        return
    execution = results.execution
    print_facts(_facts(execution))
    if results.node_results:
        click.echo()
        print_table(_NODES, [_node(one) for one in results.node_results])
    if with_data:
        _print_data("input", execution.input_data)
        for one in results.node_results:
            _print_data(f"output of {plain(one.node_id)}", one.output_data)


def _facts(one: Execution) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("execution", plain(one.execution_id)),
        ("flow", f"{plain(one.flow_id)} (version {one.flow_version})"),
        ("status", word(one.status)),
        ("created", f"{clock_time(one.created_at)} ({ago(one.created_at)} ago)"),
        ("took", took(one.execution_time)),
    ]
    if one.metadata:
        facts.append(("metadata", ", ".join(f"{plain(name)}={plain(value)}" for name, value in one.metadata.items())))
    if one.trace_id:
        facts.append(("trace", plain(one.trace_id)))
    for waiting in one.waiting:
        told = ": ".join(plain(text) for text in (waiting.reason, waiting.message) if text)
        facts.append(("waits", f"{plain(waiting.node_id)} for {told} (since {ago(waiting.since)})"))
    if one.error_message or one.error_code:
        facts.append(("error", f"{plain(one.error_code)}: {plain(one.error_message)}"))
    if one.status in _OPEN:
        facts.append(("why", f"opscore why {plain(one.execution_id)}"))
    return facts


def _node(one: Any) -> Sequence[Any]:
    timing = one.timing or {}
    spent = one.execution_time_ms
    return (
        plain(one.node_id),
        word(one.status),
        str(one.attempt) if one.attempt else NOTHING,
        took_ms(spent),
        *(took_ms(timing.get(name)) for name in ("queue_ms", "call_ms", "commit_ms")),
        plain(one.agent_id),
        plain(one.error_message or one.error_code) if one.error_message or one.error_code else "",
    )


def _print_data(title: str, data: Any) -> None:
    click.echo(f"\n{title}:")
    click.echo(plain_lines(json.dumps(data, indent=2, ensure_ascii=False)))


@executions.command()
@an_execution
@remote_command
def watch(remote: Remote, *, execution_id: str, as_json: bool) -> None:
    """Watch an execution until it has ended.

    Exit code 1 when it failed or was cancelled. Nodes with their states and times, live; in a pipe a line for each
    event. Ctrl-C leaves, and the execution goes on.
    """
    remote.ask(lambda client: watch_execution(client, execution_id, as_json=as_json))


@executions.command()
@click.argument("flow_id", metavar="FLOW", shell_complete=flow_ids)
@click.option("--input", "given", default="{}", metavar="JSON|@FILE", help="The execution's input. [{}]")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Metadata to find it by; repeatable.")
@click.option("--priority", type=click.IntRange(0, 10), help="Higher goes first. [the flow's own]")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the execution.")
@click.option("--flow-version", type=click.IntRange(min=1), help="Which version of the flow. [the newest]")
@click.option("--idempotency-key", metavar="KEY", help="The same key and input give the same execution for 24 hours.")
@click.option("--watch", "is_watched", is_flag=True, help="Stay and watch it.")
@remote_command
def start(
    remote: Remote,
    *,
    flow_id: str,
    given: str,
    labels: tuple[str, ...],
    is_watched: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Start a flow and print the execution's id."""
    input_data = read_input(given)
    metadata = _labels(labels) or None

    async def started(client: OpsCoreClientAsync) -> None:
        execution = await client.execute_flow(flow_id, input_data, metadata, **options)
        if is_watched:
            await watch_execution(client, execution.execution_id, as_json=as_json)
        elif as_json:
            print_json(execution)
        else:
            click.echo(execution.execution_id)

    remote.ask(started)


@executions.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=execution_ids)
@flow_option
@agent_option
@click.option("--status", type=click.Choice(_OPEN), help="Only in this state. [all that have not ended]")
@click.option("--before", metavar="WHEN", help="Only older ones: 10m, 2h, 1d, or RFC 3339.")
@click.option("--all", "is_all", is_flag=True, help="All that have not ended.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads their histories.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@remote_command
def cancel(
    remote: Remote,
    *,
    ids: tuple[str, ...],
    is_all: bool,
    reason: Optional[str],
    is_sure: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Cancel executions by their ids, or all that options choose.

    The id - reads ids from standard input. No call to an agent leaves for them any more. Asks before it cancels
    what options choose.
    """
    chosen = {name: value for name, value in wanted.items() if value is not None}
    if bool(ids) == bool(chosen or is_all):
        raise Invalid("Name executions by their ids, or choose them with --flow, --agent, --status, --before or --all.")

    found = _named(ids) if ids else remote.ask(lambda client: _choose(client, **wanted))
    if not ids and found and not is_sure:
        _make_sure(len(found))
    answer = remote.ask(lambda client: _cancel(client, found, reason, quiet=as_json))
    if as_json:
        print_json(answer)
    else:
        _tell_cancelled(answer)
    if answer["refused"]:
        raise click.exceptions.Exit(FAILED)


def _named(ids: Sequence[str]) -> list[str]:
    return [name for one in ids for name in (sys.stdin.read().split() if one == "-" else [one])]


async def _choose(
    client: OpsCoreClientAsync, *, status: Optional[str], before: Optional[str], **wanted: Any
) -> list[str]:
    found: list[str] = []
    for one in [status] if status else _OPEN:
        listed = client.list_executions(status=one, created_before=since(before, "--before"), limit=500, **wanted)
        found += [execution.execution_id async for execution in listed]
    return list(dict.fromkeys(found))  # one that moved on meanwhile is in two lists


def _make_sure(number: int) -> None:
    if not sys.stdin.isatty():
        raise Invalid(f"This would cancel {count(number, 'execution')}. Say --yes if that is what you want.")
    click.confirm(f"Cancel {count(number, 'execution')}?", abort=True, err=True)


async def _cancel(client: OpsCoreClientAsync, ids: list[str], reason: Optional[str], *, quiet: bool) -> dict[str, Any]:
    from rich.progress import Progress

    answer: dict[str, Any] = {"cancelled": [], "refused": []}
    out = console(stderr=True)
    is_hidden = quiet or len(ids) <= _AT_ONCE or not out.is_terminal
    with Progress(console=out, disable=is_hidden, transient=True) as progress:
        bar = progress.add_task("Cancelling", total=len(ids))
        for at in range(0, len(ids), _AT_ONCE):
            some = ids[at : at + _AT_ONCE]
            done = await client.cancel_executions(some, reason)
            answer["cancelled"] += done["cancelled"]
            answer["refused"] += done["refused"]
            progress.advance(bar, len(some))
    return answer


def _tell_cancelled(answer: dict[str, Any]) -> None:
    number, refused = len(answer["cancelled"]), answer["refused"]
    for one in refused[:_MOST_REFUSALS]:
        click.echo(f"Error: {plain(one['execution_id'])}: {plain(one['message'])}", err=True)
    if len(refused) > _MOST_REFUSALS:
        click.echo(f"and {len(refused) - _MOST_REFUSALS:,} more could not be cancelled; --json has all.", err=True)
    if number or not refused:
        click.echo(f"Cancelled {count(number, 'execution')}.")
