"""What the server answers, as values: dictionaries that cannot be changed, whose known keys are typed attributes too.

``execution["status"]`` and ``execution.status`` are the same. A model is the dictionary that came over the wire, so
everything that takes a dictionary takes it (``json.dumps``, ``orjson.dumps``, ``**``, ``==``); what the server adds
later is there under its name; a known field that this server does not send is None. Nested models are made when asked
for, so an answer that nobody looks into costs nothing.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NoReturn,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

from opscore_sdk.checks import FINAL
from opscore_sdk.errors import ExecutionError

M = TypeVar("M", bound="Model")
Json = Dict[str, Any]


class Model(Dict[str, Any]):
    """A dictionary that cannot be changed; ``dict(model)`` makes one that can."""

    __slots__ = ()
    _names: ClassVar[FrozenSet[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Note which fields there are, so that a missing one is None and a misspelt one an error."""
        own = (name for name in getattr(cls, "__annotations__", {}) if not name.startswith("_"))
        cls._names = cls._names | frozenset(own)

    if not TYPE_CHECKING:  # type checkers know the fields by their annotations, and nothing else

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                if name in self._names:
                    return None
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self)}.")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(self._frozen())

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._frozen())

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError(self._frozen())

    def __delitem__(self, key: str) -> NoReturn:
        raise TypeError(self._frozen())

    def __ior__(self, other: Any) -> NoReturn:  # type: ignore[misc]  # it refuses whatever comes
        raise TypeError(self._frozen())

    def clear(self) -> NoReturn:
        """Refused.

        Raises:
            TypeError: Always; so do the other methods that would change it.
        """
        raise TypeError(self._frozen())

    def pop(self, *_: Any) -> NoReturn:
        """Refused."""
        raise TypeError(self._frozen())

    def popitem(self) -> NoReturn:
        """Refused."""
        raise TypeError(self._frozen())

    def setdefault(self, *_: Any) -> NoReturn:
        """Refused."""
        raise TypeError(self._frozen())

    def update(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise TypeError(self._frozen())

    def _frozen(self) -> str:
        return f"{type(self).__name__} cannot be changed; dict(...) makes a copy that can."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"

    def __reduce__(self) -> Tuple[Any, ...]:
        """Pickled and deeply copied as the dictionary that it is."""
        return type(self), (dict(self),)

    def __reduce_ex__(self, protocol: Any) -> Tuple[Any, ...]:
        return self.__reduce__()

    def __dir__(self) -> List[str]:
        return sorted({*super().__dir__(), *self._names, *filter(str.isidentifier, self)})

    def _many(self, name: str, kind: Type[M]) -> List[M]:
        return [kind(one) for one in self.get(name) or ()]

    def _one(self, name: str, kind: Type[M]) -> Optional[M]:
        found = self.get(name)
        return None if found is None else kind(found)


class Waiting(Model):
    """What a step waits for."""

    __slots__ = ()
    node_id: str
    agent_id: Optional[str]
    reason: str
    message: Optional[str]
    error_code: Optional[str]
    since: str
    until: Optional[str]


class Execution(Model):
    """An execution of a flow, as it stood when the server answered."""

    __slots__ = ()
    execution_id: str
    flow_id: str
    flow_version: int
    status: str
    input_data: Optional[Json]
    output_data: Optional[Json]
    error_message: Optional[str]
    error_code: Optional[str]
    metadata: Json
    priority: int
    user_id: Optional[str]
    agent_id: Optional[str]
    attempts: int
    failures: int
    created_at: str
    started_at: Optional[str]
    updated_at: Optional[str]
    completed_at: Optional[str]
    execution_time: Optional[float]
    trace_id: Optional[str]
    """The trace (W3C Trace Context) that it and the calls to its agents belong to."""
    truncated: Optional[List[str]]
    result: Optional[Json]
    """The output, in the answer to a start only."""
    error: Optional[str]
    """The error's text, in the answer to a start only."""

    @property
    def waiting(self) -> List[Waiting]:
        """What its steps wait for."""
        return self._many("waiting", Waiting)

    @property
    def is_final(self) -> bool:
        """Whether it has ended, however."""
        return self.get("status") in FINAL

    @property
    def is_successful(self) -> bool:
        """Whether it completed."""
        return self.get("status") == "completed"

    def raise_for_status(self) -> Execution:
        """Itself, unless it failed or was cancelled.

        Raises:
            ExecutionError: It did; the error has this execution.
        """
        status = self.get("status")
        if status in ("failed", "cancelled"):
            reason = self.error_message or self.error or "without a reason"
            raise ExecutionError(f"Execution {self.execution_id} {_ENDED[status]}: {reason}", execution=self)
        return self


_ENDED = {"failed": "failed", "cancelled": "was cancelled"}


class ExecutionPage(Model):
    """A page of executions, newest first."""

    __slots__ = ()
    count: int
    limit: int
    offset: int
    next_cursor: Optional[str]

    @property
    def executions(self) -> List[Execution]:
        """Those of this page."""
        return self._many("executions", Execution)


class Timing(Model):
    """Where a node's time went, in milliseconds; None where it is not known."""

    __slots__ = ()
    queue_ms: Optional[float]
    call_ms: Optional[float]
    commit_ms: Optional[float]


class NodeResult(Model):
    """What a node was given and what it gave."""

    __slots__ = ()
    id: str
    execution_id: str
    node_id: str
    agent_id: Optional[str]
    status: str
    attempt: int
    input_data: Optional[Json]
    output_data: Optional[Json]
    error_message: Optional[str]
    error_code: Optional[str]
    execution_time_ms: Optional[float]
    created_at: Optional[str]
    started_at: Optional[str]
    completed_at: Optional[str]

    @property
    def timing(self) -> Optional[Timing]:
        """Where the time of its last attempt went."""
        return self._one("timing", Timing)


class ExecutionResults(Model):
    """An execution and the results of its nodes."""

    __slots__ = ()
    execution_id: str
    count: int

    @property
    def execution(self) -> Execution:
        """The execution."""
        return Execution(self["execution"])

    @property
    def node_results(self) -> List[NodeResult]:
        """The results of its nodes."""
        return self._many("node_results", NodeResult)


class Message(Model):
    """What travelled along an edge of a flow."""

    __slots__ = ()
    message_id: str
    execution_id: str
    from_agent: str
    to_agent: str
    payload: Any
    timestamp: Optional[str]


class MessageList(Model):
    """All that travelled in an execution."""

    __slots__ = ()
    execution_id: str
    count: int

    @property
    def messages(self) -> List[Message]:
        """The messages."""
        return self._many("messages", Message)


class Event(Model):
    """Something that happened to an execution."""

    __slots__ = ()
    seq: int
    execution_id: str
    type: str
    node_id: Optional[str]
    agent_id: Optional[str]
    attempt: Optional[int]
    at: str
    data: Json

    @property
    def is_terminal(self) -> bool:
        """Whether the execution ended with it."""
        return self.get("type") in TERMINAL_EVENTS


TERMINAL_EVENTS = frozenset(f"execution.{status}" for status in FINAL)


class EventPage(Model):
    """Events of an execution above a number."""

    __slots__ = ()
    next_after: int

    @property
    def events(self) -> List[Event]:
        """The events, in order."""
        return self._many("events", Event)


class Cancelled(Model):
    """The answer to a cancellation."""

    __slots__ = ()
    message: str
    execution_id: str
    status: str


class Refused(Model):
    """An execution that could not be cancelled, and why."""

    __slots__ = ()
    execution_id: str
    error_code: str
    message: str


class CancelledMany(Model):
    """The answer to a cancellation of many."""

    __slots__ = ()
    cancelled: List[str]

    @property
    def refused(self) -> List[Refused]:
        """Those that could not be cancelled."""
        return self._many("refused", Refused)


class Flow(Model):
    """A flow's definition as it was given, and what the server adds."""

    __slots__ = ()
    flow_id: str
    name: Optional[str]
    description: Optional[str]
    version: Optional[str]
    nodes: List[Json]
    entry_point: Optional[str]
    exit_points: Optional[List[str]]
    flow_version: int
    created_at: str
    updated_at: str


class FlowList(Model):
    """Flows, each in its newest version."""

    __slots__ = ()
    count: int

    @property
    def flows(self) -> List[Flow]:
        """The flows."""
        return self._many("flows", Flow)


class FlowVersions(Model):
    """All versions of a flow, newest first."""

    __slots__ = ()
    flow_id: str
    count: int

    @property
    def versions(self) -> List[Flow]:
        """The versions."""
        return self._many("versions", Flow)


class Finding(Model):
    """Something about a definition."""

    __slots__ = ()
    place: str
    message: str


class FlowReport(Model):
    """What checking a definition found."""

    __slots__ = ()
    valid: bool

    @property
    def errors(self) -> List[Finding]:
        """Why it cannot run."""
        return self._many("errors", Finding)

    @property
    def warnings(self) -> List[Finding]:
        """What is odd about it."""
        return self._many("warnings", Finding)


class AgentHealth(Model):
    """What probing an agent showed."""

    __slots__ = ()
    status: str
    message: Optional[str]
    checked_at: Optional[str]
    latency_ms: Optional[float]


class AgentInfo(Model):
    """An agent as the server knows it."""

    __slots__ = ()
    agent_id: str
    name: str
    description: str
    endpoint: Optional[str]
    protocol: str
    capabilities: List[str]
    agent_type: str
    version: Optional[str]
    is_active: bool
    status: str
    condition: Optional[str]
    """How it does, in one word: what was seen of it leads, what it reports follows."""
    state: str
    state_details: Json
    state_timestamp: Optional[str]
    last_seen: Optional[str]
    breaker: Optional[Json]
    task_id: Optional[str]
    max_concurrency: Optional[int]
    in_flight: int
    source: Optional[str]
    metadata: Json
    created_at: str
    updated_at: str

    @property
    def health(self) -> Optional[AgentHealth]:
        """What probing it showed."""
        return self._one("health", AgentHealth)


class AgentList(Model):
    """Agents, by id."""

    __slots__ = ()
    count: int

    @property
    def agents(self) -> List[AgentInfo]:
        """The agents."""
        return self._many("agents", AgentInfo)


class StateReport(Model):
    """What an agent once said of its state."""

    __slots__ = ()
    state: str
    details: Json
    timestamp: str
    received_at: str


class AgentHistory(Model):
    """What an agent said of its state, newest first."""

    __slots__ = ()
    agent_id: str
    count: int
    limit: int
    next_cursor: Optional[str]

    @property
    def history(self) -> List[StateReport]:
        """The reports."""
        return self._many("history", StateReport)


class AgentTest(Model):
    """What trying an endpoint showed."""

    __slots__ = ()
    connected: bool
    message: str
    latency_ms: Optional[float]


class _Camel(Model):
    """A model whose names on the wire are camelCase: snake_case attributes lead to them as well."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            head, *rest = name.split("_")
            camel = head + "".join(word.title() for word in rest)
            return self[camel] if camel in self else super().__getattr__(name)


class AgentState(_Camel):
    """An agent's present state."""

    __slots__ = ()
    agent_id: str
    agentId: str  # noqa: N815 - the wire's name
    state: str
    details: Optional[Json]
    timestamp: str


class Accepted(_Camel):
    """The server took something in."""

    __slots__ = ()
    status: str
    message: str


class WorkflowStarted(_Camel):
    """A session that was started."""

    __slots__ = ()
    session_id: str
    sessionId: str  # noqa: N815 - the wire's name
    workflow_id: str
    workflowId: str  # noqa: N815 - the wire's name
    message: str


class SessionTask(_Camel):
    """A task of a session."""

    __slots__ = ()
    task_id: str
    opscore_task_id: str
    name: str
    agent_id: Optional[str]
    agent_capability: Optional[str]
    status: str
    attempt: int
    output: Optional[Any]
    error: Optional[str]
    error_code: Optional[str]
    waiting_for: Optional[str]
    waiting_detail: Optional[str]
    start_time: Optional[str]
    end_time: Optional[str]


class Session(_Camel):
    """A run of a workflow: an execution by another name, with the same id."""

    __slots__ = ()
    session_id: str
    sessionId: str  # noqa: N815 - the wire's name
    workflow_id: str
    workflowId: str  # noqa: N815 - the wire's name
    agent_id: Optional[str]
    status: str
    start_time: str
    last_updated_time: Optional[str]
    end_time: Optional[str]
    metadata: Json
    result: Optional[Json]
    error: Optional[str]
    error_code: Optional[str]

    @property
    def tasks(self) -> List[SessionTask]:
        """Its tasks."""
        return self._many("tasks", SessionTask)

    @property
    def is_final(self) -> bool:
        """Whether it has ended, however."""
        return self.get("status") in FINAL


class ApiKey(Model):
    """An API key's record."""

    __slots__ = ()
    key_id: str
    name: str
    scopes: List[str]
    hint: str
    created_at: str
    revoked_at: Optional[str]
    key: Optional[str]
    """The key itself, in the answer that made it and never again."""


class ApiKeyList(Model):
    """All keys there ever were."""

    __slots__ = ()
    count: int

    @property
    def keys_(self) -> List[ApiKey]:
        """The keys; ``["keys"]`` has them as dictionaries (``keys()`` is a dictionary's own method)."""
        return self._many("keys", ApiKey)


class Health(Model):
    """Whether the server is there."""

    __slots__ = ()
    status: str
    version: str


class ServerStatus(Model):
    """The server at a glance."""

    __slots__ = ()
    status: str
    components: Json
    agents: Mapping[str, int]
    flows: Mapping[str, int]
    executions: Mapping[str, int]
    version: str
    uptime_seconds: float


class Metrics(Model):
    """Counts and times over all executions."""

    __slots__ = ()
    total_executions: int
    successful_executions: int
    failed_executions: int
    cancelled_executions: int
    running_executions: int
    average_execution_time: float
    total_execution_time: float
    last_execution: Optional[str]
