"""Ops-Core inside other projects' tests: a whole server on a free port, with agents that are plain functions."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Optional

import attrs
from aiohttp.test_utils import TestClient, TestServer

from opscore.bootstrap import SERVER_OPTIONS, LocalAgents, create_app
from opscore.settings import Settings

__all__ = ["open_client"]


@asynccontextmanager
async def open_client(
    settings: Optional[Settings] = None, local_agents: Optional[LocalAgents] = None
) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]  # generic since aiohttp 3.10's stubs only
    """An aiohttp test client of a server that keeps everything in memory and ends with the block.

    Args:
        settings: Those of the server; by default the defaults, a database in memory and a short drain.
        local_agents: Functions that flows may call, by agent id; each is registered (protocol ``local``).

    Example:
        >>> async def greet(input):
        ...     return {"greeting": f"Hello {input['name']}"}
        >>> async with open_client(local_agents={"greeter": greet}) as client:
        ...     await client.post("/flows", json=flow)
    """
    chosen = settings or Settings(database="sqlite:///:memory:", drain_timeout=0.1)
    server = TestServer(create_app(attrs.evolve(chosen, host="127.0.0.1"), local_agents))
    headers = {"Authorization": f"Bearer {chosen.api_key}"} if chosen.api_key else None
    await server.start_server(**SERVER_OPTIONS)
    async with TestClient(server, headers=headers) as client:
        for agent_id in local_agents or {}:
            async with client.post("/agents", json={"agent_id": agent_id, "protocol": "local"}) as answer:
                answer.raise_for_status()
        yield client
