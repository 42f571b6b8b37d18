from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from processes import Agent, Client, Server, flow

DRAIN = os.environ.get("OPSCORE_TEST_DRAIN", "1")
OPEN_CALLS = 50
ONE = flow("one", {"a": []})


async def _with_open_calls(agent: Agent, server: Server) -> None:
    agent.gate = asyncio.Event()
    await agent.start()
    await server.start()
    async with Client(server.url) as client:
        await client.define(agent.url, ONE)
        body = {"flow_id": "one", "input_data": {}}
        await asyncio.gather(*[client.call("POST", "/flows/execute", body) for _ in range(OPEN_CALLS)])
    while len(agent.calls) < OPEN_CALLS:
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.01)


@pytest.mark.timeout(90)
async def test_sigterm_drains_and_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM with 50 endless calls open exits 0 soon after the drain; a restart makes the same calls again."""
    agent, server = Agent(), Server(tmp_path, OPSCORE_DRAIN_TIMEOUT=DRAIN)
    await _with_open_calls(agent, server)
    begun = time.monotonic()
    server.signal()
    code = await server.ended(float(DRAIN) + 5)
    took = time.monotonic() - begun
    assert agent.gate is not None
    agent.gate.set()
    agent.gate = None
    await server.start()
    async with Client(server.url) as client:
        while (await client.call("GET", "/status"))[1]["executions"]["running"]:
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)
        found = await client.everything()
    print(f"exit {code} after {took:.2f} s, {len(agent.calls)} calls")
    await server.kill()
    await agent.stop()
    assert code == 0
    assert took < float(DRAIN) + 2
    assert [one["status"] for one in found] == ["completed"] * OPEN_CALLS
    assert len(agent.calls) == 2 * OPEN_CALLS
    assert all(len(keys) == 1 for keys in agent.keys().values())


@pytest.mark.timeout(60)
async def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    """Whoever sends a second SIGTERM waits no more than a second."""
    agent, server = Agent(), Server(tmp_path, OPSCORE_DRAIN_TIMEOUT="30")
    await _with_open_calls(agent, server)
    server.signal()
    # The listener closes first thing: then the drain is on.
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
        except OSError:
            break
    begun = time.monotonic()
    server.signal()
    code = await server.ended(10)
    took = time.monotonic() - begun
    await agent.stop()
    assert code == 0
    print(f"second signal: ended after {took:.2f} s")
    assert took < 1


@pytest.mark.timeout(60)
async def test_a_client_that_never_reads_does_not_delay_the_stop(tmp_path: Path) -> None:
    """A stalled body and an unread answer do not hold up an idle server's stop."""
    server = Server(tmp_path)
    await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = b"POST /flows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head)
    await writer.drain()
    begun = time.monotonic()
    server.signal()
    assert await server.ended(10) == 0
    assert time.monotonic() - begun < 3
    writer.close()
