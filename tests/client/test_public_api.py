from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any, Iterator

import pytest

import opscore_sdk
from opscore_sdk import client

HEAVY = "aiohttp multidict yarl"
SERVER = """
aiohttp_apispec aiosqlite apispec attr attrs click environs marshmallow opscore prometheus_client pythonjsonlogger rich
sqlite3 uuid_utils uvloop webargs yaml
"""
NAMES = """
AISpine AISpineError APIError Agent AgentError AgentInfo AgentState AsyncAISpine AuthenticationError Call ConflictError
ConnectionError OpsCoreClientSync SyncEventStream SyncPages
Event EventStream Execution ExecutionError ExecutionPage ExecutionResults Flow InsufficientCreditsError Message
NetworkError NodeResult NotFoundError OpsCoreApiError OpsCoreClientAsync OpsCoreConfigurationError
OpsCoreConnectionError OpsCoreSDKError OpsCoreTimeoutError Pages PermissionDeniedError RateLimitError RawResponse
Explanation Feed FeedEvent LogEntry Overview SyncFeed
ServerError Session TimeoutError ValidationError __version__
"""

# The methods of each class with their parameters, sorted: a new method is a new line, a new class a new text.
# A line that is indented goes on from the one before.
METHODS = {
    "OpsCoreClientAsync": """
__init__ (base_url=None, api_key=None, timeout=30.0, max_retries=3, debug=False, *, total_timeout=120.0, headers=None,
    on_request=None, on_response=None, on_retry=None, clock=None)
cancel_execution (execution_id, reason=None, *, timeout=None)
cancel_executions (execution_ids, reason=None, *, timeout=None)
close ()
complete_task (task_id, status='success', output=None, error=None, *, timeout=None)
create_agent (agent_id, endpoint=None, *, name=None, description=None, protocol=None, capabilities=None,
    agent_type=None, version=None, is_active=None, max_concurrency=None, metadata=None, timeout=None)
create_flow (definition, *, timeout=None)
create_key (name, scopes=('read', 'write'), *, timeout=None)
delete_agent (agent_id, *, timeout=None)
delete_flow (flow_id, *, timeout=None)
execute_and_wait (flow_id, input_data=None, metadata=None, timeout=300.0, interval=2.0, *, priority=None,
    flow_version=None, user_id=None, idempotency_key=None, raise_on_failure=False)
execute_flow (flow_id, input_data=None, metadata=None, *, priority=None, timeout=None, flow_version=None,
    user_id=None, idempotency_key=None, wait=None, request_timeout=None)
explain_execution (execution_id, *, timeout=None)
get_agent (agent_id, *, timeout=None)
get_agent_history (agent_id, *, limit=None, cursor=None, timeout=None)
get_execution (execution_id, *, wait=None, timeout=None)
get_execution_events (execution_id, *, after=0, limit=None, timeout=None)
get_execution_results (execution_id, *, timeout=None)
get_flow (flow_id, version=None, *, timeout=None)
get_flow_graph (flow_id, version=None, *, timeout=None)
get_message (message_id, *, timeout=None)
get_metrics (*, timeout=None)
get_overview (window=None, *, timeout=None)
get_performance (by=None, *, agent_id=None, flow_id=None, window=None, limit=None, timeout=None)
get_session (session_id, *, timeout=None)
get_state (agent_id, *, timeout=None)
get_status (*, timeout=None)
health_check (*, timeout=None)
list_agents (*, state=None, capability=None, active_only=False, timeout=None)
list_events (*, agent_id=None, flow_id=None, execution_id=None, types=None, after=0, limit=None, timeout=None)
list_executions (*, flow_id=None, status=None, agent_id=None, created_after=None, created_before=None, metadata=None,
    q=None, limit=None, cursor=None, offset=None, timeout=None)
list_flow_versions (flow_id, *, timeout=None)
list_flows (*, timeout=None)
list_keys (*, timeout=None)
list_logs (*, level=None, agent_id=None, execution_id=None, flow_id=None, node_id=None, error_code=None, trace_id=None,
    request_id=None, since=None, until=None, q=None, limit=None, cursor=None, timeout=None)
list_messages (execution_id, *, timeout=None)
revoke_key (key_id, *, timeout=None)
stream_all_events (*, agent_id=None, flow_id=None, execution_id=None, types=None, after=None)
stream_events (execution_id, *, after=0)
stream_logs (*, level=None, agent_id=None, execution_id=None, flow_id=None, node_id=None, error_code=None,
    trace_id=None, request_id=None, since=None, q=None, after=None)
test_agent (endpoint, protocol=None, *, timeout=None)
trigger_workflow (agent_id, workflow_definition_id=None, initial_payload=None, *, workflow_definition=None,
    idempotency_key=None, timeout=None)
update_flow (flow_id, definition, *, timeout=None)
update_state (agent_id, state, details=None, *, timestamp=None, timeout=None)
validate_flow (definition, *, timeout=None)
wait_for_execution (execution_id, timeout=300.0, interval=2.0, *, raise_on_failure=False)
wait_for_session (session_id, timeout=300.0, interval=2.0, *, raise_on_failure=False)
whoami (*, timeout=None)
with_options (*, timeout=None, max_retries=None, total_timeout=None, api_key=None, headers=None)
with_raw_response -> property
""",
}


def shape(member: Any) -> str:
    """The parameters of a method as they are written, without types."""
    if isinstance(member, property):
        return "-> property"
    parts: list[str] = []
    for parameter in list(inspect.signature(member).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        has_default = parameter.default is not parameter.empty
        parts.append(f"{parameter.name}={parameter.default!r}" if has_default else parameter.name)
    return f"({', '.join(parts)})"


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """The public members of a class, its own and inherited ones."""
    for name in sorted(dir(kind)):
        if not name.startswith("_") or name == "__init__":
            yield name, inspect.getattr_static(kind, name)


def test_the_public_names() -> None:
    """Names come and go only with this list."""
    assert sorted(opscore_sdk.__all__) == sorted(NAMES.split())


def test_the_module_of_the_first_sdk() -> None:
    """Users of the first SDK import both clients from ``opscore_sdk.client``; they are those of the package."""
    assert sorted(client.__all__) == ["OpsCoreClientAsync", "OpsCoreClientSync"]
    assert {name: getattr(client, name) for name in client.__all__}.items() <= vars(opscore_sdk).items()


@pytest.mark.parametrize("name", METHODS)
def test_the_public_methods(name: str) -> None:
    """Methods and their parameters, in order and with their defaults, change only with this list."""
    found = [f"{member} {shape(value)}" for member, value in public(getattr(opscore_sdk, name))]
    assert found == METHODS[name].strip().replace("\n    ", " ").splitlines()


@pytest.mark.parametrize("name", sorted(set(opscore_sdk.__all__) - {"__version__"}))
def test_everything_public_is_described(name: str) -> None:
    """A class has a docstring, and so have its public methods."""
    kind = getattr(opscore_sdk, name)
    assert inspect.getdoc(kind)
    if inspect.isclass(kind):
        own = [(member, value) for member, value in public(kind) if callable(value) or isinstance(value, property)]
        bare = {member for member, value in own if not inspect.getdoc(value)}
        assert bare <= {"__init__"}  # one that is generated is described by its class


def test_importing_the_sdk_loads_neither_aiohttp_nor_the_server() -> None:
    """It takes a fraction of a second, because aiohttp is loaded by the first request and the server never."""
    code = "import sys; before = {*sys.modules}; import opscore_sdk; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "opscore_sdk" in loaded
    assert loaded & {*HEAVY.split(), *SERVER.split()} == set()
