"""Arguments, checked before anything is sent, with texts that say which one is wrong and what would be right."""

from __future__ import annotations

import math
import re
from typing import Any, Collection, Mapping, NoReturn, Optional

from opscore_sdk.errors import OpsCoreConfigurationError, ValidationError

AGENT_STATES = ("initializing", "idle", "active", "error", "finished", "offline")
"""What an agent may report."""
EXECUTION_STATUSES = ("pending", "running", "paused", "completed", "failed", "cancelled")
FINAL = frozenset({"completed", "failed", "cancelled"})
SCOPES = ("read", "write", "admin")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
PERFORMANCE_BY = ("agent", "flow", "node")

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_KEY = re.compile(r"[ -~]{1,255}")
_LONGEST_TOKEN = 1_000


def refuse(name: str, text: str) -> NoReturn:
    """Refuse an argument.

    Raises:
        ValidationError: Always.
    """
    raise ValidationError(f"{name} {text}", details={name: [text]}, error_code="INVALID_ARGUMENT")


def an_id(value: Any, name: str) -> str:
    """The id of an agent, a flow or an execution."""
    if not isinstance(value, str):
        refuse(name, f"must be text, not {type(value).__name__}.")
    if not _ID.fullmatch(value):
        refuse(name, f"must be 1 to 100 letters, digits, '_' or '-', not {value[:100]!r}.")
    return value


def a_token(value: Any, name: str) -> str:
    """An id of the server's making, of whatever form."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TOKEN or not value.isprintable():
        refuse(name, "must be text as the server gave it, not empty.")
    return value


def some_text(value: Any, name: str) -> str:
    """Text that says something."""
    if not isinstance(value, str) or not value.strip():
        refuse(name, "must be text, not empty.")
    return value


def an_object(value: Any, name: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        refuse(name, f"must be a dictionary, not {type(value).__name__}.")
    return value


def a_number(value: Any, name: str, least: int, most: int) -> Optional[int]:
    """A whole number within bounds, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        refuse(name, f"must be a whole number from {least} to {most}, not {value!r}.")
    return value


def some_seconds(value: Any, name: str, *, zero: bool = False) -> Optional[float]:
    """A time above 0 (or from 0), or None."""
    if value is None:
        return None
    if not _is_time(value) or (value == 0 and not zero):
        refuse(name, f"must be a number of seconds {'from' if zero else 'above'} 0, not {value!r}.")
    return float(value)


def one_of(value: Any, name: str, known: Collection[str]) -> str:
    """One of some words."""
    if value not in known:
        refuse(name, f"must be one of {', '.join(known)}, not {value!r}.")
    return str(value)


def an_idempotency_key(value: Any) -> str:
    """What may stand in the header."""
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        refuse("idempotency_key", "must be 1 to 255 printable ASCII characters.")
    return value


def a_setting(value: Any, name: str) -> float:
    """A time limit of the client's own.

    Raises:
        OpsCoreConfigurationError: It is none.
    """
    if not _is_time(value) or value == 0:
        raise OpsCoreConfigurationError(f"{name} must be a number of seconds above 0.")
    return float(value)


def a_count(value: Any, name: str) -> int:
    """How often, as a setting of the client.

    Raises:
        OpsCoreConfigurationError: It is no whole number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OpsCoreConfigurationError(f"{name} must be a whole number from 0.")
    return value


def _is_time(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
