"""Log entries: what the server noted about its own work, in the words and columns that operators search by."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

import attrs

from opscore.domain.instants import Instant

LEVELS: Mapping[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""Names of levels and their weights, lightest first."""


def level_name(weight: int) -> str:
    """The name of the heaviest known level that is not above a weight."""
    return next((name for name, least in reversed(tuple(LEVELS.items())) if weight >= least), "DEBUG")


@attrs.frozen
class LogEntry:
    """One line of the log. Whatever looked like a secret is masked in it; ``fields`` is JSON text."""

    log_id: int
    """Rises from entry to entry; about the instant of the entry in microseconds, and never below it."""
    at: Instant
    level: int
    event: str
    message: str
    logger: str
    execution_id: Optional[str] = None
    flow_id: Optional[str] = None
    node_id: Optional[str] = None
    agent_id: Optional[str] = None
    attempt: Optional[int] = None
    request_id: Optional[str] = None
    trace_id: Optional[str] = None
    error_code: Optional[str] = None
    duration_ms: Optional[float] = None
    fields: str = "{}"


EQUAL = ("execution_id", "flow_id", "node_id", "agent_id", "error_code", "request_id", "trace_id")
"""What an entry has to have the same as a query, where the query has it."""


@attrs.frozen
class LogQuery:
    """Which entries to read. Newest first and below ``before``; with ``after`` oldest first, and above it."""

    level: int = 0
    """The least weight."""
    execution_id: Optional[str] = None
    flow_id: Optional[str] = None
    node_id: Optional[str] = None
    agent_id: Optional[str] = None
    error_code: Optional[str] = None
    request_id: Optional[str] = None
    trace_id: Optional[str] = None
    since: Optional[Instant] = None
    until: Optional[Instant] = None
    text: Optional[str] = None
    """Part of the message, the event or the error code, in upper or lower case."""
    before: Optional[int] = None
    after: Optional[int] = None
    limit: int = 100
    is_near: bool = False
    """Whether ``after`` is a place that the log was read to just now, so that little can follow."""

    def fits(self, entry: LogEntry) -> bool:
        """Whether an entry is wanted, wherever it stands."""
        if entry.level < self.level or (self.until is not None and entry.at >= self.until):
            return False
        if self.since is not None and entry.at < self.since:
            return False
        for name in EQUAL:
            wanted = getattr(self, name)
            if wanted is not None and wanted != getattr(entry, name):
                return False
        return self.text is None or self._is_in(self.text, entry)

    @staticmethod
    def _is_in(text: str, entry: LogEntry) -> bool:
        # Of bytes only the ASCII letters are lowered, as the store does it.
        sought = text.encode().lower()
        return any(sought in one.encode().lower() for one in (entry.message, entry.event, entry.error_code or ""))

    @property
    def is_search(self) -> bool:
        """Whether very many may have to be looked at for a few that fit; an execution's, say, are found by an index."""
        if self.is_near:
            return False
        found = self.execution_id or self.agent_id or self.error_code
        narrowed = self.level or self.flow_id or self.node_id or self.request_id or self.trace_id or self.until
        return self.text is not None or (found is None and bool(narrowed))


@attrs.frozen
class LogPage:
    """Some entries, and how far the log was read for them."""

    entries: Sequence[LogEntry]
    read_to: int
    """Nothing that fits lies between the last entry and this ``log_id`` (of pages that are oldest first)."""
