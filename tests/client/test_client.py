from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from cutting_proxy import CuttingProxy
from still_clock import StillClock

from opscore.settings import Settings
from opscore.testing import open_client
from opscore_sdk import ConflictError, ExecutionError, NotFoundError, OpsCoreClientAsync, ValidationError
from opscore_sdk.errors import OpsCoreApiError, OpsCoreConnectionError, OpsCoreTimeoutError
from opscore_sdk.transport import Hooks

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
    assert (await client.get_agent("other")).endpoint == "http://127.0.0.1:9"
    assert (await client.list_agents(state="unknown", capability="nothing")).count == 0
    assert (await client.test_agent("http://127.0.0.1:9")).connected is False
    assert await client.delete_agent("other") is True
    assert await client.delete_agent("other") is False
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
    async with OpsCoreClientAsync("http://127.0.0.1:9", max_retries=0) as nobody:
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


async def test_waiting_ends_with_the_execution(client: OpsCoreClientAsync) -> None:
    """The server answers when the execution has ended: a start and its end are two requests."""
    await client.create_flow(FLOW)
    sent: list[Any] = []
    client._transport.options = client._transport.options._replace(hooks=Hooks(on_request=sent.append))
    done = await client.execute_and_wait("hello", {"name": "Ada"})
    assert (done.status, done.output_data) == ("completed", {"greet": {"greeting": "Hello Ada"}})
    assert len(sent) == 2


async def test_a_result_arrives_within_milliseconds_of_the_end(client: OpsCoreClientAsync) -> None:
    """Half of all results arrive within 20 ms of the end that the server noted."""
    await client.create_flow(FLOW)
    late = []
    for _ in range(21):
        done = await client.execute_and_wait("hello", {"name": "Ada"})
        ended = datetime.fromisoformat(str(done.completed_at).replace("Z", "+00:00"))
        late.append(time.time() - ended.timestamp())
    assert sorted(late)[10] < 0.02


async def test_an_execution_that_fails_is_an_error_for_those_who_want_one(client: OpsCoreClientAsync) -> None:
    """``raise_on_failure`` raises with the execution; otherwise the execution says so."""
    await client.create_flow({"flow_id": "broken", "nodes": [{"id": "n", "agent_id": "nobody"}]})
    assert (await client.execute_and_wait("broken")).status == "failed"
    with pytest.raises(ExecutionError, match="nobody") as failed:
        await client.execute_and_wait("broken", raise_on_failure=True)
    assert failed.value.execution is not None
    assert failed.value.execution.error_code == failed.value.error_code


async def test_a_server_that_cannot_wait_is_asked_again_and_again() -> None:
    """Looks come soon at first, then less and less often, up to the interval."""
    clock, looks = StillClock(), 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        return web.json_response({"execution_id": "e", "status": "completed" if looks == 10 else "running"})

    app = web.Application()
    app.router.add_get("/api/v1/executions/e", answer)
    async with (
        TestServer(app) as server,
        OpsCoreClientAsync(str(server.make_url("/")), "", clock=clock.clock) as asking,
    ):
        assert (await asking.wait_for_execution("e", interval=0.2)).is_final
        looks = -1000
        with pytest.raises(OpsCoreTimeoutError, match="still running after 3 seconds") as late:
            await asking.wait_for_execution("e", 3, interval=1)
    assert [round(pause, 3) for pause in clock.slept[:6]] == [0.05, 0.075, 0.113, 0.169, 0.2, 0.2]
    assert late.value.details["status"] == "running"


@pytest.mark.parametrize("losses", [1, 3])
async def test_a_start_whose_answer_is_lost_makes_one_execution(client: OpsCoreClientAsync, losses: int) -> None:
    """The repeat has the same key, so the server answers with the execution that it has made."""
    await client.create_flow(FLOW)
    proxy = CuttingProxy(client.base_url, losses)
    async with proxy.running() as url, OpsCoreClientAsync(url, KEY, clock=StillClock().clock) as cut:
        started = await cut.execute_flow("hello", {"name": "Ada"})
    assert proxy.requests == losses + 1
    assert [one.execution_id async for one in client.list_executions()] == [started.execution_id]


async def test_a_repeat_without_success_says_that_the_answer_was_lost(client: OpsCoreClientAsync) -> None:
    """After the last repeat the error is a connection error, and there is still one execution at most."""
    await client.create_flow(FLOW)
    proxy = CuttingProxy(client.base_url, 99)
    async with proxy.running() as url, OpsCoreClientAsync(url, KEY, clock=StillClock().clock) as cut:
        with pytest.raises(OpsCoreConnectionError):
            await cut.execute_flow("hello", {"name": "Ada"})
    assert (await client.list_executions()).count == 1


async def test_lists_are_read_page_by_page(client: OpsCoreClientAsync) -> None:
    """``async for`` gives all executions, ``await`` the first page, ``pages`` all pages, ``all`` a list."""
    await client.create_flow(FLOW)
    started = [(await client.execute_flow("hello", {"name": "Ada"})).execution_id for _ in range(5)]
    newest = started[::-1]
    listed = client.list_executions(limit=2)
    assert [one.execution_id async for one in listed] == newest
    assert [one.execution_id for one in (await listed).executions] == newest[:2]
    assert [len(page.executions) async for page in listed.pages()] == [2, 2, 1]
    assert [one.execution_id for one in await listed.all(3)] == newest[:3]
    assert len(await listed.all()) == 5
    assert (await client.list_executions(created_before=datetime(2020, 1, 1, tzinfo=timezone.utc))).count == 0


async def test_events_are_followed_to_the_end(client: OpsCoreClientAsync) -> None:
    """The stream has what the history has, and ends by itself."""
    await client.create_flow(FLOW)
    started = await client.execute_flow("hello", {"name": "Ada"})
    followed = [event async for event in client.stream_events(started.execution_id)]
    assert followed == (await client.get_execution_events(started.execution_id)).events
    assert followed[-1].is_terminal


async def test_flows_come_from_data_text_and_files(client: OpsCoreClientAsync, tmp_path: Path) -> None:
    """A dictionary, JSON, YAML and the path of either are all taken; a deleted flow is gone."""
    path = tmp_path / "flow.yaml"
    path.write_text("flow_id: four\nnodes: [{id: n, agent_id: greeter}]\n", encoding="utf-8")
    for definition in (FLOW, json.dumps({**FLOW, "flow_id": "two"}), path.read_text().replace("four", "three"), path):
        await client.create_flow(definition)
    assert {flow.flow_id for flow in (await client.list_flows()).flows} == {"hello", "two", "three", "four"}
    await client.update_flow("four", path.read_text().replace("id: n", "id: m"))
    assert [flow.flow_version for flow in (await client.list_flow_versions("four")).versions] == [2, 1]
    assert (await client.get_flow("four", 1)).nodes[0]["id"] == "n"
    assert await client.delete_flow("four") is True
    assert await client.delete_flow("four") is False


async def test_refusals_have_their_own_classes(client: OpsCoreClientAsync) -> None:
    """Not found, conflict, and what is wrong by field."""
    await client.create_flow(FLOW)
    with pytest.raises(NotFoundError):
        await client.execute_flow("nothing")
    with pytest.raises(ConflictError):
        await client.create_flow({**FLOW, "name": "other"})
    with pytest.raises(ValidationError) as wrong:
        await client.create_flow({"flow_id": "x", "nodes": [{"id": "a", "depends_on": ["b"]}]})
    assert wrong.value.field_errors
    done = await client.execute_and_wait("hello", {"name": "Ada"})
    with pytest.raises(ConflictError) as ended:
        await client.cancel_execution(done.execution_id)
    assert ended.value.error_code == "EXECUTION_FINISHED"


async def test_agents_report_and_workflows_run(client: OpsCoreClientAsync) -> None:
    """States are reported and read; a workflow's session runs to its end and is an execution, too."""
    assert (await client.update_state("greeter", "active", {"step": 1})).status == "success"
    state = await client.get_state("greeter")
    assert (state.agent_id, state.state, state.details) == ("greeter", "active", {"step": 1})
    assert [one.state for one in (await client.get_agent_history("greeter")).history] == ["active"]
    definition = {"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": "greeter"}]}
    started = await client.trigger_workflow("greeter", None, {"name": "Ada"}, workflow_definition=definition)
    session = await client.wait_for_session(started.session_id, 10)
    assert (session.status, session.tasks[0].output) == ("completed", {"greeting": "Hello Ada"})
    assert (await client.get_execution(started.session_id)).flow_id == session.workflow_id == "w"
    with pytest.raises(NotFoundError):
        await client.complete_task("nothing", "error", error="no")


async def test_messages_of_an_execution(client: OpsCoreClientAsync) -> None:
    """What travelled along the edges is listed, and each is found by its id."""
    chain = [{"id": "a", "agent_id": "greeter"}, {"id": "b", "agent_id": "greeter", "depends_on": ["a"]}]
    await client.create_flow({"flow_id": "chain", "nodes": chain})
    done = await client.execute_and_wait("chain", {"name": "Ada"})
    listed = await client.list_messages(done.execution_id)
    assert listed.count == 1
    assert await client.get_message(listed.messages[0].message_id) == listed.messages[0]
