"""Trace ids on the wire: in every answer's head, in problems, in executions."""

from __future__ import annotations

import re
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient

from opscore.testing import open_client

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
BODY = {"flow_id": "f", "input_data": {}}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient]:
    async def echo(given: dict[str, Any]) -> dict[str, Any]:
        return given

    async with open_client(local_agents={"echo": echo}) as opened:
        await opened.post("/flows", json={"flow_id": "f", "nodes": [{"id": "a", "agent_id": "echo"}]})
        yield opened


@pytest.mark.parametrize("path", ["/health", "/agents", "/status", "/nowhere", "/executions/none", "/openapi.json"])
async def test_every_answer_names_its_trace(client: TestClient, path: str) -> None:
    """The caller's, or else a new one for each request; problems have it in their body too."""
    async with client.get(path, headers=PARENT) as answer:
        assert answer.headers["X-Trace-ID"] == TRACE
        if answer.status >= 400:
            assert (await answer.json(content_type=None))["trace_id"] == TRACE
    made = set()
    for _ in range(3):
        async with client.get(path) as answer:
            made.add(answer.headers["X-Trace-ID"])
    assert len(made) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", trace_id) for trace_id in made)


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_an_execution_is_in_its_callers_trace(client: TestClient, prefix: str) -> None:
    """The answer to its start, with and without waiting, the execution, the list and the results say so."""
    async with client.post(f"{prefix}/flows/execute", json=BODY, headers=PARENT) as answer:
        started = await answer.json()
    assert started["trace_id"] == TRACE
    path = f"{prefix}/executions/{started['execution_id']}"
    async with client.get(f"{path}?wait=5") as answer:
        assert (await answer.json())["trace_id"] == TRACE
    async with client.get(f"{path}/results") as answer:
        assert (await answer.json())["execution"]["trace_id"] == TRACE
    async with client.get(f"{prefix}/executions") as answer:
        assert [one["trace_id"] for one in (await answer.json())["executions"]] == [TRACE]
    async with client.post(f"{prefix}/flows/execute?wait=5", json=BODY, headers=PARENT) as answer:
        assert (await answer.json())["trace_id"] == TRACE


async def test_an_execution_without_a_caller_is_its_own_trace(client: TestClient) -> None:
    """Its id, without the dashes; also where the headers make no sense."""
    bad: list[dict[str, str]] = [{}, {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, {"tracestate": "vendor=1"}]
    for headers in bad:
        async with client.post("/flows/execute", json=BODY, headers=headers) as answer:
            assert answer.status == 202
            started = await answer.json()
        assert started["trace_id"] == started["execution_id"].replace("-", "")


async def test_two_parents_are_none(client: TestClient) -> None:
    """Nobody has two callers; neither is believed."""
    headers = [("traceparent", PARENT["traceparent"]), ("traceparent", f"00-{'a' * 32}-{SPAN}-01")]
    async with client.post("/flows/execute", json=BODY, headers=headers) as answer:
        assert answer.status == 202
        assert (await answer.json())["trace_id"] not in (TRACE, "a" * 32)


async def test_a_session_is_in_its_callers_trace(client: TestClient) -> None:
    """The dialect's trigger takes the headers as the API does."""
    await client.post("/agents", json={"agent_id": "k", "endpoint": "http://127.0.0.1:9"})
    workflow = {"id": "w", "name": "w", "tasks": []}
    path = "/v1/opscore/agent/k/workflow"
    async with client.post(path, json={"workflowDefinition": workflow}, headers=PARENT) as answer:
        assert answer.status == 202
        session = (await answer.json())["sessionId"]
    async with client.get(f"/v1/opscore/session/{session}") as answer:
        assert (await answer.json())["traceId"] == TRACE
    async with client.get(f"/executions/{session}") as answer:
        assert (await answer.json())["trace_id"] == TRACE


async def test_a_stream_names_its_trace(client: TestClient) -> None:
    """Its head is sent before its handler returns, and has the id all the same."""
    async with client.post("/flows/execute?wait=5", json=BODY) as answer:
        execution_id = (await answer.json())["execution_id"]
    async with client.get(f"/executions/{execution_id}/stream", headers=PARENT) as answer:
        assert answer.headers["X-Trace-ID"] == TRACE
        await answer.read()


async def test_results_say_where_the_time_went(client: TestClient) -> None:
    """Each node result has the three times in milliseconds."""
    async with client.post("/flows/execute?wait=5", json=BODY) as answer:
        execution_id = (await answer.json())["execution_id"]
    async with client.get(f"/executions/{execution_id}/results") as answer:
        (result,) = (await answer.json())["node_results"]
    assert result["timing"]["queue_ms"] == 0
    assert 0 < result["timing"]["call_ms"] < 5000
    assert 0 < result["timing"]["commit_ms"] < 5000
