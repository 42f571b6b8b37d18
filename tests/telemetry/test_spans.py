"""What spans say, made by the SDK and kept in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Optional

import attrs
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from opscore.domain.agents import Agent, AgentSpec
from opscore.domain.events import Event
from opscore.domain.executions import Attempt, Finished, StepCompleted, StepFailed, Timing, Unit
from opscore.domain.ports import Served, Subject
from opscore.domain.tracing import TraceContext, attempt_span, execution_span
from opscore.telemetry import traces
from opscore.telemetry.secrets import Secrets
from opscore.telemetry.spans import Ids, Spans

RUN = "019a1fc1-6d85-731e-a21b-70c291746085"
OWN = RUN.replace("-", "")
CALLER = TraceContext("a" * 32, "b" * 16)
AT = 1_700_000_000_000_000
SUBJECT = Subject(RUN, "f", 3, OWN)
REQUEST = Served("GET", "/agents", "/agents", "http", "localhost:8000", 200, AT, 0.25, "c" * 32)


class Kept:
    """Spans, and what they came to."""

    def __init__(self, sampler: Optional[Sampler] = None, agent: Optional[AgentSpec] = None) -> None:
        self._exporter, ids = InMemorySpanExporter(), Ids()
        provider = TracerProvider(id_generator=ids, shutdown_on_exit=False, sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        found = None if agent is None else Agent(agent, 0, 0)
        self.spans = Spans(provider, ids, lambda _: found, 5, lambda text: text.replace("sesame", "***"))

    def all(self) -> tuple[ReadableSpan, ...]:
        """In the order of their making."""
        return self._exporter.get_finished_spans()

    def one(self) -> ReadableSpan:
        """The only one."""
        (span,) = self.all()
        return span


def ids(span: ReadableSpan) -> tuple[str, str, Optional[str]]:
    """Trace, span and parent, in hex."""
    parent = None if span.parent is None else f"{span.parent.span_id:016x}"
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


@pytest.mark.parametrize(
    ("given", "name", "attributes", "is_error"),
    [
        ({}, "GET /agents", {"http.request.method": "GET", "server.address": "localhost", "server.port": 8000}, False),
        ({"status": 404, "route": None}, "GET", {"http.response.status_code": 404, "http.route": None}, False),
        ({"status": 503}, "GET /agents", {"error.type": "503"}, True),
        ({"method": "BREW"}, "_OTHER /agents", {"http.request.method": "_OTHER"}, False),
        ({"host": "[::1]:8000"}, "GET /agents", {"server.address": "[::1]", "server.port": 8000}, False),
        ({"host": "[::1]"}, "GET /agents", {"server.address": "[::1]", "server.port": None}, False),
        ({"host": "example.org"}, "GET /agents", {"server.address": "example.org", "server.port": None}, False),
        ({"host": None}, "GET /agents", {"server.address": None}, False),
        ({"path": "/" + "x" * 5000}, "GET /agents", {"url.path": "/" + "x" * 999}, False),
    ],
)
def test_a_request_is_told_of_as_http_conventions_have_it(
    given: dict[str, Any], name: str, attributes: dict[str, Any], is_error: bool
) -> None:
    """Name, method, route, host and status; only what is the server's fault is an error."""
    kept = Kept()
    kept.spans.answered(attrs.evolve(REQUEST, **given))
    span = kept.one()
    assert (span.name, span.kind.name) == (name, "SERVER")
    assert {key: (span.attributes or {}).get(key) for key in attributes} == attributes
    assert (span.status.status_code is StatusCode.ERROR) is is_error
    assert (span.start_time, span.end_time) == (AT * 1000, AT * 1000 + 250_000_000)
    assert ids(span)[0] == "c" * 32


def test_requests_have_spans_of_their_own() -> None:
    """Two requests of one caller are two children of its span."""
    kept = Kept()
    for _ in range(2):
        kept.spans.answered(attrs.evolve(REQUEST, trace_id=CALLER.trace_id, caller=CALLER))
    first, second = map(ids, kept.all())
    assert first[0] == second[0] == CALLER.trace_id
    assert first[2] == second[2] == CALLER.span_id
    assert first[1] != second[1]


def test_an_agents_address_is_all_that_is_told_of_its_endpoint() -> None:
    """Not its user, password, path or query."""
    spec = AgentSpec(
        "a", "Ada", "spine", endpoint="https://user:canary@agents.example/canary?canary#canary", version="7"
    )
    kept = Kept(agent=spec)
    done = StepCompleted("x", "a", 1, "{}", timing=Timing(1500, 2000, 500))
    kept.spans.wrote(SUBJECT, Unit(RUN, 5, AT, (done,)), 0.0)
    span = kept.one()
    assert span.name == "invoke_agent Ada"
    assert "canary" not in span.to_json()
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.workflow.name": "f",
        "gen_ai.conversation.id": RUN,
        "gen_ai.agent.id": "a",
        "gen_ai.agent.name": "Ada",
        "gen_ai.agent.version": "7",
        "server.address": "agents.example",
        "server.port": 443,
        "opscore.flow.version": 3,
        "opscore.node.id": "x",
        "opscore.attempt": 1,
        "opscore.queue_ms": 1.5,
        "opscore.commit_ms": 0.5,
    }
    assert (span.start_time, span.end_time) == ((AT - 2000) * 1000, AT * 1000)


@pytest.mark.parametrize("endpoint", [None, "", "http://[", "http://host:99999", "mailto:nobody"])
def test_an_endpoint_that_is_no_address_is_left_out(endpoint: Optional[str]) -> None:
    """The span is made without it."""
    kept = Kept(agent=AgentSpec("a", "a", "local", endpoint=endpoint))
    kept.spans.wrote(SUBJECT, Unit(RUN, 5, AT, (StepCompleted("x", "a", 1, "{}"),)), 0.0)
    assert "server.address" not in (kept.one().attributes or {})


def test_nodes_that_call_nobody_have_no_span() -> None:
    """What only passes data on is no invocation of an agent."""
    kept = Kept()
    kept.spans.wrote(SUBJECT, Unit(RUN, 5, AT, (StepCompleted("x", None, 1, "{}"),)), 0.0)
    assert kept.all() == ()


def test_a_failed_execution_ends_with_all_that_was_under_way() -> None:
    """The step's failure, the attempts it cuts short, the execution: all errors, with codes and without texts."""
    kept = Kept()
    changes = (
        StepFailed("x", "a", 2, 2, "AGENT_ERROR", "canary"),
        Finished("failed", 3.0, "AGENT_ERROR", "canary", cut_short=(Attempt("y", "a", 1, Timing(call_us=1000)),)),
    )
    kept.spans.wrote(attrs.evolve(SUBJECT, caller=CALLER, trace_id=CALLER.trace_id), Unit(RUN, 9, AT, changes), 0.0)
    own = execution_span(RUN)
    assert [ids(span) for span in kept.all()] == [
        (CALLER.trace_id, attempt_span(RUN, "x", 2), own),
        (CALLER.trace_id, attempt_span(RUN, "y", 1), own),
        (CALLER.trace_id, own, CALLER.span_id),
    ]
    for span in kept.all():
        assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "AGENT_ERROR")
        assert "canary" not in span.to_json()
    assert kept.all()[-1].start_time == (AT - 3_000_000) * 1000


def test_a_cancelled_execution_is_no_error() -> None:
    """Somebody wanted it so; its status says what became of it."""
    kept = Kept()
    kept.spans.wrote(SUBJECT, Unit(RUN, 9, AT, (Finished("cancelled", 1.0, "CANCELLED", "text"),)), 0.0)
    span = kept.one()
    assert (span.status.status_code, (span.attributes or {})["opscore.execution.status"]) == (
        StatusCode.UNSET, "cancelled",
    )  # fmt: skip
    assert ids(span) == (OWN, execution_span(RUN), None)


def test_samplers_are_asked_once_for_an_execution() -> None:
    """None, all below a ratio by the trace's id, and what the caller says: attempts and execution go together."""
    assert not Kept(ALWAYS_OFF).spans.keeps(SUBJECT)
    sampler = ParentBased(TraceIdRatioBased(0.5))
    for trace_id, keeps in (("f" * 32, False), ("0" * 31 + "1", True)):
        subject = attrs.evolve(SUBJECT, trace_id=trace_id)
        kept = Kept(sampler)
        assert kept.spans.keeps(subject) is keeps
        subject = subject.sampled(is_sampled=keeps)
        changes = (StepCompleted("x", "a", 1, "{}"), Finished("completed", 1.0))
        kept.spans.wrote(subject, Unit(RUN, 9, AT, changes), 0.0)
        assert len(kept.all()) == (2 if keeps else 0)
    refused = attrs.evolve(SUBJECT, caller=attrs.evolve(CALLER, flags=0), trace_id=CALLER.trace_id)
    assert not Kept().spans.keeps(refused)


def test_what_may_have_waited_for_its_batch_is_made_again() -> None:
    """Attempts that ended within the batch's delay and a margin before the last event, with the ids they had."""
    second = 1_000_000
    events = [
        Event(RUN, 1, "node.started", AT, "{}", "old", "a", 1),
        Event(RUN, 2, "node.completed", AT + second, "{}", "old", "a", 1),
        Event(RUN, 3, "node.started", AT + 15 * second, "{}", "new", "a", 1),
        Event(RUN, 4, "node.retrying", AT + 18 * second, '{"error_code":"E"}', "new", "b", 1),
        Event(RUN, 5, "node.started", AT + 20 * second, "{}", "new", "b", 2),
    ]
    kept = Kept()
    kept.spans.resumed(SUBJECT, events)
    span = kept.one()
    assert ids(span) == (OWN, attempt_span(RUN, "new", 1), execution_span(RUN))
    assert (span.start_time, span.end_time) == ((AT + 15 * second) * 1000, (AT + 18 * second) * 1000)
    assert (span.attributes or {})["gen_ai.agent.id"] == "a"
    assert (span.attributes or {})["error.type"] == "E"


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "Console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, None),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, None),
        ({"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_SERVICE_NAME": "ops"}, None),
    ],
)
def test_the_standard_variables_ask_for_traces(environ: dict[str, str], exporter: Optional[str]) -> None:
    """An exporter or an endpoint asks for them, and what says no wins."""
    assert traces.wanted(environ) == exporter


def test_nothing_of_opentelemetry_is_imported_unless_it_is_asked_for() -> None:
    """A server that has served a request has not looked at the SDK, though it is installed."""
    code = (
        "import asyncio, sys\n"
        "from opscore.testing import open_client\n"
        "async def main():\n"
        "    async with open_client() as client:\n"
        "        assert (await client.get('/status')).status == 200\n"
        "asyncio.run(main())\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_request_tells_no_secret() -> None:
    """A secret in the path or the host of a request is masked before its span is cut to length."""
    kept = Kept()
    kept.spans.answered(attrs.evolve(REQUEST, path=f"/{'x' * 995}sesame", host="sesame.example:80"))
    attributes = kept.one().attributes or {}
    assert attributes["url.path"] == f"/{'x' * 995}***"
    assert attributes["server.address"] == "***.example"


def test_what_opens_the_collectors_door_is_secret() -> None:
    """Values of the headers that spans are sent with are masked in the log, and so is its address's user."""
    secrets = Secrets()
    headers = "api-key=canaryA123,Authorization=Basic%20canaryB456"
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": headers, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:canaryC789@collector"}
    traces._keep_secret(environ, secrets)
    said = "refused: canaryA123, Basic canaryB456, canaryB456 of u:canaryC789"
    assert secrets.mask_known(said) == "refused: ***, ***, *** of ***"
