from __future__ import annotations

from typing import Any, AsyncIterator

import pytest
import pytest_asyncio

from opscore.settings import Settings
from opscore.testing import open_client
from opscore_sdk import OpsCoreClientAsync
from opscore_sdk.errors import OpsCoreApiError, OpsCoreConnectionError, OpsCoreTimeoutError

KEY = "sk_client_test_key"
FLOW = {"flow_id": "hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}


async def greet(given: dict[str, Any]) -> dict[str, str]:
    return {"greeting": f"Hello {given['name']}"}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[OpsCoreClientAsync]:
    settings = Settings(database="sqlite:///:memory:", api_key=KEY, drain_timeout=0.1)
    async with (
        open_client(settings, {"greeter": greet}) as server,
        OpsCoreClientAsync(str(server.make_url("/")), KEY) as opened,
    ):
        yield opened


async def test_a_flow_from_definition_to_result(client: OpsCoreClientAsync) -> None:
    """A flow is checked, stored, found, run and read through the client."""
    assert (await client.validate_flow(FLOW))["valid"] is True
    assert (await client.create_flow(FLOW))["flow_version"] == 1
    assert (await client.get_flow("hello"))["nodes"] == FLOW["nodes"]
    started = await client.execute_flow("hello", {"name": "Ada"}, metadata={"k": "v"}, idempotency_key="once")
    again = await client.execute_flow("hello", {"name": "Ada"}, metadata={"k": "v"}, idempotency_key="once")
    assert again["execution_id"] == started["execution_id"]
    done = await client.wait_for_execution(started["execution_id"], timeout=10)
    assert done["output_data"] == {"greet": {"greeting": "Hello Ada"}}
    results = await client.get_execution_results(started["execution_id"])
    assert results["node_results"][0]["input_data"] == {"name": "Ada"}
    assert (await client.list_executions(metadata={"k": "v"}))["count"] == 1
    assert (await client.get_execution_events(started["execution_id"]))["next_after"] == 5


async def test_agents_keys_and_the_server(client: OpsCoreClientAsync) -> None:
    """Agents and keys come and go; health, status and metrics are told."""
    await client.create_agent("other", endpoint="http://127.0.0.1:9")
    assert (await client.list_agents())["count"] == 2
    await client.delete_agent("other")
    made = await client.create_key("k", ["read"])
    assert made["key"].startswith("sk_ops_")
    assert (await client.list_keys())["count"] == 1
    assert (await client.revoke_key(made["key_id"]))["revoked_at"]
    assert (await client.health_check())["status"] == "healthy"
    assert (await client.get_status())["status"] == "operational"
    assert (await client.get_metrics())["total_executions"] == 0


async def test_errors_have_status_code_and_request_id(client: OpsCoreClientAsync) -> None:
    """A refusal is an exception that says all that the server said; no server is another one."""
    with pytest.raises(OpsCoreApiError) as refused:
        await client.get_flow("nothing")
    assert (refused.value.status, refused.value.error_code) == (404, "FLOW_NOT_FOUND")
    assert refused.value.request_id
    async with OpsCoreClientAsync("http://127.0.0.1:9") as nobody:
        with pytest.raises(OpsCoreConnectionError):
            await nobody.health_check()


async def test_waiting_has_a_limit(client: OpsCoreClientAsync) -> None:
    """An execution that does not end in time raises, and goes on."""
    await client.create_agent("gone", endpoint="http://127.0.0.1:9")
    retry = {"max_attempts": 2, "initial_interval": 60}
    await client.create_flow({"flow_id": "stuck", "nodes": [{"id": "n", "agent_id": "gone", "retry": retry}]})
    started = await client.execute_flow("stuck", {})
    with pytest.raises(OpsCoreTimeoutError):
        await client.wait_for_execution(started["execution_id"], timeout=0.2)
    assert (await client.get_execution(started["execution_id"]))["waiting"][0]["reason"] == "retry"
