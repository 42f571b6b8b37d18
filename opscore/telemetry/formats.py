"""How a line looks: JSON for machines, or aligned and coloured for people. No text in a record can begin a line."""

from __future__ import annotations

import functools
import json
import logging
import re
from typing import Any, Callable, Mapping

import orjson

from opscore.domain.instants import SECOND, Instant, show
from opscore.telemetry.lines import Line

Format = Callable[[Line], bytes]
"""Makes of a line what is to be written, the newline at its end included."""

# DEL, C1 controls, the line and paragraph separators, the marks that turn the direction of text, and what nobody sees.
_BEYOND = "\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f"
_BEYOND_ASCII = re.compile(f"[{_BEYOND}]")
_CONTROL = re.compile(f"[\x00-\x1f{_BEYOND}]")
_CONTROL_BUT_NEWLINE = re.compile(f"[\x00-\x09\x0b-\x1f{_BEYOND}]")
_TO_QUOTE = re.compile(r"[\s\"'=]|^$")

_COLOURS: Mapping[int, str] = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_EVENT_WIDTH = 22
_BELOW = ("exc_info", "stack_info")


def as_json(line: Line) -> bytes:
    """One object, in one line of text that no reader takes for two."""
    shown: dict[str, Any] = {
        "timestamp": shown_instant(line.at),
        "level": line.level_name,
        "event": line.event,
        "message": line.message,
        "logger": line.logger,
        **line.facts,
        **line.extras,
    }
    try:
        data = orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError):  # whole numbers of more than 64 bits
        data = encode(shown).encode("utf-8", "backslashreplace") + b"\n"
    if data.isascii() and b"\x7f" not in data:
        return data
    return _BEYOND_ASCII.sub(_in_json, data.decode()).encode()


def _in_json(match: re.Match[str]) -> str:
    """A character as JSON escapes it: in one unit of UTF-16, or in two."""
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def shown_instant(at: Instant) -> str:
    """RFC 3339 text; a second has many lines, so its text is made once."""
    return f"{_shown_second(at // SECOND)}.{at % SECOND:06}Z"


@functools.lru_cache(8)
def _shown_second(second: int) -> str:
    return (show(second * SECOND) or "").partition(".")[0]


def encode(value: Any) -> str:
    """Plain data as JSON text."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):  # as above
        return json.dumps(value, ensure_ascii=False, default=str)


class Console:
    """``instant LEVEL event message name=value``; lines of a traceback are set in with a bar."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, line: Line) -> bytes:
        """What is to be written of a line."""
        facts = {name: value for name, value in line.facts.items() if name != "trace_id" or _is_own(line)}
        below = [line.extras[name] for name in _BELOW if name in line.extras]
        facts.update((name, value) for name, value in line.extras.items() if name not in _BELOW)
        told = [self._fact(name, value) for name, value in facts.items() if not _is_said(value, line.message)]
        instant = shown_instant(line.at)[:-4] + "Z"
        head = [
            self._in(_DIM, instant),
            self._in(_COLOURS.get(line.level, ""), f"{line.level_name:<8}"),
            self._in(_BOLD, f"{_escaped(_CONTROL, line.event):<{_EVENT_WIDTH}}"),
            _escaped(_CONTROL, line.message),
        ]
        lines = [" ".join([*head, *told])]
        lines += [f"    | {one}" for text in below for one in _escaped(_CONTROL_BUT_NEWLINE, text).split("\n")]
        return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")

    def _fact(self, name: str, value: Any) -> str:
        text = value if isinstance(value, str) else encode(value)
        quoted = repr(text) if _TO_QUOTE.search(text) else text
        return f"{self._in(_DIM, _escaped(_CONTROL, name) + '=')}{_escaped(_CONTROL, quoted)}"

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def _is_said(value: Any, message: str) -> bool:
    return isinstance(value, str) and len(value) >= 3 and value in message


def _is_own(line: Line) -> bool:
    """Whether a trace says more than the execution's id does."""
    execution_id = line.facts.get("execution_id")
    return not isinstance(execution_id, str) or line.facts["trace_id"] != execution_id.replace("-", "")


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    # Nothing that is escaped is printable to Python, and asking costs a twentieth of a search.
    return text if text.isprintable() else pattern.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
