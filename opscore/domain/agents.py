"""Agents: who does the work, how to reach them, what they say of themselves and what is seen of them.

What an agent is *wanted* to be (``is_active``), what it *reports* (its state) and what is *observed* of it (does
it answer, is it silent) are three things and kept apart. Nothing here is called healthy that was not seen to be.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Mapping, Optional

import attrs

from opscore.domain.instants import Instant

AgentState = Literal["unknown", "initializing", "idle", "active", "error", "finished", "offline"]
AGENT_STATES: tuple[str, ...] = (
    "unknown", "initializing", "idle", "active", "error", "finished", "offline",
)  # fmt: skip
REPORTABLE_STATES = tuple(state for state in AGENT_STATES if state != "unknown")
"""Any report may move an agent to any of these."""

Condition = Literal[
    "unknown", "reachable", "working", "idle", "initializing", "finished",
    "error", "unhealthy", "unreachable", "offline", "inactive",
]  # fmt: skip
CONDITIONS: tuple[str, ...] = (
    "unknown", "reachable", "working", "idle", "initializing", "finished",
    "error", "unhealthy", "unreachable", "offline", "inactive",
)  # fmt: skip

Source = Literal["direct", "webhook", "discovery"]
"""Who registered an agent."""

ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What ids of agents, flows and nodes look like (matched in full)."""


def is_id(value: object) -> bool:
    """Whether this can be the id of an agent, a flow or a node."""
    return isinstance(value, str) and ID.fullmatch(value) is not None


@attrs.frozen
class AgentSpec:
    """What its owner says about an agent; two equal ones are the same registration."""

    agent_id: str
    name: str
    protocol: str = "spine"
    endpoint: Optional[str] = None
    description: str = ""
    capabilities: tuple[str, ...] = ()
    agent_type: str = "processor"
    version: Optional[str] = None
    is_active: bool = True
    max_concurrency: Optional[int] = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


@attrs.frozen
class Report:
    """What an agent said of its state. ``details`` is JSON text."""

    agent_id: str
    state: AgentState
    reported_at: Instant
    """By the agent's clock."""
    received_at: Instant
    """By ours; it rises from report to report."""
    details: str = "{}"
    frees: bool = False
    """Whether the agent may be given a task after it."""

    def is_newer_than(self, other: Optional[Report]) -> bool:
        """Whether it is the present one of the two: by the agent's clock, ties by arrival."""
        return other is None or (self.reported_at, self.received_at) > (other.reported_at, other.received_at)

    def repeats(self, other: Optional[Report]) -> bool:
        """Whether it is the same report, delivered again."""
        return other is not None and (self.reported_at, self.state, self.details) == (
            other.reported_at,
            other.state,
            other.details,
        )


def frees(report: Report, before: Optional[Report]) -> bool:
    """Whether an agent without a task may be given one after this report.

    ``idle`` says so itself. ``finished`` after ``active`` says that it is done with what it did; a ``finished``
    out of the blue is an agent that ends. A report that is delivered again says nothing new.
    """
    if before is None:
        return report.state == "idle"
    if report.repeats(before):
        return before.frees
    return report.state == "idle" or (report.state == "finished" and before.state == "active")


@attrs.frozen
class Agent:
    """A registered agent: its specification, and the newest of its reports if it ever made one."""

    spec: AgentSpec
    created_at: Instant
    updated_at: Instant
    present: Optional[Report] = None
    source: Source = "direct"

    @property
    def is_free(self) -> bool:
        """Whether its own reports let it be given a task: it is idle, or has not reported yet."""
        return self.present is None or self.present.frees


Health = Literal["unknown", "healthy", "unhealthy", "unreachable"]


@attrs.frozen
class Breaker:
    """Whether an agent is given work at all: not for a while after it could repeatedly not be reached.

    After M. Nygard, Release It! (2007), "Circuit Breaker": closed, open, and half-open for one trial.
    """

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: int = 0
    """Failures to reach it, one after the other."""
    reason: Optional[str] = None
    since: Optional[Instant] = None
    retry_at: Optional[Instant] = None
    """When the next trial is made, while it is open."""


@attrs.frozen
class Observed:
    """What was seen of an agent, from outside."""

    last_seen: Optional[Instant] = None
    """When it last reported or answered."""
    health: Health = "unknown"
    health_message: Optional[str] = None
    checked_at: Optional[Instant] = None
    latency_ms: Optional[float] = None
    silent_since: Optional[Instant] = None
    """Since when it counts as offline because nothing was heard of it."""
    breaker: Breaker = Breaker()
    task: Optional[str] = None
    """The id of the task that it holds, if it is one that answers later."""
    in_flight: int = 0
    """Calls to it that are open now."""


@attrs.frozen
class AgentView:
    """An agent as it is shown."""

    agent: Agent
    observed: Observed

    @property
    def state(self) -> AgentState:
        """Its own newest word, unless it has fallen silent."""
        if self.observed.silent_since is not None:
            return "offline"
        return "unknown" if self.agent.present is None else self.agent.present.state

    @property
    def status(self) -> Literal["active", "inactive", "error"]:
        """The coarse word of the AI Spine clients: ``active`` only for what is wanted and was seen to be there."""
        if not self.agent.spec.is_active:
            return "inactive"
        failing = self.observed.health in ("unhealthy", "unreachable") or self.observed.breaker.state != "closed"
        if failing or self.state in ("error", "offline"):
            return "error"
        return "inactive" if self.observed.last_seen is None else "active"

    @property
    def condition(self) -> Condition:
        """How it does, in one word: what was seen of it leads, what it reports of itself follows.

        So agents that never report a state have a word too; what is wrong comes before what goes on.
        """
        return self._wrong or self._doing

    @property
    def _wrong(self) -> Optional[Condition]:
        """Why it is not to be counted on; None when nothing is known to be wrong."""
        seen, state = self.observed, self.state
        if not self.agent.spec.is_active:
            return "inactive"
        if seen.breaker.state != "closed" or seen.health == "unreachable":
            return "unreachable"
        if state in ("error", "offline"):
            return state
        return "unhealthy" if seen.health == "unhealthy" else None

    @property
    def _doing(self) -> Condition:
        """What it does, as far as one can tell."""
        seen, state = self.observed, self.state
        if state == "active" or seen.in_flight or seen.task is not None:
            return "working"
        if state != "unknown":
            return state
        return "unknown" if seen.last_seen is None else "reachable"
