"""Running executions: asyncio over the domain's ports."""

from opscore.engine.clock import SystemClock
from opscore.engine.engine import Engine, Limits, open_engine

__all__ = ["Engine", "Limits", "SystemClock", "open_engine"]
