"""What the engine did, counted: an observer of it."""

from __future__ import annotations

import re
from typing import Any, Callable, Container, Mapping, Optional

from prometheus_client import CollectorRegistry, Counter, Histogram

from opscore.domain import executions as x
from opscore.domain.calls import Answered, Call, Deferred, Postponed, Refused, Reply
from opscore.domain.instants import SECOND, Instant, Seconds
from opscore.domain.ports import Subject
from opscore.telemetry.metrics.series import Names, Series

MOST_NAMES = 500
"""Agents, and flows, that have series of their own."""
MOST_CODES = 50
MOST_PAIRS = 2_000
"""Series of agents by error code."""

_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")
_NODE_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
_WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_RUN_BUCKETS = (0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
_OUTCOMES: Mapping[type, str] = {
    Answered: "answered",
    Refused: "refused",
    Deferred: "deferred",
    Postponed: "postponed",
    type(None): "dropped",
}


class EngineMetrics:
    """Implements :class:`opscore.domain.ports.Observer`."""

    def __init__(self, registry: CollectorRegistry, is_agent: Callable[[str], bool]) -> None:
        """Take what it works with.

        Args:
            registry: Where its metrics are.
            is_agent: Whether an id is that of a registered agent; flows may name whatever they like.
        """
        self.agents = Names(MOST_NAMES, is_agent)
        self._flows = Names(MOST_NAMES, lambda name: True)
        self._codes = Names(MOST_CODES, lambda name: _CODE.fullmatch(name) is not None)
        self._accepted = Series(
            Counter("opscore_flow_executions_accepted", "Executions that were accepted.", ["flow"], registry=registry)
        )
        self._ended = Series(
            Counter("opscore_flow_executions", "Executions that ended.", ["flow", "status"], registry=registry)
        )
        self._durations = Series(
            Histogram(
                "opscore_flow_execution_duration_seconds",
                "Time from the start of an execution to its end.",
                ["flow"],
                buckets=_RUN_BUCKETS,
                registry=registry,
            )
        )
        self._waits = Series(
            Histogram(
                "opscore_node_wait_duration_seconds",
                "Time that nodes waited, by what for, when that wait was over.",
                ["reason"],
                buckets=_WAIT_BUCKETS,
                registry=registry,
            )
        )
        self._nodes = Series(
            Histogram(
                "opscore_node_duration_seconds",
                "Time from a call to an agent to what it came to, for each attempt.",
                ["agent"],
                buckets=_NODE_BUCKETS,
                registry=registry,
            )
        )
        self._calls = Series(
            Counter("opscore_agent_calls", "Calls to agents that came back.", ["agent", "outcome"], registry=registry)
        )
        self._retries = Series(
            Counter(
                "opscore_node_retries",
                "Attempts that are to be made again, and why.",
                ["agent", "error_code"],
                registry=registry,
            ),
            MOST_PAIRS,
        )
        self._failures = Series(
            Counter(
                "opscore_node_failures",
                "Nodes that failed for good, and why.",
                ["agent", "error_code"],
                registry=registry,
            ),
            MOST_PAIRS,
        )
        self._tasks: dict[str, tuple[str, Instant]] = {}
        """The task that each agent holds which answers later: its execution, and since when."""
        self._tell: Mapping[type, Callable[[Subject, x.Unit, Any], None]] = {
            x.Accepted: self._on_accepted,
            x.StepStarted: self._on_started,
            x.StepWaits: self._on_waits,
            x.StepCompleted: self._on_completed,
            x.StepFailed: self._on_failed,
            x.Finished: self._on_finished,
        }

    def wrote(self, subject: Subject, unit: x.Unit, seconds: Seconds) -> None:
        """A unit has become durable."""
        for change in unit.changes:
            tell = self._tell.get(type(change))
            if tell is not None:
                tell(subject, unit, change)

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """A call came back. That of an agent that answers later says nothing of the time its work takes."""
        agent_id = call.agent.spec.agent_id
        agent = self.agents(agent_id)
        self._calls.of(agent, _OUTCOMES[type(reply)]).inc()
        if isinstance(reply, (Answered, Refused)) and agent_id not in self._tasks:
            self._nodes.of(agent).observe(seconds)

    def keep_agents(self, wanted: Container[str]) -> None:
        """Give up the series of agents that are registered no more."""
        gone = self.agents.keep(wanted)
        if gone:
            for series in (self._nodes, self._calls, self._retries, self._failures):
                series.forget(gone)
        for agent_id in [agent_id for agent_id in self._tasks if agent_id not in wanted]:
            del self._tasks[agent_id]

    # -- changes -------------------------------------------------------------------------------

    def _on_accepted(self, subject: Subject, unit: x.Unit, change: x.Accepted) -> None:
        self._accepted.of(self._flows(subject.flow_id)).inc()

    def _on_started(self, subject: Subject, unit: x.Unit, change: x.StepStarted) -> None:
        if change.waited is not None:
            self._waited(unit, change.waited)
        if change.task_until is not None and change.agent_id is not None:
            self._tasks[change.agent_id] = (unit.execution_id, unit.at)

    def _on_waits(self, subject: Subject, unit: x.Unit, change: x.StepWaits) -> None:
        if change.waited is not None:
            self._waited(unit, change.waited)
        self._task_over(unit, change.closes)
        if change.error_code is not None:
            self._retries.of(self.agents(change.agent_id), self._codes(change.error_code)).inc()

    def _on_completed(self, subject: Subject, unit: x.Unit, change: x.StepCompleted) -> None:
        self._task_over(unit, change.closes)
        if change.error_code is not None:
            self._failures.of(self.agents(change.agent_id), self._codes(change.error_code)).inc()

    def _on_failed(self, subject: Subject, unit: x.Unit, change: x.StepFailed) -> None:
        self._task_over(unit, change.closes)
        self._failures.of(self.agents(change.agent_id), self._codes(change.error_code)).inc()

    def _on_finished(self, subject: Subject, unit: x.Unit, change: x.Finished) -> None:
        flow = self._flows(subject.flow_id)
        self._ended.of(flow, change.status).inc()
        if change.seconds > 0:  # or it never began
            self._durations.of(flow).observe(change.seconds)
        for agent_id in (*change.closes, *change.abandons):
            self._tasks.pop(agent_id, None)

    def _waited(self, unit: x.Unit, waited: x.Waited) -> None:
        self._waits.of(waited.reason).observe(max(0, unit.at - waited.since) / SECOND)

    def _task_over(self, unit: x.Unit, agent_id: Optional[str]) -> None:
        """An agent that answers later has answered, or let its time pass."""
        if agent_id is None:
            return
        execution_id, since = self._tasks.pop(agent_id, ("", 0))
        if execution_id == unit.execution_id:
            self._nodes.of(self.agents(agent_id)).observe(max(0, unit.at - since) / SECOND)
