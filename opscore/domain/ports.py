"""What the rooms expect of each other: the ports, implemented at the edges and tied in ``bootstrap``."""

from __future__ import annotations

from typing import Callable, Collection, ContextManager, Literal, Mapping, Optional, Protocol, Sequence

import attrs

from opscore.domain.agents import Agent, AgentSpec, AgentState, Observed, Report, Source
from opscore.domain.calls import Call, Outcome, Probe, Reply
from opscore.domain.events import Event, EventFilter, FeedPage, History
from opscore.domain.executions import Execution, Idempotency, NewExecution, Step, Unit
from opscore.domain.explanations import Record
from opscore.domain.flows import Flow, FlowVersion
from opscore.domain.instants import Instant, Seconds
from opscore.domain.keys import Key
from opscore.domain.logs import LogEntry, LogPage, LogQuery
from opscore.domain.overview import Bucket, Picture
from opscore.domain.performance import Sample, SampleQuery
from opscore.domain.surveys import Survey
from opscore.domain.tasks import OpenTask
from opscore.domain.tracing import SAMPLED, TraceContext, execution_span, trace_of

# -- time and chance ------------------------------------------------------------------------------


class TimerHandle(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Forget it."""


class Clock(Protocol):
    """Time and chance, so that tests can hold both."""

    def now(self) -> Instant:
        """The wall clock: microseconds since 1970."""

    def monotonic(self) -> Seconds:
        """Seconds from some moment on, never backwards: for spans."""

    def call_later(self, delay: Seconds, callback: Callable[[], object]) -> TimerHandle:
        """Call back after that many seconds."""

    def chance(self) -> float:
        """A number within 0 and 1."""

    def new_id(self) -> str:
        """A new UUID, version 7 (RFC 9562): ids made later sort later."""


# -- calling agents -------------------------------------------------------------------------------


class AgentProtocol(Protocol):
    """A way to call agents. Nothing an agent does makes these methods raise, but for cancellation."""

    name: str
    answers_later: bool
    """Whether its agents take tasks, one at a time, and end them later by reporting."""
    needs_endpoint: bool
    """Whether an agent without an endpoint cannot be asked for its health."""

    async def call(self, call: Call) -> Reply:
        """Make one attempt. Its time limit is the caller's business: it cancels."""

    async def probe(self, endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
        """Ask whether the agent is there."""

    def check(self, spec: AgentSpec) -> None:
        """Refuse what this protocol could never call.

        Raises:
            Invalid: The endpoint is missing, malformed or in a forbidden network.
        """


class NotOffered(Exception):
    """A directory that does not exist there."""


class Directory(Protocol):
    """A list of agents that somebody else keeps."""

    async def agents(self) -> Sequence[AgentSpec]:
        """All agents on the list.

        Raises:
            NotOffered: There is no such list, and there will be none.
            Unavailable: It could not be read now.
        """


# -- the store ------------------------------------------------------------------------------------


_FAR = 1_000


@attrs.frozen
class ExecutionQuery:
    """Which executions to list, newest first. ``before`` is the id of the last one already seen."""

    flow_id: Optional[str] = None
    status: Optional[str] = None
    agent_id: Optional[str] = None
    created_after: Optional[Instant] = None
    created_before: Optional[Instant] = None
    metadata: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    limit: int = 100
    offset: int = 0
    before: Optional[str] = None
    text: Optional[str] = None
    """The beginning of an id, or part of a flow id, an error's code or message, or a user id; in any case."""

    @property
    def is_search(self) -> bool:
        """Whether very many may have to be looked at for a few that fit."""
        by_two = self.flow_id is not None and self.status is not None
        return by_two or bool(self.text or self.agent_id or self.metadata) or self.offset > _FAR


@attrs.frozen
class ExecutionTotals:
    """Counts over all executions there ever were (pruned ones included), and of the open ones."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    pending: int = 0
    running: int = 0
    paused: int = 0
    seconds: float = 0.0
    """Summed run time of the ended ones, in seconds."""
    oldest_pending_at: Optional[Instant] = None
    """When the first of the pending ones was accepted."""
    last_created_at: Optional[Instant] = None


@attrs.frozen
class OpenRun:
    """An open execution, its steps and tasks, without payloads: enough to take it up again."""

    execution: Execution
    steps: Sequence[Step]
    tasks: Sequence[OpenTask] = ()


@attrs.frozen
class ReportQuery:
    """Which reports of an agent to list, newest first. ``before`` is the last one already seen, by its instants."""

    agent_id: str
    registered_at: Instant
    limit: int = 100
    before: Optional[tuple[Instant, Instant]] = None


@attrs.frozen
class Proof:
    """A webhook's signature: good for one use, and of no use after it has expired."""

    signature: str
    expires_at: Instant


Refusal = Literal["stale", "taken", "full", "failed"]
"""Why a unit was not written: it built on another state, a unique value exists, no room, anything else."""


class Store(Protocol):
    """Everything that lasts. A call that writes returns after the commit, durable, or raises.

    Raises (all writing methods):
        Stale: A guard met another state.
        StoreFull: No room on the disk.
        StoreError: The store failed otherwise.
    """

    # executions
    async def commit(self, unit: Unit) -> None:
        """Write one unit, whole or not at all. Units are written in the order of the calls."""

    async def started_as(self, key: str, now: Instant) -> Optional[tuple[Idempotency, str]]:
        """What an idempotency key that has not expired was used for: the record and the execution id."""

    async def execution(self, execution_id: str) -> Execution:
        """One execution with its payloads. Raises ExecutionNotFound."""

    async def executions(self, query: ExecutionQuery) -> Sequence[Execution]:
        """A page of executions; payloads over 16 KiB are left out and named in ``truncated``."""

    async def steps(self, execution_id: str) -> Sequence[Step]:
        """The steps of an execution in the order of their creation, outputs included."""

    async def outputs(self, execution_id: str, node_ids: Sequence[str]) -> Mapping[str, str]:
        """The outputs (JSON text) of those of the nodes that completed."""

    async def input(self, execution_id: str) -> str:
        """The input (JSON text) of an execution. Raises ExecutionNotFound."""

    async def history(self, execution_id: str, after: int, limit: int) -> History:
        """Events with a number above ``after``, in order, and the status of that moment. Raises ExecutionNotFound."""

    async def feed(self, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        """Wanted events with a position above ``after``, in order; looks at a bounded number, and so may find none."""

    async def newest_position(self) -> int:
        """The position of the newest event there ever was; 0 before the first."""

    async def open_run(self, execution_id: str) -> Optional[OpenRun]:
        """One open execution for taking up; None when it has ended or never was."""

    async def open_runs(self, after: str, limit: int) -> Sequence[OpenRun]:
        """Running executions with an id above ``after``, in the order of their ids."""

    async def queued(self, limit: int) -> Sequence[str]:
        """Ids of pending executions, highest priority first, then oldest first."""

    async def queue_length(self) -> int:
        """How many executions are pending."""

    async def overdue(self, now: Instant, limit: int) -> Sequence[str]:
        """Ids of pending executions whose deadline has passed."""

    async def totals(self) -> ExecutionTotals:
        """Counts over all executions."""

    async def record(self, execution_id: str) -> Record:
        """One execution and its steps without payloads, as they are at one moment. Raises ExecutionNotFound."""

    async def picture(self, spans: Sequence[Bucket], failures: int) -> Picture:
        """What is so of all executions at one moment, with counts for each span and the newest failures."""

    async def sample(self, query: SampleQuery) -> Sample:
        """The newest steps that ended since an instant, and the executions they belong to that have ended too."""

    async def prune(self, ended_before: Instant, now: Instant, limit: int) -> int:
        """Delete up to ``limit`` executions that ended before an instant, and expired keys; how many went."""

    # flows
    async def flow(self, flow_id: str, version: Optional[int] = None) -> FlowVersion:
        """A flow in a version, by default the newest that is not deleted. Raises FlowNotFound.

        A version that is asked for by number is found after the flow's deletion too: history stays readable.
        """

    async def flows(self) -> Sequence[FlowVersion]:
        """The newest version of each flow that is not deleted, by id."""

    async def flow_count(self) -> int:
        """How many flows there are that are not deleted."""

    async def flow_versions(self, flow_id: str) -> Sequence[FlowVersion]:
        """All versions of a flow, newest first. Raises FlowNotFound."""

    async def add_flow_version(self, flow: Flow, now: Instant) -> FlowVersion:
        """Write ``flow`` as the version ``flow.version``. Raises Conflict when that exists already."""

    async def delete_flow(self, flow_id: str, now: Instant) -> None:
        """Take a flow out of use. Raises FlowNotFound."""

    # agents
    def agent_now(self, agent_id: str) -> Optional[Agent]:
        """One agent, answered from memory and so without waiting; None when there is none."""

    def capable_now(self, capability: str) -> Collection[str]:
        """The ids of the agents that have a capability, answered from memory."""

    async def agent(self, agent_id: str) -> Agent:
        """One agent. Raises AgentNotFound."""

    async def agents(self) -> Sequence[Agent]:
        """All agents, by id."""

    async def add_agent(
        self, spec: AgentSpec, now: Instant, source: Source = "direct", proof: Optional[Proof] = None
    ) -> Agent:
        """Register an agent. Raises Conflict when the id is taken, Replayed when the proof was used before."""

    async def replace_agent(
        self, spec: AgentSpec, now: Instant, source: Source = "direct", proof: Optional[Proof] = None
    ) -> Agent:
        """Change an agent's specification; what it reported stays. Raises AgentNotFound, Replayed."""

    async def delete_agent(self, agent_id: str, proof: Optional[Proof] = None) -> None:
        """Forget an agent. Raises AgentNotFound, Replayed."""

    async def use(self, proof: Proof) -> None:
        """Note that a proof was used, with nothing else to write. Raises Replayed."""

    # what agents report, and the tasks they hold
    async def add_report(self, report: Report, ends: Optional[OpenTask] = None, *, is_change: bool = False) -> None:
        """Keep a report, forget the task that ends with it, and tell of the change of state that it is."""

    async def reports(self, query: ReportQuery) -> Sequence[Report]:
        """A page of an agent's reports, newest first by its own clock."""

    async def open_tasks(self) -> Sequence[OpenTask]:
        """All tasks that agents hold."""

    async def close_task(self, task: OpenTask) -> None:
        """Forget a task whose time is over."""

    async def prune_reports(self, received_before: Instant, limit: int) -> int:
        """Delete up to ``limit`` old reports, never an agent's newest; how many went."""

    async def prune_states(self, received_before: Instant, limit: int) -> int:
        """Delete up to ``limit`` old events about changes of agents' states outside tasks; how many went."""

    async def prune_proofs(self, now: Instant, limit: int) -> int:
        """Delete up to ``limit`` used proofs that have expired; how many went."""

    # keys
    async def keys(self) -> Sequence[Key]:
        """All keys there ever were, oldest first."""

    async def key(self, fingerprint: str) -> Optional[Key]:
        """The key with this hash, revoked or not."""

    async def add_key(self, key: Key, fingerprint: str) -> None:
        """Keep a key's record and hash."""

    async def revoke_key(self, key_id: str, now: Instant) -> Key:
        """Revoke a key; again is no error. Raises NotFound."""

    # the log
    async def add_logs(self, entries: Sequence[LogEntry]) -> None:
        """Keep entries whose ids rise above all that there are; what is urgent is written first."""

    async def logs(self, query: LogQuery) -> LogPage:
        """A page of the log."""

    async def last_log(self) -> int:
        """The id of the newest entry; 0 for an empty log."""

    async def prune_logs(self, before: Instant, most: int, limit: int) -> int:
        """Delete up to ``limit`` of the oldest entries: those before an instant, and those beyond the ``most`` newest.

        How many went.
        """

    # itself
    async def probe(self) -> Seconds:
        """Write and commit a little; how long that took in seconds."""


# -- watching the engine --------------------------------------------------------------------------


@attrs.frozen
class Subject:
    """The execution that an observer is told of."""

    execution_id: str
    flow_id: str
    flow_version: int
    trace_id: str
    """32 hex digits, as in W3C Trace Context."""
    caller: Optional[TraceContext] = None
    """The span of whoever started it, where there is one."""
    span: Optional[TraceContext] = None
    """Its own; None as long as it is in a trace of its own, and nobody has decided whether that is recorded."""

    @classmethod
    def of(cls, execution_id: str, flow: Flow, caller: Optional[TraceContext]) -> Subject:
        """The subject that an execution of a flow is."""
        if caller is None:
            return cls(execution_id, flow.flow_id, flow.version, trace_of(execution_id))
        span = TraceContext(caller.trace_id, execution_span(execution_id), caller.flags, caller.state)
        return cls(execution_id, flow.flow_id, flow.version, caller.trace_id, caller, span)

    @property
    def is_sampled(self) -> bool:
        """Whether its spans may be recorded: what the agents are told."""
        return self.span is None or self.span.is_sampled

    def sampled(self, *, is_sampled: bool) -> Subject:
        """The same, now that somebody has decided."""
        flags, state = (0, "") if self.caller is None else (self.caller.flags & ~SAMPLED, self.caller.state)
        flags |= SAMPLED if is_sampled else 0
        span = TraceContext(self.trace_id, execution_span(self.execution_id), flags, state)
        return attrs.evolve(self, span=span)


class Observer(Protocol):
    """Logs, metrics, traces: told what has happened, after it has. It is called on the hot path: it must be quick."""

    def wrote(self, subject: Subject, unit: Unit, seconds: Seconds) -> None:
        """A unit has become durable, that many seconds after it was handed to the store."""

    def called(self, call: Call, reply: Optional[Reply], seconds: Seconds) -> None:
        """A call took that many seconds, and came back with a reply; None when it was dropped."""


class Tracer(Protocol):
    """Makes spans of what it observes; without one there are none, and callers' wishes are passed on as they came."""

    def keeps(self, subject: Subject) -> bool:
        """Whether the spans of an execution that begins, or goes on, are to be recorded."""

    def resumed(self, subject: Subject, events: Sequence[Event]) -> None:
        """An execution goes on after a restart; these are its last events: what was told of them may be lost."""

    def answered(self, request: Served) -> None:
        """A request has been answered."""


@attrs.frozen
class Served:
    """A request that has been answered. It has no query and no body: those may hold what nobody else may see."""

    method: str
    route: Optional[str]
    """The pattern that fits the path, where one does."""
    path: str
    scheme: str
    host: Optional[str]
    status: int
    began_at: Instant
    seconds: Seconds
    trace_id: str
    caller: Optional[TraceContext] = None
    """The span of whoever sent it, where there is one."""
    started: Optional[NewExecution] = None
    """The execution that it has started."""


class StoreObserver(Protocol):
    """Told what the store does, on the hot path."""

    def committed(self, units: int, seconds: Seconds) -> None:
        """So many units were written in one transaction, which took that many seconds."""

    def refused(self, reason: Refusal) -> None:
        """A unit was not written."""

    def read(self, seconds: Seconds) -> None:
        """An answer was read, that many seconds after it was asked for."""


# -- telling who asks from outside ------------------------------------------------------------------


@attrs.frozen
class Page:
    """Metrics as they go over the wire."""

    body: bytes
    content_type: str


class WebMetrics(Protocol):
    """Metrics, as the web server sees them."""

    def answered(self, method: str, route: Optional[str], status: int, seconds: Optional[Seconds]) -> None:
        """A request was answered.

        Args:
            method: As the request has it.
            route: The path's pattern; None where nothing is at the path.
            status: The answer's.
            seconds: How long that took; None where it says nothing, as for a stream.
        """

    async def scrape(self, accept: str, streams: int) -> Page:
        """All metrics, in the format that an Accept header prefers; ``streams`` are open."""


# -- the log --------------------------------------------------------------------------------------


class LogFeed(Protocol):
    """Whoever keeps the log, as those who read it see it."""

    def listening(self, on_change: Callable[[], object]) -> ContextManager[None]:
        """Have ``on_change`` called after entries were written, within the block. It must be quick."""

    def newest(self, query: LogQuery) -> Optional[LogPage]:
        """A page of what follows ``query.after``, from memory; None where memory does not reach back so far."""

    async def settle(self) -> None:
        """Return when all that was logged before can be read."""


# -- running executions ---------------------------------------------------------------------------


class Follower(Protocol):
    """A reader of the feed, and its place in it."""

    @property
    def passed(self) -> int:
        """Where to resume: all wanted events up to this position were read."""

    async def read(self, limit: int) -> FeedPage:
        """The next wanted events; none before it is told that there are some. Raises StoreError."""


class Runs(Protocol):
    """The engine, as operations see it."""

    async def start(self, execution: NewExecution, flow: Flow, idempotency: Optional[Idempotency]) -> None:
        """Accept an execution: durable when this returns, and running or queued.

        Raises:
            Overloaded: Too many executions wait already.
            Unavailable: The server is stopping.
            Stale: The idempotency key is in use (read it back).
        """

    async def cancel(self, execution_id: str, reason: Optional[str]) -> Execution:
        """End an execution; no call leaves for it once this returns.

        Raises:
            ExecutionNotFound: Nothing has this id.
            Conflict: It completed or failed before.
        """

    async def wait(self, execution_id: str, timeout: Seconds) -> None:
        """Return when the execution has ended, after the time, or when the server stops."""

    def listening(self, execution_id: str, on_change: Callable[[], object]) -> ContextManager[None]:
        """Have ``on_change`` called after each commit about an execution, within the block. It must be quick."""

    def following(self, wanted: EventFilter, after: int, on_news: Callable[[], object]) -> ContextManager[Follower]:
        """Follow the feed within the block: ``on_news`` is called when wanted events can be read. It must be quick."""

    async def report(self, agent_id: str, state: AgentState, reported_at: Instant, details: str) -> Report:
        """Take what an agent says of its state; durable, with all that follows from it, when this returns.

        Raises:
            Unavailable: What follows could not be recorded now.
        """

    async def conclude(self, task: OpenTask, outcome: Outcome) -> None:
        """End an agent's open task; durable when this returns.

        Raises:
            Stale: It has ended another way meanwhile.
            Unavailable: It could not be recorded now.
        """

    def find_tasks(self, execution_id: str, node_id: str) -> Sequence[OpenTask]:
        """The open tasks of a node: of one execution, or of all where that is empty."""

    def observed(self, agent_id: str) -> Observed:
        """What was seen of an agent."""

    def agent_changed(self, agent_id: str) -> None:
        """An agent was registered, changed or forgotten: look at it anew."""

    def carries(self, execution_id: str) -> bool:
        """Whether a running execution is in the engine's care, and not about to be taken up from its record."""

    def gauges(self) -> Mapping[str, float]:
        """What the engine holds now: open runs, calls in flight, waiting calls, queued executions."""

    async def survey(self) -> Survey:
        """All that the engine holds in memory, looked at a little at a time."""

    @property
    def accepting(self) -> bool:
        """Whether new executions are taken."""
