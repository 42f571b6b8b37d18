"""The server at a glance: what runs, what ended lately, what waits for what, who is gone, what needs attention."""

from __future__ import annotations

from collections import Counter
from typing import Iterator, Literal, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import AgentView
from opscore.domain.capacity import Capacity
from opscore.domain.events import TAKEN
from opscore.domain.executions import WaitReason
from opscore.domain.instants import SECOND, Instant, Seconds, after
from opscore.domain.wording import between, counted, moment, sentence, some, span

BUCKETS = 60
RECENT_FAILURES = 10
NEARLY = 0.8
"""The part of a limit from which on it is said to be near."""
_MANY = 5
"""More of one kind are told of together."""
_MANY_FLOWS = 10
_MANY_FAILED = 0.1
"""The part of what ended from which on failures are an error."""
_LONG_QUEUE: Seconds = 60.0
_LONG: Mapping[WaitReason, Seconds] = {"slot": 60.0, "agent": 300.0, "retry": 600.0}
"""From when on a wait is unusual. Timers and signals may well take days."""


@attrs.frozen
class Tally:
    """How many executions were accepted and how many ended, in one span of time."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.started + other.started,
            self.completed + other.completed,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
        )


@attrs.frozen
class Bucket:
    """A span of time; the last one is still going on."""

    at: Instant
    seconds: int
    tally: Tally = Tally()

    @property
    def end(self) -> Instant:
        """When the next one begins."""
        return self.at + self.seconds * SECOND


def buckets(window: int, now: Instant) -> Sequence[Bucket]:
    """The window as 60 spans of whole seconds, which begin at multiples of their length and so stay the same."""
    width = -(-window // BUCKETS)
    last = now // (width * SECOND) * width * SECOND
    return [Bucket(last - back * width * SECOND, width) for back in reversed(range(BUCKETS))]


@attrs.frozen
class WaitingStep:
    """A step that waits."""

    execution_id: str
    node_id: str
    agent_id: Optional[str]
    since: Instant
    detail: Optional[str]


@attrs.frozen
class Waits:
    """How many steps wait for one thing, and those that have waited longest."""

    reason: WaitReason
    count: int
    oldest_since: Instant
    longest: Sequence[WaitingStep]


@attrs.frozen
class Failure:
    """An execution that failed."""

    execution_id: str
    flow_id: str
    error_code: Optional[str]
    error_message: Optional[str]
    completed_at: Instant


@attrs.frozen
class Picture:
    """What the store knows of all executions at one moment."""

    pending: int
    running: int
    paused: int
    ended: Tally
    """All that ever ended; nothing of what started."""
    spans: Sequence[Tally]
    """For each span that was asked for."""
    waits: Sequence[Waits]
    failures: Sequence[Failure]
    """The newest ones, newest first."""
    queued_since: Optional[Instant]
    """When the oldest of those that wait for their turn came."""


@attrs.frozen
class Attention:
    """Something that an operator should look at."""

    kind: str
    severity: Literal["warning", "error"]
    text: str
    since: Optional[Instant] = None
    execution_id: Optional[str] = None
    agent_id: Optional[str] = None
    flow_id: Optional[str] = None


@attrs.frozen
class Overview:
    """The server at a glance."""

    at: Instant
    picture: Picture
    buckets: Sequence[Bucket]
    agents_by_state: Mapping[str, int]
    agents_by_status: Mapping[str, int]
    agents_by_condition: Mapping[str, int]
    calls_in_flight: int
    calls_waiting: int
    attention: Sequence[Attention]

    @property
    def window(self) -> int:
        """The window, in seconds."""
        return sum(bucket.seconds for bucket in self.buckets)

    @property
    def tally(self) -> Tally:
        """What was accepted and what ended in the window."""
        return sum((bucket.tally for bucket in self.buckets), Tally())


@attrs.frozen
class Scene:
    """All that an overview is made of."""

    at: Instant
    picture: Picture
    buckets: Sequence[Bucket]
    agents: Sequence[AgentView]
    calls_in_flight: int
    calls_waiting: int
    capacity: Capacity
    store: Literal["works", "full", "down"]
    is_accepting: bool


def draw(scene: Scene) -> Overview:
    """Make an overview. The same facts always give the same one."""
    found = [*_server(scene), *_queue(scene), *_agents(scene), *_failures(scene), *_waits(scene)]
    return Overview(
        at=scene.at,
        picture=scene.picture,
        buckets=scene.buckets,
        agents_by_state=Counter(view.state for view in scene.agents),
        agents_by_status=Counter(view.status for view in scene.agents),
        agents_by_condition=Counter(view.condition for view in scene.agents),
        calls_in_flight=scene.calls_in_flight,
        calls_waiting=scene.calls_waiting,
        attention=sorted(found, key=lambda one: one.severity != "error"),
    )


def _server(scene: Scene) -> Iterator[Attention]:
    if scene.store == "full":
        text = "The disk is full: nothing can be written, so nothing goes on. Make room; all goes on by itself then."
        yield Attention("disk_full", "error", text)
    elif scene.store == "down":
        yield Attention(
            "store_down", "error", "The store takes no writes, so nothing goes on; the server's log says why."
        )
    if not scene.is_accepting:
        yield Attention("stopping", "warning", "The server is stopping: it accepts nothing new.")


def _queue(scene: Scene) -> Iterator[Attention]:
    count, most, since = scene.picture.pending, scene.capacity.queued, scene.picture.queued_since
    if count >= most:
        text = (
            f"The queue is full: {counted(count, 'execution')} wait. New ones are refused (429) until some have begun."
        )
        yield Attention("queue_full", "error", text, since)
    elif count >= most * NEARLY:
        text = f"The queue is nearly full: {count:,} of at most {counted(most, 'execution')} wait for their turn."
        yield Attention("queue_near_limit", "warning", text, since)
    elif since is not None and scene.at > after(since, _LONG_QUEUE):
        text = (
            f"{counted(count, 'execution waits', 'executions wait')} for a turn, the oldest for "
            f"{between(since, scene.at)}; {scene.picture.running:,} of at most {scene.capacity.open_runs:,} run."
        )
        yield Attention("queue_waits", "warning", text, since)
    if scene.calls_waiting and scene.calls_in_flight >= scene.capacity.calls:
        text = (
            f"All {counted(scene.capacity.calls, 'call')} to agents that may be open at once are; "
            f"{counted(scene.calls_waiting, 'more waits', 'more wait')}."
        )
        yield Attention("calls_full", "warning", text)


# -- agents ---------------------------------------------------------------------------------------


def _agents(scene: Scene) -> Iterator[Attention]:
    by_kind: dict[str, list[Attention]] = {}
    for view in scene.agents:
        found = trouble(view, scene.at)
        if found is not None:
            by_kind.setdefault(found.kind, []).append(found)
    for kind, listed in by_kind.items():
        if len(listed) <= _MANY:
            yield from listed
            continue
        names = [one.agent_id or "" for one in listed]
        text = f"{counted(len(listed), 'agent')} {_TOGETHER[kind]}: {some(names)}."
        yield Attention(kind, listed[0].severity, text, min((one.since for one in listed if one.since), default=None))


_TOGETHER = {
    "agent_unreachable": "cannot be reached and get no work for now",
    "agent_offline": "are offline",
    "agent_error": "report an error",
    "agent_unhealthy": "do not answer well when they are asked for their health",
}


def trouble(view: AgentView, now: Instant, said: Optional[str] = None) -> Optional[Attention]:
    """What is wrong with an agent that is wanted to work; None when nothing is known to be.

    ``said`` is what whoever reads it was told just before: the reason is left out when it is the same.
    """
    agent_id, seen, present = view.agent.spec.agent_id, view.observed, view.agent.present
    named = f'Agent "{agent_id}"'
    if not view.agent.spec.is_active:
        return None
    if seen.breaker.state != "closed":
        why = _because(seen.breaker.reason or "no answer", said)
        again = "The next call is a trial."
        if seen.breaker.state == "open" and seen.breaker.retry_at is not None:
            again = f"It is tried again at {moment(seen.breaker.retry_at)}."
        often = counted(seen.breaker.failures, "time")
        text = f"{named} could not be reached {often} in a row and is left alone{why} {again}"
        return Attention("agent_unreachable", "error", text, seen.breaker.since, agent_id=agent_id)
    if seen.silent_since is not None:
        heard = f"since {moment(seen.last_seen)}" if seen.last_seen is not None else "yet"
        text = f"{named} is offline: nothing was heard of it {heard}."
        return Attention("agent_offline", "error", text, seen.last_seen or seen.silent_since, agent_id=agent_id)
    if present is not None and present.state in ("error", "offline"):
        kind, severity = ("agent_error", "error") if present.state == "error" else ("agent_offline", "warning")
        text = f"{named} reported {present.state} {between(present.reported_at, now)} ago."
        return Attention(kind, severity, text, present.reported_at, agent_id=agent_id)  # type: ignore[arg-type]
    if seen.health in ("unhealthy", "unreachable"):
        why = _because(seen.health_message or "its health could not be asked for", said)
        text = f"{named} is {seen.health}{why}"
        return Attention("agent_unhealthy", "warning", text, seen.checked_at, agent_id=agent_id)
    return None


def _because(reason: str, said: Optional[str]) -> str:
    return "." if reason == said else f": {sentence(reason)}"


# -- executions -----------------------------------------------------------------------------------


def _failures(scene: Scene) -> Iterator[Attention]:
    """One for each flow and error code that failed in the window."""
    begin = scene.buckets[0].at
    total = sum((bucket.tally for bucket in scene.buckets), Tally())
    ended = total.completed + total.failed + total.cancelled
    severity: Literal["warning", "error"] = "error" if total.failed > ended * _MANY_FAILED else "warning"
    groups: dict[tuple[str, Optional[str]], list[Failure]] = {}
    for failure in scene.picture.failures:
        if failure.completed_at >= begin:
            groups.setdefault((failure.flow_id, failure.error_code), []).append(failure)
    length = span(scene.buckets[-1].end / SECOND - begin / SECOND)
    for (flow_id, code), failures in list(groups.items())[:_MANY_FLOWS]:
        newest = failures[0]
        # Of very many only the newest were looked at.
        at_least = "at least " if total.failed > len(scene.picture.failures) else ""
        text = (
            f'Flow "{flow_id}" failed {at_least}{counted(len(failures), "time")} in the last {length} with '
            f"{code or 'no code'}; the last time {between(newest.completed_at, scene.at)} ago: "
            f"{sentence(newest.error_message or 'no message')}"
        )
        yield Attention(
            "executions_failed", severity, text, failures[-1].completed_at, newest.execution_id, flow_id=flow_id
        )
    others = sorted({flow_id for flow_id, _ in list(groups)[_MANY_FLOWS:]})
    if others:
        yield Attention("executions_failed", severity, f"Others failed too: {some(others)}.", begin)


def _waits(scene: Scene) -> Iterator[Attention]:
    for waits in scene.picture.waits:
        limit = _LONG.get(waits.reason)
        # An agent that has taken its task works on it, for as long as the task's time limit lets it.
        stuck = [step for step in waits.longest if step.detail != TAKEN]
        if limit is None or not stuck or scene.at <= after(stuck[0].since, limit):
            continue
        oldest = stuck[0]
        text = (
            f"{counted(waits.count, 'step waits', 'steps wait')} {_WAITS[waits.reason]}; node "
            f'"{oldest.node_id}"{_whom(oldest)} has waited longest, for {between(oldest.since, scene.at)}.'
        )
        detail = f" {sentence(oldest.detail)}" if oldest.detail else ""
        yield Attention(
            "waiting_long", "warning", text + detail, oldest.since, oldest.execution_id, agent_id=oldest.agent_id
        )


_WAITS: Mapping[str, str] = {
    "slot": "until a call to an agent may be made",
    "agent": "for an agent",
    "retry": "for another attempt",
}


def _whom(step: WaitingStep) -> str:
    return "" if step.agent_id is None else f' (agent "{step.agent_id}")'
