"""The agentkit protocol against a server that plays AgentKit."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Mapping, Optional, Sequence, Union

import attrs
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from opscore.domain.agents import Agent, AgentSpec
from opscore.domain.calls import Call, Deferred, Postponed, Probe, Refused, Reply
from opscore.domain.errors import Invalid, Unavailable
from opscore.domain.ports import NotOffered
from opscore.protocols import AddressGuard, AgentKit, Spine, open_session
from opscore.protocols.agentkit import HAND_OVER_TIMEOUT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RUN = "01a1fc16-d85a-731e-a21b-70c291746085"
KEY = "key-that-nobody-may-see"
CALL = Call(
    RUN,
    "fetch",
    3,
    Agent(AgentSpec("worker_1", "Worker", "agentkit"), 0, 0),
    {"given": 1},
    {"set": 2},
    flow_id="daily",
    name="Fetch the news",
    payload={"text": "\u00fc\u4e16\U0001f600", "deep": [1, 2.5, None, {"is": True}]},
)


@attrs.frozen
class Asked:
    """One request as AgentKit saw it."""

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Any
    socket: Any


@attrs.frozen
class Kit:
    """The protocol, where AgentKit is, and what AgentKit was asked."""

    protocol: AgentKit
    url: str
    asked: Sequence[Asked]


@asynccontextmanager
async def played(
    handler: Handler, path: str = "", key: Optional[str] = None, timeout: float = HAND_OVER_TIMEOUT
) -> AsyncIterator[Kit]:
    """AgentKit, as one handler for all that it is asked; ``path`` ends the address that Ops-Core is told."""
    asked: list[Asked] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        body = await request.json() if request.can_read_body else None
        asked.append(Asked(request.method, request.raw_path, request.headers, body, peer))
        return await handler(request)

    app = web.Application(client_max_size=4_000_000)
    app.router.add_route("*", "/{path:.*}", noted)
    server = TestServer(app)
    await server.start_server()
    try:
        url = str(server.make_url("/")).rstrip("/") + path
        async with opened(url, key, timeout) as protocol:
            yield Kit(protocol, url, asked)
    finally:
        await server.close()


@asynccontextmanager
async def opened(
    url: Optional[str], key: Optional[str] = None, timeout: float = HAND_OVER_TIMEOUT
) -> AsyncIterator[AgentKit]:
    """The protocol, with a session of its own."""
    guard = AddressGuard()
    async with open_session(guard) as session:
        yield AgentKit(session, guard, Spine(session, guard, 1024), url, key, timeout)


def says(status: int, body: Union[bytes, str] = b"", **headers: str) -> Handler:
    """An AgentKit that always gives the same answer."""
    raw = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, body=raw, headers=named)

    return handler


async def told(handler: Handler) -> Reply:
    """What a call comes back with."""
    async with played(handler) as kit:
        return await kit.protocol.call(CALL)


def _cut(status: int, headers: bytes = b"Content-Length: 100\r\n\r\n") -> Handler:
    """An AgentKit whose answer breaks off."""

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 %d Something\r\n" % status + headers + b"half an ans")
        request.transport.close()
        return web.Response()

    return handler


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# -- what is sent -----------------------------------------------------------------------------------


async def test_a_task_is_handed_over_in_agentkits_words() -> None:
    """The run call has the body of the contract, neither more nor less."""
    async with played(says(202)) as kit:
        assert await kit.protocol.call(CALL) == Deferred()
    (asked,) = kit.asked
    assert (asked.method, asked.path) == ("POST", "/v1/agents/worker_1/run")
    assert asked.body == {
        "senderId": "opscore_system_id",
        "messageType": "workflow_task",
        "payload": CALL.payload,
        "task_name": "Fetch the news",
        "opscore_session_id": RUN,
        "opscore_task_id": f"{RUN}:fetch",
        "sessionContext": {"sessionId": RUN, "workflowId": "daily", "taskId": f"{RUN}:fetch"},
    }


async def test_a_task_carries_what_every_call_carries() -> None:
    """The run call has the idempotency key, the attempt and the trace, and no key where none is set."""
    async with played(says(202)) as kit:
        await kit.protocol.call(CALL)
    headers = kit.asked[0].headers
    assert headers["Content-Type"] == "application/json"
    assert (headers["Idempotency-Key"], headers["X-OpsCore-Attempt"]) == (f"{RUN}:fetch", "3")
    assert re.fullmatch(f"00-{RUN.replace('-', '')}-[0-9a-f]{{16}}-01", headers["traceparent"])
    assert not {"Authorization", "X-API-Key", "Cookie"} & headers.keys()


async def test_a_step_without_a_name_is_called_by_its_id() -> None:
    """``task_name`` is never empty."""
    async with played(says(202)) as kit:
        await kit.protocol.call(attrs.evolve(CALL, name=""))
    assert kit.asked[0].body["task_name"] == "fetch"


async def test_a_large_payload_is_sent_whole() -> None:
    """A payload of megabytes arrives as it is."""
    payload = {"text": "\u00fc" * 1_000_000}
    async with played(says(202)) as kit:
        assert await kit.protocol.call(attrs.evolve(CALL, payload=payload)) == Deferred()
    assert kit.asked[0].body["payload"] == payload


SPELLINGS = [
    ("", ""), ("/", ""), ("/v1", ""), ("/v1/", ""), ("//", ""), ("/kit", "/kit"), ("/kit/", "/kit"),
    ("/kit/v1", "/kit"), ("/kit/v1/", "/kit"), ("/a%20b/v1", "/a%20b"), ("/dev1", "/dev1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "prefix"), SPELLINGS)
async def test_the_address_may_end_in_v1(path: str, prefix: str) -> None:
    """However AgentKit's address is spelled, ``/v1`` is in the path once, behind the prefix."""
    async with played(says(202, "[]"), path) as kit:
        await kit.protocol.call(CALL)
        assert await kit.protocol.agents() == []
    assert [asked.path for asked in kit.asked] == [f"{prefix}/v1/agents/worker_1/run", f"{prefix}/v1/agents"]


@pytest.mark.parametrize("host", ["v1", "v1/", "v1/v1", "v1:80", "run"])
async def test_a_host_may_be_called_as_a_path_is(host: str) -> None:
    """Only the end of a path is taken off an address, never its host."""
    name = host.partition("/")[0].partition(":")[0]
    asked: list[str] = []

    class Nowhere(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
            asked.append(host)
            raise OSError

        async def close(self) -> None:
            pass

    guard = AddressGuard()
    async with open_session(guard, Nowhere()) as session:
        protocol = AgentKit(session, guard, Spine(session, guard, 1024), f"http://{host}")
        assert isinstance(await protocol.call(CALL), Postponed)
        assert not (await protocol.probe("http://run/")).is_reachable
    assert asked == [name, "run"]


async def test_the_key_is_sent_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The key goes with every request to AgentKit, and into no line of the log, whatever happens."""
    caplog.set_level(logging.DEBUG)
    async with played(says(401, '{"message": "Who are you?"}'), key=KEY) as kit:
        replies = [await kit.protocol.call(CALL), await kit.protocol.call(attrs.evolve(CALL, payload={"x": object()}))]
        with pytest.raises(Unavailable):
            await kit.protocol.agents()
    async with opened(f"http://127.0.0.1:{_free_port()}", KEY) as protocol:
        replies.append(await protocol.call(CALL))
    sent = [(asked.headers["Authorization"], asked.headers["X-API-Key"]) for asked in kit.asked]
    assert sent == [(f"Bearer {KEY}", KEY)] * 2
    assert [getattr(reply, "error_code", None) for reply in replies] == [
        "AGENTKIT_HTTP_401", "AGENT_CALL_FAILED", "AGENTKIT_UNREACHABLE",
    ]  # fmt: skip
    assert "agentkit.call_failed" in caplog.text
    assert KEY not in caplog.text + str(replies) + repr(kit.protocol)


async def test_an_agent_does_not_get_the_key_of_agentkit() -> None:
    """Asking an agent itself for its health carries no key of somebody else's."""
    async with played(says(200), key=KEY) as kit:
        assert (await kit.protocol.probe(f"{kit.url}/run")).connected
    assert not {"Authorization", "X-API-Key"} & kit.asked[0].headers.keys()


# -- what comes back --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
async def test_a_task_that_was_taken_is_answered_later(status: int) -> None:
    """Any success means that the agent will answer later."""
    assert await told(says(status)) == Deferred()


async def test_the_connection_is_used_again() -> None:
    """A second task goes through the socket of the first, whatever AgentKit said to that."""
    answers = iter([says(202, "x" * 9_000), says(400, "no"), says(503, "{}"), says(202)])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    async with played(handler) as kit:
        for _ in range(4):
            await kit.protocol.call(CALL)
    assert len(kit.asked) == 4
    assert len({asked.socket for asked in kit.asked}) == 1


async def test_a_refusal_is_told_in_agentkits_own_words() -> None:
    """What AgentKit will not have fails for good, with its message and code."""
    reply = await told(says(404, '{"error_code": "NO_SUCH_AGENT", "message": "Nobody \\u2603 has this id."}'))
    text = "AgentKit answered 404 Not Found: Nobody \u2603 has this id."
    assert reply == Refused("NO_SUCH_AGENT", text, retryable=False)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422, 499])
async def test_a_refusal_without_words_has_a_code_of_its_status(status: int) -> None:
    """No 4xx is worth a repeat, even if AgentKit believes so or says when."""
    reply = await told(says(status, '{"retryable": true}', Retry_After="7"))
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable, reply.retry_after) == (f"AGENTKIT_HTTP_{status}", False, None)
    assert reply.error_message.startswith(f"AgentKit answered {status}")


NOT_NOW = [
    *((status, "AGENTKIT_BUSY") for status in (408, 409, 423, 425, 429)),
    *((status, "AGENTKIT_UNAVAILABLE") for status in (500, 501, 502, 503, 504, 507, 599)),
]


@pytest.mark.parametrize(("status", "code"), NOT_NOW)
async def test_what_agentkit_does_not_take_now_is_offered_again(status: int, code: str) -> None:
    """Being busy or broken is no failure of the agent, and ``Retry-After`` says when to come back."""
    reply = await told(says(status, '{"detail": "Later.", "retryable": false}', Retry_After="7"))
    assert isinstance(reply, Postponed)
    assert (reply.error_code, reply.retry_after) == (code, 7.0)
    assert reply.error_message.startswith(f"AgentKit answered {status}")
    assert reply.error_message.endswith(": Later.")


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("soon", None), ("-1", None), ("999999999999", 3600.0)])
async def test_a_pause_is_what_can_be_read_of_it(header: Optional[str], seconds: Optional[float]) -> None:
    """A ``Retry-After`` that is missing or malformed is none, and one that is too long is an hour."""
    reply = await told(says(503, **({} if header is None else {"Retry_After": header})))
    assert isinstance(reply, Postponed)
    assert reply.retry_after == seconds


async def test_nobody_listening_is_no_failure_of_the_agent() -> None:
    """A task for an AgentKit that is down is offered again."""
    async with opened(f"http://127.0.0.1:{_free_port()}") as protocol:
        reply = await protocol.call(CALL)
    text = "AgentKit cannot be reached: Connection refused."
    assert reply == Postponed("AGENTKIT_UNREACHABLE", text, is_certain=True)


async def test_a_server_without_tls_is_named() -> None:
    """Where TLS is asked for and not spoken the reason says so."""
    async with played(says(202)) as kit, opened(kit.url.replace("http:", "https:")) as protocol:
        reply = await protocol.call(CALL)
        probe = await protocol.probe(kit.url.replace("http:", "https:"))
    assert reply == Postponed(
        "AGENTKIT_UNREACHABLE", "AgentKit cannot be reached: it does not speak TLS as it should.", is_certain=True
    )
    assert probe.message.endswith(": it does not speak TLS as it should.")


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS, with a certificate that nobody trusts."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "1"]
    try:
        paths = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
        subprocess.run([*made, *paths], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    return context


async def test_an_untrusted_certificate_is_named(tls: ssl.SSLContext) -> None:
    """A server that anybody could be is not given a task, and the reason says so."""
    server = TestServer(web.Application())
    await server.start_server(ssl=tls)
    try:
        async with opened(str(server.make_url("/"))) as protocol:
            reply = await protocol.call(CALL)
            with pytest.raises(Unavailable, match="not trusted"):
                await protocol.agents()
    finally:
        await server.close()
    assert reply == Postponed(
        "AGENTKIT_UNREACHABLE", "AgentKit cannot be reached: its certificate is not trusted.", is_certain=True
    )


async def test_a_forbidden_address_is_named() -> None:
    """AgentKit may live anywhere but where nobody may, and the reason says so."""
    async with opened("http://169.254.169.254") as protocol:
        reply = await protocol.call(CALL)
    assert isinstance(reply, Postponed)
    assert "forbidden network" in reply.error_message


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(_cut(503), id="in the body"),
        pytest.param(_cut(202, b"Content-Le"), id="in the headers"),
        pytest.param(_cut(202, b"no: header\r\nat all\r\n\r\n"), id="no HTTP"),
    ],
)
async def test_a_broken_answer_is_no_failure_of_the_agent(handler: Handler) -> None:
    """A task that nobody is known to have taken is offered again."""
    reply = await told(handler)
    assert isinstance(reply, Postponed)
    assert reply.error_code == "AGENTKIT_UNREACHABLE"


async def test_what_was_taken_stays_taken() -> None:
    """A task is not offered again when the answer breaks off, or stalls, after the status that took it."""

    async def stalls(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=202)
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    assert await told(_cut(202)) == Deferred()
    async with played(stalls, timeout=0.05) as kit:
        assert await kit.protocol.call(CALL) == Deferred()


async def test_agentkit_must_answer_in_time() -> None:
    """An AgentKit that does not say whether it takes a task is as good as none."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with played(silent, timeout=0.05) as kit:
        reply = await kit.protocol.call(CALL)
    assert reply == Postponed("AGENTKIT_UNREACHABLE", "AgentKit cannot be reached: it did not answer in time.")
    assert len(kit.asked) == 1


async def test_redirects_are_not_followed() -> None:
    """An AgentKit that points elsewhere was not asked elsewhere, and no repeat would help."""
    async with played(says(307, Location="/elsewhere")) as kit:
        reply = await kit.protocol.call(CALL)
        with pytest.raises(Unavailable):
            await kit.protocol.agents()
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable) == ("AGENTKIT_REDIRECT", False)
    assert reply.error_message == "AgentKit answered 307 Temporary Redirect; redirects are not followed."
    assert [asked.path for asked in kit.asked] == ["/v1/agents/worker_1/run", "/v1/agents"]


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=int(request.headers["X-OpsCore-Attempt"]))
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


ODD_BODIES = {
    "huge": {"body": b"x" * 2_000_000},
    "bomb": {"body": gzip.compress(b"{" + b" " * 50_000_000 + b"}"), "Content_Encoding": "gzip"},
    "not gzip": {"body": b"plain", "Content_Encoding": "gzip"},
    "unknown encoding": {"body": b"plain", "Content_Encoding": "br"},
    "no JSON": {"body": b"\xff\x00<html>"},
    "odd words": {"body": b'{"error_code": ["x"], "message": {"deep": [1]}}'},
    "a list": {"body": b'["error_code"]'},
    "deep": {"body": b"[" * 5_000},
}


@pytest.mark.parametrize("odd", ODD_BODIES)
@pytest.mark.parametrize(("status", "kind"), [(202, Deferred), (422, Refused), (503, Postponed)])
async def test_no_answer_makes_a_call_raise(odd: str, status: int, kind: type) -> None:
    """Whatever AgentKit's answer holds, its status alone says what becomes of the task."""
    options: dict[str, Any] = ODD_BODIES[odd]
    reply = await told(says(status, **options))
    assert isinstance(reply, kind)
    assert len(getattr(reply, "error_message", "")) <= 1_000


@pytest.mark.parametrize(("status", "kind"), [(202, Deferred), (422, Refused), (503, Postponed)])
async def test_an_endless_answer_is_cut_off(status: int, kind: type) -> None:
    """No more of an answer is read than its beginning."""
    async with played(_endless) as kit:
        assert isinstance(await kit.protocol.call(attrs.evolve(CALL, attempt=status)), kind)


async def test_without_agentkit_nothing_can_be_handed_over() -> None:
    """Where no AgentKit is set a task fails for good and says which setting is missing."""
    async with opened(None) as protocol:
        reply = await protocol.call(CALL)
    assert isinstance(reply, Refused)
    assert (reply.error_code, reply.retryable) == ("AGENTKIT_NOT_CONFIGURED", False)
    assert "AGENTKIT_API_URL" in reply.error_message


# -- the list of agents -----------------------------------------------------------------------------

LISTED = (
    b'{"agentId": "one", "agentName": "One", "version": "1.2", "capabilities": ["read", "write"],'
    b' "contactEndpoint": "grpc://one:50051", "metadata": {"team": "news"}, "more": 1}'
)
ONE = AgentSpec(
    "one",
    "One",
    "agentkit",
    "grpc://one:50051",
    capabilities=("read", "write"),
    version="1.2",
    metadata={"team": "news"},
)


@pytest.mark.parametrize("listed", [b"[%b]", b'{"agents": [%b]}', b'{"agents": [%b], "count": 1}'])
async def test_a_list_comes_bare_or_in_an_object(listed: bytes) -> None:
    """Both shapes of AgentKit's list are read."""
    async with played(says(200, listed % LISTED)) as kit:
        assert await kit.protocol.agents() == [ONE]
    (asked,) = kit.asked
    assert (asked.method, asked.path, asked.body) == ("GET", "/v1/agents", None)


async def test_a_compressed_list_is_read() -> None:
    """A list may come with gzip."""
    packed = gzip.compress(b"[" + LISTED + b"]")
    async with played(says(200, packed, Content_Encoding="gzip")) as kit:
        assert await kit.protocol.agents() == [ONE]


async def test_a_long_list_is_read() -> None:
    """A list of thousands comes whole."""
    async with played(says(200, b"[" + b",".join([LISTED] * 5_000) + b"]")) as kit:
        assert await kit.protocol.agents() == [ONE] * 5_000


async def test_an_agent_needs_no_more_than_an_id() -> None:
    """What AgentKit leaves out or leaves null has a sensible value."""
    listed = b'[{"agentId": "a"}, {"agentId": "b", "agentName": null, "capabilities": null, "metadata": null}]'
    async with played(says(200, listed)) as kit:
        found = await kit.protocol.agents()
    assert found == [AgentSpec("a", "a", "agentkit"), AgentSpec("b", "b", "agentkit")]


ODD_ENTRIES = [
    b'"one"', b"null", b"[]", b"{}", b'{"agentId": 5}', b'{"agentId": "a b"}', b'{"agentId": ""}',
    b'{"agentId": "x", "capabilities": "read"}',
    b'{"agentId": "x", "capabilities": [5]}', b'{"agentId": "x", "metadata": [1]}', b'{"agent_id": "x"}',
]  # fmt: skip


@pytest.mark.parametrize("entry", ODD_ENTRIES)
async def test_an_odd_entry_is_passed_over_and_said_so(entry: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """One entry that is no agent costs a line in the log, and the others nothing."""
    async with played(says(200, b"[%b, %b]" % (entry, LISTED))) as kit:
        assert await kit.protocol.agents() == [ONE]
    lines = [record for record in caplog.records if record.name.startswith("opscore.")]
    assert [line.getMessage() for line in lines] == ["agentkit.listed_agent_ignored"]
    assert getattr(lines[0], "reason", "")


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_agentkit_may_have_no_list(status: int) -> None:
    """A status that means "there is no such thing" says that there is none."""
    async with played(says(status)) as kit:
        with pytest.raises(NotOffered):
            await kit.protocol.agents()


async def test_without_agentkit_there_is_no_list() -> None:
    """Where no AgentKit is set nobody is asked."""
    async with opened(None) as protocol:
        with pytest.raises(NotOffered):
            await protocol.agents()


NO_LISTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 401},
    {"status": 503, "Retry_After": "7"},
    {"status": 200},
    {"status": 204},
    {"status": 200, "body": b"<html>"},
    {"status": 200, "body": b"5"},
    {"status": 200, "body": b'{"agents": {}}'},
    {"status": 200, "body": b'{"items": []}'},
    {"status": 200, "body": b"[]", "Content_Encoding": "gzip"},
    {"status": 200, "body": b"[]" + b" " * (16 * 1024 * 1024)},
    {"status": 200, "body": gzip.compress(b"[]" + b" " * (16 * 1024 * 1024)), "Content_Encoding": "gzip"},
]


@pytest.mark.parametrize("answer", NO_LISTS, ids=range(len(NO_LISTS)))
async def test_what_is_no_list_is_read_again_later(answer: dict[str, Any]) -> None:
    """An error, something else than a list, and a list too long to hold say nothing of the agents."""
    async with played(says(**answer)) as kit:
        with pytest.raises(Unavailable):
            await kit.protocol.agents()


@pytest.mark.parametrize("handler", [_cut(200), _cut(200, b"Content-Le")])
async def test_a_list_that_breaks_off_is_read_again_later(handler: Handler) -> None:
    """Half a list is none."""
    async with played(handler) as kit:
        with pytest.raises(Unavailable):
            await kit.protocol.agents()


async def test_nobody_listening_has_no_list_now() -> None:
    """An AgentKit that is down may have a list later."""
    async with opened(f"http://127.0.0.1:{_free_port()}") as protocol:
        with pytest.raises(Unavailable):
            await protocol.agents()


# -- endpoints --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/run", "/run/", "/deep/run"])
async def test_an_agent_is_asked_for_its_health(path: str) -> None:
    """An agent with an HTTP endpoint is asked beside where its tasks go."""
    async with played(says(200)) as kit:
        probe = await kit.protocol.probe(kit.url + path, "worker_1")
    assert (probe.connected, probe.is_reachable, probe.has_health) == (True, True, True)
    prefix = path.rstrip("/")[: -len("/run")] if "run" in path else ""
    assert [(asked.method, asked.path) for asked in kit.asked] == [("GET", f"{prefix}/health")]


@pytest.mark.parametrize("endpoint", [None, "", "grpc://127.0.0.1:9", "worker", "httpx://127.0.0.1"])
async def test_an_agent_without_an_http_endpoint_has_nothing_to_ask(
    endpoint: Optional[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody connects anywhere, and nothing is concluded from that."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was made")

    async with opened("http://127.0.0.1:9") as protocol:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", refuse)
            probe = await protocol.probe(endpoint, "worker_1")
    assert probe == Probe(connected=False, message=probe.message, is_reachable=True, has_health=False)


@pytest.mark.parametrize(
    "endpoint",
    ["http://169.254.169.254/run", "HTTP://169.254.1.1", "https://[fe80::1]/", "http://", "http:", "http://a b"],
)
async def test_no_agent_lives_in_a_forbidden_network(endpoint: str) -> None:
    """An endpoint of the web is judged as every other agent's is."""
    async with opened(None) as protocol:
        with pytest.raises(Invalid):
            protocol.check(AgentSpec("worker_1", "Worker", "agentkit", endpoint))
        assert not (await protocol.probe(endpoint)).connected


@pytest.mark.parametrize("endpoint", [None, "", "grpc://x", "amqp://169.254.169.254/q", "http://10.0.0.1:80/run"])
async def test_other_endpoints_are_agentkits_business(endpoint: Optional[str]) -> None:
    """What Ops-Core never connects to itself is not judged."""
    async with opened(None) as protocol:
        protocol.check(AgentSpec("worker_1", "Worker", "agentkit", endpoint))
