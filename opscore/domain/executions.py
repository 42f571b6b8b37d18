"""Executions and their steps: the states they may be in, and the changes that move them.

Both state machines are tables. What a table lacks cannot happen: the guards of the store's statements and the
schema's CHECK constraints say the same, and tests compare them.

A *change* is one fact about an execution. The engine collects the changes of one hop in a
:class:`Unit`, the store writes the unit whole or not at all, with one event for each change.
"""

from __future__ import annotations

from typing import Any, Literal, Mapping, NamedTuple, Optional, Union

import attrs

from opscore.domain.agents import Report
from opscore.domain.instants import SECOND, Instant, Seconds
from opscore.domain.tracing import TraceContext, recall, trace_of

ExecutionStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
StepStatus = Literal["pending", "running", "waiting", "completed", "failed", "cancelled", "skipped"]
WaitReason = Literal["slot", "agent", "retry", "timer", "signal", "concurrency"]

EXECUTION_MOVES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"running", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
STEP_MOVES: Mapping[str, frozenset[str]] = {
    # A step's row begins in any of the first words; "pending" is a step without a row.
    "pending": frozenset({"running", "waiting", "skipped"}),
    # running -> running is the repeat after a crash: the same call with the same key.
    "running": frozenset({"running", "waiting", "completed", "failed", "cancelled"}),
    # waiting -> completed or failed: an agent that took a task answers it later.
    "waiting": frozenset({"running", "waiting", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "skipped": frozenset(),
}
EXECUTION_STATUSES = tuple(EXECUTION_MOVES)
STEP_STATUSES = tuple(STEP_MOVES)
FinalStatus = Literal["completed", "failed", "cancelled"]
OPEN = frozenset(status for status, moves in EXECUTION_MOVES.items() if moves)
FINAL = frozenset(EXECUTION_MOVES) - OPEN


@attrs.frozen
class NewExecution:
    """An execution as it is accepted. Payloads are JSON text."""

    execution_id: str
    flow_id: str
    flow_version: int
    input: str
    metadata: str
    priority: int
    created_at: Instant
    deadline_at: Optional[Instant] = None
    user_id: Optional[str] = None
    agent_id: Optional[str] = None
    """The agent that it was triggered for; tasks that name none go to it."""
    caller: Optional[TraceContext] = None
    """The span of whoever started it."""

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to: its caller's, or one of its own."""
        return trace_of(self.execution_id) if self.caller is None else self.caller.trace_id


@attrs.frozen
class Waiting:
    """What a step waits for and why, since when, and until when if that is known."""

    node_id: str
    reason: WaitReason
    since: Instant
    until: Optional[Instant] = None
    agent_id: Optional[str] = None
    detail: Optional[str] = None
    error_code: Optional[str] = None


@attrs.frozen
class Execution:
    """An execution as the store has it. Payloads are JSON text; None where not asked for."""

    execution_id: str
    flow_id: str
    flow_version: int
    status: ExecutionStatus
    priority: int
    last_seq: int
    created_at: Instant
    updated_at: Instant
    started_at: Optional[Instant] = None
    completed_at: Optional[Instant] = None
    deadline_at: Optional[Instant] = None
    error_code: Optional[str] = None
    error_message: Optional[str] = None
    user_id: Optional[str] = None
    agent_id: Optional[str] = None
    metadata: str = "{}"
    input: Optional[str] = None
    outputs: Optional[Mapping[str, str]] = None
    """Output of each completed exit node, once the execution completed."""
    calls: int = 0
    """Calls made to agents, repeats included."""
    failures: int = 0
    """Calls that failed."""
    waiting: tuple[Waiting, ...] = ()
    truncated: tuple[str, ...] = ()
    """Payloads left out because they are too large for a list."""
    trace_context: Optional[str] = None
    """The span of whoever started it, as :attr:`TraceContext.text`."""

    @property
    def caller(self) -> Optional[TraceContext]:
        """The span of whoever started it."""
        return recall(self.trace_context)

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to: its caller's, or one of its own."""
        caller = self.caller
        return trace_of(self.execution_id) if caller is None else caller.trace_id

    @property
    def is_open(self) -> bool:
        """Whether it has yet to end."""
        return self.status in OPEN

    @property
    def seconds(self) -> Optional[Seconds]:
        """How long it ran, in seconds; None before it ended or when it never started."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at) / SECOND


class Timing(NamedTuple):
    """Where the time of a step's last attempt went, in microseconds; None where it is not known."""

    queue_us: Optional[int] = None
    """From the moment it was ready until a slot and an agent were there."""
    call_us: Optional[int] = None
    """The call itself; where the agent answers later, until it did."""
    commit_us: Optional[int] = None
    """From handing the intent to the store until it was durable."""


@attrs.frozen
class Step:
    """One node of one execution, as far as it came. The output is JSON text."""

    execution_id: str
    node_id: str
    agent_id: Optional[str]
    status: StepStatus
    attempt: int
    failures: int
    created_at: Instant
    started_at: Optional[Instant] = None
    completed_at: Optional[Instant] = None
    waiting_for: Optional[WaitReason] = None
    waiting_since: Optional[Instant] = None
    waiting_until: Optional[Instant] = None
    output: Optional[str] = None
    error_code: Optional[str] = None
    error_message: Optional[str] = None
    waiting_detail: Optional[str] = None
    queue_us: Optional[int] = None
    call_us: Optional[int] = None
    commit_us: Optional[int] = None


UNTIMED = Timing()


@attrs.frozen
class Attempt:
    """An attempt of a step that has ended while its step has not, or not by itself."""

    node_id: str
    agent_id: Optional[str]
    attempt: int
    timing: Timing


@attrs.frozen
class Accepted:
    """The execution exists; it waits its turn unless :class:`Started` is in the same unit."""

    execution: NewExecution
    idempotency: Optional[Idempotency] = None


@attrs.frozen
class Idempotency:
    """A caller's key for a start: the same key and body give the same execution."""

    key: str
    fingerprint: str
    """SHA-256 of what was asked, in hex."""
    expires_at: Instant


@attrs.frozen
class Started:
    """The execution left the queue."""


@attrs.frozen
class Waited:
    """A wait that is over: what for, and since when."""

    reason: WaitReason
    since: Instant


@attrs.frozen
class StepStarted:
    """A call to an agent is about to leave: the intent."""

    node_id: str
    agent_id: Optional[str]
    attempt: int
    is_new: bool
    is_exit: bool
    recovered: bool = False
    task_until: Optional[Instant] = None
    """Set when the agent is one that answers later: until when it holds the task."""
    lost: Optional[Attempt] = None
    """The attempt before, where its call was lost with the process that made it."""
    waited: Optional[Waited] = None
    """What the step waited for last, if it did."""


@attrs.frozen
class StepAccepted:
    """The agent has taken the step's task and will answer later."""

    node_id: str
    agent_id: str
    attempt: int
    until: Instant


@attrs.frozen
class AgentReported:
    """The agent that holds the step's task reported a state."""

    node_id: str
    agent_id: str
    attempt: int
    report: Report
    begun: bool = False
    """Whether it says for the first time that it is at work on the task."""


@attrs.frozen
class StepWaits:
    """A step cannot run yet, and why; after a failure with the failure's code and text."""

    node_id: str
    agent_id: Optional[str]
    reason: WaitReason
    attempt: int
    failures: int
    is_new: bool
    is_exit: bool
    until: Optional[Instant] = None
    error_code: Optional[str] = None
    error_message: Optional[str] = None
    detail: Optional[str] = None
    closes: Optional[str] = None
    """The agent whose task this ends."""
    failed: Optional[Attempt] = None
    """The attempt that makes it wait, where one does."""
    waited: Optional[Waited] = None
    """What the step waited for until now, if for something else."""


@attrs.frozen
class StepCompleted:
    """The result of a step, as JSON text. The first one is the only one."""

    node_id: str
    agent_id: Optional[str]
    attempt: int
    output: str
    error_code: Optional[str] = None
    error_message: Optional[str] = None
    """The failure that the output stands in for, where the flow says so."""
    closes: Optional[str] = None
    timing: Timing = UNTIMED


@attrs.frozen
class StepFailed:
    """A step failed for good."""

    node_id: str
    agent_id: Optional[str]
    attempt: int
    failures: int
    error_code: str
    error_message: str
    is_tolerated: bool = False
    """Whether the execution goes on without it."""
    closes: Optional[str] = None
    timing: Timing = UNTIMED


@attrs.frozen
class StepSkipped:
    """A step that is not to run: all it depends on was skipped."""

    node_id: str
    agent_id: Optional[str]
    is_exit: bool


@attrs.frozen
class CancelRequested:
    """Somebody asked for the end of the execution."""

    reason: Optional[str]


@attrs.frozen
class Finished:
    """The execution ended; steps still open end with it, as cancelled."""

    status: FinalStatus
    seconds: Seconds
    error_code: Optional[str] = None
    error_message: Optional[str] = None
    closes: tuple[str, ...] = ()
    """Agents whose tasks end with it."""
    abandons: tuple[str, ...] = ()
    """Agents that may go on with their tasks for a while, not knowing."""
    cut_short: tuple[Attempt, ...] = ()
    """Attempts that were under way."""


Change = Union[
    Accepted,
    Started,
    StepStarted,
    StepAccepted,
    AgentReported,
    StepWaits,
    StepCompleted,
    StepFailed,
    StepSkipped,
    CancelRequested,
    Finished,
]


@attrs.frozen
class Unit:
    """The changes of one hop of one execution, written together.

    ``expected_seq`` is the number of the last event its writer knows. The store refuses the unit as
    stale when the execution has another one, or has ended: every write is guarded by what it builds on.
    """

    execution_id: str
    expected_seq: int
    at: Instant
    changes: tuple[Change, ...]


@attrs.frozen
class Message:
    """What travelled along one edge of the flow."""

    message_id: str
    execution_id: str
    from_agent: str
    to_agent: str
    payload: Any
    timestamp: Optional[Instant]
