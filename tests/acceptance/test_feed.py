from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cutting import Proxy
from processes import Agent, Client, Server, flow

KILLS = int(os.environ.get("OPSCORE_KILLS", "10"))
CUTS = int(os.environ.get("OPSCORE_CUTS", "500"))
CLIENTS = 4
AT_ONCE = 40
CHAIN = flow("chain", {"a": [], "b": ["a"]})


class Reader:
    """Follows all events that it wants, over whatever happens to its connections, by the last number that came."""

    def __init__(self, query: str = "") -> None:
        self.query = query
        self.place = 0
        self.events: list[dict[str, Any]] = []
        self.connections = 0
        self.progress = asyncio.Event()

    async def follow(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self.place)}
            self.connections += 1
            try:
                async with session.get(f"{url}/events{self.query}", headers=headers) as answer:
                    assert answer.status in (200, 503), await answer.text()
                    if answer.status == 200:
                        await self._take(answer)
            except (aiohttp.ClientError, ConnectionError):
                pass
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.01)

    async def reached(self, place: int) -> None:
        """Wait until it has come so far."""
        while self.place < place:
            self.progress.clear()
            await asyncio.wait_for(self.progress.wait(), 20)

    async def _take(self, answer: aiohttp.ClientResponse) -> None:
        block: dict[str, str] = {}
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if line != b"\n":
                block[name] = value
                continue
            assert block.get("event") != "pruned"
            if "id" in block:
                self.place = int(block["id"])
                self.progress.set()
            if "data" in block:
                self.events.append(json.loads(block["data"]))
            block = {}


class Load:
    """Clients that start as many executions as they are allowed: cut readers get but a few events a connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._allowed = asyncio.Semaphore(0)
        self._is_over = False
        self.workers = [asyncio.ensure_future(self._work()) for _ in range(CLIENTS)]

    def allow(self, count: int) -> None:
        """So many more."""
        for _ in range(count):
            self._allowed.release()

    async def end(self) -> None:
        """Let what has begun be answered."""
        self._is_over = True
        self.allow(CLIENTS)
        await asyncio.gather(*self.workers)

    async def _work(self) -> None:
        while await self._allowed.acquire() and not self._is_over:
            try:
                await self._client.call("POST", "/flows/execute?wait=5", {"flow_id": "chain", "input_data": {}})
            except (aiohttp.ClientError, ConnectionError):
                self.allow(1)
                await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)


async def pages(client: Client, query: str = "") -> tuple[list[dict[str, Any]], int]:
    """All wanted events by pages, and the last place."""
    events: list[dict[str, Any]] = []
    after = 0
    while True:
        _, page = await client.call("GET", f"/events?limit=500&after={after}{query}")
        events += page["events"]
        if page["next_after"] == after:
            return events, after
        after = page["next_after"]


@pytest.mark.timeout(300)
async def test_readers_of_all_events_miss_nothing_over_cuts_and_kill_9(tmp_path: Path) -> None:
    """Readers cut hundreds of times, of a server killed many times under load, get each event once and in order."""
    agent, server = Agent(), Server(tmp_path)
    agent.delay = 0.005
    await agent.start()
    await server.start()
    chance = random.Random(20261128)
    proxy, other = Proxy(server.port, 13, 5000), Proxy(server.port, 14, 20_000)
    whole, ends, direct = Reader(), Reader("?type=execution.completed"), Reader()
    begun = time.monotonic()
    async with Client(server.url) as client, proxy.listening(), other.listening(), _session() as session:
        await client.define(agent.url, CHAIN)
        ways = ((whole, proxy.url), (ends, other.url), (direct, server.url))
        readers = [asyncio.ensure_future(reader.follow(session, url)) for reader, url in ways]
        load = Load(client)
        for _ in range(KILLS):
            load.allow(AT_ONCE)
            await asyncio.wait(load.workers, timeout=chance.uniform(0.05, 0.2))
            await server.kill()
            await server.start()
        while proxy.cuts < CUTS:
            load.allow(5)
            await asyncio.wait([*load.workers, *readers], timeout=0.05)
        await load.end()
        expected, newest = await _at_rest(client)
        completed, _ = await pages(client, "&type=execution.completed")
        await asyncio.gather(whole.reached(newest), direct.reached(newest), ends.reached(completed[-1]["position"]))
        for task in readers:
            task.cancel()
        await asyncio.wait(readers)
    await server.kill()
    await agent.stop()
    print(
        f"{KILLS} kills, {proxy.cuts} + {other.cuts} cuts, {len(expected)} events, {len(completed)} executions, "
        f"{whole.connections} + {ends.connections} + {direct.connections} connections, "
        f"{time.monotonic() - begun:.1f} s"
    )
    assert [one["position"] for one in expected] == list(range(1, newest + 1))
    assert whole.events == expected
    assert direct.events == expected
    assert ends.events == completed
    assert {one["execution_id"] for one in expected} == {one["execution_id"] for one in completed}


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_read=30))


async def _at_rest(client: Client) -> tuple[list[dict[str, Any]], int]:
    """All events, once every execution has ended."""
    for _ in range(1500):
        _, status = await client.call("GET", "/status")
        if not status["executions"]["pending"] and not status["executions"]["running"]:
            return await pages(client)
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)
    raise AssertionError("some executions did not end")
