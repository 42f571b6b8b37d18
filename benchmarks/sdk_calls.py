"""What the SDK costs: both its clients beside bare aiohttp, against the same bare aiohttp server, in turns.

    python benchmarks/sdk_calls.py

``call`` is one small request after the other: the median in milliseconds, and what the synchronous client adds to the
asynchronous one. ``batch`` is 1,000 starts and waits at concurrency 50: seconds, as a ratio to bare aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable

import aiohttp
import orjson
from aiohttp import web

from opscore_sdk import OpsCoreClientAsync, OpsCoreClientSync

CALLS, TURNS = 300, 9
BATCH, AT_ONCE, BATCH_TURNS = 1_000, 50, 3
ENDED = {"execution_id": "e", "flow_id": "f", "status": "completed", "output_data": {"n": {"text": "x" * 200}}}
STARTED = {"execution_id": "e", "flow_id": "f", "status": "pending"}


async def serve() -> None:
    """Answer for ever; say where first."""
    app = web.Application()
    app.router.add_get("/api/v1/executions/e", lambda _: _answer(ENDED))
    app.router.add_post("/api/v1/flows/execute", lambda _: _answer(STARTED))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def _answer(value: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


async def bare_call(session: aiohttp.ClientSession, url: str) -> Any:
    """One request without any SDK."""
    async with session.get(f"{url}/api/v1/executions/e") as response:
        return orjson.loads(await response.read())


async def bare_run(session: aiohttp.ClientSession, url: str) -> Any:
    """A start and a wait without any SDK."""
    body = orjson.dumps({"flow_id": "f", "input_data": {"n": 1}})
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/api/v1/flows/execute", data=body, headers=headers) as response:
        orjson.loads(await response.read())
    return await bare_call(session, url)


async def timed_calls(call: Callable[[], Awaitable[object]]) -> float:
    """The median of many calls in milliseconds."""
    spans = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        await call()
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans) * 1000


def timed_calls_sync(call: Callable[[], object]) -> float:
    """The median of many calls in milliseconds."""
    spans = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        call()
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans) * 1000


async def timed_batch(run: Callable[[], Awaitable[object]]) -> float:
    """Seconds for a batch, some at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with free:
            await run()

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(BATCH)))
    return time.perf_counter() - begun


def timed_batch_sync(run: Callable[[], object]) -> float:
    """Seconds for a batch in threads."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda _: run(), range(BATCH)))
        return time.perf_counter() - begun


def measure(url: str) -> dict[str, float]:
    """All figures, each the median of turns."""
    figures: dict[str, list[float]] = {}

    async def others(runs_batch: bool) -> None:
        async with aiohttp.ClientSession() as session, OpsCoreClientAsync(url, "") as client:
            if runs_batch:
                note("batch_bare", await timed_batch(lambda: bare_run(session, url)))
                note("batch_async", await timed_batch(lambda: client.execute_and_wait("f", {"n": 1})))
            else:
                note("call_bare", await timed_calls(lambda: bare_call(session, url)))
                note("call_async", await timed_calls(lambda: client.get_execution("e")))

    def note(name: str, figure: float) -> None:
        figures.setdefault(name, []).append(figure)

    with OpsCoreClientSync(url, "") as client:
        client.get_execution("e")
        for _ in range(TURNS):
            asyncio.run(others(runs_batch=False))
            note("call_sync", timed_calls_sync(lambda: client.get_execution("e")))
        for _ in range(BATCH_TURNS):
            asyncio.run(others(runs_batch=True))
            note("batch_sync", timed_batch_sync(lambda: client.execute_and_wait("f", {"n": 1})))
    return {name: statistics.median(found) for name, found in figures.items()}


def main() -> None:
    """Start the server, measure, print."""
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = measure(f"http://127.0.0.1:{server.stdout.readline().strip()}")
    finally:
        server.terminate()
        server.wait()
    report = {
        **found,
        "call_sync_adds_ms": found["call_sync"] - found["call_async"],
        "call_sync_to_async": found["call_sync"] / found["call_async"],
        "call_async_to_bare": found["call_async"] / found["call_bare"],
        "batch_async_to_bare": found["batch_async"] / found["batch_bare"],
        "batch_sync_to_bare": found["batch_sync"] / found["batch_bare"],
    }
    print(json.dumps({name: round(figure, 3) for name, figure in report.items()}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
