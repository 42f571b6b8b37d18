"""What the blocks of the SDK's README run against: a whole server in a thread, with agents that are functions.

The same agents are there over HTTP, for a server that is a process of its own.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import Any, AsyncIterator, Iterator

from aiohttp import web
from aiohttp.test_utils import TestServer

from opscore.settings import Settings
from opscore.testing import open_client

KEY = "oc_readme_key"
LIMIT = 30.0


async def greet(given: dict[str, Any]) -> dict[str, Any]:
    """Greet whom the input names."""
    if "name" not in given:
        raise ValueError("The name is missing.")
    return {"greeting": f"Hello {given['name']}"}


async def echo(given: dict[str, Any]) -> dict[str, Any]:
    """Return the input."""
    return given


async def write(_: dict[str, Any]) -> dict[str, Any]:
    """Never end."""
    await asyncio.Event().wait()
    return {}


AGENTS = {"greeter": greet, "printer": echo, "writer": write}


def agentkit() -> web.Application:
    """An AgentKit that takes every task."""

    async def accept(_: web.Request) -> web.Response:
        return web.json_response({"status": "accepted"}, status=202)

    app = web.Application()
    app.router.add_post("/v1/agents/{agent_id}/run", accept)
    return app


def http_agents() -> web.Application:
    """The agents, each below its name."""

    async def execute(request: web.Request) -> web.Response:
        given = (await request.json())["input"]
        try:
            output = await AGENTS[request.match_info["name"]](given)
        except ValueError as error:
            return web.json_response({"status": "error", "error_message": str(error), "retryable": False})
        return web.json_response({"status": "success", "output": output})

    app = web.Application()
    app.router.add_post("/{name}/execute", execute)
    return app


@contextmanager
def readme_server() -> Iterator[str]:
    """The address of a server that has the agents of the README, and an AgentKit that takes every task."""
    ready = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        ended = asyncio.Event()  # belongs to the loop it is made in, before Python 3.10
        async with _server() as url:
            found.extend((asyncio.get_running_loop(), ended, url))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="readme-server", daemon=True)
    thread.start()
    assert ready.wait(LIMIT)
    loop, ended, url = found
    yield url
    loop.call_soon_threadsafe(ended.set)
    thread.join(LIMIT)


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    async with TestServer(agentkit()) as kit:
        settings = Settings(
            database="sqlite:///:memory:",
            drain_timeout=0.1,
            api_key=KEY,
            agentkit_api_url=str(kit.make_url("/")).rstrip("/"),
        )
        async with open_client(settings, AGENTS) as client:
            yield str(client.make_url("/")).rstrip("/")
