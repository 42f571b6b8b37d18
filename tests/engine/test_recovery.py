"""Agents that answer later, over restarts: graceful ones, and crashes as the disk would show them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
from harness import Bench, VirtualClock, bench, file_in

from opscore.domain.calls import Answered, Deferred, Postponed
from opscore.engine.run import StopReason

K = {"agent_id": "k"}
DOWN = Postponed("AGENTKIT_UNREACHABLE", "AgentKit cannot be reached: no connection.")

pytestmark = pytest.mark.parametrize("stop", ["closed", "crashed"])


@asynccontextmanager
async def again(before: Bench, stop: str, directory: Path, seconds: float = 5) -> AsyncIterator[Bench]:
    """The server at its next start, after it was closed or as after a crash of this moment."""
    if stop == "crashed":
        path = before.crashed(directory / "crashed.db")
    else:
        path = before.path
        before.engine.hurry()
        await before.engine.close()
        await before.store._database.close()
    async with bench(path, VirtualClock(seconds)) as b:
        yield b


async def handed(b: Bench, **more: Any) -> str:
    """An execution whose first task is being handed to the agent ``k``."""
    await b.agent("k")
    more.setdefault("node", K)
    execution_id = await b.start({"x": []}, **more)
    await b.later.called(1)
    return execution_id


async def taken(b: Bench, **more: Any) -> str:
    """One whose first task the agent has taken."""
    execution_id = await handed(b, **more)
    b.later.take()
    await b.waiting(execution_id, "agent")
    return execution_id


async def end(b: Bench, execution_id: str, *, calls: int) -> None:
    """It is completed, without a failure, and nothing is left."""
    found = await b.ended(execution_id)
    assert (found.status, found.failures) == ("completed", 0)
    assert len(b.later.calls) == calls
    await b.events(execution_id)
    await b.at_rest()


async def test_a_task_that_was_not_acknowledged_is_sent_again(stop: str, tmp_path: Path) -> None:
    """Whether the agent has it is unknown: after a moment for its word it is handed over again with the same key."""
    async with bench(file_in(tmp_path)) as before:
        done = await handed(before)
        async with again(before, stop, tmp_path) as b:
            await b.set_timer(done)
            assert not b.later.calls
            b.clock.advance(1)
            await b.later.called(1)
            assert b.later.calls[0].idempotency_key == before.later.calls[0].idempotency_key
            assert b.later.calls[0].attempt == 2
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("k", "active", 6)
            await b.report("k", "idle", 7)
            await end(b, done, calls=1)


async def test_an_agent_that_says_it_has_the_task_is_not_given_it_again(stop: str, tmp_path: Path) -> None:
    """AgentKit's answer was lost, but its agent reports that it is at work: nothing is sent twice."""
    async with bench(file_in(tmp_path)) as before:
        done = await handed(before)
        async with again(before, stop, tmp_path) as b:
            await b.set_timer(done)
            await b.report("k", "active", 6)
            b.clock.advance(5)
            await b.report("k", "idle", 7)
            await end(b, done, calls=0)


async def test_a_task_that_could_not_be_handed_over_is_offered_again(stop: str, tmp_path: Path) -> None:
    """At the instant that was recorded, to the same agent, with the same key."""
    async with bench(file_in(tmp_path)) as before:
        before.later.answers = lambda call: DOWN
        done = await handed(before)
        waits = (await before.waiting(done, "retry")).waiting[0]
        async with again(before, stop, tmp_path, 0.1) as b:
            await b.until(done, lambda _: done in b.engine._conductor.runs)
            await b.waiting(done, "retry")
            assert not b.later.calls
            assert waits.until is not None
            b.clock.advance((waits.until - b.clock.now()) / 1_000_000)
            await b.later.called(1)
            assert b.later.calls[0].idempotency_key == before.later.calls[0].idempotency_key
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("k", "active", 6)
            await b.report("k", "idle", 7)
            await end(b, done, calls=1)


async def test_a_task_that_was_taken_is_waited_for(stop: str, tmp_path: Path) -> None:
    """It is not sent twice, and its agent gets nothing else."""
    async with bench(file_in(tmp_path)) as before:
        done = await taken(before)
        second = await before.start({"x": []}, node=K, metadata={"n": 2})
        await before.waiting(second, "agent")
        async with again(before, stop, tmp_path) as b:
            await b.waiting(done, "agent")
            await b.waiting(second, "agent")
            assert not b.later.calls
            await b.report("k", "active", 6)
            await b.report("k", "idle", 7)
            assert (await b.ended(done)).calls == 1
            await b.later.called(1)
            b.later.take()
            await b.waiting(second, "agent")
            await b.report("k", "active", 8)
            await b.report("k", "idle", 9)
            await end(b, second, calls=1)


async def test_a_task_that_was_begun_ends_with_idle(stop: str, tmp_path: Path) -> None:
    """That the agent has begun is remembered."""
    async with bench(file_in(tmp_path)) as before:
        done = await taken(before)
        await before.report("k", "active", 1)
        async with again(before, stop, tmp_path) as b:
            await b.waiting(done, "agent")
            await b.report("k", "idle", 7)
            await end(b, done, calls=0)


async def test_a_task_that_was_begun_early_ends_with_idle(stop: str, tmp_path: Path) -> None:
    """One that began before its hand-over returned is not handed over again."""
    async with bench(file_in(tmp_path)) as before:
        done = await handed(before)
        await before.report("k", "active", 1)
        async with again(before, stop, tmp_path) as b:
            await b.waiting(done, "agent")
            await b.report("k", "idle", 7)
            await end(b, done, calls=0)


async def test_a_report_comes_before_anything_else(stop: str, tmp_path: Path) -> None:
    """The first thing after the start, it is about the task all the same; the run goes on with what follows."""
    async with bench(file_in(tmp_path)) as before:
        await before.agent("k")
        done = await before.start({"x": [], "y": ["x"]}, node=K)
        await before.later.called(1)
        before.later.take()
        await before.waiting(done, "agent")
        await before.report("k", "active", 1)
        async with again(before, stop, tmp_path) as b:
            await b.report("k", "idle", 2, result={"kept": 1})
            run = b.engine._conductor.runs[done]
            await b.later.called(1)
            assert (b.later.nodes, b.later.calls[0].input["kept"]) == (["y"], 1)
            b.later.take("y")
            await b.waiting(done, "agent")
            await b.report("k", "active", 3)
            await b.report("k", "idle", 4)
            await end(b, done, calls=1)
            assert run.stop is StopReason.FINISHED


async def test_reports_come_while_many_are_taken_up(stop: str, tmp_path: Path) -> None:
    """Each ends its task, whichever of the runs was taken up already, and no agent is kept from new work."""
    agents = [f"k{n}" for n in range(30)]
    async with bench(file_in(tmp_path)) as before:
        before.later.answers = lambda call: Deferred()
        started = {}
        for name in agents:
            await before.agent(name)
            started[name] = await before.start({"x": []}, node={"agent_id": name})
        for name in agents:
            await before.waiting(started[name], "agent")
        async with again(before, stop, tmp_path) as b:
            for name in reversed(agents):
                await b.report(name, "finished", taskId="x")
            for name in agents:
                assert (await b.ended(started[name])).status == "completed"
            assert not b.engine._conductor.runs
            await b.at_rest()


async def test_a_completion_comes_before_anything_else(stop: str, tmp_path: Path) -> None:
    """An explicit completion right after the start counts too."""
    async with bench(file_in(tmp_path)) as before:
        done = await taken(before)
        async with again(before, stop, tmp_path) as b:
            await b.conclude(done, Answered({}))
            await end(b, done, calls=0)


async def test_the_time_limit_of_a_task_goes_on(stop: str, tmp_path: Path) -> None:
    """A task that was taken ends at the instant that was recorded."""
    async with bench(file_in(tmp_path)) as before:
        done = await taken(before, node={**K, "retry": {"max_attempts": 1}})
        async with again(before, stop, tmp_path, 20) as b:
            await b.waiting(done, "agent")
            b.clock.advance(9.9)
            assert (await b.executions.get(done)).is_open
            b.clock.advance(0.2)
            assert (await b.ended(done)).error_code == "TASK_TIMEOUT"
            await b.at_rest()


async def test_an_abandoned_task_is_remembered(stop: str, tmp_path: Path) -> None:
    """Its agent gets nothing new before the task's time is over."""
    async with bench(file_in(tmp_path)) as before:
        await before.executions.cancel(await taken(before), None)
        done = await before.start({"x": []}, node=K, metadata={"n": 2})
        await before.waiting(done, "agent")
        async with again(before, stop, tmp_path, 20) as b:
            await b.waiting(done, "agent")
            b.clock.advance(9)
            await b.executions.get(done)
            assert not b.later.calls
            b.clock.advance(1.1)
            await b.later.called(1)
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("k", "active", 40)
            await b.report("k", "idle", 41)
            await end(b, done, calls=1)


async def test_what_an_agent_said_of_itself_is_remembered(stop: str, tmp_path: Path) -> None:
    """One that was not idle is not given work, one whose task ended is."""
    async with bench(file_in(tmp_path)) as before:
        done = await taken(before, node={**K, "retry": {"initial_interval": 60}})
        await before.report("k", "error", 1)
        await before.waiting(done, "retry")
        await before.agent("l")
        await before.report("l", "initializing", 1)
        other = await before.start({"x": []}, node={"agent_id": "l"})
        await before.waiting(other, "agent")
        async with again(before, stop, tmp_path) as b:
            await b.waiting(done, "retry")
            await b.waiting(other, "agent")
            b.clock.advance(60)
            await b.later.called(1)
            assert b.later.agents == ["k"]
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("k", "active", 70)
            await b.report("k", "idle", 71)
            assert (await b.ended(done)).failures == 1
            await b.report("l", "idle", 72)
            await b.later.called(2)
            b.later.take()
            await b.waiting(other, "agent")
            await b.report("l", "finished", 73, taskId="x")
            await end(b, other, calls=2)


async def test_the_other_agents_turn_is_remembered(stop: str, tmp_path: Path) -> None:
    """Once it is the turn of the agent that the flow names for failures, it stays so."""
    async with bench(file_in(tmp_path)) as before:
        await before.agent("l")
        node = {**K, "on_error": {"agent_id": "l"}, "retry": {"max_attempts": 1}}
        done = await taken(before, node=node)
        await before.report("k", "error", 1)
        await before.waiting(done, "retry")
        async with again(before, stop, tmp_path) as b:
            await b.later.called(1)
            assert b.later.agents == ["l"]
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("l", "active", 6)
            await b.report("l", "idle", 7)
            assert (await b.ended(done)).status == "completed"
            await b.at_rest()


async def test_the_queue_of_an_agent_keeps_its_order(stop: str, tmp_path: Path) -> None:
    """Those that wait go on in the order in which they came, the higher priority first."""
    async with bench(file_in(tmp_path)) as before:
        first = await taken(before)
        others = [await before.start({"x": []}, node=K, metadata={"n": n}, priority=9 * (n == 2)) for n in range(4)]
        for execution_id in others:
            await before.waiting(execution_id, "agent")
        async with again(before, stop, tmp_path) as b:
            b.later.answers = lambda call: Deferred()
            for execution_id in others:
                await b.waiting(execution_id, "agent")
            for n, execution_id in enumerate([first, *(others[i] for i in (2, 0, 1, 3))]):
                await b.report("k", "active", 10 + n)
                await b.report("k", "idle", 10.5 + n)
                assert (await b.ended(execution_id)).status == "completed"
                if n < 4:
                    await b.later.called(n + 1)
            await b.at_rest()
