"""GET /metrics and what is counted of requests, over real HTTP with everything in memory."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator

import pytest_asyncio
from aiohttp.test_utils import TestClient
from scraped import Scraped

from opscore.settings import Settings
from opscore.testing import open_client

FLOW = {"flow_id": "one", "nodes": [{"id": "a", "agent_id": "echo"}]}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient]:
    async def echo(given: dict[str, Any]) -> dict[str, Any]:
        return given

    async with open_client(local_agents={"echo": echo}) as opened:
        await opened.post("/flows", json=FLOW)
        yield opened


async def scrape(client: TestClient, **headers: str) -> Scraped:
    async with client.get("/metrics", headers=headers) as answer:
        assert answer.status == 200
        return Scraped(await answer.text())


async def test_requests_are_counted_by_the_pattern_of_their_path(client: TestClient) -> None:
    """Ids in paths make no series, and both faces of the API are one; what is at no path is ``none``."""
    for number in range(20):
        await client.get(f"/agents/nobody-{number}")
        await client.get(f"/api/v1/agents/nobody-{number}")
        await client.get(f"/wp-admin/{number}.php")
    found = (await scrape(client)).values("opscore_http_requests_total")
    assert found["GET,/agents/{agent_id},404"] == 40
    assert found["GET,none,404"] == 20
    assert not [key for key in found if "nobody" in key or "wp-admin" in key or "/api/v1" in key]


async def test_requests_that_ask_to_last_are_not_timed(client: TestClient) -> None:
    """A stream and a start that waits for the end are counted; their time says nothing of the server."""
    async with client.post("/flows/execute?wait=5", json={"flow_id": "one", "input_data": {}}) as answer:
        execution_id = (await answer.json())["execution_id"]
    async with client.get(f"/executions/{execution_id}/stream") as answer:
        await answer.read()
    await client.get(f"/executions/{execution_id}")
    found = await scrape(client)
    requests, timed = (
        found.values(f"opscore_http_{name}") for name in ("requests_total", "request_duration_seconds_count")
    )
    assert requests["POST,/flows/execute,200"] == 1
    assert requests["GET,/executions/{execution_id}/stream,200"] == 1
    assert timed["GET,/executions/{execution_id}"] == 1
    assert not {"POST,/flows/execute", "GET,/executions/{execution_id}/stream"} & timed.keys()


async def test_a_run_leaves_its_figures(client: TestClient) -> None:
    """After one execution its flow, its agent, the store's commits and the durable totals say one."""
    async with client.post("/flows/execute?wait=5", json={"flow_id": "one", "input_data": {}}) as answer:
        assert (await answer.json())["status"] == "completed"
    found = await scrape(client)
    assert found.value("opscore_executions_total", status="completed") == 1
    assert found.value("opscore_flow_executions_total", flow="one", status="completed") == 1
    assert found.value("opscore_flow_executions_accepted_total", flow="one") == 1
    assert found.value("opscore_agent_calls_total", agent="echo", outcome="answered") == 1
    assert found.value("opscore_node_duration_seconds_count", agent="echo") == 1
    assert (found.value("opscore_store_commit_units_sum") or 0) >= 3
    assert (found.value("opscore_store_read_duration_seconds_count") or 0) > 0
    assert found.value("opscore_store_up") == 1


async def test_open_streams_are_counted() -> None:
    """While a stream is open the gauge says so."""
    gate = asyncio.Event()

    async def wait(given: dict[str, Any]) -> dict[str, Any]:
        await gate.wait()
        return given

    async with open_client(local_agents={"wait": wait}) as other:
        await other.post("/flows", json={"flow_id": "slow", "nodes": [{"id": "a", "agent_id": "wait"}]})
        async with other.post("/flows/execute", json={"flow_id": "slow", "input_data": {}}) as answer:
            execution_id = (await answer.json())["execution_id"]
        async with other.get(f"/executions/{execution_id}/stream") as stream:
            await stream.content.readline()
            during = await scrape(other)
            gate.set()
            await stream.read()
    assert during.value("opscore_streams_open") == 1


async def test_a_scrape_needs_a_key_that_may_read() -> None:
    """Where keys are needed a scrape without one is refused, and a key with the scope read is enough."""
    settings = Settings(database="sqlite:///:memory:", api_key="sk_ops_" + "x" * 32, drain_timeout=0.1)
    async with open_client(settings) as client:
        async with client.post("/keys", json={"name": "prometheus", "scopes": ["read"]}) as answer:
            secret = (await answer.json())["key"]
        async with client.get("/metrics", headers={"Authorization": "Bearer wrong"}) as answer:
            assert answer.status == 401
        found = await scrape(client, Authorization=f"Bearer {secret}")
    assert found.value("opscore_store_up") == 1


async def test_what_a_scraper_prefers_is_what_it_gets(client: TestClient) -> None:
    """The Accept header of a present Prometheus gets OpenMetrics, that of curl plain text, and JSON stays JSON."""
    prometheus = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    kinds = {prometheus: "application/openmetrics-text", "*/*": "text/plain", "application/json": "application/json"}
    for accept, kind in kinds.items():
        async with client.get("/metrics", headers={"Accept": accept}) as answer:
            assert answer.content_type == kind
            assert (await answer.read()).endswith(b"# EOF\n") is (accept == prometheus)


async def test_scrapes_at_the_same_time_are_all_answered(client: TestClient) -> None:
    """Twenty scrapes at once are twenty whole texts."""
    found = await asyncio.gather(*[scrape(client) for _ in range(20)])
    assert {one.value("opscore_store_up") for one in found} == {1}
