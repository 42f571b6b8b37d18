"""The store: the port of the domain over a database."""

from __future__ import annotations

import time
from typing import Any, Collection, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import Agent, AgentSpec, Report, Source
from opscore.domain.documents import encode_json
from opscore.domain.errors import AgentNotFound, Conflict, FlowNotFound, NotFound, Replayed, Stale
from opscore.domain.events import EventFilter, FeedPage, History
from opscore.domain.executions import AgentReported, Execution, Idempotency, Step, Unit
from opscore.domain.explanations import Record
from opscore.domain.flows import Flow, FlowVersion
from opscore.domain.instants import Instant, Seconds
from opscore.domain.keys import Key
from opscore.domain.logs import LogEntry, LogPage, LogQuery
from opscore.domain.overview import Bucket, Picture
from opscore.domain.performance import Sample, SampleQuery
from opscore.domain.ports import ExecutionQuery, ExecutionTotals, OpenRun, Proof, ReportQuery
from opscore.domain.tasks import OpenTask
from opscore.store.catalogue import (
    AgentBook,
    FlowCache,
    agent_from_row,
    agent_to_text,
    flow_from_row,
    key_from_row,
    report_from_row,
)
from opscore.store.executions import ExecutionReader, id_bound, task_from_row
from opscore.store.feed import FeedReader
from opscore.store.insight import InsightReader
from opscore.store.logs import LogBook
from opscore.store.sqlite import Database, Params, Taken, Write
from opscore.store.statements import load_statements
from opscore.store.writes import Translator

_PRUNE_CHUNK = 200
_END_OF_TIME = 2**63 - 1


class SqlStore:
    """Implements :class:`opscore.domain.ports.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = load_statements("queries")
        self._translator = Translator(self._sql)
        self._reader = ExecutionReader(self._sql)
        self._feed = FeedReader(self._sql)
        self._insight = InsightReader(self._sql)
        self._flows = FlowCache()
        self._agents = AgentBook()
        self._logs = LogBook(self._sql)
        self._keys: dict[str, Key] = {}

    async def load(self) -> None:
        """Read what is kept in memory; once, after the database was opened."""
        for row in await self._rows("agents", {}):
            newest = await self.reports(ReportQuery(row[0], registered_at=row[3], limit=1))
            self._agents.put(agent_from_row(row, newest[0] if newest else None))
        self._keys = dict(key_from_row(row) for row in await self._rows("keys", {}))

    # -- executions ----------------------------------------------------------------------------

    async def commit(self, unit: Unit) -> None:
        """Write one unit, whole or not at all; units are written in the order of the calls."""
        try:
            await self._database.write(self._translator.writes(unit))
        except Taken as error:
            raise Stale(f"Somebody wrote first: {error.message}.") from None
        first = unit.changes[0]
        if isinstance(first, AgentReported):
            self._agents.put_report(first.report)

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
        read = self._database.search if query.is_search else self._database.read
        return await read(lambda connection: self._reader.page(connection, query))

    async def steps(self, execution_id: str) -> Sequence[Step]:
        """The steps of an execution."""
        return await self._database.read(lambda connection: self._reader.steps(connection, execution_id))

    async def outputs(self, execution_id: str, node_ids: Sequence[str]) -> Mapping[str, str]:
        """Outputs of completed nodes."""
        return await self._database.read(lambda connection: self._reader.outputs(connection, execution_id, node_ids))

    async def input(self, execution_id: str) -> str:
        """The input of an execution."""
        return await self._database.read(lambda connection: self._reader.input(connection, execution_id))

    async def history(self, execution_id: str, after: int, limit: int) -> History:
        """Events above a number, and the status of that moment."""
        return await self._database.read(
            lambda connection: self._reader.history(connection, execution_id, after, limit)
        )

    async def feed(self, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        """Wanted events with a position above a number."""
        return await self._database.read(lambda connection: self._feed.page(connection, wanted, after, limit))

    async def newest_position(self) -> int:
        """The position of the newest event."""
        newest: int = (await self._rows("feed_ends", {"after": 0}))[0][0]
        return newest

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

    async def record(self, execution_id: str) -> Record:
        """One execution and its steps without payloads, as they are at one moment."""
        return await self._database.read(lambda connection: self._insight.record(connection, execution_id))

    async def picture(self, spans: Sequence[Bucket], failures: int) -> Picture:
        """What is so of all executions at one moment."""
        return await self._database.search(lambda connection: self._insight.picture(connection, spans, failures))

    async def sample(self, query: SampleQuery) -> Sample:
        """The newest steps that ended since an instant, and their executions."""
        return await self._database.search(lambda connection: self._insight.sample(connection, query))

    async def prune(self, ended_before: Instant, now: Instant, limit: int) -> int:
        """Delete what ended before an instant, a little at a time so that other writers get their turn."""
        params = {"ended_before": ended_before, "id_bound": id_bound(ended_before), "limit": limit}
        pruned = [row[0] for row in await self._rows("prunable", params)]
        for start in range(0, len(pruned), _PRUNE_CHUNK):
            chunk = pruned[start : start + _PRUNE_CHUNK]
            names = (
                "mark_pruned_unit", "prune_feed", "prune_execution", "prune_input", "prune_steps", "prune_events"
            )  # fmt: skip
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
        name, drops = "flow" if version is None else "flow_version", self._flows.drops
        rows = await self._rows(name, {"flow_id": flow_id, "flow_version": version})
        if not rows:
            which = f'"{flow_id[:100]}"' if version is None else f'"{flow_id[:100]}" in version {version}'
            raise FlowNotFound(f"There is no flow {which}.")
        stored = flow_from_row(rows[0])
        self._flows.put(stored, newest=version is None and drops == self._flows.drops)
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

    def capable_now(self, capability: str) -> Collection[str]:
        """The ids of the agents that have a capability, from memory."""
        return self._agents.capable(capability)

    async def agent(self, agent_id: str) -> Agent:
        """One agent."""
        found = self._agents.get(agent_id)
        if found is None:
            raise AgentNotFound(f'There is no agent "{agent_id[:100]}".')
        return found

    async def agents(self) -> Sequence[Agent]:
        """All agents, by id."""
        return self._agents.all()

    async def add_agent(
        self, spec: AgentSpec, now: Instant, source: Source = "direct", proof: Optional[Proof] = None
    ) -> Agent:
        """Register an agent; Conflict when the id is taken."""
        params = {"agent_id": spec.agent_id, "spec": agent_to_text(spec), "source": source, "now": now}
        try:
            await self._write(*self._used(proof), ("insert_agent", params, False))
        except Taken:
            await self._refuse_replay(proof)
            raise Conflict(f'The agent "{spec.agent_id}" is registered already.') from None
        agent = Agent(spec, now, now, source=source)
        self._agents.put(agent)
        return agent

    async def replace_agent(
        self, spec: AgentSpec, now: Instant, source: Source = "direct", proof: Optional[Proof] = None
    ) -> Agent:
        """Change an agent's specification; what it reported stays."""
        params = {"agent_id": spec.agent_id, "spec": agent_to_text(spec), "source": source, "now": now}
        try:
            await self._write(*self._used(proof), ("replace_agent", params, True))
        except Taken:
            await self._refuse_replay(proof)
            raise
        except Stale:
            raise AgentNotFound(f'There is no agent "{spec.agent_id}".') from None
        before = await self.agent(spec.agent_id)
        agent = attrs.evolve(before, spec=spec, updated_at=now, source=source)
        self._agents.put(agent)
        return agent

    async def delete_agent(self, agent_id: str, proof: Optional[Proof] = None) -> None:
        """Forget an agent."""
        try:
            await self._write(*self._used(proof), ("delete_agent", {"agent_id": agent_id}, True))
        except Taken:
            await self._refuse_replay(proof)
            raise
        except Stale:
            raise AgentNotFound(f'There is no agent "{agent_id[:100]}".') from None
        self._agents.drop(agent_id)

    async def use(self, proof: Proof) -> None:
        """Note that a proof was used, with nothing else to write."""
        try:
            await self._write(*self._used(proof))
        except Taken:
            await self._refuse_replay(proof)
            raise

    def _used(self, proof: Optional[Proof]) -> Sequence[Write]:
        if proof is None:
            return ()
        return [("insert_signature", {"signature": proof.signature, "expires_at": proof.expires_at}, False)]

    async def _refuse_replay(self, proof: Optional[Proof]) -> None:
        if proof is not None and await self._rows("signature", {"signature": proof.signature}):
            raise Replayed("This signature was used before.") from None

    # -- reports and tasks of agents -------------------------------------------------------------

    async def add_report(self, report: Report, ends: Optional[OpenTask] = None, *, is_change: bool = False) -> None:
        """Keep a report, forget the task that ends with it, and tell of the change of state that it is."""
        writes = [self._translator.report(report)]
        if is_change:
            writes.append(self._translator.state(report))
        if ends is not None:
            writes.append(self._translator.close_task(ends.agent_id, ends.execution_id))
        await self._database.write(writes)
        self._agents.put_report(report)

    async def close_task(self, task: OpenTask) -> None:
        """Forget a task whose time is over."""
        await self._database.write([self._translator.close_task(task.agent_id, task.execution_id)])

    async def reports(self, query: ReportQuery) -> Sequence[Report]:
        """A page of an agent's reports, newest first by its own clock."""
        reported, received = query.before or (_END_OF_TIME, _END_OF_TIME)
        params = {
            "agent_id": query.agent_id,
            "registered_at": query.registered_at,
            "reported_before": reported,
            "received_before": received,
            "limit": query.limit,
        }
        return [report_from_row(row) for row in await self._rows("reports", params)]

    async def open_tasks(self) -> Sequence[OpenTask]:
        """All tasks that agents hold."""
        return [task_from_row(row) for row in await self._rows("open_tasks", {})]

    async def prune_reports(self, received_before: Instant, limit: int) -> int:
        """Delete old reports, all but each agent's newest."""
        count, agent_id = 0, ""
        while count < limit:
            found = await self._rows("reporting_agent_after", {"agent_id": agent_id})
            if not found:
                break
            agent_id = found[0][0]
            agent = self._agents.get(agent_id)
            newest = _END_OF_TIME if agent is None or agent.present is None else agent.present.reported_at
            params = {
                "agent_id": agent_id,
                "reported_before": min(newest, received_before),
                "received_before": received_before,
                "limit": limit - count,
            }
            rows = await self._rows("prunable_reports", params)
            for start in range(0, len(rows), _PRUNE_CHUNK):
                await self._write(
                    *[
                        ("prune_report", {"agent_id": agent_id, "reported_at": at, "received_at": received}, False)
                        for at, received in rows[start : start + _PRUNE_CHUNK]
                    ]
                )
            count += len(rows)
        return count

    async def prune_states(self, received_before: Instant, limit: int) -> int:
        """Delete old events about changes of agents' states outside tasks."""
        rows = await self._rows("prunable_states", {"received_before": received_before, "limit": limit})
        for start in range(0, len(rows), _PRUNE_CHUNK):
            chunk = rows[start : start + _PRUNE_CHUNK]
            names = ("mark_pruned_state", "prune_state")
            await self._write(*[(name, {"position": one}, False) for (one,) in chunk for name in names])
        return len(rows)

    async def prune_proofs(self, now: Instant, limit: int) -> int:
        """Delete used proofs that have expired."""
        rows = await self._rows("expired_signatures", {"now": now, "limit": limit})
        for start in range(0, len(rows), _PRUNE_CHUNK):
            chunk = rows[start : start + _PRUNE_CHUNK]
            await self._write(*[("forget_signature", {"signature": signature}, False) for (signature,) in chunk])
        return len(rows)

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

    # -- the log -------------------------------------------------------------------------------

    async def add_logs(self, entries: Sequence[LogEntry]) -> None:
        """Keep entries; a patient unit, so that executions need not wait for them."""
        await self._database.write(self._logs.inserts(entries), is_patient=True)

    async def logs(self, query: LogQuery) -> LogPage:
        """A page of the log."""
        read = self._database.search if query.is_search else self._database.read
        return await read(lambda connection: self._logs.page(connection, query))

    async def last_log(self) -> int:
        """The id of the newest entry."""
        return await self._database.read(self._logs.last)

    async def prune_logs(self, before: Instant, most: int, limit: int) -> int:
        """Delete the oldest entries, a little at a time."""
        bound = await self._database.read(lambda connection: self._logs.bound(connection, before, most, limit))
        if bound is None:
            return 0
        log_id, count = bound
        await self._database.write([(self._sql["prune_logs"], {"log_id": log_id}, False)], is_patient=True)
        return count

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

    def sizes(self) -> Mapping[str, int]:
        """Bytes of the file and of its log, and free on their disk; empty in memory. Not to be called on the loop."""
        return self._database.sizes()

    async def _rows(self, name: str, params: Params) -> list[tuple[Any, ...]]:
        sql = self._sql[name]
        return await self._database.read(lambda connection: connection.execute(sql, params).fetchall())

    async def _write(self, *named: Write) -> None:
        await self._database.write([(self._sql[name], params, guarded) for name, params, guarded in named])
