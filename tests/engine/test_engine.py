from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from harness import VirtualClock, bench, file_in

from opscore.domain.agents import AgentSpec
from opscore.domain.calls import Answered, Refused
from opscore.domain.errors import Conflict, Overloaded, StoreFull
from opscore.operations.executions import Start

BUSY = Refused("AGENT_BUSY", "busy", retryable=True)


async def test_a_diamond_runs_its_middle_in_parallel() -> None:
    """Siblings are called together, the last node once both have answered, and its input is all of theirs."""
    async with bench() as b:
        done = await b.start({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
        await b.script.called(1)
        b.script.answer("a")
        await b.script.called(3)
        assert set(b.script.open) == {"b", "c"}
        b.script.answer("c", {"who": "c", "c": 1})
        b.script.answer("b", {"who": "b", "b": 1})
        await b.script.called(4)
        assert b.script.calls[3].input == {"n": 1, "who": "c", "b": 1, "c": 1}
        b.script.answer("d", {"done": True})
        assert (await b.ended(done)).outputs == {"d": '{"done":true}'}


async def test_a_retry_comes_after_its_recorded_delay() -> None:
    """A retryable failure is repeated with the same key when the recorded instant has come, not before."""
    async with bench() as b:
        done = await b.start({"x": []}, node={"retry": {"max_attempts": 2, "initial_interval": 8}})
        await b.script.called(1)
        b.script.refuse("x", BUSY)
        found = await b.waiting(done, "retry")
        assert found.waiting[0].until == b.clock.now() + 8_000_000
        b.clock.advance(7.9)
        assert b.script.nodes == ["x"]
        b.clock.advance(0.2)
        await b.script.called(2)
        assert len({call.idempotency_key for call in b.script.calls}) == 1
        assert [call.attempt for call in b.script.calls] == [1, 2]
        b.script.refuse("x", BUSY)
        found = await b.ended(done)
        assert (found.status, found.error_code, found.calls, found.failures) == ("failed", "AGENT_BUSY", 2, 2)


async def test_a_waiting_retry_survives_a_restart(tmp_path: Path) -> None:
    """After a restart a retry is made at the instant that was recorded before it."""
    async with bench(file_in(tmp_path)) as b:
        done = await b.start({"x": []}, node={"retry": {"initial_interval": 60}})
        await b.script.called(1)
        b.script.refuse("x", BUSY)
        await b.waiting(done, "retry")
    async with bench(file_in(tmp_path), VirtualClock(20)) as b:
        await b.until(done, lambda found: done in b.engine._conductor.runs)
        await b.until(done, lambda found: bool(b.engine._conductor.runs[done].steps))
        b.clock.advance(39)
        assert not b.script.calls
        b.clock.advance(2)
        await b.script.called(1)
        assert b.script.calls[0].attempt == 2
        b.script.answer("x")
        assert (await b.ended(done)).status == "completed"


async def test_a_restart_repeats_what_was_under_way_and_nothing_else(tmp_path: Path) -> None:
    """A finished step is not called again; the one under way is, with the same key."""
    async with bench(file_in(tmp_path)) as b:
        done = await b.start({"x": [], "y": ["x"]})
        await b.script.called(1)
        b.script.answer("x", {"from": "x"})
        await b.script.called(2)
        key = b.script.calls[1].idempotency_key
    async with bench(file_in(tmp_path), VirtualClock(5)) as b:
        await b.script.called(1)
        assert (b.script.calls[0].node_id, b.script.calls[0].idempotency_key) == ("y", key)
        assert b.script.calls[0].input == {"n": 1, "from": "x"}
        b.script.answer("y")
        assert (await b.ended(done)).status == "completed"


async def test_an_attempt_that_takes_too_long_is_dropped() -> None:
    """At the node's time limit the call is dropped, and the step fails with NODE_TIMEOUT."""
    async with bench() as b:
        done = await b.start({"x": []}, node={"timeout": 5, "retry": {"max_attempts": 1}})
        await b.script.called(1)
        b.clock.advance(5.1)
        assert (await b.ended(done)).error_code == "NODE_TIMEOUT"
        assert b.script.dropped == ["x"]


async def test_an_execution_that_takes_too_long_ends() -> None:
    """At the execution's time limit it fails with EXECUTION_TIMEOUT and its calls are dropped."""
    async with bench() as b:
        done = await b.start({"x": [], "y": []}, timeout=10)
        await b.script.called(2)
        b.clock.advance(10.1)
        assert (await b.ended(done)).error_code == "EXECUTION_TIMEOUT"
        assert sorted(b.script.dropped) == ["x", "y"]


async def test_a_failure_ends_its_siblings() -> None:
    """A node that fails for good fails the execution; running siblings are dropped and recorded as cancelled."""
    async with bench() as b:
        done = await b.start({"x": [], "y": [], "z": ["x"]})
        await b.script.called(2)
        b.script.refuse("x", Refused("BAD_DATA", "no", retryable=False))
        found = await b.ended(done)
        assert (found.status, found.error_code) == ("failed", "BAD_DATA")
        steps = {step.node_id: step.status for step in await b.store.steps(done)}
        assert steps == {"x": "failed", "y": "cancelled"}
        assert b.script.dropped == ["y"]


async def test_a_cancel_is_final_and_may_be_repeated() -> None:
    """A cancel ends the execution, drops its call, frees its slot, and is no error a second time."""
    async with bench() as b:
        done = await b.start({"x": [], "y": ["x"]})
        await b.script.called(1)
        assert (await b.executions.cancel(done, "enough")).status == "cancelled"
        assert (await b.executions.cancel(done, None)).status == "cancelled"
        assert b.script.dropped == ["x"]
        assert b.engine.gauges()["calls_in_flight"] == 0
        assert (await b.events(done))[-2:] == ["execution.cancel_requested", "execution.cancelled"]


async def test_what_has_completed_is_not_cancelled() -> None:
    """A cancel that comes after the end is a conflict."""
    async with bench() as b:
        b.script.answers = lambda call: Answered({})
        done = await b.start({"x": []})
        await b.ended(done)
        with pytest.raises(Conflict, match="completed already"):
            await b.executions.cancel(done, None)


async def test_cancel_and_completion_race_to_one_end() -> None:
    """Cancelled in the same moment as the last answer, exactly one end is recorded and told."""
    async with bench() as b:
        for _ in range(30):
            done = await b.start({"x": []}, metadata={"round": _})
            await b.script.called(len(b.script.calls) + (0 if "x" in b.script.open else 1))
            b.script.answer("x")
            try:
                told = (await b.executions.cancel(done, None)).status
            except Conflict:
                told = "completed"
            assert (await b.executions.get(done)).status == told
            ends = [e for e in await b.events(done) if e in ("execution.completed", "execution.cancelled")]
            assert ends == [f"execution.{told}"]


async def test_an_agent_never_has_more_calls_than_it_takes() -> None:
    """max_concurrency holds; who waits is recorded as waiting for a slot, and the higher priority goes first."""
    async with bench() as b:
        await b.agents.register(AgentSpec("narrow", "narrow", "script", max_concurrency=1))
        node = {"agent_id": "narrow"}
        await b.start({"one": []}, node=node)
        await b.script.called(1)
        low = await b.start({"low": []}, node=node, priority=1)
        high = await b.start({"high": []}, node=node, priority=9)
        await b.waiting(low, "slot")
        await b.waiting(high, "slot")
        b.script.answer("one")
        await b.script.called(2)
        b.script.answer("high")
        await b.script.called(3)
        assert b.script.nodes == ["one", "high", "low"]
        b.script.answer("low")
        assert (await b.ended(low)).status == "completed"


async def test_beyond_the_open_runs_executions_wait_in_the_store() -> None:
    """Runs over the limit stay pending, are admitted by priority, expire in their place, and have an end themselves."""
    async with bench(open_runs=1, queued=3) as b:
        first = await b.start({"first": []})
        await b.script.called(1)
        low = await b.start({"low": []}, priority=1)
        high = await b.start({"high": []}, priority=9)
        late = await b.start({"late": []}, timeout=5)
        with pytest.raises(Overloaded) as refused:
            await b.start({"more": []})
        assert refused.value.error_code == "QUEUE_FULL"
        assert (await b.executions.get(high)).status == "pending"
        b.clock.advance(6)
        assert (await b.ended(late)).error_code == "EXECUTION_TIMEOUT"
        b.script.answer("first")
        await b.script.called(2)
        b.script.answer("high")
        await b.script.called(3)
        assert b.script.nodes == ["first", "high", "low"]
        again = await b.start({"again": []})
        assert (await b.executions.cancel(again, None)).status == "cancelled"
        b.script.answer("low")
        assert {(await b.ended(one)).status for one in (first, high, low)} == {"completed"}
        assert b.engine.gauges()["executions_queued"] == 0


async def test_a_full_disk_loses_nothing() -> None:
    """A result that could not be written is asked for again once there is room; a start is refused."""
    async with bench() as b:
        done = await b.start({"x": [], "y": ["x"]})
        await b.script.called(1)
        b.store.refusals = 1
        b.script.answer("x")
        await b.until(done, lambda found: done not in b.engine._conductor.runs)
        b.clock.advance(1)
        await b.script.called(2)
        assert b.script.nodes == ["x", "x"]
        assert len({call.idempotency_key for call in b.script.calls}) == 1
        b.script.answer("x")
        await b.script.called(3)
        b.script.answer("y")
        assert (await b.ended(done)).status == "completed"
        b.store.refusals = 1
        with pytest.raises(StoreFull):
            await b.start({"z": []})
        assert b.engine.gauges()["open_runs"] == b.engine.gauges()["calls_in_flight"] == 0


async def test_large_outputs_reach_the_followers() -> None:
    """An output too large to keep at hand is read from the store when it is needed."""
    async with bench() as b:
        b.script.answers = lambda call: Answered(
            {"text": "x" * 200_000} if call.node_id == "x" else {"n": len(call.input["text"])}
        )
        done = await b.start({"x": [], "y": ["x"]})
        assert (await b.ended(done)).outputs == {"y": '{"n":200000}'}


async def test_nodes_without_an_agent_pass_data_on() -> None:
    """Input nodes pass their input on, output nodes collect what reaches them."""
    async with bench() as b:
        b.script.answers = lambda call: Answered({"score": call.input["n"] + 1})
        nodes = [
            {"id": "in", "type": "input"},
            {"id": "work", "agent_id": "a", "depends_on": ["in"]},
            {"id": "out", "type": "output", "depends_on": ["work"]},
        ]
        await b.flows.create({"flow_id": "pass", "nodes": nodes})
        done = (await b.executions.start(Start(flow_id="pass", input_data={"n": 1}))).execution_id
        assert (await b.ended(done)).outputs == {"out": '{"score":2}'}


async def test_a_broken_protocol_ends_the_step_and_not_the_server() -> None:
    """An exception in a protocol is a failure with a code."""
    async with bench() as b:

        def broken(_: object) -> Answered:
            raise RuntimeError("bug")

        b.script.answers = broken
        done = await b.start({"x": []}, node={"retry": {"max_attempts": 1}})
        assert (await b.ended(done)).error_code == "INTERNAL_ERROR"


async def test_an_agent_that_is_gone_is_said_so() -> None:
    """A step of an agent that was forgotten fails with AGENT_NOT_FOUND."""
    async with bench() as b:
        done = await b.start({"x": [], "y": ["x"]})
        await b.script.called(1)
        await b.agents.delete("a")
        b.script.answer("x")
        assert (await b.ended(done)).error_code == "AGENT_NOT_FOUND"


async def test_whoever_waits_is_woken_by_the_end_and_by_time() -> None:
    """wait() returns at the end of the execution, or after its time."""
    async with bench() as b:
        done = await b.start({"x": []})
        await b.script.called(1)
        waiting = asyncio.ensure_future(b.executions.wait(done, 100))
        late = asyncio.ensure_future(b.executions.wait(done, 10))
        await b.executions.get(done)
        b.clock.advance(11)
        assert (await late).status == "running"
        b.script.answer("x")
        assert (await waiting).status == "completed"


async def test_every_change_is_told_by_one_numbered_event() -> None:
    """The events of a run are its history, without gaps."""
    async with bench() as b:
        b.script.answers = lambda call: Answered({})
        done = await b.start({"x": [], "y": ["x"]})
        await b.ended(done)
        assert await b.events(done) == [
            "execution.accepted", "execution.started", "node.started:x", "node.completed:x",
            "node.started:y", "node.completed:y", "execution.completed",
        ]  # fmt: skip


async def test_calls_that_had_no_time_to_begin_give_their_slots_back() -> None:
    """A cancel written together with the hop that opens new calls leaves no slot taken, whatever the moment."""
    async with bench() as b:
        for ticks in range(12):
            done = await b.start({"x": [], "y": ["x"], "z": ["x"]}, metadata={"ticks": ticks})
            while "x" not in b.script.open:
                await b.executions.get(done)
            b.script.answer("x")
            for _ in range(ticks):
                await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0)
            assert (await b.executions.cancel(done, None)).status == "cancelled"
            await b.ended(done)
            b.script.open.clear()
            assert b.engine.gauges()["calls_in_flight"] == 0, ticks
