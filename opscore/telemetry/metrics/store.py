"""What the store did, counted: an observer of it."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from opscore.domain.instants import Seconds
from opscore.domain.ports import Refusal
from opscore.telemetry.metrics.series import Series

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UNITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class StoreMetrics:
    """Implements :class:`opscore.domain.ports.StoreObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._commits = Histogram(
            "opscore_store_commit_duration_seconds",
            "Time of a group commit, from BEGIN to the disk.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._units = Histogram(
            "opscore_store_commit_units", "Units written in a group commit.", buckets=_UNITS, registry=registry
        )
        self._reads = Histogram(
            "opscore_store_read_duration_seconds",
            "Time from a question to the store to its answer.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refused = Series(
            Counter(
                "opscore_store_units_refused", "Units that were not written, and why.", ["reason"], registry=registry
            )
        )
        for reason in get_args(Refusal):
            self._refused.of(reason)

    def committed(self, units: int, seconds: Seconds) -> None:
        """So many units were written in one transaction."""
        self._commits.observe(seconds)
        self._units.observe(units)

    def refused(self, reason: Refusal) -> None:
        """A unit was not written."""
        self._refused.of(reason).inc()

    def read(self, seconds: Seconds) -> None:
        """An answer was read."""
        self._reads.observe(seconds)
