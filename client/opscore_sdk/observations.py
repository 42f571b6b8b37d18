"""What the server answers about what happens on it: events of all executions, log entries, figures, explanations."""

from __future__ import annotations

from typing import List, Mapping, Optional

from opscore_sdk.models import Json, Model


class FeedEvent(Model):
    """Something that happened, to an execution or to an agent outside of any."""

    __slots__ = ()
    position: int
    """Its number among all events."""
    seq: Optional[int]
    """Its number in its execution's history."""
    execution_id: Optional[str]
    flow_id: Optional[str]
    type: str
    node_id: Optional[str]
    agent_id: Optional[str]
    attempt: Optional[int]
    at: str
    data: Json


class FeedPage(Model):
    """Events of all executions above a number."""

    __slots__ = ()
    next_after: int
    pruned: Optional[Json]
    """What was asked for and is gone; None when nothing is."""

    @property
    def events(self) -> List[FeedEvent]:
        """The events, in order."""
        return self._many("events", FeedEvent)


class LogEntry(Model):
    """Something that the server noted."""

    __slots__ = ()
    log_id: int
    timestamp: str
    level: str
    event: Optional[str]
    message: str
    logger: Optional[str]
    execution_id: Optional[str]
    flow_id: Optional[str]
    node_id: Optional[str]
    agent_id: Optional[str]
    attempt: Optional[int]
    request_id: Optional[str]
    trace_id: Optional[str]
    error_code: Optional[str]
    duration_ms: Optional[float]
    fields: Json


class LogPage(Model):
    """A page of log entries, newest first."""

    __slots__ = ()
    count: int
    limit: int
    next_cursor: Optional[str]

    @property
    def logs(self) -> List[LogEntry]:
        """Those of this page."""
        return self._many("logs", LogEntry)


class Moment(Model):
    """What was done in a stretch of time."""

    __slots__ = ()
    at: str
    seconds: float
    started: int
    completed: int
    failed: int
    cancelled: int


class WaitingFor(Model):
    """How many steps wait for one reason."""

    __slots__ = ()
    reason: str
    count: int
    oldest_since: Optional[str]


class Attention(Model):
    """Something that somebody should look at."""

    __slots__ = ()
    kind: str
    severity: str
    text: str
    since: Optional[str]
    execution_id: Optional[str]
    agent_id: Optional[str]
    flow_id: Optional[str]


class Failure(Model):
    """An execution that failed lately."""

    __slots__ = ()
    execution_id: str
    flow_id: str
    error_code: Optional[str]
    error_message: Optional[str]
    completed_at: str


class Overview(Model):
    """What is going on: open executions, throughput, what waits, the agents, and what needs attention."""

    __slots__ = ()
    generated_at: str
    window_seconds: float
    executions: Mapping[str, Mapping[str, int]]
    queued: Json
    agents: Json
    calls: Mapping[str, int]

    @property
    def throughput(self) -> List[Moment]:
        """What was done, in equal stretches of the window, oldest first."""
        return self._many("throughput", Moment)

    @property
    def waiting(self) -> List[WaitingFor]:
        """What steps wait for."""
        return self._many("waiting", WaitingFor)

    @property
    def attention(self) -> List[Attention]:
        """What somebody should look at."""
        return self._many("attention", Attention)

    @property
    def recent_failures(self) -> List[Failure]:
        """What failed lately, newest first."""
        return self._many("recent_failures", Failure)


class Cause(Model):
    """One reason why an execution stands where it stands."""

    __slots__ = ()
    what: str
    node_id: Optional[str]
    agent_id: Optional[str]
    since: Optional[str]
    until: Optional[str]
    attempt: Optional[int]
    error_code: Optional[str]
    text: str
    would_move: Optional[str]


class Explanation(Model):
    """Why an execution stands where it stands, and what would move it."""

    __slots__ = ()
    execution_id: str
    flow_id: str
    status: str
    summary: str

    @property
    def causes(self) -> List[Cause]:
        """The reasons."""
        return self._many("causes", Cause)


class Spread(Model):
    """How times are distributed, in milliseconds."""

    __slots__ = ()
    p50: Optional[float]
    p95: Optional[float]
    p99: Optional[float]
    max: Optional[float]
    mean: Optional[float]


class PerformanceRow(Model):
    """How fast an agent, a flow or a node is."""

    __slots__ = ()
    agent_id: Optional[str]
    flow_id: Optional[str]
    node_id: Optional[str]
    count: int
    failures: int
    retries: int

    @property
    def queue_ms(self) -> Optional[Spread]:
        """Time between being ready and the call."""
        return self._one("queue_ms", Spread)

    @property
    def call_ms(self) -> Optional[Spread]:
        """Time of the call."""
        return self._one("call_ms", Spread)

    @property
    def commit_ms(self) -> Optional[Spread]:
        """Time until the result was durable."""
        return self._one("commit_ms", Spread)

    @property
    def execution_ms(self) -> Optional[Spread]:
        """Time of whole executions; of flows only."""
        return self._one("execution_ms", Spread)


class Performance(Model):
    """How fast agents, flows or nodes are, from what ended in a stretch of time."""

    __slots__ = ()
    by: str
    window_seconds: float
    sampled: int
    """Of how many steps the figures are."""
    truncated: bool
    """Whether there were more, and only the newest were looked at."""
    count: int

    @property
    def rows(self) -> List[PerformanceRow]:
        """One for each agent, flow or node."""
        return self._many("rows", PerformanceRow)


class GraphNode(Model):
    """A node of a flow."""

    __slots__ = ()
    id: str
    name: Optional[str]
    type: str
    agent_id: Optional[str]
    capability: Optional[str]
    timeout: Optional[float]


class FlowGraph(Model):
    """A flow or workflow as nodes and edges."""

    __slots__ = ()
    flow_id: str
    flow_version: int
    kind: str
    edges: List[Json]
    entries: List[str]
    exits: List[str]
    input_schema: Optional[Json]

    @property
    def nodes(self) -> List[GraphNode]:
        """The nodes."""
        return self._many("nodes", GraphNode)


class Identity(Model):
    """Who the server takes the caller for."""

    __slots__ = ()
    key_required: bool
    authenticated: bool
    key_id: Optional[str]
    name: Optional[str]
    scopes: List[str]
