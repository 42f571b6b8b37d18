"""Names that OpenTelemetry gives to what spans say, all in one place: those for agents still change.

GenAI agent and framework spans: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/ (v1.41,
development). HTTP spans: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (stable).
"""

from __future__ import annotations

# -- agents and workflows -------------------------------------------------------------------------

OPERATION = "gen_ai.operation.name"
INVOKE_WORKFLOW = "invoke_workflow"
INVOKE_AGENT = "invoke_agent"
WORKFLOW = "gen_ai.workflow.name"
"""The flow."""
CONVERSATION = "gen_ai.conversation.id"
"""The execution: it is what all calls of a run have in common."""
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
AGENT_VERSION = "gen_ai.agent.version"

# -- any operation --------------------------------------------------------------------------------

ERROR = "error.type"
SERVER = "server.address"
PORT = "server.port"

# -- HTTP -----------------------------------------------------------------------------------------

METHOD = "http.request.method"
METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"})
OTHER_METHOD = "_OTHER"
ROUTE = "http.route"
STATUS = "http.response.status_code"
PATH = "url.path"
SCHEME = "url.scheme"

# -- ours -----------------------------------------------------------------------------------------

FLOW_VERSION = "opscore.flow.version"
EXECUTION_STATUS = "opscore.execution.status"
NODE = "opscore.node.id"
ATTEMPT = "opscore.attempt"
QUEUE_MS = "opscore.queue_ms"
COMMIT_MS = "opscore.commit_ms"
IS_LOST = "opscore.lost"
"""The process that made the call ended before the call did."""
RETRY = "retry"
"""The event of an attempt that is to be repeated."""
RETRY_AT = "opscore.retry.at"
LINK = "opscore.link"
"""What a link leads to: ``previous_attempt`` or ``execution``."""
