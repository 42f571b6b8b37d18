"""The fields that schemas of bodies are made of."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import fields, validate

from opscore.domain.agents import ID
from opscore.domain.flows import LONGEST

_LONGEST_TEXT = 10_000


def id_field(**options: Any) -> fields.String:
    """The id of an agent, a flow or a node."""
    pattern = validate.Regexp(re.compile(f"^{ID.pattern}\\Z"), error="1 to 100 letters, digits, '_' or '-'.")
    return fields.String(validate=pattern, **options)


def text_field(longest: int = _LONGEST_TEXT, **options: Any) -> fields.String:
    """Text of bounded length."""
    return fields.String(validate=validate.Length(max=longest), **options)


class Number(fields.Float):
    """A JSON number: neither text nor a truth value, as marshmallow would take them."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, bool)):
            raise self.make_error("invalid")
        return super()._validated(value)


class Integer(fields.Integer):
    """A whole JSON number, no truth value."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise self.make_error("invalid")
        return super()._validated(value)


class Bool(fields.Boolean):
    """A JSON truth value and nothing that looks like one."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


def seconds_field(**options: Any) -> fields.Field[float]:
    """A span of time."""
    fits = validate.Range(min=0, max=LONGEST, min_inclusive=False, error="Above 0, at most a year.")
    return Number(validate=fits, **options)


def nullable(kind: fields.Field[Any]) -> fields.Field[Any]:
    """The same field, where null is a value too."""
    kind.allow_none = True
    return kind
