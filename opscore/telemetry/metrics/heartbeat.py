"""The heartbeat: it is to come at fixed times, and how late it comes is how long the loop was busy with something."""

from __future__ import annotations

from collections import deque
from typing import Optional

from prometheus_client import CollectorRegistry, Histogram

from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock, TimerHandle

_INTERVAL: Seconds = 0.25
_WINDOW: Seconds = 60.0
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Heartbeat:
    """Beats from :meth:`start` to :meth:`stop`, which whoever starts it calls."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._lags = Histogram(
            "opscore_loop_lag_seconds", "How late the event loop was.", buckets=_BUCKETS, registry=registry
        )
        self._latest: deque[Seconds] = deque(maxlen=int(_WINDOW / _INTERVAL))
        self._due: Seconds = 0.0
        self._timer: Optional[TimerHandle] = None

    def start(self) -> None:
        """Begin; on the loop that it is about."""
        self._due = self._clock.monotonic() + _INTERVAL
        self._timer = self._clock.call_later(_INTERVAL, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def greatest(self) -> Seconds:
        """The greatest lag of the last minute, or of the last 240 beats where that is longer."""
        return max(self._latest, default=0.0)

    def _beat(self) -> None:
        lag = max(0.0, self._clock.monotonic() - self._due)
        self._lags.observe(lag)
        self._latest.append(lag)
        self.start()
