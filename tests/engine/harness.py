"""An engine on a clock that only tests move, with agents that only tests answer for."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sqlite3
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import AgentSpec, AgentState, Report
from opscore.domain.calls import Answered, Call, Deferred, Outcome, Probe, Reply
from opscore.domain.errors import StoreFull
from opscore.domain.executions import Execution, Unit
from opscore.domain.ports import Directory, Observer, Tracer
from opscore.engine import Engine, FleetLimits, Limits, open_engine
from opscore.operations import Agents, Executions, Flows
from opscore.operations.executions import Start
from opscore.store import SqlStore, open_store

AGENT_LIMITS = tuple(field.name for field in attrs.fields(FleetLimits))
START = 1_700_000_000_000_000
PATIENCE = 5.0
"""Real seconds after which a test is told that what it waits for does not come."""


class Timer:
    """A call that is to come on the virtual clock."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Optional[Callable[[], object]] = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """Time that moves when it is told to."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Timer]] = []
        self._ids = itertools.count(int(seconds * 1000) + 1)

    def now(self) -> int:
        return START + int(self._seconds * 1_000_000)

    def monotonic(self) -> float:
        return self._seconds

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (self._seconds + delay, next(self._order), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many calls are to come."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def chance(self) -> float:
        return 1.0

    def new_id(self) -> str:
        return str(uuid.UUID(int=next(self._ids)))

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due is called in its order."""
        end = self._seconds + seconds
        while self._timers and self._timers[0][0] <= end:
            self._seconds, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._seconds = end

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing is called; what fell due is called at its end."""
        self._seconds += seconds
        due = [entry for entry in self._timers if entry[0] <= self._seconds]
        self._timers = [entry for entry in self._timers if entry[0] > self._seconds]
        heapq.heapify(self._timers)
        for _, _, timer in sorted(due):
            if timer.callback is not None:
                timer.callback()


class Script:
    """An agent protocol whose calls wait until the test answers them."""

    name = "script"
    answers_later = False
    needs_endpoint = False

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.open: dict[str, asyncio.Future[Reply]] = {}
        self.dropped: list[str] = []
        self.answers: Optional[Callable[[Call], Reply]] = None
        self.probed: list[str] = []
        self.health: dict[str, Probe] = {}
        self._news = asyncio.Event()

    async def call(self, call: Call) -> Reply:
        self.calls.append(call)
        self._news.set()
        if self.answers is not None:
            return self.answers(call)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.open[call.node_id] = reply
        try:
            return await reply
        except asyncio.CancelledError:
            self.dropped.append(call.node_id)
            raise

    async def probe(self, endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
        self.probed.append(agent_id or "")
        self._news.set()
        return self.health.get(agent_id or "", Probe(True, "scripted"))

    def check(self, spec: AgentSpec) -> None:
        """Everything can be called."""

    @property
    def nodes(self) -> list[str]:
        """The nodes called so far, in order."""
        return [call.node_id for call in self.calls]

    async def called(self, count: int) -> None:
        """Wait until so many calls were made."""
        while len(self.calls) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 5)

    async def probed_by(self, count: int) -> None:
        """Wait until so many agents were asked for their health."""
        while len(self.probed) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 5)

    def answer(self, node_id: str, output: Optional[Mapping[str, Any]] = None) -> None:
        """The agent did it."""
        self.open.pop(node_id).set_result(Answered(output or {}))

    def refuse(self, node_id: str, refused: Reply) -> None:
        """The agent did not do it."""
        self.open.pop(node_id).set_result(refused)


class Later(Script):
    """An agent protocol whose agents answer later: what the test answers is whether the task was handed over."""

    name = "later"
    answers_later = True

    @property
    def agents(self) -> list[str]:
        """The agents called so far, in order."""
        return [call.agent.spec.agent_id for call in self.calls]

    def take(self, node_id: str = "x") -> None:
        """The agent has the task and will answer later."""
        self.open.pop(node_id).set_result(Deferred())


class FullOnce(SqlStore):
    """A store that can be told that the disk is full for the next units."""

    refusals = 0

    async def commit(self, unit: Unit) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFull("The disk is full; nothing was written.")
        await super().commit(unit)


@attrs.frozen
class Bench:
    """Everything a test of the engine needs."""

    clock: VirtualClock
    script: Script
    store: FullOnce
    engine: Engine
    executions: Executions
    flows: Flows
    agents: Agents
    later: Later
    path: str

    async def start(self, edges: dict[str, list[str]], *, node: Optional[dict[str, Any]] = None, **more: Any) -> str:
        """Define a flow of the agent ``a`` and start it."""
        nodes = [{"id": i, "agent_id": "a", "depends_on": before, **(node or {})} for i, before in edges.items()]
        name = f"f{abs(hash((str(nodes), str(more)))) % 10**12}"
        fields = {key: more.pop(key) for key in ("priority", "timeout") if key in more}
        await self.flows.create({"flow_id": name, "nodes": nodes, **fields})
        return (await self.executions.start(Start(flow_id=name, input_data={"n": 1}, **more))).execution_id

    async def until(self, execution_id: str, fits: Callable[[Execution], bool]) -> Execution:
        """The execution once it fits; the loop turns until then."""
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            found = await self.executions.get(execution_id)
            if fits(found):
                return found
        raise AssertionError(f"never so: {found}")

    async def ended(self, execution_id: str) -> Execution:
        """The execution at its end, when the engine has cleared up after it."""
        runs = self.engine._conductor.runs
        return await self.until(execution_id, lambda found: not found.is_open and execution_id not in runs)

    async def waiting(self, execution_id: str, reason: str) -> Execution:
        """The execution once a step of it waits for this, and the engine has set what will wake it."""

        def waits(found: Execution) -> bool:
            run = self.engine._conductor.runs.get(execution_id)
            set_up = run is not None and any(state.timer or state.waiter for state in run.steps.values())
            return set_up and reason in [one.reason for one in found.waiting]

        return await self.until(execution_id, waits)

    async def agent(self, agent_id: str, *capabilities: str, protocol: str = "later") -> None:
        """Register an agent, by default one that answers later."""
        await self.agents.register(AgentSpec(agent_id, agent_id, protocol, capabilities=capabilities))

    async def report(self, agent_id: str, state: AgentState, at: Optional[float] = None, **details: Any) -> Report:
        """An agent reports, now or at a second of its own clock; durable when this returns."""
        reported_at = self.clock.now() if at is None else START + int(at * 1_000_000)
        return await self.agents.report(agent_id, state, reported_at, details)

    async def conclude(self, execution_id: str, outcome: Outcome, node_id: str = "x") -> None:
        """An agent ends its task explicitly."""
        (task,) = self.engine.find_tasks(execution_id, node_id)
        await self.engine.conclude(task, outcome)

    def crashed(self, path: Path) -> str:
        """A copy of the database as it is on the disk at this moment: what a crash would leave."""
        source, copy = sqlite3.connect(self.path), sqlite3.connect(path)
        with source, copy:
            source.backup(copy)
        source.close()
        copy.close()
        return str(path)

    async def at_rest(self) -> None:
        """Nothing is open: no task, no slot, nobody waits."""
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            gauges = self.engine.gauges()
            tasks = [*await self.store.open_tasks(), *self.engine._fleet.tasks()]
            held = gauges["calls_in_flight"], gauges["calls_waiting"], tasks
            if held == (0, 0, []):
                break
        assert held == (0, 0, [])

    async def set_timer(self, execution_id: str) -> None:
        """Wait until a step of an execution is to be looked at again after a time."""

        def is_set(_: Execution) -> bool:
            run = self.engine._conductor.runs.get(execution_id)
            return run is not None and any(state.timer for state in run.steps.values())

        await self.until(execution_id, is_set)

    async def events(self, execution_id: str) -> list[str]:
        """Types of its events, with nodes."""
        events = await self.executions.events(execution_id, 0, 500)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [f"{event.type}:{event.node_id}" if event.node_id else event.type for event in events]


@asynccontextmanager
async def bench(
    path: str = ":memory:",
    clock: Optional[VirtualClock] = None,
    directory: Optional[Directory] = None,
    observers: Sequence[Observer] = (),
    tracer: Optional[Tracer] = None,
    **limits: Any,
) -> AsyncIterator[Bench]:
    """An engine at work; stopped without a drain at the end."""
    clock = clock or VirtualClock()
    chosen = {
        "calls": 100, "open_runs": 100, "queued": 100, "node_timeout": 30.0,
        "drain_timeout": 0.0, "retention": 0.0, "prune_interval": 3600.0, **limits,
    }  # fmt: skip
    agent_limits = {"calls_per_agent": 50, "offline_after": 0.0}
    agent_limits.update({name: chosen.pop(name) for name in AGENT_LIMITS if name in chosen})
    chosen["fleet"] = FleetLimits(**agent_limits)
    script, later = Script(), Later()
    protocols = {"script": script, "later": later}
    async with open_store(path, now=clock.now(), timeout=30, on_fatal=print) as store:
        store.__class__ = FullOnce
        assert isinstance(store, FullOnce)
        async with open_engine(store, protocols, clock, Limits(**chosen), directory, observers, tracer) as engine:
            flows = Flows(store, clock)
            agents = Agents(store, engine, protocols, clock)
            executions = Executions(store, engine, flows, clock, 86_400.0)
            await agents.register(AgentSpec("a", "a", "script"))
            try:
                yield Bench(clock, script, store, engine, executions, flows, agents, later, path)
            finally:
                engine.hurry()


def file_in(directory: Path) -> str:
    """A database file."""
    return str(directory / "engine.db")
