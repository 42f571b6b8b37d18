from __future__ import annotations

from pathlib import Path
from typing import Any, AsyncIterator, Optional

import pytest
import pytest_asyncio

from opscore.domain.errors import ExecutionNotFound
from opscore.domain.executions import (
    Accepted,
    Finished,
    NewExecution,
    Started,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepWaits,
    Timing,
    Unit,
)
from opscore.domain.instants import SECOND, Instant
from opscore.domain.overview import Bucket, Tally
from opscore.domain.performance import SampleQuery
from opscore.domain.ports import ExecutionQuery
from opscore.store import SqlStore, open_store
from opscore.store.executions import id_bound

START: Instant = 1_800_000_000 * SECOND


@pytest_asyncio.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as opened:
        yield opened


def at(second: float) -> Instant:
    return START + int(second * SECOND)


def name(second: float, number: int = 0) -> str:
    """An id as it is made at that second."""
    return f"{id_bound(at(second))}-7000-8000-{number:012}"


async def begin(store: SqlStore, second: float, number: int = 0, flow_id: str = "f", **more: Any) -> str:
    """An execution whose one node is called."""
    new = NewExecution(name(second, number), flow_id, 1, "{}", "{}", more.pop("priority", 0), at(second), **more)
    called = StepStarted("n", "a", 1, is_new=True, is_exit=True)
    await store.commit(Unit(new.execution_id, 0, at(second), (Accepted(new), Started(), called)))
    return new.execution_id


async def queue(store: SqlStore, second: float, number: int = 0, priority: int = 0) -> str:
    new = NewExecution(name(second, number), "f", 1, "{}", "{}", priority, at(second))
    await store.commit(Unit(new.execution_id, 0, at(second), (Accepted(new),)))
    return new.execution_id


async def end(store: SqlStore, execution_id: str, second: float, error: Optional[str] = None) -> None:
    if error is None:
        changes: tuple[Any, ...] = (StepCompleted("n", "a", 1, "{}"), Finished("completed", 1.0))
    else:
        changes = (StepFailed("n", "a", 1, 1, error, "It broke."), Finished("failed", 1.0, error, "It broke."))
    await store.commit(Unit(execution_id, 3, at(second), changes))


async def test_spans_count_what_fell_into_them(store: SqlStore) -> None:
    """An execution is counted where it was accepted and where it ended, however long it took, and once at each edge."""
    long = await begin(store, 5)
    await end(store, await begin(store, 10), 19.999999)
    await end(store, await begin(store, 19, 1), 20, "BROKEN")
    await end(store, long, 25)
    await begin(store, 29)
    await queue(store, 29.5)
    spans = [Bucket(at(second), 10) for second in (0, 10, 20, 30)]
    found = await store.picture(spans, 10)
    assert found.spans == [Tally(1), Tally(2, 1), Tally(2, 1, 1), Tally()]
    assert (found.pending, found.running, found.ended) == (1, 1, Tally(0, 2, 1))
    assert found.queued_since == at(29.5)


async def test_the_newest_failures(store: SqlStore) -> None:
    """Failures come in the order in which they happened, newest first, whenever they began."""
    for number in range(5):
        execution_id = await begin(store, number, number)
        await end(store, execution_id, 100 - number, "BROKEN")
    found = (await store.picture([], 3)).failures
    assert [one.completed_at for one in found] == [at(100), at(99), at(98)]
    assert (found[0].flow_id, found[0].error_code, found[0].error_message) == ("f", "BROKEN", "It broke.")


async def test_what_waits_is_counted_by_reason(store: SqlStore) -> None:
    """Steps that wait are counted by what for, with those that have waited longest; what goes on waits no more."""
    for number in range(30):
        new = NewExecution(name(number), "f", 1, "{}", "{}", 0, at(number))
        waits = StepWaits("n", "a", "slot" if number % 3 else "agent", 0, 0, is_new=True, is_exit=True, detail="Why")
        await store.commit(Unit(new.execution_id, 0, at(number), (Accepted(new), Started(), waits)))
    begun = StepStarted("n", "a", 1, is_new=False, is_exit=True)
    await store.commit(Unit(name(1), 3, at(50), (begun,)))
    await store.commit(Unit(name(3), 3, at(50), (Finished("cancelled", 1.0),)))
    found = {waits.reason: waits for waits in (await store.picture([], 0)).waits}
    assert {reason: (waits.count, waits.oldest_since) for reason, waits in found.items()} == {
        "slot": (19, at(2)),
        "agent": (9, at(0)),
    }
    assert [step.since for step in found["agent"].longest] == [at(second) for second in range(0, 30, 3) if second != 3]
    assert (found["slot"].longest[0].node_id, found["slot"].longest[0].detail) == ("n", "Why")


async def test_the_record_of_an_execution(store: SqlStore) -> None:
    """A record has the steps, when the last attempt of each began, and no payloads; what is unknown is not found."""
    execution_id = await begin(store, 0)
    again = StepWaits("n", "a", "retry", 1, 1, is_new=False, is_exit=True, until=at(3), error_code="X")
    await store.commit(Unit(execution_id, 3, at(2), (again,)))
    await store.commit(Unit(execution_id, 4, at(3), (StepStarted("n", "a", 2, is_new=False, is_exit=True),)))
    found = await store.record(execution_id)
    assert (found.begun, found.execution.status) == ({"n": at(3)}, "running")
    assert [(step.attempt, step.failures, step.started_at) for step in found.steps] == [(2, 1, at(0))]
    await store.commit(
        Unit(execution_id, 5, at(4), (StepCompleted("n", "a", 2, '{"x":1}'), Finished("completed", 4.0)))
    )
    found = await store.record(execution_id)
    assert (found.execution.status, found.execution.seconds, found.steps[0].output) == ("completed", 4.0, None)
    with pytest.raises(ExecutionNotFound):
        await store.record("nothing")


async def test_the_place_in_the_queue(store: SqlStore) -> None:
    """Ahead are those of a higher priority, and older ones of the same; what runs is not in the queue."""
    await begin(store, 0, priority=9)
    first, low, high, last = [
        await queue(store, second, priority=priority) for second, priority in ((1, 5), (2, 0), (3, 9), (4, 5))
    ]
    assert list(await store.queued(9)) == [high, first, last, low]
    for place, execution_id in enumerate((high, first, last, low)):
        assert (await store.record(execution_id)).ahead == place


async def test_a_sample_has_what_ended_since(store: SqlStore) -> None:
    """Steps that ended since an instant are there, also of executions that began long before or still run."""
    await end(store, await begin(store, 0), 10)
    await end(store, await begin(store, 1), 60, "BROKEN")
    new = NewExecution(name(2), "g", 1, "{}", "{}", 0, at(2))
    changes = (
        Accepted(new), Started(), StepStarted("n", "a", 1, is_new=True, is_exit=False),
        StepWaits("m", "b", "slot", 0, 0, is_new=True, is_exit=True),
    )  # fmt: skip
    await store.commit(Unit(new.execution_id, 0, at(2), changes))
    done = StepCompleted("n", "a", 1, "{}", timing=Timing(1_000, 2_000, 3_000))
    await store.commit(Unit(new.execution_id, 4, at(70), (done,)))
    found = await store.sample(SampleQuery(at(50)))
    assert [(step.flow_id, step.is_failed, step.timing.call_us) for step in found.steps] == [
        ("g", False, 2_000), ("f", True, None),
    ]  # fmt: skip
    assert [(run.flow_id, run.is_failed, run.execution_ms) for run in found.executions] == [("f", True, 59_000.0)]
    assert not found.is_partial
    assert [step.flow_id for step in (await store.sample(SampleQuery(at(0), flow_id="f"))).steps] == ["f", "f"]
    assert len((await store.sample(SampleQuery(at(0), agent_id="b"))).steps) == 0


async def test_a_sample_is_bounded(store: SqlStore) -> None:
    """Of more steps than may be looked at the newest are, and it is said that there are more."""
    for number in range(10):
        await end(store, await begin(store, number), 100 - number)
    for query in (SampleQuery(at(0), limit=3), SampleQuery(at(0), flow_id="f", limit=3)):
        found = await store.sample(query)
        assert (len(found.steps), len(found.executions), found.is_partial) == (3, 3, True)
    found = await store.sample(SampleQuery(at(0), limit=3))
    assert [run.execution_ms for run in found.executions] == [100_000.0, 98_000.0, 96_000.0]
    assert not (await store.sample(SampleQuery(at(0), limit=10))).is_partial


async def test_search_takes_text_as_it_stands(store: SqlStore) -> None:
    """What is sought is no pattern, whatever it holds, and is found in any case."""
    wanted = await begin(store, 0, flow_id="a_b", user_id="50% Off!")
    other = await begin(store, 1, flow_id="axb", user_id="50 of \u00c9mile")
    for sought, expected in (
        ("A_B", [wanted]), ("50%", [wanted]), ("off!", [wanted]), ("50", [other, wanted]), ("%", [wanted]),
        ("_", [wanted]), ("\u00c9", [other]), (wanted[:9].upper(), [other, wanted]), (wanted[1:], []),
        ("\\", []), ("'", []),
    ):  # fmt: skip
        found = await store.executions(ExecutionQuery(text=sought))
        assert [one.execution_id for one in found] == expected, sought
