from __future__ import annotations

import asyncio
from typing import Any, Callable

import pytest
from harness import Bench, bench

from opscore.domain.errors import StoreFull
from opscore.domain.events import EVENT_WORDS, EVERYTHING, EventFilter, FeedEvent, FeedPage
from opscore.domain.ports import Follower
from opscore.store import SqlStore


class Reader:
    """Reads only when it is told to, once at the beginning apart."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.rings = 0
        self.events: list[FeedEvent] = []

    def ring(self) -> None:
        self.rings += 1
        self.rung.set()

    async def read(self, follower: Follower, limit: int = 3) -> None:
        """All there is now."""
        self.rung.clear()
        while True:
            page = await follower.read(limit)
            self.events += page.events
            if page.is_last:
                return

    async def until(self, b: Bench, follower: Follower, count: int) -> list[str]:
        """The types of the events once there are so many; time passes meanwhile."""
        while len(self.events) < count:
            await heard(b, self)
            await self.read(follower)
        return [one.type for one in self.events]


async def time_passes(b: Bench, until: Callable[[], bool]) -> None:
    """Let time pass until something is so."""
    for _ in range(1000):
        if until():
            return
        b.clock.advance(0.01)
        await b.store.probe()
    raise AssertionError("it is never so")


async def heard(b: Bench, reader: Reader) -> None:
    """Wait for a ring."""
    await time_passes(b, reader.rung.is_set)


async def at_rest(b: Bench) -> None:
    """Let the feed look at all that was written."""
    newest = await b.store.newest_position()
    await time_passes(b, lambda: b.engine._feed.passed >= newest)


async def test_who_follows_everything_hears_of_every_commit() -> None:
    """All events of all executions, those in the queue and agents outside tasks included, in one order, once each."""
    async with bench(open_runs=1) as b:
        reader = Reader()
        with b.engine.following(EVERYTHING, 0, reader.ring) as follower:
            await reader.read(follower)
            first, second = await b.start({"first": []}), await b.start({"second": []})
            assert (await reader.until(b, follower, 4))[3] == "execution.accepted"
            await b.report("a", "idle")
            await b.executions.cancel(second, None)
            await b.script.called(1)
            b.script.answer("first")
            await reader.until(b, follower, 9)
            assert [one.position for one in reader.events] == list(range(1, 10))
            for name in (first, second):
                own = [one.seq for one in reader.events if one.execution_id == name]
                assert own == list(range(1, len(own) + 1))
            (outside,) = [one for one in reader.events if one.execution_id is None]
            assert (outside.type, outside.agent_id) == ("agent.state", "a")
            assert follower.passed == 9
        await time_passes(b, lambda: not b.engine._feed._is_begun)
        assert not b.engine._feed._events


async def test_only_who_wants_it_is_woken() -> None:
    """Readers are woken by what fits their filter and by nothing else; their place moves on all the same."""
    async with bench() as b:
        other = await b.start({"other": []})
        await b.script.called(1)
        filters = [
            EventFilter(agent_id="nobody"),
            EventFilter(types=EVENT_WORDS["node.failed"] | EVENT_WORDS["node.skipped"]),
            EventFilter(execution_id=other),
            EventFilter(flow_id="none", types=EVENT_WORDS["node.*"]),
            EventFilter(agent_id="a", types=EVENT_WORDS["node.*"]),
        ]
        readers = [Reader() for _ in filters]
        begins = await b.store.newest_position()
        contexts = [b.engine.following(one, begins, reader.ring) for one, reader in zip(filters, readers)]
        followers = [context.__enter__() for context in contexts]
        for reader, follower in zip(readers, followers):
            await reader.read(follower)
        await time_passes(b, lambda: all(reader.rings for reader in readers))  # at the beginning all look once more
        for reader, follower in zip(readers, followers):
            await reader.read(follower)
            reader.rings = 0
        await b.ended(await self_answering(b))
        await at_rest(b)
        assert [bool(reader.rings) for reader in readers] == [False, False, False, False, True]
        newest = await b.store.newest_position()
        for follower in followers[:4]:
            assert follower.passed == newest
        await readers[4].read(followers[4])
        assert [one.type for one in readers[4].events] == ["node.started", "node.completed"]
        for context in contexts:
            context.__exit__(None, None, None)


async def self_answering(b: Bench) -> str:
    """An execution whose one call is answered at once."""
    name = await b.start({"quick": []})
    await b.script.called(len(b.script.calls) if "quick" in b.script.open else len(b.script.calls) + 1)
    b.script.answer("quick")
    return name


async def test_many_readers_share_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many follow, the store is asked once for what is new; each gets all of it, and none loses its place."""
    reads: list[int] = []
    feed = SqlStore.feed

    async def counted(self: Any, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        reads.append(after)
        return await feed(self, wanted, after, limit)

    async with bench() as b:
        readers = [Reader() for _ in range(100)]
        contexts = [b.engine.following(EVERYTHING, 0, reader.ring) for reader in readers]
        followers = [context.__enter__() for context in contexts]
        for reader, follower in zip(readers, followers):
            await reader.read(follower)
        await time_passes(b, lambda: all(reader.rings for reader in readers))
        for reader, follower in zip(readers, followers):
            await reader.read(follower)
        b.clock.advance(1)
        monkeypatch.setattr(SqlStore, "feed", counted)
        await b.start({"x": []})
        await heard(b, readers[0])
        assert not readers[99].rung.is_set(), "a few at a time"
        assert b.engine._feed.passed == 3
        assert followers[99].passed == 0, "it was not told yet"
        for reader, follower in zip(readers, followers):
            await reader.until(b, follower, 3)
            assert [one.position for one in reader.events] == [1, 2, 3]
        assert len(reads) <= 2
        for context in contexts:
            context.__exit__(None, None, None)


async def test_a_reader_further_back_than_memory_reads_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is slow, or begins with the oldest, misses nothing of what memory does not hold any more."""
    monkeypatch.setattr("opscore.engine.feed._MOST_KEPT", 4)
    async with bench() as b:
        slow, old = Reader(), Reader()
        with b.engine.following(EVERYTHING, 0, slow.ring) as follower:
            await slow.read(follower)
            for _ in range(5):
                await b.ended(await self_answering(b))
            await at_rest(b)
            assert len(b.engine._feed._events) == 4
            with b.engine.following(EventFilter(agent_id="a"), 0, old.ring) as other:
                await slow.read(follower, 2)
                await old.read(other, 2)
        assert [one.position for one in slow.events] == list(range(1, 26))
        assert [one.type for one in old.events] == ["node.started", "node.completed"] * 5


async def test_a_failing_store_delays_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store cannot be read nobody is told anything; then all is told."""
    failures = 3
    feed = SqlStore.feed

    async def failing(self: Any, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreFull("no")
        return await feed(self, wanted, after, limit)

    async with bench() as b:
        reader = Reader()
        with b.engine.following(EVERYTHING, 0, reader.ring) as follower:
            await reader.read(follower)
            await heard(b, reader)
            await reader.read(follower)
            monkeypatch.setattr(SqlStore, "feed", failing)
            await b.start({"x": []})
            await reader.until(b, follower, 3)
        assert failures == 0


async def states(b: Bench) -> list[Any]:
    """Agents' changes of state outside tasks."""
    page = await b.store.feed(EventFilter(types=EVENT_WORDS["agent.state"]), 0, 100)
    return [(one.agent_id, one.data) for one in page.events if one.execution_id is None]


async def test_a_change_of_state_is_an_event_and_a_repeat_is_none() -> None:
    """Only a report that is the newest and has another word than the one before it makes an event."""
    async with bench() as b:
        for at, state in ((10, "idle"), (20, "idle"), (30, "active"), (25, "error"), (30, "active"), (40, "idle")):
            await b.report("a", state, at)  # type: ignore[arg-type]
        told = [data.partition('"state":"')[2].partition('"')[0] for _, data in await states(b)]
        assert told == ["idle", "active", "idle"]


async def test_reports_in_one_moment_are_compared_with_each_other() -> None:
    """Of reports that are written together, each is a change or not by the one before it, not by what was long ago."""
    async with bench() as b:
        await b.report("a", "idle", 1)
        words = ["active", "active", "idle", "idle", "error"]
        await asyncio.gather(*[b.report("a", word, at) for at, word in enumerate(words, 2)])  # type: ignore[arg-type]
        told = [data.partition('"state":"')[2].partition('"')[0] for _, data in await states(b)]
        assert told == ["idle", "active", "idle", "error"]
        assert b.engine._desk._coming == {}
