"""One contract for every protocol, and what is the HTTP protocol's own business."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import socket
from contextlib import AsyncExitStack
from typing import Any, AsyncIterator, Awaitable, Callable, Optional

import attrs
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from opscore.domain.agents import Agent, AgentSpec
from opscore.domain.calls import Answered, Call, Deferred, Probe, Refused, Reply
from opscore.domain.errors import Invalid
from opscore.domain.ports import AgentProtocol
from opscore.protocols import AddressGuard, open_protocols
from opscore.protocols.answers import understood

Work = Callable[[dict[str, Any]], Awaitable[Any]]


@attrs.frozen
class Speaker:
    """A protocol, and an agent that it can call."""

    protocol: AgentProtocol
    endpoint: Optional[str]
    seen: list[dict[str, Any]]

    async def call(self, given: dict[str, Any], attempt: int = 1) -> Reply:
        """Make one attempt."""
        spec = AgentSpec("worker", "worker", self.protocol.name, self.endpoint)
        agent = Agent(spec, 0, 0)
        run = "01a1fc16-d85a-731e-a21b-70c291746085"
        call = Call(run, "node", attempt, agent, given, {"setting": "\u00fc"}, payload=given)
        return await self.protocol.call(call)


class Worker:
    """The agent of the contract: what it does is asked for in its input."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.ended = asyncio.Event()

    async def work(self, given: dict[str, Any]) -> Any:
        """Do as the input says."""
        if given.get("do") == "wait":
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()
        if given.get("do") == "fail":
            raise ValueError("it \u2603 failed")
        return given.get("return", given)


answering = pytest.mark.parametrize("speaker", ["spine", "local"], indirect=True)
"""For what only those protocols promise whose agents answer at once."""


@pytest_asyncio.fixture(params=["spine", "local", "agentkit"])
async def speaker(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Speaker, Worker]]:
    """The same agent behind each protocol."""
    worker = Worker()

    async def execute(http: web.Request) -> web.Response:
        body = await http.json()
        worker.seen.append({**body, "key": http.headers["Idempotency-Key"], "try": http.headers["X-OpsCore-Attempt"]})
        assert http.headers["traceparent"].startswith("00-01a1fc16d85a731ea21b70c291746085-")
        try:
            output = await worker.work(body["input"])
        except ValueError as error:
            return web.json_response({"status": "error", "error_message": str(error)})
        return web.json_response({"status": "success", "output": output})

    async def run(http: web.Request) -> web.Response:
        body = await http.json()
        worker.seen.append({**body, "key": http.headers["Idempotency-Key"], "try": http.headers["X-OpsCore-Attempt"]})
        assert http.headers["traceparent"].startswith("00-01a1fc16d85a731ea21b70c291746085-")
        await worker.work(body["payload"])
        return web.Response(status=202)

    async def local(given: dict[str, Any], call: Call) -> Any:
        seen = {"execution_id": call.execution_id, "node_id": call.node_id, "input": given, "config": call.config}
        worker.seen.append({**seen, "key": call.idempotency_key, "try": str(call.attempt)})
        return await worker.work(given)

    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_post("/execute", execute)
        app.router.add_post("/v1/agents/worker/run", run)
        server = TestServer(app)
        await server.start_server()
        stack.push_async_callback(server.close)
        protocols = await stack.enter_async_context(
            open_protocols(local_agents={"worker": local}, agentkit=(str(server.make_url("")), None))
        )
        endpoint = str(server.make_url("")) if request.param == "spine" else None
        yield Speaker(protocols[request.param], endpoint, worker.seen), worker


@answering
async def test_input_and_config_arrive_and_the_output_comes_back(speaker: tuple[Speaker, Worker]) -> None:
    """What is sent arrives unchanged, and what is returned is the output."""
    given = {"text": "\u00fc\u4e16\U0001f600", "n": 2**53, "deep": {"list": [1, 2.5, None, True]}}
    assert await speaker[0].call(given) == Answered(given)
    (seen,) = speaker[1].seen
    assert (seen["input"], seen["config"], seen["node_id"]) == (given, {"setting": "\u00fc"}, "node")


async def test_the_key_is_the_same_on_every_repeat(speaker: tuple[Speaker, Worker]) -> None:
    """A repeat has another attempt number and the same idempotency key."""
    for attempt in (1, 2):
        await speaker[0].call({}, attempt)
    assert {seen["key"] for seen in speaker[1].seen} == {"01a1fc16-d85a-731e-a21b-70c291746085:node"}
    assert [seen["try"] for seen in speaker[1].seen] == ["1", "2"]


@answering
@pytest.mark.parametrize("value", [5, "text", [1], True])
async def test_an_output_that_is_no_object_is_wrapped(speaker: tuple[Speaker, Worker], value: Any) -> None:
    """Whatever is returned becomes an object."""
    assert await speaker[0].call({"return": value}) == Answered({"value": value})


@answering
async def test_no_output_is_an_empty_object(speaker: tuple[Speaker, Worker]) -> None:
    """An agent that returns nothing (null) has an empty output."""
    assert await speaker[0].call({"return": None}) == Answered({})


@answering
async def test_a_failure_is_a_reply(speaker: tuple[Speaker, Worker]) -> None:
    """An agent that fails is refused with its words and a code, and may be tried again."""
    reply = await speaker[0].call({"do": "fail"})
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable) == ("AGENT_ERROR", True)
    assert "it \u2603 failed" in reply.error_message


async def test_cancelling_the_call_ends_the_work(speaker: tuple[Speaker, Worker]) -> None:
    """A call that is dropped ends the agent's work at once."""
    call = asyncio.ensure_future(speaker[0].call({"do": "wait"}))
    while not speaker[1].seen:
        await asyncio.wait({call}, timeout=0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(speaker[1].ended.wait(), 5)


async def test_the_reply_is_of_the_protocols_kind(speaker: tuple[Speaker, Worker]) -> None:
    """A protocol whose agents answer later defers, and no other does."""
    reply = await speaker[0].call({})
    assert isinstance(reply, Deferred if speaker[0].protocol.answers_later else Answered)


# -- spine alone ----------------------------------------------------------------------------------


async def _answered(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **options: Any) -> Reply:
    app = web.Application()
    app.router.add_post("/execute", handler)
    app.router.add_route("*", "/elsewhere", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        async with open_protocols(**options) as protocols:
            return await Speaker(protocols["spine"], str(server.make_url("/execute")), []).call({})
    finally:
        await server.close()


def _static(status: int, body: bytes, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return handler


ANSWERS = [
    (200, b"no json", "AGENT_BAD_ANSWER", True, None),
    (200, b"", "AGENT_BAD_ANSWER", True, None),
    (200, b"[]", "AGENT_BAD_ANSWER", True, None),
    (200, b'{"status": "perhaps"}', "AGENT_BAD_ANSWER", True, None),
    (200, b'{"status": "success", "status": "error"}', "AGENT_BAD_ANSWER", True, None),
    (200, b'{"status": "error", "error_code": "MINE", "retryable": false}', "MINE", False, None),
    (200, b'{"status": "error", "error_message": {"odd": 1}}', "AGENT_ERROR", True, None),
    (503, b"", None, True, 7.0),
    (429, b"", None, True, 7.0),
    (500, b"", None, True, None),
    (408, b"", None, True, None),
    (400, b"", None, False, None),
    (404, b"", None, False, None),
]


@pytest.mark.parametrize(("status", "body", "code", "retryable", "pause"), ANSWERS)
async def test_every_answer_is_understood_or_refused(
    status: int,
    body: bytes,
    code: Optional[str],
    retryable: bool,
    pause: Optional[float],
) -> None:
    """Statuses and bodies become refusals that say whether a repeat could help, and when."""
    headers = {"Retry_After": "7"} if pause else {}
    reply = await _answered(_static(status, body, **headers))
    assert isinstance(reply, Refused)
    assert (reply.retryable, reply.retry_after) == (retryable, pause)
    assert code is None or reply.error_code == code


async def test_redirects_are_not_followed() -> None:
    """An agent that points elsewhere has failed, and elsewhere nobody was asked."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    reply = await _answered(handler)
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable, asked) == ("AGENT_REDIRECT", False, ["/execute"])


async def test_a_huge_answer_is_cut_off() -> None:
    """Neither a large answer nor a small one that becomes large is held in memory."""
    bomb = gzip.compress(b'{"status": "success", "output": "' + b" " * 300_000_000 + b'"}')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for handler in (_static(200, bomb, Content_Encoding="gzip"), _static(200, b"x" * 9_000_000)):
        reply = await _answered(handler)
        assert isinstance(reply, Refused)
        assert reply.error_code == "AGENT_ANSWER_TOO_LARGE"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


async def test_an_agent_that_is_gone_is_unreachable() -> None:
    """Nobody listening, and a connection that breaks, are worth another try."""

    async def broken(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with open_protocols() as protocols:
        nobody = await Speaker(protocols["spine"], f"http://127.0.0.1:{port}", []).call({})
    for reply in (nobody, await _answered(broken)):
        assert isinstance(reply, Refused)
        assert (reply.error_code, reply.retryable) == ("AGENT_UNREACHABLE", True)


async def _probed(status: int) -> Probe:
    asked = []

    async def health(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_get("/{path:.*}", health)
    server = TestServer(app)
    await server.start_server()
    try:
        async with open_protocols() as protocols:
            found = await protocols["spine"].probe(str(server.make_url("/base/execute")), "worker")
    finally:
        await server.close()
    assert asked == ["/base/health"]
    return found


@pytest.mark.parametrize(
    ("status", "connected", "has_health"),
    [
        (200, True, True),
        (204, True, True),
        (301, False, True),
        (401, False, True),
        (404, False, False),
        (405, False, False),
        (500, False, True),
        (501, False, False),
        (503, False, True),
    ],
)
async def test_a_probe_tells_the_unwell_from_those_with_nothing_to_ask(
    status: int, connected: bool, has_health: bool
) -> None:
    """Whoever answers is reachable, well with a success, and without health where there is no such address."""
    found = await _probed(status)
    assert (found.connected, found.is_reachable, found.has_health) == (connected, True, has_health)
    assert found.latency_ms is not None
    assert found.latency_ms > 0


async def test_a_probe_that_nobody_answers() -> None:
    """A refused connection and an endpoint that may not be called are not reachable, and say nothing of health."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with open_protocols() as protocols:
        for endpoint in (f"http://127.0.0.1:{port}", "http://169.254.169.254", None):
            found = await protocols["spine"].probe(endpoint, "worker")
            assert (found.connected, found.is_reachable, found.has_health) == (False, False, True)
            assert found.latency_ms is None


async def test_a_probe_has_little_time() -> None:
    """An agent that is asked for its health and says nothing is not reachable."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/health", silent)
    server = TestServer(app)
    await server.start_server()
    try:
        async with open_protocols(probe_timeout=0.05) as protocols:
            found = await protocols["spine"].probe(str(server.make_url("")), "worker")
    finally:
        await server.close()
    assert (found.connected, found.is_reachable) == (False, False)
    assert "in time" in found.message


class Rebinding(AbstractResolver):
    """Says that every name is the cloud's metadata server."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="169.254.169.254", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_name_cannot_lead_to_a_forbidden_network() -> None:
    """The address is judged when the socket is made, whatever the name looked like when the agent registered."""
    async with open_protocols(resolver=Rebinding()) as protocols:
        reply = await Speaker(protocols["spine"], "http://innocent.example", []).call({})
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable) == ("AGENT_FORBIDDEN_ADDRESS", False)


FORBIDDEN = [
    "169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "169.254.169.254.",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0", "0", "[::]", "255.255.255.255", "224.0.0.1", "[ff02::1]",
    "[fec0::1]", "240.0.0.1", "\uff11\uff16\uff19.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_forbidden_networks_in_every_spelling(host: str) -> None:
    """An endpoint in a link-local, metadata, multicast or unspecified network is refused however it is written."""
    with pytest.raises(Invalid):
        AddressGuard().check_endpoint(f"http://{host}/x")


def test_networks_may_be_limited() -> None:
    """With a list of networks only those are allowed; without one private networks and loopback are."""
    AddressGuard().check_endpoint("http://10.1.2.3:80")
    AddressGuard().check_endpoint("http://[::1]:80/execute?x=1")
    guard = AddressGuard(["10.0.0.0/8", "169.254.0.0/16"])
    guard.check_endpoint("http://10.1.2.3")
    for endpoint in ("http://127.0.0.1", "http://169.254.1.1"):
        with pytest.raises(Invalid):
            guard.check_endpoint(endpoint)


@given(
    st.integers(100, 599),
    st.binary(max_size=80) | st.dictionaries(st.text(), st.text()).map(lambda d: json.dumps(d).encode()),
)
def test_any_answer_becomes_a_reply(status: int, body: bytes) -> None:
    """Whatever an agent answers is a reply, never an exception."""
    assert isinstance(understood(status, body, "", 1000), (Answered, Refused))
