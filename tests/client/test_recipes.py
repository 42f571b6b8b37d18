"""Recipes for tests of your own: copy one, and put your code in the place of the function that it tests."""

from __future__ import annotations

import inspect
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aioresponses import aioresponses
from yarl import URL

from opscore_sdk import Agent, AgentError, OpsCoreClientAsync
from opscore_sdk.errors import OpsCoreApiError
from opscore_sdk.testing import FakeOpsCore

SERVER = "http://ops.example"


async def greeting_of(client: OpsCoreClientAsync, name: str) -> str:
    """Some code of yours that calls Ops-Core."""
    done = await client.execute_flow("hello", {"name": name}, wait=10)
    return str(done["result"]["greet"]["greeting"])


def make_app(client: OpsCoreClientAsync) -> web.Application:
    """A service of yours that calls Ops-Core."""

    async def greet(request: web.Request) -> web.Response:
        try:
            return web.Response(text=await greeting_of(client, request.query["name"]))
        except OpsCoreApiError as error:
            return web.Response(status=502, text=error.error_code)

    app = web.Application()
    app.router.add_get("/", greet)
    return app


# -- aioresponses: no server, every answer written by hand ---------------------------------------


class MockedResponse(aiohttp.ClientResponse):
    """Give what aiohttp 3.14 asks for and aioresponses 0.7.9 does not know yet (its issue 289)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


async def test_with_aioresponses_an_answer() -> None:
    """One answer is scripted, and what was sent can be looked at."""
    execute = f"{SERVER}/api/v1/flows/execute?wait=10"
    with aioresponses() as mocked:
        done = {"execution_id": "e1", "status": "completed", "result": {"greet": {"greeting": "Hello Ada"}}}
        mocked.post(execute, payload=done, response_class=MockedResponse)
        async with OpsCoreClientAsync(SERVER) as client:
            assert await greeting_of(client, "Ada") == "Hello Ada"
        (request,) = mocked.requests[("POST", URL(execute))]
    assert b'"name":"Ada"' in request.kwargs["data"]


async def test_with_aioresponses_a_problem() -> None:
    """A refusal has status and code, as from the server."""
    problem = {"status": 404, "error_code": "FLOW_NOT_FOUND", "detail": 'There is no flow "hello".'}
    with aioresponses() as mocked:
        mocked.post(
            f"{SERVER}/api/v1/flows/execute?wait=10", status=404, payload=problem, response_class=MockedResponse
        )
        async with OpsCoreClientAsync(SERVER) as client:
            with pytest.raises(OpsCoreApiError, match="no flow") as refused:
                await greeting_of(client, "Ada")
    assert (refused.value.status, refused.value.error_code) == (404, "FLOW_NOT_FOUND")


# -- the fake server: real HTTP, flows that are functions ----------------------------------------


async def test_with_the_fake_server() -> None:
    """A flow is a function of the test; nothing else is to be set up."""
    async with FakeOpsCore() as fake, OpsCoreClientAsync(fake.url) as client:
        flow = fake.on_flow("hello", lambda given: {"greet": {"greeting": f"Hello {given['name']}"}})
        assert await greeting_of(client, "Ada") == "Hello Ada"
        assert flow.inputs == [{"name": "Ada"}]


async def test_with_the_fake_server_and_a_service_of_yours() -> None:
    """The aiohttp test client asks the service, and the service asks the fake server."""
    async with FakeOpsCore() as fake, OpsCoreClientAsync(fake.url) as client:
        fake.on_flow("hello", {"greet": {"greeting": "Hello"}})
        async with TestClient(TestServer(make_app(client))) as service:
            async with service.get("/?name=Ada") as answer:
                assert await answer.text() == "Hello"
            fake.fail_next(status=400, error_code="VALIDATION_ERROR")
            async with service.get("/?name=Ada") as answer:
                assert (answer.status, await answer.text()) == (502, "VALIDATION_ERROR")


# -- agents --------------------------------------------------------------------------------------

agent = Agent("greeter")


@agent
async def greet(given: dict[str, Any]) -> dict[str, Any]:
    """An agent of yours."""
    if "name" not in given:
        raise AgentError("The name is missing.", "BAD_DATA", retryable=False)
    return {"greeting": f"Hello {given['name']}"}


async def test_an_agent_as_a_function() -> None:
    """The decorator leaves the function as it is."""
    assert await greet({"name": "Ada"}) == {"greeting": "Hello Ada"}


async def test_an_agent_with_the_aiohttp_test_client() -> None:
    """Over HTTP, as Ops-Core calls it, without registering anywhere."""
    task: dict[str, Any] = {"execution_id": "e1", "node_id": "greet", "input": {}, "config": {}}
    async with TestClient(TestServer(agent.app())) as client:
        async with client.post("/execute", json={**task, "input": {"name": "Ada"}}) as answer:
            assert (await answer.json())["output"] == {"greeting": "Hello Ada"}
        async with client.post("/execute", json=task) as answer:
            assert (await answer.json())["error_code"] == "BAD_DATA"
