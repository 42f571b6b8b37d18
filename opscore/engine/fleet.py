"""The fleet: what the engine knows of each agent beyond its registration, and so who may be given work.

An agent gets no work while its breaker is open: after it could repeatedly not be reached it is left alone for a
while, longer each time, and then one call is a trial. An agent that answers later (protocol ``agentkit``) gets no work
either while it holds a task, or while its own reports say that it is not idle.

All here is memory. The store has the tasks and the reports; what else is known is found out anew after a restart.
"""

from __future__ import annotations

import logging
from typing import Callable, Collection, Iterable, Optional, Sequence

import attrs

from opscore.domain.agents import Agent, Breaker, Health, Observed, Report
from opscore.domain.calls import Probe, Refused, Reply
from opscore.domain.instants import Instant, Seconds, after, show
from opscore.domain.ports import Clock, Store, TimerHandle
from opscore.domain.tasks import OpenTask

log = logging.getLogger(__name__)

UNREACHABLE = "AGENT_UNREACHABLE"
_UNHEARD = frozenset((
    "NODE_TIMEOUT", "AGENT_NOT_FOUND", "AGENT_INACTIVE", "AGENT_PROTOCOL_UNKNOWN", "AGENT_FORBIDDEN_ADDRESS",
    "AGENT_CALL_FAILED",
))  # fmt: skip
"""Failures without a word of the agent: it let its time pass, or was not even called."""
_LONGEST_PAUSE: Seconds = 300.0


@attrs.frozen(kw_only=True)
class FleetLimits:
    """When agents are left alone. Times are seconds."""

    calls_per_agent: int
    breaker_failures: int = 10
    breaker_pause: Seconds = 10.0
    offline_after: Seconds = 300.0


class _Watch:
    """What is remembered of one agent."""

    __slots__ = (
        "checked_at", "failures", "has_health", "health", "health_message", "is_open", "last_seen", "latency_ms",
        "on_trial", "opened", "reason", "retry_at", "silent_since", "since", "task", "task_timer", "timer",
    )  # fmt: skip

    def __init__(self, last_seen: Optional[Instant]) -> None:
        self.last_seen = last_seen
        self.health: Health = "unknown"
        self.health_message: Optional[str] = None
        self.checked_at: Optional[Instant] = None
        self.latency_ms: Optional[float] = None
        self.has_health: Optional[bool] = None
        self.silent_since: Optional[Instant] = None
        self.failures = 0
        self.opened = 0
        self.is_open = False
        self.on_trial = False
        self.reason: Optional[str] = None
        self.since: Optional[Instant] = None
        self.retry_at: Optional[Instant] = None
        self.timer: Optional[TimerHandle] = None
        self.task: Optional[OpenTask] = None
        self.task_timer: Optional[TimerHandle] = None


class Fleet:
    """Implements :class:`opscore.engine.slots.Crew`."""

    def __init__(
        self,
        store: Store,
        later: Collection[str],
        clock: Clock,
        limits: FleetLimits,
        on_change: Callable[[str], object],
        on_over: Callable[[OpenTask], object],
    ) -> None:
        """Take what it works with.

        Args:
            store: Has the agents.
            later: Protocols whose agents answer later.
            clock: Time.
            limits: When agents are left alone.
            on_change: Called with each agent that may be available now and was not.
            on_over: Called with a task that nobody waits for when its time is over; it is to be closed then.
        """
        self._store = store
        self._later = later
        self._clock = clock
        self._limits = limits
        self._on_change = on_change
        self._on_over = on_over
        self._watches: dict[str, _Watch] = {}
        self._since = clock.now()
        """Nobody was listening before."""

    # -- who may be given work -----------------------------------------------------------------

    def answers_later(self, agent_id: str) -> bool:
        """Whether it is an agent that takes tasks one at a time, and answers later."""
        agent = self._store.agent_now(agent_id)
        return agent is not None and agent.spec.protocol in self._later

    def limit(self, agent_id: str) -> int:
        """Calls that may be open to an agent."""
        watch = self._watches.get(agent_id)
        if watch is not None and watch.on_trial:
            return 1
        agent = self._store.agent_now(agent_id)
        if agent is None:
            return self._limits.calls_per_agent
        return 1 if agent.spec.protocol in self._later else agent.spec.max_concurrency or self._limits.calls_per_agent

    def is_available(self, agent_id: str) -> bool:
        """Whether an agent may be given work now. One that is gone may: its call says so."""
        agent = self._store.agent_now(agent_id)
        if agent is None:
            return True
        watch = self._watches.get(agent_id)
        if watch is not None and (watch.is_open or watch.task is not None):
            return False
        return agent.is_free or agent.spec.protocol not in self._later

    def is_doubtful(self, agent_id: str) -> bool:
        """Whether others are to be preferred: nothing was heard of it for long, or it was seen to be unwell."""
        watch = self._watches.get(agent_id)
        return watch is not None and (watch.silent_since is not None or watch.health in ("unhealthy", "unreachable"))

    def capable(self, capability: str) -> Collection[str]:
        """The agents that have a capability and are wanted to work."""
        found = self._store.capable_now(capability)
        return [agent_id for agent_id in found if self._is_wanted(agent_id)]

    def _is_wanted(self, agent_id: str) -> bool:
        agent = self._store.agent_now(agent_id)
        return agent is not None and agent.spec.is_active

    def why_not(self, agent_id: str) -> tuple[str, Optional[Instant]]:
        """Why an agent is given no work now, in a sentence, and until when if that is known; empty for a mere limit."""
        watch = self._watches.get(agent_id)
        if watch is not None and watch.is_open:
            return f"The agent cannot be reached: {watch.reason or 'no answer.'}", watch.retry_at
        if watch is not None and watch.task is not None:
            return f"The agent has another task ({watch.task.task_id}).", None
        agent = self._store.agent_now(agent_id)
        if agent is not None and agent.spec.protocol in self._later and not agent.is_free:
            state = agent.present.state if agent.present is not None else "unknown"
            return f"The agent is not idle; it reported {state} at {_reported(agent)}.", None
        return "", None

    # -- tasks ---------------------------------------------------------------------------------

    def load(self, tasks: Iterable[OpenTask]) -> None:
        """Take over the tasks that the store knows of."""
        for task in tasks:
            self.open(task)

    def task(self, agent_id: str) -> Optional[OpenTask]:
        """The task that an agent holds."""
        watch = self._watches.get(agent_id)
        return None if watch is None else watch.task

    def tasks(self) -> Sequence[OpenTask]:
        """All tasks that agents hold."""
        return [watch.task for watch in self._watches.values() if watch.task is not None]

    def open(self, task: OpenTask) -> None:
        """An agent holds a task; one that nobody waits for any more is forgotten when its time is over."""
        watch = self._watch(task.agent_id)
        watch.task = task
        if watch.task_timer is not None:
            watch.task_timer.cancel()
            watch.task_timer = None
        if task.is_abandoned:
            delay = max(0.0, (task.until - self._clock.now()) / 1_000_000)
            watch.task_timer = self._clock.call_later(delay, lambda: self._on_over(task))

    def close(self, agent_id: str, execution_id: str) -> None:
        """An agent holds a task no more."""
        watch = self._watches.get(agent_id)
        if watch is None or watch.task is None or watch.task.execution_id != execution_id:
            return
        watch.task = None
        if watch.task_timer is not None:
            watch.task_timer.cancel()
            watch.task_timer = None
        self._on_change(agent_id)

    def abandon(self, agent_id: str, execution_id: str) -> None:
        """An agent's task is wanted no more, but the agent may not know yet."""
        task = self.task(agent_id)
        if task is not None and task.execution_id == execution_id:
            self.open(attrs.evolve(task, is_abandoned=True))

    def agree(self, execution_id: str, recorded: Sequence[OpenTask]) -> None:
        """Make memory agree with what the store has of an execution's tasks."""
        kept = {task.agent_id for task in recorded}
        for task in self.tasks():
            if task.execution_id == execution_id and task.agent_id not in kept:
                self.close(task.agent_id, execution_id)
        for task in recorded:
            self.open(task)

    # -- what is seen of agents ------------------------------------------------------------------

    def reported(self, report: Report) -> None:
        """An agent said something."""
        self._seen(report.agent_id)
        self._on_change(report.agent_id)

    def replied(self, agent_id: str, reply: Reply) -> None:
        """A call to an agent came back."""
        error_code = reply.error_code if isinstance(reply, Refused) else None
        if isinstance(reply, Refused) and error_code == UNREACHABLE:
            self._failed(agent_id, reply.error_message)
        elif error_code not in _UNHEARD and not self.answers_later(agent_id):
            self._seen(agent_id)  # what AgentKit answers says nothing of its agent

    def probed(self, agent_id: str, probe: Probe) -> None:
        """An agent was asked for its health."""
        watch = self._watch(agent_id)
        before = watch.health
        watch.checked_at = self._clock.now()
        watch.latency_ms = probe.latency_ms
        watch.health_message = probe.message
        if probe.is_reachable:
            watch.has_health = probe.has_health
            watch.health = "unknown" if not probe.has_health else "healthy" if probe.connected else "unhealthy"
            self._seen(agent_id)
        else:
            watch.health = "unreachable"
            if not self.answers_later(agent_id):
                self._failed(agent_id, probe.message)
        _note_health(agent_id, before, watch.health, probe)

    def has_health(self, agent_id: str) -> bool:
        """Whether it may have something to ask for its health; True until it is known better."""
        watch = self._watches.get(agent_id)
        return watch is None or watch.has_health is not False

    @property
    def minds_silence(self) -> bool:
        """Whether silence makes an agent count as offline at all."""
        return self._limits.offline_after > 0

    def notice_silence(self, agents: Iterable[Agent]) -> Sequence[str]:
        """Mark as offline whoever should have been heard and was not; who that is now and was not before.

        Whoever reports states is to be heard, and whoever is asked for its health. An agent that answers when it is
        called and says nothing else is not silent, but merely not asked.
        """
        limit = self._limits.offline_after
        now = self._clock.now()
        found = []
        for agent in agents if self.minds_silence else ():
            watch = self._watch(agent.spec.agent_id)
            is_heard = agent.present is not None or watch.health == "unreachable" or watch.has_health
            is_busy = watch.silent_since is not None or watch.task is not None
            if is_heard and not is_busy and now >= after(max(watch.last_seen or agent.created_at, self._since), limit):
                watch.silent_since = now
                found.append(agent.spec.agent_id)
        return found

    def observed(self, agent_id: str, in_flight: int) -> Observed:
        """What was seen of an agent."""
        watch = self._watches.get(agent_id)
        if watch is None:
            return Observed(last_seen=self._last_report(agent_id), in_flight=in_flight)
        state = "open" if watch.is_open else "half_open" if watch.on_trial else "closed"
        return Observed(
            last_seen=watch.last_seen,
            health=watch.health,
            health_message=watch.health_message,
            checked_at=watch.checked_at,
            latency_ms=watch.latency_ms,
            silent_since=watch.silent_since,
            breaker=Breaker(state, watch.failures, watch.reason, watch.since, watch.retry_at),  # type: ignore[arg-type]
            task=None if watch.task is None else watch.task.task_id,
            in_flight=in_flight,
        )

    def changed(self, agent_id: str) -> None:
        """An agent was registered, changed or forgotten: what was seen before is about another one."""
        watch = self._watches.pop(agent_id, None)
        if watch is not None:
            if watch.timer is not None:
                watch.timer.cancel()
            if watch.task is not None:
                self.open(watch.task)
        self._on_change(agent_id)

    # -- inside --------------------------------------------------------------------------------

    def _watch(self, agent_id: str) -> _Watch:
        watch = self._watches.get(agent_id)
        if watch is None:
            watch = self._watches[agent_id] = _Watch(self._last_report(agent_id))
        return watch

    def _last_report(self, agent_id: str) -> Optional[Instant]:
        agent = self._store.agent_now(agent_id)
        return None if agent is None or agent.present is None else agent.present.received_at

    def _seen(self, agent_id: str) -> None:
        watch = self._watch(agent_id)
        watch.last_seen = self._clock.now()
        if watch.silent_since is not None:
            watch.silent_since = None
            log.info("agent.back", extra={"agent_id": agent_id})
        if watch.failures:
            was_held = watch.is_open or watch.on_trial
            if watch.timer is not None:
                watch.timer.cancel()
            watch.failures = watch.opened = 0
            watch.is_open = watch.on_trial = False
            watch.reason = watch.since = watch.retry_at = watch.timer = None
            if was_held:
                log.info("agent.breaker_closed", extra={"agent_id": agent_id})
                self._on_change(agent_id)

    def _failed(self, agent_id: str, reason: str) -> None:
        watch = self._watch(agent_id)
        watch.failures += 1
        watch.reason = reason
        if watch.on_trial or (not watch.is_open and watch.failures >= self._limits.breaker_failures):
            self._open_breaker(agent_id, watch)

    def _open_breaker(self, agent_id: str, watch: _Watch) -> None:
        pause = min(_LONGEST_PAUSE, self._limits.breaker_pause * 2**watch.opened)
        watch.opened = min(watch.opened + 1, 30)
        watch.is_open, watch.on_trial = True, False
        watch.since = watch.since or self._clock.now()
        watch.retry_at = after(self._clock.now(), pause)
        facts = {"agent_id": agent_id, "reason": watch.reason, "failures": watch.failures, "pause": pause}
        log.warning("agent.breaker_opened", extra=facts)

        def try_again() -> None:
            watch.is_open, watch.on_trial = False, True
            watch.timer = None
            self._on_change(agent_id)

        watch.timer = self._clock.call_later(pause, try_again)


def _note_health(agent_id: str, before: Health, now: Health, probe: Probe) -> None:
    """Tell the log of an agent that has become well or unwell."""
    was_ill, is_ill = (health in ("unhealthy", "unreachable") for health in (before, now))
    if is_ill and before != now:
        log.warning("agent.probe_failed", extra={"agent_id": agent_id, "reason": probe.message})
    elif was_ill and not is_ill:
        facts = {"agent_id": agent_id, "reason": probe.message, "duration_ms": probe.latency_ms}
        log.info("agent.probe_passed", extra=facts)


def _reported(agent: Agent) -> str:
    return "" if agent.present is None else show(agent.present.reported_at) or ""
