"""Agents: who does the work, how to reach them, and in what state they are."""

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
class Agent:
    """A registered agent: its specification and what was observed of it."""

    spec: AgentSpec
    created_at: Instant
    updated_at: Instant
    state: AgentState = "unknown"
    state_details: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    last_seen: Optional[Instant] = None

    @property
    def status(self) -> Literal["active", "inactive", "error"]:
        """The coarse word of the AI Spine clients."""
        if not self.spec.is_active:
            return "inactive"
        return "error" if self.state in ("error", "offline") else "active"
