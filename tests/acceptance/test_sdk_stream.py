from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from cutting import Proxy
from processes import Agent, Client, Server, flow

from opscore_sdk import Event, OpsCoreClientAsync
from opscore_sdk.transport import Clock

CUTS = 100
LOAD = 8
PATIENT = {"max_retries": 50, "clock": Clock(chance=lambda: 0.0)}  # without pauses between its attempts
LONG = flow("long", {f"n{index}": [f"n{index - 1}"] if index else [] for index in range(130)})
SHORT = flow("short", {f"n{index}": [f"n{index - 1}"] if index else [] for index in range(8)})


async def followed(client: OpsCoreClientAsync, execution_id: str) -> tuple[list[Event], str]:
    """The events of an execution as a stream gives them out, and how it says that it ended."""
    stream = client.stream_events(execution_id)
    return [event async for event in stream], str(stream.final_status)


async def stored(client: OpsCoreClientAsync, execution_id: str) -> list[Event]:
    """The events of an execution as the server has them on its pages."""
    found: list[Event] = []
    while page := (await client.get_execution_events(execution_id, after=len(found), limit=500)).events:
        found += page
    return found


@pytest.mark.timeout(60)
async def test_a_stream_that_is_cut_a_hundred_times_gives_out_every_event_once(tmp_path: Path) -> None:
    """Beside eight others that are cut, too, it misses nothing, repeats nothing and ends with the terminal event."""
    agent, server = Agent(), Server(tmp_path)
    await agent.start()
    await server.start()
    async with Client(server.url) as plain:
        await plain.define(agent.url, LONG)
        await plain.call("POST", "/flows", SHORT)
    ours, others = Proxy(server.port, 20261124, most=1500), Proxy(server.port, 11)
    over = asyncio.Event()
    async with (
        ours.listening(), others.listening(), OpsCoreClientAsync(server.url) as client,
        OpsCoreClientAsync(ours.url, **PATIENT) as cut, OpsCoreClientAsync(others.url, **PATIENT) as beside,
    ):  # fmt: skip

        async def load() -> list[str]:
            done = []
            while not over.is_set():
                started = await client.execute_flow("short")
                events, _ = await followed(beside, started.execution_id)
                assert events == await stored(client, started.execution_id)
                done.append(started.execution_id)
            return done

        loads = [asyncio.ensure_future(load()) for _ in range(LOAD)]
        begun = time.monotonic()
        started = await client.execute_flow("long", priority=10)
        events, status = await followed(cut, started.execution_id)
        took = time.monotonic() - begun
        over.set()
        short = [execution_id for done in await asyncio.gather(*loads) for execution_id in done]
        expected = await stored(client, started.execution_id)
    await server.kill()
    await agent.stop()
    print(
        f"{len(events)} events over {ours.cuts} cuts in {took:.1f} s, "
        f"beside {len(short)} executions with {others.cuts} cuts"
    )
    assert ours.cuts >= CUTS
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events == expected
    assert (events[-1].type, status) == ("execution.completed", "completed")
    assert short
