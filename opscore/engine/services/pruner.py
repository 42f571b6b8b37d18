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
    """Deletes old executions, a round at a time."""

    def __init__(self, store: Store, clock: Clock, retention: Seconds, interval: Seconds) -> None:
        """Take what it works with.

        Args:
            store: Where history is.
            clock: For its age.
            retention: Seconds that ended executions are kept; 0 keeps them for ever.
            interval: Seconds between two rounds.
        """
        self._store = store
        self._clock = clock
        self._retention = retention
        self._interval = interval

    async def serve(self) -> None:
        """Prune at once, and again after every interval."""
        while self._retention:
            try:
                await self.prune()
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
