"""Why an execution stands where it stands: what each open node waits for, since when, and what would move it.

The record says what a step waited for when it began to wait; what holds it now may be something else (its agent was
busy, and has been unreachable since). So the reasons are found anew from what is known of the agents at this moment.
"""

from __future__ import annotations

from typing import Collection, Iterator, Literal, Mapping, NamedTuple, Optional, Sequence

import attrs

from opscore.domain.agents import AgentView
from opscore.domain.capacity import Capacity
from opscore.domain.events import TAKEN
from opscore.domain.executions import Execution, Step
from opscore.domain.flows import Flow, Node
from opscore.domain.instants import Instant, after
from opscore.domain.overview import trouble
from opscore.domain.wording import between, counted, moment, sentence, some, span

What = Literal["queue", "call", "slot", "agent", "retry", "timer", "signal", "concurrency", "paused", "ended"]
CAUSES: tuple[str, ...] = (
    "queue", "call", "slot", "agent", "retry", "timer", "signal", "concurrency", "paused", "ended",
)  # fmt: skip
_OPEN = ("running", "waiting")


@attrs.frozen
class Record:
    """What the store has of one execution, without payloads."""

    execution: Execution
    steps: Sequence[Step]
    begun: Mapping[str, Instant]
    """When the last attempt of each node began."""
    ahead: int = 0
    """How many executions have their turn before it, while it waits for its own."""


@attrs.frozen
class Situation:
    """All that an explanation is made of."""

    record: Record
    flow: Flow
    agents: Mapping[str, AgentView]
    """Those that its nodes name, or that have a capability that they name."""
    later: Collection[str]
    """Protocols whose agents take tasks, one at a time, and answer later."""
    now: Instant
    capacity: Capacity
    calls_in_flight: int = 0
    is_carried: bool = True
    """Whether the engine has it in its care."""
    is_accepting: bool = True


@attrs.frozen
class Cause:
    """One reason why an execution stands where it stands."""

    what: What
    text: str
    would_move: str
    node_id: Optional[str] = None
    agent_id: Optional[str] = None
    since: Optional[Instant] = None
    until: Optional[Instant] = None
    attempt: Optional[int] = None
    error_code: Optional[str] = None


@attrs.frozen
class Explanation:
    """Why an execution stands where it stands."""

    execution: Execution
    summary: str
    causes: Sequence[Cause]


def explain(situation: Situation) -> Explanation:
    """Say why an execution does not move, or how it ended. The same facts always give the same answer."""
    execution = situation.record.execution
    if not execution.is_open:
        causes = list(_ended(situation))
    elif execution.status == "pending":
        causes = [_queued(situation)]
    elif execution.status == "paused":
        causes = [_paused(situation)]
    elif not situation.is_carried:
        causes = [_not_carried(situation)]
    else:
        causes = _Teller(situation).causes() or [_between_steps()]
    return Explanation(execution, _summary(situation, causes), causes)


def _summary(situation: Situation, causes: Sequence[Cause]) -> str:
    execution, now = situation.record.execution, situation.now
    first = causes[0].text
    if not execution.is_open:
        return first
    done = sum(step.status not in _OPEN for step in situation.record.steps)
    parts = [f"{execution.status.capitalize()} for {between(execution.started_at or execution.created_at, now)}"]
    if execution.status == "running":
        parts[0] += f"; {done:,} of {counted(len(situation.flow.nodes), 'node')} ended"
    parts.append(first)
    if len(causes) > 1:
        parts.append(f"{counted(len(causes) - 1, 'more node is open', 'more nodes are open')}.")
    if execution.deadline_at is not None:
        parts.append(f"Its time limit ends it at {moment(execution.deadline_at)} at the latest.")
    return f"{parts[0]}. {' '.join(parts[1:])}"


# -- the execution as a whole ---------------------------------------------------------------------


def _queued(situation: Situation) -> Cause:
    execution, ahead = situation.record.execution, situation.record.ahead
    waited = between(execution.created_at, situation.now)
    place = f"{counted(ahead, 'execution is', 'executions are')} ahead of it" if ahead else "it is the next"
    move = "A running execution ending, and those ahead of it having had their turn"
    if not situation.is_accepting:
        move = "The server having started again: it is stopping now, and lets nothing begin"
    return Cause(
        "queue",
        f"The execution waits for its turn, for {waited} so far, in place {ahead + 1:,}: {place}. At most "
        f"{counted(situation.capacity.open_runs, 'execution runs', 'executions run')} at once.",
        f"{move}. Higher priorities go first (its own is {execution.priority} of 10), then older executions.",
        since=execution.created_at,
        until=execution.deadline_at,
    )


def _paused(situation: Situation) -> Cause:
    execution = situation.record.execution
    text = f"Somebody paused the execution at {moment(execution.updated_at)}."
    return Cause("paused", text, "Somebody resuming it.", since=execution.updated_at, until=execution.deadline_at)


def _not_carried(situation: Situation) -> Cause:
    execution = situation.record.execution
    if not situation.is_accepting:
        text = "The server is stopping; the execution is recorded as it stands, and nothing of it is lost."
        return Cause(
            "queue", text, "The server having started again: it goes on by itself.", since=execution.updated_at
        )
    return Cause(
        "queue",
        "The server takes the execution up again from its record, as it does after a restart, or when the store could "
        "not be written (a full disk, for example).",
        "The server itself, within seconds, once the store can be read and written; /status and the server's log say "
        "whether it can.",
        since=execution.updated_at,
    )


def _between_steps() -> Cause:
    return Cause("call", "It is between two steps in this moment.", "The server, by itself, at once.")


# -- how it ended ---------------------------------------------------------------------------------


def _ended(situation: Situation) -> Iterator[Cause]:
    execution = situation.record.execution
    steps = situation.record.steps
    failed = [step for step in steps if step.status == "failed"]
    fatal = [step for step in failed if not _is_tolerated(situation.flow, step)]
    if execution.status != "failed" or not fatal:
        yield _end(situation)
    for step in fatal if execution.status == "failed" else ():
        yield _fatal(situation, step)
    for step in steps:
        is_replaced = step.status == "completed" and step.error_code is not None
        if is_replaced or (step.status == "failed" and _is_tolerated(situation.flow, step)):
            yield _tolerated(step)


def _is_tolerated(flow: Flow, step: Step) -> bool:
    node = flow.nodes.get(step.node_id)
    return node is not None and node.on_error.goes_on


def _end(situation: Situation) -> Cause:
    """The end of an execution that no step brought about."""
    execution = situation.record.execution
    at = moment(execution.completed_at or execution.updated_at)
    took = "" if execution.seconds is None else f", after {span(execution.seconds)}"
    if execution.status == "completed":
        text, move = f"The execution completed at {at}{took}.", "Nothing: it has ended, and has its result."
        return Cause("ended", text, move, since=execution.completed_at)
    cut = [_doing(step) for step in situation.record.steps if step.status == "cancelled"]
    unfinished = f" Not ended by then: {some(cut)}." if cut else " Nothing of it was under way."
    said = sentence(execution.error_message or "No reason was given.")
    verb = "was cancelled" if execution.status == "cancelled" else "failed"
    return Cause(
        "ended",
        f"The execution {verb} at {at}{took}: {said}{unfinished}",
        _start_again(execution.error_code),
        since=execution.completed_at,
        error_code=execution.error_code,
    )


def _doing(step: Step) -> str:
    whom = f' (agent "{step.agent_id}")' if step.agent_id is not None else ""
    return f'node "{step.node_id}"{whom}'


def _fatal(situation: Situation, step: Step) -> Cause:
    calls = counted(step.attempt, "attempt")
    by = f' of agent "{step.agent_id}"' if step.agent_id is not None else ""
    at = moment(step.completed_at or situation.now)
    text = (
        f'Node "{step.node_id}" failed for good at {at}, after {calls}{by}, and the execution with it: '
        f"{step.error_code or 'no code'}: {sentence(step.error_message or 'no message')}"
    )
    node = situation.flow.nodes.get(step.node_id)
    if node is not None and step.failures < node.retry.max_attempts and step.failures:
        text += f" It was not tried again, though {counted(node.retry.max_attempts, 'attempt')} were allowed: "
        text += "the failure is one that a repeat does not help, or its time for retries was over."
    return Cause(
        "ended",
        text,
        _start_again(step.error_code),
        step.node_id,
        step.agent_id,
        step.completed_at,
        attempt=step.attempt,
        error_code=step.error_code,
    )


def _tolerated(step: Step) -> Cause:
    stood_in = step.status == "completed"
    course = "the output that the flow names stood in for its own" if stood_in else "the flow went on without it"
    text = (
        f'Node "{step.node_id}" failed after {counted(step.attempt, "attempt")}, and {course}: '
        f"{step.error_code or 'no code'}: {sentence(step.error_message or 'no message')}"
    )
    return Cause(
        "ended",
        text,
        "Nothing: the flow says to go on.",
        step.node_id,
        step.agent_id,
        step.completed_at,
        attempt=step.attempt,
        error_code=step.error_code,
    )


_ONCE: Mapping[str, str] = {
    "AGENT_UNREACHABLE": "once the agent can be reached: is it running, and is its endpoint right?",
    "AGENT_NOT_FOUND": "once the agent is registered.",
    "AGENT_INACTIVE": "once the agent is active again.",
    "AGENT_PROTOCOL_UNKNOWN": "once the agent is registered with a protocol that this server speaks.",
    "AGENT_FORBIDDEN_ADDRESS": "once the agent's endpoint is where agents may live.",
    "AGENT_ANSWER_TOO_LARGE": "once the agent's answers are smaller.",
    "NODE_TIMEOUT": "once the agent is fast enough, or with a longer timeout of the node.",
    "TASK_TIMEOUT": "once the agent is fast enough, or with a longer timeout of the node.",
    "EXECUTION_TIMEOUT": "with a longer time limit, or once what it waited for is there.",
    "INTERNAL_ERROR": "once the server's log was looked at: it says what went wrong here.",
    "CANCELLED": "if it is wanted after all.",
}


def _start_again(error_code: Optional[str]) -> str:
    once = _ONCE.get(error_code or "", "once what the message tells of is put right.")
    return f"Nothing: it has ended. Start the flow again with the same input, {once}"


# -- open nodes -----------------------------------------------------------------------------------


class _Reason(NamedTuple):
    """Why an agent is given no call: in a sentence, in a word or two, and what would change that."""

    text: str
    short: str
    would_move: str
    until: Optional[Instant] = None


class _Teller:
    """Tells of each open node."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._now = situation.now
        self._execution_id = situation.record.execution.execution_id

    def causes(self) -> list[Cause]:
        """A cause for each open node, what has lasted longest first."""
        steps = [step for step in self._situation.record.steps if step.status in _OPEN]
        found = [self._cause(step, self._situation.flow.nodes[step.node_id]) for step in steps]
        return sorted(found, key=lambda cause: cause.since or 0)

    def _cause(self, step: Step, node: Node) -> Cause:
        if step.status == "running":
            return self._call(step, node)
        if step.waiting_for in ("slot", "agent"):
            is_taken = step.waiting_detail == TAKEN
            return self._taken(step, node) if is_taken else self._held(step, node)
        if step.waiting_for == "retry":
            return self._retry(step, node)
        return self._other(step)

    def _call(self, step: Step, node: Node) -> Cause:
        """A call is open."""
        since = self._situation.record.begun.get(step.node_id) or step.started_at or step.created_at
        named, spent = f'Node "{step.node_id}"', between(since, self._now)
        if step.agent_id is None:
            text = f"{named} passes on what reaches it; no agent is needed."
            return Cause("call", text, "The server, by itself, at once.", step.node_id, None, since, None, step.attempt)
        limit = node.timeout or self._situation.capacity.node_timeout
        until = after(since, limit)
        agent = f'agent "{step.agent_id}"'
        if self._answers_later(step.agent_id):
            text = f"{named}: its task is being handed to {agent}, for {spent} so far."
            move = f"{_upper(agent)} taking the task"
        else:
            begun = f"{spent}, since {moment(since)}"
            text = f"{named}: {agent} has been working on it for {begun}, {self._tries(step, node)}."
            move = f"{_upper(agent)} answering"
        limited = f"or its time limit of {span(limit)}{self._in(until)}; {self._then(step, node)} then."
        return Cause(
            "call",
            text + self._doubts(step.agent_id),
            f"{move}, {limited}",
            step.node_id,
            step.agent_id,
            since,
            until,
            step.attempt,
        )

    def _taken(self, step: Step, node: Node) -> Cause:
        """The agent has the task."""
        view = self._situation.agents.get(step.agent_id or "")
        since, until = step.waiting_since or step.created_at, step.waiting_until
        agent = f'agent "{step.agent_id}"'
        present = None if view is None else view.agent.present
        word = "it has reported nothing yet"
        if present is not None:
            word = f"it last reported {present.state}, at {moment(present.reported_at)}"
            if present.state == "active" and present.received_at >= since:
                word = f"it is at work on it (it reported active at {moment(present.reported_at)})"
        limited = "" if until is None else f"; or its time limit{self._in(until)}; {self._then(step, node)} then"
        return Cause(
            "agent",
            f'Node "{step.node_id}": {agent} took the task {between(since, self._now)} ago and has '
            f"not ended it, {self._tries(step, node)}; {word}.{self._doubts(step.agent_id)}",
            f"{_upper(agent)} reporting idle or finished (it is done) or error, or ending the task itself{limited}.",
            step.node_id,
            step.agent_id,
            since,
            until,
            step.attempt,
        )

    def _held(self, step: Step, node: Node) -> Cause:
        """No call may leave yet."""
        reason = self._hindrance(step.agent_id) if step.agent_id is not None else self._nobody(node.capability or "")
        what: What = "agent"
        if reason is None:
            what, reason = "slot", self._no_slot(step)
        elif reason.short == _AT_LIMIT:
            what = "slot"
        since = step.waiting_since or step.created_at
        return Cause(
            what,
            f'Node "{step.node_id}" has waited for {between(since, self._now)}: {reason.text}',
            reason.would_move,
            step.node_id,
            step.agent_id,
            since,
            reason.until,
            step.attempt or None,
        )

    def _no_slot(self, step: Step) -> _Reason:
        """Nothing holds the agent itself."""
        most = self._situation.capacity.calls
        if self._situation.calls_in_flight >= most:
            calls = counted(most, "call")
            return _Reason(
                f"all {calls} that may be open at once, to all agents together, are open.",
                "",
                f"One of the {most:,} open calls ending; executions of a higher priority go first.",
            )
        before = f" It waited because: {sentence(step.waiting_detail)}" if step.waiting_detail else ""
        text = f"what it waited for is there in this moment.{before}"
        return _Reason(text, "", "The server, by itself, at once; calls of a higher priority go first.")

    def _hindrance(self, agent_id: str) -> Optional[_Reason]:
        """Why an agent is given no call now; None when nothing is known to be in the way."""
        view = self._situation.agents.get(agent_id)
        if view is None:
            return None
        agent, seen = f'agent "{agent_id}"', view.observed
        if seen.breaker.state == "open":
            why = sentence(seen.breaker.reason or "no answer")
            at = seen.breaker.retry_at
            when = "" if at is None else f": it is tried again{self._at(at)}"
            move = f"{_upper(agent)} becoming reachable{when}, or sooner if it is heard of."
            return _Reason(
                f"{agent} cannot be reached, and is left alone for a while: {why}", "cannot be reached", move, at
            )
        if seen.task is not None:
            own = seen.task.startswith(f"{self._execution_id}:")
            whose = "this task is being offered to it again" if own else f"it has another task ({seen.task})"
            move = f"{_upper(agent)} reporting that it is done with that task, or the task's time limit."
            return _Reason(f"{agent} takes one task at a time, and {whose}.", "has another task", move)
        if self._answers_later(agent_id) and not view.agent.is_free and view.agent.present is not None:
            present = view.agent.present
            said = f"{present.state} at {moment(present.reported_at)}"
            text = f"{agent} is given tasks only when it is idle, and it reported {said}."
            return _Reason(text, f"reported {present.state}", f"{_upper(agent)} reporting idle.")
        most = self._limit(view)
        if seen.in_flight >= most:
            on_trial = seen.breaker.state == "half_open"
            why = " (it is on trial after it could not be reached)" if on_trial else ""
            text = f"{agent} has as many calls open as it may have: {seen.in_flight:,} of {most:,}{why}."
            calls = "The open call" if seen.in_flight == 1 else f"One of {counted(seen.in_flight, 'open call')}"
            return _Reason(text, _AT_LIMIT, f"{calls} to {agent} ending; executions of a higher priority go first.")
        return None

    def _nobody(self, capability: str) -> Optional[_Reason]:
        """Why no agent with a capability is given a call now; None when one might be."""
        able = [view for view in self._situation.agents.values() if capability in view.agent.spec.capabilities]
        wanted = [view.agent.spec.agent_id for view in able if view.agent.spec.is_active]
        if not wanted:
            have = f" ({counted(len(able), 'agent has', 'agents have')} it, but not active)" if able else ""
            return _Reason(
                f'no active agent has the capability "{capability}"{have}.',
                "",
                f'An agent with the capability "{capability}" being registered, or activated.',
            )
        reasons = {agent_id: self._hindrance(agent_id) for agent_id in wanted}
        if None in reasons.values():
            return None
        each = some([f"{agent_id} {reason.short}" for agent_id, reason in reasons.items() if reason is not None])
        which = f'none of the {len(wanted):,} agents with the capability "{capability}" is free'
        if len(wanted) == 1:
            which = f'the one agent with the capability "{capability}" is not free'
        again = [reason.until for reason in reasons.values() if reason is not None and reason.until is not None]
        return _Reason(
            f"{which}: {each}.",
            "",
            f'An agent with the capability "{capability}" becoming free.',
            min(again, default=None),
        )

    def _retry(self, step: Step, node: Node) -> Cause:
        """The last attempt came to nothing, and another follows."""
        until = step.waiting_until
        code = step.error_code or "no code"
        failed = f"{code}: {sentence(step.error_message or 'no message')}"
        agent = "" if step.agent_id is None else f' of agent "{step.agent_id}"'
        next_try = f"attempt {step.failures + 1} of {node.retry.max_attempts}"
        if code.startswith("AGENTKIT_") or code == "AGENT_CHANGED":
            text = f"its task could not be handed to its agent, and is offered again: {failed}"
            move = f"The task being offered again{self._at(until)}, without end until it is taken"
        elif step.failures == 0 and _is_fallback(step, node):
            text = f'agent "{node.agent_id}" failed for good, and agent "{step.agent_id}" takes over: {failed}'
            move = f'Agent "{step.agent_id}" being called{self._at(until)}: {next_try}'
        else:
            which = f"attempt {max(1, step.failures)} of {node.retry.max_attempts}"
            text = f"{which}{agent} failed, and another follows: {failed}"
            move = f"A retry{self._at(until)}: {next_try} after {code}{self._but_later(step.agent_id, until)}"
        return Cause(
            "retry",
            f'Node "{step.node_id}": {text}{self._doubts(step.agent_id, step.error_message)}',
            f"{move}.",
            step.node_id,
            step.agent_id,
            step.waiting_since or step.created_at,
            until,
            step.attempt,
            step.error_code,
        )

    def _other(self, step: Step) -> Cause:
        """It waits for time, a signal, or its turn among others."""
        what: What = step.waiting_for or "timer"
        text, move = {
            "signal": ("waits for a signal", "The signal being sent"),
            "concurrency": ("waits until fewer executions like it run", "One of them ending"),
        }.get(what, ("waits for a time", "That time having come"))
        since, until = step.waiting_since or step.created_at, step.waiting_until
        detail = f" {sentence(step.waiting_detail)}" if step.waiting_detail else ""
        return Cause(
            what,
            f'Node "{step.node_id}" {text}, for {between(since, self._now)} so far.{detail}',
            f"{move}{self._at(until)}.",
            step.node_id,
            step.agent_id,
            since,
            until,
            step.attempt or None,
        )

    # -- pieces of sentences -------------------------------------------------------------------

    def _answers_later(self, agent_id: str) -> bool:
        view = self._situation.agents.get(agent_id)
        return view is not None and view.agent.spec.protocol in self._situation.later

    def _limit(self, view: AgentView) -> int:
        spec = view.agent.spec
        if view.observed.breaker.state == "half_open" or spec.protocol in self._situation.later:
            return 1
        return spec.max_concurrency or self._situation.capacity.calls_per_agent

    def _but_later(self, agent_id: Optional[str], until: Optional[Instant]) -> str:
        """What to say of a retry that comes before its agent is tried again; nothing of any other."""
        view = self._situation.agents.get(agent_id or "")
        if view is None or view.observed.breaker.state != "open" or view.observed.breaker.retry_at is None:
            return ""
        again = view.observed.breaker.retry_at
        return "" if until is not None and until >= again else f", but not before its agent is tried{self._at(again)}"

    def _in(self, until: Instant) -> str:
        return f" in {between(self._now, until)}" if until > self._now else ", which is over: at any moment"

    def _at(self, until: Optional[Instant]) -> str:
        if until is None:
            return ""
        when = f"in {between(self._now, until)}" if until > self._now else "at any moment now"
        return f" at {moment(until)} ({when})"

    def _tries(self, step: Step, node: Node) -> str:
        number = f"attempt {step.failures + 1} of {node.retry.max_attempts}"
        return f"{number}, as the fallback" if _is_fallback(step, node) else number

    def _then(self, step: Step, node: Node) -> str:
        """What follows when the present attempt fails."""
        if step.failures + 1 < node.retry.max_attempts:
            return f"attempt {step.failures + 2} of {node.retry.max_attempts} follows"
        if node.on_error.agent_id is not None and not _is_fallback(step, node):
            return f'agent "{node.on_error.agent_id}" takes over'
        if node.on_error.output is not None:
            return "the output that the flow names stands in"
        return "the execution goes on without it" if node.on_error.goes_on else "the execution fails"

    def _doubts(self, agent_id: Optional[str], said: Optional[str] = None) -> str:
        """What is wrong with the agent, as far as it is known, without the error that was told just before."""
        if agent_id is None:
            return ""
        view = self._situation.agents.get(agent_id)
        if view is None:
            return f' No agent "{agent_id}" is registered any more.'
        if not view.agent.spec.is_active:
            return f' Agent "{agent_id}" is not active.'
        found = trouble(view, self._now, said)
        return "" if found is None else f" {found.text}"


_AT_LIMIT = "has as many calls open as it may"


def _is_fallback(step: Step, node: Node) -> bool:
    return node.on_error.agent_id is not None and step.agent_id == node.on_error.agent_id != node.agent_id


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
