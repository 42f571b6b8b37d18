"""The log in the store: entries written many to a statement, and read by what they are about."""

from __future__ import annotations

import sqlite3
from typing import Any, Mapping, Optional, Sequence

from opscore.domain.instants import Instant
from opscore.domain.logs import EQUAL, LogEntry, LogPage, LogQuery
from opscore.store.sqlite import Write

_COLUMNS = (
    "log_id, at, level, event, message, logger, execution_id, flow_id, node_id, agent_id, attempt, request_id, "
    "trace_id, error_code, duration_ms, fields"
)
_ROW = f"({', '.join('?' * 16)})"
_ROWS_AT_ONCE = (50, 10, 1)
"""Few sizes, for each is a statement to be prepared; 16 * 50 values are below what any SQLite takes."""


class LogBook:
    """Statements and queries about the log."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql
        self._insert = {
            size: f"INSERT INTO logs ({_COLUMNS}) VALUES {', '.join([_ROW] * size)}"  # noqa: S608 - constants
            for size in _ROWS_AT_ONCE
        }

    def inserts(self, entries: Sequence[LogEntry]) -> Sequence[Write]:
        """The statements that keep entries."""
        writes: list[Write] = []
        start = 0
        for size in _ROWS_AT_ONCE:
            while len(entries) - start >= size:
                values = [value for entry in entries[start : start + size] for value in _values(entry)]
                writes.append((self._insert[size], values, False))
                start += size
        return writes

    def page(self, connection: sqlite3.Connection, query: LogQuery) -> LogPage:
        """A page; one snapshot, so that nothing that fits lies between its end and how far it was read."""
        sql, params = _page_sql(query)
        connection.execute("BEGIN")
        try:
            entries = [LogEntry(*row) for row in connection.execute(sql, params)]
            newest = self.last(connection)
        finally:
            connection.execute("COMMIT")
        is_full = len(entries) >= query.limit
        return LogPage(entries, entries[-1].log_id if is_full else max(newest, query.after or 0))

    def last(self, connection: sqlite3.Connection) -> int:
        """The id of the newest entry; 0 for an empty log."""
        row = connection.execute(self._sql["last_log"]).fetchone()
        return 0 if row is None else int(row[0])

    def bound(
        self, connection: sqlite3.Connection, before: Instant, most: int, limit: int
    ) -> Optional[tuple[int, int]]:
        """The id up to which entries are to go, and how many that are; None for none."""
        surplus = connection.execute(self._sql["log_count"]).fetchone()[0] - most
        oldest = [row[0] for row in connection.execute(self._sql["oldest_logs"], {"limit": limit})]
        # An id is never below the instant of its entry.
        gone = [log_id for place, log_id in enumerate(oldest) if place < surplus or log_id < before]
        return (gone[-1], len(gone)) if gone else None


def _values(entry: LogEntry) -> tuple[Any, ...]:
    return (
        entry.log_id, entry.at, entry.level, entry.event, entry.message, entry.logger, entry.execution_id,
        entry.flow_id, entry.node_id, entry.agent_id, entry.attempt, entry.request_id, entry.trace_id,
        entry.error_code, entry.duration_ms, entry.fields,
    )  # fmt: skip


def _page_sql(query: LogQuery) -> tuple[str, list[Any]]:
    where: list[str] = []
    params: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        params.extend(values)

    if query.before is not None:
        add("log_id < ?", query.before)
    if query.after is not None:
        add("log_id > ?", query.after)
    for name in EQUAL:
        value = getattr(query, name)
        if value is not None:
            add(f"{name} = ?", value)
    if query.level:
        add("level >= ?", query.level)
    if query.since is not None:
        add("log_id >= ? AND at >= ?", query.since, query.since)
    if query.until is not None:
        add("at < ?", query.until)
    if query.text is not None:
        pattern = f"%{_escaped(query.text)}%"
        parts = [f"{name} LIKE ? ESCAPE '\\'" for name in ("message", "event", "error_code")]
        add(f"({' OR '.join(parts)})", pattern, pattern, pattern)
    condition = f"WHERE {' AND '.join(where)} " if where else ""
    order = "log_id DESC" if query.after is None else "log_id"
    sql = f"SELECT {_COLUMNS} FROM logs {condition}ORDER BY {order} LIMIT ?"  # noqa: S608 - constants of this file
    return sql, [*params, query.limit]


def _escaped(text: str) -> str:
    """Text as LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
