"""The bodies of the dialect: what requests must look like (checked), and how answers look (documented, tested)."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from opscore.domain.agents import AGENT_STATES, REPORTABLE_STATES
from opscore.web.api.fields import id_field, nullable, text_field
from opscore.web.api.request_schemas import RequestSchema


class StateReportSchema(RequestSchema):
    """What an agent says of its state."""

    agentId = id_field(required=True)
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    state = fields.String(
        required=True,
        validate=validate.OneOf(REPORTABLE_STATES, error=f"Must be one of {', '.join(REPORTABLE_STATES)}."),
    )
    details = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)


class TriggerSchema(RequestSchema):
    """A workflow to run: the id of a stored definition, or a definition."""

    workflowDefinitionId = id_field(load_default=None, allow_none=True)
    workflowDefinition = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)
    initialPayload = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)


class CompletionSchema(RequestSchema):
    """How an agent's task went."""

    status = fields.String(required=True, validate=validate.OneOf(("success", "error")))
    output = fields.Raw(load_default=None, allow_none=True)
    error = fields.Raw(load_default=None, allow_none=True)


class AgentDetailsSchema(RequestSchema):
    """An agent as AgentKit describes it."""

    agentId = id_field(required=True)
    agentName = text_field(200, load_default=None, allow_none=True)
    version = text_field(100, load_default=None, allow_none=True)
    capabilities = fields.List(text_field(200), load_default=list, allow_none=True, validate=validate.Length(max=200))
    contactEndpoint = text_field(2000, load_default=None, allow_none=True)
    metadata = fields.Dict(keys=fields.String(), load_default=dict, allow_none=True)


class NoticeSchema(RequestSchema):
    """What AgentKit says about one of its agents."""

    event_type = fields.String(required=True, validate=validate.OneOf(("REGISTER", "DEREGISTER")))
    agent_details = fields.Nested(AgentDetailsSchema, required=True)


# -- answers ------------------------------------------------------------------------------------


class TakenSchema(Schema):
    """It was taken in."""

    status = fields.String(required=True)
    message = fields.String(required=True)


class StateSchema(Schema):
    """An agent's present state."""

    agentId = id_field(required=True)
    state = fields.String(required=True, validate=validate.OneOf(AGENT_STATES))
    details = nullable(fields.Dict(required=True))
    timestamp = fields.String(required=True)


class TriggeredSchema(Schema):
    """A session that was started."""

    sessionId = fields.UUID(required=True)
    workflowId = id_field(required=True)
    message = fields.String(required=True)


class SessionTaskSchema(Schema):
    """A task of a session."""

    taskId = id_field(required=True)
    opscoreTaskId = fields.String(required=True)
    name = fields.String(required=True)
    agentId = nullable(id_field(required=True))
    agentCapability = nullable(fields.String(required=True))
    status = fields.String(required=True)
    attempt = fields.Integer(required=True)
    output = nullable(fields.Dict(required=True))
    error = nullable(fields.String(required=True))
    errorCode = nullable(fields.String(required=True))
    waitingFor = nullable(fields.String(required=True))
    waitingDetail = nullable(fields.String(required=True))
    startTime = nullable(fields.String(required=True))
    endTime = nullable(fields.String(required=True))


class SessionSchema(Schema):
    """A session."""

    sessionId = fields.UUID(required=True)
    workflowId = id_field(required=True)
    agentId = nullable(id_field(required=True))
    status = fields.String(required=True)
    startTime = fields.String(required=True)
    last_updated_time = fields.String(required=True)
    endTime = nullable(fields.String(required=True))
    metadata = fields.Dict(required=True)
    result = nullable(fields.Dict(required=True))
    error = nullable(fields.String(required=True))
    errorCode = nullable(fields.String(required=True))
    traceId = fields.String(required=True)
    tasks = fields.List(fields.Nested(SessionTaskSchema), required=True)
