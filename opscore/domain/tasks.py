"""Tasks of agents that answer later: what their reports mean for the one task that each may hold.

``active`` says that the agent has begun; then ``idle`` or ``finished`` say that it is done; ``error`` says that it
failed. Reports may come twice and out of order, so they are read in the order of the agent's own clock.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

import attrs
import orjson

from opscore.domain.agents import Report
from opscore.domain.calls import Answered, Refused
from opscore.domain.instants import Instant
from opscore.domain.planner import as_output

_ENDS = ("idle", "finished")
_LONGEST_MESSAGE = 1_000


@attrs.frozen
class Begun:
    """The agent has begun its task; ``at`` is by its own clock."""

    at: Instant


Verdict = Union[None, Begun, Answered, Refused]


@attrs.frozen
class OpenTask:
    """A task that an agent holds, or is being handed."""

    agent_id: str
    execution_id: str
    node_id: str
    until: Instant
    """When its time is over."""
    accepted_at: Optional[Instant] = None
    begun_at: Optional[Instant] = None
    """By the agent's clock."""
    is_abandoned: bool = False
    """Its execution has ended; the agent may not know yet."""
    ended: Optional[Report] = None
    """The newest report that would have ended it, had the agent begun; kept for one that comes late."""
    since: Instant = 0
    """By the agent's clock: what it says to have begun before this was something else."""

    @property
    def task_id(self) -> str:
        """The id that agents know it by, unique among all executions."""
        return task_id(self.execution_id, self.node_id)

    @property
    def is_taken(self) -> bool:
        """Whether the agent is known to have it, so that it is not handed over again."""
        return self.accepted_at is not None or self.begun_at is not None

    def judge(self, report: Report) -> Verdict:
        """What a report of its agent means for it."""
        details = orjson.loads(report.details)
        named = _named(details)
        if not self._is_meant(named):
            return None
        if report.state == "active":
            if self.ended is not None and self.since < report.reported_at < self.ended.reported_at:
                return _done(orjson.loads(self.ended.details))
            return Begun(report.reported_at) if self.begun_at is None else None
        if report.state == "error":
            return Refused(_code(details), _message(details), retryable=details.get("retryable") is not False)
        if report.state in _ENDS and (self.begun_at is not None or named is not None):
            return _done(details)
        return None

    def with_end(self, report: Report, before: Optional[Report]) -> OpenTask:
        """The task with a report remembered if that would end it, had the agent begun.

        Args:
            report: What the agent says.
            before: The newest of what it said before; what is no newer has had its effect already.
        """
        is_news = report.is_newer_than(before) and not report.repeats(before)
        if report.state not in _ENDS or not is_news or not self._is_meant(_named(orjson.loads(report.details))):
            return self
        began_after = self.since if self.ended is not None or before is None else before.reported_at
        return attrs.evolve(self, ended=report, since=began_after)

    def _is_meant(self, named: Optional[str]) -> bool:
        """Whether a report that names this task, or none, is about it."""
        return named is None or named in (self.task_id, self.node_id)


def task_id(execution_id: str, node_id: str) -> str:
    """The id of a node's task; the same as the idempotency key of its call."""
    return f"{execution_id}:{node_id}"


def split_task_id(given: str) -> tuple[str, str]:
    """The execution and the node of a task id; an empty execution where only a node is named."""
    execution_id, colon, node_id = given.partition(":")
    return (execution_id, node_id) if colon else ("", execution_id)


def _named(details: Mapping[str, Any]) -> Optional[str]:
    for field in ("opscore_task_id", "taskId"):
        if isinstance(details.get(field), str):
            return str(details[field])
    return None


def _done(details: Mapping[str, Any]) -> Answered:
    for field in ("result", "output"):
        if details.get(field) is not None:
            return Answered(as_output(details[field]))
    return Answered({})


def _code(details: Mapping[str, Any]) -> str:
    code = details.get("error_code")
    return code if isinstance(code, str) and 0 < len(code) <= 100 and code.isprintable() else "AGENT_ERROR"


def _message(details: Mapping[str, Any]) -> str:
    for field in ("error_message", "error", "message", "reason"):
        told = details.get(field)
        if told:
            text = told if isinstance(told, str) else orjson.dumps(told).decode()
            return text.replace("\x00", "\ufffd")[:_LONGEST_MESSAGE]
    return "The agent reported an error and gave no message."
