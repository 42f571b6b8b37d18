"""Flows: declarative graphs of nodes, as they are once their definitions were read and checked."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attrs

from opscore.domain.instants import Seconds
from opscore.domain.retries import RetryPolicy

KINDS = ("flow", "workflow")
NODE_TYPES = ("input", "processor", "output", "conditional")
MAX_NODES = 1_000
MAX_ATTEMPTS = 100
LONGEST: Seconds = 366 * 86_400.0
"""No time in a flow may be longer than a year."""

LONGEST_CAPABILITY = 200
"""Characters."""

PRIORITIES = range(11)


@attrs.frozen
class OnError:
    """What follows when a node has failed for good; without any of it the execution fails."""

    goes_on: bool = False
    output: Optional[Mapping[str, Any]] = attrs.field(default=None, hash=False)
    """Taken instead of the node's."""
    agent_id: Optional[str] = None
    """Another agent that tries, with retries of its own."""


@attrs.frozen
class Node:
    """One step of a flow. A node with neither agent nor capability passes data on, or is its session's agent's."""

    id: str
    type: str
    name: str
    agent_id: Optional[str]
    capability: Optional[str]
    depends_on: tuple[str, ...]
    config: Mapping[str, Any] = attrs.field(hash=False)
    timeout: Optional[Seconds]
    retry: RetryPolicy
    on_error: OnError
    is_exit: bool


@attrs.frozen
class Flow:
    """A checked flow. ``version`` is the server's number; ``definition`` what its author wrote.

    A flow of the kind ``workflow`` came from the Ops-Core dialect: tasks in a row, each given its own parameters, and
    those that name neither an agent nor a capability are done by the agent that the session was triggered for.
    """

    flow_id: str
    version: int
    kind: str
    name: str
    nodes: Mapping[str, Node] = attrs.field(hash=False, repr=False)
    followers: Mapping[str, tuple[str, ...]] = attrs.field(hash=False, repr=False)
    roots: tuple[str, ...]
    exits: tuple[str, ...]
    timeout: Optional[Seconds]
    priority: int
    definition: Mapping[str, Any] = attrs.field(hash=False, repr=False)


@attrs.frozen
class FlowVersion:
    """A stored version of a flow with its instants (microseconds)."""

    flow: Flow
    created_at: int
    """When the flow was first stored."""
    updated_at: int
    """When this version was stored."""


@attrs.frozen
class Finding:
    """Something wrong with a definition: where (``nodes[3].depends_on``) and what."""

    place: str
    text: str


@attrs.frozen
class Report:
    """What a check of a definition found. ``flow`` is there when there are no errors."""

    flow: Optional[Flow]
    errors: Sequence[Finding]
    warnings: Sequence[Finding]
