"""Numbered migrations: plain SQL files, applied in order, each once, each in a transaction.

What was applied is recorded with a checksum. A database that knows more migrations than this program is
refused, and so is one whose history was rewritten: guessing could destroy what is in it.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from pathlib import Path
from typing import Sequence

import attrs

from opscore.domain.errors import StoreError
from opscore.domain.instants import Instant

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_SQLITE_ONLY = re.compile(r"/\* sqlite: (.*?) \*/")
_HISTORY = (
    "CREATE TABLE IF NOT EXISTS schema_migrations "
    "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)"
)


class IncompatibleDatabase(StoreError):
    """This program must not touch this database."""

    code = "INCOMPATIBLE_DATABASE"


@attrs.frozen
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the statements in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations() -> Sequence[Migration]:
    """The migrations that this program knows, in order."""
    migrations = []
    for path in sorted(_directory().glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match:
            sql = path.read_text(encoding="utf-8").replace("\r\n", "\n")
            migrations.append(Migration(int(match[1]), match[2], sql))
    return migrations


def _directory() -> Path:
    here = Path(__file__).parent
    installed = here / "migrations"
    return installed if installed.is_dir() else here.parent.parent / "migrations"


def migrate(connection: sqlite3.Connection, now: Instant) -> list[str]:
    """Bring an SQLite database up to date; the names of the migrations applied, often none.

    Raises:
        IncompatibleDatabase: It was made by a newer program, or its history was altered.
    """
    known = known_migrations()
    applied = _applied(connection)
    _check_history(known, applied)
    names = []
    for migration in known:
        if migration.version not in applied:
            _apply(connection, migration, now)
            names.append(f"{migration.version:04}_{migration.name}")
    return names


def _applied(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    exists = "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'"
    if connection.execute(exists).fetchone() is None:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1").fetchone():
            raise IncompatibleDatabase("The database holds something else than Ops-Core's tables; give another file.")
        return {}
    rows = connection.execute("SELECT version, name, checksum FROM schema_migrations")
    return {version: (name, checksum) for version, name, checksum in rows}


def _check_history(known: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> None:
    newest = max((migration.version for migration in known), default=0)
    if applied and max(applied) > newest:
        raise IncompatibleDatabase(
            f"The database was made by a newer Ops-Core (schema {max(applied)}, this one knows {newest}); "
            "upgrade opscore or give another database."
        )
    for migration in known:
        if migration.version in applied and applied[migration.version][1] != migration.checksum:
            raise IncompatibleDatabase(
                f"Migration {migration.version:04}_{migration.name} of the database differs from this program's; "
                "they do not belong together."
            )


def _apply(connection: sqlite3.Connection, migration: Migration, now: Instant) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_HISTORY)
        for statement in _split(_SQLITE_ONLY.sub(r"\1", migration.sql)):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            (migration.version, migration.name, migration.checksum, now),
        )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _split(script: str) -> list[str]:
    """The statements of a script; a semicolon inside one is no end of it."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return [*statements, current] if current.strip() else statements
