"""Answers about how things stand: pure translation of the domain's values to the API's JSON."""

from __future__ import annotations

from typing import Any, Optional

import attrs

from opscore.domain.explanations import Cause, Explanation
from opscore.domain.flows import Flow, Node
from opscore.domain.instants import show
from opscore.domain.keys import Identity
from opscore.domain.overview import RECENT_FAILURES, Attention, Failure, Overview, Tally
from opscore.domain.performance import KEYS, Figures, Performance, Row

Json = dict[str, Any]


def identity(found: Identity) -> Json:
    """Who asks, and what that one may do."""
    return {
        "key_required": found.key_required,
        "authenticated": found.key is not None,
        "key_id": None if found.key is None else found.key.key_id,
        "name": None if found.key is None else found.key.name,
        "scopes": list(found.scopes),
    }


def graph(flow: Flow) -> Json:
    """A flow as nodes and edges, whatever kind of definition it came from."""
    body: Json = {
        "flow_id": flow.flow_id,
        "flow_version": flow.version,
        "kind": flow.kind,
        "name": flow.name,
        "nodes": [_node(node) for node in flow.nodes.values()],
        "edges": [{"from": before, "to": node.id} for node in flow.nodes.values() for before in node.depends_on],
        "entries": list(flow.roots),
        "exits": list(flow.exits),
    }
    if "input_schema" in flow.definition:
        body["input_schema"] = flow.definition["input_schema"]
    return body


def _node(node: Node) -> Json:
    return {
        "id": node.id,
        "name": node.name,
        "type": node.type,
        "agent_id": node.agent_id,
        "capability": node.capability,
        "timeout": node.timeout,
        "max_attempts": node.retry.max_attempts,
        "fallback_agent_id": node.on_error.agent_id,
    }


def overview(found: Overview) -> Json:
    """The server at a glance."""
    picture = found.picture
    return {
        "generated_at": show(found.at),
        "window_seconds": found.window,
        "executions": {
            "open": {"pending": picture.pending, "running": picture.running, "paused": picture.paused},
            "window": _tally(found.tally),
            "totals": {
                "completed": picture.ended.completed,
                "failed": picture.ended.failed,
                "cancelled": picture.ended.cancelled,
            },
        },
        "throughput": [
            {"at": show(bucket.at), "seconds": bucket.seconds, **_tally(bucket.tally)} for bucket in found.buckets
        ],
        "waiting": [
            {"reason": waits.reason, "count": waits.count, "oldest_since": show(waits.oldest_since)}
            for waits in picture.waits
        ],
        "queued": {"count": picture.pending, "oldest_since": show(picture.queued_since)},
        "agents": {
            "total": sum(found.agents_by_state.values()),
            "by_state": dict(found.agents_by_state),
            "by_status": dict(found.agents_by_status),
            "by_condition": dict(found.agents_by_condition),
        },
        "calls": {"in_flight": found.calls_in_flight, "waiting": found.calls_waiting},
        "attention": [_attention(one) for one in found.attention],
        "recent_failures": [_failure(one) for one in picture.failures[:RECENT_FAILURES]],
    }


def _tally(tally: Tally) -> Json:
    return {
        "started": tally.started,
        "completed": tally.completed,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
    }


def _attention(one: Attention) -> Json:
    return {
        "kind": one.kind,
        "severity": one.severity,
        "text": one.text,
        "since": show(one.since),
        "execution_id": one.execution_id,
        "agent_id": one.agent_id,
        "flow_id": one.flow_id,
    }


def _failure(one: Failure) -> Json:
    return {
        "execution_id": one.execution_id,
        "flow_id": one.flow_id,
        "error_code": one.error_code,
        "error_message": one.error_message,
        "completed_at": show(one.completed_at),
    }


def explanation(found: Explanation) -> Json:
    """Why an execution stands where it stands."""
    return {
        "execution_id": found.execution.execution_id,
        "flow_id": found.execution.flow_id,
        "status": found.execution.status,
        "summary": found.summary,
        "causes": [_cause(cause) for cause in found.causes],
    }


def _cause(cause: Cause) -> Json:
    return {
        "what": cause.what,
        "node_id": cause.node_id,
        "agent_id": cause.agent_id,
        "since": show(cause.since),
        "until": show(cause.until),
        "attempt": cause.attempt,
        "error_code": cause.error_code,
        "text": cause.text,
        "would_move": cause.would_move,
    }


def performance(found: Performance, window: int, limit: int) -> Json:
    """How fast things went, slowest first."""
    rows = [_row(found, row) for row in found.rows[:limit]]
    return {
        "by": found.by,
        "window_seconds": window,
        "sampled": found.sampled,
        "truncated": found.is_partial,
        "rows": rows,
        "count": len(rows),
    }


def _row(found: Performance, row: Row) -> Json:
    body: Json = {name: getattr(row, name) for name in KEYS[found.by]}
    body.update(count=row.count, failures=row.failures, retries=row.retries)
    times = {"queue_ms": row.queue, "call_ms": row.call, "commit_ms": row.commit}
    if found.by == "flow":
        times["execution_ms"] = row.execution
    return {**body, **{name: _figures(figures) for name, figures in times.items()}}


def _figures(figures: Optional[Figures]) -> Json:
    known = {} if figures is None else attrs.asdict(figures)
    return {name: round(known[name], 3) if name in known else None for name in ("p50", "p95", "p99", "max", "mean")}
