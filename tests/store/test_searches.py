"""Searches on a real database: they take turns, are cut off, and hold nobody else up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from opscore.domain.errors import Overloaded, StoreError, TooBroad
from opscore.domain.logs import LogEntry, LogQuery
from opscore.domain.ports import ExecutionQuery
from opscore.store import open_store
from opscore.store.sqlite import Database

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


def endless(connection: sqlite3.Connection) -> None:
    """A query that never ends by itself."""
    connection.execute(ENDLESS).fetchone()


class Held:
    """A search that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> str:
        self.begun.set()
        self.may_end.wait(30)
        return "found"


@pytest.mark.parametrize("path", ["store.db", ":memory:"])
async def test_a_search_is_given_up(tmp_path: Path, path: str) -> None:
    """A query without end is cut off at the limit, and the same connection serves the next one."""
    place = path if path == ":memory:" else str(tmp_path / path)
    database = Database(place, 30, print, search_limit=0.05)
    await database.open(1)
    with pytest.raises(TooBroad, match=r"given up after 0\.05 s"):
        await database.search(endless)
    assert await database.search(lambda connection: connection.execute("SELECT 7").fetchone()) == (7,)
    await database.close()


async def test_a_page_that_compares_long_texts_is_given_up(tmp_path: Path) -> None:
    """A text and a pattern that LIKE compares at each place are cut off too; reading and writing go on after it."""
    async with open_store(str(tmp_path / "s.db"), now=1, timeout=30, on_fatal=print, search_limit=0.05) as store:
        await store.add_logs([LogEntry(number, 1, 20, "e", "a" * 8000, "l") for number in range(1, 501)])
        with pytest.raises(TooBroad):
            await store.logs(LogQuery(text="a" * 199 + "b"))
        assert len((await store.logs(LogQuery(limit=500))).entries) == 500
        await store.probe()


async def test_others_are_not_held_up(tmp_path: Path) -> None:
    """While one search takes its time, other searches wait, and whoever reads or writes does not."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    held = Held()
    first = asyncio.ensure_future(database.search(held))
    await asyncio.get_running_loop().run_in_executor(None, held.begun.wait)
    second = asyncio.ensure_future(database.search(lambda connection: "second"))
    for _ in range(4):
        assert await database.read(lambda connection: 1) == 1
    assert not second.done()
    held.may_end.set()
    assert await asyncio.gather(first, second) == ["found", "second"]
    await database.close()


async def test_too_many_searches_are_refused(tmp_path: Path) -> None:
    """Beyond those that may wait a search is refused at once, with when to try again; room that is freed is used."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    held = Held()
    waiting = [asyncio.ensure_future(database.search(held)) for _ in range(17)]
    await asyncio.get_running_loop().run_in_executor(None, held.begun.wait)
    with pytest.raises(Overloaded) as refused:
        await database.search(held)
    assert (refused.value.error_code, refused.value.retry_after) == ("TOO_MANY_SEARCHES", 2.0)
    held.may_end.set()
    assert await asyncio.gather(*waiting) == ["found"] * 17
    assert await database.search(held) == "found"
    await database.close()


async def test_a_search_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Closing cuts off the search that runs, and those that wait never begin."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    held = Held()

    def then_endless(connection: sqlite3.Connection) -> None:
        held.begun.set()
        endless(connection)

    searches = [asyncio.ensure_future(database.search(then_endless)) for _ in range(3)]
    await asyncio.get_running_loop().run_in_executor(None, held.begun.wait)
    await asyncio.wait_for(database.close(), 5)
    ends = await asyncio.gather(*searches, return_exceptions=True)
    assert [type(end) for end in ends] == [StoreError] * 3


@pytest.mark.parametrize(
    ("query", "is_search"),
    [
        (ExecutionQuery(), False),
        (ExecutionQuery(status="failed"), False),
        (ExecutionQuery(flow_id="f", limit=500), False),
        (ExecutionQuery(flow_id="f", status="failed"), True),
        (ExecutionQuery(text="x"), True),
        (ExecutionQuery(agent_id="a"), True),
        (ExecutionQuery(metadata={"k": "v"}), True),
        (ExecutionQuery(offset=1_001), True),
        (LogQuery(), False),
        (LogQuery(agent_id="a", level=30), False),
        (LogQuery(level=40), True),
        (LogQuery(text="x", execution_id="e"), True),
        (LogQuery(request_id="r"), True),
        (LogQuery(text="x", after=9), True),
        (LogQuery(text="x", after=9, is_near=True), False),
    ],
)
def test_what_is_a_search(query: ExecutionQuery | LogQuery, *, is_search: bool) -> None:
    """What an index leads to is none; what may look at everything for next to nothing is one."""
    assert query.is_search is is_search
