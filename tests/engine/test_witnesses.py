"""What observers of the engine are told, and that none of them can harm a run."""

from __future__ import annotations

from typing import Optional

from harness import bench

from opscore.domain.calls import Answered, Call, Refused, Reply
from opscore.domain.executions import Accepted, Finished, StepCompleted, StepFailed, Unit
from opscore.domain.ports import Subject


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.units: list[tuple[Subject, Unit]] = []
        self.calls: list[tuple[str, Optional[Reply], float]] = []

    def wrote(self, subject: Subject, unit: Unit, seconds: float) -> None:
        self.units.append((subject, unit))

    def called(self, call: Call, reply: Optional[Reply], seconds: float) -> None:
        self.calls.append((call.node_id, reply, seconds))

    def changes(self, execution_id: str) -> list[type]:
        """What happened to an execution, in order."""
        units = [unit for subject, unit in self.units if subject.execution_id == execution_id]
        return [type(change) for unit in units for change in unit.changes]


class Broken(Notes):
    """An observer with a mistake in it."""

    def wrote(self, subject: Subject, unit: Unit, seconds: float) -> None:
        raise ZeroDivisionError

    def called(self, call: Call, reply: Optional[Reply], seconds: float) -> None:
        raise ZeroDivisionError


async def test_observers_are_told_of_every_written_change_and_every_call() -> None:
    """The units tell the whole course of an execution, and a call its time by the clock."""
    notes = Notes()
    async with bench(observers=[notes]) as it:
        execution_id = await it.start({"x": []})
        await it.script.called(1)
        it.clock.advance(2.5)
        it.script.answer("x", {"ok": True})
        await it.ended(execution_id)
        events = await it.events(execution_id)
    assert len(notes.changes(execution_id)) == len(events)
    assert notes.changes(execution_id)[0] is Accepted
    assert notes.changes(execution_id)[-2:] == [StepCompleted, Finished]
    assert notes.calls == [("x", Answered({"ok": True}), 2.5)]
    subject = notes.units[0][0]
    assert (subject.flow_version, subject.trace_id) == (1, execution_id.replace("-", ""))


async def test_observers_hear_of_time_outs_and_of_calls_that_were_dropped() -> None:
    """A call over its time limit comes back refused; one of a cancelled execution without a reply."""
    notes = Notes()
    async with bench(observers=[notes]) as it:
        late = await it.start({"x": []}, node={"timeout": 3, "retry": {"max_attempts": 1}})
        await it.script.called(1)
        it.clock.advance(3)
        await it.ended(late)
        dropped = await it.start({"y": []})
        await it.script.called(2)
        await it.executions.cancel(dropped, None)
        await it.ended(dropped)
    (first, refused, seconds), (second, nothing, _) = notes.calls
    assert isinstance(refused, Refused)
    assert (first, refused.error_code, seconds) == ("x", "NODE_TIMEOUT", 3.0)
    assert (second, nothing) == ("y", None)
    assert notes.changes(late)[-2:] == [StepFailed, Finished]


async def test_observers_hear_of_executions_that_wait_in_the_queue() -> None:
    """Acceptance and end of an execution that never had its turn are told like all others."""
    notes = Notes()
    async with bench(observers=[notes], open_runs=1) as it:
        first = await it.start({"x": []})
        await it.script.called(1)
        waiting = await it.start({"y": []})
        await it.executions.cancel(waiting, None)
        it.script.answer("x")
        await it.ended(first)
    assert [kind.__name__ for kind in notes.changes(waiting)] == ["Accepted", "CancelRequested", "Finished"]


async def test_a_broken_observer_harms_nobody() -> None:
    """What one observer gets wrong touches neither the run nor the other observers."""
    notes = Notes()
    async with bench(observers=[Broken(), notes]) as it:
        execution_id = await it.start({"x": []})
        await it.script.called(1)
        it.script.answer("x")
        assert (await it.ended(execution_id)).status == "completed"
    assert notes.changes(execution_id)[-1] is Finished
    assert len(notes.calls) == 1
