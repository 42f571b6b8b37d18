"""Slots: how many calls may be open at once, in all and for each agent, and who is next.

A call that finds no slot waits as a small value in a heap, not as a task: first by the priority of its
execution (high first), then in the order of arrival. Giving a slot back hands it on at once.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Callable, Optional

_Key = tuple[int, int]


class Waiter:
    """A call that waits for a slot of an agent. Call :meth:`withdraw` to stop waiting."""

    __slots__ = ("agent_id", "grant", "is_waiting", "key", "limit")

    def __init__(self, key: _Key, agent_id: str, limit: int, grant: Callable[[], object]) -> None:
        self.key = key
        self.agent_id = agent_id
        self.limit = limit
        self.grant = grant
        self.is_waiting = True

    def withdraw(self) -> None:
        """Wait no longer."""
        self.is_waiting = False

    def __lt__(self, other: Waiter) -> bool:
        return self.key < other.key


class Slots:
    """The slots of one engine."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._closed = False
        self._order = itertools.count()
        self._in_flight: dict[str, int] = {}
        self._waiting: dict[str, list[Waiter]] = {}
        # Agents that had a waiter and room when they were put here; looked at again when taken out.
        self._candidates: list[tuple[_Key, str]] = []

    @property
    def used(self) -> int:
        """Calls open now."""
        return self._used

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return sum(waiter.is_waiting for heap in self._waiting.values() for waiter in heap)

    def in_flight(self, agent_id: str) -> int:
        """Calls open now to one agent."""
        return self._in_flight.get(agent_id, 0)

    def close(self) -> None:
        """Hand out no more slots."""
        self._closed = True

    def take(self, agent_id: str, limit: int) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._waiting.get(agent_id) or not self._is_free(agent_id, limit):
            return False
        self._occupy(agent_id)
        return True

    def wait(self, agent_id: str, limit: int, priority: int, grant: Callable[[], object]) -> Waiter:
        """Wait for a slot; ``grant`` is called once it is taken, perhaps before this returns."""
        waiter = Waiter((-priority, next(self._order)), agent_id, limit, grant)
        heapq.heappush(self._waiting.setdefault(agent_id, []), waiter)
        self._offer(agent_id)
        self._hand_out()
        return waiter

    def give_back(self, agent_id: str) -> None:
        """End of a call: its slot goes to whoever is next."""
        self._used -= 1
        left = self._in_flight[agent_id] - 1
        if left:
            self._in_flight[agent_id] = left
        else:
            del self._in_flight[agent_id]
        if self._waiting:
            self._offer(agent_id)
            self._hand_out()

    def _is_free(self, agent_id: str, limit: int) -> bool:
        return not self._closed and self._used < self._total and self._in_flight.get(agent_id, 0) < limit

    def _occupy(self, agent_id: str) -> None:
        self._used += 1
        self._in_flight[agent_id] = self._in_flight.get(agent_id, 0) + 1

    def _head(self, agent_id: str) -> Optional[Waiter]:
        """The agent's first waiter that still waits."""
        heap = self._waiting.get(agent_id)
        while heap and not heap[0].is_waiting:
            heapq.heappop(heap)
        if not heap:
            self._waiting.pop(agent_id, None)
            return None
        return heap[0]

    def _offer(self, agent_id: str) -> None:
        head = self._head(agent_id)
        if head is not None and self._in_flight.get(agent_id, 0) < head.limit:
            heapq.heappush(self._candidates, (head.key, agent_id))

    def _hand_out(self) -> None:
        while self._candidates and not self._closed and self._used < self._total:
            _, agent_id = heapq.heappop(self._candidates)
            head = self._head(agent_id)
            if head is None or not self._is_free(agent_id, head.limit):
                continue
            heapq.heappop(self._waiting[agent_id])
            head.is_waiting = False
            self._occupy(agent_id)
            self._offer(agent_id)
            head.grant()
