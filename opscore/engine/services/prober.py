"""The prober: asks agents for their health, where they have something to ask, and notices silence."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Mapping, Sequence

import attrs

from opscore.domain.agents import Agent
from opscore.domain.instants import Seconds
from opscore.domain.ports import AgentProtocol, Clock, Store
from opscore.engine.fleet import Fleet

log = logging.getLogger(__name__)

_WITHOUT_HEALTH = 10
"""Agents that had nothing to ask are asked again after so many intervals: they may be newer then."""
_LISTEN_EVERY: Seconds = 10.0
"""How often silence is looked for, whoever is asked for its health and when."""


@attrs.frozen(kw_only=True)
class Probing:
    """How agents are asked. Times are seconds; an interval of 0 asks nobody."""

    interval: Seconds = 0.0
    jitter: float = 0.1
    """By which part of the interval it varies, so that agents are not all asked at once."""
    concurrency: int = 50


class Prober:
    """Asks every agent once in an interval, and new ones at once."""

    def __init__(
        self,
        store: Store,
        protocols: Mapping[str, AgentProtocol],
        fleet: Fleet,
        clock: Clock,
        probing: Probing,
    ) -> None:
        self._store = store
        self._protocols = protocols
        self._fleet = fleet
        self._clock = clock
        self._probing = probing
        self._due: dict[str, Seconds] = {}
        self._bell = asyncio.Event()

    def ring(self, agent_id: str) -> None:
        """An agent is new or changed: ask it now."""
        self._due.pop(agent_id, None)
        self._bell.set()

    async def serve(self) -> None:
        """Ask and listen for ever."""
        while self._probing.interval or self._fleet.minds_silence:
            self._bell.clear()
            agents = await self._store.agents()
            if self._probing.interval:
                await self._ask_due(agents)
            for agent_id in self._fleet.notice_silence(agents):
                log.warning("agent.offline", extra={"agent_id": agent_id, "reason": "nothing was heard of it"})
            await self._rest()

    async def _rest(self) -> None:
        """Until the next one is due, it is time to listen again, or somebody rings."""
        now = self._clock.monotonic()
        first = min([now + _LISTEN_EVERY, *self._due.values()])
        timer = self._clock.call_later(max(0.0, first - now), self._bell.set)
        try:
            await self._bell.wait()
        finally:
            timer.cancel()

    async def _ask_due(self, agents: Sequence[Agent]) -> None:
        now = self._clock.monotonic()
        self._due = {agent.spec.agent_id: self._due.get(agent.spec.agent_id, now) for agent in agents}
        await self._ask([agent for agent in agents if self._due[agent.spec.agent_id] <= now])

    async def _ask(self, agents: Sequence[Agent]) -> None:
        waiting = deque(agents)

        async def work() -> None:
            while waiting:
                await self._probe(waiting.popleft())

        await asyncio.gather(*[work() for _ in range(min(len(waiting), self._probing.concurrency))])

    async def _probe(self, agent: Agent) -> None:
        agent_id = agent.spec.agent_id
        protocol = self._protocols.get(agent.spec.protocol)
        if protocol is not None and (agent.spec.endpoint is not None or not protocol.needs_endpoint):
            probe = await protocol.probe(agent.spec.endpoint, agent_id)
            known = self._store.agent_now(agent_id)
            if known is None or known.spec != agent.spec:
                return  # it was changed meanwhile, and is asked anew
            self._fleet.probed(agent_id, probe)
        self._due[agent_id] = self._clock.monotonic() + self._pause(agent_id)

    def _pause(self, agent_id: str) -> Seconds:
        varied = 1 + self._probing.jitter * (2 * self._clock.chance() - 1)
        rounds = 1 if self._fleet.has_health(agent_id) else _WITHOUT_HEALTH
        return self._probing.interval * varied * rounds
