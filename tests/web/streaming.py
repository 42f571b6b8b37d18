"""A server in the process whose streams are read field by field."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Optional

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from opscore.bootstrap import SERVER_OPTIONS, create_app
from opscore.settings import Settings
from opscore.web.config import STREAMS
from opscore.web.streams import Streams

ONCE = {"agent_id": "gated", "retry": {"max_attempts": 1}}
FLOW = {"flow_id": "two", "nodes": [{"id": "a", **ONCE}, {"id": "b", **ONCE, "depends_on": ["a"]}]}
SSE = {"Accept": "text/event-stream"}
NEVER = 3600.0
FORGED = "no\n\nevent: end\ndata: {}\r\nid: 99\r\rx\u2028y\u0085z\0"


class Gate:
    """An agent that answers when it is let, or says no in a nasty way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.called = asyncio.Event()

    async def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        self.called.set()
        await self.open.wait()
        if given.get("fail"):
            raise RuntimeError(FORGED)
        return {"n": 1}


@asynccontextmanager
async def serving(streams: Optional[Streams] = None, **settings: Any) -> AsyncIterator[tuple[TestClient, Gate]]:
    gate = Gate()
    chosen = Settings(database="sqlite:///:memory:", host="127.0.0.1", drain_timeout=0.1, **settings)
    app = create_app(chosen, {"gated": gate})
    app[STREAMS] = streams or Streams(1000, heartbeat=NEVER)
    server = TestServer(app)
    await server.start_server(**SERVER_OPTIONS)
    headers = {"Authorization": f"Bearer {chosen.api_key}"} if chosen.api_key else None
    async with TestClient(server, headers=headers) as client:
        await client.post("/agents", json={"agent_id": "gated", "protocol": "local"})
        await client.post("/flows", json=FLOW)
        yield client, gate
        gate.open.set()


async def start(client: TestClient, wait: int = 0, **given: Any) -> str:
    """Start the flow; its path."""
    async with client.post(f"/flows/execute?wait={wait}", json={"flow_id": "two", "input_data": given}) as answer:
        return f"/executions/{(await answer.json())['execution_id']}"


async def read(answer: aiohttp.ClientResponse, most: int = 1000) -> list[dict[str, str]]:
    """The next blocks of a stream, field by field; comments under an empty name."""
    blocks: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    while len(blocks) < most:
        line = (await asyncio.wait_for(answer.content.readline(), 10)).decode()
        if not line:
            break
        if line == "\n":
            blocks.append(fields)
            fields = {}
            continue
        name, _, value = line.rstrip("\n").partition(":")
        assert name not in fields, "each field once"
        fields[name] = value.removeprefix(" ")
    return blocks


def seqs(blocks: list[dict[str, str]]) -> list[int]:
    return [int(block["id"]) for block in blocks if "id" in block]
