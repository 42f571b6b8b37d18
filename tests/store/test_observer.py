"""What the store tells its observer, on a real database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from opscore.domain.agents import AgentSpec
from opscore.domain.errors import Conflict, StoreError
from opscore.domain.ports import Proof
from opscore.store import open_store


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.seconds: list[float] = []
        self.refusals: list[str] = []
        self.reads = 0

    def committed(self, units: int, seconds: float) -> None:
        self.commits.append(units)
        self.seconds.append(seconds)

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def read(self, seconds: float) -> None:
        self.reads += 1
        self.seconds.append(seconds)


class Broken(Notes):
    """An observer with a mistake in it."""

    def committed(self, units: int, seconds: float) -> None:
        raise ZeroDivisionError

    def refused(self, reason: str) -> None:
        raise ZeroDivisionError

    def read(self, seconds: float) -> None:
        raise ZeroDivisionError


async def test_commits_and_reads_are_told(tmp_path: Path) -> None:
    """Units that are handed over together are one commit of so many, and every read is told with its time."""
    notes = Notes()
    async with open_store(str(tmp_path / "s.db"), now=1, timeout=30, on_fatal=print, observer=notes) as store:
        reads = notes.reads
        await asyncio.gather(*[store.use(Proof(f"{n}", 5)) for n in range(20)])
        await store.queue_length()
    assert sum(notes.commits) == 20
    assert len(notes.commits) < 20
    assert notes.reads == reads + 1
    assert min(notes.seconds) >= 0


async def test_what_was_not_written_is_told_with_the_reason() -> None:
    """A value that is taken is one refusal, and its neighbours in the commit are none."""
    notes = Notes()
    async with open_store(":memory:", now=1, timeout=30, on_fatal=print, observer=notes) as store:
        await store.add_agent(AgentSpec("a", "a"), 1)
        with pytest.raises(Conflict):
            await store.add_agent(AgentSpec("a", "a"), 1)
        await store.add_agent(AgentSpec("b", "b"), 1)
    assert notes.refusals == ["taken"]


async def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    """Units that found no room are told as such."""
    notes = Notes()
    async with open_store(str(tmp_path / "s.db"), now=1, timeout=30, on_fatal=print, observer=notes) as store:
        await store._database._writer.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreError):
            await store.add_agent(AgentSpec("a", "x" * 100_000), 1)
    assert notes.refusals == ["full"]


async def test_a_broken_observer_harms_nobody(tmp_path: Path) -> None:
    """What an observer gets wrong neither stops the writer nor fails a read."""
    async with open_store(str(tmp_path / "s.db"), now=1, timeout=30, on_fatal=print, observer=Broken()) as store:
        await store.add_agent(AgentSpec("a", "a"), 1)
        with pytest.raises(Conflict):
            await store.add_agent(AgentSpec("a", "a"), 1)
        assert await store.queue_length() == 0


async def test_the_store_knows_its_sizes(tmp_path: Path) -> None:
    """A file has a size, a log and a disk with room; a store in memory has none of them."""
    async with open_store(str(tmp_path / "s.db"), now=1, timeout=30, on_fatal=print) as store:
        await store.add_agent(AgentSpec("a", "a"), 1)
        sizes = store.sizes()
        assert sizes["database"] == (tmp_path / "s.db").stat().st_size
        assert sizes["wal"] == (tmp_path / "s.db-wal").stat().st_size > 0
        assert sizes["free"] > 0
    async with open_store(":memory:", now=1, timeout=30, on_fatal=print) as store:
        assert store.sizes() == {}
