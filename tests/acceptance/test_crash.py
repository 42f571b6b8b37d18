from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from processes import Agent, Client, Server, flow

KILLS = int(os.environ.get("OPSCORE_KILLS", "6"))
OPEN = int(os.environ.get("OPSCORE_OPEN", "300"))
CLIENTS = 12
FINAL = ("completed", "failed", "cancelled")
DIAMOND = flow(
    "diamond",
    {"a": [], "b": ["a"], "c": ["a"], "d": ["a"], "e": ["b", "c"], "f": ["c", "d"], "g": ["d"], "h": ["e", "f", "g"]},
)


class Crowd:
    """Clients that start executions and read results for as long as they are let."""

    def __init__(self, url: str, seed: int) -> None:
        self.acknowledged: set[str] = set()
        self.seen: dict[tuple[str, str], Any] = {}
        self.changed: list[str] = []
        self._url = url
        self._random = random.Random(seed)
        self._over = asyncio.Event()

    async def work(self, index: int) -> None:
        """One client: a start, then a look at a past one."""
        async with Client(self._url) as client:
            while not self._over.is_set():
                try:
                    await self._start(client, index)
                    await self._look(client)
                except (aiohttp.ClientError, asyncio.TimeoutError):
                    await asyncio.wait({asyncio.ensure_future(self._over.wait())}, timeout=0.02)

    def finish(self) -> None:
        """Let them go."""
        self._over.set()

    async def _start(self, client: Client, index: int) -> None:
        body = {"flow_id": "diamond", "input_data": {"n": index}}
        status, answer = await client.call("POST", "/flows/execute", body)
        if status == 202:
            self.acknowledged.add(answer["execution_id"])

    async def _look(self, client: Client) -> None:
        if self.acknowledged:
            execution_id = self._random.choice(sorted(self.acknowledged)[-50:])
            status, answer = await client.call("GET", f"/executions/{execution_id}/results")
            if status == 200:
                self.note(answer)

    def note(self, answer: dict[str, Any]) -> None:
        """Compare results with what was readable before."""
        for result in answer["node_results"]:
            if result["status"] == "completed":
                key = (answer["execution_id"], result["node_id"])
                if self.seen.setdefault(key, result["output_data"]) != result["output_data"]:
                    self.changed.append(str(key))


@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """After kill -9 at random points, every acknowledged execution ends, each step with one unchanged result."""
    agent, server = Agent(), Server(tmp_path)
    agent.delay = 0.003
    await agent.start()
    await server.start()
    chance = random.Random(20261121)
    crowd = Crowd(server.url, 7)
    async with Client(server.url) as client:
        await client.define(agent.url, DIAMOND)
        workers = [asyncio.ensure_future(crowd.work(index)) for index in range(CLIENTS)]
        for _ in range(KILLS):
            await asyncio.wait(workers, timeout=chance.uniform(0.02, 0.6))
            await server.kill()
            await server.start()
        crowd.finish()
        await asyncio.gather(*workers)
        restarted = time.monotonic()
        await _all_terminal(client)
        took = time.monotonic() - restarted
        executions = {one["execution_id"]: one["status"] for one in await client.everything()}
        doubled = gaps = 0
        for execution_id in executions:
            _, answer = await client.call("GET", f"/executions/{execution_id}/results")
            crowd.note(answer)
            _, page = await client.call("GET", f"/executions/{execution_id}/events?limit=500")
            completed = [event["node_id"] for event in page["events"] if event["type"] == "node.completed"]
            doubled += len(completed) != len(set(completed))
            gaps += [event["seq"] for event in page["events"]] != list(range(1, len(page["events"]) + 1))
    await server.kill()
    await agent.stop()
    figures = (
        f"{KILLS} kills, {len(crowd.acknowledged)} acknowledged, {len(executions)} stored, "
        f"{len(crowd.seen)} results, {len(agent.calls)} calls, terminal after {took:.2f} s"
    )
    print(figures)
    assert crowd.acknowledged <= executions.keys(), figures
    assert set(executions.values()) == {"completed"}, figures
    assert not crowd.changed, figures
    assert not doubled, figures
    assert not gaps, figures
    assert all(len(keys) == 1 for keys in agent.keys().values()), figures
    assert took <= 10, figures


async def _all_terminal(client: Client) -> None:
    for _ in range(1500):
        _, status = await client.call("GET", "/status")
        counts = status["executions"]
        if not counts["pending"] and not counts["running"]:
            return
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)
    raise AssertionError("some executions did not end")


@pytest.mark.timeout(300)
async def test_ready_soon_with_many_open_executions(tmp_path: Path) -> None:
    """A server with many open executions is ready within two seconds of its start after kill -9."""
    agent = Agent()
    agent.gate = asyncio.Event()
    server = Server(tmp_path)
    await agent.start()
    await server.start()
    async with Client(server.url) as client:
        await client.define(agent.url, flow("one", {"a": []}))
        for first in range(0, OPEN, 100):
            bodies = [{"flow_id": "one", "input_data": {"n": n}} for n in range(first, min(first + 100, OPEN))]
            answers = await asyncio.gather(*[client.call("POST", "/flows/execute", body) for body in bodies])
            assert {status for status, _ in answers} == {202}
        await server.kill()
        took = await server.start()
        _, status = await client.call("GET", "/status")
    agent.gate.set()
    print(f"{OPEN} open, ready after {took:.2f} s")
    assert status["executions"]["running"] >= OPEN - 1000
    await server.kill()
    await agent.stop()
    assert took < 2
