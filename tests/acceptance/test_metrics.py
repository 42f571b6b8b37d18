"""Metrics of a real process, over a kill."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from processes import Agent, Client, Server, flow
from promtool import promtool
from scraped import Scraped


async def scrape(server: Server) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_totals_survive_a_kill_and_counts_begin_anew(tmp_path: Path) -> None:
    """After kill -9 and a start the durable totals go on, what a process counts begins at 0, and both are sound."""
    server, agent = Server(tmp_path), Agent()
    await agent.start()
    try:
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, flow("two", {"a": [], "b": ["a"]}))
            for _ in range(3):
                _, ended = await client.call("POST", "/flows/execute?wait=10", {"flow_id": "two", "input_data": {}})
                assert ended["status"] == "completed"
        before = await scrape(server)
        await server.kill()
        await server.start()
        after = await scrape(server)
    finally:
        await server.kill()
        await agent.stop()
    for text in (before, after):
        promtool("check", "metrics", given=text.encode())
    first, second = Scraped(before), Scraped(after)
    assert first.values("opscore_flow_executions_total") == {"two,completed": 3}
    assert first.value("opscore_node_duration_seconds_count", agent="stub") == 6
    assert second.values("opscore_flow_executions_total") == {}
    assert first.values("opscore_executions_total") == second.values("opscore_executions_total")
    assert second.value("opscore_executions_total", status="completed") == 3
    assert (second.value("opscore_store_database_bytes") or 0) > 0
    assert (second.value("process_open_fds") or 0) > 0
