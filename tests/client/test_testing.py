from __future__ import annotations

import asyncio
import doctest
import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any, AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

import opscore_sdk.testing
from opscore.settings import Settings
from opscore.testing import open_client
from opscore_sdk import Agent, OpsCoreClientAsync
from opscore_sdk.testing import FakeOpsCore, FlowFailed

LIMIT = 10.0
HELLO = {"flow_id": "hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeOpsCore]:
    async with FakeOpsCore() as made:
        yield made


@pytest_asyncio.fixture
async def http(fake: FakeOpsCore) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(fake.url) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with http.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def run(http: aiohttp.ClientSession, flow_id: str, given: Any = None, **headers: str) -> tuple[int, Any]:
    body = {"flow_id": flow_id, "input_data": given or {}}
    return await ask(http, "POST", "/api/v1/flows/execute?wait=10", body, **headers)


# -- flows ---------------------------------------------------------------------------------------


async def plus_one(given: dict[str, Any]) -> dict[str, Any]:
    return {"n": given["n"] + 1}


@pytest.mark.parametrize(
    ("script", "output"),
    [(lambda given: {"n": given["n"] + 1}, {"n": 2}), (plus_one, {"n": 2}), ({"n": 5}, {"n": 5}), (None, {})],
)
async def test_a_flow_gives_what_its_script_says(
    fake: FakeOpsCore, http: aiohttp.ClientSession, script: Any, output: Any
) -> None:
    """A script is a function, an async function, an output, or nothing; inputs are noted."""
    flow = fake.on_flow("count", script)
    status, done = await run(http, "count", {"n": 1})
    assert (status, done["status"], done["result"]) == (200, "completed", output)
    assert flow.inputs == [{"n": 1}]


def no_name(_: Any) -> Any:
    raise FlowFailed("No name.", "BAD_DATA")


def broken(_: Any) -> Any:
    raise ValueError("oops")


@pytest.mark.parametrize(
    ("script", "code", "message"), [(no_name, "BAD_DATA", "No name."), (broken, "AGENT_ERROR", "ValueError: oops")]
)
async def test_a_script_may_fail(
    fake: FakeOpsCore, http: aiohttp.ClientSession, script: Any, code: str, message: str
) -> None:
    """With FlowFailed in its own words, with any other exception in that one's."""
    fake.on_flow("broken", script)
    _, done = await run(http, "broken")
    assert (done["status"], done["error_code"], done["error"]) == ("failed", code, message)


async def test_a_flow_may_be_told_to_fail(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """fail_flow needs no function; what is said later replaces it."""
    fake.fail_flow("f", "Out of paper.", "PRINTER")
    assert (await run(http, "f"))[1]["error_code"] == "PRINTER"
    fake.on_flow("f", {"ok": {}})
    assert (await run(http, "f"))[1]["status"] == "completed"


async def test_a_held_flow_runs_until_it_is_released(fake: FakeOpsCore) -> None:
    """Its executions are seen running for as long as the test wants; one that is waited for ends at once."""
    flow = fake.on_flow("slow", {"done": {}}, held=True)
    async with OpsCoreClientAsync(fake.url) as client:
        first, second = [(await client.execute_flow("slow"))["execution_id"] for _ in range(2)]
        assert (await client.get_execution(first))["status"] == "running"
        waiting = asyncio.ensure_future(client.wait_for_execution(first, timeout=LIMIT))
        await client.cancel_execution(second, "enough")
        flow.release()
        assert (await waiting)["status"] == "completed"
        assert (await client.get_execution(second))["status"] == "cancelled"
        flow.hold()
        third = (await client.execute_flow("slow"))["execution_id"]
        assert (await client.get_execution(third))["status"] == "running"


async def test_a_stream_of_events_ends_with_the_run(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """Events come as they happen, also after a number, and ``end`` comes last."""
    flow = fake.on_flow("slow", {"done": {}}, held=True)
    _, started = await ask(http, "POST", "/flows/execute", {"flow_id": "slow", "input_data": {}})
    path = f"/executions/{started['execution_id']}/events"
    async with http.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": "1"}) as stream:
        assert await stream.content.readline() == b"id: 2\n"
        assert await stream.content.readline() == b"event: execution.started\n"
        flow.release()
        rest = (await stream.read()).decode()
    assert "event: execution.completed" in rest
    assert rest.rstrip().split("\n\n")[-1].startswith("event: end")
    _, page = await ask(http, "GET", path + "?after=1&limit=1")
    assert ([event["seq"] for event in page["events"]], page["next_after"]) == ([2], 2)


async def test_an_idempotency_key_starts_one_execution(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """The same key and body give the same execution, another body is a conflict."""
    fake.on_flow("hello")
    ids = {(await run(http, "hello", {"n": 1}, **{"Idempotency-Key": "k"}))[1]["execution_id"] for _ in range(2)}
    assert ids == set(fake.executions)
    assert (await run(http, "hello", {"n": 2}, **{"Idempotency-Key": "k"}))[0] == 409


async def test_executions_are_listed_in_pages(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """Newest first, by flow, status and metadata, with a cursor that ends."""
    fake.on_flow("a")
    fake.fail_flow("b", "no")
    for number in range(5):
        body = {"flow_id": "ab"[number % 2], "input_data": {}, "metadata": {"n": str(number)}}
        await ask(http, "POST", "/flows/execute?wait=5", body)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        _, page = await ask(http, "GET", f"/executions?limit=2&cursor={cursor}")
        seen += [one["metadata"]["n"] for one in page["executions"]]
        cursor = page["next_cursor"]
    assert seen == ["4", "3", "2", "1", "0"]
    for query, count in (("flow_id=b", 2), ("status=completed&offset=1", 2), ("metadata.n=3", 1)):
        assert (await ask(http, "GET", f"/executions?{query}"))[1]["count"] == count


# -- failures ------------------------------------------------------------------------------------


async def test_requests_may_be_told_to_fail(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """The next so many requests of a method get a problem, and do nothing; then all is well."""
    fake.on_flow("hello")
    fake.fail_next(2, status=429, retry_after="7", method="POST")
    assert (await ask(http, "GET", "/health"))[0] == 200
    for _ in range(2):
        async with http.post("/flows/execute", json={"flow_id": "hello"}) as answer:
            problem = await answer.json()
            assert (answer.status, answer.headers["Retry-After"], problem["error_code"]) == (429, "7", "RATE_LIMITED")
            assert answer.content_type == "application/problem+json"
            assert answer.headers["X-Request-ID"] == problem["request_id"]
    assert not fake.executions
    assert (await run(http, "hello"))[0] == 200
    assert len(fake.requests_to("POST", "/flows/execute")) == 3


@pytest.mark.parametrize("after_work", [False, True])
async def test_connections_may_be_told_to_break(
    fake: FakeOpsCore, http: aiohttp.ClientSession, after_work: bool
) -> None:
    """Before anything is done, or after it, when only the answer is lost."""
    fake.on_flow("hello")
    fake.cut_next(after_work=after_work)
    with pytest.raises(aiohttp.ClientError):
        await run(http, "hello")
    assert len(fake.executions) == after_work
    assert (await run(http, "hello"))[0] == 200


async def test_requests_are_noted(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """With method, path without its prefix, query, headers and body."""
    await ask(http, "POST", "/api/v1/agents/test?x=1", {"endpoint": "http://a"}, **{"X-Y": "z"})
    (one,) = fake.requests
    assert one[:3] == ("POST", "/agents/test", {"x": "1"})
    assert (one.headers["x-y"], one.body) == ("z", {"endpoint": "http://a"})
    fake.reset()
    assert not fake.requests


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/flows/none", None, 404, "FLOW_NOT_FOUND"),
        ("GET", "/flows/hello?version=9", None, 404, "FLOW_NOT_FOUND"),
        ("GET", "/flows/hello?version=x", None, 400, "VALIDATION_ERROR"),
        ("POST", "/flows", {"nodes": []}, 400, "INVALID_FLOW"),
        ("POST", "/flows", [], 400, "VALIDATION_ERROR"),
        ("POST", "/flows", {**HELLO, "nodes": []}, 409, "CONFLICT"),
        ("POST", "/flows/execute", {"flow_id": "none"}, 404, "FLOW_NOT_FOUND"),
        ("POST", "/flows/execute", {}, 400, "VALIDATION_ERROR"),
        ("POST", "/flows/execute", {"flow_id": "hello", "input_data": 1}, 400, "VALIDATION_ERROR"),
        ("GET", "/executions/none", None, 404, "EXECUTION_NOT_FOUND"),
        ("GET", "/agents/none", None, 404, "AGENT_NOT_FOUND"),
        ("POST", "/agents", {}, 400, "VALIDATION_ERROR"),
        ("POST", "/agents", {"agent_id": "ada", "name": "Other"}, 409, "CONFLICT"),
        ("GET", "/v1/opscore/agent/ada/state", None, 404, "NO_STATE_YET"),
        ("POST", "/v1/opscore/agent/ada/state", {"agentId": "bob", "state": "idle"}, 400, "VALIDATION_ERROR"),
        ("POST", "/v1/opscore/agent/ada/state", {"agentId": "ada", "state": "happy"}, 400, "VALIDATION_ERROR"),
        ("POST", "/v1/opscore/agent/ada/workflow", {}, 400, "VALIDATION_ERROR"),
        ("POST", "/v1/opscore/agent/ada/workflow", {"workflowDefinitionId": "none"}, 404, "FLOW_NOT_FOUND"),
        ("GET", "/v1/opscore/session/none", None, 404, "EXECUTION_NOT_FOUND"),
        ("GET", "/nothing", None, 404, "NOT_FOUND"),
        ("PUT", "/executions", None, 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_is_wrong_is_a_problem(
    fake: FakeOpsCore, http: aiohttp.ClientSession, method: str, path: str, body: Any, status: int, code: str
) -> None:
    """Refusals have the status, the code and the shape of the real server's."""
    await ask(http, "POST", "/flows", HELLO)
    fake.add_agent("ada")
    got, problem = await ask(http, method, path, body)
    assert (got, problem["status"], problem["error_code"]) == (status, status, code)
    assert problem["detail"] == problem["message"]


async def test_a_key_is_asked_for_where_there_is_one() -> None:
    """Without it 401, with it the answer; health needs none."""
    async with FakeOpsCore(api_key="sk_test") as fake, aiohttp.ClientSession(fake.url) as http:
        assert (await ask(http, "GET", "/health"))[0] == 200
        assert (await ask(http, "GET", "/flows"))[0] == 401
        assert (await ask(http, "GET", "/flows", Authorization="Bearer other"))[0] == 401
        assert (await ask(http, "GET", "/flows", Authorization="Bearer sk_test"))[0] == 200
        assert (await ask(http, "GET", "/flows", **{"X-API-Key": "sk_test"}))[0] == 200


# -- the rest of the API -------------------------------------------------------------------------


ECHO = {"flow_id": "echo", "nodes": [{"id": "i", "type": "input"}]}
WORKER = {"agent_id": "worker", "endpoint": "http://127.0.0.1:9"}
IDLE = {"agentId": "worker", "state": "idle", "timestamp": "2026-01-31T12:00:00.000001Z"}
EVERYTHING: list[tuple[str, str, Any]] = [
    ("POST", "/agents", WORKER), ("POST", "/agents", WORKER), ("GET", "/agents", None), ("GET", "/agents/worker", None),
    ("GET", "/agents/active", None), ("POST", "/v1/opscore/agent/worker/state", IDLE),
    ("GET", "/v1/opscore/agent/worker/state", None), ("GET", "/agents/worker/history", None),
    ("GET", "/agents?state=idle", None),
    ("POST", "/flows", ECHO), ("POST", "/flows", ECHO), ("GET", "/flows/echo", None), ("GET", "/flows", None),
    ("PUT", "/flows/echo", {**ECHO, "name": "Echo"}), ("GET", "/flows/echo/versions", None),
    ("POST", "/flows/validate", ECHO), ("POST", "/flows/validate", {}),
    ("POST", "/flows/execute?wait=10", {"flow_id": "echo", "input_data": {"n": 1}}),
    ("GET", "/executions", None), ("GET", "/executions/ID", None), ("GET", "/executions/ID/results", None),
    ("GET", "/executions/ID/messages", None), ("GET", "/executions/ID/events", None),
    ("POST", "/executions/ID/cancel", {}), ("GET", "/v1/opscore/session/ID", None),
    ("POST", "/v1/opscore/agent/worker/workflow", {"workflowDefinitionId": "echo"}),
    ("GET", "/health", None), ("GET", "/status", None),
    ("DELETE", "/flows/echo", None), ("DELETE", "/flows/echo", None),
    ("DELETE", "/agents/worker", None), ("DELETE", "/agents/worker", None),
]  # fmt: skip


async def test_the_fake_answers_as_the_server_does(http: aiohttp.ClientSession) -> None:
    """The same calls give the same statuses, and all the fields that the real answers have."""

    async def told(session: Any) -> list[tuple[int, Any]]:
        answers: list[tuple[int, Any]] = []
        execution_id = ""
        for method, path, body in EVERYTHING:
            path_now = path.replace("ID", execution_id) if "/ID" in path else path
            async with session.request(method, path_now, json=body) as answer:
                answers.append((answer.status, await answer.json()))
            if path.startswith("/flows/execute"):
                execution_id = answers[-1][1]["execution_id"]
        return answers

    fakes = await told(http)
    async with open_client(Settings(database="sqlite:///:memory:", drain_timeout=0.1)) as server:
        reals = await told(server)
    different = [
        (method, path, fake[0], real[0], lacking(fake[1], real[1]))
        for (method, path, _), fake, real in zip(EVERYTHING, fakes, reals)
        if fake[0] != real[0] or lacking(fake[1], real[1])
    ]
    assert different == []


def lacking(fake: Any, real: Any, place: str = "") -> list[str]:
    """The fields of a real answer that a fake one has not."""
    if isinstance(real, list) and isinstance(fake, list):
        return lacking(fake[0], real[0], f"{place}[]") if fake and real else []
    if not isinstance(real, dict) or not isinstance(fake, dict):
        return []
    missing = [f"{place}.{name}" for name in real if name not in fake]
    return missing + [text for name in real if name in fake for text in lacking(fake[name], real[name], name)]


async def test_an_agent_registers_and_reports_to_the_fake(fake: FakeOpsCore) -> None:
    """What an Agent says of itself can be looked at."""
    agent = Agent("worker", base_url=fake.url, capabilities=["working"])
    agent(lambda given: None)
    async with agent.serving() as url:
        await agent.registered(LIMIT)
        assert fake.agents["worker"]["endpoint"] == url
    assert fake.states("worker")[-1] == "offline"


async def test_sessions_are_executions(fake: FakeOpsCore, http: aiohttp.ClientSession) -> None:
    """A workflow of a definition given along runs its flow; its session is told in the dialect's words."""
    fake.add_agent("ada")
    fake.on_flow("read", {"collect": {"text": "..."}})
    workflow = {"workflowDefinition": {"id": "read", "tasks": [{"taskId": "collect"}]}, "initialPayload": {"a": 1}}
    status, started = await ask(http, "POST", "/v1/opscore/agent/ada/workflow", workflow)
    assert (status, started["workflowId"]) == (202, "read")
    await ask(http, "GET", f"/executions/{started['sessionId']}?wait=10")
    _, session = await ask(http, "GET", f"/v1/opscore/session/{started['sessionId']}")
    assert (session["status"], session["result"], session["agentId"]) == (
        "completed",
        {"collect": {"text": "..."}},
        "ada",
    )
    assert fake.executions[started["sessionId"]].record["input_data"] == {"a": 1}


async def test_a_flow_may_come_as_yaml(http: aiohttp.ClientSession, fake: FakeOpsCore) -> None:
    """Where PyYAML is there; and versions are kept."""
    headers = {"Content-Type": "application/yaml"}
    async with http.post("/flows", data="flow_id: y\nnodes: [{id: a}]", headers=headers) as answer:
        assert answer.status == 201
    async with http.put("/flows/y", data="flow_id: y\nnodes: [{id: b}]", headers=headers) as answer:
        assert (await answer.json())["flow_version"] == 2
    async with http.post("/flows", data="{", headers=headers) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (400, "INVALID_YAML")
    _, versions = await ask(http, "GET", "/flows/y/versions")
    assert [one["flow_version"] for one in versions["versions"]] == [2, 1]
    assert fake.flows["y"]["nodes"] == [{"id": "b"}]


# -- its life ------------------------------------------------------------------------------------


async def test_it_is_an_application_too() -> None:
    """Aiohttp's TestServer can run it."""
    fake = FakeOpsCore()
    fake.on_flow("hello", {"greet": {}})
    body = {"flow_id": "hello", "input_data": {}}
    async with (
        TestServer(fake.app()) as server,
        TestClient(server) as client,
        client.post("/flows/execute?wait=5", json=body) as answer,
    ):
        assert (await answer.json())["status"] == "completed"


def test_it_serves_tests_that_block() -> None:
    """``with`` runs it in a thread; scripts, holds and releases work from outside."""
    with FakeOpsCore() as fake:
        flow = fake.on_flow("slow", {"done": {}}, held=True)
        body = json.dumps({"flow_id": "slow", "input_data": {}}).encode()
        with urllib.request.urlopen(f"{fake.url}/flows/execute", body, LIMIT) as answer:
            execution_id = json.load(answer)["execution_id"]
        assert fake.executions[execution_id].record["status"] in ("pending", "running")
        flow.release()
        with urllib.request.urlopen(f"{fake.url}/executions/{execution_id}?wait=10", timeout=LIMIT) as answer:
            assert json.load(answer)["status"] == "completed"
        url = fake.url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=LIMIT)
    with pytest.raises(RuntimeError, match="does not listen"):
        _ = fake.url


async def test_it_ends_while_executions_are_held() -> None:
    """Nothing that runs keeps it, and no task is left."""
    before = asyncio.all_tasks()
    async with FakeOpsCore() as fake, aiohttp.ClientSession(fake.url) as http:
        fake.on_flow("slow", held=True)
        await ask(http, "POST", "/flows/execute", {"flow_id": "slow", "input_data": {}})
        with pytest.raises(RuntimeError, match="already"):
            await fake.start()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("module", ["opscore_sdk.testing", "opscore_sdk.agent", "opscore_sdk.agent_work"])
def test_examples_in_docstrings_run(module: str) -> None:
    """What the documentation shows is so."""
    results = doctest.testmod(sys.modules[module])
    assert results.attempted > 0
    assert results.failed == 0


def test_the_testing_helpers_need_no_server() -> None:
    """They import nothing of opscore, nor of pytest, and are named in __all__."""
    code = (
        "import sys, opscore_sdk.testing as t; assert all(hasattr(t, name) for name in t.__all__);"
        "assert not {'opscore', 'pytest', 'yaml'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert opscore_sdk.testing.__doc__
