"""Discovery: keeps the registered agents in step with a directory that somebody else keeps."""

from __future__ import annotations

import logging
from typing import Callable, Optional

from opscore.domain.agents import AgentSpec
from opscore.domain.announcements import merged
from opscore.domain.errors import AgentNotFound, Conflict, OpsCoreError
from opscore.domain.instants import Seconds
from opscore.domain.ports import Clock, Directory, NotOffered, Store
from opscore.engine.clock import pause

log = logging.getLogger(__name__)


class Discovery:
    """Registers who is on the list, and forgets who came from it and is on it no more."""

    def __init__(
        self,
        store: Store,
        directory: Optional[Directory],
        clock: Clock,
        interval: Seconds,
        on_change: Callable[[str], object],
    ) -> None:
        """Take what it works with.

        Args:
            store: Where agents are registered.
            directory: The list; None for none.
            clock: Time.
            interval: Seconds between two readings; 0 reads it never.
            on_change: Called with each agent that was registered, changed or forgotten.
        """
        self._store = store
        self._directory = directory
        self._clock = clock
        self._interval = interval
        self._on_change = on_change

    async def serve(self) -> None:
        """Read the list at once, and again after every interval, while there is one."""
        while self._directory is not None and self._interval:
            try:
                await self._synchronise(self._directory)
            except NotOffered as error:
                log.info("discovery.off", extra={"reason": str(error)})
                return
            except OpsCoreError as error:
                log.warning("discovery.failed", extra={"reason": error.message})
            await pause(self._clock, self._interval)

    async def _synchronise(self, directory: Directory) -> None:
        listed = {spec.agent_id: spec for spec in await directory.agents()}
        for spec in listed.values():
            await self._register(spec)
        for agent in await self._store.agents():
            if agent.source == "discovery" and agent.spec.agent_id not in listed:
                await self._forget(agent.spec.agent_id)

    async def _register(self, spec: AgentSpec) -> None:
        known = self._store.agent_now(spec.agent_id)
        if known is None:
            try:
                await self._store.add_agent(spec, self._clock.now(), "discovery")
            except Conflict:
                return  # registered at this moment by its own notice, which is as good
            log.info("discovery.registered", extra={"agent_id": spec.agent_id})
        elif known.source == "direct":
            return  # what an operator registered by hand is the operator's
        else:
            changed = merged(spec, known.spec)
            if changed == known.spec:
                return
            await self._store.replace_agent(changed, self._clock.now(), known.source)
            log.info("discovery.changed", extra={"agent_id": spec.agent_id})
        self._on_change(spec.agent_id)

    async def _forget(self, agent_id: str) -> None:
        try:
            await self._store.delete_agent(agent_id)
        except AgentNotFound:
            return
        log.info("discovery.forgotten", extra={"agent_id": agent_id})
        self._on_change(agent_id)
