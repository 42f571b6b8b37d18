"""Events: the numbered history of an execution, one for each change."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attrs

from opscore.domain import executions as x
from opscore.domain.instants import Instant, show

TAKEN = "The agent has taken the task; its answer is outstanding."

EVENT_TYPES = (
    "execution.accepted", "execution.started", "execution.paused", "execution.resumed",
    "execution.cancel_requested", "execution.completed", "execution.failed", "execution.cancelled",
    "node.started", "node.completed", "node.failed", "node.retrying", "node.skipped",
    "node.waiting", "node.signalled", "agent.state",
)  # fmt: skip


@attrs.frozen
class Event:
    """One fact of an execution's history; ``seq`` rises without a gap from 1. ``data`` is JSON text."""

    execution_id: str
    seq: int
    type: str
    at: Instant
    data: str
    node_id: Optional[str] = None
    agent_id: Optional[str] = None
    attempt: Optional[int] = None


@attrs.frozen
class History:
    """A page of an execution's events, and the status it had when they were read."""

    status: str
    events: Sequence[Event]

    def is_last(self, limit: int) -> bool:
        """Whether nothing can follow; ``limit`` is what was asked for."""
        return self.status in x.FINAL and len(self.events) < limit


def describe(change: x.Change) -> tuple[str, dict[str, Any]]:
    """The type and the data of the event that tells of a change."""
    return _DESCRIBE[type(change)](change)


def _accepted(change: x.Accepted) -> tuple[str, dict[str, Any]]:
    new = change.execution
    data = {"flow_id": new.flow_id, "flow_version": new.flow_version, "priority": new.priority}
    return "execution.accepted", data


def _step_started(change: x.StepStarted) -> tuple[str, dict[str, Any]]:
    return "node.started", {"recovered": True} if change.recovered else {}


def _step_accepted(change: x.StepAccepted) -> tuple[str, dict[str, Any]]:
    return "node.waiting", {"reason": "agent", "until": show(change.until), "detail": TAKEN}


def _agent_reported(change: x.AgentReported) -> tuple[str, dict[str, Any]]:
    return "agent.state", {"state": change.report.state, "timestamp": show(change.report.reported_at)}


def _step_completed(change: x.StepCompleted) -> tuple[str, dict[str, Any]]:
    if change.error_code is None:
        return "node.completed", {}
    return "node.completed", {"error_code": change.error_code, "error_message": change.error_message}


def _step_waits(change: x.StepWaits) -> tuple[str, dict[str, Any]]:
    data: dict[str, Any] = {"reason": change.reason}
    if change.until is not None:
        data["until"] = show(change.until)
    if change.detail is not None:
        data["detail"] = change.detail
    if change.error_code is None:
        return "node.waiting", data
    data.update(error_code=change.error_code, error_message=change.error_message)
    return "node.retrying", data


def _failure(change: x.StepFailed) -> tuple[str, dict[str, Any]]:
    data: dict[str, Any] = {"error_code": change.error_code, "error_message": change.error_message}
    if change.is_tolerated:
        data["tolerated"] = True
    return "node.failed", data


def _finished(change: x.Finished) -> tuple[str, dict[str, Any]]:
    data: dict[str, Any] = {"execution_time": change.seconds}
    if change.error_code is not None:
        data.update(error_code=change.error_code, error_message=change.error_message)
    return f"execution.{change.status}", data


_DESCRIBE: Mapping[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    x.Accepted: _accepted,
    x.Started: lambda change: ("execution.started", {}),
    x.StepStarted: _step_started,
    x.StepWaits: _step_waits,
    x.StepAccepted: _step_accepted,
    x.AgentReported: _agent_reported,
    x.StepCompleted: _step_completed,
    x.StepFailed: _failure,
    x.StepSkipped: lambda change: ("node.skipped", {}),
    x.CancelRequested: lambda change: ("execution.cancel_requested", {"reason": change.reason}),
    x.Finished: _finished,
}
