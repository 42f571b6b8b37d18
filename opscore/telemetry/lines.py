"""Lines: what a log record says, taken down at once where it was made and worked out later, in the logs' own thread.

At once, because what a caller passes may change after the call; later, because the loop has better things to do.
"""

from __future__ import annotations

import itertools
import logging
import re
import traceback
from typing import Any, Mapping, Optional, Sequence

import attrs

from opscore.domain.discretion import is_secret_name
from opscore.domain.instants import Instant
from opscore.telemetry.context import Bound, bound
from opscore.telemetry.secrets import LONGEST_SPELLING, Secrets
from opscore.telemetry.sentences import SENTENCES, sentence

FACTS = (
    "execution_id", "flow_id", "node_id", "agent_id", "attempt", "request_id", "trace_id", "error_code", "duration_ms",
)  # fmt: skip
"""Facts with a place of their own in each line, in this order; other extras follow them."""
ONLY_HERE = "only_here"
"""An extra that keeps a record out of the store: for what the store itself is to blame for."""

LONGEST_TEXT = 8_192
LONGEST_TRACEBACK = 32_768
_MOST_ITEMS = 50
_DEEPEST = 5
_SAFE = frozenset((int, float, bool, type(None)))
_EVENT = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)+")
_STANDARD = len(vars(logging.makeLogRecord({})))
"""Every record begins with so many attributes of its own; what a caller adds comes after them."""
_ADDED_BY_OTHERS = frozenset(("message", "asctime", "taskName", "color_message"))
_OWN = frozenset(("timestamp", "level", "event", "message", "logger", "log_id"))


@attrs.define
class Taken:
    """A record as it was taken down."""

    created: float
    level: int
    level_name: str
    logger: str
    text: str
    extras: dict[str, Any]
    context: Bound
    failure: Optional[traceback.TracebackException] = None
    stack: Optional[str] = None


@attrs.define
class Line:
    """A record as it is shown and kept: no secret is in it, and no text of it is without bounds."""

    at: Instant
    level: int
    level_name: str
    logger: str
    event: str
    message: str
    facts: dict[str, Any]
    extras: dict[str, Any]
    is_kept: bool = True


def take(record: logging.LogRecord) -> Taken:
    """Take a record down; nothing that changes later changes it."""
    extras = {
        name: value if type(value) in _SAFE else _plain(value)
        for name, value in itertools.islice(record.__dict__.items(), _STANDARD, None)
        if value is not None and name not in _ADDED_BY_OTHERS
    }
    failure = None
    if record.exc_info and record.exc_info[0] is not None:
        kind, error, trace = record.exc_info
        failure = traceback.TracebackException(kind, error, trace, lookup_lines=False)
    text = record.getMessage() if record.args or type(record.msg) is not str else record.msg
    return Taken(
        record.created, record.levelno, record.levelname, record.name, _bounded(text), extras, bound(), failure,
        record.stack_info,
    )  # fmt: skip


def not_taken(record: logging.LogRecord, error: Exception) -> Taken:
    """What is said in the place of a record that cannot be shown: its arguments do not fit its text, for example."""
    extras: dict[str, Any] = {"reason": type(error).__name__}
    if isinstance(record.msg, str):
        extras["text"] = _bounded(record.msg)
    return Taken(record.created, record.levelno, record.levelname, record.name, "logs.not_shown", extras, bound())


def work_out(taken: Taken, secrets: Secrets) -> Line:
    """Make a line of what was taken down."""
    extras = taken.extras
    is_kept = not extras.pop(ONLY_HERE, False)
    known = {name: value for name in FACTS if (value := _fact(name, extras, taken.context)) is not None}
    count = len(known)
    for name, value in extras.items():
        known[f"extra_{name}" if name in _OWN else name] = value
    is_event = taken.text in SENTENCES or _EVENT.fullmatch(taken.text) is not None
    event = taken.text if is_event else taken.logger
    if taken.failure is not None:
        known["exc_info"] = _joined(taken.failure.format())
        known.setdefault("reason", _last(taken.failure))
    if taken.stack is not None:
        known["stack_info"] = taken.stack[: LONGEST_TRACEBACK + LONGEST_SPELLING]
    known = _discreet(known, secrets)
    message = sentence(event, known) if is_event else _discreet(taken.text, secrets)
    return Line(
        round(taken.created * 1_000_000),
        taken.level,
        taken.level_name,
        taken.logger,
        event,
        _cut(message, LONGEST_TEXT),
        dict(itertools.islice(known.items(), count)),
        dict(itertools.islice(known.items(), count, None)),
        is_kept,
    )


def _fact(name: str, extras: dict[str, Any], context: Bound) -> Any:
    """What the call itself says goes before what is bound."""
    given = extras.pop(name, None)
    return context.get(name) if given is None else given


def _discreet(value: Any, secrets: Secrets) -> Any:
    """Plain data without secrets, its texts cut to their bounds only afterwards: no secret can be cut in two."""
    names: list[str] = []
    texts: list[str] = []
    _collect(value, names, texts)
    if not secrets.is_clean("\0".join((*names, *texts))) or any(map(is_secret_name, names)):
        value = secrets.masked(value)
    return _cut_all(value)


def _collect(value: Any, names: list[str], texts: list[str]) -> None:
    if type(value) is str:
        texts.append(value)
    elif type(value) is dict:
        names.extend(value)
        for inner in value.values():
            if type(inner) not in _SAFE:
                _collect(inner, names, texts)
    else:
        for inner in value if type(value) is list else ():
            _collect(inner, names, texts)


def _cut_all(value: Any, name: str = "") -> Any:
    if type(value) is str:
        return _cut(value, LONGEST_TRACEBACK if name in ("exc_info", "stack_info") else LONGEST_TEXT)
    if type(value) is dict:
        return {
            _cut(name, LONGEST_TEXT): inner if type(inner) in _SAFE else _cut_all(inner, name)
            for name, inner in value.items()
        }
    return [_cut_all(inner) for inner in value] if type(value) is list else value


def _cut(text: str, longest: int) -> str:
    """A text that is not too long, and is Unicode without NUL: so that it can be shown and kept."""
    if len(text) <= longest and text.isascii() and "\0" not in text:
        return text
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _bounded(text: str) -> str:
    """A text of bounded length in which a secret that begins within what will be shown is still whole."""
    return text if len(text) <= LONGEST_TEXT + LONGEST_SPELLING else text[: LONGEST_TEXT + LONGEST_SPELLING]


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as plain data that is nobody else's."""
    if type(value) in _SAFE:
        return value
    if isinstance(value, str):
        return _bounded(value if type(value) is str else str.__str__(value))
    if depth < _DEEPEST and isinstance(value, Mapping):
        pairs = list(value.items())[:_MOST_ITEMS]
        return {_bounded(_shown(name)): _plain(inner, depth + 1) for name, inner in pairs}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner, depth + 1) for inner in list(value)[:_MOST_ITEMS]]
    return _bounded(_shown(value))


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - what cannot be shown must not keep the rest of the line from it
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _joined(parts: Any) -> str:
    """Parts of a text until there is enough of it."""
    found: list[str] = []
    size = 0
    for part in parts:
        found.append(part)
        size += len(part)
        if size > LONGEST_TRACEBACK + LONGEST_SPELLING:
            break
    return "".join(found)[: LONGEST_TRACEBACK + LONGEST_SPELLING].rstrip("\n")


def _last(failure: traceback.TracebackException) -> str:
    lines: Sequence[str] = list(failure.format_exception_only())
    return _bounded(lines[-1].strip()) if lines else ""


__all__ = ["FACTS", "ONLY_HERE", "Line", "Taken", "not_taken", "take", "work_out"]
