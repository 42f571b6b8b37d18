"""Events: the numbered history of an execution, one for each change; and the feed, one order over all of them."""

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
STATE_CHANGED = "agent.state"
EVENT_WORDS: Mapping[str, frozenset[str]] = {
    **{word: frozenset((word,)) for word in EVENT_TYPES},
    **{
        f"{kind}.*": frozenset(word for word in EVENT_TYPES if word.startswith(f"{kind}."))
        for kind in ("execution", "node", "agent")
    },
}
"""What names types of events: each by itself, and all that begin alike."""


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


@attrs.frozen
class FeedEvent:
    """An event in its place among all events; ``position`` rises without a gap.

    One of an agent outside any task belongs to no execution.
    """

    position: int
    execution_id: Optional[str]
    seq: Optional[int]
    flow_id: Optional[str]
    type: str
    at: Instant
    data: str
    node_id: Optional[str] = None
    agent_id: Optional[str] = None
    attempt: Optional[int] = None


@attrs.frozen
class EventFilter:
    """Which events are wanted: those that fit all that is given."""

    execution_id: Optional[str] = None
    flow_id: Optional[str] = None
    agent_id: Optional[str] = None
    types: Optional[frozenset[str]] = None

    def fits(self, event: FeedEvent) -> bool:
        """Whether an event is one of them."""
        return (
            (self.types is None or event.type in self.types)
            and (self.execution_id is None or event.execution_id == self.execution_id)
            and (self.flow_id is None or event.flow_id == self.flow_id)
            and (self.agent_id is None or event.agent_id == self.agent_id)
        )


EVERYTHING = EventFilter()


@attrs.frozen
class FeedPage:
    """A page of the feed, and how far it reaches."""

    after: int
    """The position after which it begins."""
    events: Sequence[FeedEvent]
    passed: int
    """All events up to this position are in the page, or before it, or are not wanted, or are gone."""
    newest: int
    """The position of the newest event of that moment, wanted or not."""
    pruned_to: int = 0
    """The greatest position that was pruned; some below it may be there."""
    oldest: int = 0
    """The first position above ``after`` that is there; the next to come where there is none."""

    @property
    def is_last(self) -> bool:
        """Whether nothing more was there."""
        return self.passed >= self.newest

    @property
    def is_pruned(self) -> bool:
        """Whether some of what followed ``after`` is gone."""
        return self.pruned_to > self.after


def state_data(state: str, reported_at: Instant) -> dict[str, Any]:
    """What the event of an agent's report tells."""
    return {"state": state, "timestamp": show(reported_at)}


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
    return STATE_CHANGED, state_data(change.report.state, change.report.reported_at)


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
