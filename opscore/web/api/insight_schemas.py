"""What answers about how things stand look like; documented, and tested."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from opscore.domain.agents import AGENT_STATES, CONDITIONS
from opscore.domain.executions import EXECUTION_STATUSES
from opscore.domain.explanations import CAUSES
from opscore.domain.flows import KINDS, NODE_TYPES
from opscore.domain.keys import SCOPES
from opscore.domain.performance import KEYS
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


class OpenSchema(Schema):
    """How many executions have not ended."""

    pending = fields.Integer(required=True)
    running = fields.Integer(required=True)
    paused = fields.Integer(required=True)


class EndedSchema(Schema):
    """How many executions ever ended."""

    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)


class TallySchema(EndedSchema):
    """How many executions were accepted and how many ended, in one span of time."""

    started = fields.Integer(required=True)


class BucketSchema(TallySchema):
    """One sixtieth of the window; the last one is still going on."""

    at = fields.String(required=True)
    seconds = fields.Integer(required=True)


class CountsSchema(Schema):
    """Executions."""

    open = fields.Nested(OpenSchema, required=True)
    window = fields.Nested(TallySchema, required=True)
    totals = fields.Nested(EndedSchema, required=True)


class WaitsSchema(Schema):
    """How many steps wait for one thing, and since when the oldest."""

    reason = fields.String(required=True)
    count = fields.Integer(required=True)
    oldest_since = fields.String(required=True)


class QueuedSchema(Schema):
    """How many executions wait for their turn, and since when the oldest."""

    count = fields.Integer(required=True)
    oldest_since = nullable(fields.String(required=True))


class FleetSchema(Schema):
    """Agents, counted; words that none of them has are not there."""

    total = fields.Integer(required=True)
    by_state = fields.Dict(keys=fields.String(validate=validate.OneOf(AGENT_STATES)), required=True)
    by_status = fields.Dict(keys=fields.String(validate=validate.OneOf(("active", "inactive", "error"))), required=True)
    by_condition = fields.Dict(keys=fields.String(validate=validate.OneOf(CONDITIONS)), required=True)


class CallsSchema(Schema):
    """Calls to agents that are open, and that wait."""

    in_flight = fields.Integer(required=True)
    waiting = fields.Integer(required=True)


class AttentionSchema(Schema):
    """Something that an operator should look at."""

    kind = fields.String(required=True)
    severity = fields.String(required=True, validate=validate.OneOf(("warning", "error")))
    text = fields.String(required=True)
    since = nullable(fields.String(required=True))
    execution_id = nullable(fields.UUID(required=True))
    agent_id = nullable(id_field(required=True))
    flow_id = nullable(id_field(required=True))


class FailureSchema(Schema):
    """An execution that failed."""

    execution_id = fields.UUID(required=True)
    flow_id = id_field(required=True)
    error_code = nullable(fields.String(required=True))
    error_message = nullable(fields.String(required=True))
    completed_at = fields.String(required=True)


class OverviewSchema(Schema):
    """The server at a glance."""

    generated_at = fields.String(required=True)
    window_seconds = fields.Integer(required=True)
    executions = fields.Nested(CountsSchema, required=True)
    throughput = fields.List(fields.Nested(BucketSchema), required=True)
    waiting = fields.List(fields.Nested(WaitsSchema), required=True)
    queued = fields.Nested(QueuedSchema, required=True)
    agents = fields.Nested(FleetSchema, required=True)
    calls = fields.Nested(CallsSchema, required=True)
    attention = fields.List(fields.Nested(AttentionSchema), required=True)
    recent_failures = fields.List(fields.Nested(FailureSchema), required=True)


class CauseSchema(Schema):
    """One reason why an execution stands where it stands, and what would change that."""

    what = fields.String(required=True, validate=validate.OneOf(CAUSES))
    node_id = nullable(id_field(required=True))
    agent_id = nullable(id_field(required=True))
    since = nullable(fields.String(required=True))
    until = nullable(fields.String(required=True))
    attempt = nullable(fields.Integer(required=True))
    error_code = nullable(fields.String(required=True))
    text = fields.String(required=True)
    would_move = fields.String(required=True)


class ExplanationSchema(Schema):
    """Why an execution stands where it stands: a cause for each open node, or for its end."""

    execution_id = fields.UUID(required=True)
    flow_id = id_field(required=True)
    status = fields.String(required=True, validate=validate.OneOf(EXECUTION_STATUSES))
    summary = fields.String(required=True)
    causes = fields.List(fields.Nested(CauseSchema), required=True)


class FiguresSchema(Schema):
    """Percentiles, the greatest and the mean of some times in milliseconds; null where none is known."""

    p50 = nullable(fields.Float(required=True))
    p95 = nullable(fields.Float(required=True))
    p99 = nullable(fields.Float(required=True))
    max = nullable(fields.Float(required=True))
    mean = nullable(fields.Float(required=True))


class PerformanceRowSchema(Schema):
    """How one agent, flow or node did; ``execution_ms`` is there for flows."""

    agent_id = id_field()
    flow_id = id_field()
    node_id = id_field()
    count = fields.Integer(required=True)
    failures = fields.Integer(required=True)
    retries = fields.Integer(required=True)
    queue_ms = fields.Nested(FiguresSchema, required=True)
    call_ms = fields.Nested(FiguresSchema, required=True)
    commit_ms = fields.Nested(FiguresSchema, required=True)
    execution_ms = fields.Nested(FiguresSchema)


class PerformanceSchema(Schema):
    """How fast things went, slowest first; of very many only the newest steps are looked at (``truncated``)."""

    by = fields.String(required=True, validate=validate.OneOf(KEYS))
    window_seconds = fields.Integer(required=True)
    sampled = fields.Integer(required=True)
    truncated = fields.Boolean(required=True)
    rows = fields.List(fields.Nested(PerformanceRowSchema), required=True)
    count = fields.Integer(required=True)
