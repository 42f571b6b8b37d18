"""Real processes for acceptance tests: a server that can be killed, and an agent that remembers every call."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Optional

import aiohttp
from aiohttp import web

START_LIMIT = 30.0
LIMIT = 20.0
AGENTKIT = Path(__file__).parents[2] / "examples" / "agentkit"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def opscore(*arguments: str, directory: Path, **environment: str) -> tuple[int, str, str]:
    """Run a command; exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "opscore", *arguments,
        cwd=directory, env={**os.environ, "COLUMNS": "80", **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert "Traceback" not in err.decode(), err.decode()
    return process.returncode or 0, out.decode(), err.decode()


class Server:
    """``opscore serve`` on one database file, again and again."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = directory / "opscore.db"
        self._directory = directory
        self._environment = {**os.environ, "OPSCORE_LOG_LEVEL": "WARNING", **environment}
        self._process: Optional[asyncio.subprocess.Process] = None

    async def start(self, path: str = "/health/ready") -> float:
        """Start the process; seconds until it was ready."""
        begun = time.monotonic()
        log = (self._directory / "server.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "opscore",
            "serve",
            "--port",
            str(self.port),
            "--database",
            str(self.database),
            env=self._environment,
            cwd=self._directory,
            stderr=log,
        )
        log.close()
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < begun + START_LIMIT:
                assert self._process.returncode is None, (self._directory / "server.log").read_text()[-2000:]
                try:
                    async with session.get(self.url + path) as answer:
                        if answer.status == 200:
                            return time.monotonic() - begun
                except aiohttp.ClientError:
                    pass
                await asyncio.wait({asyncio.ensure_future(self._process.wait())}, timeout=0.02)
        raise AssertionError("the server was not ready in time")

    async def kill(self) -> None:
        """Kill it with -9, and wait until it is gone."""
        assert self._process is not None
        if self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, limit: float) -> int:
        """The exit code, within so many seconds."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), limit)


class Agent:
    """An HTTP agent that notes each call: (execution, node, key, when, monotonic seconds)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, float]] = []
        self.gate: Optional[asyncio.Event] = None
        self.delay = 0.0
        self.url = ""
        self._runner: Optional[web.AppRunner] = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/execute", self._execute)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no longer."""
        assert self._runner is not None
        await self._runner.cleanup()

    def keys(self) -> dict[tuple[str, str], set[str]]:
        """The idempotency keys that each step was called with."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for execution_id, node_id, key, _ in self.calls:
            found[execution_id, node_id].add(key)
        return found

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _execute(self, request: web.Request) -> web.Response:
        when = time.monotonic()
        body = await request.json()
        key = request.headers["Idempotency-Key"]
        self.calls.append((body["execution_id"], body["node_id"], key, when))
        if self.gate is not None:
            await self.gate.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        output = {body["node_id"]: len(body["input"]), "n": body["input"].get("n", 0) + 1}
        return web.json_response({"status": "success", "output": output})


class Client:
    """Plain HTTP to a server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Optional[aiohttp.ClientSession] = None

    async def __aenter__(self) -> Client:  # noqa: PYI034 - Self needs Python 3.11
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and body."""
        assert self._session is not None
        async with self._session.request(method, self._url + path, json=body, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def define(self, agent: str, flow: dict[str, Any]) -> None:
        """Register an agent and a flow."""
        status, answer = await self.call("POST", "/agents", {"agent_id": "stub", "endpoint": agent})
        assert status in (200, 201), answer
        status, answer = await self.call("POST", "/flows", flow)
        assert status in (200, 201), answer

    async def everything(self) -> list[dict[str, Any]]:
        """All executions."""
        found: list[dict[str, Any]] = []
        cursor: Optional[str] = None
        while True:
            path = "/executions?limit=500" + (f"&cursor={cursor}" if cursor else "")
            _, page = await self.call("GET", path)
            found += page["executions"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


def flow(flow_id: str, edges: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """A flow of steps by the one agent ``stub``."""
    nodes = [{"id": node_id, "agent_id": "stub", "depends_on": before} for node_id, before in edges.items()]
    return {"flow_id": flow_id, "nodes": nodes, **more}


@asynccontextmanager
async def program(script: str, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """One of the programs of examples/agentkit, its address; it must end by itself when its standard input ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPSCORE_", "AGENTKIT_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(AGENTKIT / script),
        "--until-eof",
        *arguments,
        env={**clean, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    word, port = (await asyncio.wait_for(process.stdout.readline(), LIMIT)).split()
    assert word == b"ready"
    try:
        yield f"http://127.0.0.1:{int(port)}"
    finally:
        process.stdin.close()
        try:
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
