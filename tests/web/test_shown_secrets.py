"""What readers get to see of the secrets of agents: nothing. Web server, engine and store are real."""

from __future__ import annotations

from typing import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from opscore.settings import Settings
from opscore.testing import open_client

TOKEN = "tok3nOfAnAgent"
KEY = 'agentkit"key\\1'


@pytest_asyncio.fixture
async def asked() -> AsyncIterator[tuple[TestServer, list[str]]]:
    """An agent, and AgentKit, that takes whatever comes, and the addresses that were asked for."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path_qs)
        return web.json_response({}, status=202)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield server, seen


@pytest_asyncio.fixture
async def client(asked: tuple[TestServer, list[str]]) -> AsyncIterator[TestClient]:
    settings = Settings(
        database="sqlite:///:memory:",
        agentkit_api_url=str(asked[0].make_url("")).rstrip("/"),
        agentkit_api_key=KEY,
        agentkit_interval=0.0,
        probe_interval=0.0,
    )
    async with open_client(settings) as opened:
        yield opened


async def test_an_endpoint_is_shown_without_its_secrets(client: TestClient) -> None:
    """Neither the answer to the registration nor any list shows a token or a user; the same again is still the same."""
    spec = {"agent_id": "a", "endpoint": f"http://127.0.0.1:9/x?token={TOKEN}&v=2"}
    for status in (201, 200):
        answer = await client.post("/agents", json=spec)
        assert (answer.status, (await answer.json())["endpoint"]) == (status, "http://127.0.0.1:9/x?token=***&v=2")
    kafka = {"agent_id": "k", "protocol": "agentkit", "endpoint": f"kafka://u:{TOKEN}@broker:9092/t"}
    assert (await client.post("/agents", json=kafka)).status == 201
    for path in ("/agents", "/agents/active", "/agents/a", "/agents/k"):
        text = await (await client.get(path)).text()
        assert TOKEN not in text
        assert "***" in text


async def test_an_endpoint_can_be_tested_as_it_is_shown(
    client: TestClient, asked: tuple[TestServer, list[str]]
) -> None:
    """Who tests what a list shows tests what the agent is registered with; a mask of nobody's goes out as it is."""
    server, seen = asked
    endpoint = str(server.make_url(f"/x?token={TOKEN}"))
    answer = await client.post("/agents", json={"agent_id": "a", "endpoint": endpoint})
    shown = (await answer.json())["endpoint"]
    await client.post("/agents/test", json={"endpoint": shown})
    await client.post("/agents/test", json={"endpoint": str(server.make_url("/y?token=***"))})
    assert f"/x/health?token={TOKEN}" in seen
    assert "/y/health?token=***" in seen


async def _taken(client: TestClient, session: str) -> None:
    """Return when the agent has its task."""
    headers = {"Accept": "text/event-stream"}
    async with client.get(f"/executions/{session}/stream", headers=headers) as stream:
        while b"node.waiting" not in await stream.content.readline():
            pass


@pytest.mark.parametrize("way", ["report", "completion"])
async def test_a_failure_that_is_reported_tells_no_secret(client: TestClient, way: str) -> None:
    """An agent that answers later and says in its failure what it was told: the server's own secrets are masked."""
    kafka = {"agent_id": "k", "protocol": "agentkit", "endpoint": f"kafka://u:{TOKEN}@broker:9092/t"}
    await client.post("/agents", json=kafka)
    task = {"taskId": "t", "agentId": "k", "maxRetries": 0}
    body = {"workflowDefinition": {"id": "w", "name": "w", "tasks": [task]}}
    session = (await (await client.post("/v1/opscore/agent/k/workflow", json=body)).json())["sessionId"]
    await _taken(client, session)
    said = f"kafka://u:{TOKEN}@broker refused Bearer {KEY}"
    if way == "report":
        report = {"agentId": "k", "timestamp": "2100-01-01T00:00:00Z", "state": "error", "details": {"error": said}}
        assert (await client.post("/v1/opscore/agent/k/state", json=report)).status == 202
    else:
        end = {"status": "error", "error": said}
        assert (await client.post(f"/v1/opscore/task/{session}:t/complete", json=end)).status == 200
    ended = await (await client.get(f"/executions/{session}?wait=10")).json()
    assert ended["error_message"].endswith("kafka://***@broker refused Bearer ***")
    for path in (f"/executions/{session}/events", "/agents/k/history", "/agents", "/events", "/logs"):
        text = await (await client.get(path)).text()
        assert TOKEN not in text
        assert "agentkit" + KEY[8:] not in text.replace('\\"', '"').replace("\\\\", "\\"), path
