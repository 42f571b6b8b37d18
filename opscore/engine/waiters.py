"""Whoever waits for the end of an execution: woken by it, by time, or by the server's stop."""

from __future__ import annotations

import asyncio

from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock


class Waiters:
    """Futures by execution."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_execution: dict[str, set[asyncio.Future[None]]] = {}

    def enter(self, execution_id: str) -> asyncio.Future[None]:
        """Begin to wait; what is told from now on is heard. To be left with :meth:`leave`."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._by_execution.setdefault(execution_id, set()).add(waiting)
        return waiting

    def leave(self, execution_id: str, waiting: asyncio.Future[None]) -> None:
        """Wait no longer."""
        others = self._by_execution.get(execution_id)
        if others is not None:
            others.discard(waiting)
            if not others:
                del self._by_execution[execution_id]

    async def until(self, waiting: asyncio.Future[None], timeout: Seconds) -> None:
        """Return when told, or after the time."""
        timer = self._clock.call_later(timeout, lambda: _wake(waiting))
        try:
            await waiting
        finally:
            timer.cancel()

    async def ended(self, execution_id: str, timeout: Seconds) -> None:
        """Return when the execution's end is told, or after the time."""
        waiting = self.enter(execution_id)
        try:
            await self.until(waiting, timeout)
        finally:
            self.leave(execution_id, waiting)

    def tell(self, execution_id: str) -> None:
        """The execution has ended."""
        for waiting in self._by_execution.get(execution_id, ()):
            _wake(waiting)

    def tell_all(self) -> None:
        """The server stops: nobody is to wait any longer."""
        for execution_id in list(self._by_execution):
            self.tell(execution_id)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
