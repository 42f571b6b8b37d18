"""One open execution: where it stands, and what each thing that happens to it makes of it.

A run decides and remembers; it does not wait, write or call. Its methods return the unit to be written
and the steps whose calls may leave once it is. Memory runs ahead of the store by the units under way: when
one of them is not written, the run is thrown away and made anew from what the store has.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Callable, Iterable, Iterator, Literal, Mapping, NamedTuple, Optional, Sequence, Union

import attrs

from opscore.domain import executions as x
from opscore.domain.calls import Deferred, Postponed, Refused, Reply
from opscore.domain.documents import encode_json
from opscore.domain.flows import Flow, Node
from opscore.domain.instants import SECOND, Instant, Seconds, after
from opscore.domain.planner import Command, Complete, Progress, Ready
from opscore.domain.ports import OpenRun, Subject, TimerHandle
from opscore.domain.retries import HAND_OVER, LONGEST_RETRY_AFTER
from opscore.domain.tasks import OpenTask
from opscore.domain.tracing import TraceContext
from opscore.engine.slots import Waiter


@attrs.frozen
class Admitted:
    """A call may leave: for which agent if for any, and until when it holds the task if it answers later."""

    agent_id: Optional[str]
    task_until: Optional[Instant] = None


@attrs.frozen
class Held:
    """A call may not leave yet, and why."""

    reason: x.WaitReason
    agent_id: Optional[str] = None
    detail: Optional[str] = None
    until: Optional[Instant] = None


Admit = Callable[["Run", Node], Union[Admitted, Held]]
"""Takes a slot for a node's call if there is one."""


class Awaits(NamedTuple):
    """What a step waits for: a slot or an agent (looked for again at an instant), an instant, an answer until one."""

    what: Literal["slot", "time", "answer"]
    until: Optional[Instant] = None


SLOT = Awaits("slot")
_TURN: frozenset[x.WaitReason] = frozenset(("slot", "agent"))
"""Reasons that are one wait, whichever of them it is at a moment: for the step's turn."""
_WORD_OF_IT: Seconds = 1.0
"""How long a task that was perhaps handed over is left alone after a restart: its agent may say that it has it."""


class StopReason(enum.Enum):
    """Why a run's tasks end before their work does."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SHUTDOWN = "shutdown"
    LOST = "lost"
    """Memory and store disagree; the store is right."""


class StepState:
    """What a run remembers of a step that has begun and not ended."""

    __slots__ = (
        "agent_id", "attempt", "awaits", "call_us", "called_at", "commit_us", "failures", "first_at", "is_fallback",
        "is_interrupted", "may_be_taken", "offers", "queue_us", "ready_at", "task", "timer", "waiter", "waits",
    )  # fmt: skip

    def __init__(self, attempt: int = 0, failures: int = 0, first_at: Optional[Instant] = None) -> None:
        self.attempt = attempt
        self.failures = failures
        self.first_at = first_at
        self.agent_id: Optional[str] = None
        """Who does it, or did the last attempt."""
        self.is_fallback = False
        """Whether it is the turn of the agent that the flow names for when all else failed."""
        self.task: Optional[OpenTask] = None
        """The task that its agent holds, if it is one that answers later."""
        self.is_interrupted = False
        """Whether its last call was lost with the process that made it, or with the memory of it."""
        self.offers = 0
        """How often the task could not be handed over."""
        self.may_be_taken = False
        """Whether a call that came back leaves it open that the agent has the task."""
        self.awaits: Optional[Awaits] = None
        """What it waits for; None while its call is open. What was set going for another wait means nothing now."""
        self.waits: Optional[x.Waited] = None
        """The wait as it is recorded: what for, and since when; None while its call is open."""
        self.timer: Optional[TimerHandle] = None
        self.waiter: Optional[Waiter] = None
        self.ready_at: Optional[Instant] = None
        """Since when it could be called if there were a slot and an agent, while there is none."""
        self.called_at: Optional[Instant] = None
        self.queue_us: Optional[int] = 0
        self.call_us: Optional[int] = None
        """How long the call took that has come back with an end."""
        self.commit_us: Optional[int] = None

    def timing(self, now: Instant) -> x.Timing:
        """Where the time of its last attempt went, which has just come to its end."""
        call_us = self.call_us
        if call_us is None and self.called_at is not None:
            call_us = max(0, now - self.called_at)  # it is the agent that ends it
        return x.Timing(self.queue_us, call_us, self.commit_us)

    def begins_again(self, node_id: str, now: Instant) -> Optional[x.Attempt]:
        """It is to be called, for the first time after it had to wait, or once more; the attempt that was lost."""
        lost = self.ended(node_id, now) if self.is_interrupted else None
        self.is_interrupted = False
        self.queue_us = 0 if self.ready_at is None else max(0, now - self.ready_at)
        self.ready_at = self.called_at = self.call_us = self.commit_us = None
        return lost

    def ended(self, node_id: str, now: Instant) -> x.Attempt:
        """Its last attempt, which has just come to its end."""
        return x.Attempt(node_id, self.agent_id, self.attempt, self.timing(now))

    def begin_wait(self, reason: x.WaitReason, now: Instant) -> Optional[x.Waited]:
        """It waits for something from now on; the wait that is over with that, if one is."""
        before = self.waits
        if before is not None and before.reason in _TURN and reason in _TURN:
            return None
        self.waits = x.Waited(reason, now)
        return before


@attrs.frozen
class Hop:
    """What to write, and what may happen once it is written."""

    unit: Optional[x.Unit]
    calls: Sequence[str] = ()
    """Nodes whose calls may leave; each holds a slot."""
    slots: Sequence[str] = ()
    """Nodes that wait for a slot or an agent."""
    timers: Mapping[str, Instant] = attrs.field(factory=dict, hash=False)
    """Nodes that are to be tried again at an instant."""
    answers: Mapping[str, Instant] = attrs.field(factory=dict, hash=False)
    """Nodes whose agents answer later, and until when."""
    ends: bool = False
    """Whether the execution has ended with this."""


class Run:
    """An execution in the engine's care."""

    __slots__ = (
        "agent_id",
        "begun",
        "deadline",
        "deadline_at",
        "execution_id",
        "flow",
        "held",
        "priority",
        "progress",
        "request_id",
        "seq",
        "started_at",
        "steps",
        "stop",
        "subject",
        "tasks",
    )

    def __init__(
        self,
        execution_id: str,
        flow: Flow,
        priority: int,
        deadline_at: Optional[Instant],
        seq: int = 0,
        agent_id: Optional[str] = None,
        caller: Optional[TraceContext] = None,
    ) -> None:
        self.execution_id = execution_id
        self.subject = Subject.of(execution_id, flow, caller)
        self.flow = flow
        self.priority = priority
        self.deadline_at = deadline_at
        self.seq = seq
        self.agent_id = agent_id
        """The agent that a session was triggered for."""
        self.request_id: Optional[str] = None
        """The request that started it, while the process that took it lives: for the log."""
        self.held: dict[str, str] = {}
        """Slots for calls that have yet to leave: the agent, by node."""
        self.started_at: Optional[Instant] = None
        self.progress = Progress(flow)
        self.steps: dict[str, StepState] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.begun: set[asyncio.Task[None]] = set()
        """Those of the tasks that have run a line: one that has not cannot clean up after a cancellation."""
        self.stop: Optional[StopReason] = None
        self.deadline: Optional[TimerHandle] = None

    # -- beginning -----------------------------------------------------------------------------

    def begin(self, now: Instant, admit: Admit, accepted: Optional[x.Accepted] = None) -> Hop:
        """Start a new or queued execution: its first nodes."""
        self.started_at = now
        changes: list[x.Change] = [x.Started()] if accepted is None else [accepted, x.Started()]
        return self._proceed(changes, self.progress.begin(), now, admit)

    def queue(self, now: Instant, accepted: x.Accepted) -> Hop:
        """Accept an execution that has to wait for its turn."""
        return Hop(self._unit(now, [accepted]))

    @classmethod
    def resume(cls, found: OpenRun, flow: Flow) -> tuple[Run, Sequence[tuple[str, Optional[x.Step]]]]:
        """Make a run from its record.

        Returns:
            The run, and its nodes that have yet to end, each with its step if it has one.
        """
        execution = found.execution
        run = cls(
            execution.execution_id,
            flow,
            execution.priority,
            execution.deadline_at,
            execution.last_seq,
            execution.agent_id,
            execution.caller,
        )
        run.started_at = execution.started_at
        steps = {step.node_id: step for step in found.steps}
        run.progress, ready = Progress.resume(flow, {node_id: step.status for node_id, step in steps.items()})
        tasks = {task.node_id: task for task in found.tasks}
        for node_id in ready:
            step = steps.get(node_id)
            if step is not None:
                run.steps[node_id] = _recalled(step, flow.nodes[node_id], tasks.get(node_id))
        return run, [(node_id, steps.get(node_id)) for node_id in ready]

    def take_up(self, open_steps: Iterable[tuple[str, Optional[x.Step]]], now: Instant, admit: Admit) -> Hop:
        """Go on after a restart.

        What was under way is called again with the same key; what an agent has taken is waited for.
        """
        changes: list[x.Change] = []
        calls: list[str] = []
        slots: list[str] = []
        timers: dict[str, Instant] = {}
        answers: dict[str, Instant] = {}
        for node_id, step in open_steps:
            state = self.steps.get(node_id)
            if step is not None and (state is None or state.awaits is not None):
                continue  # a report was faster
            if state is not None and state.task is not None and state.task.is_taken:
                answers[node_id] = state.task.until
                state.awaits = Awaits("answer", state.task.until)
                continue
            until = step.waiting_until if step is not None and step.waiting_for == "retry" else None
            if state is not None and state.task is not None and until is None:
                until = after(now, _WORD_OF_IT)
            if state is not None and until is not None and until > now:
                timers[node_id] = until
                state.awaits = Awaits("time", until)
                continue
            change = self._open(node_id, now, admit)
            (calls if isinstance(change, x.StepStarted) else slots).append(node_id)
            waits_already = step is not None and step.waiting_for in ("slot", "agent")
            if isinstance(change, x.StepStarted) or not waits_already:
                changes.append(change)
        return Hop(self._unit(now, changes) if changes else None, calls, slots, timers, answers)

    # -- going on ------------------------------------------------------------------------------

    def settle(
        self,
        node_id: str,
        reply: Reply,
        now: Instant,
        chance: float,
        admit: Admit,
        told: Optional[x.AgentReported] = None,
    ) -> Hop:
        """Take in what an attempt came to; ``told`` is the report that says so, if one does."""
        node = self.flow.nodes[node_id]
        changes: list[x.Change] = [] if told is None else [told]
        self._no_timer(node_id)
        self.steps[node_id].waits = None  # for an answer, if for anything: that was work, and no wait for its turn
        if isinstance(reply, Deferred):
            return self._taken(node_id, now, changes)
        if isinstance(reply, Postponed):
            return self._postponed(node_id, reply, now, chance)
        if isinstance(reply, Refused):
            return self._failed(node, reply, now, chance, admit, changes)
        state = self.steps.pop(node_id)
        done = x.StepCompleted(
            node_id,
            state.agent_id,
            state.attempt,
            encode_json(reply.output),
            closes=_closed(state),
            timing=state.timing(now),
        )
        return self._proceed([*changes, done], self.progress.ended(node_id, completed=True), now, admit)

    def heard(self, told: x.AgentReported, now: Instant) -> Hop:
        """Take in a report that ends nothing: at most it says that the agent is at the task."""
        state = self.steps[told.node_id]
        assert state.task is not None, "its agent holds the task"
        if not told.begun:
            return Hop(self._unit(now, [told]))
        was_taken = state.task.is_taken
        state.task = attrs.evolve(state.task, begun_at=told.report.reported_at)
        if was_taken:
            return Hop(self._unit(now, [told]))
        self._no_timer(told.node_id)
        return self._taken(told.node_id, now, [told])

    def _taken(self, node_id: str, now: Instant, changes: list[x.Change]) -> Hop:
        state = self.steps[node_id]
        assert state.task is not None, "only tasks are taken"
        state.task = attrs.evolve(state.task, accepted_at=now)
        state.offers = 0
        state.call_us = None
        state.is_interrupted = False
        state.may_be_taken = True
        until = state.task.until
        state.awaits = Awaits("answer", until)
        state.begin_wait("agent", now)
        changes.append(x.StepAccepted(node_id, state.task.agent_id, state.attempt, until))
        return Hop(self._unit(now, changes), answers={node_id: until})

    def _postponed(self, node_id: str, postponed: Postponed, now: Instant, chance: float) -> Hop:
        state = self.steps[node_id]
        state.offers += 1
        state.may_be_taken = state.may_be_taken or not postponed.is_certain
        delay = max(HAND_OVER.delay(state.offers, chance), min(postponed.retry_after or 0.0, LONGEST_RETRY_AFTER))
        failed = state.ended(node_id, now)
        until = state.ready_at = after(now, delay)
        waits = self._waits(
            node_id, "retry", now, until=until, error_code=postponed.error_code, error_message=postponed.error_message
        )
        return Hop(self._unit(now, [attrs.evolve(waits, failed=failed)]), timers={node_id: until})

    def _failed(
        self, node: Node, refused: Refused, now: Instant, chance: float, admit: Admit, changes: list[x.Change]
    ) -> Hop:
        state = self.steps[node.id]
        state.failures += 1
        delay = node.retry.next_delay(
            failures=state.failures,
            error_code=refused.error_code,
            retryable=refused.retryable,
            elapsed=(now - (state.first_at or now)) / SECOND,
            retry_after=refused.retry_after,
            chance=chance,
        )
        if delay is None:
            if node.on_error.agent_id is None or state.is_fallback:
                return self._give_up(node, refused, now, admit, changes)
            state.is_fallback = True
            state.failures, state.first_at, delay = 0, None, 0.0
        failed = state.ended(node.id, now)
        until = state.ready_at = after(now, delay)
        waits = self._waits(
            node.id,
            "retry",
            now,
            agent_id=node.on_error.agent_id if state.is_fallback else None,  # whose turn it is after a restart too
            until=until,
            error_code=refused.error_code,
            error_message=refused.error_message,
        )
        changes.append(attrs.evolve(waits, closes=_closed(state), failed=failed))
        state.task, state.may_be_taken = None, False
        return Hop(self._unit(now, changes), timers={node.id: until})

    def _give_up(self, node: Node, refused: Refused, now: Instant, admit: Admit, changes: list[x.Change]) -> Hop:
        state = self.steps.pop(node.id)
        code, message = refused.error_code, refused.error_message
        closes, timing = _closed(state), state.timing(now)
        if node.on_error.output is not None:
            text = encode_json(node.on_error.output)
            changes.append(x.StepCompleted(node.id, state.agent_id, state.attempt, text, code, message, closes, timing))
            return self._proceed(changes, self.progress.ended(node.id, completed=True), now, admit)
        goes_on = node.on_error.goes_on
        changes.append(
            x.StepFailed(node.id, state.agent_id, state.attempt, state.failures, code, message, goes_on, closes, timing)
        )
        if goes_on:
            return self._proceed(changes, self.progress.ended(node.id, completed=True), now, admit)
        return self._end(changes, StopReason.FINISHED, "failed", now, code, f'Node "{node.id}" failed: {message}')

    def retry(self, node_id: str, now: Instant, admit: Admit) -> Hop:
        """A step's waiting time is over."""
        before = self.steps[node_id].awaits
        change = self._open(node_id, now, admit)
        if isinstance(change, x.StepStarted):
            return Hop(self._unit(now, [change]), [node_id])
        is_known = before is not None and before.what == "slot"
        return Hop(None if is_known else self._unit(now, [change]), slots=[node_id])

    def granted(self, node_id: str, now: Instant, admitted: Admitted) -> Hop:
        """A step that waited for a slot has one."""
        return Hop(self._unit(now, [self._starts(node_id, now, admitted)]), [node_id])

    def intended(self, node_ids: Iterable[str], seconds: Seconds) -> None:
        """The intents of these steps' calls are durable, after that many seconds."""
        for node_id in node_ids:
            state = self.steps.get(node_id)
            if state is not None:
                state.commit_us = round(seconds * SECOND)

    def cancel(self, now: Instant, reason: Optional[str]) -> Hop:
        """End it because somebody asked."""
        requested = x.CancelRequested(reason)
        message = f"Cancelled: {reason}" if reason else "Cancelled."
        return self._end([requested], StopReason.CANCELLED, "cancelled", now, "CANCELLED", message)

    def fail(self, now: Instant, reason: StopReason, error_code: str, message: str) -> Hop:
        """End it for a reason that is none of its steps'."""
        return self._end([], reason, "failed", now, error_code, message)

    # -- inside --------------------------------------------------------------------------------

    def _proceed(self, changes: list[x.Change], commands: Sequence[Command], now: Instant, admit: Admit) -> Hop:
        calls: list[str] = []
        slots: list[str] = []
        for command in commands:
            if isinstance(command, Ready):
                change = self._open(command.node_id, now, admit)
                (calls if isinstance(change, x.StepStarted) else slots).append(command.node_id)
                changes.append(change)
            elif isinstance(command, Complete):
                return self._end(changes, StopReason.FINISHED, "completed", now)
            else:
                node = self.flow.nodes[command.node_id]
                changes.append(x.StepSkipped(node.id, node.agent_id, node.is_exit))
        return Hop(self._unit(now, changes), calls, slots)

    def _open(self, node_id: str, now: Instant, admit: Admit) -> x.Change:
        admission = admit(self, self.flow.nodes[node_id])
        if isinstance(admission, Admitted):
            return self._starts(node_id, now, admission)
        waits = self._waits(
            node_id, admission.reason, now, agent_id=admission.agent_id, detail=admission.detail, until=admission.until
        )
        state = self.steps[node_id]
        if state.ready_at is None:
            state.ready_at = now
        return waits

    def _starts(self, node_id: str, now: Instant, admitted: Admitted) -> x.StepStarted:
        node = self.flow.nodes[node_id]
        state, is_new = self._state(node_id)
        lost = None if is_new else state.begins_again(node_id, now)
        state.attempt += 1
        waited, state.waits = state.waits, None
        state.awaits = state.waiter = None
        state.agent_id = admitted.agent_id
        if admitted.agent_id is not None and admitted.task_until is not None:
            state.task = OpenTask(admitted.agent_id, self.execution_id, node_id, admitted.task_until)
        if state.first_at is None:
            state.first_at = now
        recovered = lost is not None
        return x.StepStarted(
            node_id,
            admitted.agent_id,
            state.attempt,
            is_new,
            node.is_exit,
            recovered,
            admitted.task_until,
            lost,
            waited,
        )

    def _waits(
        self,
        node_id: str,
        reason: x.WaitReason,
        now: Instant,
        *,
        agent_id: Optional[str] = None,
        until: Optional[Instant] = None,
        error_code: Optional[str] = None,
        error_message: Optional[str] = None,
        detail: Optional[str] = None,
    ) -> x.StepWaits:
        state, is_new = self._state(node_id)
        state.awaits = Awaits("time", until) if reason == "retry" else SLOT
        return x.StepWaits(
            node_id,
            agent_id or state.agent_id,
            reason,
            state.attempt,
            state.failures,
            is_new,
            self.flow.nodes[node_id].is_exit,
            until,
            error_code,
            error_message,
            detail,
            waited=state.begin_wait(reason, now),
        )

    def _state(self, node_id: str) -> tuple[StepState, bool]:
        state = self.steps.get(node_id)
        if state is not None:
            return state, False
        state = self.steps[node_id] = StepState()
        return state, True

    def _end(
        self,
        changes: list[x.Change],
        stop: StopReason,
        status: x.FinalStatus,
        now: Instant,
        error_code: Optional[str] = None,
        error_message: Optional[str] = None,
    ) -> Hop:
        self.stop = stop
        seconds = (now - self.started_at) / SECOND if self.started_at is not None else 0.0
        closes, abandons = self._leave_tasks()
        cut = tuple(_cut_short(self.steps, now))
        changes.append(x.Finished(status, max(0.0, seconds), error_code, error_message, closes, abandons, cut))
        return Hop(self._unit(now, changes), ends=True)

    def _no_timer(self, node_id: str) -> None:
        """Whatever the step waited for has come."""
        state = self.steps[node_id]
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None

    def _leave_tasks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Agents whose tasks end with the execution, and those that have yet to say anything of theirs.

        One that has begun says so again when it is done, and its state keeps it from new work until then. One that has
        only been given its task, or perhaps has, would take a new one for it.
        """
        closes: list[str] = []
        abandons: list[str] = []
        for state in self.steps.values():
            if state.task is not None:
                may_be_taken = state.may_be_taken or state.awaits is None  # its call is open
                is_unknown = state.task.begun_at is None and may_be_taken
                (abandons if is_unknown else closes).append(state.task.agent_id)
        return tuple(closes), tuple(abandons)

    def _unit(self, now: Instant, changes: Sequence[x.Change]) -> x.Unit:
        unit = x.Unit(self.execution_id, self.seq, now, tuple(changes))
        self.seq += len(changes)
        return unit


def _recalled(step: x.Step, node: Node, task: Optional[OpenTask]) -> StepState:
    """What is remembered of a step, from its record."""
    state = StepState(step.attempt, step.failures, step.started_at)
    state.agent_id = step.agent_id
    state.task = task
    state.may_be_taken = task is not None
    state.is_interrupted = step.status == "running"
    if step.status == "running" and step.attempt == 1:
        state.called_at = step.started_at
    state.queue_us = None
    if task is not None:
        state.called_at = task.accepted_at or state.called_at
    elif step.waiting_for is not None:
        state.ready_at = step.waiting_until if step.waiting_for == "retry" else step.waiting_since
    if step.waiting_for is not None and step.waiting_since is not None:
        state.waits = x.Waited(step.waiting_for, step.waiting_since)
    state.is_fallback = node.on_error.agent_id is not None and step.agent_id == node.on_error.agent_id != node.agent_id
    return state


def _closed(state: StepState) -> Optional[str]:
    return None if state.task is None else state.task.agent_id


def _cut_short(steps: Mapping[str, StepState], now: Instant) -> Iterator[x.Attempt]:
    """The attempts that are under way, or were when their process ended."""
    for node_id, state in steps.items():
        is_under_way = state.awaits is None or state.awaits.what == "answer" or state.is_interrupted
        if is_under_way and state.agent_id is not None:
            yield state.ended(node_id, now)
