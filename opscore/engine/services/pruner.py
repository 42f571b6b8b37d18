"""The pruner: history is bounded; what ended longer ago than the retention goes."""

from __future__ import annotations

import logging

from opscore.domain.errors import StoreError
from opscore.domain.instants import SECOND, Seconds
from opscore.domain.ports import Clock, Store
from opscore.engine.clock import pause

log = logging.getLogger(__name__)

_ROUND = 1000


class Pruner:
    """Deletes old executions and reports, a round at a time."""

    def __init__(
        self, store: Store, clock: Clock, retention: Seconds, report_retention: Seconds, interval: Seconds
    ) -> None:
        """Take what it works with.

        Args:
            store: Where history is.
            clock: For its age.
            retention: Seconds that ended executions are kept; 0 keeps them for ever.
            report_retention: The same for reports of agents; the newest of each is kept always.
            interval: Seconds between two rounds.
        """
        self._store = store
        self._clock = clock
        self._retention = retention
        self._report_retention = report_retention
        self._interval = interval

    async def serve(self) -> None:
        """Prune at once, and again after every interval."""
        while self._retention or self._report_retention:
            try:
                if self._retention:
                    await self.prune()
                if self._report_retention:
                    await self.prune_reports()
            except StoreError as error:
                log.warning("pruner.store_failed", extra={"reason": str(error)})
            await pause(self._clock, self._interval)

    async def prune(self) -> int:
        """Delete all that is old enough; how many executions went."""
        now = self._clock.now()
        gone = 0
        while True:
            pruned = await self._store.prune(now - int(self._retention * SECOND), now, _ROUND)
            gone += pruned
            if pruned < _ROUND:
                break
        if gone:
            log.info("pruner.pruned", extra={"executions": gone})
        return gone

    async def prune_reports(self) -> int:
        """Delete all reports that are old enough; how many went."""
        now = self._clock.now()
        gone = 0
        while True:
            pruned = await self._store.prune_reports(now - int(self._report_retention * SECOND), now, _ROUND)
            gone += pruned
            if pruned < _ROUND:
                break
        if gone:
            log.info("pruner.pruned", extra={"reports": gone})
        return gone
