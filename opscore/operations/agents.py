"""Use cases about agents."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from opscore.domain.agents import Agent, AgentSpec
from opscore.domain.errors import Conflict, Invalid
from opscore.domain.flows import nearest
from opscore.domain.ports import AgentProtocol, Clock, Probe, Runs, Store


class Agents:
    """Register, find, test and forget agents."""

    def __init__(self, store: Store, runs: Runs, protocols: Mapping[str, AgentProtocol], clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._protocols = protocols
        self._clock = clock

    async def register(self, spec: AgentSpec) -> tuple[Agent, bool]:
        """Register an agent; the same registration again changes nothing.

        Returns:
            The agent, and whether it is new.

        Raises:
            Invalid: Its protocol is unknown, or could never reach the endpoint.
            Conflict: The id belongs to an agent registered otherwise.
        """
        self._protocol(spec.protocol).check(spec)
        try:
            return await self._store.add_agent(spec, self._clock.now()), True
        except Conflict:
            agent = await self._store.agent(spec.agent_id)
            if agent.spec == spec:
                return agent, False
            raise Conflict(
                f'The agent "{spec.agent_id}" is registered with another specification; delete it first.'
            ) from None

    async def get(self, agent_id: str) -> Agent:
        """One agent. Raises AgentNotFound."""
        return await self._store.agent(agent_id)

    async def list(self, *, active_only: bool = False) -> Sequence[Agent]:
        """All agents, or those that may be given work, by id."""
        agents = await self._store.agents()
        return [agent for agent in agents if agent.spec.is_active] if active_only else agents

    async def delete(self, agent_id: str) -> None:
        """Forget an agent; steps that still need it will fail. Raises AgentNotFound."""
        await self._store.delete_agent(agent_id)

    async def test(self, endpoint: Optional[str], protocol: str) -> Probe:
        """Ask an endpoint whether an agent is there, registered or not.

        Raises:
            Invalid: The protocol is unknown, or could never reach the endpoint.
        """
        speaker = self._protocol(protocol)
        speaker.check(AgentSpec(agent_id="test", name="test", protocol=protocol, endpoint=endpoint))
        return await speaker.probe(endpoint)

    def in_flight(self, agent_id: str) -> int:
        """Calls to the agent that are open now."""
        return self._runs.in_flight(agent_id)

    def _protocol(self, name: str) -> AgentProtocol:
        try:
            return self._protocols[name]
        except KeyError:
            known = ", ".join(sorted(self._protocols))
            text = f"protocol must be one of {known}{nearest(name, self._protocols) or '.'}"
            raise Invalid(text, details={"protocol": [text]}) from None
