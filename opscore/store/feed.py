"""Reading the feed: a page of all events in their one order, found by looking at a bounded number of units."""

from __future__ import annotations

import sqlite3
from typing import Any, Mapping

from opscore.domain.events import STATE_CHANGED, EventFilter, FeedEvent, FeedPage

_UNITS = 1000
"""Units that one page looks at: whoever wants next to nothing must not hold a connection for long."""

_POSITION = "COALESCE(f.position - f.last_seq + e.seq, f.position)"
_COLUMNS = (
    f"{_POSITION}, f.execution_id, e.seq, x.flow_id, COALESCE(e.type, '{STATE_CHANGED}'), COALESCE(e.at, f.at), "
    "COALESCE(e.data, f.data), e.node_id, COALESCE(e.agent_id, f.agent_id), e.attempt"
)
_FROM = (
    "feed f LEFT JOIN executions x ON x.execution_id = f.execution_id "
    "LEFT JOIN events e ON e.execution_id = f.execution_id "
    "AND e.seq > f.last_seq - f.event_count AND e.seq <= f.last_seq"
)


class FeedReader:
    """Queries about the feed, each a function of a connection."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql

    def page(self, connection: sqlite3.Connection, wanted: EventFilter, after: int, limit: int) -> FeedPage:
        """Wanted events above a position."""
        connection.execute("BEGIN")  # one snapshot: what the page passes over is not wanted, or is gone
        try:
            newest, pruned_to, oldest = connection.execute(self._sql["feed_ends"], {"after": after}).fetchone()
            if oldest is None:
                return FeedPage(after, (), max(after, newest), newest, pruned_to, newest + 1)
            # The units of one execution are found by an index; others are looked at in their turn.
            within = newest if wanted.execution_id is not None else self._window(connection, after)
            sql, params = _page_sql(wanted, after, within, limit)
            events = [FeedEvent(*row) for row in connection.execute(sql, params)]
        finally:
            connection.execute("COMMIT")
        passed = events[-1].position if len(events) == limit else within
        return FeedPage(after, events, passed, newest, pruned_to, max(oldest, after + 1))

    def _window(self, connection: sqlite3.Connection, after: int) -> int:
        found: int = connection.execute(self._sql["feed_window"], {"after": after, "units": _UNITS}).fetchone()[0]
        return found


def _page_sql(wanted: EventFilter, after: int, within: int, limit: int) -> tuple[str, list[Any]]:
    where = ["f.position > ?", "f.position <= ?", f"{_POSITION} > ?", "(e.seq IS NOT NULL OR f.agent_id IS NOT NULL)"]
    params: list[Any] = [after, within, after]

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        params.extend(values)

    if wanted.execution_id is not None:
        add("f.execution_id = ?", wanted.execution_id)
    if wanted.flow_id is not None:
        # Not a bare column: SQLite would take the flow's executions one by one, however many there ever were.
        add("COALESCE(x.flow_id, '') = ?", wanted.flow_id)
    if wanted.agent_id is not None:
        add("COALESCE(e.agent_id, f.agent_id) = ?", wanted.agent_id)
    if wanted.types is not None:
        types = sorted(wanted.types)
        add(f"COALESCE(e.type, '{STATE_CHANGED}') IN ({', '.join('?' * len(types))})", *types)
    condition = " AND ".join(where)
    sql = f"SELECT {_COLUMNS} FROM {_FROM} WHERE {condition} ORDER BY f.position, e.seq LIMIT ?"  # noqa: S608
    return sql, [*params, limit]
