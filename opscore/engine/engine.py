"""The engine: what operations ask of the running executions, and how it starts and stops."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable, ContextManager, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import AgentState, Observed, Report
from opscore.domain.calls import Outcome
from opscore.domain.errors import Conflict, Overloaded, StoreError, Unavailable
from opscore.domain.events import EventFilter
from opscore.domain.executions import Accepted, Execution, Idempotency, NewExecution
from opscore.domain.flows import Flow
from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import AgentProtocol, Clock, Directory, Observer, Store, Tracer
from opscore.domain.surveys import Survey
from opscore.domain.tasks import OpenTask
from opscore.engine.admission import Admission
from opscore.engine.attempt import Caller
from opscore.engine.bell import Bell
from opscore.engine.clock import pause
from opscore.engine.conductor import Conductor
from opscore.engine.desk import Desk
from opscore.engine.feed import Feed, Follower
from opscore.engine.fleet import Fleet, FleetLimits
from opscore.engine.payloads import Payloads
from opscore.engine.run import Run
from opscore.engine.services.discovery import Discovery
from opscore.engine.services.prober import Prober, Probing
from opscore.engine.services.pruner import Pruner
from opscore.engine.services.queue import Queue
from opscore.engine.slots import Slots
from opscore.engine.surveyor import survey_agents, survey_waits
from opscore.engine.waiters import Waiters
from opscore.engine.witnesses import Witnesses
from opscore.telemetry import context

log = logging.getLogger(__name__)

_RECOVERY_PAGE = 500
_RECOVERY_PAUSE: Seconds = 1.0
_GLANCE: Seconds = 0.05
_CANCEL_PATIENCE: Seconds = 30.0
_RETRY_AFTER: Seconds = 5.0


@attrs.frozen(kw_only=True)
class Limits:
    """How much at once, and for how long. Times are seconds."""

    calls: int
    open_runs: int
    queued: int
    node_timeout: Seconds
    drain_timeout: Seconds
    retention: Seconds
    prune_interval: Seconds
    fleet: FleetLimits
    probing: Probing = attrs.field(factory=Probing)
    report_retention: Seconds = 0.0
    directory_interval: Seconds = 60.0


class Engine:
    """Implements :class:`opscore.domain.ports.Runs`. Use :func:`open_engine` to get one."""

    def __init__(
        self,
        store: Store,
        protocols: Mapping[str, AgentProtocol],
        clock: Clock,
        limits: Limits,
        directory: Optional[Directory] = None,
        observers: Sequence[Observer] = (),
        tracer: Optional[Tracer] = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        later = [protocol.name for protocol in protocols.values() if protocol.answers_later]
        self._fleet = Fleet(store, later, clock, limits.fleet, self._on_agent, self._on_task_over)
        self._slots = Slots(limits.calls, self._fleet)
        self._waiters = Waiters(clock)
        self._feed = Feed(store, clock)
        self._bell = Bell(self._feed.ring)
        payloads = Payloads(store)
        witnesses = Witnesses(observers, tracer)
        caller = Caller(store, payloads, protocols, clock, limits.node_timeout, witnesses)
        self._conductor = Conductor(
            store,
            caller,
            payloads,
            Admission(self._slots, self._fleet, clock, caller.timeout),
            self._waiters,
            self._bell,
            self._fleet,
            clock,
            witnesses,
            on_room=self._on_room,
        )
        self._desk = Desk(store, self._fleet, self._conductor, self._waiters, self._bell, clock)
        self._queue = Queue(store, clock, self._conductor, witnesses, limits.open_runs, self._on_queue_end)
        self._pruner = Pruner(store, clock, limits.retention, limits.report_retention, limits.prune_interval)
        self._prober = Prober(store, protocols, self._fleet, clock, limits.probing)
        self._discovery = Discovery(store, directory, clock, limits.directory_interval, self.agent_changed)
        self._accepting = True

    # -- what operations ask -------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        """Whether new executions are taken."""
        return self._accepting

    async def start(self, execution: NewExecution, flow: Flow, idempotency: Optional[Idempotency]) -> None:
        """Accept an execution: durable when this returns, and running or queued."""
        if not self._accepting:
            raise Unavailable("The server is stopping.", retry_after=_RETRY_AFTER)
        accepted = Accepted(execution, idempotency)
        run = Run(
            execution.execution_id,
            flow,
            execution.priority,
            execution.deadline_at,
            agent_id=execution.agent_id,
            caller=execution.caller,
        )
        run.request_id = context.bound().get("request_id")
        now = execution.created_at
        if self._queue.length or len(self._conductor.runs) >= self._limits.open_runs:
            if self._queue.length >= self._limits.queued:
                raise Overloaded(
                    f"{self._queue.length} executions wait already.", error_code="QUEUE_FULL", retry_after=_RETRY_AFTER
                )
            await self._queue.put(run, run.queue(now, accepted))
            self._bell.ring(execution.execution_id)
        else:
            await self._conductor.begin(run, lambda: run.begin(now, self._conductor.admit, accepted), execution.input)

    async def cancel(self, execution_id: str, reason: Optional[str]) -> Execution:
        """End an execution; no call leaves for it once this returns."""
        patience = self._clock.monotonic() + _CANCEL_PATIENCE
        while self._clock.monotonic() < patience:
            run = self._conductor.runs.get(execution_id)
            if run is None:
                execution = await self._store.execution(execution_id)
                if execution.status == "cancelled":
                    return execution
                if not execution.is_open:
                    raise Conflict(f"The execution has {execution.status} already.", error_code="EXECUTION_FINISHED")
                if execution.status == "pending" and await self._queue.cancel(execution_id, reason):
                    return await self._store.execution(execution_id)
                await self._waiters.ended(execution_id, _GLANCE)
            elif run.stop is not None:
                await self._waiters.ended(execution_id, _GLANCE)
            elif await self._conductor.end(run, run.cancel(self._clock.now(), reason)):
                return await self._store.execution(execution_id)
        raise Unavailable("The execution could not be cancelled now; try again.", retry_after=_RETRY_AFTER)

    async def wait(self, execution_id: str, timeout: Seconds) -> None:
        """Return when the execution has ended, after the time, or when the server stops."""
        waiting = self._waiters.enter(execution_id)
        try:
            known = execution_id in self._conductor.runs
            if self._accepting and (known or (await self._store.execution(execution_id)).is_open):
                await self._waiters.until(waiting, timeout)
        finally:
            self._waiters.leave(execution_id, waiting)

    def listening(self, execution_id: str, on_change: Callable[[], object]) -> ContextManager[None]:
        """Have ``on_change`` called after each commit about an execution, within the block."""
        return self._bell.listening(execution_id, on_change)

    def following(self, wanted: EventFilter, after: int, on_news: Callable[[], object]) -> ContextManager[Follower]:
        """Follow the feed within the block: ``on_news`` is called when wanted events can be read."""
        return self._feed.following(wanted, after, on_news)

    def carries(self, execution_id: str) -> bool:
        """Whether a running execution is in the engine's care."""
        return execution_id in self._conductor.runs

    def gauges(self) -> Mapping[str, float]:
        """What the engine holds now."""
        return {
            "open_runs": len(self._conductor.runs),
            "calls_in_flight": self._slots.used,
            "calls_waiting": self._slots.waiting,
            "executions_queued": self._queue.length,
        }

    async def survey(self) -> Survey:
        """All that the engine holds in memory, looked at a little at a time."""
        waiting = await survey_waits(self._conductor.runs)
        agents = await survey_agents(await self._store.agents(), self.observed)
        return Survey(self.gauges(), waiting, agents)

    async def report(self, agent_id: str, state: AgentState, reported_at: Instant, details: str) -> Report:
        """Take what an agent says of its state; durable, with all that follows from it, when this returns."""
        return await self._desk.report(agent_id, state, reported_at, details)

    async def conclude(self, task: OpenTask, outcome: Outcome) -> None:
        """End an agent's open task; durable when this returns."""
        await self._desk.conclude(task, outcome)

    def find_tasks(self, execution_id: str, node_id: str) -> Sequence[OpenTask]:
        """The open tasks of a node: of one execution, or of all where that is empty."""
        return [
            task
            for task in self._fleet.tasks()
            if task.node_id == node_id and (not execution_id or task.execution_id == execution_id)
        ]

    def observed(self, agent_id: str) -> Observed:
        """What was seen of an agent."""
        return self._fleet.observed(agent_id, self._slots.in_flight(agent_id))

    def agent_changed(self, agent_id: str) -> None:
        """An agent was registered, changed or forgotten: look at it anew."""
        self._fleet.changed(agent_id)
        self._prober.ring(agent_id)

    def _on_agent(self, agent_id: str) -> None:
        self._slots.look_at(agent_id)

    def _on_task_over(self, task: OpenTask) -> None:
        self._conductor.own(self._forget_task(task))

    async def _forget_task(self, task: OpenTask) -> None:
        """An abandoned task's time is over: its agent may be given another."""
        while True:
            try:
                await self._store.close_task(task)
                break
            except StoreError as error:
                log.warning("engine.task_stays", extra={"task_id": task.task_id, "reason": str(error)})
                await pause(self._clock, _RECOVERY_PAUSE)
        self._fleet.close(task.agent_id, task.execution_id)

    def _on_queue_end(self, execution_id: str) -> None:
        self._bell.ring(execution_id)
        self._waiters.tell(execution_id)

    def _on_room(self) -> None:
        self._queue.ring()

    # -- its life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to work: take up what is open, admit what is queued."""
        self._conductor.own(self._feed.serve())
        await self._queue.load()
        await self._desk.open()
        self._fleet.load(await self._store.open_tasks())
        self._conductor.own(self._recover())

    async def _recover(self) -> None:
        """Take up all running executions, a page at a time; then what waits for its turn."""
        count, last = 0, ""
        while True:
            try:
                page = await self._store.open_runs(last, _RECOVERY_PAGE)
                for found in page:
                    await self._conductor.take_up(found)
            except StoreError as error:
                log.warning("engine.recovery_waits", extra={"reason": str(error)})
                await pause(self._clock, _RECOVERY_PAUSE)
                continue
            if not page:
                break
            count += len(page)
            last = page[-1].execution.execution_id
        self._conductor.recovered()
        if count:
            log.info("engine.recovered", extra={"executions": count})
        self._conductor.own(self._queue.serve())
        self._conductor.own(self._pruner.serve())
        self._conductor.own(self._prober.serve())
        self._conductor.own(self._discovery.serve())

    def refuse(self) -> None:
        """Accept nothing more, and let nobody wait any longer: the first step of a stop."""
        self._accepting = False
        self._waiters.tell_all()

    def hurry(self) -> None:
        """Drop open calls now instead of draining them."""
        self._conductor.hurry()

    async def close(self) -> None:
        """Stop: accept nothing, drain, drop what is still open. Nothing is lost by it."""
        self.refuse()
        await self._conductor.drain(self._limits.drain_timeout)


@asynccontextmanager
async def open_engine(
    store: Store,
    protocols: Mapping[str, AgentProtocol],
    clock: Clock,
    limits: Limits,
    directory: Optional[Directory] = None,
    observers: Sequence[Observer] = (),
    tracer: Optional[Tracer] = None,
) -> AsyncIterator[Engine]:
    """An engine at work; stopped gracefully at the end. ``observers`` are told what it does; a tracer is one, too."""
    engine = Engine(store, protocols, clock, limits, directory, observers, tracer)
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()
