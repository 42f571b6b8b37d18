from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from harness import START, Bench, bench, file_in

from opscore.domain.agents import AgentState
from opscore.domain.calls import Answered, Deferred, Postponed, Refused
from opscore.domain.errors import Stale, StoreFull
from opscore.engine.run import StopReason
from opscore.operations.executions import Start

K = {"agent_id": "k"}
DOWN = Postponed("AGENTKIT_UNREACHABLE", "AgentKit cannot be reached: no connection.")


async def taken(b: Bench, edges: Any = None, **more: Any) -> str:
    """An execution whose first task the agent ``k`` has taken."""
    await b.agent("k")
    more.setdefault("node", K)
    execution_id = await b.start(edges or {"x": []}, **more)
    await b.later.called(len(b.later.calls) + (0 if b.later.open else 1))
    b.later.take("x")
    await b.waiting(execution_id, "agent")
    return execution_id


async def test_reports_complete_a_task() -> None:
    """Active says that the agent has begun, idle that it is done; the report's result is the output."""
    async with bench() as b:
        done = await taken(b)
        waits = (await b.executions.get(done)).waiting[0]
        assert (waits.agent_id, waits.until) == ("k", b.clock.now() + 30_000_000)
        await b.report("k", "active")
        b.clock.advance(1)
        await b.report("k", "idle", result={"answer": 42})
        found = await b.ended(done)
        assert (found.status, found.outputs, found.calls, found.failures) == ("completed", {"x": '{"answer":42}'}, 1, 0)
        assert await b.events(done) == [
            "execution.accepted", "execution.started", "node.started:x", "node.waiting:x",
            "agent.state:x", "agent.state:x", "node.completed:x", "execution.completed",
        ]  # fmt: skip
        await b.at_rest()


async def test_finished_completes_as_idle_does() -> None:
    """An agent that says finished after active is done, and gets its next task."""
    async with bench() as b:
        done = await taken(b, {"x": [], "y": ["x"]})
        await b.report("k", "active", 1)
        await b.report("k", "finished", 2, output="text")
        await b.later.called(2)
        assert b.later.calls[1].input["value"] == "text"
        b.later.take("y")
        await b.waiting(done, "agent")
        await b.report("k", "active", 3)
        await b.report("k", "idle", 4)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_idle_alone_does_not_complete() -> None:
    """An idle that comes before the agent began is about what was before."""
    async with bench() as b:
        done = await taken(b)
        await b.report("k", "idle", 1)
        assert (await b.executions.get(done)).status == "running"
        await b.report("k", "active", 2)
        await b.report("k", "idle", 3)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_a_report_that_names_the_task_needs_no_active() -> None:
    """Idle or finished with the task's id complete it at once, whichever field has the id."""
    for field in ("opscore_task_id", "taskId"):
        async with bench() as b:
            done = await taken(b)
            named: dict[str, Any] = {field: f"{done}:x"}
            await b.report("k", "finished", **named)
            assert (await b.ended(done)).status == "completed"
            await b.at_rest()


async def test_a_report_that_names_another_task_is_not_about_this_one() -> None:
    """Neither active, idle nor error of another task moves the open one."""
    async with bench() as b:
        done = await taken(b)
        states: tuple[AgentState, ...] = ("active", "idle", "error", "finished")
        for second, state in enumerate(states, 1):
            await b.report("k", state, second, opscore_task_id="other:x")
        assert (await b.executions.get(done)).status == "running"
        assert b.engine.find_tasks(done, "x")[0].begun_at is None
        await b.conclude(done, Refused("GIVEN_UP", "no", retryable=False))
        assert (await b.ended(done)).error_code == "GIVEN_UP"
        await b.at_rest()


async def test_an_error_is_retried_and_then_fails_with_the_agents_message() -> None:
    """Two retries after an error, then the task has failed with what the agent said last."""
    async with bench() as b:
        b.later.answers = lambda call: Deferred()
        await b.agent("k")
        done = await b.start({"x": []}, node={**K, "retry": {"max_attempts": 3, "initial_interval": 1}})
        for attempt in (1, 2, 3):
            await b.later.called(attempt)
            await b.waiting(done, "agent")
            await b.report("k", "active", attempt)
            await b.report("k", "error", attempt + 0.5, error_message=f"no {attempt}", error_code="BAD_DAY")
            b.clock.advance(5)
        found = await b.ended(done)
        assert (found.error_code, found.calls, found.failures) == ("BAD_DAY", 3, 3)
        assert found.error_message == 'Node "x" failed: no 3'
        assert len({call.idempotency_key for call in b.later.calls}) == 1
        await b.at_rest()


async def test_an_error_that_is_final_is_not_retried() -> None:
    """An agent that says retryable: false is not asked again."""
    async with bench() as b:
        done = await taken(b)
        await b.report("k", "error", retryable=False, reason="broken")
        found = await b.ended(done)
        assert (found.error_code, found.calls) == ("AGENT_ERROR", 1)
        await b.at_rest()


async def test_a_task_waits_while_agentkit_is_down() -> None:
    """While it cannot be handed over the step says why it waits; it is offered again, and no failure is counted."""
    async with bench() as b:
        down = True
        b.later.answers = lambda call: DOWN if down else Deferred()
        await b.agent("k")
        done = await b.start({"x": []}, node={**K, "retry": {"max_attempts": 1}})
        for _ in range(20):
            waits = (await b.waiting(done, "retry")).waiting[0]
            assert (waits.error_code, waits.detail) == ("AGENTKIT_UNREACHABLE", DOWN.error_message)
            assert waits.until is not None
            calls = len(b.later.calls)
            b.clock.advance(0.5)
            if waits.until <= b.clock.now():
                await b.later.called(calls + 1)
        assert 4 < len(b.later.calls) < 20
        down = False
        b.clock.advance(5)
        await b.waiting(done, "agent")
        await b.report("k", "active", 20)
        await b.report("k", "idle", 21)
        found = await b.ended(done)
        assert (found.status, found.failures, found.error_code) == ("completed", 0, None)
        assert len({call.idempotency_key for call in b.later.calls}) == 1
        await b.at_rest()


async def test_an_error_that_is_said_twice_is_one_error() -> None:
    """A repeated delivery of the report that failed a task neither fails the next one nor keeps its agent from it."""
    async with bench() as b:
        await taken(b, {"x": []}, node={**K, "on_error": "continue"})
        await b.report("k", "active", 1)
        await b.report("k", "error", 2, error="no")
        await b.report("k", "error", 2, error="no")
        await b.at_rest()
        done = await taken(b, metadata={"n": 2})
        await b.report("k", "error", 2, error="no")
        assert (await b.executions.get(done)).failures == 0
        await b.report("k", "active", 3)
        await b.report("k", "idle", 4)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_a_finished_that_is_said_twice_leaves_its_agent_free() -> None:
    """A repeated delivery of the report that ended a task is no word of an agent that ends."""
    async with bench() as b:
        await b.ended(await ends(b, await taken(b), "finished"))
        await b.report("k", "finished", 2)
        await b.at_rest()
        done = await taken(b, metadata={"n": 2})
        await b.report("k", "finished", 2)
        await b.report("k", "active", 1)
        assert b.engine.find_tasks(done, "x")[0].begun_at is None
        await b.report("k", "active", 3)
        await b.report("k", "finished", 2)
        assert (await b.executions.get(done)).status == "running"
        await b.report("k", "finished", 4)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_reports_of_the_task_before_do_not_end_the_next_one() -> None:
    """Its idle and its active, delivered again and in the wrong order, are older than what the agent said since."""
    async with bench() as b:
        await b.ended(await ends(b, await taken(b), "idle"))
        done = await taken(b, metadata={"n": 2})
        await b.report("k", "idle", 2)
        await b.report("k", "active", 1)
        await b.report("k", "idle", 2.5)
        await b.report("k", "active", 1)
        await b.report("k", "idle", 2.6, taskId="other")
        await b.report("k", "active", 2.55)
        assert (await b.executions.get(done)).status == "running"
        await b.report("k", "active", 3)
        await b.report("k", "idle", 4)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_idle_before_active_completes_once_both_are_there() -> None:
    """Reports in the wrong order are read by the agent's clock; the idle's result is the output."""
    async with bench() as b:
        done = await taken(b)
        await b.report("k", "idle", 5, output={"late": True})
        assert (await b.executions.get(done)).status == "running"
        await b.report("k", "active", 4)
        assert (await b.ended(done)).outputs == {"x": '{"late":true}'}
        await b.at_rest()


async def test_a_report_in_the_moment_of_the_time_out_counts() -> None:
    """A task that ends in the moment its time is over has ended; the time-out that was on its way finds nothing."""
    async with bench() as b:
        done = await taken(b, {"x": [], "y": ["x"]})
        await b.report("k", "active")
        b.clock.advance(30)
        run = b.engine._conductor.runs[done]
        await b.report("k", "idle")
        await b.later.called(2)
        b.later.take("y")
        await b.waiting(done, "agent")
        await b.report("k", "idle", 40, taskId="y")
        assert (await b.ended(done)).status == "completed"
        assert run.stop is StopReason.FINISHED
        await b.at_rest()


async def test_a_report_in_the_moment_of_the_next_offer_counts() -> None:
    """A task that begins in the moment it is to be offered again is not offered again."""
    async with bench() as b:
        b.later.answers = lambda call: DOWN
        await b.agent("k")
        done = await b.start({"x": []}, node=K)
        await b.waiting(done, "retry")
        b.clock.advance(10)
        await b.report("k", "active")
        await b.waiting(done, "agent")
        await b.report("k", "idle", 20)
        assert (await b.ended(done)).status == "completed"
        assert len(b.later.calls) == 1
        await b.at_rest()


async def test_an_error_that_is_faster_than_the_hand_over_counts_once() -> None:
    """What the hand-over comes back with after the agent's own error is no second outcome of the attempt."""
    for late in (Deferred(), Refused("LATE", "late", retryable=True)):
        async with bench() as b:
            await b.agent("k")
            done = await b.start({"x": []}, node=K)
            await b.later.called(1)
            await b.report("k", "error")
            await b.waiting(done, "retry")
            run = b.engine._conductor.runs[done]
            b.later.refuse("x", late)
            b.clock.advance(5)
            await b.later.called(2)
            b.later.take()
            await b.waiting(done, "agent")
            await b.report("k", "active", 10)
            await b.report("k", "idle", 11)
            assert (await b.ended(done)).failures == 1
            assert run.stop is StopReason.FINISHED
            await b.at_rest()


async def test_reports_and_hand_overs_may_cross_at_any_moment() -> None:
    """A report that comes while anything of its task is being sent or written counts once, and the run goes on."""
    states: tuple[AgentState, ...] = ("finished", "error")
    for ticks, state, is_repeat in itertools.product(range(12), states, (False, True)):
        async with bench() as b:
            await b.agent("k")
            done = await b.start({"x": [], "y": ["x"]}, node=K)
            await b.later.called(1)
            if is_repeat:
                b.later.refuse("x", DOWN)
                await b.waiting(done, "retry")
                b.clock.advance(1)
            else:
                b.later.take()
            for _ in range(ticks):
                await tick()
            run = b.engine._conductor.runs[done]
            await b.report("k", state, taskId="x")
            b.later.answers = lambda call: Deferred()
            if "x" in b.later.open:
                b.later.take()
            await b.until(done, lambda found: {one.reason for one in found.waiting} & {"retry", "agent"} != set())
            b.clock.advance(5)
            if state == "error":
                await b.waiting(done, "agent")
                await b.report("k", "finished", 10, taskId="x")
            await b.until(done, lambda found: [one.node_id for one in found.waiting if one.until] == ["y"])
            await b.report("k", "finished", 20, taskId="y")
            assert (await b.ended(done)).failures == (1 if state == "error" else 0)
            assert run.stop is StopReason.FINISHED
            await b.at_rest()


async def tick() -> None:
    """One turn of the loop."""
    turn = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turn.set_result, None)
    await turn


async def test_two_calls_of_one_step_give_back_two_slots() -> None:
    """A task that failed and went to another agent while its first hand-over was open leaves no slot taken."""
    async with bench() as b:
        await b.agent("k", "c")
        await b.agent("l", "c")
        done = await b.start({"x": []}, node={"agent_id": None, "capability": "c"})
        await b.later.called(1)
        first = b.later.open.pop("x")
        await b.report("k", "error")
        await b.waiting(done, "retry")
        b.clock.advance(5)
        await b.later.called(2)
        assert b.later.agents == ["k", "l"]
        first.set_result(Deferred())
        b.later.take("x")
        await b.waiting(done, "agent")
        await b.report("l", "active", 1)
        await b.report("l", "idle", 2)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_an_abandoned_task_that_begins_after_all_keeps_its_agent_until_idle(tmp_path: Path) -> None:
    """Its active lets go of the task and its state keeps it from new work, also over a restart."""
    async with bench(file_in(tmp_path)) as b:
        await b.executions.cancel(await taken(b), None)
        await b.report("k", "active", 1)
        done = await b.start({"x": []}, node=K, metadata={"n": 2})
        assert "active" in ((await b.waiting(done, "agent")).waiting[0].detail or "")
    async with bench(file_in(tmp_path)) as b:
        await b.waiting(done, "agent")
        await b.report("k", "idle", 2)
        await b.later.called(1)
        b.later.take()
        await b.waiting(done, "agent")
        await b.report("k", "active", 3)
        await b.report("k", "idle", 4)
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def ends(b: Bench, execution_id: str, state: AgentState) -> str:
    """Active at 1, and the end at 2."""
    await b.report("k", "active", 1)
    await b.report("k", state, 2)
    return execution_id


async def test_an_agent_never_has_two_tasks() -> None:
    """Twenty executions for one agent are done one after the other: by priority first, then as they came."""
    async with bench() as b:
        b.later.answers = lambda call: Deferred()
        await b.agent("k")
        started = [await b.start({"x": []}, node=K, metadata={"n": n}, priority=9 * (n in (7, 12))) for n in range(20)]
        order = [started[n] for n in (0, 7, 12, *(n for n in range(1, 20) if n not in (7, 12)))]
        for turn, execution_id in enumerate(order, 1):
            await b.later.called(turn)
            await b.until(execution_id, lambda found: any(one.until is not None for one in found.waiting))
            assert [task.execution_id for task in await b.store.open_tasks()] == [execution_id]
            await b.report("k", "active", turn)
            assert len(b.later.calls) == turn
            await b.report("k", "idle", turn + 0.5)
            assert (await b.ended(execution_id)).status == "completed"
        assert [call.execution_id for call in b.later.calls] == order
        for execution_id in started:
            await b.events(execution_id)
        await b.at_rest()


async def test_a_capability_is_shared_by_all_who_have_it() -> None:
    """Three agents get three tasks at once; the fourth goes to whoever is free, the one after to who waited longest."""
    async with bench() as b:
        b.later.answers = lambda call: Deferred()
        for name in ("k", "l", "m"):
            await b.agent(name, "c")
        node = {"agent_id": None, "capability": "c"}
        started = [await b.start({"x": []}, node=node, metadata={"n": n}) for n in range(4)]
        await b.later.called(3)
        assert sorted(b.later.agents) == ["k", "l", "m"]
        waits = (await b.waiting(started[3], "agent")).waiting[0]
        assert waits.detail == 'No agent with the capability "c" is free.'
        await done_by(b, "l")
        await b.later.called(4)
        assert b.later.agents[3] == "l"
        for name in ("k", "m", "l"):
            await done_by(b, name)
        for execution_id in started:
            assert (await b.ended(execution_id)).status == "completed"
        least = b.later.agents[:3]
        least.remove("l")
        for n, name in enumerate([*least, "l"]):
            last = await b.start({"x": []}, node=node, metadata={"again": n})
            await b.later.called(5 + n)
            assert b.later.agents[-1] == name
            await done_by(b, name)
            await b.ended(last)
        await b.at_rest()


async def test_a_capability_that_nobody_has_waits_for_somebody() -> None:
    """The step says what is missing, and goes to the first agent that is registered with it."""
    async with bench() as b:
        done = await b.start({"x": []}, node={"agent_id": None, "capability": "c"})
        waits = (await b.waiting(done, "agent")).waiting[0]
        assert waits.detail == 'No active agent has the capability "c".'
        await b.agent("k", "c")
        await b.later.called(1)
        b.later.take()
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_an_agent_may_say_itself_that_it_is_done() -> None:
    """An explicit completion ends a task at any time; a second one finds it ended."""
    async with bench() as b:
        done = await taken(b)
        (task,) = b.engine.find_tasks(done, "x")
        await b.engine.conclude(task, Answered({"said": 1}))
        with pytest.raises(Stale):
            await b.engine.conclude(task, Answered({"said": 2}))
        assert (await b.ended(done)).outputs == {"x": '{"said":1}'}
        assert await b.events(done) == [
            "execution.accepted", "execution.started", "node.started:x", "node.waiting:x",
            "node.completed:x", "execution.completed",
        ]  # fmt: skip
        await b.at_rest()


async def test_two_completions_at_once_are_one() -> None:
    """Of two in one moment one counts, the other is told that the task has ended."""
    async with bench() as b:
        done = await taken(b, {"x": [], "y": ["x"]})
        (task,) = b.engine.find_tasks(done, "x")
        said = [b.engine.conclude(task, Answered({"said": n})) for n in (1, 2)]
        first, second = await asyncio.gather(*said, return_exceptions=True)
        assert first is None
        assert isinstance(second, Stale)
        await b.later.called(2)
        assert b.later.calls[1].input["said"] == 1
        b.later.take("y")
        await b.conclude(done, Answered({}), "y")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_a_completion_may_come_before_the_hand_over_returns() -> None:
    """An agent that is faster than the answer to its task's hand-over has done it; the answer changes nothing."""
    for late in (Deferred(), DOWN, Refused("LATE", "late", retryable=False)):
        async with bench() as b:
            await b.agent("k")
            done = await b.start({"x": [], "y": ["x"]}, node=K)
            await b.later.called(1)
            await b.conclude(done, Answered({"fast": True}))
            await b.waiting(done, "agent")
            b.later.refuse("x", late)
            await b.later.called(2)
            b.later.take("y")
            await b.waiting(done, "agent")
            await b.report("k", "idle", 1, taskId="y")
            found = await b.ended(done)
            assert (found.status, found.failures) == ("completed", 0)
            await b.at_rest()


async def test_the_agent_may_begin_before_the_hand_over_returns() -> None:
    """A task that its agent has begun is taken, whatever its hand-over comes back with."""
    for late in (Deferred(), DOWN, Refused("LATE", "late", retryable=False)):
        async with bench() as b:
            await b.agent("k")
            done = await b.start({"x": []}, node=K)
            await b.later.called(1)
            await b.report("k", "active", 1)
            await b.waiting(done, "agent")
            b.later.refuse("x", late)
            await b.report("k", "idle", 2)
            found = await b.ended(done)
            assert (found.status, found.calls, found.failures) == ("completed", 1, 0)
            await b.at_rest()


async def test_a_hand_over_that_does_not_return_is_dropped() -> None:
    """At the step's time limit an open hand-over counts as failed, and the task is offered again with the same key."""
    async with bench() as b:
        await b.agent("k")
        done = await b.start({"x": []}, node={**K, "timeout": 5})
        await b.later.called(1)
        b.clock.advance(5)
        assert (await b.waiting(done, "retry")).waiting[0].error_code == "NODE_TIMEOUT"
        b.clock.advance(5)
        await b.later.called(2)
        assert len({call.idempotency_key for call in b.later.calls}) == 1
        await b.report("k", "active", 1)
        await b.report("k", "idle", 2)
        assert (await b.ended(done)).failures == 1
        await b.at_rest()


async def test_a_cancelled_task_that_was_not_begun_keeps_its_agent() -> None:
    """Its agent may not know yet: it gets nothing new until it says how the task ended, or the task's time is over."""
    for says in (True, False):
        async with bench() as b:
            cancelled = await taken(b)
            (task,) = b.engine.find_tasks(cancelled, "x")
            await b.executions.cancel(cancelled, None)
            done = await b.start({"x": []}, node=K, metadata={"n": 2})
            assert "another task" in ((await b.waiting(done, "agent")).waiting[0].detail or "")
            await b.report("k", "idle", 1)
            b.clock.advance(29)
            await b.executions.get(done)
            assert len(b.later.calls) == 1
            if says:
                await b.report("k", "finished", 2, taskId=task.task_id)
            else:
                b.clock.advance(1)
            await b.later.called(2)
            b.later.take()
            await b.waiting(done, "agent")
            await done_by(b, "k")
            assert (await b.ended(done)).status == "completed"
            assert await b.events(cancelled) == [
                "execution.accepted", "execution.started", "node.started:x", "node.waiting:x",
                "execution.cancel_requested", "execution.cancelled",
            ]  # fmt: skip
            await b.at_rest()


async def test_a_cancelled_task_that_was_begun_keeps_its_agent_until_idle() -> None:
    """It is no open task any more, but its agent is at work until it says otherwise."""
    async with bench() as b:
        cancelled = await taken(b)
        await b.report("k", "active", 1)
        await b.executions.cancel(cancelled, None)
        await b.at_rest()
        done = await b.start({"x": []}, node=K, metadata={"n": 2})
        assert "it reported active" in ((await b.waiting(done, "agent")).waiting[0].detail or "")
        b.clock.advance(100)
        await b.executions.get(done)
        assert len(b.later.calls) == 1
        await b.report("k", "idle", 2)
        await b.later.called(2)
        b.later.take()
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_a_completion_after_a_cancel_comes_too_late() -> None:
    """It is told that the task has ended, and frees the agent."""
    async with bench() as b:
        cancelled = await taken(b)
        (task,) = b.engine.find_tasks(cancelled, "x")
        await b.executions.cancel(cancelled, None)
        with pytest.raises(Stale):
            await b.engine.conclude(task, Answered({}))
        assert (await b.executions.get(cancelled)).status == "cancelled"
        await b.at_rest()
        done = await taken(b, metadata={"n": 2})
        await b.conclude(done, Answered({}))
        await b.ended(done)
        await b.at_rest()


async def test_a_cancel_and_a_report_race_to_one_end() -> None:
    """Cancelled in the moment of the agent's last report, exactly one end is recorded."""
    async with bench() as b:
        for n in range(20):
            done = await taken(b, metadata={"n": n})
            await b.report("k", "active", 2 * n)
            both = b.report("k", "idle", 2 * n + 1), b.executions.cancel(done, None)
            await asyncio.gather(*(both if n % 2 else reversed(both)), return_exceptions=True)
            found = await b.ended(done)
            ends = [e for e in await b.events(done) if e in ("execution.completed", "execution.cancelled")]
            assert ends == [f"execution.{found.status}"]
            await b.at_rest()


async def test_a_task_that_takes_too_long_fails_and_is_retried() -> None:
    """At its time limit a taken task fails with TASK_TIMEOUT, begun or not; then it is given anew."""
    async with bench() as b:
        done = await taken(b, node={**K, "timeout": 5, "retry": {"max_attempts": 2, "initial_interval": 1}})
        b.clock.advance(4.9)
        assert (await b.executions.get(done)).failures == 0
        b.clock.advance(0.1)
        waits = (await b.waiting(done, "retry")).waiting[0]
        assert waits.error_code == "TASK_TIMEOUT"
        assert await b.store.open_tasks() == []
        b.clock.advance(1)
        await b.later.called(2)
        b.later.take()
        await b.waiting(done, "agent")
        await b.report("k", "active", 1)
        b.clock.advance(5)
        found = await b.ended(done)
        assert (found.error_code, found.calls, found.failures) == ("TASK_TIMEOUT", 2, 2)
        await b.at_rest()


async def test_an_agent_that_is_busy_of_its_own_is_waited_for() -> None:
    """What an agent reports of itself keeps its queue waiting, with the reason; idle frees it."""
    async with bench() as b:
        await b.agent("k")
        await b.report("k", "active", 1)
        done = await b.start({"x": []}, node=K)
        waits = (await b.waiting(done, "agent")).waiting[0]
        assert waits.detail is not None
        assert waits.detail.startswith("The agent is not idle; it reported active at 20")
        await b.report("k", "initializing", 2)
        await b.report("k", "idle", 1.5)
        await b.executions.get(done)
        assert not b.later.calls
        await b.report("k", "idle", 3)
        await b.later.called(1)
        b.later.take()
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_an_agent_that_is_deleted_answers_nobody_any_more() -> None:
    """Those that wait for it fail at once; what it has taken ends with its time."""
    async with bench() as b:
        first = await taken(b)
        second = await b.start({"x": []}, node=K, metadata={"n": 2})
        await b.waiting(second, "agent")
        await b.agents.delete("k")
        assert (await b.ended(second)).error_code == "AGENT_NOT_FOUND"
        b.clock.advance(30)
        await b.waiting(first, "retry")
        b.clock.advance(5)
        assert (await b.ended(first)).error_code == "AGENT_NOT_FOUND"
        await b.at_rest()


async def test_on_error_continue_goes_on_without_the_step() -> None:
    """The step has failed, what follows runs."""
    async with bench() as b:
        done = await taken(b, {"x": [], "y": ["x"]}, node={**K, "on_error": "continue", "retry": {"max_attempts": 1}})
        await b.report("k", "error", 1)
        await b.later.called(2)
        b.later.take("y")
        await b.waiting(done, "agent")
        await done_by(b, "k")
        found = await b.ended(done)
        assert (found.status, found.failures) == ("completed", 1)
        assert {step.node_id: step.status for step in await b.store.steps(done)} == {"x": "failed", "y": "completed"}
        await b.at_rest()


async def test_on_error_output_stands_in_for_the_step() -> None:
    """What follows gets the output that the flow names."""
    async with bench() as b:
        node = {**K, "on_error": {"output": {"stand_in": 1}}, "retry": {"max_attempts": 1}}
        done = await taken(b, {"x": [], "y": ["x"]}, node=node)
        await b.report("k", "error", 1)
        await b.later.called(2)
        assert b.later.calls[1].input["stand_in"] == 1
        b.later.take("y")
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_on_error_agent_tries_with_retries_of_its_own() -> None:
    """After the first agent's attempts the other one has as many; then the step has failed."""
    async with bench() as b:
        b.later.answers = lambda call: Deferred()
        await b.agent("k")
        await b.agent("l")
        retry = {"max_attempts": 2, "initial_interval": 1}
        done = await b.start({"x": []}, node={**K, "on_error": {"agent_id": "l"}, "retry": retry})
        for count, name in enumerate(["k", "k", "l", "l"], 1):
            await b.later.called(count)
            await b.waiting(done, "agent")
            await b.report(name, "error", count)
            b.clock.advance(1)
        assert (await b.ended(done)).error_code == "AGENT_ERROR"
        assert b.later.agents == ["k", "k", "l", "l"]
        await b.at_rest()


async def test_an_error_that_is_faster_than_the_hand_over_goes_to_the_other_agent() -> None:
    """A hand-over that returns after the first agent's own error does not touch the other agent's turn."""
    async with bench() as b:
        await b.agent("k")
        await b.agent("l")
        done = await b.start({"x": []}, node={**K, "on_error": {"agent_id": "l"}, "retry": {"max_attempts": 1}})
        await b.later.called(1)
        first = b.later.open.pop("x")
        await b.report("k", "error", 1)
        first.set_result(Deferred())
        await b.waiting(done, "retry")
        b.clock.advance(0)
        await b.later.called(2)
        b.later.take()
        await b.waiting(done, "agent")
        await done_by(b, "l")
        assert (await b.ended(done)).status == "completed"
        assert b.later.agents == ["k", "l"]
        await b.at_rest()


async def test_a_full_disk_does_not_lose_a_report() -> None:
    """A report that could not be written fails; said again it counts, once."""
    async with bench() as b:
        done = await taken(b, {"x": [], "y": ["x"]})
        await b.report("k", "active", 1)
        b.store.refusals = 1
        with pytest.raises(StoreFull):
            await b.report("k", "idle", 2, result={"kept": True})
        await b.report("k", "idle", 2, result={"kept": True})
        await b.later.called(2)
        assert b.later.calls[1].input["kept"] is True
        b.later.take("y")
        b.clock.advance(1)
        await b.waiting(done, "agent")
        await b.report("k", "active", 3)
        b.store.refusals = 1
        with pytest.raises(StoreFull):
            await b.conclude(done, Answered({}), "y")
        await b.executions.get(done)
        b.clock.advance(1)
        await b.waiting(done, "agent")
        await b.conclude(done, Answered({}), "y")
        assert (await b.ended(done)).status == "completed"
        told = [event for event in await b.events(done) if event.startswith(("agent", "node.completed"))]
        assert told == ["agent.state:x", "agent.state:x", "node.completed:x", "agent.state:y", "node.completed:y"]
        await b.at_rest()


async def test_a_full_disk_while_a_task_is_taken_gives_it_again() -> None:
    """That it was taken could not be written: it is offered again with the same key once there is room."""
    async with bench() as b:
        await b.agent("k")
        done = await b.start({"x": []}, node=K)
        await b.later.called(1)
        b.store.refusals = 1
        b.later.take()
        await b.until(done, lambda found: done not in b.engine._conductor.runs)
        b.clock.advance(1)
        await b.set_timer(done)
        b.clock.advance(1)
        await b.later.called(2)
        b.later.take()
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        assert len({call.idempotency_key for call in b.later.calls}) == 1
        await b.at_rest()


async def test_a_start_that_is_refused_leaves_its_agent_free() -> None:
    """When the disk is full nothing was started, and the agent holds nothing."""
    async with bench() as b:
        await b.agent("k")
        b.store.refusals = 1
        with pytest.raises(StoreFull):
            await b.start({"x": []}, node=K)
        await b.at_rest()
        done = await taken(b, metadata={"n": 2})
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def test_a_cancel_may_come_at_any_moment_of_a_grant() -> None:
    """An execution that is cancelled while it is given its agent leaves nothing taken after its task's time."""
    for ticks in range(14):
        async with bench() as b:
            b.later.answers = lambda call: Deferred()
            await b.agent("k")
            first = await b.start({"x": []}, node=K)
            await b.waiting(first, "agent")
            second = await b.start({"x": []}, node=K, metadata={"n": 2})
            await b.waiting(second, "agent")
            telling = asyncio.ensure_future(b.report("k", "finished", taskId=f"{first}:x"))
            for _ in range(ticks):
                await tick()
            assert (await b.executions.cancel(second, None)).status == "cancelled"
            await telling
            assert (await b.ended(first)).status == "completed"
            b.clock.advance(30)
            await b.at_rest()
            assert not b.engine._conductor.runs


async def test_a_time_limit_of_the_execution_leaves_its_task_behind() -> None:
    """The agent of a task that was not begun is kept until the task's own time is over."""
    async with bench() as b:
        done = await taken(b, timeout=10)
        b.clock.advance(10)
        assert (await b.ended(done)).error_code == "EXECUTION_TIMEOUT"
        assert [task.is_abandoned for task in await b.store.open_tasks()] == [True]
        b.clock.advance(20)
        await b.at_rest()


async def test_a_failure_leaves_the_tasks_of_its_siblings_behind() -> None:
    """What was begun is over, what was only taken keeps its agent."""
    async with bench() as b:
        b.later.answers = lambda call: Deferred()
        nodes = [{"id": name, "agent_id": name, "retry": {"max_attempts": 1}} for name in ("k", "l", "m")]
        for node in nodes:
            await b.agent(str(node["id"]))
        await b.flows.create({"flow_id": "three", "nodes": nodes})
        done = (await b.executions.start(Start(flow_id="three", input_data={}))).execution_id
        await b.until(done, lambda found: len(found.waiting) == 3)
        await b.report("l", "active")
        await b.report("k", "error", error="no")
        assert (await b.ended(done)).error_message == 'Node "k" failed: no'
        assert {step.node_id: step.status for step in await b.store.steps(done)} == {
            "k": "failed", "l": "cancelled", "m": "cancelled",
        }  # fmt: skip
        assert [task.agent_id for task in await b.store.open_tasks()] == ["m"]
        await b.report("m", "error")
        await b.at_rest()


async def test_a_task_that_waits_for_room_says_so_once() -> None:
    """While all slots are taken a task that is to be offered again does not fill the history."""
    async with bench(calls=1) as b:
        await b.agent("k")
        b.later.answers = lambda call: DOWN
        done = await b.start({"x": []}, node=K)
        await b.waiting(done, "retry")
        other = await b.start({"z": []})
        await b.script.called(1)
        for _ in range(20):
            b.clock.advance(0.5)
            await b.executions.get(done)
            await b.store.queue_length()
        assert (await b.executions.get(done)).waiting[0].reason == "slot"
        assert (await b.events(done))[4:] == ["node.waiting:x"]
        b.later.answers = lambda call: Deferred()
        b.script.answer("z")
        await b.ended(other)
        b.clock.advance(0.5)
        await b.waiting(done, "agent")
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()


async def done_by(b: Bench, agent_id: str) -> None:
    """The agent begins what it has, and ends it."""
    agent = b.store.agent_now(agent_id)
    assert agent is not None
    last = START if agent.present is None else agent.present.reported_at
    at = (last - START) / 1_000_000 + 1
    await b.report(agent_id, "active", at)
    await b.report(agent_id, "idle", at + 0.5)


async def test_a_task_that_surely_did_not_arrive_is_no_burden_after_a_cancel() -> None:
    """AgentKit was not even reached: the agent is free at once when the session is cancelled."""
    async with bench() as b:
        await b.agent("k")
        b.later.answers = lambda call: Postponed("AGENTKIT_UNREACHABLE", "Nobody is there.", is_certain=True)
        gone = await b.start({"x": []}, node=K)
        await b.waiting(gone, "retry")
        await b.executions.cancel(gone, None)
        assert not await b.store.open_tasks()
        b.later.answers = None
        done = await taken(b, metadata={"n": 2})
        await done_by(b, "k")
        assert (await b.ended(done)).status == "completed"
        await b.at_rest()
