"""Metrics in Prometheus' text format, made anew at each scrape from what the operations know."""

from __future__ import annotations

from typing import Iterator, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from opscore.domain.ports import ExecutionTotals

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_GAUGES = {
    "open_runs": "Executions held in memory.",
    "calls_in_flight": "Calls to agents that are open.",
    "calls_waiting": "Calls that wait for a slot.",
    "executions_queued": "Executions that wait in the store for their turn.",
    "streams_open": "Event streams that are open.",
}


class _Snapshot(Collector):
    """One scrape's figures."""

    def __init__(self, totals: ExecutionTotals, gauges: Mapping[str, float], version: str) -> None:
        self._totals = totals
        self._gauges = gauges
        self._version = version

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        """The metric families."""
        ended = CounterMetricFamily("opscore_executions", "Executions that ended.", labels=["status"])
        opened = GaugeMetricFamily("opscore_executions_open", "Executions that have not ended.", labels=["status"])
        for status in ("completed", "failed", "cancelled"):
            ended.add_metric([status], getattr(self._totals, status))
        for status in ("pending", "running", "paused"):
            opened.add_metric([status], getattr(self._totals, status))
        seconds = CounterMetricFamily("opscore_execution_seconds", "Time that ended executions ran.")
        seconds.add_metric([], self._totals.seconds)
        yield from (ended, opened, seconds)
        for name, meaning in _GAUGES.items():
            yield GaugeMetricFamily(f"opscore_{name}", meaning, value=self._gauges[name])
        yield InfoMetricFamily("opscore_build", "The running version.", value={"version": self._version})


def exposition(totals: ExecutionTotals, gauges: Mapping[str, float], version: str) -> web.Response:
    """The answer to a scrape."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(totals, gauges, version))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": _TEXT})
