"""Answers: pure translation of the domain's values to the API's JSON."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Sequence, Union

import orjson
from aiohttp import web

from opscore.domain.agents import AgentView
from opscore.domain.agents import Report as StateReport
from opscore.domain.calls import Probe
from opscore.domain.discretion import shown_address
from opscore.domain.errors import OpsCoreError
from opscore.domain.events import Event, FeedEvent, FeedPage
from opscore.domain.executions import FINAL, Execution, Message, NewExecution, Waiting
from opscore.domain.flows import Finding, FlowVersion, Report
from opscore.domain.instants import SECOND, show
from opscore.domain.keys import Key
from opscore.domain.logs import LogEntry, level_name
from opscore.domain.ports import ExecutionTotals
from opscore.operations.executions import NodeResult
from opscore.operations.overview import Status

Json = dict[str, Any]


def reply(body: Any, status: int = 200, headers: Optional[dict[str, str]] = None) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def dumps(body: Any) -> bytes:
    """JSON in one line."""
    return orjson.dumps(body)


def listing(request: web.Request, name: str, items: Sequence[Any], **more: Any) -> web.Response:
    """A list under its name; bare for the JavaScript SDK, whose types declare it so."""
    if request.headers.get("X-SDK-Version", "").startswith("ai-spine-sdk-js/"):
        return reply(items)
    return reply({name: items, "count": len(items), **more})


def started(execution: NewExecution) -> Json:
    """An execution as it was accepted."""
    return {
        "execution_id": execution.execution_id,
        "flow_id": execution.flow_id,
        "flow_version": execution.flow_version,
        "status": "pending",
        "created_at": show(execution.created_at),
        "result": None,
        "error": None,
        "execution_time": None,
        "trace_id": execution.trace_id,
    }


def waited(execution: Execution) -> Json:
    """An execution as it stands after waiting for it."""
    return {
        "execution_id": execution.execution_id,
        "flow_id": execution.flow_id,
        "flow_version": execution.flow_version,
        "status": execution.status,
        "created_at": show(execution.created_at),
        "result": _outputs(execution),
        "error": execution.error_message,
        "error_code": execution.error_code,
        "execution_time": execution.seconds,
        "trace_id": execution.trace_id,
    }


def is_final(execution: Execution) -> bool:
    """Whether the execution will not change any more."""
    return execution.status in FINAL


def execution(found: Execution) -> Json:
    """An execution, whole."""
    return {
        "execution_id": found.execution_id,
        "flow_id": found.flow_id,
        "flow_version": found.flow_version,
        "status": found.status,
        "input_data": None if found.input is None else orjson.Fragment(found.input),
        "output_data": _outputs(found),
        "error_message": found.error_message,
        "error_code": found.error_code,
        "metadata": orjson.Fragment(found.metadata),
        "priority": found.priority,
        "user_id": found.user_id,
        "agent_id": found.agent_id,
        "attempts": found.calls,
        "failures": found.failures,
        "waiting": [_waiting(one) for one in found.waiting] if found.is_open else [],
        "created_at": show(found.created_at),
        "started_at": show(found.started_at),
        "updated_at": show(found.updated_at),
        "completed_at": show(found.completed_at),
        "execution_time": found.seconds,
        "trace_id": found.trace_id,
    }


def listed(found: Execution) -> Json:
    """An execution in a list; payloads may be left out of it."""
    return {**execution(found), "truncated": list(found.truncated)}


def refusals(refused: Mapping[str, OpsCoreError]) -> list[Json]:
    """Why something could not be done, by execution."""
    return [
        {"execution_id": execution_id, "error_code": error.error_code, "message": error.message}
        for execution_id, error in refused.items()
    ]


def _outputs(found: Execution) -> Optional[Json]:
    if found.outputs is None:
        return None
    return {node_id: orjson.Fragment(text) for node_id, text in found.outputs.items()}


def _waiting(waiting: Waiting) -> Json:
    return {
        "node_id": waiting.node_id,
        "agent_id": waiting.agent_id,
        "reason": waiting.reason,
        "message": waiting.detail,
        "error_code": waiting.error_code if waiting.reason == "retry" else None,
        "since": show(waiting.since),
        "until": show(waiting.until),
    }


def node_result(result: NodeResult) -> Json:
    """A step with what it was given."""
    step = result.step
    spent = None
    if step.started_at is not None and step.completed_at is not None:
        spent = (step.completed_at - step.started_at) * 1000 / SECOND
    return {
        "id": f"{step.execution_id}:{step.node_id}",
        "execution_id": step.execution_id,
        "node_id": step.node_id,
        "agent_id": step.agent_id,
        "status": step.status,
        "attempt": step.attempt,
        "input_data": result.input_data,
        "output_data": None if step.output is None else orjson.Fragment(step.output),
        "error_message": step.error_message,
        "error_code": step.error_code,
        "execution_time_ms": spent,
        "timing": {
            "queue_ms": _milliseconds(step.queue_us),
            "call_ms": _milliseconds(step.call_us),
            "commit_ms": _milliseconds(step.commit_us),
        },
        "created_at": show(step.created_at),
        "started_at": show(step.started_at),
        "completed_at": show(step.completed_at),
    }


def _milliseconds(microseconds: Optional[int]) -> Optional[float]:
    return None if microseconds is None else microseconds / 1000


def message(found: Message) -> Json:
    """What travelled along an edge."""
    return {
        "message_id": found.message_id,
        "execution_id": found.execution_id,
        "from_agent": found.from_agent,
        "to_agent": found.to_agent,
        "payload": found.payload,
        "timestamp": show(found.timestamp),
    }


def event(found: Event) -> Json:
    """One event; what does not apply is left out."""
    body: Json = {"seq": found.seq, "execution_id": found.execution_id, "type": found.type}
    return _with_facts(body, found)


def feed_event(found: FeedEvent) -> Json:
    """One event of the feed; of the things of a node, what does not apply is left out."""
    body: Json = {
        "position": found.position,
        "seq": found.seq,
        "execution_id": found.execution_id,
        "flow_id": found.flow_id,
        "type": found.type,
    }
    return _with_facts(body, found)


def pruned(page: FeedPage) -> Json:
    """What is told where events are gone: the place that was asked for, and the first position after it there is."""
    return {"after": page.after, "oldest": page.oldest}


def _with_facts(body: Json, found: Union[Event, FeedEvent]) -> Json:
    for name in ("node_id", "agent_id", "attempt"):
        value = getattr(found, name)
        if value is not None:
            body[name] = value
    body["at"] = show(found.at)
    body["data"] = orjson.Fragment(found.data)
    return body


def log(found: LogEntry) -> Json:
    """One entry of the log."""
    return {
        "log_id": found.log_id,
        "timestamp": show(found.at),
        "level": level_name(found.level),
        "event": found.event,
        "message": found.message,
        "logger": found.logger,
        "execution_id": found.execution_id,
        "flow_id": found.flow_id,
        "node_id": found.node_id,
        "agent_id": found.agent_id,
        "attempt": found.attempt,
        "request_id": found.request_id,
        "trace_id": found.trace_id,
        "error_code": found.error_code,
        "duration_ms": found.duration_ms,
        "fields": orjson.Fragment(found.fields),
    }


def agent(found: AgentView) -> Json:
    """An agent: what it is wanted to be, what it reports, and what was seen of it."""
    spec, observed, present = found.agent.spec, found.observed, found.agent.present
    return {
        "agent_id": spec.agent_id,
        "name": spec.name,
        "description": spec.description,
        "endpoint": shown_address(spec.endpoint),
        "protocol": spec.protocol,
        "capabilities": list(spec.capabilities),
        "agent_type": spec.agent_type,
        "version": spec.version,
        "is_active": spec.is_active,
        "status": found.status,
        "condition": found.condition,
        "state": found.state,
        "state_details": {} if present is None else orjson.Fragment(present.details),
        "state_timestamp": None if present is None else show(present.reported_at),
        "last_seen": show(observed.last_seen),
        "health": {
            "status": observed.health,
            "message": observed.health_message,
            "checked_at": show(observed.checked_at),
            "latency_ms": observed.latency_ms,
        },
        "breaker": {
            "state": observed.breaker.state,
            "failures": observed.breaker.failures,
            "reason": observed.breaker.reason,
            "since": show(observed.breaker.since),
            "retry_at": show(observed.breaker.retry_at),
        },
        "task_id": observed.task,
        "max_concurrency": spec.max_concurrency,
        "in_flight": observed.in_flight,
        "source": found.agent.source,
        "metadata": spec.metadata,
        "created_at": show(found.agent.created_at),
        "updated_at": show(found.agent.updated_at),
    }


def report_of_state(found: StateReport) -> Json:
    """One report of an agent's."""
    return {
        "state": found.state,
        "details": orjson.Fragment(found.details),
        "timestamp": show(found.reported_at),
        "received_at": show(found.received_at),
    }


def probe(found: Probe) -> Json:
    """What trying an endpoint showed."""
    return {"connected": found.connected, "message": found.message, "latency_ms": found.latency_ms}


def flow(stored: FlowVersion) -> Json:
    """A flow: its definition as it was given, and what the server adds."""
    return {
        **stored.flow.definition,
        "flow_version": stored.flow.version,
        "created_at": show(stored.created_at),
        "updated_at": show(stored.updated_at),
    }


def report(found: Report) -> Json:
    """What checking a definition found."""
    return {
        "valid": found.flow is not None,
        "errors": _findings(found.errors),
        "warnings": _findings(found.warnings),
    }


def _findings(findings: Iterable[Finding]) -> list[Json]:
    return [{"place": finding.place, "message": finding.text} for finding in findings]


def key(found: Key) -> Json:
    """A key's record."""
    return {
        "key_id": found.key_id,
        "name": found.name,
        "scopes": sorted(found.scopes),
        "hint": found.hint,
        "created_at": show(found.created_at),
        "revoked_at": show(found.revoked_at),
    }


def status(found: Status, version: str) -> Json:
    """The server at a glance."""
    totals = found.totals
    return {
        "status": "operational" if found.is_operational else "degraded",
        "components": found.components,
        "agents": {"total": found.agents_total, "active": found.agents_active},
        "flows": {"total": found.flows_total},
        "executions": {
            "pending": totals.pending,
            "running": totals.running,
            "paused": totals.paused,
            "completed": totals.completed,
            "failed": totals.failed,
            "cancelled": totals.cancelled,
        },
        "version": version,
        "uptime_seconds": round(found.uptime, 3),
    }


def metrics(totals: ExecutionTotals) -> Json:
    """Totals; times are seconds."""
    ended = totals.completed + totals.failed + totals.cancelled
    return {
        "total_executions": ended + totals.pending + totals.running + totals.paused,
        "successful_executions": totals.completed,
        "failed_executions": totals.failed,
        "cancelled_executions": totals.cancelled,
        "running_executions": totals.running,
        "average_execution_time": totals.seconds / ended if ended else 0.0,
        "total_execution_time": totals.seconds,
        "last_execution": show(totals.last_created_at),
    }
