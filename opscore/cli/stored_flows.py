"""``opscore flows list`` and ``show``: the flows that a running server has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Optional

import click

from opscore.cli.completion import flow_ids
from opscore.cli.connection import Remote, remote_command
from opscore.cli.output import print_json
from opscore.cli.tables import Column, print_facts, print_table
from opscore.cli.wording import NOTHING, ago, clock_time, plain, took

if TYPE_CHECKING:
    from opscore_sdk import Flow, OpsCoreClientAsync
    from opscore_sdk.observations import FlowGraph

_LISTED = (
    Column("FLOW"),
    Column("VERSION", is_right=True),
    Column("NODES", is_right=True),
    Column("CHANGED", is_right=True),
    Column("NAME", can_be_cut=True, matters=1),
    Column("DESCRIPTION", can_be_cut=True, matters=0),
)
_NODES = (
    Column("NODE", can_be_cut=True),
    Column("TYPE", matters=1),
    Column("BY", can_be_cut=True),
    Column("AFTER", can_be_cut=True, matters=2),
    Column("TIMEOUT", is_right=True, matters=0),
)


@click.command(name="list")
@remote_command
def list_flows(remote: Remote, *, as_json: bool) -> None:
    """List the flows of a running server."""
    found = remote.ask(lambda client: client.list_flows())
    if as_json:
        print_json(found)
    elif not found.flows:
        click.echo("No flows.", err=True)
    else:
        print_table(_LISTED, [_row(one) for one in found.flows])


def _row(one: Flow) -> tuple[str, ...]:
    flow: dict[str, Any] = one
    nodes = flow.get("nodes") or flow.get("tasks") or ()
    changed = f"{ago(one.updated_at)} ago"
    told = (plain(one.name), plain(one.description))
    return plain(one.flow_id), str(one.flow_version), str(len(nodes)), changed, *told


@click.command()
@click.argument("flow_id", metavar="ID", shell_complete=flow_ids)
@click.option("--version", type=click.IntRange(min=1), help="Which version. [the newest]")
@remote_command
def show(remote: Remote, *, flow_id: str, version: Optional[int], as_json: bool) -> None:
    """Show a flow: its nodes, who does them, what they wait for."""

    async def look(client: OpsCoreClientAsync) -> tuple[Flow, FlowGraph]:
        return await asyncio.gather(client.get_flow(flow_id, version), client.get_flow_graph(flow_id, version))

    flow, graph = remote.ask(look)
    if as_json:
        print_json({"flow": flow, "graph": graph})
        return
    facts = [
        ("flow", plain(flow.flow_id)),
        ("name", plain(flow.name)),
        ("description", plain(flow.description)),
        ("version", f"{flow.flow_version}, of {clock_time(flow.updated_at)}"),
        ("ends with", plain(", ".join(graph.exits))),
    ]
    print_facts([(name, told) for name, told in facts if told != NOTHING])
    before: dict[str, list[str]] = {}
    for edge in graph.edges:
        before.setdefault(edge["to"], []).append(edge["from"])
    click.echo()
    print_table(_NODES, [_node(one, before.get(one.id, [])) for one in graph.nodes])


def _node(one: Any, before: list[str]) -> tuple[str, ...]:
    done_by = one.agent_id or (f"any that can {one.capability}" if one.capability else None)
    return plain(one.id), plain(one.type), plain(done_by), plain(", ".join(before)), took(one.timeout)
