"""What a scrape brings, with a real registry and sources that are made for the test."""

from __future__ import annotations

import asyncio
from typing import Any, Optional

import pytest
from harness import VirtualClock
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from promtool import promtool
from scraped import Scraped

from opscore.domain.errors import StoreError, Unavailable
from opscore.domain.ports import ExecutionTotals
from opscore.domain.surveys import Survey
from opscore.telemetry.metrics import Metrics, Sources

GAUGES = {"open_runs": 1, "calls_in_flight": 2, "calls_waiting": 3, "executions_queued": 4}


def sources(error: Optional[Exception] = None, **others: Any) -> Sources:
    async def survey() -> Survey:
        return Survey(GAUGES, {})

    async def totals() -> ExecutionTotals:
        if error is not None:
            raise error
        return ExecutionTotals(completed=5, seconds=2.5)

    given = {"sizes": lambda: {"database": 1, "wal": 2, "free": 3}, **others}
    return Sources(survey, totals, lambda: {"waiting": 7}, is_agent=lambda agent_id: True, **given)


async def text(metrics: Metrics, accept: str = "") -> str:
    return (await metrics.scrape(accept, streams=9)).body.decode()


async def test_what_is_looked_at_is_in_the_text() -> None:
    """Figures of the engine, the store, the streams and the logs come with their values of the moment."""
    metrics = Metrics("1.2.3", VirtualClock())
    async with metrics.watching(sources(dropped_lines=lambda: {"queue": 8})):
        found = Scraped(await text(metrics))
    assert {name: found.value(f"opscore_{name}") for name in GAUGES} == GAUGES
    assert found.values("opscore_executions_total") == {"completed": 5, "failed": 0, "cancelled": 0}
    assert found.value("opscore_store_units_waiting") == 7
    assert found.value("opscore_store_wal_bytes") == 2
    assert found.value("opscore_streams_open") == 9
    assert found.value("opscore_log_lines_dropped_total", where="queue") == 8
    assert found.value("opscore_build_info", version="1.2.3") == 1
    assert (found.value("process_resident_memory_bytes") or 0) > 0


@pytest.mark.parametrize("error", [StoreError("It is dead."), asyncio.TimeoutError()])
async def test_without_a_store_the_rest_is_told(error: Exception) -> None:
    """Where the store does not answer, that is told, with all that is known without it."""
    metrics = Metrics("1.2.3", VirtualClock())
    async with metrics.watching(sources(error)):
        found = Scraped(await text(metrics))
    assert found.value("opscore_store_up") == 0
    assert found.values("opscore_executions_total") == {}
    assert found.value("opscore_open_runs") == 1


async def test_a_disk_that_cannot_be_asked_leaves_its_sizes_out() -> None:
    """Sizes that the system does not tell are not told, and everything else is."""

    def fails() -> dict[str, int]:
        raise OSError(5, "Input/output error")

    metrics = Metrics("1.2.3", VirtualClock())
    async with metrics.watching(sources(sizes=fails)):
        found = Scraped(await text(metrics))
    assert found.values("opscore_store_wal_bytes") == {}
    assert found.value("opscore_store_up") == 1


async def test_both_formats_say_the_same() -> None:
    """The text for Prometheus passes promtool, OpenMetrics the library's strict reader, and their samples are alike."""
    metrics = Metrics("1.2.3", VirtualClock())
    metrics.answered("GET", "/agents", 200, 0.01)
    metrics.store.committed(3, 0.002)
    async with metrics.watching(sources()):
        plain = await metrics.scrape("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", 0)
        modern = await metrics.scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", 0)
    assert plain.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert modern.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    promtool("check", "metrics", given=plain.body)
    read = {
        (sample.name, tuple(sorted(sample.labels)))
        for family in text_string_to_metric_families(modern.body.decode())
        for sample in family.samples
    }
    names = {name for name, _ in read}
    assert read
    assert all(name in plain.body.decode() for name in names)
    assert not [name for name in names if name.endswith("_created")]


async def test_two_applications_do_not_meet() -> None:
    """What one application counts the other does not know."""
    one, other = Metrics("1", VirtualClock()), Metrics("2", VirtualClock())
    one.store.committed(1, 0.1)
    async with one.watching(sources()), other.watching(sources()):
        assert Scraped(await text(one)).value("opscore_store_commit_units_count") == 1
        assert Scraped(await text(other)).value("opscore_store_commit_units_count") == 0


async def test_nothing_is_scraped_of_a_server_that_does_not_run() -> None:
    """Before and after its work a scrape is refused."""
    metrics = Metrics("1", VirtualClock())
    async with metrics.watching(sources()):
        pass
    with pytest.raises(Unavailable):
        await text(metrics)


async def test_methods_and_paths_of_strangers_are_no_labels() -> None:
    """A method that is none of HTTP's, and a path that nothing is at, have one series each."""
    metrics = Metrics("1", VirtualClock())
    for number in range(100):
        metrics.answered(f"BREW{number}", None, 404, 0.01)
    async with metrics.watching(sources()):
        found = Scraped(await text(metrics))
    assert found.values("opscore_http_requests_total") == {"other,none,404": 100}


async def test_the_heartbeat_tells_how_late_the_loop_was() -> None:
    """A beat that comes late is counted with its lateness; the greatest is told for a minute, and then no more."""
    clock = VirtualClock()
    metrics = Metrics("1", clock)
    async with metrics.watching(sources()):
        clock.advance(1)
        clock.stall(3)
        late = Scraped(await text(metrics))
        clock.advance(61)
        later = Scraped(await text(metrics))
    assert late.value("opscore_loop_lag_seconds_count") == 5
    assert late.value("opscore_loop_lag_max_seconds") == 2.75
    assert late.value("opscore_loop_lag_seconds_bucket", le="0.001") == 4
    assert later.value("opscore_loop_lag_max_seconds") == 0
    clock.advance(10)
    assert not clock.timers
