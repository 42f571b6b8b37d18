"""Calls to agents, and what comes of them: plain values, whatever the protocol."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

import attrs

from opscore.domain.agents import Agent
from opscore.domain.instants import Seconds
from opscore.domain.tracing import TraceContext, attempt_span, to_parent, trace_of


@attrs.frozen
class Call:
    """One attempt to have an agent do one step."""

    execution_id: str
    node_id: str
    attempt: int
    agent: Agent
    input: Mapping[str, Any] = attrs.field(hash=False)
    config: Mapping[str, Any] = attrs.field(hash=False)
    flow_id: str = ""
    name: str = ""
    """What people call the step; its id where it has no name."""
    payload: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    """Input and configuration in one, for agents that know no difference."""
    trace: Optional[TraceContext] = None
    """The execution's span; None where it is in a trace of its own, and nobody asks further."""

    @property
    def idempotency_key(self) -> str:
        """The same for every repeat of this step, also after a crash."""
        return f"{self.execution_id}:{self.node_id}"

    @property
    def trace_headers(self) -> dict[str, str]:
        """What tells the agent which trace and span called it (W3C Trace Context)."""
        span_id = attempt_span(self.execution_id, self.node_id, self.attempt)
        if self.trace is None:
            return {"traceparent": to_parent(trace_of(self.execution_id), span_id)}
        headers = {"traceparent": to_parent(self.trace.trace_id, span_id, self.trace.flags)}
        if self.trace.state:
            headers["tracestate"] = self.trace.state
        return headers


@attrs.frozen
class Answered:
    """The agent did it. The output is plain data as ``decode_json`` returns it."""

    output: Mapping[str, Any] = attrs.field(hash=False)


@attrs.frozen
class Refused:
    """The agent did not do it, or said nothing that could be understood."""

    error_code: str
    error_message: str
    retryable: bool
    retry_after: Optional[Seconds] = None


@attrs.frozen
class Deferred:
    """The agent has taken it and will answer later."""


@attrs.frozen
class Postponed:
    """It could not be handed over, for no fault of the agent's: nothing was tried yet, so nothing failed."""

    error_code: str
    error_message: str
    retry_after: Optional[Seconds] = None
    is_certain: bool = False
    """Whether it surely did not arrive."""


Outcome = Union[Answered, Refused]
"""What a step's attempt came to in the end."""
Reply = Union[Answered, Refused, Deferred, Postponed]
"""What a call came back with."""


@attrs.frozen
class Probe:
    """What asking an agent for its health showed."""

    connected: bool
    """Whether it is there and well."""
    message: str
    latency_ms: Optional[float] = None
    is_reachable: bool = True
    """Whether anything answered at all."""
    has_health: bool = True
    """Whether it has something to ask for its health."""
