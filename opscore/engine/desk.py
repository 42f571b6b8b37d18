"""The desk where agents report: what they say is kept, and ends or moves on the task that they hold.

A report about a task is written in one unit with what follows from it, so a crash can not come in between: either
the agent was not answered and says it again, or all of it is there.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Optional

import attrs

from opscore.domain.agents import AgentState, Report, frees
from opscore.domain.calls import Answered, Outcome, Refused
from opscore.domain.errors import Stale, Unavailable
from opscore.domain.executions import AgentReported
from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import Clock, Store
from opscore.domain.tasks import Begun, OpenTask, Verdict
from opscore.engine.bell import Bell
from opscore.engine.conductor import Conductor
from opscore.engine.fleet import Fleet
from opscore.engine.run import Run
from opscore.engine.waiters import Waiters

log = logging.getLogger(__name__)

_AT_WORK = frozenset(("idle", "active", "finished"))
_TROUBLES = frozenset(("error", "offline"))
_PATIENCE: Seconds = 30.0
_GLANCE: Seconds = 0.05
_RETRY_AFTER: Seconds = 2.0


class Desk:
    """Takes reports and explicit completions."""

    def __init__(
        self, store: Store, fleet: Fleet, conductor: Conductor, waiters: Waiters, bell: Bell, clock: Clock
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._conductor = conductor
        self._waiters = waiters
        self._bell = bell
        self._clock = clock
        self._last_arrival: Instant = 0
        self._coming: dict[str, Report] = {}
        """The newest of the reports of each agent that are being written."""
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def open(self) -> None:
        """Go on with the numbering of arrivals."""
        agents = await self._store.agents()
        self._last_arrival = max((a.present.received_at for a in agents if a.present is not None), default=0)

    async def report(self, agent_id: str, state: AgentState, reported_at: Instant, details: str) -> Report:
        """Take a report; durable with all that follows from it when this returns."""
        # Arrivals are numbered, in microseconds, so that of two reports with one instant the later one is known.
        self._last_arrival = max(self._clock.now(), self._last_arrival + 1)
        report = Report(agent_id, state, reported_at, self._last_arrival, details)
        before = self._present(agent_id)
        if self._fleet.task(agent_id) is None:
            kept = await self._keep(report)
        else:
            turn = self._turns.setdefault(agent_id, asyncio.Lock())
            async with turn:
                kept = await self._about_task(report)
        self._note_state(agent_id, before)
        return kept

    def _note_state(self, agent_id: str, before: Optional[Report]) -> None:
        """Tell the log of an agent whose state is another one now; what is daily work is told at DEBUG only."""
        now = self._present(agent_id)
        if now is None or (before is not None and before.state == now.state):
            return
        was = "unknown" if before is None else before.state
        level = logging.WARNING if now.state in _TROUBLES else logging.INFO
        if {was, now.state} <= _AT_WORK:
            level = logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "agent.state", extra={"agent_id": agent_id, "before": was, "state": now.state})

    async def conclude(self, task: OpenTask, outcome: Outcome) -> None:
        """End an open task. Raises Stale when it ended another way meanwhile."""
        turn = self._turns.setdefault(task.agent_id, asyncio.Lock())
        async with turn:
            patience = self._clock.monotonic() + _PATIENCE
            while self._clock.monotonic() < patience:
                current = self._fleet.task(task.agent_id)
                if current is None or current.task_id != task.task_id:
                    raise Stale("The task has ended already.")
                if current.is_abandoned:
                    await self._store.close_task(current)
                    self._fleet.close(current.agent_id, current.execution_id)
                    raise Stale("The task has ended already.")
                run = await self._run(current)
                if run is not None and await self._settle(run, current, outcome, None):
                    return
        raise _busy()

    async def _keep(self, report: Report) -> Report:
        """Keep a report that is about no task."""
        kept = self._weighed(report, None)
        await self._write(kept)
        self._fleet.reported(kept)
        return kept

    async def _write(self, report: Report, ends: Optional[OpenTask] = None) -> None:
        """Write a report that belongs to no execution; the change of state that it is, is an event."""
        before = self._newest(report.agent_id)
        is_newest = report.is_newer_than(before)
        is_change = is_newest and (before is None or before.state != report.state)
        if is_newest:
            self._coming[report.agent_id] = report
        try:
            await self._store.add_report(report, ends, is_change=is_change)
        finally:
            if self._coming.get(report.agent_id) is report:
                del self._coming[report.agent_id]
        if is_change:
            self._bell.ring(None)

    def _newest(self, agent_id: str) -> Optional[Report]:
        """An agent's newest report, also while it is still being written."""
        coming, present = self._coming.get(agent_id), self._present(agent_id)
        return coming if coming is not None and coming.is_newer_than(present) else present

    async def _about_task(self, report: Report) -> Report:
        patience = self._clock.monotonic() + _PATIENCE
        while self._clock.monotonic() < patience:
            task = self._fleet.task(report.agent_id)
            if task is None:
                return await self._keep(report)
            verdict = self._judged(task, report)
            told = self._weighed(report, verdict)
            if task.is_abandoned:
                return await self._keep_abandoned(task, told, verdict)
            run = await self._run(task)
            if run is not None and await self._tell(run, task, told, verdict):
                self._fleet.reported(told)
                return told
        raise _busy()

    def _judged(self, task: OpenTask, report: Report) -> Verdict:
        """What a report means for a task; an older one than the newest only where it completes the picture."""
        verdict = task.judge(report)
        before = self._present(report.agent_id)
        is_news = report.is_newer_than(before) and not report.repeats(before)
        is_completing = report.state == "active" and isinstance(verdict, Answered)
        return verdict if is_news or is_completing else None

    def _weighed(self, report: Report, verdict: Verdict) -> Report:
        """The report with what it says of its agent's readiness: whoever ends a task is ready for the next."""
        is_ready = isinstance(verdict, (Answered, Refused)) or frees(report, self._present(report.agent_id))
        return attrs.evolve(report, frees=is_ready)

    def _present(self, agent_id: str) -> Optional[Report]:
        agent = self._store.agent_now(agent_id)
        return None if agent is None else agent.present

    async def _keep_abandoned(self, task: OpenTask, report: Report, verdict: Verdict) -> Report:
        """Let go of a task once its agent says anything of it: one that has begun is not free until it says so."""
        is_known = verdict is not None
        await self._write(report, ends=task if is_known else None)
        if is_known:
            self._fleet.close(task.agent_id, task.execution_id)
        self._fleet.reported(report)
        return report

    async def _run(self, task: OpenTask) -> Optional[Run]:
        """The run that waits for a task; None after a moment when there is none just now."""
        run = self._conductor.runs.get(task.execution_id)
        if run is None:
            found = await self._store.open_run(task.execution_id)
            if found is None:
                self._fleet.close(task.agent_id, task.execution_id)
                await self._store.close_task(task)
            elif found.execution.status == "running":
                await self._conductor.take_up(found)
            return None
        state = run.steps.get(task.node_id)
        if run.stop is None and state is not None and state.task is not None:
            return run
        await self._waiters.ended(task.execution_id, _GLANCE)
        return None

    async def _tell(self, run: Run, task: OpenTask, report: Report, verdict: Verdict) -> bool:
        """Have a run take a report in; False when it could not and is made anew."""
        begun = isinstance(verdict, Begun)
        state = run.steps[task.node_id]
        told = AgentReported(task.node_id, task.agent_id, state.attempt, report, begun)
        if isinstance(verdict, (Answered, Refused)):
            return await self._settle(run, task, verdict, told)
        if state.task is not None:
            state.task = state.task.with_end(report, self._present(report.agent_id))
        return await self._conductor.carry(run, run.heard(told, self._clock.now()))

    async def _settle(self, run: Run, task: OpenTask, outcome: Outcome, told: Optional[AgentReported]) -> bool:
        hop = run.settle(task.node_id, outcome, self._clock.now(), self._clock.chance(), self._conductor.admit, told)
        return await self._conductor.carry(run, hop)


def _busy() -> Unavailable:
    return Unavailable("The report could not be taken in now; try again.", retry_after=_RETRY_AFTER)
