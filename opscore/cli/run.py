"""``opscore run``: one flow, once, on a server of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Optional

import click

from opscore.cli.flows import read_document
from opscore.cli.output import FAILED, print_json, read_file
from opscore.cli.serve import address_of, run_async
from opscore.domain.documents import decode_json
from opscore.domain.errors import Invalid, InvalidDocument
from opscore.domain.flow_reader import check_flow

if TYPE_CHECKING:
    from opscore.settings import Settings


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--input", "given", default="{}", metavar="JSON|@FILE", help="The execution's input. [{}]")
@click.option("--agent", "agents", multiple=True, metavar="ID=URL", help="An agent of the flow; may be repeated.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the execution.")
@click.option("--database", metavar="URL", help="Keep the run here. [in memory]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON also at a terminal.")
def run(
    file: str,
    given: str,
    agents: tuple[str, ...],
    timeout: Optional[float],
    database: Optional[str],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run the flow in FILE once and print its output.

    FILE is JSON or YAML. An Ops-Core server is started for this one run and stopped after it. Progress goes to standard
    error, the result to standard output: as JSON when piped. Ctrl-C cancels the execution.
    """
    from opscore.settings import load_settings

    definition = read_document(file)
    input_data = read_input(given)
    endpoints = _endpoints(agents)
    settings = load_settings(
        port=0, database=address_of(database) or "sqlite:///:memory:", drain_timeout=0.5, log_level="WARNING"
    )
    execution = run_async(_run(settings, definition, endpoints, input_data, timeout))
    if as_json or not sys.stdout.isatty():
        print_json(execution)
    elif execution["status"] == "completed":
        print_json(execution["output_data"])
    if execution["status"] != "completed":
        click.echo(f"Error: {execution['error_code']}: {execution['error_message']}", err=True)
        raise click.exceptions.Exit(FAILED)


def read_input(given: str) -> dict[str, Any]:
    """An input as it is given with ``--input``: JSON, or ``@`` and the name of a file with it.

    Raises:
        Invalid: It is no JSON object.
    """
    raw = read_file(given[1:]) if given.startswith("@") else given.encode("utf-8", "surrogateescape")
    try:
        value = decode_json(raw)
    except InvalidDocument as error:
        raise Invalid(f"--input: {error.message}") from None
    if not isinstance(value, dict):
        raise Invalid('--input must be a JSON object such as {"amount": 5}.')
    return value


def _endpoints(agents: tuple[str, ...]) -> dict[str, str]:
    endpoints = {}
    for agent in agents:
        agent_id, equals, url = agent.partition("=")
        if not equals or not agent_id or not url:
            raise Invalid(f"--agent must look like ID=URL, not {agent!r}.")
        endpoints[agent_id] = url
    return endpoints


async def _run(
    settings: Settings,
    definition: Any,
    endpoints: dict[str, str],
    input_data: dict[str, Any],
    timeout: Optional[float],
) -> dict[str, Any]:
    from rich.console import Console

    from opscore.cli.embedded import embedded_server
    from opscore.cli.progress import follow

    _check_agents(definition, endpoints)
    async with embedded_server(settings) as server:
        client = server.client
        for agent_id, url in endpoints.items():
            await client.create_agent(agent_id, endpoint=url)
        flow = await client.create_flow(definition)
        started = await client.execute_flow(flow["flow_id"], input_data, timeout=timeout)
        try:
            return await follow(client, started["execution_id"], Console(stderr=True))
        except asyncio.CancelledError:
            await client.cancel_execution(started["execution_id"], "interrupted")
            raise


def _check_agents(definition: Any, endpoints: dict[str, str]) -> None:
    flow = check_flow(definition).flow
    missing = (
        sorted({node.agent_id for node in flow.nodes.values() if node.agent_id} - endpoints.keys()) if flow else []
    )
    if missing:
        wanted = " ".join(f"--agent {agent_id}=URL" for agent_id in missing)
        raise Invalid(f"The flow calls agents that nobody named: add {wanted}.")
