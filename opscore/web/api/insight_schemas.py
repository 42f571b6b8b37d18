"""What answers about how things stand look like; documented, and tested."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from opscore.domain.flows import KINDS, NODE_TYPES
from opscore.domain.keys import SCOPES
from opscore.web.api.fields import id_field, nullable


class IdentitySchema(Schema):
    """Who asks, and what that one may do."""

    key_required = fields.Boolean(required=True)
    authenticated = fields.Boolean(required=True)
    key_id = nullable(fields.String(required=True))
    name = nullable(fields.String(required=True))
    scopes = fields.List(fields.String(validate=validate.OneOf(SCOPES)), required=True)


class GraphNodeSchema(Schema):
    """A node of a graph; null where its flow leaves something to the server, or to the session's agent."""

    id = id_field(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(NODE_TYPES))
    agent_id = nullable(id_field(required=True))
    capability = nullable(fields.String(required=True))
    timeout = nullable(fields.Float(required=True))
    max_attempts = fields.Integer(required=True)
    fallback_agent_id = nullable(id_field(required=True))


# "from" is a word of Python's.
GraphEdgeSchema = Schema.from_dict({"from": id_field(required=True), "to": id_field(required=True)}, name="GraphEdge")


class GraphSchema(Schema):
    """A flow as nodes and edges."""

    flow_id = id_field(required=True)
    flow_version = fields.Integer(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    name = fields.String(required=True)
    nodes = fields.List(fields.Nested(GraphNodeSchema), required=True)
    edges = fields.List(fields.Nested(GraphEdgeSchema), required=True)
    entries = fields.List(id_field(), required=True)
    exits = fields.List(id_field(), required=True)
    input_schema = fields.Dict()
