"""One server to a database file: an advisory lock on a file beside it.

SQLite before 3.51.3 can corrupt a WAL database when two connections write or checkpoint at the same
instant, so a second process must not even open it. The kernel drops the lock when its holder dies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Optional

from opscore.domain.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: no advisory locks there; see docs/operations.md
    fcntl = None  # type: ignore[assignment]


class DatabaseInUse(StoreError):
    """Another process serves this database."""

    code = "DATABASE_IN_USE"


class FileLock:
    """Held from :meth:`acquire` until :meth:`release` or the end of the process."""

    def __init__(self, database_path: str) -> None:
        self._database_path = database_path
        self._file: Optional[IO[str]] = None

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            DatabaseInUse: Another process has it; the message says which.
            StoreError: The directory is missing or not writable.
        """
        path = f"{self._database_path}.lock"
        try:
            file = Path(path).open("a+", encoding="ascii")  # noqa: SIM115 - held while the server lives
        except OSError as error:
            raise StoreError(f"The database {self._database_path} cannot be opened: {error.strerror}.") from None
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read(20).strip()
            file.close()
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise DatabaseInUse(f"The database {self._database_path} is in use by {by}.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; the file stays, for the next holder."""
        if self._file is not None:
            self._file.close()
            self._file = None
