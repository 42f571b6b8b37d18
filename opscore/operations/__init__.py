"""What anyone may ask of Ops-Core: use cases, one unit of work each."""

from __future__ import annotations

import attrs

from opscore.operations.agents import Agents
from opscore.operations.executions import Executions
from opscore.operations.flows import Flows
from opscore.operations.keys import Keys
from opscore.operations.overview import Overview

__all__ = ["Agents", "Executions", "Flows", "Keys", "Operations", "Overview"]


@attrs.frozen
class Operations:
    """All use cases, by what they are about."""

    agents: Agents
    executions: Executions
    flows: Flows
    keys: Keys
    overview: Overview
