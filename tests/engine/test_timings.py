"""Where the time of a step went: in a queue, in the call, in the store."""

from __future__ import annotations

from pathlib import Path

from harness import Bench, FullOnce, bench, file_in

from opscore.domain.calls import Refused
from opscore.domain.executions import Unit
from opscore.operations.executions import Start

K = {"agent_id": "k"}


class Slow(FullOnce):
    """A store whose commits take a quarter of a second of the virtual clock."""

    bench: Bench

    async def commit(self, unit: Unit) -> None:
        self.bench.clock.advance(0.25)
        await super().commit(unit)


def slow(it: Bench) -> None:
    """Make the bench's store a slow one."""
    it.store.__class__ = Slow
    assert isinstance(it.store, Slow)
    it.store.bench = it


async def timing(it: Bench, execution_id: str, node_id: str) -> tuple[object, object, object]:
    """Seconds in queue, call and commit."""
    (step,) = [step for step in await it.store.steps(execution_id) if step.node_id == node_id]
    return tuple(None if us is None else us / 1_000_000 for us in (step.queue_us, step.call_us, step.commit_us))


async def test_a_step_has_the_time_of_its_call_and_of_its_commit() -> None:
    """Call and commit are told apart, and a step that found a slot at once was in no queue."""
    async with bench() as it:
        slow(it)
        execution_id = await it.start({"x": []})
        await it.script.called(1)
        it.clock.advance(2)
        it.script.answer("x")
        await it.ended(execution_id)
        assert await timing(it, execution_id, "x") == (0.0, 2.0, 0.25)


async def test_the_queue_is_the_time_from_ready_until_there_is_a_slot() -> None:
    """A step that waits for a slot was in the queue for as long, and not while what it depends on ran."""
    async with bench(calls=1) as it:
        first = await it.start({"x": []})
        await it.script.called(1)
        second = await it.start({"y": [], "z": ["y"]})
        await it.waiting(second, "slot")
        it.clock.advance(5)
        it.script.answer("x")
        await it.script.called(2)
        it.clock.advance(1)
        it.script.answer("y")
        await it.script.called(3)
        it.script.answer("z")
        await it.ended(second)
        assert await timing(it, first, "x") == (0.0, 5.0, 0.0)
        assert await timing(it, second, "y") == (5.0, 1.0, 0.0)
        assert await timing(it, second, "z") == (0.0, 0.0, 0.0)


async def test_the_pause_before_a_repeat_is_no_queue() -> None:
    """The times are the last attempt's, which is ready when its pause is over."""
    async with bench(calls=1) as it:
        execution_id = await it.start({"x": []}, node={"retry": {"max_attempts": 2}})
        await it.script.called(1)
        it.clock.advance(3)
        it.script.refuse("x", Refused("AGENT_UNREACHABLE", "gone", retryable=True))
        waits = await it.waiting(execution_id, "retry")
        pause = (waits.waiting[0].until or 0) - it.clock.now()
        other = await it.start({"y": []})
        await it.script.called(2)
        it.clock.advance(pause / 1_000_000 + 4)
        await it.waiting(execution_id, "slot")
        it.script.answer("y")
        await it.script.called(3)
        it.clock.advance(1)
        it.script.refuse("x", Refused("AGENT_ERROR", "no", retryable=False))
        assert (await it.ended(execution_id)).status == "failed"
        await it.ended(other)
        assert await timing(it, execution_id, "x") == (4.0, 1.0, 0.0)


async def test_a_call_to_an_agent_that_answers_later_lasts_until_it_did() -> None:
    """From the hand-over to the report that ends the task."""
    async with bench() as it:
        await it.agent("k")
        execution_id = await it.start({"x": []}, node=K)
        await it.later.called(1)
        it.clock.advance(1)
        it.later.take("x")
        await it.waiting(execution_id, "agent")
        it.clock.advance(6)
        await it.report("k", "active")
        it.clock.advance(1)
        await it.report("k", "idle")
        await it.ended(execution_id)
        assert await timing(it, execution_id, "x") == (0.0, 8.0, 0.0)


async def test_a_node_that_only_passes_data_on_has_no_call() -> None:
    """It has been in no queue, and there was nobody to call."""
    async with bench() as it:
        await it.flows.create({"flow_id": "passes", "nodes": [{"id": "in", "type": "input"}]})
        execution_id = (await it.executions.start(Start(flow_id="passes", input_data={}))).execution_id
        await it.ended(execution_id)
        assert await timing(it, execution_id, "in") == (0.0, None, 0.0)


async def test_a_restart_forgets_no_queue_and_no_hand_over(tmp_path: Path) -> None:
    """What waits for a slot has waited since before the crash, and what an agent holds was handed over then."""
    async with bench(file_in(tmp_path), calls=1) as it:
        await it.agent("k")
        held = await it.start({"x": []}, node=K)
        await it.later.called(1)
        it.later.take("x")
        await it.waiting(held, "agent")
        await it.start({"y": []})
        await it.script.called(1)
        waiting = await it.start({"z": []})
        await it.waiting(waiting, "slot")
        it.clock.advance(3)
        copy = it.crashed(tmp_path / "copy.db")
        clock = it.clock
    async with bench(copy, clock=clock) as it:
        await it.script.called(2)
        it.clock.advance(1)
        it.script.answer("z")
        await it.ended(waiting)
        await it.report("k", "active")
        await it.report("k", "idle")
        await it.ended(held)
        assert await timing(it, waiting, "z") == (3.0, 1.0, 0.0)
        assert await timing(it, held, "x") == (None, 4.0, None)
