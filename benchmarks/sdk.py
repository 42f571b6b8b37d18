"""What the SDK adds to bare aiohttp, and how soon it hears of an execution's end."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from datetime import datetime
from typing import Awaitable, Callable

import aiohttp
import orjson
from systems import System

from opscore_sdk import OpsCoreClientAsync

FLOW = "chain-1"
Work = Callable[[int], Awaitable[None]]


async def batch(work: Work, count: int, lanes: int) -> tuple[float, float]:
    """Seconds for so many executions, so many at once: by the clock, and of this process alone."""
    todo = iter(range(count))

    async def lane() -> None:
        for n in todo:
            await work(n)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*[lane() for _ in range(lanes)])
    return time.perf_counter() - begun, time.process_time() - worked


def through_sdk(client: OpsCoreClientAsync) -> Work:
    """Start a flow and wait for its end, as users of the SDK do."""

    async def work(n: int) -> None:
        ended = await client.execute_and_wait(FLOW, {"n": n}, timeout=60)
        assert ended.is_successful, ended

    return work


def through_aiohttp(session: aiohttp.ClientSession, url: str) -> Work:
    """The same two requests, and nothing else."""

    async def work(n: int) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        body = orjson.dumps({"flow_id": FLOW, "input_data": {"n": n}})
        async with session.post(url + "/api/v1/flows/execute", data=body, headers=headers) as answer:
            run = orjson.loads(await answer.read())["execution_id"]
        async with session.get(f"{url}/api/v1/executions/{run}?wait=25") as answer:
            ended = orjson.loads(await answer.read())
        assert ended["status"] == "completed", ended

    return work


async def batches(system: System, count: int, lanes: int, rounds: int) -> list[tuple[float, float]]:
    """Medians of a batch through bare aiohttp and through the SDK, in turns: of the clock, and of the client's CPU."""
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session,
        OpsCoreClientAsync(system.url) as client,
    ):
        works = ((through_aiohttp(session, system.url), bare), (through_sdk(client), ours))
        for work, _ in works:
            await batch(work, 100, lanes)
        for turn in range(rounds):
            for work, spans in works if turn % 2 else works[::-1]:
                spans.append(await batch(work, count, lanes))
    return [(statistics.median(a), statistics.median(b)) for a, b in zip(zip(*bare), zip(*ours))]


async def lateness(system: System, count: int) -> float:
    """Median milliseconds from the end of an execution, by the server's clock, to when the client knows of it."""
    spans = []
    async with OpsCoreClientAsync(system.url) as client:
        for n in range(count):
            started = await client.execute_flow("pause", {"n": n})
            ended = await client.wait_for_execution(started.execution_id, timeout=60)
            heard = time.time()
            assert ended.completed_at is not None, ended
            moment = datetime.fromisoformat(ended.completed_at.replace("Z", "+00:00"))
            spans.append((heard - moment.timestamp()) * 1000)
    return statistics.median(spans)


async def define(system: System) -> None:
    """A flow of one call that takes 50 ms, so that the client waits already when it ends."""
    agent = {"agent_id": "pause", "endpoint": f"{system.agent}?sleep=0.05"}
    for path, body in (
        ("/agents", agent),
        ("/flows", {"flow_id": "pause", "nodes": [{"id": "a", "agent_id": "pause"}]}),
    ):
        status, answer = await system.post(path, body)
        assert status == 201, answer
