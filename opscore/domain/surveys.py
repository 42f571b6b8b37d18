"""Surveys: what is going on at this moment, as plain values for whoever counts or shows it."""

from __future__ import annotations

from typing import Mapping, Sequence

import attrs

from opscore.domain.agents import AgentView
from opscore.domain.executions import WaitReason
from opscore.domain.instants import Instant


@attrs.frozen
class Wait:
    """Nodes that wait for one reason, and since when the first of them does."""

    count: int
    oldest_since: Instant


@attrs.frozen
class Survey:
    """What the engine holds in memory."""

    gauges: Mapping[str, float] = attrs.field(hash=False)
    """Open runs, calls in flight, waiting calls, queued executions."""
    waiting: Mapping[WaitReason, Wait] = attrs.field(hash=False)
    """By reason; a reason that nobody waits for is not there."""
    agents: Sequence[AgentView] = ()
