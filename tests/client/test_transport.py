from __future__ import annotations

import asyncio
import logging
import re
import ssl
import threading
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses
from played import Played
from still_clock import StillClock

from opscore_sdk import NotFoundError, OpsCoreClientAsync, OpsCoreSDKError
from opscore_sdk import TimeoutError as TooLate
from opscore_sdk.transport import Connections, RequestSent, ResponseReceived, log_to_stderr

URL = "http://ops.test"
ANY = re.compile(r"^http://ops\.test/.*$")
SECRET = "sk_very_secret"


@pytest.fixture
def _log() -> Any:
    log = logging.getLogger("opscore_sdk")
    before = (log.level, log.handlers[:])
    yield
    log.setLevel(before[0])
    log.handlers[:] = before[1]


async def test_hooks_see_every_attempt_and_answer() -> None:
    """They are told method, address, attempt, status, time and request id."""
    sent: list[RequestSent] = []
    received: list[ResponseReceived] = []
    with aioresponses() as server:
        server.get(ANY, status=503, response_class=Played)
        server.get(ANY, payload={}, headers={"X-Request-ID": "r"}, response_class=Played)
        options = {"on_request": sent.append, "on_response": received.append, "clock": StillClock().clock}
        async with OpsCoreClientAsync(URL, SECRET, **options) as client:  # type: ignore[arg-type]
            await client.get_flow("f", 3)
    url = f"{URL}/api/v1/flows/f"
    assert sent == [RequestSent("GET", url, 1), RequestSent("GET", url, 2)]
    assert [(one.attempt, one.status, one.request_id) for one in received] == [(1, 503, None), (2, 200, "r")]


@pytest.mark.usefixtures("_log")
async def test_the_debug_log_has_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Keys, bodies and parameters are not in it; methods, paths and statuses are."""
    with aioresponses() as server, caplog.at_level(logging.DEBUG, "opscore_sdk"):
        server.get(ANY, payload={"executions": []}, response_class=Played)
        server.post(ANY, payload={}, response_class=Played)
        async with OpsCoreClientAsync(URL, SECRET, debug=True) as client:
            await client.list_executions(metadata={"patient": "Ada"})
            await client.execute_flow("f", {"password": "hunter2"})
    assert f"GET {URL}/api/v1/executions (attempt 1)" in caplog.text
    assert "<- 200 POST" in caplog.text
    assert not [word for word in (SECRET, "Ada", "hunter2") if word in caplog.text]


@pytest.mark.usefixtures("_log")
def test_debug_shows_the_log_once() -> None:
    """However many clients ask for it, a line is shown once."""
    log_to_stderr()
    log_to_stderr()
    assert len(logging.getLogger("opscore_sdk").handlers) == 1


async def test_options_change_a_view_and_not_the_client() -> None:
    """``with_options`` shares the connections; time limit, repeats, key and headers are its own."""
    with aioresponses() as server:
        server.get(ANY, payload={}, repeat=True, response_class=Played)
        async with OpsCoreClientAsync(URL, "sk_1", headers={"X-Team": "a"}) as client:
            view = client.with_options(
                timeout=5, max_retries=0, total_timeout=9, api_key="sk_2", headers={"X-More": "b"}
            )
            await view.health_check()
            await client.health_check()
            assert view._transport.connections is client._transport.connections
            assert (view._transport.options.timeout, view._transport.options.retries.max_retries) == (5, 0)
            assert (client._transport.options.timeout, client._transport.options.retries.max_retries) == (30, 3)
        first, second = (call.kwargs["headers"] for call in next(iter(server.requests.values())))
    assert (first["Authorization"], first["X-Team"], first["X-More"]) == ("Bearer sk_2", "a", "b")
    assert (second["Authorization"], "X-More" in second) == ("Bearer sk_1", False)


async def test_a_call_may_have_a_time_limit_of_its_own() -> None:
    """``timeout`` limits each attempt of one call; waiting on the server's side comes on top."""
    limits: list[float] = []
    with aioresponses() as server:
        server.get(ANY, payload={}, repeat=True, response_class=Played)
        async with OpsCoreClientAsync(URL, "") as client:
            await client.health_check()
            await client.health_check(timeout=2)
            await client.get_execution("e", wait=10, timeout=2)
        for calls in server.requests.values():
            limits += [call.kwargs["timeout"].total for call in calls]
    assert limits == [30, 2, 12]


async def test_the_server_is_not_waited_for_longer_than_allowed() -> None:
    """An answer that does not come in time is a TimeoutError that names the time."""
    release = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/api/v1/health", hang)
    async with TestServer(app) as server:
        async with OpsCoreClientAsync(str(server.make_url("/")), "", max_retries=0) as client:
            with pytest.raises(TooLate, match=r"no answer within 0\.05 seconds") as late:
                await client.health_check(timeout=0.05)
            assert late.value.timeout == 0.05
        release.set()


async def test_raw_responses_have_what_came() -> None:
    """Status, headers and body beside what the method returns; refusals are raised as ever."""
    with aioresponses() as server:
        server.get(ANY, body=b'{"flow_id": "f"}', headers={"X-Request-ID": "r"}, response_class=Played)
        server.delete(ANY, payload={}, response_class=Played)
        server.get(ANY, status=404, response_class=Played)
        async with OpsCoreClientAsync(URL, "") as client:
            answer = await client.with_raw_response.get_flow("f")
            assert (answer.status, answer.status_code, answer.body) == (200, 200, b'{"flow_id": "f"}')
            assert (answer.headers["X-Request-ID"], answer.parse().flow_id) == ("r", "f")
            assert (await client.with_raw_response.delete_flow("f")).parse() is True
            with pytest.raises(NotFoundError):
                await client.with_raw_response.get_flow("f")
            with pytest.raises(AttributeError, match="no raw response of 'stream_events'"):
                _ = client.with_raw_response.stream_events
            with pytest.raises(AttributeError):
                _ = client.with_raw_response.nonsense


async def test_redirects_are_not_followed() -> None:
    """A key is not carried to another address."""

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://elsewhere.test/")

    app = web.Application()
    app.router.add_get("/api/v1/health", away)
    async with TestServer(app) as server, OpsCoreClientAsync(str(server.make_url("/")), SECRET) as client:
        with pytest.raises(OpsCoreSDKError, match=r"redirects to http://elsewhere\.test/"):
            await client.health_check()


async def test_a_closed_client_refuses() -> None:
    """So do its views; closing again is no error."""
    client = OpsCoreClientAsync(URL, "")
    view = client.with_options(timeout=1)
    await client.close()
    await client.close()
    for closed in (client, view):
        with pytest.raises(OpsCoreSDKError, match="closed"):
            await closed.health_check()


def test_a_client_may_be_used_in_one_loop_after_another() -> None:
    """A notebook or script that calls ``asyncio.run`` twice needs no second client, and nothing complains."""

    async def both() -> Any:
        async with TestServer(_healthy()) as server:
            with patch.object(client, "_transport", client._transport) as transport:
                transport.base_url = str(server.make_url("")).rstrip("/")
                return await client.health_check()

    client = OpsCoreClientAsync(URL, "")
    assert asyncio.run(both()) == asyncio.run(both()) == {"status": "healthy"}

    async def close() -> None:
        await client.close()

    asyncio.run(close())


def _healthy() -> web.Application:
    async def healthy(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    app = web.Application()
    app.router.add_get("/api/v1/health", healthy)
    return app


async def test_bare_lists_are_understood() -> None:
    """A server that answers lists without a name around them is read the same."""
    with aioresponses() as server:
        server.get(ANY, payload=[{"agent_id": "a"}], response_class=Played)
        async with OpsCoreClientAsync(URL, "") as client:
            found = await client.list_agents()
    assert (found.count, found.agents[0].agent_id) == (1, "a")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (aiohttp.ClientConnectionError("boom."), "Cannot reach http://ops.test: boom."),
        (ConnectionRefusedError(111, "refused"), "nothing listens there"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (ssl.SSLError(1, "bad handshake"), "bad handshake"),
        (OSError(), "OSError"),
    ],
)
async def test_connection_errors_say_why(failure: Exception, text: str) -> None:
    """In one line, with the cause behind it."""
    with aioresponses() as server:
        server.get(ANY, exception=failure)
        async with OpsCoreClientAsync(URL, "", max_retries=0) as client:
            with pytest.raises(ConnectionError, match=re.escape(text)) as lost:
                await client.health_check()
    assert lost.value.__cause__ is failure


async def test_a_client_serves_one_loop_at_a_time() -> None:
    """While another loop runs with its connections, this one is refused with the way out."""
    connections = Connections()

    async def opened() -> aiohttp.ClientSession:
        return connections.session()

    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(opened(), other).result(10)
    with pytest.raises(OpsCoreSDKError, match="make one client for each"):
        connections.session()
    asyncio.run_coroutine_threadsafe(connections.close(), other).result(10)
    other.call_soon_threadsafe(other.stop)
    thread.join(10)
    other.close()
