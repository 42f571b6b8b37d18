from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import Bench, bench, file_in

from opscore.domain.agents import AgentState
from opscore.domain.calls import Deferred, Postponed, Refused
from opscore.engine.run import StopReason

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
