"""Spans of requests, executions and attempts, made with the SDK of OpenTelemetry: only imported where it is there.

Nothing is remembered between the beginning and the end of a span. An execution's span and an attempt's have ids that
follow from what they are of (:mod:`opscore.domain.tracing`), so agents are told of an attempt's span before it is
there, and it is made when the end of the attempt is durable, from what the unit says. Whichever process sees the end
makes the span: what a crash has cut in two becomes one trace all the same. Delivery is at least once, as everywhere
in OTLP: after a restart the spans that a crash may have taken with it are made again, with the ids that they had.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import urlsplit

import orjson
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, SpanContext, SpanKind

from opscore.domain import executions as x
from opscore.domain.agents import Agent
from opscore.domain.calls import Call, Reply
from opscore.domain.events import Event
from opscore.domain.instants import SECOND, Instant, Seconds, show
from opscore.domain.ports import Served, Subject
from opscore.domain.tracing import TraceContext, attempt_span, execution_span
from opscore.telemetry import conventions as c

log = logging.getLogger(__name__)

_EXPORT_MARGIN: Seconds = 5.0
_LONGEST_TEXT = 1_000
_ENDS = frozenset({"node.completed", "node.failed", "node.retrying"})
_LOST = "LOST"

Names = Callable[[str], Optional[Agent]]
"""Looks an agent up, without waiting."""


class Ids(IdGenerator):
    """Gives the next span the ids that it is to have."""

    def __init__(self) -> None:
        self._chance = RandomIdGenerator()
        self._trace: Optional[int] = None
        self._span: Optional[int] = None

    def give(self, trace_id: str, span_id: Optional[str]) -> None:
        """The ids of the next span; without one of its own it gets a new one."""
        self._trace = int(trace_id, 16)
        self._span = None if span_id is None else int(span_id, 16)

    def generate_trace_id(self) -> int:
        """The trace of a span that is within no other."""
        return self._chance.generate_trace_id() if self._trace is None else self._trace

    def generate_span_id(self) -> int:
        """The span's own id."""
        return self._chance.generate_span_id() if self._span is None else self._span


class Spans:
    """Makes spans of what the engine and the web server tell; implements ``Observer`` and ``Tracer``."""

    def __init__(
        self, provider: TracerProvider, ids: Ids, agents: Names, delay: Seconds, mask: Callable[[str], str] = str
    ) -> None:
        """Take what it works with.

        Args:
            provider: Makes spans and sends them.
            ids: The provider's own: it gives the next span the ids that it is to have.
            agents: Looks an agent up.
            delay: Seconds that a span may wait for its batch.
            mask: Gives a text without secrets.
        """
        self._mask = mask
        self._provider = provider
        self._ids = ids
        self._agents = agents
        self._tracer = provider.get_tracer("opscore")
        self._at_risk = delay + _EXPORT_MARGIN

    # -- what is told --------------------------------------------------------------------------

    def keeps(self, subject: Subject) -> bool:
        """What the sampler says of an execution's span."""
        parent = self._parent(subject.caller)
        name, attributes = _execution_name(subject), self._of(subject, c.INVOKE_WORKFLOW)
        kind = SpanKind.INTERNAL
        trace_id = int(subject.trace_id, 16)
        decision = self._provider.sampler.should_sample(parent, trace_id, name, kind, attributes, ()).decision
        return decision is Decision.RECORD_AND_SAMPLE

    def wrote(self, subject: Subject, unit: x.Unit, seconds: Seconds) -> None:
        """Make the spans that end with a unit."""
        if not subject.is_sampled:
            return
        for change in unit.changes:
            if isinstance(change, x.StepStarted):
                if change.lost is not None:
                    self._attempt(subject, change.lost, unit.at, _LOST)
            elif isinstance(change, x.StepWaits):
                if change.failed is not None:
                    self._attempt(subject, change.failed, unit.at, change.error_code, retry_at=change.until)
            elif isinstance(change, (x.StepCompleted, x.StepFailed)):
                ended = x.Attempt(change.node_id, change.agent_id, change.attempt, change.timing)
                self._attempt(subject, ended, unit.at, change.error_code)
            elif isinstance(change, x.Finished):
                for ended in change.cut_short:
                    self._attempt(subject, ended, unit.at, change.error_code)
                self._execution(subject, change, unit.at)

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """Calls are told of when what they came to is durable."""

    def resumed(self, subject: Subject, events: Sequence[Event]) -> None:
        """Make the spans of what ended shortly before the last event: they may have waited for their batch."""
        if not subject.is_sampled:
            return
        starts: dict[tuple[Optional[str], Optional[int]], Event] = {}
        since = events[-1].at - int(self._at_risk * SECOND)
        for event in events:
            key = (event.node_id, event.attempt)
            if event.type == "node.started":
                starts[key] = event
            elif event.type in _ENDS and event.at >= since and key in starts and event.node_id is not None:
                started = starts[key]
                timing = x.Timing(call_us=max(0, event.at - started.at))
                ended = x.Attempt(event.node_id, started.agent_id, event.attempt or 1, timing)
                self._attempt(subject, ended, event.at, orjson.loads(event.data).get("error_code"))

    def answered(self, request: Served) -> None:
        """Make a request's span. Whatever goes wrong with it is none of the request's business."""
        try:
            self._request(request)
        except Exception:
            log.exception("traces.failed")

    # -- spans ---------------------------------------------------------------------------------

    def _execution(self, subject: Subject, end: x.Finished, at: Instant) -> None:
        attributes = self._of(subject, c.INVOKE_WORKFLOW)
        attributes[c.EXECUTION_STATUS] = end.status
        self._ids.give(subject.trace_id, execution_span(subject.execution_id))
        self._span(
            _execution_name(subject),
            SpanKind.INTERNAL,
            self._parent(subject.caller),
            at - int(end.seconds * SECOND),
            at,
            attributes,
            error=end.error_code if end.status == "failed" else None,
        )

    def _attempt(
        self,
        subject: Subject,
        ended: x.Attempt,
        at: Instant,
        error: Optional[str],
        retry_at: Optional[Instant] = None,
    ) -> None:
        """The span of an attempt; what only passes data on calls nobody, and has none."""
        if ended.agent_id is None:
            return
        agent, timing = self._agents(ended.agent_id), ended.timing
        attributes = self._of(subject, c.INVOKE_AGENT)
        attributes.update({c.AGENT_ID: ended.agent_id, c.NODE: ended.node_id, c.ATTEMPT: ended.attempt})
        if error == _LOST:
            attributes[c.IS_LOST] = True
        for name, spent in ((c.QUEUE_MS, timing.queue_us), (c.COMMIT_MS, timing.commit_us)):
            if spent is not None:
                attributes[name] = spent / 1000
        if agent is not None:
            attributes.update(_about(agent))
        own = TraceContext(subject.trace_id, execution_span(subject.execution_id))
        self._ids.give(subject.trace_id, attempt_span(subject.execution_id, ended.node_id, ended.attempt))
        event = None if retry_at is None else {c.RETRY_AT: show(retry_at), c.ERROR: error or ""}
        self._span(
            f"{c.INVOKE_AGENT} {attributes.get(c.AGENT_NAME, ended.agent_id)}",
            SpanKind.CLIENT,
            self._parent(own, is_remote=False),
            at - (timing.call_us or 0),
            at,
            attributes,
            error=error,
            links=self._previous(subject, ended),
            event=event,
        )

    def _request(self, request: Served) -> None:
        method = request.method if request.method in c.METHODS else c.OTHER_METHOD
        attributes: dict[str, Any] = {
            c.METHOD: method,
            c.PATH: self._mask(request.path)[:_LONGEST_TEXT],
            c.SCHEME: request.scheme,
            c.STATUS: request.status,
        }
        if request.route is not None:
            attributes[c.ROUTE] = request.route
        if request.host is not None:
            given = self._mask(request.host)[:_LONGEST_TEXT]
            host, _, port = given.rpartition(":")
            attributes[c.SERVER] = host if host and port.isdigit() else given
            if host and port.isdigit():
                attributes[c.PORT] = int(port)
        links = []
        if request.started is not None:
            started = request.started
            attributes[c.CONVERSATION] = started.execution_id
            links = [self._link(TraceContext(started.trace_id, execution_span(started.execution_id)), "execution")]
        self._ids.give(request.trace_id, None)
        self._span(
            method if request.route is None else f"{method} {request.route}",
            SpanKind.SERVER,
            self._parent(request.caller),
            request.began_at,
            request.began_at + int(request.seconds * SECOND),
            attributes,
            error=str(request.status) if request.status >= 500 else None,
            links=links,
        )

    def _span(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        began_at: Instant,
        ended_at: Instant,
        attributes: dict[str, Any],
        *,
        error: Optional[str] = None,
        links: Sequence[Link] = (),
        event: Optional[dict[str, Any]] = None,
    ) -> None:
        if error is not None:
            attributes[c.ERROR] = error
        span = self._tracer.start_span(name, parent, kind, attributes, links, began_at * 1000)
        if error is not None:
            # The code alone: what an agent writes into its messages is not ours to send elsewhere.
            span.set_status(trace.StatusCode.ERROR)
        if event is not None:
            span.add_event(c.RETRY, event, ended_at * 1000)
        span.end(ended_at * 1000)

    def _of(self, subject: Subject, operation: str) -> dict[str, Any]:
        return {
            c.OPERATION: operation,
            c.WORKFLOW: subject.flow_id,
            c.CONVERSATION: subject.execution_id,
            c.FLOW_VERSION: subject.flow_version,
        }

    def _previous(self, subject: Subject, ended: x.Attempt) -> Sequence[Link]:
        """A repeat leads to what it repeats, also where a restart lies between them."""
        if ended.attempt < 2:
            return ()
        span_id = attempt_span(subject.execution_id, ended.node_id, ended.attempt - 1)
        return [self._link(TraceContext(subject.trace_id, span_id), "previous_attempt")]

    def _link(self, context: TraceContext, meaning: str) -> Link:
        return Link(self._context(context, is_remote=False), {c.LINK: meaning})

    def _parent(self, caller: Optional[TraceContext], *, is_remote: bool = True) -> Context:
        """What a span is within: somebody's span, or nothing."""
        inside = trace.INVALID_SPAN
        if caller is not None:
            inside = trace.NonRecordingSpan(self._context(caller, is_remote=is_remote))
        return trace.set_span_in_context(inside, Context())

    def _context(self, context: TraceContext, *, is_remote: bool) -> SpanContext:
        return SpanContext(
            int(context.trace_id, 16),
            int(context.span_id, 16),
            is_remote,
            trace.TraceFlags(context.flags),
            trace.TraceState.from_header([context.state]) if context.state else None,
        )


def _execution_name(subject: Subject) -> str:
    return f"{c.INVOKE_WORKFLOW} {subject.flow_id}"


def _about(agent: Agent) -> dict[str, Any]:
    spec = agent.spec
    found: dict[str, Any] = {c.AGENT_NAME: spec.name[:_LONGEST_TEXT]}
    if spec.version is not None:
        found[c.AGENT_VERSION] = spec.version[:_LONGEST_TEXT]
    return {**found, **_address(spec.endpoint)}


@functools.lru_cache(4_096)
def _address(endpoint: Optional[str]) -> Mapping[str, Any]:
    """Host and port of an endpoint, and nothing else of it: the rest may hold a password."""
    try:
        parts = urlsplit(endpoint or "")
        port = parts.port
    except ValueError:
        return {}
    if not parts.hostname:
        return {}
    return {c.SERVER: parts.hostname, c.PORT: port or (443 if parts.scheme == "https" else 80)}
