from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, AsyncIterator, Callable

import pytest
import pytest_asyncio
from ai_spine import AISpine
from ai_spine.exceptions import (
    APIError,
    AuthenticationError,
    ExecutionError,
    NetworkError,
    RateLimitError,
    ValidationError,
)
from processes import Agent, Client, Server, flow

KEY = "sk_acceptance_test_key"


class Spine:
    """The published SDK, its blocking calls made from threads."""

    def __init__(self, url: str, key: str = KEY, **options: Any) -> None:
        self._sdk = AISpine(key, base_url=url, max_retries=0, **options)

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        """One call of the SDK."""
        bound: Callable[[], Any] = lambda: getattr(self._sdk, method)(*args, **options)  # noqa: E731
        return await asyncio.get_running_loop().run_in_executor(None, bound)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a key, one agent and one flow."""
    agent, running = Agent(), Server(tmp_path, OPSCORE_API_KEY=KEY)
    await agent.start()
    await running.start()
    async with Client(running.url) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        body = {"agent_id": "stub", "endpoint": agent.url}
        assert (await client.call("POST", "/agents", body, headers=headers))[0] == 201
        for definition in (flow("two", {"a": [], "b": ["a"]}), _broken()):
            assert (await client.call("POST", "/flows", definition, headers=headers))[0] == 201
    yield running
    await running.kill()
    await agent.stop()


def _broken() -> dict[str, Any]:
    nodes = [{"id": "x", "agent_id": "nobody", "depends_on": []}]
    return {"flow_id": "broken", "nodes": nodes, "entry_point": "x", "exit_points": ["x"]}


async def test_executions(server: Server) -> None:
    """Start, get, wait, execute-and-wait and cancel behave as the SDK's documentation says."""
    spine = Spine(server.url)
    started = await spine.call("execute_flow", "two", {"n": 1}, {"customer": "acme"})
    assert started["status"] == "pending"
    assert started["created_at"].endswith("Z")
    done = await spine.call("wait_for_execution", started["execution_id"], 10, 1)
    assert done["status"] == "completed"
    assert done["output_data"]["b"]["n"] == 3
    assert done["metadata"] == {"customer": "acme"}
    again = await spine.call("execute_and_wait", "two", {"n": 5}, None, 10, 1)
    assert again["output_data"]["b"]["n"] == 7
    with pytest.raises(APIError) as finished:
        await spine.call("cancel_execution", done["execution_id"])
    assert finished.value.status_code == 409


async def test_flows_and_agents(server: Server) -> None:
    """Flows and agents are listed, found, created and deleted."""
    spine = Spine(server.url)
    assert {found["flow_id"] for found in await spine.call("list_flows")} == {"two", "broken"}
    assert (await spine.call("get_flow", "two"))["nodes"][1]["depends_on"] == ["a"]
    config = {"agent_id": "extra", "name": "Extra", "endpoint": "http://127.0.0.1:9", "capabilities": ["x"]}
    assert (await spine.call("create_agent", config))["agent_id"] == "extra"
    assert {found["agent_id"] for found in await spine.call("list_agents")} == {"stub", "extra"}
    assert await spine.call("delete_agent", "extra") is True
    assert await spine.call("delete_agent", "extra") is False


async def test_system(server: Server) -> None:
    """Health, metrics and status come as JSON with the keys that the SDK's users know."""
    spine = Spine(server.url)
    assert (await spine.call("health_check"))["status"] == "healthy"
    assert (await spine.call("get_metrics"))["total_executions"] == 0
    assert (await spine.call("get_status"))["status"] == "operational"


async def test_errors_are_the_sdks_own(server: Server) -> None:
    """Each refusal arrives as the exception class that the SDK has for it."""
    spine = Spine(server.url)
    with pytest.raises(AuthenticationError):
        await Spine(server.url, "sk_wrong").call("list_flows")
    with pytest.raises(APIError) as missing:
        await spine.call("get_flow", "nothing")
    assert missing.value.status_code == 404
    with pytest.raises(APIError) as unknown:
        await spine.call("get_execution", "nothing")
    assert unknown.value.status_code == 404
    with pytest.raises(ValidationError) as refused:
        await spine.call("create_agent", {"name": "no id"})
    assert "agent_id" in refused.value.details
    with pytest.raises(ExecutionError) as failed:
        await spine.call("execute_and_wait", "broken", {}, None, 10, 1)
    assert "nobody" in str(failed.value)
    with pytest.raises(NetworkError):
        await Spine("http://127.0.0.1:9").call("list_flows")


async def test_rate_limit(tmp_path: Path) -> None:
    """Over the limit the SDK raises RateLimitError with whole seconds to wait."""
    server = Server(tmp_path, OPSCORE_API_KEY=KEY, OPSCORE_RATE_LIMIT="1")
    await server.start("/openapi.json")
    spine = Spine(server.url)
    with pytest.raises(RateLimitError) as limited:
        for _ in range(5):
            await spine.call("list_flows")
    await server.kill()
    assert limited.value.retry_after == 1
