from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Optional, Sequence

import attrs
import pytest
from collected import Collected, collecting

from opscore.domain.errors import StoreFull
from opscore.domain.instants import SECOND
from opscore.domain.logs import LogEntry, LogPage, LogQuery
from opscore.engine import SystemClock
from opscore.store import SqlStore, open_store
from opscore.telemetry import keeper as keeping
from opscore.telemetry.keeper import Keeper, Keeping, open_keeper
from opscore.telemetry.lines import Line
from opscore.telemetry.secrets import Secrets

NEVER = 3600.0


class FullStore(SqlStore):
    """A store whose disk can be full."""

    is_full = False
    refusals = 0
    writes = 0

    async def add_logs(self, entries: Sequence[LogEntry]) -> None:
        if self.is_full:
            self.refusals += 1
            raise StoreFull("The disk is full; nothing was written.")
        self.writes += 1
        await super().add_logs(entries)


def line(at: int) -> Line:
    return Line(at, logging.INFO, "INFO", "a", "a.b", "A b.", {}, {})


@attrs.frozen
class Kept:
    """A keeper with all around it."""

    log: Collected
    store: FullStore
    keeper: Keeper

    async def entries(self, **query: Any) -> list[LogEntry]:
        """What is in the store, oldest first."""
        await self.keeper.settle()
        return list((await self.store.logs(LogQuery(after=0, limit=500, **query))).entries)


@asynccontextmanager
async def kept(path: str = ":memory:", secrets: Optional[Secrets] = None, **keeps: Any) -> AsyncIterator[Kept]:
    chosen = {"most": 1_000, "flush_interval": NEVER, "prune_interval": NEVER, **keeps}
    async with open_store(path, now=1, timeout=30, on_fatal=print) as store:
        store.__class__ = FullStore
        assert isinstance(store, FullStore)
        with collecting(secrets) as log:
            async with open_keeper(store, log.pipeline, SystemClock(), Keeping(**chosen)) as keeper:
                keeping.log.addHandler(log.pipeline)
                try:
                    yield Kept(log, store, keeper)
                finally:
                    keeping.log.removeHandler(log.pipeline)


async def test_what_is_logged_is_kept() -> None:
    """Each line becomes an entry with its facts in their columns, the others as JSON, and secrets masked."""
    secrets = Secrets()
    secrets.add("canary-key")
    async with kept(secrets=secrets) as it:
        facts = {
            "execution_id": "e",
            "attempt": 2,
            "duration_ms": 1.5,
            "error_code": "X",
            "reason": "no canary-key here",
        }
        it.log.logger.error("node.failed", extra={**facts, "node_id": "n", "deep": {"token": "t"}})
        (entry,) = await it.entries()
        (shown,) = it.log.lines
    assert (entry.level, entry.event, entry.message) == (40, "node.failed", "Node n has failed: no *** here")
    assert (entry.execution_id, entry.attempt, entry.duration_ms, entry.error_code) == ("e", 2, 1.5, "X")
    assert entry.fields == '{"reason":"no *** here","deep":{"token":"***"}}'
    assert entry.log_id == entry.at == shown.at


async def test_ids_rise_whatever_the_clock_does(tmp_path: Any) -> None:
    """Lines of one instant, of the past, and of the next server have rising ids, none below its instant."""
    path = str(tmp_path / "opscore.db")
    ids: list[int] = []
    for _ in range(2):
        async with kept(path) as it:
            now = SystemClock().now()
            it.keeper.take([line(at) for at in (now, now, now - 10**12, now)])
            entries = await it.entries()
            assert [one.log_id for one in entries] == sorted({one.log_id for one in entries})
            assert all(one.log_id >= one.at for one in entries)
            ids.append(len(entries))
    assert ids == [4, 8]


async def test_lines_are_written_in_batches_after_a_while() -> None:
    """Many lines within the interval are one write, without anybody asking."""
    async with kept(flush_interval=0.01) as it:
        written = asyncio.Event()
        with it.keeper.listening(written.set):
            for _ in range(100):
                it.log.logger.info("a.b")
            await asyncio.wait_for(written.wait(), 10)
        assert it.store.writes <= 2
        assert len(await it.entries()) == 100


async def test_a_full_disk_is_told_once_and_what_was_lost_later() -> None:
    """While nothing can be kept only the outlet hears of it, once, and nothing loops; then the number is in the log."""
    async with kept() as it:
        it.store.is_full = True
        for _ in range(5):
            it.log.logger.info("a.b")
            await it.keeper.settle()
        told = [line["event"] for line in it.log.objects]
        assert told.count("logs.not_kept") == 1
        assert it.store.refusals == 5
        it.store.is_full = False
        it.log.logger.info("a.c")
        await it.keeper.settle()
        entries = await it.entries()
    assert [entry.event for entry in entries] == ["a.c", "logs.lost"]
    assert entries[1].fields == '{"lost":5}'


async def test_a_buffer_that_is_full_drops_and_counts() -> None:
    """Lines that come faster than they are written are bounded in number, and those lost are told."""
    async with kept(most=100_000) as it:
        it.keeper.take([line(SystemClock().now())] * (keeping.LONGEST_BUFFER + 7))
        assert len(it.keeper._buffer) == keeping.LONGEST_BUFFER
        await it.keeper.settle()
        await it.keeper.settle()
        newest = (await it.store.logs(LogQuery(limit=1))).entries[0]
    assert (newest.event, newest.fields) == ("logs.lost", '{"lost":7}')


async def test_the_log_is_bounded_in_number_and_time() -> None:
    """The oldest go when there are too many, and those over age in every round."""
    async with kept(most=100, flush_interval=0.001) as it:
        for _ in range(300):
            it.log.logger.info("a.b")
        it.log.logger.info("a.last")
        await it.keeper.settle()
        it.keeper._due.set()
        while len(await it.entries()) > 105:
            pass
        assert (await it.entries())[-1].event == "a.last"
    async with kept(retention=60.0) as it:
        now = SystemClock().now()
        it.keeper.take([line(now - 120 * SECOND + number) for number in range(10)] + [line(now)])
        await it.keeper.flush()
        assert len(await it.entries()) == 11
        it.keeper._prune_at = 0.0
        it.keeper._due.set()
        while len(await it.entries()) > 1:
            pass


async def test_nothing_is_kept_where_nothing_is_to_be() -> None:
    """With a number of 0 the store stays empty."""
    async with kept(most=0) as it:
        it.log.logger.info("a.b")
        assert await it.entries() == []


async def test_the_end_writes_what_is_left(tmp_path: Any) -> None:
    """What was logged before the keeper closes is in the file."""
    path = str(tmp_path / "opscore.db")
    async with kept(path) as it:
        for _ in range(50):
            it.log.logger.info("a.b")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as store:
        assert len((await store.logs(LogQuery(limit=500))).entries) == 50
    assert logging.getLogger("opscore.telemetry.keeper").handlers == []


async def test_who_listens_is_served_from_memory() -> None:
    """What is written while somebody listens is found in memory as the store has it, however it is filtered."""
    async with kept() as it:
        it.keeper.take([line(1)])
        await it.entries()
        with it.keeper.listening(lambda: None):
            (before,) = await it.entries()
            for number in range(2, 9):
                it.keeper.take(
                    [attrs.evolve(line(number), message=f"Één {number % 3} %_", facts={"agent_id": f"a{number % 2}"})]
                )
            await it.entries()
            for more in ({}, {"limit": 2}, {"agent_id": "a1"}, {"text": "1 %_"}, {"text": "één"}, {"text": "ÉÉN"},
                         {"level": 30}, {"since": 4}, {"until": 6}, {"error_code": "x"}):  # fmt: skip
                query = LogQuery(after=before.log_id, **more)
                assert it.keeper.newest(query) == await it.store.logs(query), more
            assert it.keeper.newest(LogQuery(after=before.log_id - 1)) is None
        it.keeper.take([line(99)])
        (*_, last) = await it.entries()
        assert it.keeper.newest(LogQuery(after=before.log_id)) is None
        assert it.keeper.newest(LogQuery(after=last.log_id)) == LogPage([], last.log_id)


async def test_many_who_listen_are_told_a_few_at_a_time() -> None:
    """Of very many each is told, but not within one turn of the loop; whoever has left is told nothing."""
    told: list[int] = []
    async with kept() as it:
        with contextlib.ExitStack() as stack:
            for number in range(45):
                stack.enter_context(it.keeper.listening(lambda number=number: told.append(number)))
            with it.keeper.listening(lambda: told.append(-1)):
                it.keeper.take([line(1)])
                await it.keeper.flush()
                assert told == list(range(20))
            while len(told) < 45:
                await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.01)
            assert told == list(range(45))


async def test_memory_for_listeners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest entries stay in memory, by number and by size; whoever is further back reads from the store."""
    monkeypatch.setattr(keeping, "_MOST_NEWEST", 3)
    async with kept() as it:
        with it.keeper.listening(lambda: None):
            it.keeper.take([line(number) for number in range(1, 11)])
            ids = [one.log_id for one in await it.entries()]
            assert it.keeper.newest(LogQuery(after=ids[5])) is None
            page = it.keeper.newest(LogQuery(after=ids[6]))
            assert page is not None
            assert [one.log_id for one in page.entries] == ids[7:]
            monkeypatch.setattr(keeping, "_MOST_NEWEST_CHARACTERS", 6)
            it.keeper.take([line(11)])
            ids = [one.log_id for one in await it.entries()]
            assert it.keeper.newest(LogQuery(after=ids[8])) is None
            assert it.keeper.newest(LogQuery(after=ids[9])) is not None


async def test_nothing_is_in_memory_where_nothing_is_kept() -> None:
    """Without a kept log those who listen read what an earlier server left, from the store."""
    async with kept(most=0) as it:
        with it.keeper.listening(lambda: None):
            assert it.keeper.newest(LogQuery(after=0)) is None
