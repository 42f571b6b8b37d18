"""Slots: how many calls may be open at once, in all and for each agent, and who is next.

A call that finds no slot waits as a small value in a heap, not as a task: first by the priority of its execution
(high first), then in the order of arrival. It waits in a *lane*: that of an agent, or that of a capability, where any
agent that has it and is free will do, the one that was given work longest ago first. Giving a slot back hands it on
at once.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Callable, Collection, NamedTuple, Optional, Protocol

_Key = tuple[int, int]


class Lane(NamedTuple):
    """Where a call waits: for one agent, or for any that has a capability."""

    name: str
    is_capability: bool = False


class Crew(Protocol):
    """Who may be given work, as the slots need to know it."""

    def limit(self, agent_id: str) -> int:
        """Calls that may be open to an agent."""

    def is_available(self, agent_id: str) -> bool:
        """Whether an agent may be given work now, but for its limit."""

    def is_doubtful(self, agent_id: str) -> bool:
        """Whether others are to be preferred."""

    def capable(self, capability: str) -> Collection[str]:
        """The agents that have a capability and are wanted to work."""


class Waiter:
    """A call that waits for a slot. Call :meth:`withdraw` to stop waiting."""

    __slots__ = ("grant", "is_waiting", "key", "lane")

    def __init__(self, key: _Key, lane: Lane, grant: Callable[[str], object]) -> None:
        self.key = key
        self.lane = lane
        self.grant = grant
        self.is_waiting = True

    def withdraw(self) -> None:
        """Wait no longer."""
        self.is_waiting = False

    def __lt__(self, other: Waiter) -> bool:
        return self.key < other.key


class Slots:
    """The slots of one engine."""

    def __init__(self, total: int, crew: Crew) -> None:
        self._total = total
        self._crew = crew
        self._used = 0
        self._closed = False
        self._order = itertools.count(1)
        self._in_flight: dict[str, int] = {}
        self._last_use: dict[str, int] = {}
        self._waiting: dict[Lane, list[Waiter]] = {}
        self._capabilities: set[Lane] = set()
        # Lanes that had a waiter and somebody for it when they were put here; looked at again when taken out.
        self._candidates: list[tuple[_Key, Lane]] = []

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

    def take(self, lane: Lane) -> Optional[str]:
        """Take a slot if one is free and nobody waits for it; the agent that it is for."""
        agent_id = None if self._waiting.get(lane) else self._fitting(lane)
        if agent_id is not None:
            self._occupy(agent_id)
        return agent_id

    def take_again(self, agent_id: str) -> bool:
        """Take a slot for an agent that holds the task in question already."""
        if self._closed or self._used >= self._total or self._in_flight.get(agent_id):
            return False
        self._occupy(agent_id)
        return True

    def wait(self, lane: Lane, priority: int, grant: Callable[[str], object]) -> Waiter:
        """Wait for a slot; ``grant`` is called with the agent once it is taken, perhaps before this returns."""
        waiter = Waiter((-priority, next(self._order)), lane, grant)
        heapq.heappush(self._waiting.setdefault(lane, []), waiter)
        if lane.is_capability:
            self._capabilities.add(lane)
        self._offer(lane)
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
        self.look_at(agent_id)

    def look_at(self, agent_id: str) -> None:
        """An agent may be available that was not: hand it out."""
        if not self._waiting:
            return
        self._offer(Lane(agent_id))
        for lane in tuple(self._capabilities):
            if agent_id in self._crew.capable(lane.name):
                self._offer(lane)
        self._hand_out()

    def _is_free(self, agent_id: str) -> bool:
        return self._in_flight.get(agent_id, 0) < self._crew.limit(agent_id) and self._crew.is_available(agent_id)

    def _fitting(self, lane: Lane) -> Optional[str]:
        """An agent that a call in this lane could go to now."""
        if self._closed or self._used >= self._total:
            return None
        if not lane.is_capability:
            return lane.name if self._is_free(lane.name) else None
        free = [agent_id for agent_id in self._crew.capable(lane.name) if self._is_free(agent_id)]
        return min(free, key=self._rank, default=None)

    def _rank(self, agent_id: str) -> tuple[bool, int]:
        return self._crew.is_doubtful(agent_id), self._last_use.get(agent_id, 0)

    def _occupy(self, agent_id: str) -> None:
        self._used += 1
        self._in_flight[agent_id] = self._in_flight.get(agent_id, 0) + 1
        self._last_use[agent_id] = next(self._order)

    def _head(self, lane: Lane) -> Optional[Waiter]:
        """The lane's first waiter that still waits."""
        heap = self._waiting.get(lane)
        while heap and not heap[0].is_waiting:
            heapq.heappop(heap)
        if not heap:
            self._waiting.pop(lane, None)
            self._capabilities.discard(lane)
            return None
        return heap[0]

    def _offer(self, lane: Lane) -> None:
        head = self._head(lane)
        if head is not None:
            heapq.heappush(self._candidates, (head.key, lane))

    def _hand_out(self) -> None:
        while self._candidates and not self._closed and self._used < self._total:
            _, lane = heapq.heappop(self._candidates)
            head = self._head(lane)
            agent_id = None if head is None else self._fitting(lane)
            if head is None or agent_id is None:
                continue
            heapq.heappop(self._waiting[lane])
            head.is_waiting = False
            self._occupy(agent_id)
            self._offer(lane)
            head.grant(agent_id)
