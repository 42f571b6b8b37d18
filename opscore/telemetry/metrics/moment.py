"""The moment of a scrape: metrics that are looked at then, and not counted as things happen."""

from __future__ import annotations

from collections import Counter
from typing import Iterator, Mapping, Optional, Sequence, Union, get_args

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from opscore.domain.agents import AGENT_STATES, Health
from opscore.domain.executions import WaitReason
from opscore.domain.instants import SECOND, Instant, Seconds
from opscore.domain.ports import ExecutionTotals
from opscore.domain.surveys import Survey

Family = Union[CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily]

_SIZES = {
    "database": ("opscore_store_database_bytes", "Size of the database's file, without its log."),
    "wal": ("opscore_store_wal_bytes", "Size of the database's write-ahead log."),
    "free": ("opscore_store_disk_free_bytes", "Room on the disk that the database is on."),
}
_HELD = {
    "open_runs": "Executions held in memory.",
    "calls_in_flight": "Calls to agents that are open.",
    "calls_waiting": "Calls that wait for a slot or an agent.",
    "executions_queued": "Executions that wait in the store for their turn.",
}


@attrs.frozen
class Moment:
    """What was found."""

    now: Instant
    version: str
    survey: Survey
    labels: Sequence[str]
    """What each of the survey's agents is called in labels."""
    totals: Optional[ExecutionTotals]
    """None where the store did not answer."""
    units_waiting: float
    streams: int
    greatest_lag: Seconds
    dropped_lines: Mapping[str, int] = attrs.field(hash=False)
    """By where that was."""
    sizes: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """Of the store, in bytes; those that there are."""

    def families(self) -> Iterator[Family]:
        """All of it as metrics; made in a thread, of values that change no more."""
        yield from self._executions()
        yield from self._waits()
        yield from self._fleet()
        yield from self._store()
        for name, meaning in _HELD.items():
            yield GaugeMetricFamily(f"opscore_{name}", meaning, value=self.survey.gauges[name])
        yield GaugeMetricFamily("opscore_streams_open", "Event streams that are open.", value=self.streams)
        yield GaugeMetricFamily(
            "opscore_loop_lag_max_seconds", "The greatest lag of the loop within a minute.", value=self.greatest_lag
        )
        dropped = CounterMetricFamily(
            "opscore_log_lines_dropped", "Lines of the log that were dropped, by where.", labels=["where"]
        )
        for where, count in self.dropped_lines.items():
            dropped.add_metric([where], count)
        yield dropped
        yield InfoMetricFamily("opscore_build", "The running version.", value={"version": self.version})

    def _executions(self) -> Iterator[Family]:
        ended = CounterMetricFamily("opscore_executions", "Executions that ended, ever.", labels=["status"])
        opened = GaugeMetricFamily("opscore_executions_open", "Executions that have not ended.", labels=["status"])
        seconds = CounterMetricFamily("opscore_execution_seconds", "Time that ended executions ran, ever.")
        oldest = GaugeMetricFamily(
            "opscore_executions_oldest_queued_age_seconds",
            "How long the oldest queued execution has waited; 0 where none does.",
        )
        if self.totals is not None:
            for status in ("completed", "failed", "cancelled"):
                ended.add_metric([status], getattr(self.totals, status))
            for status in ("pending", "running", "paused"):
                opened.add_metric([status], getattr(self.totals, status))
            seconds.add_metric([], self.totals.seconds)
            oldest.add_metric([], self._age(self.totals.oldest_pending_at))
        yield from (ended, opened, seconds, oldest)

    def _waits(self) -> Iterator[Family]:
        count = GaugeMetricFamily("opscore_nodes_waiting", "Nodes that wait, by what for.", labels=["reason"])
        oldest = GaugeMetricFamily(
            "opscore_nodes_oldest_wait_age_seconds",
            "How long the node has waited that has waited longest; 0 where none does.",
            labels=["reason"],
        )
        for reason in get_args(WaitReason):
            wait = self.survey.waiting.get(reason)
            count.add_metric([reason], 0 if wait is None else wait.count)
            oldest.add_metric([reason], self._age(None if wait is None else wait.oldest_since))
        yield from (count, oldest)

    def _fleet(self) -> Iterator[Family]:
        states: Counter[str] = Counter()
        healths: Counter[str] = Counter()
        in_flight: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for view, agent in zip(self.survey.agents, self.labels):
            states[view.state] += 1
            healths[view.observed.health] += 1
            in_flight[agent] += view.observed.in_flight
            held[agent] += view.observed.breaker.state != "closed"
        yield _gauge("opscore_agents", "Registered agents, by state.", "state", {s: states[s] for s in AGENT_STATES})
        yield _gauge(
            "opscore_agents_by_health",
            "Registered agents, by what was seen of their health.",
            "health",
            {health: healths[health] for health in get_args(Health)},
        )
        yield _gauge("opscore_agent_calls_in_flight", "Calls to an agent that are open.", "agent", in_flight)
        yield _gauge(
            "opscore_agent_breaker_open",
            "Whether an agent could not be reached and gets no work, or one call as a trial.",
            "agent",
            held,
        )

    def _store(self) -> Iterator[Family]:
        yield GaugeMetricFamily(
            "opscore_store_up", "Whether the store answered this scrape.", value=self.totals is not None
        )
        yield GaugeMetricFamily(
            "opscore_store_units_waiting", "Units that wait for a commit.", value=self.units_waiting
        )
        for kind, (name, meaning) in _SIZES.items():
            family = GaugeMetricFamily(name, meaning)
            if kind in self.sizes:
                family.add_metric([], self.sizes[kind])
            yield family

    def _age(self, since: Optional[Instant]) -> Seconds:
        return 0.0 if since is None else max(0, self.now - since) / SECOND


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
