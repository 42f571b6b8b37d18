"""Traces of a real server, received by a collector: one trace from the caller to the agent, whatever happens."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from collecting import W3C, Collector, Span, Traced, TracedAgent, collector, traced_agent
from processes import Client, Server, flow

CHAIN = flow("chain", {"a": [], "b": ["a"]})


def traced_server(directory: Path, it: Collector, **more: str) -> Server:
    """A server that sends its spans to the collector, and has no other OTEL_ variables."""
    return Server(directory, **{"OTEL_EXPORTER_OTLP_ENDPOINT": it.url, **more})


async def start(client: Client, caller: Traced, flow_id: str, **body: Any) -> tuple[str, str]:
    """Start a flow from within a span of the caller's; the execution's id and that span's trace."""
    with caller.tracer.start_as_current_span("ask"):
        headers: dict[str, str] = {}
        W3C.inject(headers)
        status, answer = await client.call(
            "POST", "/flows/execute", {"flow_id": flow_id, "input_data": {}, **body}, headers=headers
        )
    assert status == 202, answer
    trace_id = headers["traceparent"].split("-")[1]
    assert answer["trace_id"] == trace_id
    return answer["execution_id"], trace_id


async def ended(client: Client, execution_id: str) -> dict[str, Any]:
    """An execution at its end."""
    _, found = await client.call("GET", f"/executions/{execution_id}?wait=20")
    assert found["status"] in ("completed", "failed", "cancelled")
    return dict(found)


async def sent(server: Server, caller: Traced, agent: TracedAgent) -> None:
    """Stop everybody, so that all spans have been sent."""
    server.signal()
    assert await server.ended(12) == 0
    await caller.close()
    await agent.close()


def by_attempt(it: Collector, node_id: str) -> dict[int, Span]:
    """The spans of a node's attempts; one that came twice is the same twice."""
    mine = [span for span in it.spans if span.attributes.get("opscore.node.id") == node_id]
    found = {span.attributes["opscore.attempt"]: span for span in mine}
    assert {span.span_id for span in mine} == {span.span_id for span in found.values()}
    return found


async def test_a_run_is_one_trace_from_its_caller_to_its_agents(tmp_path: Path) -> None:
    """Caller, request, execution, attempts and the agent's own work hang together; a retry leads to what it repeats."""
    async with collector() as it, traced_agent(it) as agent:
        caller, server = Traced("caller", it.url), traced_server(tmp_path, it)
        agent.answers = lambda body, count: web.json_response({}, status=503) if count == 1 else None
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            execution_id, trace_id = await start(client, caller, "chain")
            assert (await ended(client, execution_id))["trace_id"] == trace_id
        await sent(server, caller, agent)

    assert it.is_connected(trace_id)
    (ask,), (run,) = it.named("ask"), it.named("invoke_workflow chain")
    (request,) = [span for span in it.named("POST /flows/execute") if span.trace_id == trace_id]
    assert (run.service, run.kind, run.parent_id) == ("opscore", "INTERNAL", ask.span_id)
    assert run.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert run.attributes["gen_ai.conversation.id"] == execution_id
    assert run.attributes["opscore.execution.status"] == "completed"
    assert (request.kind, request.parent_id, request.links) == ("SERVER", ask.span_id, ((trace_id, run.span_id),))
    assert request.attributes["http.response.status_code"] == 202
    attempts = by_attempt(it, "a")
    assert (attempts[1].is_error, attempts[1].attributes["error.type"], attempts[1].events) == (
        True, "AGENT_HTTP_503", ("retry",),
    )  # fmt: skip
    assert attempts[2].links == ((trace_id, attempts[1].span_id),)
    for span in (*attempts.values(), *by_attempt(it, "b").values()):
        assert (span.name, span.kind, span.parent_id) == ("invoke_agent stub", "CLIENT", run.span_id)
        assert run.began_at <= span.began_at <= span.ended_at <= run.ended_at
    assert [span.parent_id for span in it.named("work a")] == [attempts[1].span_id, attempts[2].span_id]
    assert not [span for span in it.spans if span.trace_id == trace_id and span.service not in SERVICES]


SERVICES = ("caller", "opscore", "agent")


@pytest.mark.parametrize("delay", ["60000", "50"], ids=["nothing was sent", "most was sent"])
async def test_a_run_that_a_crash_cut_in_two_is_one_trace(tmp_path: Path, delay: str) -> None:
    """After kill -9 amid a call and a restart every parent is there, and the new attempt leads to the lost one."""
    async with collector() as it, traced_agent(it) as agent:
        caller, server = Traced("caller", it.url), traced_server(tmp_path, it, OTEL_BSP_SCHEDULE_DELAY=delay)
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            agent.answers = lambda body, count: hold(agent) if count == 1 else None
            execution_id, trace_id = await start(client, caller, "chain")
            await agent.called(2)  # "b" waits at the gate
            if delay == "50":
                await it.until(lambda: bool(by_attempt(it, "a")))
            await server.kill()
            assert agent.gate is not None
            agent.gate.set()
            await server.start()
            assert (await ended(client, execution_id))["status"] == "completed"
        await sent(server, caller, agent)

    assert it.is_connected(trace_id)
    attempts = by_attempt(it, "b")
    assert set(by_attempt(it, "a")) == {1}
    assert set(attempts) == {1, 2}
    assert attempts[1].attributes["opscore.lost"] is True
    assert attempts[2].links == ((trace_id, attempts[1].span_id),)
    assert [span.parent_id for span in it.named("work b")] == [attempts[1].span_id, attempts[2].span_id]
    assert len(it.named("invoke_workflow chain")) == 1


def hold(agent: TracedAgent) -> None:
    """Let the agent's next calls wait."""
    agent.gate = asyncio.Event()


async def test_without_a_caller_the_execution_is_the_trace(tmp_path: Path) -> None:
    """The trace is the execution's id, its span the root, and the request's span leads there from its own trace."""
    async with collector() as it, traced_agent(it) as agent:
        caller, server = Traced("caller", it.url), traced_server(tmp_path, it)
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            _, answer = await client.call("POST", "/flows/execute?wait=20", {"flow_id": "chain", "input_data": {}})
        await sent(server, caller, agent)
    trace_id = answer["execution_id"].replace("-", "")
    assert (answer["status"], answer["trace_id"]) == ("completed", trace_id)
    assert it.is_connected(trace_id)
    (run,) = it.named("invoke_workflow chain")
    (request,) = it.named("POST /flows/execute")
    assert (run.parent_id, request.parent_id) == ("", "")
    assert request.trace_id != trace_id
    assert request.links == ((trace_id, run.span_id),)


async def test_what_the_caller_does_not_record_nobody_does(tmp_path: Path) -> None:
    """A caller's flag that says no is passed on to the agents, with its state, and nothing is sent."""
    async with collector() as it, traced_agent(it) as agent:
        caller, server = Traced("caller", it.url), traced_server(tmp_path, it)
        await server.start()
        headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00", "tracestate": "vendor=1"}
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            body = {"flow_id": "chain", "input_data": {}}
            _, answer = await client.call("POST", "/flows/execute?wait=20", body, headers=headers)
        await sent(server, caller, agent)
    assert (answer["status"], answer["trace_id"]) == ("completed", "a" * 32)
    assert [sent["tracestate"] for sent in agent.headers] == ["vendor=1", "vendor=1"]
    assert all(sent["traceparent"].startswith(f"00-{'a' * 32}-") for sent in agent.headers)
    assert all(sent["traceparent"].endswith("-00") for sent in agent.headers)
    assert not [span for span in it.spans if span.trace_id == "a" * 32]


SECRETS = ("canary-key-123456", "canary-input", "canary-output", "canary-message", "canary-query", "canary-webhook")


async def test_no_secret_is_in_a_span(tmp_path: Path) -> None:
    """Keys, payloads, agents' messages and queries are in nothing that leaves for the collector."""
    key, given, got, told, asked, signed = SECRETS
    async with collector() as it, traced_agent(it) as agent:
        caller, server = (
            Traced("caller", it.url),
            traced_server(tmp_path, it, OPSCORE_API_KEY=key, OPSCORE_WEBHOOK_SECRET=signed),
        )
        agent.answers = lambda body, count: (
            web.json_response({"status": "error", "error_message": told, "retryable": False})
            if count == 2
            else web.json_response({"status": "success", "output": {"secret": got}})
        )
        await server.start()
        async with Client(server.url) as client:
            headers = {"Authorization": f"Bearer {key}", "X-Secret": asked}
            endpoint = {"agent_id": "stub", "endpoint": f"{agent.url}/execute?token={asked}"}
            status, answer = await client.call("POST", f"/agents?token={asked}", endpoint, headers=headers)
            assert status == 201, answer
            await client.call("POST", "/flows", CHAIN, headers=headers)
            body = {"flow_id": "chain", "input_data": {"secret": given}, "metadata": {"secret": given}}
            for path in ("/flows/execute?wait=20", f"/flows/execute?token={asked}&wait=20"):
                _, answer = await client.call("POST", path, body, headers=headers)
            await client.call("GET", f"/executions?metadata.secret={given}", headers=headers)
            await client.call("GET", "/executions", headers={"X-API-Key": f"{key}-wrong"})
        await sent(server, caller, agent)
    assert {"invoke_workflow chain", "invoke_agent stub", "GET /executions"} <= {span.name for span in it.spans}
    assert [secret for secret in SECRETS if any(secret.encode() in body for body in it.raw)] == []


async def test_a_collector_that_never_answers_delays_nothing(tmp_path: Path) -> None:
    """Runs go on and the stop is as quick as ever; what could not be sent is said in one line."""
    async with collector() as it, traced_agent(it) as agent:
        it.hangs = asyncio.Event()
        server = traced_server(tmp_path, it, OTEL_BSP_SCHEDULE_DELAY="50")
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            _, answer = await client.call("POST", "/flows/execute?wait=20", {"flow_id": "chain", "input_data": {}})
            assert answer["status"] == "completed"
        began = time.monotonic()
        server.signal()
        assert await server.ended(12) == 0
        assert time.monotonic() - began < 5
        it.hangs.set()
        await agent.close()
    log = (tmp_path / "server.log").read_text()
    assert log.count("traces.not_flushed") == 1
    assert "Traceback" not in log


async def test_a_collector_that_is_away_is_complained_of_once(tmp_path: Path) -> None:
    """Many batches that cannot be sent are one line in the log, not one each."""
    async with collector() as it, traced_agent(it) as agent:
        away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        server = Server(tmp_path, OTEL_BSP_SCHEDULE_DELAY="20", **away)
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            for _ in range(20):
                _, answer = await client.call("POST", "/flows/execute?wait=20", {"flow_id": "chain", "input_data": {}})
                assert answer["status"] == "completed"
        server.signal()
        assert await server.ended(12) == 0
        await agent.close()
        assert it.spans
    lines = (tmp_path / "server.log").read_text().splitlines()
    assert len([line for line in lines if "opentelemetry" in line]) <= 3, lines


async def test_traces_that_are_asked_for_and_not_installed_are_missed_aloud(tmp_path: Path) -> None:
    """The server starts without the extra, says in its log how to get it, and works."""
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('hidden', name='opentelemetry')")
    server = Server(tmp_path, PYTHONPATH=str(hidden.parent), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    await server.start()
    server.signal()
    assert await server.ended(12) == 0
    log = (tmp_path / "server.log").read_text()
    assert "traces.not_installed" in log
    assert "pip install 'opscore[otel]'" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER must be"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL must"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "OTEL_BSP_"),
    ],
)
async def test_variables_that_cannot_work_end_the_start_in_one_line(
    tmp_path: Path, variables: dict[str, str], named: str
) -> None:
    """The line names the variable."""
    server = Server(tmp_path, **variables)
    with pytest.raises(AssertionError, match=named):
        await server.start()
    assert "Traceback" not in (tmp_path / "server.log").read_text()


async def test_the_log_is_found_by_the_callers_trace(tmp_path: Path) -> None:
    """What is logged of a run, by the engine and for the request, carries the trace that its caller began."""
    async with collector() as it, traced_agent(it) as agent:
        caller, server = Traced("caller", it.url), traced_server(tmp_path, it, OPSCORE_LOG_LEVEL="DEBUG")
        await server.start()
        async with Client(server.url) as client:
            await client.define(agent.url, CHAIN)
            execution_id, trace_id = await start(client, caller, "chain")
            await ended(client, execution_id)
            found: list[dict[str, Any]] = []
            while not {"request.answered", "execution.completed"} <= {one["event"] for one in found}:
                _, page = await client.call("GET", f"/logs?trace_id={trace_id}&level=DEBUG&limit=100")
                found = page["logs"]
        await sent(server, caller, agent)
    assert {one["execution_id"] for one in found} <= {execution_id, None}
    assert {one["trace_id"] for one in found} == {trace_id}
