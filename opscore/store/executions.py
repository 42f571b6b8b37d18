"""Reading executions, steps and events: queries in one trip each, and rows made values."""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Mapping, Optional, Sequence

import attrs

from opscore.domain.errors import ExecutionNotFound
from opscore.domain.events import Event, History
from opscore.domain.executions import Execution, Step, Waiting
from opscore.domain.instants import Instant
from opscore.domain.ports import ExecutionQuery, ExecutionTotals, OpenRun
from opscore.domain.tasks import OpenTask

LONGEST_LISTED = 16_384
"""Payloads longer than this are left out of lists (characters)."""

_SEARCHED = ("e.flow_id", "e.error_code", "e.error_message", "e.user_id")
_COLUMNS = (
    "e.execution_id, e.flow_id, e.flow_version, e.status, e.priority, e.last_seq, "
    "e.created_at, e.updated_at, e.started_at, e.completed_at, e.deadline_at, "
    "e.error_code, e.error_message, e.user_id, e.agent_id, e.metadata, "
    f"CASE WHEN LENGTH(i.body) <= {LONGEST_LISTED} THEN i.body END, "
    "e.trace_context"
)


class ExecutionReader:
    """Queries about executions, each a function of a connection."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql

    def execution(self, connection: sqlite3.Connection, execution_id: str) -> Execution:
        """One execution, whole. Raises ExecutionNotFound."""
        key = {"execution_id": execution_id}
        # One snapshot for all of it: a reader must not see a finished execution with half its outputs.
        connection.execute("BEGIN")
        try:
            row = connection.execute(self._sql["execution"], key).fetchone()
            if row is None:
                raise not_found(execution_id)
            steps = connection.execute(self._sql["step_counts"], key).fetchall()
            outputs = connection.execute(self._sql["exit_outputs"], key).fetchall() if row[3] == "completed" else None
        finally:
            connection.execute("COMMIT")
        return _execution(row, steps, None if outputs is None else dict(outputs))

    def page(self, connection: sqlite3.Connection, query: ExecutionQuery) -> Sequence[Execution]:
        """A page of executions, newest first."""
        sql, params = _page_sql(query)
        connection.execute("BEGIN")
        try:
            rows = connection.execute(sql, params).fetchall()
            found = []
            for row in rows:
                wanted = {"execution_id": row[0], "longest": LONGEST_LISTED}
                found.append(_listed(row, connection.execute(self._sql["listed_steps"], wanted).fetchall()))
        finally:
            connection.execute("COMMIT")
        return found

    def steps(self, connection: sqlite3.Connection, execution_id: str) -> Sequence[Step]:
        """All steps with their outputs."""
        rows = connection.execute(self._sql["steps"], {"execution_id": execution_id})
        return [Step(*row) for row in rows]

    def outputs(self, connection: sqlite3.Connection, execution_id: str, nodes: Sequence[str]) -> dict[str, str]:
        """Outputs of completed steps by node."""
        found = {}
        for node_id in nodes:
            key = {"execution_id": execution_id, "node_id": node_id}
            row = connection.execute(self._sql["step_output"], key).fetchone()
            if row is not None:
                found[node_id] = row[0]
        return found

    def input(self, connection: sqlite3.Connection, execution_id: str) -> str:
        """The input. Raises ExecutionNotFound."""
        row = connection.execute(self._sql["input"], {"execution_id": execution_id}).fetchone()
        if row is None:
            raise not_found(execution_id)
        text: str = row[0]
        return text

    def history(self, connection: sqlite3.Connection, execution_id: str, after: int, limit: int) -> History:
        """Events above a number, and the status. Raises ExecutionNotFound."""
        params = {"execution_id": execution_id, "after": after, "limit": limit}
        # One snapshot: a final status means that the last event is among those that are there.
        connection.execute("BEGIN")
        try:
            row = connection.execute(self._sql["execution_status"], params).fetchone()
            events = [Event(*found) for found in connection.execute(self._sql["events"], params)]
        finally:
            connection.execute("COMMIT")
        if row is None:
            raise not_found(execution_id)
        return History(row[0], events)

    def open_run(self, connection: sqlite3.Connection, execution_id: str) -> Optional[OpenRun]:
        """One open execution with its steps."""
        row = connection.execute(self._sql["open_execution"], {"execution_id": execution_id}).fetchone()
        return None if row is None else self._open_run(connection, row)

    def open_runs(self, connection: sqlite3.Connection, after: str, limit: int) -> Sequence[OpenRun]:
        """Running executions with their steps, in the order of their ids."""
        params = {"after": after, "limit": limit}
        rows = connection.execute(self._sql["open_executions"], params).fetchall()
        return [self._open_run(connection, row) for row in rows]

    def _open_run(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> OpenRun:
        key = {"execution_id": row[0]}
        steps = [Step(*step) for step in connection.execute(self._sql["open_steps"], key)]
        tasks = [task_from_row(task) for task in connection.execute(self._sql["tasks_of"], key)]
        *known, agent_id, trace_context = row
        execution = attrs.evolve(Execution(*known), agent_id=agent_id, trace_context=trace_context)
        return OpenRun(execution, steps, tasks)

    def totals(self, connection: sqlite3.Connection) -> ExecutionTotals:
        """Counts over all executions."""
        ended = {row[0]: row[1:] for row in connection.execute(self._sql["totals"])}
        opened = dict(connection.execute(self._sql["open_counts"]).fetchall())
        oldest = connection.execute(self._sql["oldest_pending"]).fetchone()
        last = connection.execute(self._sql["last_created"]).fetchone()
        return ExecutionTotals(
            **{status: count for status, (count, _) in ended.items()},
            **opened,
            seconds=sum(seconds for _, seconds in ended.values()),
            oldest_pending_at=oldest[0] if oldest else None,
            last_created_at=last[0] if last else None,
        )


def not_found(execution_id: str) -> ExecutionNotFound:
    """The error for an id that nothing has."""
    return ExecutionNotFound(f'No execution has the id "{execution_id[:100]}".')


def task_from_row(row: tuple[Any, ...]) -> OpenTask:
    """Read ``agent_id, execution_id, node_id, until_at, accepted_at, begun_at, is_abandoned``."""
    *known, is_abandoned = row
    return attrs.evolve(OpenTask(*known), is_abandoned=bool(is_abandoned))


def id_bound(instant: Instant) -> str:
    """The least UUID of version 7 of a millisecond: ids made before it sort below it (RFC 9562, 5.7)."""
    stamp = f"{max(0, instant // 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}"


def _page_sql(query: ExecutionQuery) -> tuple[str, list[Any]]:
    where: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        params.extend(values)

    if query.flow_id is not None:
        add("e.flow_id = ?", query.flow_id)
    if query.status is not None:
        add("e.status = ?", query.status)
    if query.before is not None:
        add("e.execution_id < ?", query.before)
    # Ids rise with the time they are made at, which spares an index; a second covers what lies between
    # the two readings of the clock.
    if query.created_after is not None:
        add("e.created_at > ? AND e.execution_id > ?", query.created_after, id_bound(query.created_after - 1_000_000))
    if query.created_before is not None:
        bound = id_bound(query.created_before + 1_000_000)
        add("e.created_at < ? AND e.execution_id < ?", query.created_before, bound)
    if query.agent_id is not None:
        add("EXISTS (SELECT 1 FROM steps s WHERE s.execution_id = e.execution_id AND s.agent_id = ?)", query.agent_id)
    if query.text is not None:
        sought = _escaped(query.text)
        searched = " OR ".join(f"LOWER({column}) LIKE LOWER(?) ESCAPE '!'" for column in _SEARCHED)
        add(f"(e.execution_id LIKE LOWER(?) ESCAPE '!' OR {searched})", f"{sought}%", *[f"%{sought}%"] * len(_SEARCHED))
    for key, value in query.metadata.items():
        path = '$."' + key.replace('"', "") + '"'
        add("CAST(json_extract(e.metadata, ?) AS TEXT) = ?", path, value)
    condition = f"WHERE {' AND '.join(where)} " if where else ""
    sql = (
        f"SELECT {_COLUMNS} FROM executions e JOIN execution_inputs i ON i.execution_id = e.execution_id "  # noqa: S608
        f"{condition}ORDER BY e.execution_id DESC LIMIT ? OFFSET ?"
    )
    return sql, [*params, query.limit, query.offset]


def _escaped(text: str) -> str:
    """Text that LIKE takes as it stands."""
    return re.sub("[!%_]", r"!\g<0>", text)


def _execution(
    row: tuple[Any, ...], steps: Sequence[tuple[Any, ...]], outputs: Optional[Mapping[str, str]]
) -> Execution:
    waiting = [
        Waiting(node_id, reason, since, until, agent_id, detail, error_code)
        for node_id, agent_id, status, _, _, reason, since, until, detail, error_code in steps
        if status == "waiting"
    ]
    *known, trace_context = row
    more: dict[str, Any] = {
        "outputs": outputs,
        "calls": sum([step[3] for step in steps]),
        "failures": sum([step[4] for step in steps]),
        "waiting": tuple(waiting),
        "trace_context": trace_context,
    }
    return Execution(*known, **more)


def _listed(row: tuple[Any, ...], listed: Sequence[tuple[Any, ...]]) -> Execution:
    outputs: Optional[dict[str, str]] = None
    truncated = [] if row[16] is not None else ["input_data"]
    if row[3] == "completed":
        exits = {step[0]: step[11] for step in listed if step[10] and step[2] == "completed"}
        if None in exits.values() or sum(map(len, exits.values())) > LONGEST_LISTED:
            truncated.append("output_data")
        else:
            outputs = exits
    steps = [step[:10] for step in listed]
    return attrs.evolve(_execution(row, steps, outputs), truncated=tuple(truncated))
