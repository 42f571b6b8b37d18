"""The log in the store: what is kept, found, and forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio

from opscore.domain.logs import LogEntry, LogQuery
from opscore.store import SqlStore, open_store
from opscore.store.logs import _page_sql
from opscore.store.sqlite import Database


@pytest_asyncio.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as opened:
        yield opened


def entry(number: int, **more: Any) -> LogEntry:
    fields: dict[str, Any] = {"level": 20, "event": "a.b", "message": f"Entry {number}.", "logger": "a", **more}
    return LogEntry(number, fields.pop("at", number), **fields)


async def ids(store: SqlStore, **query: Any) -> list[int]:
    return [one.log_id for one in (await store.logs(LogQuery(**query))).entries]


@pytest.mark.parametrize("count", [1, 9, 10, 49, 50, 51, 137])
async def test_what_was_written_is_read(store: SqlStore, count: int) -> None:
    """However many entries are written at once, each is there whole, newest first."""
    whole = {
        "execution_id": "e", "flow_id": "f", "node_id": "n", "agent_id": "a", "attempt": 3, "request_id": "r",
        "trace_id": "t", "error_code": "X", "duration_ms": 1.25, "fields": '{"a":1}',
    }  # fmt: skip
    entries = [entry(number, **(whole if number % 2 else {})) for number in range(1, count + 1)]
    await store.add_logs(entries)
    assert list((await store.logs(LogQuery(limit=500))).entries) == entries[::-1]
    assert await store.last_log() == count


async def test_entries_are_found_by_what_they_are_about(store: SqlStore) -> None:
    """Each filter finds its entries and no others; together they all must fit."""
    names = ("execution_id", "flow_id", "node_id", "agent_id", "error_code", "request_id", "trace_id")
    await store.add_logs([entry(place, **{name: "x"}) for place, name in enumerate(names, 1)])
    for place, name in enumerate(names, 1):
        assert await ids(store, **{name: "x"}) == [place]
        assert await ids(store, **{name: "z"}) == []
    await store.add_logs([entry(200, level=30, agent_id="x", error_code="x")])
    assert await ids(store, agent_id="x", error_code="x") == [200]
    assert await ids(store, level=30) == [200]
    assert await ids(store, since=7, until=200) == [7]
    assert await ids(store, since=8) == [200]


@pytest.mark.parametrize(
    ("text", "found"),
    [("hello", [1]), ("HELLO", [1]), ("100%", [2]), ("%", [2]), ("_", [3]), ("a_b", [3]), ("\\", [4]), ("node.f", [5]),
     ("agent_un", [6]), ("'; DROP TABLE logs; --", []), ("é", [7])],
)  # fmt: skip
async def test_text_is_found_as_it_stands(store: SqlStore, text: str, found: list[int]) -> None:
    """Part of message, event or code in either case; what LIKE and SQL read otherwise is only text."""
    messages = ("Say Hello", "100% done", "axb a_b", "a\\b", "x", "y", "é")
    entries = [entry(number, message=message) for number, message in enumerate(messages, 1)]
    entries[4] = entry(5, event="node.failed", message="x")
    entries[5] = entry(6, error_code="AGENT_UNREACHABLE", message="y")
    if text == "_":
        entries[5] = entry(6, message="y")
    await store.add_logs(entries)
    assert await ids(store, text=text) == found


async def test_pages_lead_on(store: SqlStore) -> None:
    """Newest first below an entry; oldest first above one, and how far the log was read."""
    await store.add_logs([entry(number, level=30 if number == 3 else 20) for number in range(1, 11)])
    assert await ids(store, limit=4) == [10, 9, 8, 7]
    assert await ids(store, limit=4, before=7) == [6, 5, 4, 3]
    page = await store.logs(LogQuery(after=4, limit=3))
    assert ([one.log_id for one in page.entries], page.read_to) == ([5, 6, 7], 7)
    page = await store.logs(LogQuery(after=1, limit=3, level=30))
    assert ([one.log_id for one in page.entries], page.read_to) == ([3], 10)
    assert (await store.logs(LogQuery(after=99, limit=3))).read_to == 99


async def test_the_oldest_go(store: SqlStore) -> None:
    """Those before an instant and those beyond the newest so many go, a limited number at a time, and no others."""
    await store.add_logs([entry(number) for number in range(1, 101)])
    assert await store.prune_logs(0, 100, 50) == 0
    assert await store.prune_logs(0, 40, 50) == 50
    assert await store.prune_logs(0, 40, 50) == 10
    assert await store.prune_logs(0, 40, 50) == 0
    assert await store.prune_logs(71, 40, 50) == 10
    assert await ids(store, limit=500) == list(range(100, 70, -1))


@pytest.mark.parametrize("name", ["execution_id", "agent_id", "error_code"])
async def test_frequent_filters_have_an_index(store: SqlStore, name: str) -> None:
    """By execution, agent and error code neither a page nor a stream scans the log, nor sorts."""
    for query in (LogQuery(**{name: "x"}, before=9), LogQuery(**{name: "x"}, after=9, level=30)):
        sql, params = _page_sql(query)
        plan = await store._database.read(
            lambda connection, sql=sql, params=params: connection.execute(
                f"EXPLAIN QUERY PLAN {sql}", params
            ).fetchall()
        )
        assert len(plan) == 1
        assert f"USING INDEX logs_by_{name.split('_', maxsplit=1)[0]}" in plan[0][3]


async def test_patient_units_give_way(tmp_path: Path) -> None:
    """Of patient units at most one is in a commit, after all others; alone they are written too, and none is lost."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    write = ("INSERT INTO logs (log_id, at, level, event, message, logger, fields) VALUES (?, 1, 1, '', '', '', '')",)
    order: list[int] = []

    def unit(number: int, *, is_patient: bool) -> asyncio.Future[None]:
        future = database.write([(write[0], [number], False)], is_patient=is_patient)
        future.add_done_callback(lambda _: order.append(number))
        return future

    futures = [unit(number, is_patient=True) for number in range(3)]
    futures += [unit(number, is_patient=False) for number in range(10, 15)]
    await asyncio.gather(*futures)
    assert order == [10, 11, 12, 13, 14, 0, 1, 2]
    assert database.figures["commits"] == 3
    waiting = [unit(number, is_patient=True) for number in range(20, 25)]
    await database.close()
    assert all(future.done() and future.exception() is None for future in waiting)
