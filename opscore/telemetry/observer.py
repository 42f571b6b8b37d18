"""What happens to executions, nodes and calls, told to the log after it became durable.

Nothing is built for a level that is off. Loggers: ``opscore.executions``, ``opscore.nodes``, ``opscore.calls``.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping, Optional

from opscore.domain import executions as x
from opscore.domain.calls import Call, Deferred, Postponed, Refused, Reply
from opscore.domain.instants import Seconds
from opscore.domain.ports import Subject

_EXECUTIONS = logging.getLogger("opscore.executions")
_NODES = logging.getLogger("opscore.nodes")
_CALLS = logging.getLogger("opscore.calls")

_BUG = "INTERNAL_ERROR"


class LogObserver:
    """Implements :class:`opscore.domain.ports.Observer`."""

    def __init__(self) -> None:
        self._tell: Mapping[type, Callable[[Subject, Any], None]] = {
            x.Accepted: _accepted,
            x.Started: _started,
            x.StepStarted: _step_started,
            x.StepWaits: _step_waits,
            x.StepAccepted: _step_accepted,
            x.StepCompleted: _step_completed,
            x.StepFailed: _step_failed,
            x.StepSkipped: _step_skipped,
            x.CancelRequested: _cancel_requested,
            x.Finished: _finished,
        }

    def wrote(self, subject: Subject, unit: x.Unit, seconds: Seconds) -> None:
        """Tell of each change of a unit."""
        for change in unit.changes:
            tell = self._tell.get(type(change))
            if tell is not None:
                tell(subject, change)

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """Tell of a call and the time it took."""
        if not _CALLS.isEnabledFor(logging.DEBUG):
            return
        facts: dict[str, Any] = {
            "execution_id": call.execution_id,
            "flow_id": call.flow_id,
            "node_id": call.node_id,
            "agent_id": call.agent.spec.agent_id,
            "attempt": call.attempt,
            "duration_ms": _milliseconds(seconds),
        }
        if reply is None:
            _CALLS.debug("call.dropped", extra=facts)
        elif isinstance(reply, (Refused, Postponed)):
            _CALLS.debug("call.refused", extra={**facts, "error_code": reply.error_code, "reason": reply.error_message})
        else:
            _CALLS.debug("call.taken" if isinstance(reply, Deferred) else "call.answered", extra=facts)


def _of(subject: Subject, **more: Any) -> dict[str, Any]:
    return {"execution_id": subject.execution_id, "flow_id": subject.flow_id, "trace_id": subject.trace_id, **more}


def _step(subject: Subject, change: Any, **more: Any) -> dict[str, Any]:
    return _of(subject, node_id=change.node_id, agent_id=change.agent_id, **more)


def _milliseconds(seconds: Seconds) -> float:
    return round(seconds * 1000, 3)


def _accepted(subject: Subject, change: x.Accepted) -> None:
    if _EXECUTIONS.isEnabledFor(logging.DEBUG):
        new = change.execution
        facts = _of(subject, flow_version=subject.flow_version, priority=new.priority, user_id=new.user_id)
        _EXECUTIONS.debug("execution.accepted", extra=facts)


def _started(subject: Subject, _: x.Started) -> None:
    if _EXECUTIONS.isEnabledFor(logging.DEBUG):
        _EXECUTIONS.debug("execution.started", extra=_of(subject))


def _cancel_requested(subject: Subject, change: x.CancelRequested) -> None:
    if _EXECUTIONS.isEnabledFor(logging.INFO):
        _EXECUTIONS.info("execution.cancel_requested", extra=_of(subject, reason=change.reason))


def _finished(subject: Subject, change: x.Finished) -> None:
    level = logging.INFO
    if change.status == "failed":
        level = logging.ERROR if change.error_code == _BUG else logging.WARNING
    if _EXECUTIONS.isEnabledFor(level):
        facts = _of(subject, duration_ms=_milliseconds(change.seconds))
        if change.error_code is not None:
            facts.update(error_code=change.error_code, reason=change.error_message)
        _EXECUTIONS.log(level, f"execution.{change.status}", extra=facts)


def _step_started(subject: Subject, change: x.StepStarted) -> None:
    if _NODES.isEnabledFor(logging.DEBUG):
        recovered = True if change.recovered else None
        _NODES.debug("node.started", extra=_step(subject, change, attempt=change.attempt, recovered=recovered))


def _step_waits(subject: Subject, change: x.StepWaits) -> None:
    """After a failure it is something to look at, otherwise the usual course of things."""
    is_retry = change.error_code is not None
    level = logging.WARNING if is_retry else logging.DEBUG
    if _NODES.isEnabledFor(level):
        facts = _step(
            subject,
            change,
            attempt=change.attempt,
            error_code=change.error_code,
            failures=change.failures or None,
            waiting_for=change.reason,
            reason=change.error_message if is_retry else change.detail,
        )
        _NODES.log(level, "node.retrying" if is_retry else "node.waiting", extra=facts)


def _step_accepted(subject: Subject, change: x.StepAccepted) -> None:
    if _NODES.isEnabledFor(logging.DEBUG):
        facts = _step(subject, change, attempt=change.attempt, waiting_for="agent", reason="It has taken the task.")
        _NODES.debug("node.waiting", extra=facts)


def _step_completed(subject: Subject, change: x.StepCompleted) -> None:
    is_replaced = change.error_code is not None
    level = logging.WARNING if is_replaced else logging.DEBUG
    if _NODES.isEnabledFor(level):
        facts = _step(
            subject, change, attempt=change.attempt, error_code=change.error_code, reason=change.error_message
        )
        _NODES.log(level, "node.replaced" if is_replaced else "node.completed", extra=facts)


def _step_failed(subject: Subject, change: x.StepFailed) -> None:
    if _NODES.isEnabledFor(logging.WARNING):
        facts = _step(
            subject,
            change,
            attempt=change.attempt,
            error_code=change.error_code,
            failures=change.failures,
            tolerated=True if change.is_tolerated else None,
            reason=change.error_message,
        )
        _NODES.warning("node.failed", extra=facts)


def _step_skipped(subject: Subject, change: x.StepSkipped) -> None:
    if _NODES.isEnabledFor(logging.DEBUG):
        _NODES.debug("node.skipped", extra=_step(subject, change))
