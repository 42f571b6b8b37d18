from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any, AsyncIterator

import pytest_asyncio
from aiohttp.test_utils import TestClient
from marshmallow import INCLUDE, RAISE

from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.api import ROUTES, answer_schemas

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


async def call(client: TestClient, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
    async with client.request(method, path, **options) as answer:
        return answer.status, json.loads(await answer.read()), answer.headers


async def test_answers_are_as_documented(client: TestClient) -> None:
    """Every answer validates against the schema that the documentation shows for it."""
    _, started, headers = await call(
        client, "POST", "/flows/execute?wait=5", json={"flow_id": "two", "input_data": {"n": 1}}
    )
    path = f"/executions/{started['execution_id']}"
    assert headers["Location"] == path
    assert started["result"] == {"b": {"n": 3}}
    cases = [
        ("GET", path, answer_schemas.ExecutionSchema()),
        ("GET", "/executions", answer_schemas.ExecutionsSchema()),
        ("GET", f"{path}/results", answer_schemas.ResultsSchema()),
        ("GET", f"{path}/messages", answer_schemas.MessagesSchema()),
        ("GET", f"/messages/{started['execution_id']}.a.b", answer_schemas.MessageSchema()),
        ("GET", f"{path}/events", answer_schemas.EventsSchema()),
        ("GET", f"{path}/stream", answer_schemas.EventsSchema()),
        ("GET", "/flows", answer_schemas.FlowsSchema()),
        ("GET", "/flows/two", answer_schemas.FlowSchema()),
        ("GET", "/flows/two/versions", answer_schemas.VersionsSchema()),
        ("POST", "/flows/validate", answer_schemas.ReportSchema()),
        ("GET", "/agents", answer_schemas.AgentsSchema()),
        ("GET", "/agents/active", answer_schemas.AgentsSchema()),
        ("GET", "/agents/echo", answer_schemas.AgentSchema()),
        ("GET", "/health", answer_schemas.HealthSchema()),
        ("GET", "/health/live", answer_schemas.HealthSchema()),
        ("GET", "/health/ready", answer_schemas.HealthSchema()),
        ("GET", "/status", answer_schemas.StatusSchema()),
        ("GET", "/metrics", answer_schemas.MetricsSchema()),
    ]
    for method, where, schema in cases:
        options: dict[str, Any] = {"headers": {"Accept": "application/json"}}
        if method == "POST":
            options["json"] = FLOW
        for prefix in ("", "/api/v1"):
            status, body, _ = await call(client, method, prefix + where, **options)
            assert status == 200, where
            # A flow's answer is its author's definition, which may hold anything beside what is required.
            schema.unknown = INCLUDE if isinstance(schema, answer_schemas.FlowSchema) else RAISE
            if not isinstance(schema, (answer_schemas.FlowsSchema, answer_schemas.VersionsSchema)):
                assert schema.validate(body) == {}, where


async def test_every_route_is_documented(client: TestClient) -> None:
    """The OpenAPI document has every route of the API, and each of its references leads somewhere."""
    _, document, _ = await call(client, "GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    for route in ROUTES:
        assert route.method.lower() in document["paths"][route.path], route.path
    for name in ("events", "stream"):
        content = document["paths"]["/executions/{execution_id}/" + name]["get"]["responses"]["200"]["content"]
        assert content.keys() == {"application/json", "text/event-stream"}
    text = json.dumps(document)
    for part in text.split('"$ref": "')[1:]:
        found: Any = document
        for name in part.split('"')[0][2:].split("/"):
            found = found[name]


async def test_pages_work_without_the_network(client: TestClient) -> None:
    """Both pages and all they load come from this server, under a strict policy."""
    for page in ("/docs", "/redoc"):
        async with client.get(page) as answer:
            text = await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for part in text.split('="/')[1:]:
            async with client.get("/" + part.split('"')[0]) as loaded:
                assert loaded.status == 200
        assert "http" not in text


async def test_a_repeated_start_is_the_same_execution(client: TestClient) -> None:
    """The same key and body give the same answer, another body a conflict."""
    body = {"flow_id": "two", "input_data": {"n": 1}}
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *[call(client, "POST", "/flows/execute", json=body, headers=headers) for _ in range(8)]
    )
    assert len({json.dumps(answer) for _, answer, _ in answers}) == 1
    status, refused, _ = await call(client, "POST", "/flows/execute", json={**body, "input_data": {}}, headers=headers)
    assert (status, refused["error_code"]) == (409, "CONFLICT")


async def test_get_waits_for_the_end_of_an_execution(client: TestClient) -> None:
    """With ``wait`` an execution is answered when it has ended, or after that time as it then stands."""
    await call(client, "POST", "/agents", json={"agent_id": "gone", "endpoint": "http://127.0.0.1:9"})
    stuck = {"agent_id": "gone", "retry": {"max_attempts": 2, "initial_interval": 60}}
    await call(client, "POST", "/flows", json={"flow_id": "stuck", "nodes": [{"id": "n", **stuck}]})
    _, started, _ = await call(client, "POST", "/flows/execute", json={"flow_id": "stuck", "input_data": {}})
    path = f"/executions/{started['execution_id']}"
    assert (await call(client, "GET", f"{path}?wait=0.05"))[1]["status"] == "running"
    waiting = asyncio.ensure_future(call(client, "GET", f"{path}?wait=60"))
    await call(client, "GET", path)
    await call(client, "POST", f"{path}/cancel")
    assert (await waiting)[1]["status"] == "cancelled"
    assert (await call(client, "GET", f"{path}?wait=-1"))[0] == 400
    assert (await call(client, "GET", "/executions/nothing?wait=1"))[0] == 404


async def test_the_javascript_sdk_gets_bare_lists(client: TestClient) -> None:
    """List calls answer the array that the JavaScript SDK's types declare."""
    headers = {"X-SDK-Version": "ai-spine-sdk-js/2.0.0"}
    for path in ("/flows", "/agents", "/executions"):
        assert isinstance((await call(client, "GET", path, headers=headers))[1], list)


async def test_pages_of_executions_join(client: TestClient) -> None:
    """The cursor leads through all executions, newest first, each once."""
    for n in range(7):
        await call(client, "POST", "/flows/execute", json={"flow_id": "two", "input_data": {"n": n}})
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        _, page, _ = await call(client, "GET", f"/executions?limit=3{cursor and '&cursor=' + cursor}")
        seen += [found["execution_id"] for found in page["executions"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


async def test_flows_are_yaml_too_and_have_versions(client: TestClient) -> None:
    """A flow may come as YAML; PUT makes a version, and the old one stays readable."""
    text = "flow_id: y\nnodes: [{id: a, agent_id: echo}]\n"
    headers = {"Content-Type": "application/yaml"}
    assert (await call(client, "POST", "/flows", data=text, headers=headers))[0] == 201
    assert (await call(client, "POST", "/flows", data=text, headers=headers))[0] == 200
    status, stored, _ = await call(client, "PUT", "/flows/y", data=text + "name: New\n", headers=headers)
    assert (status, stored["flow_version"], stored["name"]) == (200, 2, "New")
    assert "name" not in (await call(client, "GET", "/flows/y?version=1"))[1]
    assert (await call(client, "DELETE", "/flows/y"))[1]["status"] == "deleted"
    assert (await call(client, "GET", "/flows/y"))[0] == 404
    assert (await call(client, "GET", "/flows/y?version=2"))[0] == 200


async def test_a_flow_stored_many_times_at_once_is_stored_once(client: TestClient) -> None:
    """Of many equal definitions at the same moment one makes a version, and the others find it."""
    flow = {**FLOW, "flow_id": "many"}
    stored = await asyncio.gather(*[call(client, "POST", "/flows", json=flow) for _ in range(8)])
    assert sorted(status for status, _, _ in stored) == [200] * 7 + [201]
    replaced = await asyncio.gather(*[call(client, "PUT", "/flows/many", json={**flow, "name": "N"}) for _ in range(8)])
    assert {answer["flow_version"] for _, answer, _ in replaced} == {2}
    await call(client, "DELETE", "/flows/many")
    stored = await asyncio.gather(*[call(client, "POST", "/flows", json=flow) for _ in range(8)])
    assert {answer["flow_version"] for _, answer, _ in stored} == {3}


async def test_metrics_for_prometheus(client: TestClient) -> None:
    """Without a wish for JSON the metrics are Prometheus text."""
    async with client.get("/metrics") as answer:
        text = await answer.text()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'opscore_executions_total{status="completed"}' in text


async def test_two_servers_in_one_process_do_not_meet() -> None:
    """What one application stores the other does not know."""
    async with open_client() as one, open_client() as other:
        await one.post("/flows", json=FLOW)
        assert (await call(one, "GET", "/flows"))[1]["count"] == 1
        assert (await call(other, "GET", "/flows"))[1]["count"] == 0


async def test_generated_requests_cause_no_server_error() -> None:
    """Schemathesis, led by the document, finds no request that ends in a 5xx."""
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    settings = Settings(database="sqlite:///:memory:", api_key_required=False, drain_timeout=0.1)
    async with open_client(settings) as client:
        process = await asyncio.create_subprocess_exec(
            program, "run", str(client.make_url("/openapi.json")), "--max-examples", "5", "--phases", "fuzzing",
            "--checks", "not_a_server_error", "--no-color", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-3000:]
