"""Use cases about the server itself: is it well, what has it done."""

from __future__ import annotations

import attrs

from opscore.domain.errors import StoreError
from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import Clock, ExecutionTotals, Runs, Store


@attrs.frozen
class Status:
    """The server at a glance."""

    is_operational: bool
    components: dict[str, str]
    agents_total: int
    agents_active: int
    flows_total: int
    totals: ExecutionTotals
    gauges: dict[str, float]
    uptime: Seconds


class Overview:
    """Health, status and totals."""

    def __init__(self, store: Store, runs: Runs, clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._started = clock.monotonic()

    @property
    def uptime(self) -> Seconds:
        """Seconds since the start."""
        return self._clock.monotonic() - self._started

    @property
    def now(self) -> Instant:
        """The server's wall clock."""
        return self._clock.now()

    async def is_ready(self) -> bool:
        """Whether work would be accepted now: the store takes writes, and the server is not stopping."""
        return self._runs.accepting and await self._store_works()

    async def status(self) -> Status:
        """The server at a glance."""
        agents = await self._store.agents()
        works = await self._store_works()
        components = {
            "store": "operational" if works else "down",
            "engine": "operational" if self._runs.accepting else "stopping",
        }
        return Status(
            is_operational=works and self._runs.accepting,
            components=components,
            agents_total=len(agents),
            agents_active=sum(agent.spec.is_active for agent in agents),
            flows_total=await self._store.flow_count(),
            totals=await self._store.totals(),
            gauges=dict(self._runs.gauges()),
            uptime=self.uptime,
        )

    async def totals(self) -> ExecutionTotals:
        """Counts over all executions."""
        return await self._store.totals()

    async def _store_works(self) -> bool:
        try:
            await self._store.probe()
        except StoreError:
            return False
        return True
