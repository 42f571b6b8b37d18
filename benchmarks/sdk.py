"""What both clients of the SDK add to bare aiohttp, and how soon they hear of an execution's end."""

from __future__ import annotations

import asyncio
import functools
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Awaitable, Callable, NamedTuple

import aiohttp
import orjson
from systems import System

from opscore_sdk import OpsCoreClientAsync, OpsCoreClientSync

FLOW = "chain-1"
Work = Callable[[int], Awaitable[None]]
Batch = Callable[[int, int], Awaitable["Spent"]]
"""Runs so many executions, so many at once."""


class Spent(NamedTuple):
    """Seconds for a batch."""

    clock: float
    cpu: float
    """Of this process alone."""


async def in_tasks(work: Work, count: int, lanes: int) -> Spent:
    """A batch in tasks of one loop."""
    todo = iter(range(count))

    async def lane() -> None:
        for n in todo:
            await work(n)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*[lane() for _ in range(lanes)])
    return Spent(time.perf_counter() - begun, time.process_time() - worked)


def in_threads(work: Callable[[int], None], count: int, lanes: int) -> Spent:
    """A batch in as many threads as there are lanes; their start is part of it."""
    begun, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(lanes) as pool:
        for done in pool.map(work, range(count)):
            assert done is None
    return Spent(time.perf_counter() - begun, time.process_time() - worked)


def through_sdk(client: OpsCoreClientAsync) -> Work:
    """Start a flow and wait for its end, as users of the SDK do."""

    async def work(n: int) -> None:
        ended = await client.execute_and_wait(FLOW, {"n": n}, timeout=60)
        assert ended.is_successful, ended

    return work


def through_sync(client: OpsCoreClientSync) -> Callable[[int], None]:
    """The same without ``await``."""

    def work(n: int) -> None:
        ended = client.execute_and_wait(FLOW, {"n": n}, timeout=60)
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


async def batches(system: System, count: int, lanes: int, rounds: int) -> dict[str, Spent]:
    """Medians of a batch through bare aiohttp and through both clients, in turns that begin with another each time."""
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session,
        OpsCoreClientAsync(system.url) as client,
    ):
        with OpsCoreClientSync(system.url) as calm:
            ways: dict[str, Batch] = {
                "bare": functools.partial(in_tasks, through_aiohttp(session, system.url)),
                "async": functools.partial(in_tasks, through_sdk(client)),
                "sync": functools.partial(asyncio.to_thread, in_threads, through_sync(calm)),
            }
            spent: dict[str, list[Spent]] = {name: [] for name in ways}
            for run in ways.values():
                await run(100, lanes)
            for turn in range(rounds):
                names = list(ways)
                for name in names[turn % 3 :] + names[: turn % 3]:
                    spent[name].append(await ways[name](count, lanes))
    return {name: Spent(*map(statistics.median, zip(*found))) for name, found in spent.items()}


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
