from __future__ import annotations

import json
from typing import Any, AsyncIterator

import pytest_asyncio
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient

from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.api import answer_schemas
from opscore.web.api import insight_schemas as schemas

FLOW = {
    "flow_id": "two",
    "nodes": [{"id": "a", "agent_id": "echo"}, {"id": "b", "agent_id": "echo", "depends_on": ["a"]}],
}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient]:
    async def echo(given: dict[str, Any]) -> dict[str, Any]:
        return {"n": given.get("n", 0) + 1}

    async with open_client(local_agents={"echo": echo}) as opened:
        await opened.post("/flows", json=FLOW)
        yield opened


async def call(client: TestClient, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with client.request(method, path, **options) as answer:
        return answer.status, json.loads(await answer.read())


async def test_whoami_without_a_key_where_none_is_needed(client: TestClient) -> None:
    """Where no key is needed, whoever asks without one may do everything; a wrong key is refused all the same."""
    for path in ("/whoami", "/api/v1/whoami"):
        status, body = await call(client, "GET", path)
        assert (status, schemas.IdentitySchema().validate(body)) == (200, {})
        assert body == {
            "key_required": False,
            "authenticated": False,
            "key_id": None,
            "name": None,
            "scopes": ["read", "write", "admin"],
        }
    status, refused = await call(client, "GET", "/whoami", headers={"X-API-Key": "sk_ops_wrong"})
    assert (status, refused["error_code"]) == (401, "UNAUTHENTICATED")


async def test_whoami_with_keys() -> None:
    """A key is told its name and all that it may do, no key that one is needed; a wrong one is refused."""
    async with open_client(Settings(database="sqlite:///:memory:", api_key="sk_first", drain_timeout=0.1)) as client:
        assert (await call(client, "GET", "/whoami"))[1]["scopes"] == ["read", "write", "admin"]
        for scopes, allowed in ((["read"], ["read"]), (["write"], ["read", "write"])):
            _, made = await call(client, "POST", "/keys", json={"name": "of mine", "scopes": scopes})
            headers = {"Authorization": f"Bearer {made['key']}"}
            _, body = await call(client, "GET", "/whoami", headers=headers)
            assert body == {
                "key_required": True,
                "authenticated": True,
                "key_id": made["key_id"],
                "name": "of mine",
                "scopes": allowed,
            }
        async with ClientSession() as stranger:
            for path in ("/whoami", "/api/v1/whoami"):
                answer = await stranger.get(client.make_url(path))
                told = await answer.json()
                assert (answer.status, schemas.IdentitySchema().validate(told)) == (200, {})
                assert (told["key_required"], told["authenticated"], told["scopes"]) == (True, False, [])
            assert (await stranger.get(client.make_url("/overview"))).status == 401
        for wrong in ("Bearer sk_ops_wrong", "Bearer", "Basic abc"):
            assert (await call(client, "GET", "/whoami", headers={"Authorization": wrong}))[0] == 401


async def test_the_graph_of_a_flow(client: TestClient) -> None:
    """A graph has what the definition means: names, edges, first and last nodes, in the version asked for."""
    for path in ("/flows/two/graph", "/api/v1/flows/two/graph?version=1"):
        status, body = await call(client, "GET", path)
        assert (status, schemas.GraphSchema().validate(body)) == (200, {})
        assert (body["flow_id"], body["flow_version"], body["kind"]) == ("two", 1, "flow")
        assert [node["id"] for node in body["nodes"]] == ["a", "b"]
        assert (body["edges"], body["entries"], body["exits"]) == ([{"from": "a", "to": "b"}], ["a"], ["b"])
    assert (await call(client, "GET", "/flows/nothing/graph"))[0] == 404
    assert (await call(client, "GET", "/flows/two/graph?version=2"))[0] == 404
    assert (await call(client, "GET", "/flows/two/graph?version=x"))[0] == 400


async def test_the_graph_of_a_workflow(client: TestClient) -> None:
    """A workflow of the dialect has a graph too; tasks that name nobody are left to the session's agent."""
    tasks = [
        {"taskId": "second", "agentCapability": "greet", "nextTaskId": None, "timeoutSeconds": 9},
        {"taskId": "first", "nextTaskId": "second", "maxRetries": 1, "fallbackAgentId": "echo"},
    ]
    definition = {"id": "wf", "name": "W", "tasks": tasks}
    status, _ = await call(client, "POST", "/v1/opscore/agent/echo/workflow", json={"workflowDefinition": definition})
    assert status == 202
    _, body = await call(client, "GET", "/flows/wf/graph")
    assert schemas.GraphSchema().validate(body) == {}
    assert (body["kind"], body["entries"], body["edges"]) == (
        "workflow",
        ["first"],
        [{"from": "first", "to": "second"}],
    )
    first, second = body["nodes"]
    assert (first["agent_id"], first["capability"], first["max_attempts"]) == (None, None, 2)
    assert (first["fallback_agent_id"], second["capability"], second["timeout"]) == ("echo", "greet", 9)


async def test_the_overview_counts_what_happened(client: TestClient) -> None:
    """What was started and what failed is in the overview: in all, in the window, in a bucket, and as a failure."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    node = {"id": "n", "agent_id": "gone", "retry": {"max_attempts": 1}}
    await call(client, "POST", "/flows", json={"flow_id": "bad", "nodes": [node]})
    await call(client, "POST", "/flows/execute?wait=5", json={"flow_id": "two", "input_data": {}})
    _, failed = await call(client, "POST", "/flows/execute?wait=5", json={"flow_id": "bad", "input_data": {}})
    status, body = await call(client, "GET", "/api/v1/overview")
    assert (status, schemas.OverviewSchema().validate(body)) == (200, {})
    assert body["executions"] == {
        "open": {"pending": 0, "running": 0, "paused": 0},
        "window": {"started": 2, "completed": 1, "failed": 1, "cancelled": 0},
        "totals": {"completed": 1, "failed": 1, "cancelled": 0},
    }
    assert (len(body["throughput"]), body["window_seconds"]) == (60, 3600)
    assert sum(bucket["failed"] for bucket in body["throughput"]) == 1
    assert (body["agents"]["total"], body["waiting"], body["queued"]["count"]) == (2, [], 0)
    assert [one["execution_id"] for one in body["recent_failures"]] == [failed["execution_id"]]
    (needed,) = [one for one in body["attention"] if one["kind"] == "executions_failed"]
    assert (needed["flow_id"], needed["severity"]) == ("bad", "error")
    assert "AGENT_UNREACHABLE" in needed["text"]


async def test_the_window_of_an_overview(client: TestClient) -> None:
    """A window is a whole number of seconds within a day, and is rounded up to sixty spans of whole seconds."""
    for given, answered in ((60, 60), (61, 120), (3600, 3600), (86_400, 86_400)):
        assert (await call(client, "GET", f"/overview?window={given}"))[1]["window_seconds"] == answered
    for wrong in ("59", "86401", "x", "", "1e3", "-60"):
        status, refused = await call(client, "GET", f"/overview?window={wrong}")
        assert (status, refused["error_code"]) == (400, "VALIDATION_ERROR")


async def test_an_execution_that_waits_is_explained(client: TestClient) -> None:
    """Whoever asks is told which node waits for what since when, what would move it, and later how it ended."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    node = {"id": "n", "agent_id": "gone", "retry": {"max_attempts": 3, "initial_interval": 60}}
    await call(client, "POST", "/flows", json={"flow_id": "stuck", "nodes": [node]})
    _, started = await call(client, "POST", "/flows/execute?wait=0.05", json={"flow_id": "stuck", "input_data": {}})
    path = f"/executions/{started['execution_id']}"
    while not (await call(client, "GET", path))[1]["waiting"]:
        pass
    status, body = await call(client, "GET", f"/api/v1{path}/explanation")
    assert (status, schemas.ExplanationSchema().validate(body)) == (200, {})
    (cause,) = body["causes"]
    assert (cause["what"], cause["node_id"], cause["agent_id"]) == ("retry", "n", "gone")
    assert (cause["attempt"], cause["error_code"]) == (1, "AGENT_UNREACHABLE")
    assert "attempt 2 of 3 after AGENT_UNREACHABLE" in cause["would_move"]
    assert body["summary"].startswith("Running for ")
    await call(client, "POST", f"{path}/cancel", json={"reason": "of no use"})
    _, body = await call(client, "GET", f"{path}/explanation")
    assert schemas.ExplanationSchema().validate(body) == {}
    assert (body["status"], body["causes"][0]["what"]) == ("cancelled", "ended")
    assert 'Cancelled: of no use. Not ended by then: node "n" (agent "gone").' in body["summary"]
    assert (await call(client, "GET", "/executions/nothing/explanation"))[0] == 404


async def test_many_executions_are_cancelled_each_for_itself(client: TestClient) -> None:
    """Those that run end, those that have ended or never were are named with the reason; a repeat changes nothing."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    node = {"id": "n", "agent_id": "gone", "retry": {"max_attempts": 3, "initial_interval": 60}}
    await call(client, "POST", "/flows", json={"flow_id": "stuck", "nodes": [node]})
    body = {"flow_id": "stuck", "input_data": {}}
    started = [(await call(client, "POST", "/flows/execute", json=body))[1]["execution_id"] for _ in range(120)]
    _, done = await call(client, "POST", "/flows/execute?wait=5", json={"flow_id": "two", "input_data": {}})
    asked = {"execution_ids": [*started, done["execution_id"], "nothing", started[0]], "reason": "of no use"}
    for path in ("/executions/cancel", "/api/v1/executions/cancel"):
        status, answer = await call(client, "POST", path, json=asked)
        assert (status, answer_schemas.CancelledManySchema().validate(answer)) == (200, {})
        assert answer["cancelled"] == started
        assert {one["execution_id"]: one["error_code"] for one in answer["refused"]} == {
            done["execution_id"]: "EXECUTION_FINISHED",
            "nothing": "EXECUTION_NOT_FOUND",
        }
    _, found = await call(client, "GET", f"/executions/{started[-1]}")
    assert (found["status"], found["error_message"]) == ("cancelled", "Cancelled: of no use")


async def test_cancelling_many_needs_the_right_to_write() -> None:
    """A key that may only read sees everything and cancels nothing."""
    async with open_client(Settings(database="sqlite:///:memory:", api_key="sk_first", drain_timeout=0.1)) as client:
        _, made = await call(client, "POST", "/keys", json={"name": "reader", "scopes": ["read"]})
        headers = {"Authorization": f"Bearer {made['key']}"}
        for path in ("/whoami", "/overview", "/performance"):
            assert (await call(client, "GET", path, headers=headers))[0] == 200
        asked = {"execution_ids": ["x"]}
        status, refused = await call(client, "POST", "/executions/cancel", json=asked, headers=headers)
        assert (status, refused["error_code"]) == (403, "FORBIDDEN")


async def test_executions_are_searched(client: TestClient) -> None:
    """``q`` finds beginnings of ids, and parts of flow ids, errors and users, in any case; nothing is a pattern."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    node = {"id": "n", "agent_id": "gone", "retry": {"max_attempts": 1}}
    await call(client, "POST", "/flows", json={"flow_id": "Bad_one", "nodes": [node]})
    _, bad = await call(client, "POST", "/flows/execute?wait=5", json={"flow_id": "Bad_one", "input_data": {}})
    body = {"flow_id": "two", "input_data": {}, "user_id": "Ada%Lovelace"}
    _, good = await call(client, "POST", "/flows/execute?wait=5", json=body)
    assert bad["status"] == "failed"
    both, one, other = [good["execution_id"], bad["execution_id"]], [bad["execution_id"]], [good["execution_id"]]
    for sought, expected in (
        (bad["execution_id"], one),
        (good["execution_id"].upper(), other),
        (bad["execution_id"][:4], both),
        (bad["execution_id"][9:], []),
        ("d_o", one),
        ("dXo", []),
        ("unreachable", one),
        ("ADA%25love", other),
        ("a%25e", []),
        ("!", []),
        ("'%22--", []),
    ):
        _, page = await call(client, "GET", f"/executions?q={sought}")
        assert [found["execution_id"] for found in page["executions"]] == expected, sought
    assert (await call(client, "GET", "/executions?q=two&status=failed"))[1]["count"] == 0


async def test_the_performance_of_agents_flows_and_nodes(client: TestClient) -> None:
    """Steps and executions that ended are counted and timed by agent, by flow and by node, and may be filtered."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    node = {"id": "n", "agent_id": "gone", "retry": {"max_attempts": 2, "initial_interval": 0.01}}
    await call(client, "POST", "/flows", json={"flow_id": "bad", "nodes": [node]})
    for flow_id in ("two", "two", "bad"):
        await call(client, "POST", "/flows/execute?wait=5", json={"flow_id": flow_id, "input_data": {}})
    rows = {}
    for by, query in (
        ("agent", ""), ("flow", ""), ("node", ""), ("agent", "&flow_id=two"), ("flow", "&agent_id=gone"),
        ("node", "&agent_id=nobody"), ("node", "&limit=1"),
    ):  # fmt: skip
        status, body = await call(client, "GET", f"/api/v1/performance?by={by}{query}")
        assert (status, schemas.PerformanceSchema().validate(body)) == (200, {})
        assert (body["by"], body["window_seconds"], body["truncated"]) == (by, 3600, False)
        assert body["count"] == len(body["rows"])
        rows[by + query] = {
            "/".join(row[name] for name in ("agent_id", "flow_id", "node_id") if name in row): row
            for row in body["rows"]
        }
    counts = {
        group: {name: (row["count"], row["failures"], row["retries"]) for name, row in found.items()}
        for group, found in rows.items()
    }
    assert len(counts.pop("node&limit=1")) == 1
    assert counts == {
        "agent": {"gone": (1, 1, 1), "echo": (4, 0, 0)},
        "flow": {"bad": (1, 1, 1), "two": (2, 0, 0)},
        "node": {"bad/n": (1, 1, 1), "two/a": (2, 0, 0), "two/b": (2, 0, 0)},
        "agent&flow_id=two": {"echo": (4, 0, 0)},
        "flow&agent_id=gone": {"bad": (1, 1, 1)},
        "node&agent_id=nobody": {},
    }
    assert rows["flow"]["two"]["execution_ms"]["max"] >= rows["flow"]["two"]["call_ms"]["max"] > 0
    assert "execution_ms" not in rows["agent"]["echo"]
    assert (await call(client, "GET", "/performance"))[1]["by"] == "agent"
