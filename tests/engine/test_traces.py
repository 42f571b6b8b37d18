"""Which trace a run is in, what its agents are told of it, and what a tracer is told."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence

import attrs
from harness import Bench, bench, file_in

from opscore.domain.calls import Answered, Refused, Reply
from opscore.domain.events import Event
from opscore.domain.executions import Attempt, Finished, StepStarted, StepWaits, Unit
from opscore.domain.ports import Served, Subject
from opscore.domain.tracing import TraceContext, attempt_span, read_context
from opscore.operations.executions import Start

CALLER = TraceContext("a" * 32, "b" * 16, 1, "vendor=1")
REFUSAL = Refused("AGENT_UNREACHABLE", "gone", retryable=True)


class Notes:
    """A tracer that writes down what it is told, and keeps what it is told to keep."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.asked: list[Subject] = []
        self.changes: list[object] = []
        self.events: list[str] = []
        self._keeps = keeps

    def keeps(self, subject: Subject) -> bool:
        self.asked.append(subject)
        return self._keeps

    def resumed(self, subject: Subject, events: Sequence[Event]) -> None:
        self.events += [event.type for event in events]

    def answered(self, request: Served) -> None:
        raise AssertionError("nobody asks by HTTP here")

    def wrote(self, subject: Subject, unit: Unit, seconds: float) -> None:
        self.changes += unit.changes

    def called(self, call: object, reply: Optional[Reply], seconds: float) -> None:
        """Nothing of interest."""


def sent(it: Bench, index: int = 0) -> TraceContext:
    """The span that a call tells its agent of."""
    headers = it.script.calls[index].trace_headers
    told = read_context(headers["traceparent"], headers.get("tracestate"))
    assert told is not None
    return told


async def test_agents_are_told_of_their_attempt_in_the_callers_trace() -> None:
    """Trace and state are the caller's, the span is the attempt's own, another for each attempt."""
    async with bench() as it:
        execution_id = await it.start({"x": []}, node={"retry": {"max_attempts": 2}}, trace=CALLER)
        await it.script.called(1)
        it.script.refuse("x", REFUSAL)
        await it.waiting(execution_id, "retry")
        it.clock.advance(60)
        await it.script.called(2)
        it.script.answer("x")
        await it.ended(execution_id)
        assert [sent(it, n) for n in (0, 1)] == [
            attrs.evolve(CALLER, span_id=attempt_span(execution_id, "x", attempt)) for attempt in (1, 2)
        ]
        assert (await it.executions.get(execution_id)).trace_id == CALLER.trace_id


async def test_without_a_caller_the_trace_is_the_executions_own() -> None:
    """Its id is the trace, and there is no state to pass on."""
    async with bench() as it:
        execution_id = await it.start({"x": []})
        await it.script.called(1)
        assert sent(it) == TraceContext(execution_id.replace("-", ""), attempt_span(execution_id, "x", 1), 1)
        assert set(it.script.calls[0].trace_headers) == {"traceparent"}
        it.script.answer("x")
        found = await it.ended(execution_id)
        assert found.trace_id == execution_id.replace("-", "")


async def test_a_callers_flags_are_passed_on_as_they_came() -> None:
    """What the caller does not record, or chose at random, is told to the agents just so."""
    async with bench() as it:
        for index, flags in enumerate((0, 1, 2, 3)):
            await it.start({"x": []}, trace=attrs.evolve(CALLER, flags=flags))
            await it.script.called(index + 1)
            assert sent(it, index).flags == flags
            it.script.answer("x")


async def test_the_trace_outlives_a_crash(tmp_path: Path) -> None:
    """A running and a waiting execution go on in their caller's trace after a restart."""
    async with bench(file_in(tmp_path), open_runs=1) as it:
        running = await it.start({"x": []}, trace=CALLER)
        await it.script.called(1)
        waiting = await it.start({"y": []}, trace=CALLER)
        copy, clock = it.crashed(tmp_path / "copy.db"), it.clock
    async with bench(copy, clock=clock) as it:
        await it.script.called(2)
        for index, call in enumerate(it.script.calls):
            attempt = 2 if call.execution_id == running else 1
            span_id = attempt_span(call.execution_id, call.node_id, attempt)
            assert sent(it, index) == attrs.evolve(CALLER, span_id=span_id)
        assert {call.execution_id for call in it.script.calls} == {running, waiting}


async def test_the_same_start_again_is_in_the_first_ones_trace() -> None:
    """An idempotency key gives the same execution whatever trace the repeat comes from."""
    async with bench() as it:
        await it.flows.create({"flow_id": "f", "nodes": [{"id": "x", "agent_id": "a"}]})
        again = [attrs.evolve(CALLER, trace_id="c" * 32), None]
        wanted = Start(flow_id="f", input_data={}, idempotency_key="k", trace=CALLER)
        first = await it.executions.start(wanted)
        for trace in again:
            repeated = await it.executions.start(attrs.evolve(wanted, trace=trace))
            assert (repeated.execution_id, repeated.trace_id) == (first.execution_id, CALLER.trace_id)


async def test_the_sampler_decides_what_agents_are_told() -> None:
    """A tracer that keeps nothing clears the flag, one that keeps all sets it, whatever the caller said."""
    for keeps, flags in ((False, 1), (True, 0)):
        notes = Notes(keeps=keeps)
        async with bench(observers=[notes], tracer=notes) as it:
            execution_id = await it.start({"x": []}, trace=attrs.evolve(CALLER, flags=flags))
            await it.script.called(1)
            assert sent(it).is_sampled is keeps
            assert [subject.execution_id for subject in notes.asked] == [execution_id]


async def test_a_tracer_with_a_mistake_in_it_harms_nobody() -> None:
    """The run goes on with the caller's flags."""

    class Broken(Notes):
        def keeps(self, subject: Subject) -> bool:
            raise ZeroDivisionError

    async with bench(tracer=Broken()) as it:
        execution_id = await it.start({"x": []})
        await it.script.called(1)
        it.script.answer("x")
        assert (await it.ended(execution_id)).status == "completed"


async def test_every_attempt_is_told_of_once_at_its_end() -> None:
    """Those that fail with their retry, those that are under way with the end of the execution."""
    notes = Notes()
    async with bench(observers=[notes], tracer=notes) as it:
        node = {"retry": {"max_attempts": 2}, "timeout": 300}
        execution_id = await it.start({"x": [], "y": []}, node=node)
        await it.script.called(2)
        it.clock.advance(2)
        it.script.refuse("x", REFUSAL)
        await it.waiting(execution_id, "retry")
        it.clock.advance(60)
        await it.script.called(3)
        it.clock.advance(1)
        await it.executions.cancel(execution_id, None)
        await it.ended(execution_id)
    (failed,) = [change.failed for change in notes.changes if isinstance(change, StepWaits)]
    assert failed is not None
    assert (failed.node_id, failed.agent_id, failed.attempt, failed.timing.call_us) == ("x", "a", 1, 2_000_000)
    (end,) = [change for change in notes.changes if isinstance(change, Finished)]
    told = {(one.node_id, one.attempt): one.timing.call_us for one in end.cut_short}
    assert (set(told), told["x", 2]) == ({("x", 2), ("y", 1)}, 1_000_000)


async def test_what_fell_to_the_fallback_is_told_of_its_own_agent() -> None:
    """The attempt before the fallback's is that of the agent that failed."""
    notes = Notes()
    async with bench(observers=[notes], tracer=notes) as it:
        await it.agent("f", protocol="script")
        node = {"retry": {"max_attempts": 1}, "on_error": {"agent_id": "f"}}
        execution_id = await it.start({"x": []}, node=node)
        await it.script.called(1)
        it.script.refuse("x", REFUSAL)
        await it.set_timer(execution_id)
        it.clock.advance(1)
        await it.script.called(2)
        it.script.answer("x")
        await it.ended(execution_id)
    (failed,) = [change.failed for change in notes.changes if isinstance(change, StepWaits)]
    assert failed is not None
    assert (failed.agent_id, it.script.calls[1].agent.spec.agent_id) == ("a", "f")


async def test_a_lost_attempt_is_told_of_when_the_next_one_begins(tmp_path: Path) -> None:
    """After a crash, also where the next attempt has to wait for a slot; and the last events come before it."""
    async with bench(file_in(tmp_path)) as it:
        first = await it.start({"x": []})
        second = await it.start({"y": []})
        await it.script.called(2)
        it.clock.advance(5)
        copy, clock = it.crashed(tmp_path / "copy.db"), it.clock
    notes = Notes()
    async with bench(copy, clock=clock, observers=[notes], tracer=notes, calls=1) as it:
        await it.script.called(1)
        node_id = it.script.nodes[0]
        it.clock.advance(1)
        it.script.answer(node_id)
        await it.script.called(2)
        it.script.answer(it.script.nodes[1])
        await it.ended(first)
        await it.ended(second)
    lost = [change.lost for change in notes.changes if isinstance(change, StepStarted)]
    spent = {one.node_id: one.timing.call_us for one in lost if isinstance(one, Attempt)}
    assert spent[node_id] == 5_000_000
    assert sorted(spent.values()) == [5_000_000, 6_000_000]
    assert notes.events.count("node.started") == 2


async def test_a_task_that_an_agent_holds_is_no_lost_attempt(tmp_path: Path) -> None:
    """What was handed over before the crash goes on after it, as one attempt."""
    async with bench(file_in(tmp_path)) as it:
        await it.agent("k")
        execution_id = await it.start({"x": []}, node={"agent_id": "k"})
        await it.later.called(1)
        it.later.take("x")
        await it.waiting(execution_id, "agent")
        copy, clock = it.crashed(tmp_path / "copy.db"), it.clock
    notes = Notes()
    async with bench(copy, clock=clock, observers=[notes], tracer=notes) as it:
        await it.set_timer(execution_id)
        await it.conclude(execution_id, Answered({}))
        await it.ended(execution_id)
    assert not [change for change in notes.changes if isinstance(change, StepStarted)]
