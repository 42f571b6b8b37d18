"""The store: the port of the domain over a database."""

from __future__ import annotations

import time
from typing import Any, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import Agent, AgentSpec
from opscore.domain.documents import encode_json
from opscore.domain.errors import AgentNotFound, Conflict, FlowNotFound, NotFound, Stale
from opscore.domain.events import Event
from opscore.domain.executions import Execution, Idempotency, Step, Unit
from opscore.domain.flows import Flow, FlowVersion
from opscore.domain.instants import Instant, Seconds
from opscore.domain.keys import Key
from opscore.domain.ports import ExecutionQuery, ExecutionTotals, OpenRun
from opscore.store.catalogue import FlowCache, agent_from_row, agent_to_text, flow_from_row, key_from_row
from opscore.store.executions import ExecutionReader, id_bound
from opscore.store.sqlite import Database, Params, Taken, Write
from opscore.store.statements import load_statements
from opscore.store.writes import Translator

_PRUNE_CHUNK = 200


class SqlStore:
    """Implements :class:`opscore.domain.ports.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = load_statements("queries")
        self._translator = Translator(self._sql)
        self._reader = ExecutionReader(self._sql)
        self._flows = FlowCache()
        self._agents: dict[str, Agent] = {}
        self._keys: dict[str, Key] = {}

    async def load(self) -> None:
        """Read what is kept in memory; once, after the database was opened."""
        agents = await self._rows("agents", {})
        self._agents = {row[0]: agent_from_row(row) for row in agents}
        self._keys = dict(key_from_row(row) for row in await self._rows("keys", {}))

    # -- executions ----------------------------------------------------------------------------

    async def commit(self, unit: Unit) -> None:
        """Write one unit, whole or not at all; units are written in the order of the calls."""
        try:
            await self._database.write(self._translator.writes(unit))
        except Taken as error:
            raise Stale(f"Somebody wrote first: {error.message}.") from None

    async def started_as(self, key: str, now: Instant) -> Optional[tuple[Idempotency, str]]:
        """What an idempotency key was used for."""
        rows = await self._rows("idempotency_key", {"key": key, "now": now})
        if not rows:
            return None
        fingerprint, expires_at, execution_id = rows[0]
        return Idempotency(key, fingerprint, expires_at), execution_id

    async def execution(self, execution_id: str) -> Execution:
        """One execution with its payloads."""
        return await self._database.read(lambda connection: self._reader.execution(connection, execution_id))

    async def executions(self, query: ExecutionQuery) -> Sequence[Execution]:
        """A page of executions, newest first."""
        return await self._database.read(lambda connection: self._reader.page(connection, query))

    async def steps(self, execution_id: str) -> Sequence[Step]:
        """The steps of an execution."""
        return await self._database.read(lambda connection: self._reader.steps(connection, execution_id))

    async def outputs(self, execution_id: str, node_ids: Sequence[str]) -> Mapping[str, str]:
        """Outputs of completed nodes."""
        return await self._database.read(lambda connection: self._reader.outputs(connection, execution_id, node_ids))

    async def input(self, execution_id: str) -> str:
        """The input of an execution."""
        return await self._database.read(lambda connection: self._reader.input(connection, execution_id))

    async def events(self, execution_id: str, after: int, limit: int) -> Sequence[Event]:
        """Events above a number."""
        return await self._database.read(lambda connection: self._reader.events(connection, execution_id, after, limit))

    async def open_run(self, execution_id: str) -> Optional[OpenRun]:
        """One open execution for taking up."""
        return await self._database.read(lambda connection: self._reader.open_run(connection, execution_id))

    async def open_runs(self, after: str, limit: int) -> Sequence[OpenRun]:
        """Running executions in the order of their ids."""
        return await self._database.read(lambda connection: self._reader.open_runs(connection, after, limit))

    async def queued(self, limit: int) -> Sequence[str]:
        """Ids of pending executions in the order of their turn."""
        return [row[0] for row in await self._rows("queued", {"limit": limit})]

    async def queue_length(self) -> int:
        """How many executions are pending."""
        length: int = (await self._rows("queue_length", {}))[0][0]
        return length

    async def overdue(self, now: Instant, limit: int) -> Sequence[str]:
        """Ids of pending executions whose deadline has passed."""
        return [row[0] for row in await self._rows("overdue", {"now": now, "limit": limit})]

    async def totals(self) -> ExecutionTotals:
        """Counts over all executions."""
        return await self._database.read(self._reader.totals)

    async def prune(self, ended_before: Instant, now: Instant, limit: int) -> int:
        """Delete what ended before an instant, a little at a time so that other writers get their turn."""
        params = {"ended_before": ended_before, "id_bound": id_bound(ended_before), "limit": limit}
        pruned = [row[0] for row in await self._rows("prunable", params)]
        for start in range(0, len(pruned), _PRUNE_CHUNK):
            chunk = pruned[start : start + _PRUNE_CHUNK]
            names = ("prune_execution", "prune_input", "prune_steps", "prune_events")
            await self._write(*[(name, {"execution_id": one}, False) for one in chunk for name in names])
        for (key,) in await self._rows("expired_keys", {"now": now, "limit": limit}):
            await self._write(("forget_expired_key", {"key": key, "now": now}, False))
        return len(pruned)

    # -- flows ---------------------------------------------------------------------------------

    async def flow(self, flow_id: str, version: Optional[int] = None) -> FlowVersion:
        """A flow, by default in its newest version."""
        cached = self._flows.get(flow_id, version)
        if cached is not None:
            return cached
        name = "flow" if version is None else "flow_version"
        rows = await self._rows(name, {"flow_id": flow_id, "flow_version": version})
        if not rows:
            which = f'"{flow_id[:100]}"' if version is None else f'"{flow_id[:100]}" in version {version}'
            raise FlowNotFound(f"There is no flow {which}.")
        stored = flow_from_row(rows[0])
        self._flows.put(stored, newest=version is None)
        return stored

    async def flows(self) -> Sequence[FlowVersion]:
        """The newest version of each flow."""
        return [flow_from_row(row) for row in await self._rows("flows", {})]

    async def flow_count(self) -> int:
        """How many flows there are."""
        count: int = (await self._rows("flow_count", {}))[0][0]
        return count

    async def flow_versions(self, flow_id: str) -> Sequence[FlowVersion]:
        """All versions of a flow, newest first."""
        rows = await self._rows("flow_versions", {"flow_id": flow_id})
        if not rows:
            raise FlowNotFound(f'There is no flow "{flow_id[:100]}".')
        return [flow_from_row(row) for row in rows]

    async def add_flow_version(self, flow: Flow, now: Instant) -> FlowVersion:
        """Write a version; Conflict when it exists already."""
        params = {
            "flow_id": flow.flow_id,
            "flow_version": flow.version,
            "definition": encode_json(flow.definition),
            "now": now,
        }
        try:
            await self._write(("insert_flow_version", params, False), ("upsert_flow", params, False))
        except Taken:
            raise Conflict(f'The flow "{flow.flow_id}" has a version {flow.version} already.') from None
        self._flows.drop(flow.flow_id)
        return await self.flow(flow.flow_id)

    async def delete_flow(self, flow_id: str, now: Instant) -> None:
        """Take a flow out of use."""
        try:
            await self._write(("delete_flow", {"flow_id": flow_id, "now": now}, True))
        except Stale:
            raise FlowNotFound(f'There is no flow "{flow_id[:100]}".') from None
        self._flows.drop(flow_id)

    # -- agents --------------------------------------------------------------------------------

    def agent_now(self, agent_id: str) -> Optional[Agent]:
        """One agent, from memory."""
        return self._agents.get(agent_id)

    async def agent(self, agent_id: str) -> Agent:
        """One agent."""
        try:
            return self._agents[agent_id]
        except KeyError:
            raise AgentNotFound(f'There is no agent "{agent_id[:100]}".') from None

    async def agents(self) -> Sequence[Agent]:
        """All agents, by id."""
        return [self._agents[agent_id] for agent_id in sorted(self._agents)]

    async def add_agent(self, spec: AgentSpec, now: Instant) -> Agent:
        """Register an agent; Conflict when the id is taken."""
        params = {"agent_id": spec.agent_id, "spec": agent_to_text(spec), "now": now}
        try:
            await self._write(("insert_agent", params, False))
        except Taken:
            raise Conflict(f'The agent "{spec.agent_id}" is registered already.') from None
        agent = self._agents[spec.agent_id] = Agent(spec, now, now)
        return agent

    async def delete_agent(self, agent_id: str) -> None:
        """Forget an agent."""
        try:
            await self._write(("delete_agent", {"agent_id": agent_id}, True))
        except Stale:
            raise AgentNotFound(f'There is no agent "{agent_id[:100]}".') from None
        self._agents.pop(agent_id, None)

    # -- keys ----------------------------------------------------------------------------------

    async def keys(self) -> Sequence[Key]:
        """All keys there ever were."""
        return list(self._keys.values())

    async def key(self, fingerprint: str) -> Optional[Key]:
        """The key with this hash."""
        return self._keys.get(fingerprint)

    async def add_key(self, key: Key, fingerprint: str) -> None:
        """Keep a key's record and hash."""
        params = {
            "key_id": key.key_id,
            "fingerprint": fingerprint,
            "name": key.name,
            "scopes": " ".join(sorted(key.scopes)),
            "hint": key.hint,
            "created_at": key.created_at,
        }
        await self._write(("insert_key", params, False))
        self._keys[fingerprint] = key

    async def revoke_key(self, key_id: str, now: Instant) -> Key:
        """Revoke a key."""
        try:
            await self._write(("revoke_key", {"key_id": key_id, "now": now}, True))
        except Stale:
            raise NotFound(f'There is no key "{key_id[:100]}".', error_code="KEY_NOT_FOUND") from None
        fingerprint, key = next((f, k) for f, k in self._keys.items() if k.key_id == key_id)
        revoked = self._keys[fingerprint] = attrs.evolve(key, revoked_at=key.revoked_at or now)
        return revoked

    # -- itself --------------------------------------------------------------------------------

    async def probe(self) -> Seconds:
        """Write and commit a little; how long that took."""
        before = time.monotonic()
        await self._write(("probe", {"now": time.time_ns() // 1000}, True))
        return time.monotonic() - before

    @property
    def figures(self) -> Mapping[str, float]:
        """Commits and units written since the start, and units that wait."""
        return self._database.figures

    async def _rows(self, name: str, params: Params) -> list[tuple[Any, ...]]:
        sql = self._sql[name]
        return await self._database.read(lambda connection: connection.execute(sql, params).fetchall())

    async def _write(self, *named: Write) -> None:
        await self._database.write([(self._sql[name], params, guarded) for name, params, guarded in named])
