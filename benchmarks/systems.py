"""The processes that are measured: started, defined, looked at through /proc, ended by their ids."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, AsyncIterator, Optional

import aiohttp
import attrs
import orjson

HERE = Path(__file__).parent
FLOWS = ("chain-3", "chain-50", "chain-1000", "fan-50", "fan-998", "chain-1")


@attrs.frozen
class System:
    """A running server."""

    url: str
    pid: int
    directory: str
    session: aiohttp.ClientSession
    agent: str

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and answer."""
        headers = {"Content-Type": "application/json"}
        async with self.session.post(self.url + path, data=orjson.dumps(body), headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def get(self, path: str) -> Any:
        """The answer."""
        async with self.session.get(self.url + path) as answer:
            return orjson.loads(await answer.read())

    async def run(self, flow: str, n: int) -> str:
        """Start a flow and wait for the last of its calls; its id."""
        _, answer = await self.post("/flows/execute", {"flow_id": flow, "input_data": {"n": n}})
        run: str = answer["execution_id"]
        kind, size = flow.split("-")
        calls = int(size) + (2 if kind == "fan" else 0)
        async with self.session.get(f"{self.agent}?run={run}&calls={calls}") as heard:
            await heard.read()
        return run

    async def complete(self, flow: str, n: int) -> None:
        """Start a flow and wait until the server says that it has completed."""
        run = await self.run(flow, n)
        while (answer := await self.get(f"/executions/{run}"))["status"] != "completed":
            if answer["status"] not in ("pending", "running"):
                raise RuntimeError(f"{flow}: {answer}")
            await asyncio.sleep(0.0002)

    def cpu(self) -> float:
        """CPU seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def process(
    *arguments: str, log: Optional[str] = None, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A Python process and, if it says ``ready <port>``, that port; killed at the end. ``log`` takes its stderr."""
    with open(log, "ab") if log else nullcontext() as stderr:  # noqa: PTH123, ASYNC230 - before anything is measured
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
        )
    try:
        port = 0
        if arguments[0].endswith(".py"):
            assert child.stdout is not None
            port = int((await child.stdout.readline()).split()[1])
        yield child, port
    finally:
        child.kill()
        await child.wait()


@asynccontextmanager
async def agent() -> AsyncIterator[str]:
    """The agent's URL."""
    async with process(str(HERE / "agent.py")) as (_, port):
        yield f"http://127.0.0.1:{port}/execute"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=300),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@asynccontextmanager
async def floor(agent_url: str) -> AsyncIterator[System]:
    """The floor on a new database."""
    with tempfile.TemporaryDirectory() as directory:
        async with (
            process(str(HERE / "floor.py"), agent_url, f"{directory}/floor.db") as (child, port),
            _session() as s,
        ):
            yield System(f"http://127.0.0.1:{port}", child.pid, directory, s, agent_url)


@asynccontextmanager
async def opscore(agent_url: str, **environment: str) -> AsyncIterator[System]:
    """Ops-Core on a new database, with the agent and the flows defined."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        arguments = ("-m", "opscore", "serve", "--port", str(port), "--database", f"{directory}/opscore.db")
        settings = {"OPSCORE_LOG_LEVEL": "WARNING", **environment}
        log = f"{directory}/opscore.log"
        async with process(*arguments, log=log, **settings) as (child, _), _session() as session:
            system = System(f"http://127.0.0.1:{port}", child.pid, directory, session, agent_url)
            await _ready(system, Path(log))
            await _define(system, agent_url)
            yield system


async def _ready(system: System, log: Path) -> None:
    for _ in range(500):
        try:
            await system.get("/health")
            return
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)
    said = log.read_text()  # noqa: ASYNC240 - nothing is measured any more
    raise RuntimeError(f"Ops-Core did not start: {said[-2000:]}")


async def _define(system: System, agent_url: str) -> None:
    slow = {"agent_id": "slow", "endpoint": f"{agent_url}?sleep=60", "max_concurrency": 10_000}
    for body in ({"agent_id": "stub", "endpoint": agent_url}, slow):
        status, answer = await system.post("/agents", body)
        assert status == 201, answer
    for flow_id in FLOWS:
        kind, size = flow_id.split("-")
        names = [f"n{index}" for index in range(int(size))]
        if kind == "chain":
            edges = {name: names[index - 1 : index] if index else [] for index, name in enumerate(names)}
        else:
            edges = {"first": [], **{name: ["first"] for name in names}, "last": names}
        nodes = [{"id": name, "agent_id": "stub", "depends_on": before} for name, before in edges.items()]
        status, answer = await system.post("/flows", {"flow_id": flow_id, "nodes": nodes})
        assert status == 201, answer
    await system.post("/flows", {"flow_id": "slow", "nodes": [{"id": "wait", "agent_id": "slow"}]})
