"""What the SDK costs: both its clients beside bare aiohttp, against the same bare aiohttp server, in turns.

    python benchmarks/sdk_calls.py

``call`` is one small request after the other, by another way each time: the median in milliseconds, and what the
synchronous client adds to the asynchronous one. ``batch`` is 1,000 starts and waits at concurrency 50: the median of
seconds, as a ratio to bare aiohttp.
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

CALLS = 3_000
BATCH, AT_ONCE, TURNS = 1_000, 50, 9
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


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds for a call."""
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def timed_here(call: Callable[[], object]) -> float:
    """Seconds for a call that blocks."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


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


async def measure(url: str) -> dict[str, float]:
    """All figures, each the median of turns."""
    spans: dict[str, list[float]] = {}

    async def note(name: str, span: Awaitable[float]) -> None:
        spans.setdefault(name, []).append(await span)

    async with aiohttp.ClientSession() as session, OpsCoreClientAsync(url, "") as client:
        with OpsCoreClientSync(url, "") as calm:
            calm.get_execution("e")
            for _ in range(CALLS):
                await note("call_bare", timed(lambda: bare_call(session, url)))
                await note("call_async", timed(lambda: client.get_execution("e")))
                await note("call_sync", timed_here(lambda: calm.get_execution("e")))
            for _ in range(TURNS):
                await note("batch_bare", timed_batch(lambda: bare_run(session, url)))
                await note("batch_async", timed_batch(lambda: client.execute_and_wait("f", {"n": 1})))
                await note(
                    "batch_sync", asyncio.to_thread(timed_batch_sync, lambda: calm.execute_and_wait("f", {"n": 1}))
                )
    return {name: statistics.median(found) * (1_000 if name.startswith("call") else 1) for name, found in spans.items()}


def main() -> None:
    """Start the server, measure, print."""
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = asyncio.run(measure(f"http://127.0.0.1:{server.stdout.readline().strip()}"))
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
