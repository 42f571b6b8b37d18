"""Use cases about flows."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from opscore.domain.errors import Conflict, FlowNotFound, Invalid
from opscore.domain.flow_reader import check_flow, check_size, read_flow
from opscore.domain.flows import Finding, Flow, FlowVersion, Report
from opscore.domain.ports import Clock, Store
from opscore.domain.spelling import nearest

_TRIES = 5


class Flows:
    """Store, find, check and retire flow definitions."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, definition: Any) -> tuple[FlowVersion, bool]:
        """Store a new flow; the same definition again changes nothing.

        Returns:
            The stored version, and whether it is new.

        Raises:
            InvalidFlow: The definition cannot run.
            Conflict: The id belongs to a flow defined otherwise.
        """
        flow = _checked(definition)
        for _ in range(_TRIES):
            current = await self._current(flow.flow_id)
            if current is not None:
                if current.flow.definition == flow.definition:
                    return current, False
                raise Conflict(
                    f'The flow "{flow.flow_id}" exists with another definition; PUT makes a new version of it.'
                )
            try:
                return await self._add(flow, current), True
            except Conflict:
                continue
        raise Conflict(f'The flow "{flow.flow_id}" is being changed by somebody else; try again.')

    async def replace(self, flow_id: str, definition: Any) -> FlowVersion:
        """Store the next version of a flow; what runs keeps its own.

        Raises:
            Invalid: The definition has another id.
            InvalidFlow: The definition cannot run.
            FlowNotFound: Nothing has this id.
        """
        if isinstance(definition, dict):
            given = definition.setdefault("flow_id", flow_id)
            if given != flow_id:
                text = f'The path says "{flow_id}", the body says otherwise.'
                raise Invalid(text, details={"flow_id": [text]})
        flow = _checked(definition)
        for _ in range(_TRIES):
            current = await self.get(flow_id)
            if current.flow.definition == flow.definition:
                return current
            try:
                return await self._add(flow, current)
            except Conflict:
                continue
        raise Conflict(f'The flow "{flow_id}" is being changed by somebody else; try again.')

    async def put(self, definition: Any) -> FlowVersion:
        """Store a flow, or the next version of one that is defined otherwise.

        Raises:
            InvalidFlow: The definition cannot run.
            Conflict: It is being changed by somebody else.
        """
        flow = _checked(definition)
        for _ in range(_TRIES):
            current = await self._current(flow.flow_id)
            if current is not None and current.flow.definition == flow.definition:
                return current
            try:
                return await self._add(flow, current)
            except Conflict:
                continue
        raise Conflict(f'The flow "{flow.flow_id}" is being changed by somebody else; try again.')

    async def get(self, flow_id: str, version: Optional[int] = None) -> FlowVersion:
        """A flow, by default in its newest version. Raises FlowNotFound, naming the nearest id."""
        try:
            return await self._store.flow(flow_id, version)
        except FlowNotFound as error:
            if version is not None:
                raise
            known = [stored.flow.flow_id for stored in await self._store.flows()]
            hint = nearest(flow_id, known)
            raise FlowNotFound(error.message.rstrip(".") + hint if hint else error.message) from None

    async def list(self) -> Sequence[FlowVersion]:
        """The newest version of each flow, by id."""
        return await self._store.flows()

    async def versions(self, flow_id: str) -> Sequence[FlowVersion]:
        """All versions of a flow, newest first. Raises FlowNotFound."""
        return await self._store.flow_versions(flow_id)

    async def delete(self, flow_id: str) -> None:
        """Take a flow out of use; its history stays readable. Raises FlowNotFound."""
        await self._store.delete_flow(flow_id, self._clock.now())

    async def check(self, definition: Any) -> Report:
        """Say what is wrong with a definition; agents nobody registered yet are warnings."""
        report = check_flow(definition)
        if report.flow is None:
            return report
        warnings = [*report.warnings, *await self._unknown_agents(report.flow)]
        return Report(report.flow, report.errors, warnings)

    async def _unknown_agents(self, flow: Flow) -> Sequence[Finding]:
        agents = await self._store.agents()
        known = {agent.spec.agent_id for agent in agents}
        abilities = {capability for agent in agents for capability in agent.spec.capabilities}
        findings = []
        for index, node in enumerate(flow.nodes.values()):
            for place, named in (("agent_id", node.agent_id), ("on_error", node.on_error.agent_id)):
                if named is not None and named not in known:
                    text = f'Node "{node.id}": no agent "{named}" is registered{nearest(named, known) or "."}'
                    findings.append(Finding(f"nodes[{index}].{place}", text))
            if node.capability is not None and node.capability not in abilities:
                hint = nearest(node.capability, abilities) or "."
                text = f'Node "{node.id}": no registered agent has the capability "{node.capability}"{hint}'
                findings.append(Finding(f"nodes[{index}].capability", text))
        return findings

    async def _current(self, flow_id: str) -> Optional[FlowVersion]:
        try:
            return await self._store.flow(flow_id)
        except FlowNotFound:
            return None

    async def _add(self, flow: Flow, current: Optional[FlowVersion]) -> FlowVersion:
        """Write the version after the current one. Raises Conflict when that is not the newest any more."""
        number = await self._newest(flow.flow_id) if current is None else current.flow.version
        numbered = read_flow(flow.definition, number + 1)
        return await self._store.add_flow_version(numbered, self._clock.now())

    async def _newest(self, flow_id: str) -> int:
        """The number of the newest version of a flow that was deleted; 0 where there never was one."""
        try:
            newest = (await self._store.flow_versions(flow_id))[0].flow.version
        except FlowNotFound:
            return 0
        if await self._current(flow_id) is not None:
            raise Conflict(f'The flow "{flow_id}" was stored by somebody else in this moment.')
        return newest


def _checked(definition: Any) -> Flow:
    check_size(definition)
    return read_flow(definition)
