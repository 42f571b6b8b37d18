from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cutting import Proxy
from processes import Agent, Client, Server, flow

KILLS = int(os.environ.get("OPSCORE_KILLS", "2"))
READERS = int(os.environ.get("OPSCORE_READERS", "40"))
SSE = {"Accept": "text/event-stream"}
ONE = flow("one", {"a": []})
DIAMOND = flow(
    "diamond",
    {"a": [], "b": ["a"], "c": ["a"], "d": ["a"], "e": ["b", "c"], "f": ["c", "d"], "g": ["d"], "h": ["e", "f", "g"]},
)


class Reader:
    """Follows one execution over whatever happens to its connections, by the last event that came whole."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.events: list[dict[str, Any]] = []
        self.numbers: list[int] = []
        self.end: dict[str, Any] = {}
        self.connections = 0

    async def follow(self, session: aiohttp.ClientSession, url: str) -> None:
        while not self.end:
            headers = {**SSE, "Last-Event-ID": str(self.numbers[-1])} if self.numbers else SSE
            self.connections += 1
            try:
                async with session.get(f"{url}/executions/{self.execution_id}/events", headers=headers) as answer:
                    if answer.status == 200:
                        await self._take(answer)
                        continue
                    assert answer.status == 503, answer.status
            except (aiohttp.ClientError, ConnectionError):
                pass
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)

    async def _take(self, answer: aiohttp.ClientResponse) -> None:
        block: dict[str, str] = {}
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if line != b"\n":
                block[name] = value
                continue
            if block.get("event") == "end":
                self.end = json.loads(block["data"])
            elif "id" in block:
                self.numbers.append(int(block["id"]))
                self.events.append(json.loads(block["data"]))
            block = {}


@pytest.mark.timeout(600)
async def test_readers_miss_nothing_over_cuts_and_kill_9(tmp_path: Path) -> None:
    """Readers whose connections and server die again and again get every event once, in order, and the end."""
    agent, server = Agent(), Server(tmp_path)
    agent.delay = 0.01
    await agent.start()
    await server.start()
    chance = random.Random(20261124)
    proxy = Proxy(server.port, 11)
    over = asyncio.Event()
    readers: list[Reader] = []
    async with Client(server.url) as client, proxy.listening():
        await client.define(agent.url, DIAMOND)

        async def work(session: aiohttp.ClientSession) -> None:
            while not over.is_set():
                try:
                    body = {"flow_id": "diamond", "input_data": {}}
                    status, answer = await client.call("POST", "/flows/execute", body)
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.wait({asyncio.ensure_future(over.wait())}, timeout=0.02)
                    continue
                if status == 202:
                    pair = [Reader(answer["execution_id"]) for _ in range(2)]
                    readers.extend(pair)
                    urls = (proxy.url, server.url)
                    await asyncio.gather(*[one.follow(session, url) for one, url in zip(pair, urls)])

        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            workers = [asyncio.ensure_future(work(session)) for _ in range(READERS // 2)]
            for _ in range(KILLS):
                await asyncio.wait(workers, timeout=chance.uniform(0.1, 0.5))
                await server.kill()
                await server.start()
            over.set()
            await asyncio.gather(*workers)
        pages = {}
        for execution_id in {reader.execution_id for reader in readers}:
            pages[execution_id] = (await client.call("GET", f"/executions/{execution_id}/events?limit=500"))[1][
                "events"
            ]
    await server.kill()
    await agent.stop()
    connections = sum(reader.connections for reader in readers)
    print(
        f"{KILLS} kills, {proxy.cuts} cuts, {len(readers)} readers of {len(pages)} executions, "
        f"{connections} connections, {sum(len(reader.numbers) for reader in readers)} events"
    )
    assert proxy.cuts
    for reader in readers:
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
        assert reader.events == pages[reader.execution_id]
        assert reader.end == {"execution_id": reader.execution_id, "status": "completed"}


async def _never_reading(port: int, path: str) -> socket.socket:
    """A connection whose stream has begun, and of which no more is read."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.connect(("127.0.0.1", port))
    asking.setblocking(False)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(asking, head.encode())
    assert await asyncio.wait_for(loop.sock_recv(asking, 12), 10) == b"HTTP/1.1 200"
    return asking


@pytest.mark.timeout(90)
@pytest.mark.parametrize("signals", [1, 2])
async def test_a_reader_that_never_reads_does_not_delay_the_stop(tmp_path: Path, signals: int) -> None:
    """A stop tells the readers before it drains, and waits for none, however much one of them has not taken in."""
    agent = Agent()
    server = Server(tmp_path, OPSCORE_DRAIN_TIMEOUT="30" if signals == 2 else "0.2")
    await agent.start()
    await server.start()
    async with Client(server.url) as client:
        await client.define(agent.url, ONE)
        _, long = await client.call("POST", "/flows/execute?wait=10", {"flow_id": "one", "input_data": {}})
    await server.kill()
    with sqlite3.connect(server.database) as database:  # more than the systems of both ends keep for a reader
        database.execute("UPDATE events SET data = ?", [json.dumps({"x": "y" * 2_000_000})])
    database.close()
    await server.start()
    agent.gate = asyncio.Event()
    async with Client(server.url) as client, aiohttp.ClientSession() as session:
        _, running = await client.call("POST", "/flows/execute", {"flow_id": "one", "input_data": {}})
        path = f"{server.url}/executions/{running['execution_id']}/events?after=3"
        async with session.get(path, headers=SSE) as idle:
            paths = (f"/executions/{long['execution_id']}/events", "/events?after=0", "/events?after=0&flow_id=one")
            stuck = [await _never_reading(server.port, path) for path in paths]
            begun = time.monotonic()
            server.signal()
            told = await asyncio.wait_for(idle.content.read(), 5)
            closed = time.monotonic() - begun
        if signals == 2:
            begun = time.monotonic()
            server.signal()
        assert await server.ended(10) == 0
        took = time.monotonic() - begun
    for one in stuck:
        one.close()
    agent.gate.set()
    await agent.stop()
    print(f"{signals} signals: the idle reader was told after {closed:.2f} s, the server ended after {took:.2f} s")
    assert told == b": the server stops; resume with Last-Event-ID\n\n"
    assert closed < 1
    assert took < (1 if signals == 2 else 2)
