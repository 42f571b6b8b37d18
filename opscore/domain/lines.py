"""On which line of a text each element of a JSON or YAML document begins.

Values come from :mod:`opscore.domain.documents`; this reads a text that is already known to be good once more,
for where things are. So it happens only when there is something to tell, and costs time and memory in proportion
to the text. An element of an object begins with its key.
"""

from __future__ import annotations

import json
import re
from typing import Iterator, NamedTuple, Optional, Union

import yaml

from opscore.domain.documents import MAX_DEPTH, check_integer, repeated_key, too_deep, yaml_events

_JSON = re.compile(r'\n|[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s\[\]{}",:]+')
_INTEGER = re.compile(r"-?[0-9]{19,}")
_STEP = re.compile(r"\[([0-9]{1,9})\]|\.?([^.\[]+)")


class _Mark(NamedTuple):
    kind: str
    """``{`` or ``[`` where something is opened, ``}`` where anything is closed, ``.`` for a single value."""
    line: int
    text: str = ""


class _Element:
    """A value: its line, and for an object or a list what is in it."""

    __slots__ = ("below", "line")

    def __init__(self, line: int, kind: str) -> None:
        self.line = line
        self.below: Union[list[_Element], dict[str, _Element], None] = (
            {} if kind == "{" else [] if kind == "[" else None
        )


class Lines:
    """The lines of one document, looked up when first asked for."""

    def __init__(self, text: str, *, is_json: bool) -> None:
        self._text = text
        self._is_json = is_json
        self._root: Optional[_Element] = None

    def look(self) -> None:
        """Read the text.

        Raises:
            InvalidDocument: JSON repeats a key, is too deep or holds a number that is too large; with the line.
        """
        self._root = _tree(_json_marks(self._text) if self._is_json else _yaml_marks(self._text))

    def line_of(self, place: str) -> int:
        """The line (from 1) of a place such as ``nodes[3].depends_on``, as far as that is there."""
        if self._root is None:
            self.look()
        assert self._root is not None, "it was looked for"
        element, rest = self._root, place
        while rest:
            # An unknown field may have any name, so the rest as a whole comes first.
            found = element.below.get(rest.removeprefix(".")) if isinstance(element.below, dict) else None
            if found is not None:
                return found.line
            step = _STEP.match(rest)
            below = _below(element, step) if step else None
            if step is None or below is None:
                break
            element, rest = below, rest[step.end() :]
        return element.line


def _below(element: _Element, step: re.Match[str]) -> Optional[_Element]:
    index, key = step.groups()
    if isinstance(element.below, dict):
        return element.below.get(key) if key is not None else None
    if isinstance(element.below, list) and index is not None and int(index) < len(element.below):
        return element.below[int(index)]
    return None


def _tree(marks: Iterator[_Mark]) -> _Element:
    """Put the elements together, without recursion."""
    top = _Element(1, "[")
    opened = [top]
    keys: list[Optional[_Mark]] = [None]  # of each opened element, the key whose value comes next
    for mark in marks:
        if mark.kind == "}":
            opened.pop()
            keys.pop()
            continue
        within, key = opened[-1].below, keys[-1]
        if isinstance(within, dict) and key is None:
            if mark.text in within:
                raise repeated_key(mark.text, mark.line)
            keys[-1] = mark
            continue
        element = _Element(mark.line if key is None else key.line, mark.kind)
        if isinstance(within, dict) and key is not None:
            within[key.text] = element
            keys[-1] = None
        elif isinstance(within, list):
            within.append(element)
        if mark.kind != ".":
            if len(opened) > MAX_DEPTH:
                raise too_deep("JSON", mark.line)
            opened.append(element)
            keys.append(None)
    return top.below[0] if isinstance(top.below, list) and top.below else top


def _json_marks(text: str) -> Iterator[_Mark]:
    line = 1
    for token in _JSON.finditer(text):
        found = token.group()
        first = found[0]
        if first == "\n":
            line += 1
        elif first in "{[":
            yield _Mark(first, line)
        elif first in "}]":
            yield _Mark("}", line)
        elif first == '"':
            yield _Mark(".", line, json.loads(found) if "\\" in found else found[1:-1])
        else:
            if _INTEGER.fullmatch(found):
                check_integer(found, line)
            yield _Mark(".", line)


def _yaml_marks(text: str) -> Iterator[_Mark]:
    for event in yaml_events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            yield _Mark(".", line, event.value)
        elif isinstance(event, yaml.MappingStartEvent):
            yield _Mark("{", line)
        elif isinstance(event, yaml.SequenceStartEvent):
            yield _Mark("[", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            yield _Mark("}", line)
