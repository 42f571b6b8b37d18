"""Metrics for Prometheus: counted as things happen, rendered when somebody scrapes.

Everything is one application's own: two servers in one process do not meet. Counting happens on the loop and costs
about a microsecond; rendering, which may be some tens of thousands of lines, happens in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Optional

import attrs
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from opscore.domain.errors import StoreError, Unavailable
from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock, ExecutionTotals, Page
from opscore.domain.surveys import Survey
from opscore.telemetry.metrics.engine import EngineMetrics
from opscore.telemetry.metrics.heartbeat import Heartbeat
from opscore.telemetry.metrics.http import HttpMetrics
from opscore.telemetry.metrics.moment import Moment
from opscore.telemetry.metrics.store import StoreMetrics

__all__ = ["Metrics", "Sources"]

log = logging.getLogger(__name__)

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text"
_STORE_PATIENCE: Seconds = 3.0
"""A store that answers more slowly is not waited for: scrapers give up after ten seconds, and then have nothing."""


@attrs.frozen
class Sources:
    """What is looked at when somebody scrapes."""

    survey: Callable[[], Awaitable[Survey]]
    totals: Callable[[], Awaitable[ExecutionTotals]]
    figures: Callable[[], Mapping[str, float]]
    sizes: Callable[[], Mapping[str, int]]
    """Called in a thread; raises OSError."""
    is_agent: Callable[[str], bool]
    """Whether an id is that of a registered agent; called at any time."""
    dropped_lines: Callable[[], Mapping[str, int]] = dict
    """Lines of the log that were dropped, by where, as far as that is counted."""


class Metrics:
    """The metrics of one application; implements :class:`opscore.domain.ports.WebMetrics`."""

    def __init__(self, version: str, clock: Clock) -> None:
        self._version = version
        self._clock = clock
        self._sources: Optional[Sources] = None
        self._threads: Optional[ThreadPoolExecutor] = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.engine = EngineMetrics(self._registry, self._is_agent)
        self.store = StoreMetrics(self._registry)
        self._heartbeat = Heartbeat(self._registry, clock)
        self.answered = HttpMetrics(self._registry).answered

    @asynccontextmanager
    async def watching(self, sources: Sources) -> AsyncIterator[None]:
        """Within the block there is something to scrape, and the loop's lag is measured."""
        self._sources = sources
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="opscore-metrics")
        self._heartbeat.start()
        try:
            yield
        finally:
            self._heartbeat.stop()
            self._threads.shutdown(wait=False)
            self._sources = self._threads = None

    async def scrape(self, accept: str, streams: int) -> Page:
        """All metrics as text for Prometheus, or as OpenMetrics where an Accept header names that.

        Raises:
            Unavailable: The server is not running.
        """
        sources, threads = self._sources, self._threads
        if sources is None or threads is None:
            raise Unavailable("The server is not running.")
        survey = await sources.survey()
        agents = [view.agent.spec.agent_id for view in survey.agents]
        self.engine.keep_agents(frozenset(agents))
        moment = Moment(
            now=self._clock.now(),
            version=self._version,
            survey=survey,
            labels=[self.engine.agents(agent_id) for agent_id in agents],
            totals=await self._totals(sources),
            units_waiting=sources.figures()["waiting"],
            streams=streams,
            greatest_lag=self._heartbeat.greatest,
            dropped_lines=sources.dropped_lines(),
        )
        render = partial(self._render, moment, sources.sizes, is_open=_OPENMETRICS in accept)
        return await asyncio.get_running_loop().run_in_executor(threads, render)

    def _is_agent(self, agent_id: str) -> bool:
        return self._sources is not None and self._sources.is_agent(agent_id)

    async def _totals(self, sources: Sources) -> Optional[ExecutionTotals]:
        """What only the store knows; None when it does not say so soon: then all else is wanted the more."""
        try:
            return await asyncio.wait_for(sources.totals(), _STORE_PATIENCE)
        except (StoreError, asyncio.TimeoutError) as error:
            log.warning("metrics.store_failed", extra={"reason": str(error) or "no answer in time"})
            return None

    # -- in a thread ---------------------------------------------------------------------------

    def _render(self, moment: Moment, sizes: Callable[[], Mapping[str, int]], *, is_open: bool) -> Page:
        found = _Collected(self._registry, attrs.evolve(moment, sizes=_sizes(sizes)))
        if is_open:
            body: bytes = openmetrics.generate_latest(found)  # type: ignore[no-untyped-call]
            return Page(body, openmetrics.CONTENT_TYPE_LATEST)
        return Page(generate_latest(found), _TEXT)


class _Collected(Collector):
    """What was counted and what was found, without the instants at which each series began.

    The library makes those a series more for each one, and nothing that people scrape with needs them.
    """

    def __init__(self, counted: CollectorRegistry, moment: Moment) -> None:
        self._counted = counted
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        for metric in chain(self._counted.collect(), self._moment.families()):
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _sizes(ask: Callable[[], Mapping[str, int]]) -> Mapping[str, int]:
    try:
        return ask()
    except OSError as error:
        log.warning("metrics.sizes_failed", extra={"reason": error.strerror or str(error)})
        return {}
