"""The conductor: it owns the open runs and every task that works for one.

How a result travels: an attempt's task gets a reply; the run makes a hop of it; the hop's unit is written; the
calls that it makes possible leave, the first of them from the same task. Whatever goes wrong between memory
and store ends in one place, :meth:`Conductor.lose`: the run is dropped and taken up again from the record.

A hop is made and its unit handed to the store without awaiting in between, so that units reach the store
in the order of their numbers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Coroutine, Optional, Sequence

from opscore.domain.calls import Refused
from opscore.domain.errors import Stale, StoreError
from opscore.domain.events import Event
from opscore.domain.executions import (
    AgentReported,
    Change,
    Execution,
    Finished,
    StepAccepted,
    StepCompleted,
    StepFailed,
    StepWaits,
)
from opscore.domain.flows import Node
from opscore.domain.instants import SECOND, Instant, Seconds, after
from opscore.domain.ports import Clock, OpenRun, Store
from opscore.engine.admission import Admission
from opscore.engine.attempt import Caller
from opscore.engine.bell import Bell
from opscore.engine.clock import pause
from opscore.engine.fleet import Fleet
from opscore.engine.payloads import Payloads
from opscore.engine.run import SLOT, Admitted, Awaits, Hop, Run, StepState, StopReason
from opscore.engine.waiters import Waiters
from opscore.engine.witnesses import Witnesses
from opscore.telemetry import context

log = logging.getLogger(__name__)

_CANCEL_GRACE: Seconds = 1.0
_FIRST_PAUSE: Seconds = 0.1
_LONGEST_PAUSE: Seconds = 30.0
_MOST_LOSSES = 5
_LAST_EVENTS = 200
_OWN_TASK_PAUSE: Seconds = 0.5


class Conductor:
    """Carries runs from hop to hop."""

    def __init__(
        self,
        store: Store,
        caller: Caller,
        payloads: Payloads,
        admission: Admission,
        waiters: Waiters,
        bell: Bell,
        fleet: Fleet,
        clock: Clock,
        witnesses: Witnesses,
        on_room: Callable[[], object],
    ) -> None:
        """Take what it works with.

        Args:
            store: Where hops are written.
            caller: Makes attempts.
            payloads: What attempts build on.
            admission: Says which calls may leave.
            waiters: Are told of ends.
            bell: Rung after each commit.
            fleet: Who may be given work, and who holds a task.
            clock: Time and chance.
            witnesses: Are told what was written.
            on_room: Called when a run has left.
        """
        self._store = store
        self._caller = caller
        self._payloads = payloads
        self._admission = admission
        self.admit = admission.admit
        self._waiters = waiters
        self._bell = bell
        self._fleet = fleet
        self._clock = clock
        self._witnesses = witnesses
        self._on_room = on_room
        self._tasks: set[asyncio.Task[None]] = set()
        self._services: set[asyncio.Task[None]] = set()
        self._losses: dict[str, int] = {}
        self._draining = False
        self._hurried = asyncio.Event()
        self._gone: Optional[set[str]] = set()
        """Executions that ended since the start, while records that were read before are still being taken up."""
        self.runs: dict[str, Run] = {}

    # -- runs come and go ----------------------------------------------------------------------

    async def begin(self, run: Run, hop: Callable[[], Hop], text: Optional[str] = None) -> None:
        """Write a run's first hop and let its calls leave.

        Raises:
            StoreError: It was not written; nothing runs.
        """
        self.runs[run.execution_id] = run
        self._witnesses.begins(run)
        if text is not None:
            self._payloads.put_input(run.execution_id, text)
        made = hop()
        try:
            await self._write(run, made)
        except StoreError:
            run.stop = StopReason.LOST
            self._forget(run)
            self._fleet.agree(run.execution_id, ())
            raise
        if made.ends:
            self._finish(run)
            return
        self._watch_deadline(run)
        self._launch(run, made)

    async def take_up(self, found: OpenRun) -> None:
        """Go on with a recorded run.

        Raises:
            StoreError: Its flow could not be read.
        """
        execution = found.execution
        flow = (await self._store.flow(execution.flow_id, execution.flow_version)).flow
        events = await self._last_events(execution)
        if execution.execution_id in self.runs or execution.execution_id in (self._gone or ()):
            return
        run, open_steps = Run.resume(found, flow)
        self.runs[run.execution_id] = run
        self._witnesses.begins(run, events)
        self._fleet.agree(run.execution_id, found.tasks)
        now = self._clock.now()
        if self._losses.get(run.execution_id, 0) > _MOST_LOSSES:
            message = "The execution could not be carried on; the server's log says why."
            self._spawn(run, self._step(run, lambda: self._failed(run, "INTERNAL_ERROR", message)))
        elif run.deadline_at is not None and run.deadline_at <= now:
            self._spawn(run, self._step(run, lambda: self._expired(run)))
        else:
            self._watch_deadline(run)
            self._spawn(run, self._step(run, lambda: run.take_up(open_steps, self._clock.now(), self.admit)))

    async def _last_events(self, execution: Execution) -> Sequence[Event]:
        """After a restart, what the spans of may be lost: they leave in batches, and a crash takes a batch with it."""
        if not self._witnesses.are_tracing or self._gone is None:
            return ()
        after = max(0, execution.last_seq - _LAST_EVENTS)
        return (await self._store.history(execution.execution_id, after, _LAST_EVENTS)).events

    def recovered(self) -> None:
        """All that was open at the start has been taken up."""
        self._gone = None

    async def end(self, run: Run, hop: Hop) -> bool:
        """Write the end of a run and clear up after it; once this returns no call leaves for it.

        Returns:
            False when the store knew of another course of things; the run is taken up again then.

        Raises:
            StoreError: It could not be written.
        """
        try:
            await self._write(run, hop)
        except Stale as error:
            self.lose(run, error)
            return False
        except StoreError as error:
            self.lose(run, error)
            raise
        await self._withdraw(run)
        self._finish(run)
        return True

    def _finish(self, run: Run) -> None:
        """The end of a run is written: nothing keeps it any longer."""
        self._forget(run)
        self._losses.pop(run.execution_id, None)
        if self._gone is not None:
            self._gone.add(run.execution_id)
        self._waiters.tell(run.execution_id)

    def lose(self, run: Run, error: Exception) -> None:
        """Memory and store disagree, or the store could not be asked: go back to what is recorded."""
        if run.stop is StopReason.LOST or self.runs.get(run.execution_id) is not run:
            return
        run.stop = StopReason.LOST
        self._drop_calls(run)
        self._forget(run)
        losses = self._losses.get(run.execution_id, 0)
        if isinstance(error, Stale) or not isinstance(error, StoreError):
            # Bugs, so far as we know; a full disk is none, and is waited out.
            losses = self._losses[run.execution_id] = losses + 1
        log.warning("run.lost", extra={"execution_id": run.execution_id, "reason": str(error)})
        if not self._draining:
            self.own(self._take_up_later(run, _FIRST_PAUSE * 2**losses))

    async def _take_up_later(self, lost: Run, seconds: Seconds) -> None:
        execution_id = lost.execution_id
        context.begin(execution_id=execution_id, trace_id=lost.subject.trace_id)
        while True:
            await pause(self._clock, min(seconds, _LONGEST_PAUSE))
            try:
                await self._store.probe()
                # What a cancelled task of the run had handed to the store was written before the probe.
                self._bell.ring(execution_id)
                found = await self._store.open_run(execution_id)
                if found is not None and found.execution.status == "running":
                    await self.take_up(found)
                else:
                    self._fleet.agree(
                        execution_id,
                        [task for task in await self._store.open_tasks() if task.execution_id == execution_id],
                    )
                return
            except StoreError as error:
                log.warning("run.waits_for_store", extra={"execution_id": execution_id, "reason": str(error)})
                seconds *= 2

    async def drain(self, timeout: Seconds) -> None:
        """Start nothing more; give open calls that many seconds, then drop them. Their steps stay recorded."""
        self._draining = True
        self._admission.close()
        for task in self._services:
            task.cancel()
        for run in self.runs.values():
            self._silence(run)
        timer = self._clock.call_later(timeout, self.hurry)
        while self._tasks and not self._hurried.is_set():
            hurried = asyncio.ensure_future(self._hurried.wait())
            await asyncio.wait({hurried, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        timer.cancel()
        for run in self.runs.values():
            run.stop = run.stop or StopReason.SHUTDOWN
            self._drop_calls(run)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CANCEL_GRACE)

    def hurry(self) -> None:
        """Drain no longer."""
        self._hurried.set()

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a service in a task that is kept, heard when it fails, and ended with the rest."""
        task = self._keep(work)
        self._services.add(task)
        task.add_done_callback(self._services.discard)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("engine.task_failed", exc_info=task.exception())

    def _spawn(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        task = self._keep(work)
        run.tasks.add(task)
        task.add_done_callback(run.tasks.discard)
        task.add_done_callback(run.begun.discard)

    async def _withdraw(self, run: Run) -> None:
        """End the run's tasks, all but the one that asks; open calls are dropped."""
        self._drop_calls(run)
        current = asyncio.current_task()
        others = [task for task in run.tasks if task is not current]
        if others:
            await asyncio.wait(others, timeout=_CANCEL_GRACE)

    def _drop_calls(self, run: Run) -> None:
        """Cancel the run's tasks but for the one that asks; those not begun yet see for themselves that it stops."""
        current = asyncio.current_task()
        for task in run.begun:
            if task is not current:
                task.cancel()

    def _begin_task(self, run: Run) -> None:
        # Whoever woke it works for another run, or for a request: their facts are not this run's.
        context.begin(
            execution_id=run.execution_id,
            flow_id=run.flow.flow_id,
            request_id=run.request_id,
            trace_id=run.subject.trace_id,
        )
        task: Any = asyncio.current_task()
        if task in run.tasks:
            run.begun.add(task)

    def _forget(self, run: Run) -> None:
        self._silence(run)
        self._payloads.forget(run.execution_id)
        if self.runs.get(run.execution_id) is run:
            del self.runs[run.execution_id]
            self._on_room()

    def _silence(self, run: Run) -> None:
        """Nothing that the run waits for is to wake it."""
        if run.deadline is not None:
            run.deadline.cancel()
        for state in run.steps.values():
            if state.timer is not None:
                state.timer.cancel()
            if state.waiter is not None:
                state.waiter.withdraw()

    # -- hops ----------------------------------------------------------------------------------

    async def _write(self, run: Run, hop: Hop) -> None:
        """Write a hop's unit; when that fails, the slots it holds are given back."""
        if hop.unit is None:
            return
        began, written = self._clock.monotonic(), False
        try:
            await self._store.commit(hop.unit)
            written = True
            self._bell.ring(run.execution_id)
        finally:
            if not written:
                for node_id in hop.calls:
                    self._admission.give_back(run, node_id)
        seconds = self._clock.monotonic() - began
        if hop.calls:
            run.intended(hop.calls, seconds)
        self._witnesses.wrote(run, hop.unit, seconds)
        for change in hop.unit.changes:
            self._note_tasks(run, change)

    def _note_tasks(self, run: Run, change: Change) -> None:
        """What a written change means for the tasks that agents hold."""
        if isinstance(change, (StepCompleted, StepFailed, StepWaits)):
            if change.closes is not None:
                self._fleet.close(change.closes, run.execution_id)
        elif isinstance(change, (StepAccepted, AgentReported)):
            state = run.steps.get(change.node_id)
            if state is not None and state.task is not None:
                self._fleet.open(state.task)
        elif isinstance(change, Finished):
            for agent_id in change.closes:
                self._fleet.close(agent_id, run.execution_id)
            for agent_id in change.abandons:
                self._fleet.abandon(agent_id, run.execution_id)

    async def carry(self, run: Run, hop: Hop) -> bool:
        """Carry out a hop that something from outside led to; False when the store knew of another course of things.

        Raises:
            StoreError: It could not be written.
        """
        if not await self._put(run, hop):
            return False
        if not hop.ends:
            self._launch(run, hop)
        return True

    async def _carry_out(self, run: Run, hop: Hop) -> bool:
        """Write a hop of the run's own; whether the run goes on."""
        try:
            return await self._put(run, hop) and not hop.ends
        except StoreError:
            return False

    async def _put(self, run: Run, hop: Hop) -> bool:
        """Write a hop; when that fails the run is lost. False when the store knew of another course of things."""
        try:
            if hop.ends:
                return await self.end(run, hop)
            await self._write(run, hop)
        except Stale as error:
            self.lose(run, error)
            return False
        except StoreError as error:
            self.lose(run, error)
            raise
        return True

    async def _step(self, run: Run, hop: Callable[[], Hop]) -> None:
        """Carry out a hop that no attempt led to."""
        self._begin_task(run)
        if run.stop is not None:
            return
        try:
            made = hop()
            if await self._carry_out(run, made):
                self._launch(run, made)
        except Exception as error:
            log.exception("engine.step_failed", extra={"execution_id": run.execution_id})
            self.lose(run, error)

    async def _grant(self, run: Run, node_id: str, admitted: Admitted) -> None:
        """Carry out the hop of a step that has just been given a slot."""
        self._begin_task(run)
        if run.stop is not None:
            self._admission.give_back(run, node_id)
            if admitted.agent_id is not None and admitted.task_until is not None:
                self._fleet.close(admitted.agent_id, run.execution_id)
            return
        await self._step(run, lambda: run.granted(node_id, self._clock.now(), admitted))

    async def _work(self, run: Run, node_id: str, slot: Optional[str]) -> None:
        """Make an attempt that holds a slot, and go on with what it makes possible."""
        self._begin_task(run)
        following: Optional[str] = node_id
        while following is not None:
            node = run.flow.nodes[following]
            try:
                following = await self._hop(run, node, slot)
            except Exception as error:
                if not isinstance(error, StoreError):
                    log.exception("engine.hop_failed", extra={"execution_id": run.execution_id, "node_id": node.id})
                self.lose(run, error)
                return
            slot = None if following is None else run.held.pop(following, None)

    async def _hop(self, run: Run, node: Node, slot: Optional[str]) -> Optional[str]:
        """One attempt and its consequences; the node whose call is to leave next from this task."""
        state = run.steps.get(node.id)
        try:
            if run.stop is not None or state is None or state.awaits is not None:
                return None
            attempt = state.attempt
            reply = await self._caller.attempt(run, node)
            if state.agent_id is not None:
                self._fleet.replied(state.agent_id, reply)
        finally:
            if slot is not None:
                self._admission.release(slot)
        is_open = run.steps.get(node.id) is state and state.attempt == attempt and state.awaits is None
        if run.stop is not None or not is_open:
            return None  # an agent's report may have been faster
        hop = run.settle(node.id, reply, self._clock.now(), self._clock.chance(), self.admit)
        first = hop.unit.changes[0] if hop.unit is not None else None
        if isinstance(first, StepCompleted) and not hop.ends:
            self._payloads.put(run.execution_id, node.id, first.output)
        if not await self._carry_out(run, hop):
            return None
        self._launch(run, hop, spare=1)
        return hop.calls[0] if hop.calls else None

    def _launch(self, run: Run, hop: Hop, *, spare: int = 0) -> None:
        """Let a written hop's calls leave, each from a task of its own but for the first ``spare``."""
        for node_id in hop.calls[spare:]:
            # The slot is the call's own from here on: the step may get another before this one comes back.
            self._spawn(run, self._work(run, node_id, run.held.pop(node_id, None)))
        if run.stop is not None or self._draining:
            return
        for node_id in hop.slots:
            self._await_slot(run, node_id)
        for node_id, until in hop.timers.items():
            self._await_time(run, node_id, Awaits("time", until))
        for node_id, until in hop.answers.items():
            self._await_answer(run, node_id, until)

    # -- waiting -------------------------------------------------------------------------------

    def _await_slot(self, run: Run, node_id: str) -> None:
        state = _waits(run, node_id, SLOT)
        if state is None:
            return
        if state.task is not None:
            # Its agent is taken, by itself: nobody will be given a slot on its account.
            state.awaits = Awaits("slot", after(self._clock.now(), _OWN_TASK_PAUSE))
            self._await_time(run, node_id, state.awaits)
            return

        def grant(admitted: Admitted) -> None:
            self._spawn(run, self._grant(run, node_id, admitted))

        waiter = self._admission.wait(run, run.flow.nodes[node_id], grant)
        if waiter.is_waiting:
            state.waiter = waiter

    def _await_time(self, run: Run, node_id: str, awaits: Awaits) -> None:
        self._await(run, node_id, awaits, lambda: run.retry(node_id, self._clock.now(), self.admit))

    def _await_answer(self, run: Run, node_id: str, until: Instant) -> None:
        late = Refused("TASK_TIMEOUT", "The agent did not end the task within its time limit.", retryable=True)
        self._await(
            run,
            node_id,
            Awaits("answer", until),
            lambda: run.settle(node_id, late, self._clock.now(), self._clock.chance(), self.admit),
        )

    def _await(self, run: Run, node_id: str, awaits: Awaits, hop: Callable[[], Hop]) -> None:
        """Carry out a hop when the time has come, if the step still waits for that then."""
        state = _waits(run, node_id, awaits)
        if state is None or awaits.until is None:
            return

        def wake(state: StepState = state) -> None:
            state.timer = None
            self._spawn(run, self._step(run, lambda: Hop(None) if _waits(run, node_id, awaits) is None else hop()))

        if state.timer is not None:
            state.timer.cancel()
        state.timer = self._clock.call_later(self._seconds_until(awaits.until), wake)

    def _watch_deadline(self, run: Run) -> None:
        if run.deadline_at is None or run.stop is not None:
            return

        def expire() -> None:
            self._spawn(run, self._step(run, lambda: self._expired(run)))

        run.deadline = self._clock.call_later(self._seconds_until(run.deadline_at), expire)

    def _expired(self, run: Run) -> Hop:
        return self._failed(run, "EXECUTION_TIMEOUT", "The execution did not end within its time limit.")

    def _failed(self, run: Run, error_code: str, message: str) -> Hop:
        return run.fail(self._clock.now(), StopReason.EXPIRED, error_code, message)

    def _seconds_until(self, instant: Instant) -> Seconds:
        return max(0.0, (instant - self._clock.now()) / SECOND)


def _waits(run: Run, node_id: str, awaits: Awaits) -> Optional[StepState]:
    """The step if this is what it still waits for; what comes in one moment comes in any order."""
    state = run.steps.get(node_id)
    return state if state is not None and state.awaits == awaits else None
