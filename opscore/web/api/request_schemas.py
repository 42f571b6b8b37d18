"""What the bodies of requests must look like; checked."""

from __future__ import annotations

from typing import Any, Mapping

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from opscore.domain.errors import Invalid
from opscore.domain.flows import PRIORITIES
from opscore.domain.keys import SCOPES
from opscore.web.api.fields import Bool, Integer, id_field, seconds_field, text_field


class RequestSchema(Schema):
    """Fields nobody here knows are left alone: clients may be newer than the server."""

    class Meta:
        """Marshmallow's options."""

        unknown = EXCLUDE


class StartSchema(RequestSchema):
    """A flow to run."""

    flow_id = id_field(required=True)
    input_data = fields.Dict(keys=fields.String(), required=True)
    metadata = fields.Dict(keys=fields.String(), load_default=dict, allow_none=True)
    priority = Integer(
        strict=True, validate=validate.Range(PRIORITIES[0], PRIORITIES[-1]), load_default=None, allow_none=True
    )
    timeout = seconds_field(load_default=None, allow_none=True)
    flow_version = Integer(strict=True, validate=validate.Range(1, 2**31), load_default=None, allow_none=True)
    user_id = text_field(200, load_default=None, allow_none=True)


class CancelSchema(RequestSchema):
    """Why an execution is to end."""

    reason = text_field(1000, load_default=None, allow_none=True)


class CancelManySchema(CancelSchema):
    """Executions that are to end, and why."""

    execution_ids = fields.List(
        fields.String(validate=validate.Length(1, 100)), required=True, validate=validate.Length(1, 500)
    )


class AgentSpecSchema(RequestSchema):
    """An agent to register."""

    agent_id = id_field(required=True)
    name = text_field(200, load_default=None, allow_none=True)
    description = text_field(load_default="", allow_none=True)
    endpoint = text_field(2000, load_default=None, allow_none=True)
    protocol = text_field(50, load_default="spine")
    capabilities = fields.List(text_field(200), load_default=list, validate=validate.Length(max=200))
    agent_type = text_field(100, load_default="processor")
    version = text_field(100, load_default=None, allow_none=True)
    is_active = Bool(load_default=True)
    max_concurrency = Integer(strict=True, validate=validate.Range(1, 10_000), load_default=None, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), load_default=dict)


class AgentTestSchema(RequestSchema):
    """An endpoint to try."""

    endpoint = text_field(2000, required=True)
    protocol = text_field(50, load_default="spine")


class KeySpecSchema(RequestSchema):
    """A key to create."""

    name = text_field(100, required=True)
    scopes = fields.List(fields.String(validate=validate.OneOf(SCOPES)), load_default=lambda: ["read", "write"])


class FlowDefinitionSchema(RequestSchema):
    """A flow definition; docs/flows.md has the language."""

    flow_id = id_field(required=True)
    name = fields.String()
    description = fields.String()
    version = fields.String()
    nodes = fields.List(fields.Dict(keys=fields.String()), required=True)
    entry_point = fields.String()
    exit_points = fields.List(fields.String())


def load(schema: Schema, given: Any) -> Mapping[str, Any]:
    """Check a body.

    Raises:
        Invalid: With texts by field.
    """
    try:
        loaded: Mapping[str, Any] = schema.load(given)
    except ValidationError as error:
        details = _flat(error.messages_dict, "")
        field, texts = next(iter(details.items()))
        raise Invalid(f"{field}: {texts[0]}" if field else texts[0], details=details) from None
    return loaded


def _flat(messages: Any, place: str) -> dict[str, list[str]]:
    """Marshmallow's nested messages as texts by path."""
    if isinstance(messages, list):
        return {place: [str(text) for text in messages]}
    flat: dict[str, list[str]] = {}
    for key, below in messages.items():
        here = "" if key == "_schema" else str(key)
        flat.update(_flat(below, f"{place}.{here}" if place and here else place or here))
    return flat
