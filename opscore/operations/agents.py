"""Use cases about agents."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Mapping, Optional, Sequence

from opscore.domain.agents import Agent, AgentSpec, AgentState, AgentView, Report, Source
from opscore.domain.announcements import announced, merged
from opscore.domain.calls import Probe
from opscore.domain.discretion import MASK, masked, shown_address
from opscore.domain.documents import encode_json
from opscore.domain.errors import AgentNotFound, Conflict, Invalid, Unavailable
from opscore.domain.instants import Instant
from opscore.domain.ports import AgentProtocol, Clock, Proof, ReportQuery, Runs, Store
from opscore.domain.spelling import nearest

log = logging.getLogger(__name__)

_TRIES = 5
_BETWEEN_BREATHS = 500


class Agents:
    """Register, find, test and forget agents."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        protocols: Mapping[str, AgentProtocol],
        clock: Clock,
        mask: Callable[[str], str] = str,
    ) -> None:
        """Take what it works with.

        Args:
            store: Everything that lasts.
            runs: The engine.
            protocols: How agents are called, by name.
            clock: Time.
            mask: Gives a text without the secrets that the server knows.
        """
        self._mask = mask
        self._store = store
        self._runs = runs
        self._protocols = protocols
        self._clock = clock

    async def register(self, spec: AgentSpec) -> tuple[AgentView, bool]:
        """Register an agent; the same registration again changes nothing.

        Returns:
            The agent, and whether it is new.

        Raises:
            Invalid: Its protocol is unknown, or could never reach the endpoint.
            Conflict: The id belongs to an agent registered otherwise.
        """
        self._protocol(spec.protocol).check(spec)
        try:
            agent, is_new = await self._store.add_agent(spec, self._clock.now()), True
        except Conflict:
            agent, is_new = await self._store.agent(spec.agent_id), False
            if agent.spec != spec:
                raise Conflict(
                    f'The agent "{spec.agent_id}" is registered with another specification; delete it first.'
                ) from None
        if is_new:
            log.info("agent.registered", extra=_facts(spec, "direct"))
            self._runs.agent_changed(spec.agent_id)
        return self._view(agent), is_new

    async def announce(self, details: Mapping[str, Any], proof: Optional[Proof]) -> bool:
        """Register an agent that AgentKit announces, or change what changed; whether anything did.

        What only an operator says of an agent (whether it is wanted, its limit, its description) stays as it is.

        Raises:
            Invalid: The details are not as they should be, or its endpoint is where no agent may live.
            Replayed: The announcement was made before.
        """
        spec = announced(details)
        self._protocol(spec.protocol).check(spec)
        now = self._clock.now()
        for _ in range(_TRIES):
            known = self._store.agent_now(spec.agent_id)
            try:
                if known is None:
                    await self._store.add_agent(spec, now, "webhook", proof)
                else:
                    changed = merged(spec, known.spec)
                    if changed == known.spec:
                        if proof is not None:
                            await self._store.use(proof)
                        return False
                    await self._store.replace_agent(changed, now, "webhook", proof)
            except (AgentNotFound, Conflict):
                continue  # somebody registered or deleted it at this moment
            log.info("agent.registered" if known is None else "agent.changed", extra=_facts(spec, "webhook"))
            self._runs.agent_changed(spec.agent_id)
            return True
        raise Unavailable("The agent is being changed by somebody else; try again.", retry_after=1.0)

    async def get(self, agent_id: str) -> AgentView:
        """One agent. Raises AgentNotFound."""
        return self._view(await self._store.agent(agent_id))

    async def list(
        self, *, active_only: bool = False, state: Optional[str] = None, capability: Optional[str] = None
    ) -> Sequence[AgentView]:
        """All agents by id; or those that are wanted to work, in a state, with a capability."""
        views = []
        for number, agent in enumerate(await self._store.agents(), 1):
            if number % _BETWEEN_BREATHS == 0:  # there may be very many, and others want their turn
                await asyncio.sleep(0)
            if (active_only and not agent.spec.is_active) or (capability not in (None, *agent.spec.capabilities)):
                continue
            view = self._view(agent)
            if state is None or view.state == state:
                views.append(view)
        return views

    async def delete(self, agent_id: str) -> None:
        """Forget an agent; steps that still need it will fail. Raises AgentNotFound."""
        await self._store.delete_agent(agent_id)
        log.info("agent.deleted", extra={"agent_id": agent_id, "source": "direct"})
        self._runs.agent_changed(agent_id)

    async def withdraw(self, agent_id: str, proof: Optional[Proof]) -> bool:
        """Forget an agent that AgentKit takes back; whether there was one. Raises Replayed."""
        try:
            await self._store.delete_agent(agent_id, proof)
        except AgentNotFound:
            if proof is not None:
                await self._store.use(proof)
            return False
        log.info("agent.deleted", extra={"agent_id": agent_id, "source": "webhook"})
        self._runs.agent_changed(agent_id)
        return True

    async def report(
        self, agent_id: str, state: AgentState, reported_at: Instant, details: Mapping[str, Any]
    ) -> Report:
        """Take what an agent says of its state; durable, with all that follows from it, when this returns.

        Raises:
            AgentNotFound: Nothing has this id.
            Unavailable: What follows could not be recorded now.
        """
        if self._store.agent_now(agent_id) is None:
            raise AgentNotFound(f'There is no agent "{agent_id[:100]}".')
        text = encode_json(details)
        # What an agent says of a failure is kept and shown, as it is where it answers a call.
        if state == "error" and self._mask(text) != text:
            text = encode_json(masked(details, self._mask))
        return await self._runs.report(agent_id, state, reported_at, text)

    async def history(
        self, agent_id: str, limit: int, before: Optional[tuple[Instant, Instant]] = None
    ) -> Sequence[Report]:
        """What an agent reported since it was registered, newest first by its own clock. Raises AgentNotFound."""
        agent = await self._store.agent(agent_id)
        return await self._store.reports(ReportQuery(agent_id, agent.created_at, limit, before))

    async def test(self, endpoint: Optional[str], protocol: str) -> Probe:
        """Ask an endpoint whether an agent is there, registered or not; one as it is shown is meant as it is.

        Raises:
            Invalid: The protocol is unknown, or could never reach the endpoint.
        """
        speaker = self._protocol(protocol)
        endpoint = await self._meant(endpoint)
        speaker.check(AgentSpec(agent_id="test", name="test", protocol=protocol, endpoint=endpoint))
        return await speaker.probe(endpoint)

    async def _meant(self, endpoint: Optional[str]) -> Optional[str]:
        """The endpoint that an agent is registered with, where this is how it is shown."""
        if endpoint is None or MASK not in endpoint:
            return endpoint
        known = (agent.spec.endpoint for agent in await self._store.agents())
        return next((one for one in known if shown_address(one) == endpoint), endpoint)

    def _view(self, agent: Agent) -> AgentView:
        return AgentView(agent, self._runs.observed(agent.spec.agent_id))

    def _protocol(self, name: str) -> AgentProtocol:
        try:
            return self._protocols[name]
        except KeyError:
            known = ", ".join(sorted(self._protocols))
            text = f"protocol must be one of {known}{nearest(name, self._protocols) or '.'}"
            raise Invalid(text, details={"protocol": [text]}) from None


def _facts(spec: AgentSpec, source: Source) -> dict[str, Any]:
    """What the log says of a registration; not the endpoint, in which there may be a key."""
    return {"agent_id": spec.agent_id, "protocol": spec.protocol, "source": source}
