from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from processes import Agent, Client, Server, flow

CANCELS = int(os.environ.get("OPSCORE_CANCELS", "40"))
CHAIN = flow("chain", {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(40)})


@pytest.mark.timeout(300)
async def test_no_call_leaves_after_a_cancel_is_acknowledged(tmp_path: Path) -> None:
    """Cancelled at any moment, an execution has one end that all readers agree on, and its agent hears no more."""
    agent, server = Agent(), Server(tmp_path)
    agent.delay = 0.002
    await agent.start()
    await server.start()
    chance = random.Random(5)
    acknowledged: dict[str, float] = {}
    ends: dict[str, int] = {}
    async with Client(server.url) as client:
        await client.define(agent.url, CHAIN)

        async def one() -> None:
            _, started = await client.call("POST", "/flows/execute", {"flow_id": "chain", "input_data": {}})
            execution_id = started["execution_id"]
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=chance.uniform(0, 0.1))
            status, _ = await client.call("POST", f"/executions/{execution_id}/cancel", {"reason": "test"})
            if status == 200:
                acknowledged[execution_id] = time.monotonic()
            ends[execution_id] = status

        for _ in range(CANCELS // 4):
            await asyncio.gather(*[one() for _ in range(4)])
        listed = {found["execution_id"]: found["status"] for found in await client.everything()}
        for execution_id, status in ends.items():
            wanted = {200: "cancelled", 409: "completed"}[status]
            _, found = await client.call("GET", f"/executions/{execution_id}")
            _, page = await client.call("GET", f"/executions/{execution_id}/events?limit=500")
            final = [e["type"] for e in page["events"] if e["type"] in ("execution.cancelled", "execution.completed")]
            _, results = await client.call("GET", f"/executions/{execution_id}/results")
            assert found["status"] == listed[execution_id] == results["execution"]["status"] == wanted
            assert final == [f"execution.{wanted}"]
            assert {r["status"] for r in results["node_results"]} <= {"completed", "cancelled"}
    late = [call for call in agent.calls if call[3] > acknowledged.get(call[0], float("inf"))]
    print(f"{len(ends)} cancels, {len(acknowledged)} acknowledged, {len(late)} calls after it")
    await server.kill()
    await agent.stop()
    assert not late
    assert len(acknowledged) > CANCELS // 2
