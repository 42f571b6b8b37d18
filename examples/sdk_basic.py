"""Start a flow, wait for its end, and look at what it did.

Needs Ops-Core at OPSCORE_API_URL (http://127.0.0.1:8000) and the agent of sdk_agent.py.
"""

from opscore_sdk import OpsCoreClientSync

FLOW = {"flow_id": "sdk_hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}


def main() -> None:
    """Greet Ada."""
    with OpsCoreClientSync() as client:
        print(f"Ops-Core {client.health_check().version} at {client.base_url}")
        client.create_flow(FLOW)  # the same definition again changes nothing
        started = client.execute_flow("sdk_hello", {"name": "Ada"}, metadata={"example": "basic"})
        print("started:", started.execution_id)
        done = client.wait_for_execution(started.execution_id, timeout=30)
        print("status: ", done.status)
        print("output: ", done.output_data)
        for node in client.get_execution_results(done.execution_id).node_results:
            print(f"node {node.node_id}: {node.status} after {node.execution_time_ms:.1f} ms")


if __name__ == "__main__":
    main()
