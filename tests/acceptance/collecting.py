"""An OpenTelemetry collector in the test's process, and an agent and a caller that are instrumented themselves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Optional

import attrs
from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

LIMIT = 20.0
W3C = TraceContextTextMapPropagator()
KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


@attrs.frozen
class Span:
    """A span as it was received; ids in hex."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began_at: int
    ended_at: int
    is_error: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]


class Collector:
    """Listens for OTLP by HTTP, and keeps what comes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw: list[bytes] = []
        self.url = ""
        self.hangs: Optional[asyncio.Event] = None
        """Set: requests wait for it."""
        self._news = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """One batch."""
        body = await request.read()
        if self.hangs is not None:
            await self.hangs.wait()
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {one.key: _value(one.value) for one in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_read(service, span) for span in scope.spans]
        self._news.set()
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def until(self, fits: Callable[[], bool]) -> None:
        """Wait until enough has come."""
        while not fits():
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), LIMIT)

    def named(self, name: str) -> list[Span]:
        """Spans by their name, in the order of their beginning."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began_at)

    def is_connected(self, trace_id: str) -> bool:
        """Whether the trace has one root, and every other span of it a parent that has come too."""
        spans = [span for span in self.spans if span.trace_id == trace_id]
        ids = {span.span_id for span in spans}
        roots = {span.span_id for span in spans if not span.parent_id}
        return len(roots) == 1 and all(span.parent_id in ids for span in spans if span.parent_id)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """One that listens on a free port."""
    it = Collector()
    async with _listening("/v1/traces", it.take) as it.url:
        yield it
        if it.hangs is not None:
            it.hangs.set()


class Traced:
    """A program of somebody else's that makes spans with the SDK of OpenTelemetry."""

    def __init__(self, service: str, url: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        self.tracer = self._provider.get_tracer(service)

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)


class TracedAgent:
    """An agent that works within the span that its caller names."""

    def __init__(self, url: str) -> None:
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.answers: Callable[[dict[str, Any], int], Optional[web.Response]] = lambda body, count: None
        self.gate: Optional[asyncio.Event] = None
        self._traced = Traced("agent", url)
        self._news = asyncio.Event()

    async def close(self) -> None:
        """Send the last spans."""
        await self._traced.close()

    async def called(self, count: int) -> None:
        """Wait until it has been called so often."""
        while len(self.headers) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), LIMIT)

    async def execute(self, request: web.Request) -> web.Response:
        """Do a step."""
        body = await request.json()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        count = len(self.headers)
        self._news.set()
        parent = W3C.extract(self.headers[-1])
        with self._traced.tracer.start_as_current_span(f"work {body['node_id']}", parent, kind=SpanKind.SERVER):
            if self.gate is not None:
                await self.gate.wait()
            given = self.answers(body, count)
        return given or web.json_response({"status": "success", "output": {"n": count}})


@asynccontextmanager
async def traced_agent(it: Collector) -> AsyncIterator[TracedAgent]:
    """An instrumented agent that listens on a free port."""
    agent = TracedAgent(it.url)
    async with _listening("/execute", agent.execute) as agent.url:
        yield agent
        if agent.gate is not None:
            agent.gate.set()


@asynccontextmanager
async def _listening(path: str, handler: Any) -> AsyncIterator[str]:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post(path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _read(service: str, span: Any) -> Span:
    return Span(
        service,
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
        {one.key: _value(one.value) for one in span.attributes},
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        tuple(event.name for event in span.events),
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
