"""Reading JSON and YAML that strangers wrote.

One function for each format. What they return is plain data that every later part can hold: objects
with unique string keys, numbers that fit a double or a signed 64-bit integer, text without lone
surrogates, no deeper than ``MAX_DEPTH``. All else is an :class:`InvalidDocument`, never another error.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Callable, Iterator, Optional, Union

import orjson
import yaml

from opscore.domain.errors import InvalidDocument

MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)

_LONG_NUMBER = re.compile(rb"[0-9]{19}")

try:
    _YamlLoader: Any = yaml.CSafeLoader
except AttributeError:  # PyYAML without libyaml: slower, same meaning
    _YamlLoader = yaml.SafeLoader


def decode_json(raw: Union[bytes, str]) -> Any:
    """Read one JSON document (RFC 8259, I-JSON's limits of RFC 7493).

    Raises:
        InvalidDocument: It is not JSON, repeats a key, is deeper than 64, or holds a number
            that would not survive being stored.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _at(error.lineno, InvalidDocument(f"This is not valid JSON: {error}")) from None
    keys = _check(value, "JSON")
    # orjson keeps the last of two equal keys and turns integers over 64 bits into floats. Both can
    # only have happened when there are more colons than keys, or a run of 19 digits; then the
    # standard library's slower parser, which shows both, looks again.
    if data.count(b":") != keys or _LONG_NUMBER.search(data):
        _recheck(data)
    return value


def _recheck(data: bytes) -> None:
    json.loads(data, object_pairs_hook=_unique, parse_int=_integer)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise repeated_key(key)
        seen.add(key)


def _integer(text: str) -> int:
    check_integer(text)
    return 0


def _at(line: Optional[int], error: InvalidDocument) -> InvalidDocument:
    error.line = line
    return error


def repeated_key(key: str, line: Optional[int] = None) -> InvalidDocument:
    """The error for a JSON object that has a key twice."""
    return _at(line, InvalidDocument(f"The JSON object has the key {_shown(key)} twice."))


def check_integer(text: str, line: Optional[int] = None) -> None:
    """Refuse a JSON integer that does not fit 64 bits.

    Raises:
        InvalidDocument: It does not.
    """
    if len(text) > 20 or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
        raise _at(line, InvalidDocument(f"The number {text[:25]} does not fit a signed 64-bit integer."))


def too_deep(what: str, line: Optional[int] = None) -> InvalidDocument:
    """The error for a document that is nested too deep."""
    return _at(line, InvalidDocument(f"The {what} is nested deeper than {MAX_DEPTH} levels."))


def _check(value: Any, what: str) -> int:
    """Walk the value without recursion; return how many keys its objects have in all."""
    keys = 0
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                keys += len(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if below or any(isinstance(item, (dict, list)) for item in level):
            depth += 1
            if depth > MAX_DEPTH:
                raise too_deep(what)
        level = below
    return keys


def encode_json(value: Any) -> str:
    """Write plain data as compact JSON text."""
    return orjson.dumps(value).decode()


def decode_yaml(raw: Union[bytes, str]) -> Any:
    """Read one YAML document as JSON-like data: no aliases, no tags, no dates, unique keys.

    Raises:
        InvalidDocument: With the line where it goes wrong.
    """
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        return _build(yaml_events(text))
    except UnicodeError:
        raise _bad_yaml("it is not UTF-8") from None
    except yaml.reader.ReaderError as error:
        character = chr(error.character)
        mark = _mark_of(text, text.find(character))
        raise _bad_yaml(f"the character U+{error.character:04X} is not allowed", mark) from None
    except yaml.MarkedYAMLError as error:
        raise _bad_yaml(error.problem or error.context or "bad syntax", error.problem_mark) from None
    except yaml.YAMLError as error:
        raise _bad_yaml(str(error).splitlines()[0]) from None


def yaml_events(text: str) -> Iterator[Any]:
    """The parser's events, each with its marks. Raises PyYAML's errors."""
    events: Iterator[Any] = yaml.parse(text, Loader=_YamlLoader)
    return events


def _mark_of(text: str, index: int) -> yaml.Mark:
    line_start = text.rfind("\n", 0, index) + 1
    return yaml.Mark("", index, text.count("\n", 0, index), index - line_start, "", 0)


def _bad_yaml(problem: str, mark: Any = None) -> InvalidDocument:
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    error = InvalidDocument(f"The YAML cannot be read: {problem}{place}.", error_code="INVALID_YAML")
    return _at(mark.line + 1 if mark else None, error)


def _shown(key: str) -> str:
    return json.dumps(key if len(key) <= 60 else key[:57] + "...")


_MISSING: Any = object()


def _build(events: Iterator[Any]) -> Any:
    """Put the value together from parser events, without recursion and without sharing."""
    document: list[Any] = []
    open_nodes: list[tuple[Any, Any]] = [(document, None)]  # container, pending key of a mapping
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _bad_yaml("only one document is allowed", event.start_mark)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            open_nodes.pop()
        elif isinstance(event, yaml.NodeEvent):
            _add(event, open_nodes)
    return document[0] if document else None


def _add(event: Any, open_nodes: list[tuple[Any, Any]]) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise _bad_yaml("anchors and aliases are not allowed", event.start_mark)
    if event.tag:
        raise _bad_yaml("tags are not allowed", event.start_mark)
    value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
    if isinstance(event, yaml.ScalarEvent):
        value = _scalar(event)
    container, key = open_nodes[-1]
    if isinstance(container, list):
        container.append(value)
    elif key is _MISSING:
        _check_key(value, container, event)
        open_nodes[-1] = (container, value)
        return
    else:
        container[key] = value
        open_nodes[-1] = (container, _MISSING)
    if isinstance(event, yaml.CollectionStartEvent):
        if len(open_nodes) > MAX_DEPTH:
            raise _bad_yaml(f"it is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        open_nodes.append((value, _MISSING))


def _check_key(key: Any, container: dict[str, Any], event: Any) -> None:
    if not isinstance(key, str):
        raise _bad_yaml("a key must be text (put it in quotes)", event.start_mark)
    if key in container:
        raise _bad_yaml(f"the key {_shown(key)} appears twice", event.start_mark)


# The plain scalars of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): unlike
# in YAML 1.1, `no` and `2024-01-31` are text here. `.inf` and `.nan` have no JSON and stay text too.
_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"(?:~|null|Null|NULL|)"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE|false|False|FALSE)"), lambda text: text[0] in "tT"),
    (re.compile(r"[-+]?[0-9]{1,20}"), int),
    (re.compile(r"0o[0-7]{1,22}"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]{1,16}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0] or event.style:
        return text
    for pattern, read in _PLAIN:
        if pattern.fullmatch(text):
            value = read(text)
            if isinstance(value, float) and not math.isfinite(value):
                raise _bad_yaml("the number is too large", event.start_mark)
            if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
                raise _bad_yaml("the number does not fit a signed 64-bit integer", event.start_mark)
            return value
    return text
