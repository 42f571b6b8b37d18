"""``opscore demo --agentkit``: a workflow of an agent behind AgentKit, with a stand-in for AgentKit.

The agent never answers Ops-Core: it gets its tasks from AgentKit and reports its states, as in production.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from contextlib import AsyncExitStack
from typing import Any

import attrs

from opscore.cli.output import print_json
from opscore.cli.processes import example_directory, free_port, program, until_interrupted
from opscore.domain.errors import Unavailable

_AGENT = "ada"
_AGENT_LIMIT = 20.0
_LOOK_EVERY = 0.05
_FINAL = ("completed", "failed", "cancelled")


async def demo_agentkit(*, keep: bool, port: int, as_json: bool) -> str:
    """Run the workflow of ``examples/agentkit`` on a server of its own; the session's last status."""
    from rich.console import Console

    from opscore.cli.embedded import embedded_server
    from opscore.settings import load_settings

    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    example = example_directory("agentkit")
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="opscore-demo-"))
        # AgentKit is told the server's address before the server starts: the server needs AgentKit's, too.
        settings = load_settings(
            port=port or free_port(),
            database=f"sqlite:///{directory}/demo.db",
            api_key=f"sk_ops_{secrets.token_urlsafe(24)}",
            webhook_secret=secrets.token_urlsafe(32),
            drain_timeout=1.0,
            log_level="WARNING",
        )
        environment = {
            "OPSCORE_API_URL": f"http://127.0.0.1:{settings.port}",
            "OPSCORE_API_KEY": str(settings.api_key),
            "OPSCORE_WEBHOOK_SECRET": str(settings.webhook_secret),
        }
        agentkit = await stack.enter_async_context(program(example / "agentkit.py", **environment))
        console.print(f"AgentKit (a stand-in) runs at {agentkit}")
        server = await stack.enter_async_context(
            embedded_server(attrs.evolve(settings, agentkit_api_url=agentkit, agentkit_api_key=None))
        )
        console.print(f"[bold]Ops-Core[/] is up at {server.url}")
        api = await stack.enter_async_context(_Api(server.url, server.api_key))
        options = ("--id", _AGENT, "--name", "Ada, reads texts", "--agentkit", agentkit)
        await stack.enter_async_context(program(example / "agent.py", *options, **environment))
        await _until_idle(api)
        console.print(f"Agent [bold]{_AGENT}[/] registered through AgentKit and is idle")
        workflow = json.loads((example / "workflow.json").read_text(encoding="utf-8"))
        session, results = await _work(api, console, workflow)
        if as_json:
            print_json({**session, "node_results": results})
        else:
            _show(console, session, results)
        if keep:
            _tell_where(console, server.url, server.api_key, session["sessionId"])
            await until_interrupted()
    return str(session["status"])


class _Api:
    """Both dialects of the server as JSON; the client of this project speaks one of them."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Api:  # noqa: PYI034 - Self needs Python 3.11
        import aiohttp

        self._session = await self._stack.enter_async_context(aiohttp.ClientSession(headers=self._headers))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's data.

        Raises:
            OpsCoreApiError: The server said no.
        """
        from opscore_sdk.wire import read

        async with self._session.request(method, self._url + path, json=body) as answer:
            return read(answer.status, answer.headers, await answer.read())


async def _until_idle(api: _Api) -> None:
    """Wait for the agent's registration, and then for its first report.

    Raises:
        Unavailable: They take too long.
    """

    async def look() -> None:
        while True:
            if await _state(api) == "idle":
                return
            await asyncio.sleep(_LOOK_EVERY)

    try:
        await asyncio.wait_for(look(), _AGENT_LIMIT)
    except asyncio.TimeoutError:
        raise Unavailable(f"The agent {_AGENT} did not register and report within {_AGENT_LIMIT:g} seconds.") from None


async def _state(api: _Api) -> Any:
    from opscore_sdk.errors import OpsCoreApiError

    try:
        return (await api.call("GET", f"/agents/{_AGENT}")).get("state")
    except OpsCoreApiError as error:
        if error.status == 404:
            return None
        raise


async def _work(api: _Api, console: Any, workflow: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Start the workflow and wait for its end: the session, and the result of each of its tasks."""
    started = await api.call("POST", f"/v1/opscore/agent/{_AGENT}/workflow", {"workflowDefinition": workflow})
    session_id = started["sessionId"]
    console.print(f"Workflow [bold]{started['workflowId']}[/] started: session {session_id}")
    while True:
        session = await api.call("GET", f"/v1/opscore/session/{session_id}")
        if session["status"] in _FINAL:
            break
        await asyncio.sleep(_LOOK_EVERY)
    results = await api.call("GET", f"/executions/{session_id}/results")
    return session, results["node_results"]


def _show(console: Any, session: dict[str, Any], results: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Session {session['status']}", title_justify="left")
    for name in ("task", "agent", "status", "output"):
        table.add_column(name)
    for one in results:
        output = json.dumps(one["output_data"], indent=1, ensure_ascii=False)
        told = one["error_message"] or output
        table.add_row(*(Text(str(cell)) for cell in (one["node_id"], one["agent_id"] or "", one["status"], told)))
    console.print(table)
    if session["status"] != "completed":
        console.print(Text(str(session["error"]), style="red"))


def _tell_where(console: Any, url: str, api_key: str, session_id: str) -> None:
    console.print(f"\nThe server stays up until Ctrl-C. Its key: [bold]{api_key}[/]")
    console.print(f'  curl -H "Authorization: Bearer {api_key}" {url}/v1/opscore/session/{session_id}')
    console.print(f'  curl -H "Authorization: Bearer {api_key}" {url}/agents/{_AGENT}/history')
