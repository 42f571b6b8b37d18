from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import AsyncIterator, Optional

import pytest
import pytest_asyncio

from opscore.domain.agents import AgentSpec, Report
from opscore.domain.errors import Stale
from opscore.domain.events import EVENT_WORDS, EVERYTHING, EventFilter, FeedEvent
from opscore.domain.executions import (
    Accepted,
    Finished,
    NewExecution,
    Started,
    StepCompleted,
    StepFailed,
    StepStarted,
    Unit,
)
from opscore.domain.flow_reader import read_flow
from opscore.store import SqlStore, open_store
from opscore.store.migrate import known_migrations

FLOWS = ("f", "g")
DAY = 24 * 3_600_000_000


@pytest_asyncio.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as opened:
        for flow_id in FLOWS:
            await opened.add_flow_version(read_flow({"flow_id": flow_id, "nodes": [{"id": "n", "agent_id": "a"}]}), 1)
        yield opened


def name(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012}"


def begun(number: int) -> Unit:
    """Three events."""
    new = NewExecution(name(number), FLOWS[number % 2], 1, "{}", "{}", priority=0, created_at=number)
    step = StepStarted("n", f"a{number % 3}", 1, is_new=True, is_exit=True)
    return Unit(name(number), 0, number, (Accepted(new), Started(), step))


def ended(number: int, at: Optional[int] = None) -> Unit:
    """Two events."""
    done = StepCompleted("n", f"a{number % 3}", 1, "{}")
    failed = StepFailed("n", f"a{number % 3}", 1, 1, "E", "no ink")
    changes = (done, Finished("completed", 1.0)) if number % 5 else (failed, Finished("failed", 1.0, "E", "no ink"))
    return Unit(name(number), 3, at or number, changes)


async def everything(store: SqlStore, limit: int, wanted: EventFilter = EVERYTHING, after: int = 0) -> list[FeedEvent]:
    """All wanted events, read page by page."""
    found: list[FeedEvent] = []
    while True:
        page = await store.feed(wanted, after, limit)
        assert page.passed >= after
        found += page.events
        after = page.passed
        if page.is_last:
            return found


async def filled(store: SqlStore) -> int:
    """Executions that begin and end at once with each other, among units that fail and agents that report; events."""
    writes = [store.commit(begun(number)) for number in range(1, 41)]
    writes += [store.add_report(Report("b", "idle", 1, 1), is_change=True)]
    assert not [one for one in await asyncio.gather(*writes, return_exceptions=True) if one]
    writes = []
    for number in range(1, 41):
        writes += [store.commit(ended(number)), store.commit(ended(number)), store.commit(begun(number))]
        writes += [store.add_report(Report("b", "active", number, number + 1), is_change=number == 7)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(one, Stale) for one in outcomes) == 80
    return 40 * 5 + 2


@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_all_events_have_one_order_without_a_gap(store: SqlStore, limit: int) -> None:
    """Numbers rise one by one over all units, those that failed in the same batch left out, in pages of any size."""
    count = await filled(store)
    found = await everything(store, limit)
    assert [one.position for one in found] == list(range(1, count + 1))
    assert await store.newest_position() == count
    for number in range(1, 41):
        own = [one for one in found if one.execution_id == name(number)]
        history = (await store.history(name(number), 0, 10)).events
        assert [(one.seq, one.type, one.at, one.data, one.node_id, one.agent_id, one.attempt) for one in own] == [
            (one.seq, one.type, one.at, one.data, one.node_id, one.agent_id, one.attempt) for one in history
        ]
        assert {one.flow_id for one in own} == {FLOWS[number % 2]}
    outside = [one for one in found if one.execution_id is None]
    assert [(one.seq, one.flow_id, one.type, one.agent_id, one.at) for one in outside] == [
        (None, None, "agent.state", "b", at) for at in (1, 8)
    ]
    assert outside[1].data == '{"state":"active","timestamp":"1970-01-01T00:00:00.000007Z"}'


@pytest.mark.parametrize(
    "wanted",
    [
        EventFilter(execution_id=name(7)),
        EventFilter(execution_id=name(7), types=EVENT_WORDS["node.*"]),
        EventFilter(flow_id="g"),
        EventFilter(agent_id="a1"),
        EventFilter(agent_id="b"),
        EventFilter(agent_id="nobody"),
        EventFilter(types=EVENT_WORDS["node.failed"] | EVENT_WORDS["agent.*"]),
        EventFilter(flow_id="f", agent_id="a2", types=EVENT_WORDS["execution.*"] | EVENT_WORDS["node.failed"]),
    ],
)
async def test_a_filter_takes_what_fits_and_nothing_else(store: SqlStore, wanted: EventFilter) -> None:
    """What the store selects is what the domain's filter says, from any place on, and the page reaches to the end."""
    count = await filled(store)
    found = await everything(store, 500)
    for limit, after in ((1, 0), (2, 55), (500, 0), (500, 57), (500, count)):
        fits = [one for one in found if wanted.fits(one) and one.position > after]
        assert await everything(store, limit, wanted, after) == fits
    assert (await store.feed(wanted, 0, 500)).passed == count


async def test_a_page_looks_at_a_bounded_number(store: SqlStore) -> None:
    """Whoever wants what there is not gets an empty page that has come a part of the way, and can go on from there."""
    await asyncio.gather(*[store.commit(begun(number)) for number in range(1, 1501)])
    page = await store.feed(EventFilter(agent_id="nobody"), 0, 10)
    assert (page.events, page.passed, page.newest, page.is_last) == ([], 3000, 4500, False)
    page = await store.feed(EventFilter(agent_id="nobody"), page.passed, 10)
    assert (page.events, page.passed, page.is_last) == ([], 4500, True)


async def test_pruned_events_leave_their_numbers_unused(store: SqlStore) -> None:
    """What was pruned is missing and said to be; what stays keeps its number, and no number is given twice."""
    for number in (1, 2, 3):
        await store.commit(begun(number))
    for number in (1, 3):
        await store.commit(ended(number))
    await store.add_report(Report("b", "idle", 20, 20), is_change=True)
    whole = await everything(store, 100)
    assert (await store.feed(EVERYTHING, 0, 100)).is_pruned is False
    assert await store.prune(DAY, DAY, 10) == 2
    left = await everything(store, 100)
    assert left == [one for one in whole if one.execution_id in (None, name(2))]
    assert [one.position for one in left] == [4, 5, 6, 14]
    page = await store.feed(EVERYTHING, 0, 100)
    assert (page.pruned_to, page.is_pruned, page.oldest) == (13, True, 4)
    assert (await store.feed(EVERYTHING, 5, 100)).oldest == 6
    assert (await store.feed(EVERYTHING, 13, 100)).is_pruned is False
    await store.commit(ended(2, DAY - 1))
    await store.prune(DAY, DAY, 10)
    assert await store.prune_states(20, 10) == 0
    assert await store.prune_states(21, 10) == 1
    empty = await store.feed(EVERYTHING, 0, 100)
    assert (empty.events, empty.passed, empty.newest, empty.pruned_to, empty.oldest) == ((), 16, 16, 16, 17)
    assert await store.newest_position() == 16
    await store.commit(begun(4))
    assert [one.position for one in await everything(store, 100)] == [17, 18, 19]
    assert (await store.feed(EVERYTHING, 16, 100)).is_pruned is False


async def test_numbering_goes_on_after_all_was_pruned_and_the_file_was_closed(tmp_path: Path) -> None:
    """The next event after a restart with an empty feed has the next number."""
    path = str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as first:
        await first.commit(begun(1))
        await first.commit(ended(1))
        assert await first.prune(DAY, DAY, 10) == 1
    async with open_store(path, now=2, timeout=30, on_fatal=print) as again:
        assert await again.newest_position() == 5
        await again.commit(begun(2))
        assert [one.position for one in await everything(again, 10)] == [6, 7, 8]


async def test_events_of_before_the_feed_have_their_place_in_it(tmp_path: Path) -> None:
    """An upgrade numbers what is there by its time; a clock that was set back turns no execution's own order."""
    path = str(tmp_path / "store.db")
    events = [
        (1, 1, 100), (1, 2, 100), (1, 3, 300), (1, 4, 500),
        (2, 1, 200), (2, 2, 200), (2, 3, 150), (2, 4, 400),
        (3, 1, 300),
    ]  # fmt: skip
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE schema_migrations "
            "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        for one in known_migrations()[:2]:
            row = (one.version, one.name, one.checksum)
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?, 5)", row)
            connection.executescript(one.sql.replace("/* sqlite: ", "").replace(" */", ""))
        for number in (1, 2, 3):
            connection.execute(
                "INSERT INTO executions (execution_id, flow_id, flow_version, status, priority, last_seq, created_at, "
                "updated_at, metadata) VALUES (?, 'f', 1, 'running', 0, 4, 1, 1, '{}')",
                (name(number),),
            )
        connection.executemany(
            "INSERT INTO events (execution_id, seq, type, at, data) VALUES (?, ?, 'node.started', ?, '{}')",
            [(name(number), seq, at) for number, seq, at in events],
        )
    connection.close()
    async with open_store(path, now=50, timeout=30, on_fatal=print) as store:
        found = await everything(store, 2)
        assert [one.position for one in found] == list(range(1, 10))
        order = [(int(one.execution_id[-2:]), one.seq) for one in found if one.execution_id]
        assert order == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (1, 3), (3, 1), (2, 4), (1, 4)]
        await store.add_agent(AgentSpec("b", "B"), 60)
        await store.add_report(Report("b", "idle", 60, 60), is_change=True)
        assert await store.newest_position() == 10
