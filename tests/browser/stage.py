"""A server with agents, flows and keys, as an operator would find it: real processes, everything on loopback."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Optional

import aiohttp
from aiohttp import web
from processes import Server, free_port

ADMIN = "admin-key-of-the-browser-tests"
LIMIT = 20.0

AGENTS: dict[str, dict[str, Any]] = {
    "intake": {"name": "Intake desk", "capabilities": ["reading"], "version": "1.4.0"},
    "checker": {"name": "Checker", "description": "Takes its time.", "capabilities": ["checking", "reading"]},
    "bureau": {"name": "Credit bureau", "description": "Says no.", "metadata": {"team": "risk", "floor": 3}},
    "writer": {"name": "Letter writer", "capabilities": ["writing"], "version": "0.9.2", "max_concurrency": 20},
    "courier": {"name": "Courier", "description": "Nobody listens there.", "capabilities": ["delivery"]},
}
CHECKS = ("check_name", "check_home", "check_job", "check_debt")
FLOWS: list[dict[str, Any]] = [
    {
        "flow_id": "onboarding",
        "name": "Onboarding",
        "description": "Reads an application, checks it, and writes a letter.",
        "nodes": [
            {"id": "intake", "name": "Read the application", "agent_id": "intake", "config": {"language": "en"}},
            {"id": "check", "agent_id": "checker", "depends_on": ["intake"]},
            {"id": "letter", "agent_id": "writer", "depends_on": ["check"]},
        ],
    },
    {
        "flow_id": "screening",
        "name": "Screening",
        "description": "Four checks at once.",
        "nodes": [
            {"id": "begin", "type": "input"},
            *[{"id": one, "agent_id": "intake", "depends_on": ["begin"]} for one in CHECKS],
            {"id": "sum", "type": "output", "depends_on": list(CHECKS)},
        ],
    },
    {
        "flow_id": "scoring",
        "description": "Ends badly: the bureau says no.",
        "nodes": [
            {"id": "intake", "agent_id": "intake"},
            {"id": "score", "agent_id": "bureau", "depends_on": ["intake"]},
            {"id": "letter", "agent_id": "writer", "depends_on": ["score"]},
        ],
    },
    {
        "flow_id": "approval",
        "description": "Waits for the checker.",
        "nodes": [{"id": "approve", "agent_id": "checker"}],
    },
    {
        "flow_id": "delivery",
        "description": "Waits for an agent that is not there.",
        "nodes": [{"id": "drive", "agent_id": "courier", "retry": {"max_attempts": 50, "initial_interval": 30}}],
    },
    {"flow_id": "echo", "nodes": [{"id": "echo", "agent_id": "intake"}]},
]  # fmt: skip


class Cast:
    """All agents in one HTTP server: ``/NAME/execute``, with anything in between.

    The checker answers an execution when it is let, the bureau says no, the others echo.
    """

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        """What an agent answers, instead of an echo."""
        self.url = ""
        self._let: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._runner: Optional[web.AppRunner] = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/{name:[^/]+}{more:.*}/execute", self._execute)
        app.router.add_get("/{name:[^/]+}{more:.*}/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no longer."""
        assert self._runner is not None
        await self._runner.cleanup()

    def let(self, execution_id: str) -> None:
        """Let the checker answer in this execution."""
        self._let[execution_id].set()

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _execute(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        if name == "checker":
            await self._let[body["execution_id"]].wait()
        if name == "bureau":
            no = {
                "status": "error",
                "error_code": "BUREAU_CLOSED",
                "error_message": "The bureau is closed until Monday.",
            }
            return web.json_response({**no, "retryable": False})
        if name in self.answers:
            return web.json_response(self.answers[name])
        return web.json_response({"status": "success", "output": {"by": name, "read": len(body["input"])}})


class Stage:
    """The server, its cast, and an operator's own HTTP client with the admin key."""

    def __init__(self, directory: Path, **environment: str) -> None:
        environment = {
            "OPSCORE_API_KEY": ADMIN,
            "OPSCORE_LOG_LEVEL": "INFO",
            "OPSCORE_PROBE_INTERVAL": "5",
            **environment,
        }
        self.server = Server(directory, **environment)
        self.url = self.server.url
        self.cast = Cast()
        self.reader = ""
        self._session: Optional[aiohttp.ClientSession] = None

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's body; every refusal is a mistake of the test."""
        assert self._session is not None
        async with self._session.request(method, self.url + path, json=body) as answer:
            assert answer.status < 300, (method, path, answer.status, await answer.text())
            return await answer.json()

    async def key(self, *scopes: str) -> dict[str, Any]:
        """A new key with these scopes."""
        made: dict[str, Any] = await self.call("POST", "/keys", {"name": "-".join(scopes), "scopes": scopes})
        return made

    async def start(self, flow_id: str, wait: int = 0, **given: Any) -> str:
        """Start a flow; the execution's id."""
        path = f"/flows/execute?wait={wait}"
        answer = await self.call("POST", path, {"flow_id": flow_id, "input_data": given})
        return str(answer["execution_id"])

    async def until(self, execution_id: str, *types: str) -> str:
        """Wait for an event of one of these types in an execution; its type."""
        assert self._session is not None
        path = f"{self.url}/executions/{execution_id}/events"
        limit = aiohttp.ClientTimeout(total=LIMIT)
        async with self._session.get(path, headers={"Accept": "text/event-stream"}, timeout=limit) as stream:
            async for line in stream.content:
                word = line.decode().partition("event: ")[2].strip()
                if word in types:
                    return word
        raise AssertionError(f"{execution_id} ended without {' or '.join(types)}")

    async def let(self, execution_id: str) -> None:
        """Let the checker answer, and wait for the end."""
        self.cast.let(execution_id)
        await self.until(execution_id, "execution.completed")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Stage]:
        """The server and the cast while the block lasts."""
        await self.cast.start()
        await self.server.start()
        headers = {"Authorization": f"Bearer {ADMIN}"}
        try:
            async with aiohttp.ClientSession(headers=headers) as self._session:
                yield self
        finally:
            await self.server.kill()
            await self.cast.stop()

    async def set_up(self) -> None:
        """Agents, flows, and a key that may only read."""
        for agent_id, facts in AGENTS.items():
            url = f"http://127.0.0.1:{free_port()}" if agent_id == "courier" else f"{self.cast.url}/{agent_id}"
            await self.call("POST", "/agents", {"agent_id": agent_id, "endpoint": url, **facts})
        for flow in FLOWS:
            await self.call("POST", "/flows", flow)
        self.reader = (await self.key("read"))["key"]
