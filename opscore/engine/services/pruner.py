"""The pruner: history is bounded; what ended longer ago than the retention goes."""

from __future__ import annotations

import logging
from typing import Awaitable, Callable

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
            report_retention: The same for reports of agents and the events about them; the newest report of each agent
                is kept always.
            interval: Seconds between two rounds.
        """
        self._store = store
        self._clock = clock
        self._retention = retention
        self._report_retention = report_retention
        self._interval = interval

    async def serve(self) -> None:
        """Prune at once, and again after every interval."""
        while True:
            try:
                await self.prune()
            except StoreError as error:
                log.warning("pruner.store_failed", extra={"reason": str(error)})
            await pause(self._clock, self._interval)

    async def prune(self) -> int:
        """Delete all that is old enough; how many executions went."""
        now = self._clock.now()
        ended_before = now - int(self._retention * SECOND)
        received_before = now - int(self._report_retention * SECOND)
        gone = await _all(lambda: self._store.prune(ended_before, now, _ROUND)) if self._retention else 0
        reports = (
            await _all(lambda: self._store.prune_reports(received_before, _ROUND)) if self._report_retention else 0
        )
        if self._report_retention:
            await _all(lambda: self._store.prune_states(received_before, _ROUND))
        await _all(lambda: self._store.prune_proofs(now, _ROUND))
        if gone or reports:
            log.info("pruner.pruned", extra={"executions": gone, "reports": reports})
        return gone


async def _all(prune: Callable[[], Awaitable[int]]) -> int:
    """Prune round by round until nothing is left to; how many went."""
    total = 0
    while True:
        gone = await prune()
        total += gone
        if gone < _ROUND:
            return total
