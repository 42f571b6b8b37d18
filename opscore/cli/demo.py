"""``opscore demo``: the credit analysis of ``examples/``, with real agents and a real server."""

from __future__ import annotations

import json
import tempfile
from contextlib import AsyncExitStack
from typing import Any

import click

from opscore.cli.demo_agentkit import demo_agentkit
from opscore.cli.flows import read_document
from opscore.cli.output import FAILED, UNREACHABLE
from opscore.cli.processes import example_directory, program, until_interrupted
from opscore.cli.serve import run_async

_AGENTS = (
    ("zoe", "collector.py", "Zoe, collects", ["information_gathering"]),
    ("eddie", "scorer.py", "Eddie, scores", ["credit_scoring"]),
)


@click.command()
@click.option("--keep", is_flag=True, help="Keep the server and the agents up until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port to listen on. [a free one]")
@click.option("--json", "as_json", is_flag=True, help="Print only the execution, as JSON.")
@click.option("--agentkit", is_flag=True, help="Show a workflow of an agent behind (a stand-in for) AgentKit instead.")
def demo(keep: bool, port: int, as_json: bool, agentkit: bool) -> None:  # noqa: FBT001
    """Score a loan application, with real agents and a server.

    Everything is real and on this machine: HTTP agents, a flow from its YAML file, a SQLite file in a
    temporary directory. It ends by itself.
    """
    show = demo_agentkit if agentkit else _demo
    status = run_async(show(keep=keep, port=port, as_json=as_json))
    if status != "completed":
        raise click.exceptions.Exit(FAILED if status else UNREACHABLE)


async def _demo(*, keep: bool, port: int, as_json: bool) -> str:
    from rich.console import Console

    from opscore.cli.embedded import embedded_server
    from opscore.cli.progress import follow
    from opscore.settings import load_settings

    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    example = example_directory("credit_analysis")
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="opscore-demo-"))
        database = f"sqlite:///{directory}/demo.db"
        settings = load_settings(port=port, database=database, drain_timeout=1.0, log_level="WARNING")
        server = await stack.enter_async_context(embedded_server(settings))
        console.print(f"[bold]Ops-Core[/] is up at {server.url}")
        for agent_id, script, name, capabilities in _AGENTS:
            endpoint = await stack.enter_async_context(program(example / script))
            await server.client.create_agent(agent_id, name=name, endpoint=endpoint, capabilities=capabilities)
            console.print(f"Agent [bold]{agent_id}[/] ({name}) runs at {endpoint}")
        flow = await server.client.create_flow(read_document(str(example / "flow.yaml")))
        given = json.loads((example / "input.json").read_text(encoding="utf-8"))
        started = await server.client.execute_flow(flow["flow_id"], given)
        console.print(f"Flow [bold]{flow['flow_id']}[/] started: execution {started['execution_id']}")
        execution = await follow(server.client, started["execution_id"], console)
        if as_json:
            click.echo(json.dumps(execution, indent=2, ensure_ascii=False))
        else:
            _show(console, execution, server.url, server.api_key, keep=keep)
        if keep:
            await until_interrupted()
    return str(execution["status"])


def _show(console: Any, execution: dict[str, Any], url: str, api_key: str, *, keep: bool) -> None:
    from rich.table import Table

    if execution["status"] != "completed":
        console.print(f"[red]{execution['error_code']}: {execution['error_message']}[/]")
        return
    output = execution["output_data"]["result"]
    table = Table(title=f"Result ({execution['execution_time']:.3f} s)", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _rows(output):
        table.add_row(name, value)
    console.print(table)
    if keep:
        console.print(f"\nThe server stays up until Ctrl-C. Its key: [bold]{api_key}[/]")
        console.print(f"  {url}/        the dashboard; sign in with the key")
        console.print(f"  {url}/docs    the API, to try out")
        console.print(
            f'  curl -H "Authorization: Bearer {api_key}" {url}/executions/{execution["execution_id"]}/results'
        )
    else:
        console.print("\nWhere to look next:")
        console.print("  opscore demo --keep     the same, and the server stays up to look at")
        console.print("  opscore serve           a server of your own; its dashboard is at http://127.0.0.1:8000")
        console.print("  docs/flows.md           how flows are written")
        console.print("  examples/               agents in a few lines")


def _rows(output: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in output.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{name}.") if name != "profile" else []
        elif isinstance(value, list):
            rows.append((prefix + name, "\n".join(map(str, value)) or "none"))
        else:
            rows.append((prefix + name, str(value)))
    return rows
