"""What is asked for at every step and rarely changes, kept in memory: agents, flows, keys.

One process writes the database (a lock sees to that), so what it wrote is what is there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Collection, Optional

import attrs
import orjson

from opscore.domain.agents import Agent, AgentSpec, Report
from opscore.domain.documents import encode_json
from opscore.domain.flow_reader import read_flow
from opscore.domain.flows import FlowVersion
from opscore.domain.keys import Key

_MOST_FLOWS = 1000


class FlowCache:
    """The flow versions used last."""

    def __init__(self) -> None:
        self._versions: OrderedDict[tuple[str, int], FlowVersion] = OrderedDict()
        self._newest: dict[str, int] = {}
        self.drops = 0
        """How often a newest version was forgotten: what was read before that may not be the newest any more."""

    def get(self, flow_id: str, version: Optional[int]) -> Optional[FlowVersion]:
        """A version, or the newest; None when it is not here."""
        number = self._newest.get(flow_id) if version is None else version
        if number is None:
            return None
        found = self._versions.get((flow_id, number))
        if found is not None:
            self._versions.move_to_end((flow_id, number))
        return found

    def put(self, stored: FlowVersion, *, newest: bool) -> None:
        """Remember a version."""
        key = (stored.flow.flow_id, stored.flow.version)
        self._versions[key] = stored
        if newest:
            self._newest[key[0]] = key[1]
        while len(self._versions) > _MOST_FLOWS:
            (flow_id, number), _ = self._versions.popitem(last=False)
            if self._newest.get(flow_id) == number:
                del self._newest[flow_id]

    def drop(self, flow_id: str) -> None:
        """Forget which version is the newest."""
        self._newest.pop(flow_id, None)
        self.drops += 1


def flow_from_row(row: tuple[Any, ...]) -> FlowVersion:
    """Read ``created_at, flow_version, definition, created_at of the version``."""
    created_at, version, definition, updated_at = row
    return FlowVersion(read_flow(orjson.loads(definition), version), created_at, updated_at)


def agent_to_text(spec: AgentSpec) -> str:
    """An agent's specification as JSON."""
    return encode_json(attrs.asdict(spec, recurse=False))


def agent_from_row(row: tuple[Any, ...], present: Optional[Report]) -> Agent:
    """Read ``agent_id, spec, source, created_at, updated_at``."""
    _, text, source, created_at, updated_at = row
    given = orjson.loads(text)
    given["capabilities"] = tuple(given["capabilities"])
    return Agent(AgentSpec(**given), created_at, updated_at, present, source)


def report_from_row(row: tuple[Any, ...]) -> Report:
    """Read ``agent_id, state, reported_at, received_at, details, frees``."""
    agent_id, state, reported_at, received_at, details, frees = row
    return Report(agent_id, state, reported_at, received_at, details, frees=bool(frees))


class AgentBook:
    """All registered agents, by id and by capability."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}
        self._capable: dict[str, dict[str, None]] = {}

    def get(self, agent_id: str) -> Optional[Agent]:
        """One agent, or None."""
        return self._agents.get(agent_id)

    def all(self) -> list[Agent]:
        """All agents, by id."""
        return [self._agents[agent_id] for agent_id in sorted(self._agents)]

    def capable(self, capability: str) -> Collection[str]:
        """The ids of those that have a capability."""
        return self._capable.get(capability, {})

    def put(self, agent: Agent) -> None:
        """Remember an agent as it is now."""
        agent_id = agent.spec.agent_id
        before = self._agents.get(agent_id)
        if before is None or before.spec.capabilities != agent.spec.capabilities:
            self.drop(agent_id)
            for capability in agent.spec.capabilities:
                self._capable.setdefault(capability, {})[agent_id] = None
        self._agents[agent_id] = agent

    def put_report(self, report: Report) -> None:
        """Remember a report, if it is its agent's newest."""
        agent = self._agents.get(report.agent_id)
        if agent is not None and report.is_newer_than(agent.present):
            self._agents[report.agent_id] = Agent(agent.spec, agent.created_at, agent.updated_at, report, agent.source)

    def drop(self, agent_id: str) -> None:
        """Forget an agent."""
        agent = self._agents.pop(agent_id, None)
        for capability in () if agent is None else agent.spec.capabilities:
            capable = self._capable.get(capability, {})
            capable.pop(agent_id, None)
            if not capable:
                self._capable.pop(capability, None)


def key_from_row(row: tuple[Any, ...]) -> tuple[str, Key]:
    """Read ``fingerprint, key_id, name, scopes, created_at, revoked_at, hint``."""
    fingerprint, key_id, name, scopes, created_at, revoked_at, hint = row
    return fingerprint, Key(key_id, name, frozenset(scopes.split()), created_at, revoked_at, hint)
