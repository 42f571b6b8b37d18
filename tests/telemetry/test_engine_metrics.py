"""What is counted of the engine, with a real one on a clock that only tests move."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Optional

from harness import Bench, VirtualClock, bench, file_in
from scraped import Scraped

from opscore.domain.calls import Answered, Refused
from opscore.operations.executions import Start
from opscore.telemetry.metrics import Metrics, Sources

_MANY = 600


def sources(it: Bench) -> Sources:
    return Sources(
        survey=it.engine.survey,
        totals=it.store.totals,
        figures=lambda: it.store.figures,
        sizes=it.store.sizes,
        is_agent=lambda agent_id: it.store.agent_now(agent_id) is not None,
    )


class Watched:
    """An engine and its metrics."""

    def __init__(self, it: Bench, metrics: Metrics) -> None:
        self.bench = it
        self._metrics = metrics

    async def scrape(self) -> Scraped:
        page = await self._metrics.scrape("text/plain", streams=0)
        return Scraped(page.body.decode())


@asynccontextmanager
async def watched(
    path: str = ":memory:", clock: Optional[VirtualClock] = None, **limits: Any
) -> AsyncIterator[Watched]:
    clock = clock or VirtualClock()
    metrics = Metrics("1.2.3", clock)
    async with bench(path, clock, observers=[metrics.engine], **limits) as it, metrics.watching(sources(it)):
        yield Watched(it, metrics)


async def test_executions_are_counted_and_timed_by_flow() -> None:
    """Acceptance, end by status and duration of an execution are its flow's."""
    async with watched() as them:
        it = them.bench
        done = await it.start({"x": []})
        await it.script.called(1)
        it.clock.advance(25)
        it.script.answer("x")
        flow = (await it.ended(done)).flow_id
        dropped = await it.start({"x": []})
        await it.script.called(2)
        await it.executions.cancel(dropped, None)
        found = await them.scrape()
    assert found.value("opscore_flow_executions_accepted_total", flow=flow) == 2
    assert found.value("opscore_flow_executions_total", flow=flow, status="completed") == 1
    assert found.value("opscore_flow_executions_total", flow=flow, status="cancelled") == 1
    assert found.value("opscore_flow_execution_duration_seconds_sum", flow=flow) == 25
    assert found.value("opscore_flow_execution_duration_seconds_bucket", flow=flow, le="30.0") == 1
    assert found.values("opscore_executions_total") == {"completed": 1, "failed": 0, "cancelled": 1}


async def test_attempts_are_timed_by_agent_and_counted_by_outcome() -> None:
    """Each attempt has its duration; one that is to be made again is a retry with its code, and waits as such."""
    async with watched() as them:
        it = them.bench
        execution = await it.start({"x": []}, node={"retry": {"max_attempts": 2, "initial_interval": 4}})
        await it.script.called(1)
        it.clock.advance(2)
        it.script.refuse("x", Refused("BUSY", "Not now.", retryable=True))
        await it.waiting(execution, "retry")
        before = await them.scrape()
        it.clock.advance(4)
        await it.script.called(2)
        it.clock.advance(0.2)
        it.script.answer("x")
        await it.ended(execution)
        after = await them.scrape()
    assert before.value("opscore_nodes_waiting", reason="retry") == 1
    assert after.value("opscore_nodes_waiting", reason="retry") == 0
    assert after.values("opscore_agent_calls_total") == {"a,answered": 1, "a,refused": 1}
    assert after.value("opscore_node_duration_seconds_count", agent="a") == 2
    assert round(after.value("opscore_node_duration_seconds_sum", agent="a") or 0, 3) == 2.2
    assert after.values("opscore_node_retries_total") == {"a,BUSY": 1}
    assert after.values("opscore_node_failures_total") == {}
    assert after.value("opscore_node_wait_duration_seconds_count", reason="retry") == 1
    assert after.value("opscore_node_wait_duration_seconds_sum", reason="retry") == 4


async def test_failures_have_the_agent_and_the_code() -> None:
    """A node that failed for good is counted once; codes that agents make up stay few and plain."""
    async with watched() as them:
        it = them.bench
        for number in range(60):
            it.script.answers = lambda call, n=number: Refused(f"CODE_{n:02}", "No.", retryable=False)
            await it.ended(await it.start({"x": []}))
        it.script.answers = lambda call: Refused('bad"}\n1', "No.", retryable=False)
        await it.ended(await it.start({"x": []}))
        found = (await them.scrape()).values("opscore_node_failures_total")
    assert len(found) == 51
    assert found["a,CODE_00"] == 1
    assert found["a,other"] == 11


async def test_a_wait_for_a_slot_is_seen_and_timed() -> None:
    """While a node waits for a slot it is in the gauge with its age, and afterwards its wait is in the histogram."""
    async with watched(calls=1) as them:
        it = them.bench
        first = await it.start({"x": []})
        await it.script.called(1)
        second = await it.start({"y": []})
        await it.waiting(second, "slot")
        it.clock.advance(7)
        during = await them.scrape()
        it.script.answer("x")
        await it.script.called(2)
        it.script.answer("y")
        await it.ended(first)
        await it.ended(second)
        after = await them.scrape()
    assert during.value("opscore_nodes_waiting", reason="slot") == 1
    assert during.value("opscore_nodes_oldest_wait_age_seconds", reason="slot") == 7
    assert during.value("opscore_calls_waiting") == 1
    assert during.value("opscore_calls_in_flight") == 1
    assert during.value("opscore_agent_calls_in_flight", agent="a") == 1
    assert after.value("opscore_nodes_waiting", reason="slot") == 0
    assert after.value("opscore_node_wait_duration_seconds_sum", reason="slot") == 7


async def test_a_wait_that_began_before_a_restart_has_its_whole_time(tmp_path: Path) -> None:
    """After a crash a waiting node is in the gauge again, and its age counts from when it began to wait."""
    async with watched(file_in(tmp_path), calls=1) as them:
        it = them.bench
        await it.start({"x": []})
        await it.script.called(1)
        await it.waiting(await it.start({"y": []}), "slot")
        path = it.crashed(tmp_path / "after.db")
    async with watched(path, VirtualClock(30.0), calls=1) as them:
        await them.bench.script.called(1)
        found = await them.scrape()
        assert found.value("opscore_nodes_waiting", reason="slot") == 1
        assert found.value("opscore_nodes_oldest_wait_age_seconds", reason="slot") == 30
        them.bench.clock.advance(5)
        them.bench.script.answer(them.bench.script.nodes[0])
        await them.bench.script.called(2)
        found = await them.scrape()
        assert found.value("opscore_node_wait_duration_seconds_sum", reason="slot") == 35


async def test_queued_executions_have_a_count_and_an_age() -> None:
    """What waits in the store for its turn is counted, with the age of the oldest."""
    async with watched(open_runs=1) as them:
        it = them.bench
        await it.start({"x": []})
        await it.script.called(1)
        await it.start({"y": []})
        it.clock.advance(3)
        await it.start({"z": []})
        it.clock.advance(4)
        found = await them.scrape()
    assert found.value("opscore_executions_queued") == 2
    assert found.value("opscore_executions_open", status="pending") == 2
    assert found.value("opscore_executions_oldest_queued_age_seconds") == 7
    assert found.value("opscore_open_runs") == 1


async def test_an_agent_that_answers_later_is_timed_by_its_task() -> None:
    """The duration is that of the task, from its handing over to its end, and not that of the call."""
    async with watched() as them:
        it = them.bench
        await it.agent("late")
        execution = await it.start({"x": []}, node={"agent_id": "late"})
        await it.later.called(1)
        it.clock.advance(1)
        it.later.take()
        await it.waiting(execution, "agent")
        it.clock.advance(19)
        during = await them.scrape()
        await it.conclude(execution, Answered({}))
        await it.ended(execution)
        found = await them.scrape()
    assert during.value("opscore_nodes_waiting", reason="agent") == 1
    assert during.value("opscore_nodes_oldest_wait_age_seconds", reason="agent") == 19
    assert found.values("opscore_agent_calls_total") == {"late,deferred": 1}
    assert found.value("opscore_node_duration_seconds_count", agent="late") == 1
    assert found.value("opscore_node_duration_seconds_sum", agent="late") == 20
    assert found.values("opscore_node_wait_duration_seconds_count") == {}


async def test_agents_are_counted_by_state_and_health() -> None:
    """Every state has a series, also where no agent is in it."""
    async with watched(offline_after=100.0) as them:
        it = them.bench
        await it.agent("late")
        await it.report("late", "idle")
        found = await them.scrape()
    states = found.values("opscore_agents")
    assert (states["idle"], states["unknown"], states["offline"], len(states)) == (1, 1, 0, 7)
    assert sum(found.values("opscore_agents_by_health").values()) == 2


async def test_an_open_breaker_is_seen() -> None:
    """An agent that gets no work because it cannot be reached says 1, the others 0."""
    async with watched(breaker_failures=1) as them:
        it = them.bench
        await it.agent("fine", protocol="script")
        it.script.answers = lambda call: Refused("AGENT_UNREACHABLE", "Nobody is there.", retryable=True)
        await it.waiting(await it.start({"x": []}), "retry")
        found = await them.scrape()
    assert found.values("opscore_agent_breaker_open") == {"a": 1, "fine": 0}


async def test_agents_that_are_deleted_disappear() -> None:
    """No series has the name of an agent that is registered no more, whatever comes back from it later."""
    async with watched() as them:
        it = them.bench
        await it.agent("gone", protocol="script")
        await it.start({"x": []}, node={"agent_id": "gone", "retry": {"max_attempts": 1}})
        await it.script.called(1)
        before = await them.scrape()
        await it.agents.delete("gone")
        it.script.refuse("x", Refused("LATE", "No.", retryable=False))
        await it.at_rest()
        after = await them.scrape()
    assert before.value("opscore_agent_calls_in_flight", agent="gone") == 1
    names = {key.split(",")[0] for name in after.kinds for key in after.values(name)}
    assert "gone" not in names


async def test_agents_that_nobody_registered_are_no_labels() -> None:
    """A flow may name whatever it likes: what fails for it is counted under ``other``."""
    async with watched() as them:
        it = them.bench
        await it.ended(await it.start({"x": []}, node={"agent_id": "nobody", "retry": {"max_attempts": 1}}))
        found = await them.scrape()
    assert found.values("opscore_node_failures_total") == {"other,AGENT_NOT_FOUND": 1}


async def test_the_names_of_many_agents_and_flows_are_bounded() -> None:
    """Beyond five hundred agents and flows their series are one, and nothing that was counted is missing."""
    async with watched(calls=2000) as them:
        it = them.bench
        it.script.answers = lambda call: Answered({})
        for number in range(_MANY):
            await it.agent(f"agent-{number:03}", protocol="script")
            nodes = [{"id": "x", "agent_id": f"agent-{number:03}"}]
            await it.flows.create({"flow_id": f"flow-{number:03}", "nodes": nodes})
        for number in range(_MANY):
            started = await it.executions.start(Start(flow_id=f"flow-{number:03}", input_data={}))
            await it.ended(started.execution_id)
        found = await them.scrape()
    by_flow = found.values("opscore_flow_executions_total")
    by_agent = found.values("opscore_agent_calls_total")
    assert (len(by_flow), len(by_agent), len(found.values("opscore_agent_calls_in_flight"))) == (501, 501, 501)
    assert (by_flow["flow-000,completed"], by_flow["other,completed"], sum(by_flow.values())) == (1, 100, _MANY)
    assert (by_agent["agent-000,answered"], by_agent["other,answered"], sum(by_agent.values())) == (1, 100, _MANY)
