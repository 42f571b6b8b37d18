"""The queue: executions that wait in the store until there is room for another run."""

from __future__ import annotations

import asyncio
import logging
from typing import Callable, Optional

from opscore.domain.errors import Stale, StoreError
from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock, Store
from opscore.engine.conductor import Conductor
from opscore.engine.run import Hop, Run, StopReason
from opscore.engine.witnesses import Witnesses

log = logging.getLogger(__name__)

_PAGE = 500
_LOOK_EVERY: Seconds = 1.0


class Queue:
    """Counts the waiting executions and admits them, highest priority first."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        conductor: Conductor,
        witnesses: Witnesses,
        open_runs: int,
        on_end: Callable[[str], object],
    ) -> None:
        """Take what it works with.

        Args:
            store: Where executions wait.
            clock: Time.
            conductor: Begins their runs.
            witnesses: Are told what was written.
            open_runs: How many runs may be open at once.
            on_end: Called with the id of an execution that has ended without its turn.
        """
        self._store = store
        self._clock = clock
        self._conductor = conductor
        self._witnesses = witnesses
        self._open_runs = open_runs
        self._on_end = on_end
        self._bell = asyncio.Event()
        self.length = 0

    async def load(self) -> None:
        """Count what waits already."""
        self.length = await self._store.queue_length()

    async def put(self, run: Run, hop: Hop) -> None:
        """Accept an execution that waits. Raises StoreError."""
        await self._write(run, hop)
        self.length += 1
        self.ring()

    def ring(self) -> None:
        """Something came or left."""
        self._bell.set()

    async def cancel(self, execution_id: str, reason: Optional[str]) -> bool:
        """End an execution that waits; False when it does not wait any more."""
        run = await self._waiting(execution_id)
        return run is not None and await self._end(run, run.cancel(self._clock.now(), reason))

    async def serve(self) -> None:
        """Admit for ever. While anything waits its deadline is looked after too."""
        while True:
            self._bell.clear()
            try:
                await self._admit()
                await self._expire()
            except StoreError as error:
                log.warning("queue.store_failed", extra={"reason": str(error)})
            timer = self._clock.call_later(_LOOK_EVERY, self._bell.set) if self.length else None
            await self._bell.wait()
            if timer is not None:
                timer.cancel()

    async def _admit(self) -> None:
        while self.length:
            room = self._open_runs - len(self._conductor.runs)
            if room <= 0:
                return
            turn = await self._store.queued(min(room, _PAGE))
            if not turn:
                # All that were counted have gone another way meanwhile.
                self.length = await self._store.queue_length()
                return
            await asyncio.gather(*[self._begin(execution_id) for execution_id in turn])

    async def _begin(self, execution_id: str) -> None:
        run = await self._waiting(execution_id)
        if run is None:
            return
        begun = run
        try:
            await self._conductor.begin(begun, lambda: begun.begin(self._clock.now(), self._conductor.admit))
        except Stale:
            return  # cancelled or expired in this moment
        self.length -= 1

    async def _expire(self) -> None:
        for execution_id in await self._store.overdue(self._clock.now(), _PAGE) if self.length else ():
            run = await self._waiting(execution_id)
            if run is not None:
                message = "The execution did not begin within its time limit."
                hop = run.fail(self._clock.now(), StopReason.EXPIRED, "EXECUTION_TIMEOUT", message)
                await self._end(run, hop)

    async def _waiting(self, execution_id: str) -> Optional[Run]:
        """A run made of an execution that still waits, and is in nobody's care."""
        found = await self._store.open_run(execution_id)
        if found is None or found.execution.status != "pending" or execution_id in self._conductor.runs:
            return None
        execution = found.execution
        flow = (await self._store.flow(execution.flow_id, execution.flow_version)).flow
        return Run.resume(found, flow)[0]

    async def _write(self, run: Run, hop: Hop) -> None:
        assert hop.unit is not None, "a beginning and an end are written"
        began = self._clock.monotonic()
        await self._store.commit(hop.unit)
        self._witnesses.wrote(run, hop.unit, self._clock.monotonic() - began)

    async def _end(self, run: Run, hop: Hop) -> bool:
        try:
            await self._write(run, hop)
        except Stale:
            return False  # admitted in this moment
        self.length -= 1
        self._on_end(run.execution_id)
        return True
