"""Several executions at once, and the events of one as they happen.

Needs Ops-Core at OPSCORE_API_URL (http://127.0.0.1:8000) and the agent of sdk_agent.py.
"""

import asyncio

from opscore_sdk import OpsCoreClientAsync

FLOW = {"flow_id": "sdk_hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}
NAMES = ("Ada", "Grace", "Katherine")


async def main() -> None:
    """Greet three people, then watch how a fourth is greeted."""
    async with OpsCoreClientAsync() as client:
        await client.create_flow(FLOW)
        ended = await asyncio.gather(*(client.execute_and_wait("sdk_hello", {"name": name}) for name in NAMES))
        for execution in ended:
            print(execution.status, execution.output_data)

        started = await client.execute_flow("sdk_hello", {"name": "Radia"})
        events = client.stream_events(started.execution_id)
        async for event in events:
            print(f"{event.seq}: {event.type} {event.node_id or ''}".rstrip())
        print("the execution has", events.final_status)


if __name__ == "__main__":
    asyncio.run(main())
