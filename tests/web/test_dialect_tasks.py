"""Tasks of agents that answer later, as the dialect shows and ends them; AgentKit is a stand-in that only notes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Optional

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.config import OPERATIONS

NOTIFY = "/v1/opscore/internal/agent/notify"
STATES: list[Any] = [("success", {"output": {"n": 1}}), ("error", {"error": "no ink"})]


class AgentKit:
    """Takes every task, and tells what it was given."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self, request: web.Request) -> web.Response:
        await self.tasks.put(await request.json())
        return web.json_response({}, status=202)

    async def task(self) -> dict[str, Any]:
        """The next task that is handed over."""
        return await asyncio.wait_for(self.tasks.get(), 10)


@asynccontextmanager
async def fleet(*agents: str) -> AsyncIterator[tuple[TestClient, AgentKit]]:
    """A server with agents that AgentKit announced."""
    kit, app = AgentKit(), web.Application()
    app.router.add_post("/v1/agents/{id}/run", kit.run)
    async with TestServer(app) as stand_in:
        url = str(stand_in.make_url("/")).rstrip("/")
        settings = Settings(database="sqlite:///:memory:", drain_timeout=0.1, agentkit_api_url=url)
        async with open_client(settings) as client:
            for agent_id in agents:
                details = {"agentId": agent_id, "capabilities": ["reading"]}
                await post(client, NOTIFY, {"event_type": "REGISTER", "agent_details": details})
            yield client, kit


async def post(client: TestClient, path: str, body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as answer:
        return answer.status, json.loads(await answer.read())


async def get(client: TestClient, path: str) -> Any:
    async with client.get(path) as answer:
        return await answer.json()


async def trigger(client: TestClient, agent_id: str, *tasks: dict[str, Any], **more: Any) -> str:
    definition = {"id": "w", "name": "W", "tasks": [{"maxRetries": 0, **task} for task in tasks]}
    path = f"/v1/opscore/agent/{agent_id}/workflow"
    _, body = await post(client, path, {"workflowDefinition": definition, **more})
    found: str = body["sessionId"]
    return found


async def report(client: TestClient, agent_id: str, state: str, second: int, **details: Any) -> int:
    body = {"agentId": agent_id, "timestamp": f"2026-01-31T12:00:{second:02}Z", "state": state, "details": details}
    return (await post(client, f"/v1/opscore/agent/{agent_id}/state", body))[0]


async def complete(client: TestClient, task_id: str, status: str, **more: Any) -> tuple[int, Optional[str]]:
    answered, body = await post(client, f"/v1/opscore/task/{task_id}/complete", {"status": status, **more})
    return answered, body.get("error_code")


async def ended(client: TestClient, session_id: str) -> Any:
    await client.server.app[OPERATIONS].executions.wait(session_id, 10)
    return await get(client, f"/v1/opscore/session/{session_id}")


async def test_a_session_of_an_agent_that_reports() -> None:
    """Each task goes to AgentKit with its payload, is shown with its agent, and ends with the agent's word."""
    async with fleet("ada") as (client, kit):
        tasks = {"taskId": "a", "name": "A", "parameters": {"n": 1}}, {"taskId": "b", "parameters": {"n": 2}}
        session_id = await trigger(client, "ada", *tasks)
        first = await kit.task()
        assert (first["opscore_session_id"], first["opscore_task_id"]) == (session_id, f"{session_id}:a")
        assert (first["task_name"], first["payload"]) == ("A", {"n": 1})
        agent = await get(client, "/agents/ada")
        assert agent["task_id"] == f"{session_id}:a"
        for second, state in enumerate(("active", "idle"), 1):
            assert await report(client, "ada", state, second, result={"done": 1}) == 202
        assert (await kit.task())["payload"] == {"n": 2}
        assert await report(client, "ada", "finished", 3, opscore_task_id=f"{session_id}:b") == 202
        session = await ended(client, session_id)
    assert (session["status"], session["result"]) == ("completed", {"b": {}})
    assert [(one["agentId"], one["output"]) for one in session["tasks"]] == [("ada", {"done": 1}), ("ada", {})]


@pytest.mark.parametrize(("word", "told"), STATES)
@pytest.mark.parametrize("whole", [True, False])
async def test_an_agent_may_close_its_task(word: str, told: dict[str, Any], whole: bool) -> None:
    """A completion ends the open task, by either of its names; again is no error, and the other word is a conflict."""
    async with fleet("ada") as (client, kit):
        session_id = await trigger(client, "ada", {"taskId": "a"})
        handed = (await kit.task())["opscore_task_id"]
        assert await complete(client, handed if whole else "a", word, **told) == (200, None)
        session = await ended(client, session_id)
        shown = session["tasks"][0]
        expected = ("completed", {"n": 1}, None) if word == "success" else ("failed", None, "no ink")
        assert (session["status"], shown["output"], shown["error"]) == expected
        assert await complete(client, handed, word) == (200, None)
        other = "error" if word == "success" else "success"
        assert await complete(client, handed, other) == (409, "TASK_NOT_OPEN")
        assert await complete(client, "a", word) == (404, "TASK_NOT_FOUND")
        assert await get(client, f"/v1/opscore/session/{session_id}") == session
        assert (await get(client, "/agents/ada"))["task_id"] is None


ERRORS: list[tuple[Any, str, str]] = [
    (None, "AGENT_ERROR", "The agent reported an error and gave no message."),
    ("", "AGENT_ERROR", "The agent reported an error and gave no message."),
    ("no ink", "AGENT_ERROR", "no ink"),
    ({"message": "no ink", "code": "INK"}, "INK", "no ink"),
    ({"error_message": "no ink", "error_code": "INK"}, "INK", "no ink"),
    ({"code": 7, "message": ["a"]}, "AGENT_ERROR", '["a"]'),
    ({"code": "x" * 101}, "AGENT_ERROR", '{"code":"' + "x" * 101 + '"}'),
    ({"code": "a\nb", "message": "m"}, "AGENT_ERROR", "m"),
    (["a", 1], "AGENT_ERROR", '["a",1]'),
    (0, "AGENT_ERROR", "0"),
    ("a\x00b", "AGENT_ERROR", "a\ufffdb"),
    ("x" * 5000, "AGENT_ERROR", "x" * 1000),
]


async def test_an_error_may_have_any_shape() -> None:
    """Text, an object with a message and a code, or whatever else: the task has a code and a text of bounded length."""
    async with fleet("ada") as (client, kit):
        for error, code, text in ERRORS:
            session_id = await trigger(client, "ada", {"taskId": "a"})
            await kit.task()
            assert await complete(client, f"{session_id}:a", "error", error=error) == (200, None)
            shown = (await ended(client, session_id))["tasks"][0]
            assert (shown["errorCode"], shown["error"]) == (code, text)


async def test_an_output_may_be_any_value() -> None:
    """An output that is no object becomes one; nothing is an empty one."""
    async with fleet("ada") as (client, kit):
        for output, kept in (
            (None, {}),
            ({}, {}),
            (0, {"value": 0}),
            ([1], {"value": [1]}),
            ("\x00", {"value": "\x00"}),
        ):
            session_id = await trigger(client, "ada", {"taskId": "a"})
            await kit.task()
            assert await complete(client, f"{session_id}:a", "success", output=output) == (200, None)
            assert (await ended(client, session_id))["result"] == {"a": kept}


async def test_a_task_that_several_sessions_have_is_named_whole() -> None:
    """The name alone is a conflict where two agents hold a task of it; the whole name is none."""
    async with fleet("ada", "bob") as (client, kit):
        first = await trigger(client, "ada", {"taskId": "a"})
        await kit.task()
        second = await trigger(client, "bob", {"taskId": "a"})
        await kit.task()
        assert await complete(client, "a", "success") == (409, "TASK_AMBIGUOUS")
        assert await complete(client, f"{first}:a", "success") == (200, None)
        assert await complete(client, "a", "success") == (200, None)
        for session_id in (first, second):
            assert (await ended(client, session_id))["status"] == "completed"


async def test_completions_at_the_same_moment_end_a_task_once() -> None:
    """Of many words at once the first one counts; equal ones are no error, the others a conflict."""
    async with fleet("ada") as (client, kit):
        session_id = await trigger(client, "ada", {"taskId": "a"})
        await kit.task()
        words = ["success", "error"] * 4
        said = [complete(client, f"{session_id}:a", word, output={"n": n}) for n, word in enumerate(words)]
        found = await asyncio.gather(*said)
        shown = (await ended(client, session_id))["tasks"][0]
        won = "success" if shown["status"] == "completed" else "error"
        assert found == [(200, None) if word == won else (409, "TASK_NOT_OPEN") for word in words]
        assert shown["attempt"] == 1


async def test_an_agent_has_one_task_at_a_time() -> None:
    """A second session waits, with the reason, until the agent has ended the first one's task."""
    async with fleet("ada") as (client, kit):
        first = await trigger(client, "ada", {"taskId": "a"})
        await kit.task()
        second = await trigger(client, "ada", {"taskId": "a"})
        waiting = (await get(client, f"/v1/opscore/session/{second}"))["tasks"][0]
        assert (waiting["status"], waiting["waitingFor"]) == ("waiting", "agent")
        assert f"{first}:a" in waiting["waitingDetail"]
        assert (await get(client, f"/v1/opscore/session/{second}"))["status"] == "started"
        assert await complete(client, f"{second}:a", "success") == (409, "TASK_NOT_OPEN")
        assert kit.tasks.empty()
        assert await complete(client, f"{first}:a", "success") == (200, None)
        assert (await kit.task())["opscore_session_id"] == second


async def test_a_capable_agent_is_chosen() -> None:
    """A task that asks for a capability goes to an agent that has it and is free, whoever the session is for."""
    async with fleet("ada", "bob") as (client, kit):
        assert await report(client, "ada", "active", 1) == 202
        session_id = await trigger(client, "ada", {"taskId": "a", "agentCapability": "reading"})
        assert (await kit.task())["opscore_session_id"] == session_id
        shown = (await get(client, f"/v1/opscore/session/{session_id}"))["tasks"][0]
        assert (shown["agentId"], shown["agentCapability"], shown["status"]) == ("bob", "reading", "waiting")


async def test_the_initial_payload_reaches_the_agent_alone() -> None:
    """It takes the place of the first task's parameters; the others get their own."""
    async with fleet("ada") as (client, kit):
        tasks = {"taskId": "a", "parameters": {"n": 1}}, {"taskId": "b", "parameters": {"m": 1}}
        session_id = await trigger(client, "ada", *tasks, initialPayload={"k": 2})
        assert (await kit.task())["payload"] == {"k": 2}
        await complete(client, f"{session_id}:a", "success", output={"x": 1})
        assert (await kit.task())["payload"] == {"m": 1}
