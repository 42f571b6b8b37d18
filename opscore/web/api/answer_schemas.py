"""What answers look like; documented, and tested."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from opscore.domain.agents import AGENT_STATES, CONDITIONS
from opscore.domain.executions import EXECUTION_STATUSES, STEP_STATUSES
from opscore.domain.logs import LEVELS
from opscore.web.api.fields import id_field, nullable


class WaitingSchema(Schema):
    """What a step waits for."""

    node_id = id_field(required=True)
    agent_id = nullable(id_field(required=True))
    reason = fields.String(required=True)
    message = nullable(fields.String(required=True))
    error_code = nullable(fields.String(required=True))
    since = fields.String(required=True)
    until = nullable(fields.String(required=True))


class ExecutionSchema(Schema):
    """An execution."""

    execution_id = fields.UUID(required=True)
    flow_id = id_field(required=True)
    flow_version = fields.Integer(required=True)
    status = fields.String(required=True, validate=validate.OneOf(EXECUTION_STATUSES))
    input_data = nullable(fields.Dict(required=True))
    output_data = nullable(fields.Dict(required=True))
    error_message = nullable(fields.String(required=True))
    error_code = nullable(fields.String(required=True))
    metadata = fields.Dict(required=True)
    priority = fields.Integer(required=True)
    user_id = nullable(fields.String(required=True))
    agent_id = nullable(id_field(required=True))
    attempts = fields.Integer(required=True)
    failures = fields.Integer(required=True)
    waiting = fields.List(fields.Nested(WaitingSchema), required=True)
    created_at = fields.String(required=True)
    started_at = nullable(fields.String(required=True))
    updated_at = fields.String(required=True)
    completed_at = nullable(fields.String(required=True))
    execution_time = nullable(fields.Float(required=True))
    trace_id = fields.String(required=True)
    truncated = fields.List(fields.String())


class StartedSchema(Schema):
    """An accepted execution."""

    execution_id = fields.UUID(required=True)
    flow_id = id_field(required=True)
    flow_version = fields.Integer(required=True)
    status = fields.String(required=True, validate=validate.OneOf(EXECUTION_STATUSES))
    created_at = fields.String(required=True)
    result = nullable(fields.Dict(required=True))
    error = nullable(fields.String(required=True))
    execution_time = nullable(fields.Float(required=True))
    trace_id = fields.String(required=True)


class ExecutionsSchema(Schema):
    """A page of executions."""

    executions = fields.List(fields.Nested(ExecutionSchema), required=True)
    count = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    offset = fields.Integer(required=True)
    next_cursor = nullable(fields.String(required=True))


class TimingSchema(Schema):
    """Where the time of a step's last attempt went; unknown before the step has ended."""

    queue_ms = nullable(fields.Float(required=True))
    call_ms = nullable(fields.Float(required=True))
    commit_ms = nullable(fields.Float(required=True))


class NodeResultSchema(Schema):
    """One step."""

    id = fields.String(required=True)
    execution_id = fields.UUID(required=True)
    node_id = id_field(required=True)
    agent_id = nullable(id_field(required=True))
    status = fields.String(required=True, validate=validate.OneOf(STEP_STATUSES))
    attempt = fields.Integer(required=True)
    input_data = fields.Dict(required=True)
    output_data = nullable(fields.Dict(required=True))
    error_message = nullable(fields.String(required=True))
    error_code = nullable(fields.String(required=True))
    execution_time_ms = nullable(fields.Float(required=True))
    timing = fields.Nested(TimingSchema, required=True)
    created_at = fields.String(required=True)
    started_at = nullable(fields.String(required=True))
    completed_at = nullable(fields.String(required=True))


class ResultsSchema(Schema):
    """An execution and its steps."""

    execution_id = fields.UUID(required=True)
    execution = fields.Nested(ExecutionSchema, required=True)
    node_results = fields.List(fields.Nested(NodeResultSchema), required=True)
    count = fields.Integer(required=True)


class MessageSchema(Schema):
    """What travelled along an edge."""

    message_id = fields.String(required=True)
    execution_id = fields.UUID(required=True)
    from_agent = fields.String(required=True)
    to_agent = fields.String(required=True)
    payload = fields.Dict(required=True)
    timestamp = nullable(fields.String(required=True))


class MessagesSchema(Schema):
    """All messages of an execution."""

    messages = fields.List(fields.Nested(MessageSchema), required=True)
    count = fields.Integer(required=True)
    execution_id = fields.UUID(required=True)


class EventSchema(Schema):
    """One event."""

    seq = fields.Integer(required=True)
    execution_id = fields.UUID(required=True)
    type = fields.String(required=True)
    node_id = id_field()
    agent_id = id_field()
    attempt = fields.Integer()
    at = fields.String(required=True)
    data = fields.Dict(required=True)


class EventsSchema(Schema):
    """A page of events; ask again with ``after=next_after``."""

    events = fields.List(fields.Nested(EventSchema), required=True)
    next_after = fields.Integer(required=True)


class FeedEventSchema(Schema):
    """One event in its place among all; one of an agent outside any task belongs to no execution."""

    position = fields.Integer(required=True)
    seq = nullable(fields.Integer(required=True))
    execution_id = nullable(fields.UUID(required=True))
    flow_id = nullable(id_field(required=True))
    type = fields.String(required=True)
    node_id = id_field()
    agent_id = id_field()
    attempt = fields.Integer()
    at = fields.String(required=True)
    data = fields.Dict(required=True)


class PrunedSchema(Schema):
    """Some events after ``after`` are gone; ``oldest`` is the first position after it that is there."""

    after = fields.Integer(required=True)
    oldest = fields.Integer(required=True)


class FeedSchema(Schema):
    """A page of all events; ask again with ``after=next_after``, until that does not rise."""

    events = fields.List(fields.Nested(FeedEventSchema), required=True)
    next_after = fields.Integer(required=True)
    pruned = nullable(fields.Nested(PrunedSchema, required=True))


class CancelledSchema(Schema):
    """An execution that was ended."""

    message = fields.String(required=True)
    execution_id = fields.UUID(required=True)
    status = fields.String(required=True)


class RefusedSchema(Schema):
    """An execution that could not be ended, and why."""

    execution_id = fields.String(required=True)
    error_code = fields.String(required=True)
    message = fields.String(required=True)


class CancelledManySchema(Schema):
    """Executions that are cancelled now, and those that could not be."""

    cancelled = fields.List(fields.UUID(), required=True)
    refused = fields.List(fields.Nested(RefusedSchema), required=True)


class AgentHealthSchema(Schema):
    """What was seen of an agent; unknown until it was."""

    status = fields.String(required=True, validate=validate.OneOf(("unknown", "healthy", "unhealthy", "unreachable")))
    message = nullable(fields.String(required=True))
    checked_at = nullable(fields.String(required=True))
    latency_ms = nullable(fields.Float(required=True))


class BreakerSchema(Schema):
    """Whether an agent is given work: not for a while after it could repeatedly not be reached."""

    state = fields.String(required=True, validate=validate.OneOf(("closed", "open", "half_open")))
    failures = fields.Integer(required=True)
    reason = nullable(fields.String(required=True))
    since = nullable(fields.String(required=True))
    retry_at = nullable(fields.String(required=True))


class ReportedStateSchema(Schema):
    """One report of an agent's state."""

    state = fields.String(required=True, validate=validate.OneOf(AGENT_STATES))
    details = fields.Dict(required=True)
    timestamp = fields.String(required=True)
    received_at = fields.String(required=True)


class HistorySchema(Schema):
    """An agent's reports, newest first by its own clock."""

    agent_id = id_field(required=True)
    history = fields.List(fields.Nested(ReportedStateSchema), required=True)
    count = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    next_cursor = nullable(fields.String(required=True))


class AgentSchema(Schema):
    """An agent."""

    agent_id = id_field(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    endpoint = nullable(fields.String(required=True))
    protocol = fields.String(required=True)
    capabilities = fields.List(fields.String(), required=True)
    agent_type = fields.String(required=True)
    version = nullable(fields.String(required=True))
    is_active = fields.Boolean(required=True)
    status = fields.String(required=True, validate=validate.OneOf(("active", "inactive", "error")))
    condition = fields.String(required=True, validate=validate.OneOf(CONDITIONS))
    state = fields.String(required=True, validate=validate.OneOf(AGENT_STATES))
    state_details = fields.Dict(required=True)
    state_timestamp = nullable(fields.String(required=True))
    last_seen = nullable(fields.String(required=True))
    health = fields.Nested(AgentHealthSchema, required=True)
    breaker = fields.Nested(BreakerSchema, required=True)
    task_id = nullable(fields.String(required=True))
    source = fields.String(required=True)
    max_concurrency = nullable(fields.Integer(required=True))
    in_flight = fields.Integer(required=True)
    metadata = fields.Dict(required=True)
    created_at = fields.String(required=True)
    updated_at = fields.String(required=True)


class AgentsSchema(Schema):
    """Agents."""

    agents = fields.List(fields.Nested(AgentSchema), required=True)
    count = fields.Integer(required=True)


class ProbeSchema(Schema):
    """What trying an endpoint showed."""

    connected = fields.Boolean(required=True)
    message = fields.String(required=True)
    latency_ms = nullable(fields.Float(required=True))


class FlowSchema(Schema):
    """A flow: its definition, and what the server adds."""

    flow_id = id_field(required=True)
    flow_version = fields.Integer(required=True)
    nodes = fields.List(fields.Dict(), required=True)
    created_at = fields.String(required=True)
    updated_at = fields.String(required=True)


class FlowsSchema(Schema):
    """Flows."""

    flows = fields.List(fields.Nested(FlowSchema), required=True)
    count = fields.Integer(required=True)


class VersionsSchema(Schema):
    """The versions of a flow, newest first."""

    flow_id = id_field(required=True)
    versions = fields.List(fields.Nested(FlowSchema), required=True)
    count = fields.Integer(required=True)


class FindingSchema(Schema):
    """Something wrong with a definition."""

    place = fields.String(required=True)
    message = fields.String(required=True)


class ReportSchema(Schema):
    """What checking a definition found."""

    valid = fields.Boolean(required=True)
    errors = fields.List(fields.Nested(FindingSchema), required=True)
    warnings = fields.List(fields.Nested(FindingSchema), required=True)


class DoneSchema(Schema):
    """It is done."""

    message = fields.String(required=True)
    status = fields.String()


class KeySchema(Schema):
    """A key's record; ``key`` itself is there once, when it was made."""

    key_id = fields.String(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    hint = fields.String(required=True)
    created_at = fields.String(required=True)
    revoked_at = nullable(fields.String(required=True))
    key = fields.String()


class RevokedKeySchema(KeySchema):
    """A key that is of no use any more."""

    message = fields.String(required=True)
    status = fields.String(required=True)


class KeysSchema(Schema):
    """Keys."""

    keys = fields.List(fields.Nested(KeySchema), required=True)
    count = fields.Integer(required=True)


class HealthSchema(Schema):
    """Whether the server is well."""

    status = fields.String(required=True)
    version = fields.String(required=True)
    timestamp = fields.String(required=True)
    uptime_seconds = fields.Float(required=True)


class StatusSchema(Schema):
    """The server at a glance."""

    status = fields.String(required=True, validate=validate.OneOf(("operational", "degraded")))
    components = fields.Dict(required=True)
    agents = fields.Dict(required=True)
    flows = fields.Dict(required=True)
    executions = fields.Dict(required=True)
    version = fields.String(required=True)
    uptime_seconds = fields.Float(required=True)


class MetricsSchema(Schema):
    """Totals."""

    total_executions = fields.Integer(required=True)
    successful_executions = fields.Integer(required=True)
    failed_executions = fields.Integer(required=True)
    cancelled_executions = fields.Integer(required=True)
    running_executions = fields.Integer(required=True)
    average_execution_time = fields.Float(required=True)
    total_execution_time = fields.Float(required=True)
    last_execution = nullable(fields.String(required=True))


class LogSchema(Schema):
    """One entry of the log."""

    log_id = fields.Integer(required=True)
    timestamp = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf([*LEVELS]))
    event = fields.String(required=True)
    message = fields.String(required=True)
    logger = fields.String(required=True)
    execution_id = nullable(fields.String(required=True))
    flow_id = nullable(fields.String(required=True))
    node_id = nullable(fields.String(required=True))
    agent_id = nullable(fields.String(required=True))
    attempt = nullable(fields.Integer(required=True))
    request_id = nullable(fields.String(required=True))
    trace_id = nullable(fields.String(required=True))
    error_code = nullable(fields.String(required=True))
    duration_ms = nullable(fields.Float(required=True))
    fields_ = fields.Dict(required=True, data_key="fields")


class LogsSchema(Schema):
    """A page of the log, newest first."""

    logs = fields.List(fields.Nested(LogSchema), required=True)
    count = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    next_cursor = nullable(fields.String(required=True))


class ProblemSchema(Schema):
    """An error (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    message = fields.String(required=True)
    error_code = fields.String(required=True)
    details = fields.Dict(required=True)
    request_id = fields.String(required=True)
    trace_id = fields.String(required=True)
