from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Any, Iterator

import pytest
from collected import Collected, collecting
from harness import bench

from opscore.domain.calls import Probe, Refused
from opscore.telemetry import context
from opscore.telemetry.observer import LogObserver

AGAIN = {"retry": {"max_attempts": 2, "delay": 1}}


@contextmanager
def heard(level: int) -> Iterator[Collected]:
    """All that Ops-Core's loggers say."""
    ours = logging.getLogger("opscore")
    before = ours.level
    with collecting() as log:
        ours.addHandler(log.pipeline)
        ours.setLevel(level)
        try:
            yield log
        finally:
            ours.removeHandler(log.pipeline)
            ours.setLevel(before)


def events(log: Collected, **facts: Any) -> list[str]:
    return [one["event"] for one in log.objects if all(one.get(name) == value for name, value in facts.items())]


async def test_debug_tells_the_whole_course() -> None:
    """At DEBUG each step of an execution is a line, with its execution, flow, trace, node, agent, attempt and times."""
    with heard(logging.DEBUG) as log:
        async with bench(observers=[LogObserver()]) as it:
            execution_id = await it.start({"x": []})
            await it.script.called(1)
            it.clock.advance(2.5)
            it.script.answer("x")
            await it.ended(execution_id)
        found = [one for one in log.objects if one.get("execution_id") == execution_id]
    assert [one["event"] for one in found] == [
        "execution.accepted", "execution.started", "node.started", "call.answered", "node.completed",
        "execution.completed",
    ]  # fmt: skip
    assert {one["trace_id"] for one in found} == {execution_id.replace("-", "")}
    assert len({one["flow_id"] for one in found}) == 1
    call, end = found[3], found[5]
    assert (call["node_id"], call["agent_id"], call["attempt"], call["duration_ms"]) == ("x", "a", 1, 2500.0)
    assert (end["level"], end["duration_ms"]) == ("INFO", 2500.0)


async def test_info_tells_ends_and_troubles_only() -> None:
    """At INFO an execution that goes well is one line; a retry and a failure are warnings with code and reason."""
    with heard(logging.INFO) as log:
        async with bench(observers=[LogObserver()]) as it:
            well = await it.start({"x": []})
            await it.script.called(1)
            it.script.answer("x")
            await it.ended(well)
            ill = await it.start({"y": []}, node=AGAIN)
            await it.script.called(2)
            it.script.refuse("y", Refused("NO", "It cannot.", retryable=True))
            await it.waiting(ill, "retry")
            it.clock.advance(60)
            await it.script.called(3)
            it.script.refuse("y", Refused("NO", "It cannot.", retryable=True))
            await it.ended(ill)
            gone = await it.start({"z": []})
            await it.executions.cancel(gone, "enough")
        assert events(log, execution_id=well) == ["execution.completed"]
        found = [one for one in log.objects if one.get("execution_id") == ill]
        assert events(log, execution_id=gone) == ["execution.cancel_requested", "execution.cancelled"]
    assert [one["event"] for one in found] == ["node.retrying", "node.failed", "execution.failed"]
    assert {one["level"] for one in found} == {"WARNING"}
    assert [(one["error_code"], "It cannot." in one["message"]) for one in found] == [("NO", True)] * 3
    assert [one.get("attempt") for one in found] == [1, 2, None]


async def test_lines_of_a_run_have_its_own_context() -> None:
    """A run that is woken by another's end, or by a request, logs with its own execution, trace and first request."""
    with heard(logging.DEBUG) as log:
        async with bench(observers=[LogObserver()], calls=1) as it:
            ids = []
            for number, node in enumerate(("x", "y")):
                token = context.begin(request_id=f"request-{number}")
                ids.append(await it.start({node: []}))
                context.release(token)
            await it.script.called(1)
            it.script.answer("x")
            await it.script.called(2)
            it.script.answer("y")
            for execution_id in ids:
                await it.ended(execution_id)
        for number, execution_id in enumerate(ids):
            found = [one for one in log.objects if one.get("execution_id") == execution_id]
            assert {one["request_id"] for one in found} == {f"request-{number}"}
            assert {one["trace_id"] for one in found} == {execution_id.replace("-", "")}
            assert found[-1]["event"] == "execution.completed"


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_agents_in_trouble_are_told_when_they_change(level: int) -> None:
    """A breaker that opens and closes, health that changes, states that matter: a line at each change, no more."""
    with heard(level) as log:
        async with bench(breaker_failures=2, breaker_pause=10.0) as it:
            await it.agent("b", protocol="script")
            fleet = it.engine._fleet
            unheard = Probe(connected=False, message="No connection.", is_reachable=False)
            for _ in range(3):
                fleet.probed("b", unheard)
            fleet.probed("b", Probe(connected=True, message="Well.", latency_ms=1.0))
            for state in ("idle", "idle", "active", "idle", "error", "error", "idle", "offline"):
                it.clock.advance(1)
                await it.report("b", state)  # type: ignore[arg-type]
            await it.agents.delete("b")
        told = [one for one in log.objects if one.get("agent_id") == "b"]
    assert [one["event"] for one in told if one["event"] != "agent.state"] == [
        "agent.registered", "agent.probe_failed", "agent.breaker_opened", "agent.breaker_closed", "agent.probe_passed",
        "agent.deleted",
    ]  # fmt: skip
    states = [(one["level"], one["before"], one["state"]) for one in told if one["event"] == "agent.state"]
    work = [("DEBUG", "idle", "active"), ("DEBUG", "active", "idle")] if level == logging.DEBUG else []
    assert states == [
        ("INFO", "unknown", "idle"), *work, ("WARNING", "idle", "error"), ("INFO", "error", "idle"),
        ("WARNING", "idle", "offline"),
    ]  # fmt: skip


async def test_nothing_is_built_for_a_level_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """At ERROR a whole execution makes no record at all."""
    made: list[str] = []
    monkeypatch.setattr(logging.Logger, "makeRecord", lambda *given, **_: made.append(str(given)))
    with heard(logging.ERROR):
        async with bench(observers=[LogObserver()]) as it:
            execution_id = await it.start({"x": []}, node={"retry": {"max_attempts": 1}})
            await it.script.called(1)
            it.script.refuse("x", Refused("NO", "It cannot.", retryable=False))
            await it.ended(execution_id)
    assert made == []
