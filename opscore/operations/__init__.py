"""What anyone may ask of Ops-Core: use cases, one unit of work each."""

from __future__ import annotations

import attrs

from opscore.operations.agents import Agents
from opscore.operations.events import Events
from opscore.operations.executions import Executions
from opscore.operations.flows import Flows
from opscore.operations.insight import Insight
from opscore.operations.keys import Keys
from opscore.operations.logs import Logs
from opscore.operations.overview import Overview
from opscore.operations.sessions import Sessions
from opscore.operations.webhook import Webhook

__all__ = [
    "Agents",
    "Events",
    "Executions",
    "Flows",
    "Insight",
    "Keys",
    "Logs",
    "Operations",
    "Overview",
    "Sessions",
    "Webhook",
]


@attrs.frozen
class Operations:
    """All use cases, by what they are about."""

    agents: Agents
    events: Events
    executions: Executions
    flows: Flows
    insight: Insight
    keys: Keys
    logs: Logs
    overview: Overview
    sessions: Sessions
    webhook: Webhook
