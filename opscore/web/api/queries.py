"""Query parameters: read strictly, with errors by parameter."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Optional, Sequence, TypeVar

from aiohttp import web

from opscore.domain.agents import Report, is_id
from opscore.domain.errors import Invalid
from opscore.domain.events import EVENT_WORDS, EventFilter
from opscore.domain.executions import EXECUTION_STATUSES
from opscore.domain.instants import Instant, parse
from opscore.domain.ports import ExecutionQuery
from opscore.domain.spelling import nearest

DEFAULT_LIMIT = 100
MOST = 500
NEWEST_VERSION = 2**31
_LONGEST_OFFSET = 100_000
_LONGEST_SEARCH = 200
_MOST_FILTERS = 5
LARGEST_PLACE = 2**53
"""Of an event: what every JSON reader can hold."""
_METADATA = "metadata."
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Number = TypeVar("Number", int, float)


def integer(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number within bounds. Raises Invalid."""
    raw = request.query.get(name)
    if raw is None:
        return default
    return whole(name, raw, least, most)


def whole(name: str, raw: str, least: int, most: int) -> int:
    """The whole number within bounds that a text is. Raises Invalid."""
    digits = raw.lstrip("-")
    if raw.isascii() and digits.isdigit() and len(digits) < 20 and least <= int(raw) <= most:
        return int(raw)
    raise refused(name, f"must be a whole number from {least} to {most}.")


def resumed_at(request: web.Request) -> Optional[int]:
    """The number of the last event that a stream's reader has; None when it tells none. Raises Invalid."""
    # A browser repeats the address it began with, so the header is the newer of the two; empty it means "none yet".
    last = request.headers.get("Last-Event-ID")
    if last:
        return whole("Last-Event-ID", last, 0, LARGEST_PLACE)
    return integer(request, "after", 0, 0, LARGEST_PLACE) if "after" in request.query else None


def seconds(request: web.Request, name: str, most: float) -> Optional[float]:
    """A number of seconds from 0 on; None when it is not there. Raises Invalid."""
    raw = request.query.get(name)
    if raw is None:
        return None
    try:
        value = float(raw) if raw.isascii() else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise refused(name, f"must be a number of seconds from 0 to {most:g}.")
    return value


def instant(request: web.Request, name: str) -> Optional[Instant]:
    """An instant; None when it is not there. Raises Invalid."""
    raw = request.query.get(name)
    return None if raw is None else parse(raw, name)


def word(request: web.Request, name: str, known: Sequence[str]) -> Optional[str]:
    """One of some words; None when it is not there. Raises Invalid."""
    given = request.query.get(name)
    if given is not None and given not in known:
        raise refused(name, f"must be one of {', '.join(known)}{nearest(given, known) or '.'}")
    return given


def text(request: web.Request, name: str, longest: int) -> Optional[str]:
    """Some text that is not empty; None when it is not there. Raises Invalid."""
    given = request.query.get(name)
    if given is not None and (not 0 < len(given) <= longest or "\0" in given):
        raise refused(name, f"must have 1 to {longest} characters.")
    return given


def execution_query(request: web.Request) -> ExecutionQuery:
    """Which executions are to be listed. Raises Invalid."""
    status = word(request, "status", EXECUTION_STATUSES)
    metadata = {name[len(_METADATA) :]: value for name, value in request.query.items() if name.startswith(_METADATA)}
    if len(metadata) > _MOST_FILTERS:
        raise refused("metadata", f"may be filtered by at most {_MOST_FILTERS} keys.")
    return ExecutionQuery(
        flow_id=request.query.get("flow_id"),
        status=status,
        agent_id=request.query.get("agent_id"),
        created_after=instant(request, "created_after"),
        created_before=instant(request, "created_before"),
        metadata=metadata,
        limit=integer(request, "limit", DEFAULT_LIMIT, 1, MOST),
        offset=integer(request, "offset", 0, 0, _LONGEST_OFFSET),
        before=from_cursor(request.query.get("cursor")),
        text=text(request, "q", _LONGEST_SEARCH),
    )


def event_filter(request: web.Request) -> EventFilter:
    """Which events are wanted. Raises Invalid."""
    return EventFilter(
        execution_id=_execution_id(request),
        flow_id=identifier(request, "flow_id"),
        agent_id=identifier(request, "agent_id"),
        types=_event_types(request),
    )


def identifier(request: web.Request, name: str) -> Optional[str]:
    """What can be the id of an agent or a flow; None when it is not there. Raises Invalid."""
    given = request.query.get(name)
    if given is not None and not is_id(given):
        raise refused(name, "must be 1 to 100 letters, digits, '_' or '-'.")
    return given


def _execution_id(request: web.Request) -> Optional[str]:
    given = request.query.get("execution_id")
    if given is not None and _UUID.fullmatch(given) is None:
        raise refused("execution_id", "must be a UUID.")
    return None if given is None else given.lower()


def _event_types(request: web.Request) -> Optional[frozenset[str]]:
    if "type" not in request.query:
        return None
    found: frozenset[str] = frozenset()
    for given in ",".join(request.query.getall("type")).split(","):
        if given not in EVENT_WORDS:
            hint = nearest(given, EVENT_WORDS) or "; there are execution.*, node.*, agent.* and all that begin so."
            raise refused("type", f'knows no "{given[:100]}"{hint}')
        found |= EVENT_WORDS[given]
    return found


def to_cursor(execution_id: str) -> str:
    """An opaque text that leads on from an execution."""
    return base64.urlsafe_b64encode(execution_id.encode()).decode().rstrip("=")


def to_report_cursor(report: Report) -> str:
    """An opaque text that leads on from an agent's report."""
    return to_cursor(f"{report.reported_at}.{report.received_at}")


def from_report_cursor(cursor: Optional[str]) -> Optional[tuple[Instant, Instant]]:
    """The instants of the report that a cursor leads on from. Raises Invalid."""
    text = from_cursor(cursor)
    if text is None:
        return None
    match = re.fullmatch(r"(-?[0-9]{1,18})\.([0-9]{1,18})", text)
    if match is None:
        raise refused("cursor", "is none that this server gave out.")
    return int(match[1]), int(match[2])


def from_cursor(cursor: Optional[str]) -> Optional[str]:
    """The text that a cursor was made of. Raises Invalid."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        found = ""
    if not 0 < len(found) <= 100 or to_cursor(found) != cursor:
        raise refused("cursor", "is none that this server gave out.")
    return found


def refused(name: str, text: str) -> Invalid:
    """The error for a parameter."""
    return Invalid(f"{name} {text}", details={name: [text[0].upper() + text[1:]]})
