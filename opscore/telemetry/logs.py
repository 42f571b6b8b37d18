"""Logs over the standard logging module: JSON for machines or lines for people, on standard error.

Two promises hold for whatever is logged, tracebacks included: one record cannot look like two, and nothing that
looks like a key leaves the process. So both are kept where the finished text is, in the formatters.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Mapping, TextIO

from pythonjsonlogger.json import JsonFormatter

NOISY: Mapping[str, int] = {
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "aiosqlite": logging.WARNING,
}
"""Loggers that speak of every step they take, and the level from which they are heard."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

_SECRETS = (
    (re.compile(r"sk_ops_[A-Za-z0-9_-]+"), "sk_ops_***"),
    (re.compile(r"(Bearer)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"(X-API-Key\W{1,5})[\x21\x23-\x26\x28-\x5b\x5d-\x7e]{8,}", re.IGNORECASE), r"\1***"),
)

# C0 and C1 controls, DEL, the line and paragraph separators, and the marks that turn the direction of text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_NEWLINE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def configure_logging(level: str = "INFO", format: str = "console") -> None:  # noqa: A002 - the setting's name
    """Send all logs of the process to standard error; calling it again replaces what it set.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        format: ``json``, one object a line, or ``console``, lines for people (in colour on a terminal).
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Console(colour=_wants_colour(sys.stderr)))
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(True)


def mask(text: str) -> str:
    """The text without whatever looks like a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # takes no type arguments on Python 3.9 and 3.10


class _Handler(_StreamHandler):
    """Ours, so that configuring again finds it and leaves the handlers of others alone."""


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, tz=timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Json(JsonFormatter):
    """``{"timestamp", "level", "logger", "message", ...extras, "exc_info"?}``, one object a line."""

    def __init__(self) -> None:
        super().__init__("%(message)s", json_ensure_ascii=True)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        given = dict(log_data)
        log_data.clear()
        log_data.update(timestamp=_timestamp(record), level=record.levelname, logger=record.name)
        # What a caller passes as an extra never replaces what the record itself says.
        log_data.update({name: value for name, value in given.items() if name not in log_data and name != "taskName"})

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


_COLOURS: Mapping[int, str] = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


class _Console(logging.Formatter):
    """``instant LEVEL logger: message extra=value``; lines of a traceback are set in with a bar."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {name}={_shown(value)}" for name, value in _extras(record).items())
        text = _escaped(_CONTROL, f"{record.name}: {record.getMessage()}{extras}")
        level = f"{record.levelname:<8}"
        if self._colour and record.levelno in _COLOURS:
            level = f"{_COLOURS[record.levelno]}{level}\x1b[0m"
        lines = [f"{_timestamp(record)} {level} {text}", *self._below(record)]
        return mask("\n".join(lines))

    def _below(self, record: logging.LogRecord) -> list[str]:
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        text = _escaped(_CONTROL_BUT_NEWLINE, "\n".join(parts))
        return [f"    | {line}" for line in text.split("\n")] if parts else []


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _shown(value: Any) -> str:
    text = str(value)
    return text if text and not re.search(r"[\s\"=]", text) else repr(text)


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
