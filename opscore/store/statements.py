"""SQL by name: each ``.sql`` file holds statements, each under a line ``-- name: ...``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*$", re.MULTILINE)
_BLANKS = re.compile(r"\s+")


def load_statements(*names: str) -> Mapping[str, str]:
    """Read statements from files of ``opscore/store/sql``; a later file replaces an earlier one's.

    Args:
        *names: File names without ``.sql``.
    """
    found: dict[str, str] = {}
    for name in names:
        text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        for statement, body in zip(parts[::2], parts[1::2]):
            found[statement] = _BLANKS.sub(" ", _COMMENT.sub("", body)).strip().rstrip(";")
    return found
