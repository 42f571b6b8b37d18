"""What goes wrong, and how it is told: each refusal and failure is an error of its own kind.

Needs Ops-Core at OPSCORE_API_URL (http://127.0.0.1:8000) and the agent of sdk_agent.py.
"""

from opscore_sdk import (
    ConflictError,
    ExecutionError,
    NotFoundError,
    OpsCoreClientSync,
    OpsCoreSDKError,
    ValidationError,
)

FLOW = {"flow_id": "sdk_strict", "nodes": [{"id": "greet", "agent_id": "greeter", "retry": {"max_attempts": 1}}]}


def refusals(client: OpsCoreClientSync) -> None:
    """The server says no, or the SDK before it."""
    try:
        client.execute_flow("no_such_flow")
    except NotFoundError as error:
        print(f"not found:  {error.detail} (request {error.request_id})")
    try:
        client.execute_flow("sdk_strict", priority=11)
    except ValidationError as error:  # nothing was sent
        print(f"invalid:    {error.field_errors}")
    try:
        client.execute_flow("sdk_strict", {"name": "Ada"}, idempotency_key="the-same-key")
        client.execute_flow("sdk_strict", {"name": "Bob"}, idempotency_key="the-same-key")
    except ConflictError as error:
        print(f"conflict:   {error.error_code}")


def failures(client: OpsCoreClientSync) -> None:
    """An execution fails, and a server is not there."""
    try:
        client.execute_and_wait("sdk_strict", {"nobody": ""}, raise_on_failure=True)
    except ExecutionError as error:
        print(f"failed:     {error.execution_id} with {error.error_code}")
    try:
        with OpsCoreClientSync("http://127.0.0.1:9", max_retries=0) as lonely:
            lonely.health_check()
    except ConnectionError as error:  # Python's own name catches the SDK's error, too
        print(f"no server:  {error}")


def main() -> None:
    """Do everything that is not allowed."""
    with OpsCoreClientSync() as client:
        client.create_flow(FLOW)
        refusals(client)
        failures(client)
        try:
            client.get_execution("no-such-execution")
        except OpsCoreSDKError as error:  # the base of all
            print(f"any error:  {type(error).__name__}")


if __name__ == "__main__":
    main()
