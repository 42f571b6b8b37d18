"""What readers of all events cost those who start executions: raw HTTP, so that the client is not what is measured."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import AsyncIterator
from urllib.parse import urlsplit

import attrs
import orjson
from systems import System

FLOW = "chain-1"


@attrs.define
class Crowd:
    """Open streams, and what came over them."""

    received: int = 0
    closed: int = 0


@asynccontextmanager
async def following(system: System, queries: list[str]) -> AsyncIterator[Crowd]:
    """Readers of ``/events``, one for each query, that take in whatever comes."""
    crowd = Crowd()
    address = urlsplit(system.url)
    begun: list[asyncio.Future[None]] = []

    async def read(query: str, ready: asyncio.Future[None]) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            head = f"GET /events{query} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n\r\n"
            writer.write(head.encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"), query
            ready.set_result(None)
            while data := await reader.read(65_536):
                crowd.received += len(data)
            crowd.closed += 1
        finally:
            writer.close()

    tasks = []
    for query in queries:
        begun.append(asyncio.get_running_loop().create_future())
        tasks.append(asyncio.ensure_future(read(query, begun[-1])))
        if len(tasks) % 50 == 0:
            await asyncio.gather(*begun)
    await asyncio.gather(*begun)
    try:
        yield crowd
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def starts(system: System, per_second: int, seconds: float) -> list[float]:
    """The times of starts that are due at a steady rate, each from when it was due, in milliseconds."""
    begun = time.perf_counter() + 0.1
    spans: list[float] = []

    async def start(n: int) -> None:
        due = begun + n / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status, answer = await system.post("/flows/execute", {"flow_id": FLOW, "input_data": {"n": n}})
        assert status == 202, orjson.dumps(answer)
        spans.append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*[start(n) for n in range(int(per_second * seconds))])
    return spans


def p99(spans: list[float]) -> float:
    """The time that one in a hundred took longer than."""
    return sorted(spans)[int(len(spans) * 0.99)]
