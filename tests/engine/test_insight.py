from __future__ import annotations

import asyncio
from typing import Any, Sequence

from harness import Bench, VirtualClock, bench

from opscore.domain.calls import Refused
from opscore.domain.capacity import Capacity
from opscore.domain.errors import StoreFull
from opscore.domain.explanations import Cause
from opscore.domain.overview import Bucket, Overview, Picture
from opscore.operations import Insight
from opscore.operations.shared import Shared

GONE = Refused("AGENT_UNREACHABLE", "Connection refused", retryable=True)


def insight(ops: Bench, **limits: Any) -> Insight:
    chosen = {"calls": 100, "calls_per_agent": 50, "open_runs": 100, "queued": 100, "node_timeout": 30.0, **limits}
    protocols = {"script": ops.script, "later": ops.later}
    return Insight(ops.store, ops.engine, protocols, ops.clock, Capacity(**chosen))


async def why(ops: Bench, execution_id: str, **limits: Any) -> Cause:
    """The one cause of an execution."""
    (cause,) = (await insight(ops, **limits).explain(execution_id)).causes
    return cause


def watched(ops: Bench) -> list[int]:
    """How many spans are counted, each time that an overview is made from now on."""
    asked: list[int] = []
    look = ops.store.picture

    async def picture(spans: Sequence[Bucket], failures: int) -> Picture:
        asked.append(len(spans))
        return await look(spans, failures)

    ops.store.picture = picture  # type: ignore[method-assign]
    return asked


async def test_all_who_ask_at_once_share_one_overview() -> None:
    """However many ask within a second, it is made once; after that anew, and what is long over is counted no more."""
    async with bench() as ops:
        asked, told = watched(ops), insight(ops)
        shared = await asyncio.gather(*[told.overview() for _ in range(100)])
        assert (asked, len({id(one) for one in shared})) == ([60], 1)
        ops.clock.advance(0.9)
        assert await told.overview() is shared[0]
        ops.clock.advance(0.1)
        assert await told.overview() is not shared[0]
        assert asked[0] == 60
        assert asked[1] in (2, 3)
        ops.clock.advance(60)
        await asyncio.gather(told.overview(), told.overview(60))
        assert asked[2:] == [asked[2], 60]
        assert asked[2] <= 3


async def test_who_fails_leaves_the_next_one_a_try() -> None:
    """An error is told to whoever asked then and is not kept; somebody who goes away leaves his turn."""
    clock = VirtualClock()
    shared: Shared[int] = Shared(clock, 1.0)
    begun, answers = asyncio.Event(), [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def fail() -> int:
        raise StoreFull("Full.")

    async def slow() -> int:
        begun.set()
        return await answers.pop()

    (failed,) = await asyncio.gather(shared.get("x", fail), return_exceptions=True)
    assert isinstance(failed, StoreFull)
    first, second = (asyncio.ensure_future(shared.get("x", slow)) for _ in range(2))
    await begun.wait()
    answers[0].set_result(7)
    first.cancel()
    assert await second == 7
    assert await shared.get("x", fail) == 7


async def test_what_the_engine_holds_is_in_the_overview() -> None:
    """Calls that are open and that wait, steps that wait by reason, and agents are counted as they are."""
    async with bench(calls=1) as ops:
        await ops.start({"x": []})
        other = await ops.start({"y": []})
        await ops.waiting(other, "slot")
        found: Overview = await insight(ops, calls=1).overview()
        assert (found.calls_in_flight, found.calls_waiting, found.picture.running) == (1, 1, 2)
        assert [(waits.reason, waits.count) for waits in found.picture.waits] == [("slot", 1)]
        assert (found.agents_by_state, found.agents_by_status) == ({"unknown": 1}, {"inactive": 1})
        assert [one.kind for one in found.attention] == ["calls_full"]


async def test_a_full_disk_is_seen() -> None:
    """While nothing can be written the overview still answers, and says so."""
    async with bench() as ops:

        async def probe() -> float:
            raise StoreFull("The disk is full; nothing was written.")

        ops.store.probe = probe  # type: ignore[method-assign]
        assert [one.kind for one in (await insight(ops).overview()).attention] == ["disk_full"]


async def test_why_a_call_is_open() -> None:
    """An agent at work is named, since its last attempt began, with the time limit that ends the call."""
    async with bench() as ops:
        execution_id = await ops.start({"x": []}, node={"timeout": 20, "retry": {"initial_interval": 5}})
        await ops.script.called(1)
        ops.clock.advance(2)
        ops.script.refuse("x", GONE)
        await ops.waiting(execution_id, "retry")
        cause = await why(ops, execution_id)
        assert (cause.what, cause.attempt, cause.error_code) == ("retry", 1, "AGENT_UNREACHABLE")
        assert "(in 5 s): attempt 2 of 3 after AGENT_UNREACHABLE" in cause.would_move
        ops.clock.advance(5)
        await ops.script.called(2)
        ops.clock.advance(1)
        cause = await why(ops, execution_id)
        assert (cause.what, cause.agent_id, cause.attempt, cause.since) == ("call", "a", 2, ops.clock.now() - 1_000_000)
        assert "its time limit of 20 s in 19 s" in cause.would_move


async def test_why_there_is_no_slot() -> None:
    """Who waits for another call's end is told of which limit it is, and who waits for its turn of its place."""
    async with bench(calls=1, open_runs=2) as ops:
        await ops.start({"x": []})
        held, queued = await ops.start({"y": []}), await ops.start({"z": []})
        await ops.waiting(held, "slot")
        assert "all 1 call that may be open at once" in (await why(ops, held, calls=1)).text
        assert "1 of 1" in (await why(ops, held, calls_per_agent=1)).text
        cause = await why(ops, queued, open_runs=2)
        assert cause.what == "queue"
        assert "in place 1: it is the next. At most 2 executions run at once." in cause.text


async def test_why_an_agent_gets_no_call() -> None:
    """An agent that cannot be reached is named with what was seen of it and when it is tried again."""
    async with bench(breaker_failures=1, breaker_pause=10) as ops:
        first = await ops.start({"x": []}, node={"retry": {"max_attempts": 1}})
        await ops.script.called(1)
        ops.script.refuse("x", GONE)
        await ops.ended(first)
        held = await ops.start({"y": []})
        await ops.waiting(held, "agent")
        ops.clock.advance(4)
        cause = await why(ops, held)
        assert (cause.what, cause.agent_id) == ("agent", "a")
        assert "cannot be reached, and is left alone for a while: Connection refused." in cause.text
        assert "(in 6 s)" in cause.would_move
        assert "after 1 attempt of agent" in (await why(ops, first)).text


async def test_why_an_agent_that_answers_later_is_waited_for() -> None:
    """Who has taken a task is waited for, others wait for that one to be done with it, and for somebody idle."""
    async with bench() as ops:
        await ops.agent("eddie", "greet")
        node = {"agent_id": None, "capability": "greet"}
        first = await ops.start({"x": []}, node=node)
        await ops.later.called(1)
        assert "being handed to agent" in (await why(ops, first)).text
        ops.later.take()
        await ops.waiting(first, "agent")
        assert "it has reported nothing yet" in (await why(ops, first)).text
        await ops.report("eddie", "active")
        assert "it is at work on it" in (await why(ops, first)).text
        second = await ops.start({"x": []}, node={"agent_id": "eddie"})
        await ops.waiting(second, "agent")
        assert f"it has another task ({first}:x)" in (await why(ops, second)).text
        third = await ops.start({"x": []}, node=node)
        await ops.waiting(third, "agent")
        cause = await why(ops, third)
        assert 'the one agent with the capability "greet" is not free: eddie has another task.' in cause.text
        await ops.agents.delete("eddie")
        assert 'no active agent has the capability "greet"' in (await why(ops, third)).text


async def test_why_nothing_goes_on_while_nothing_can_be_written() -> None:
    """An execution that the store could not be told of is said to be taken up again."""
    async with bench() as ops:
        execution_id = await ops.start({"x": [], "y": ["x"]})
        await ops.script.called(1)
        ops.store.refusals = 1
        ops.script.answer("x")
        await ops.until(execution_id, lambda _: not ops.engine.carries(execution_id))
        cause = await why(ops, execution_id)
        assert cause.what == "queue"
        assert "The server takes the execution up again from its record" in cause.text
