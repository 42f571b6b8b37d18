"""What the web server answered, counted."""

from __future__ import annotations

from typing import Optional

from prometheus_client import CollectorRegistry, Counter, Histogram

from opscore.domain.instants import Seconds
from opscore.telemetry.metrics.series import OTHER, Series

NOTHING_THERE = "none"
"""The route of requests for paths that nothing is at."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpMetrics:
    """Requests by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Series(
            Counter(
                "opscore_http_requests",
                "Requests that were answered.",
                ["method", "route", "status"],
                registry=registry,
            )
        )
        self._durations = Series(
            Histogram(
                "opscore_http_request_duration_seconds",
                "Time until a request was answered; streams, and requests that ask to wait, are not in it.",
                ["method", "route"],
                buckets=_BUCKETS,
                registry=registry,
            )
        )

    def answered(self, method: str, route: Optional[str], status: int, seconds: Optional[Seconds]) -> None:
        """A request was answered. Methods are whatever a client sends; the routes are ours, and few."""
        method = method if method in _METHODS else OTHER
        route = route or NOTHING_THERE
        self._requests.of(method, route, str(status)).inc()
        if seconds is not None:
            self._durations.of(method, route).observe(seconds)
