"""Running executions: asyncio over the domain's ports."""

from opscore.engine.clock import SystemClock
from opscore.engine.engine import Engine, Limits, open_engine
from opscore.engine.fleet import FleetLimits
from opscore.engine.services.prober import Probing

__all__ = ["Engine", "FleetLimits", "Limits", "Probing", "SystemClock", "open_engine"]
