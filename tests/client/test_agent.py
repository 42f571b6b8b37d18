from __future__ import annotations

import asyncio
import gzip
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Optional

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from opscore.settings import Settings
from opscore.testing import open_client
from opscore_sdk import Agent, AgentError, Call
from opscore_sdk.agent_work import KEPT_ANSWERS, Answer, Desk, Handler
from opscore_sdk.errors import OpsCoreApiError
from opscore_sdk.testing import FakeOpsCore

EXAMPLE = Path(__file__).parents[2] / "examples" / "sdk_agent.py"
CALL = {"execution_id": "e1", "node_id": "n1", "input": {"name": "Ada"}, "config": {"tone": "warm"}}
LIMIT = 10.0


def agent_of(function: Any, **options: Any) -> Agent:
    made = Agent("tester", drain_timeout=options.pop("drain_timeout", 5.0), report_interval=0.0, **options)
    made(function)
    return made


@asynccontextmanager
async def calling(agent: Agent) -> AsyncIterator[TestClient]:
    """A client of the agent as a plain application."""
    async with TestServer(agent.app()) as served, TestClient(served) as client:
        yield client


async def execute(client: TestClient, key: Optional[str] = None, **changes: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    async with client.post("/execute", json={**CALL, **changes}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


class Held:
    """A handler that waits to be let go, and counts."""

    def __init__(self) -> None:
        self.runs = 0
        self.running = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        self.runs += 1
        self.running.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"runs": self.runs}


# -- handlers ------------------------------------------------------------------------------------


async def test_a_function_becomes_an_agent_of_the_spine_contract() -> None:
    """The function's dict is the output; the execution's id comes back with it."""

    async def greet(given: dict[str, Any]) -> dict[str, Any]:
        return {"greeting": f"Hello {given['name']}"}

    async with calling(agent_of(greet)) as client:
        assert await execute(client) == {
            "status": "success", "output": {"greeting": "Hello Ada"}, "execution_id": "e1",
        }  # fmt: skip


async def test_a_handler_of_two_arguments_gets_the_call() -> None:
    """The call has the ids, the attempt, the configuration, the key and the trace; it cannot be changed."""
    seen: list[Call] = []

    async def note(_: dict[str, Any], call: Call) -> None:
        seen.append(call)

    headers = {"Idempotency-Key": "e1:n1", "X-OpsCore-Attempt": "3", "traceparent": "00-ab-cd-01", "tracestate": "v=1"}
    async with calling(agent_of(note)) as client, client.post("/execute", json=CALL, headers=headers) as answer:
        assert (await answer.json())["output"] == {}
    expected = Call("e1", "n1", {"name": "Ada"}, {"tone": "warm"}, 3, "e1:n1", "00-ab-cd-01", "v=1")
    assert seen == [expected]
    with pytest.raises(AttributeError):
        seen[0].attempt = 4  # type: ignore[misc]


async def test_a_plain_function_runs_in_a_thread() -> None:
    """The loop is free meanwhile, and what the function raises is treated alike."""
    go = threading.Event()

    def slow(_: dict[str, Any]) -> dict[str, Any]:
        assert threading.current_thread() is not threading.main_thread()
        if not go.wait(LIMIT):
            raise AgentError("never let go")
        return {"ok": True}

    async with calling(agent_of(slow)) as client:
        waiting = asyncio.ensure_future(execute(client))
        async with client.get("/health") as health:
            assert health.status == 200
        go.set()
        assert (await waiting)["output"] == {"ok": True}


async def test_each_node_may_have_its_own_handler() -> None:
    """A node goes to its own handler, any other to the agent's; without one it has failed for good."""
    agent = Agent("clerk")
    agent.on("collect")(lambda given: {"by": "collect"})
    async with calling(agent) as client:
        assert (await execute(client, node_id="collect"))["output"] == {"by": "collect"}
        refused = await execute(client, node_id="other")
        assert (refused["error_code"], refused["retryable"]) == ("NO_HANDLER", False)
    agent(lambda given: {"by": "default"})
    async with calling(agent) as client:
        assert (await execute(client, node_id="other"))["output"] == {"by": "default"}


def test_a_handler_that_cannot_be_called_is_refused() -> None:
    """Decorating says at once what could never work, and gives the function back unchanged."""
    agent = Agent("a")

    async def fine(given: dict[str, Any], call: Optional[Call] = None) -> None:
        """Takes the call, although it need not be given."""

    assert agent(fine) is fine
    assert Handler(fine)._takes_call
    assert not Handler(lambda given, times=3: None)._takes_call
    with pytest.raises(ValueError, match="already"):
        agent(fine)
    for bad in (lambda: None, lambda a, b, c: None):
        with pytest.raises(TypeError, match="the input and the call"):
            agent.on("x")(bad)


@pytest.mark.parametrize(
    ("agent_id", "options"),
    [
        ("", {}), ("a b", {}), ("x" * 101, {}), (7, {}), ("a", {"capabilities": "greeting"}),
        ("a", {"max_concurrency": 0}), ("a", {"max_body_bytes": 0}), ("a", {"body_timeout": 0}),
        ("a", {"drain_timeout": -1}),
    ],
)  # fmt: skip
def test_an_agent_that_cannot_work_is_refused(agent_id: Any, options: dict[str, Any]) -> None:
    """Wrong arguments are told where they are given."""
    with pytest.raises(ValueError):
        Agent(agent_id, **options)


# -- failures ------------------------------------------------------------------------------------


async def test_a_handler_fails_in_its_own_words() -> None:
    """Message, code and whether to try again go over the wire."""

    async def refuse(_: dict[str, Any]) -> None:
        raise AgentError("No name \ud800 given.", "BAD_DATA", retryable=False)

    async with calling(agent_of(refuse)) as client:
        assert await execute(client) == {
            "status": "error", "error_message": "No name ? given.", "error_code": "BAD_DATA",
            "retryable": False, "execution_id": "e1",
        }  # fmt: skip


async def test_a_crash_shows_its_name_only(caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor traceback of an unforeseen exception is sent; the log has them."""

    async def crash(_: dict[str, Any]) -> None:
        raise KeyError("secret-token")

    async with calling(agent_of(crash)) as client:
        answer = await execute(client)
    assert (answer["error_code"], answer["retryable"]) == ("HANDLER_FAILED", True)
    assert "KeyError" in answer["error_message"]
    assert "secret-token" not in json.dumps(answer)
    assert "secret-token" in caplog.text


@pytest.mark.parametrize("output", [{1, 2}, object(), {"a": {3}}, {"s": "\ud800"}, {1: 2}, {"n": 2**70}])
async def test_an_output_that_is_no_json_is_a_failure(output: Any) -> None:
    """It is told, and would be the same the next time."""
    async with calling(agent_of(lambda given: output)) as client:
        answer = await execute(client)
    assert (answer["status"], answer["error_code"], answer["retryable"]) == ("error", "BAD_OUTPUT", False)


@pytest.mark.parametrize(("output", "sent"), [(None, {}), ("text", {"value": "text"}), ([1], {"value": [1]})])
async def test_an_output_that_is_no_object_becomes_one(output: Any, sent: Any) -> None:
    """Outputs on the wire are objects, as Ops-Core reads them."""
    async with calling(agent_of(lambda given: output)) as client:
        assert (await execute(client))["output"] == sent


async def test_a_handler_that_exits_does_not_take_the_agent_along() -> None:
    """sys.exit in a handler fails its call only."""

    async def leave(_: dict[str, Any]) -> None:
        sys.exit(3)

    async with calling(agent_of(leave)) as client:
        assert (await execute(client))["error_code"] == "HANDLER_FAILED"


@pytest.mark.parametrize("raised", [StopIteration(1), SystemExit(3), asyncio.CancelledError()], ids=repr)
async def test_no_exception_of_a_plain_function_leaves_the_caller_waiting(raised: BaseException) -> None:
    """What would end a thread or a future unseen is a failure like any other."""

    def odd(_: dict[str, Any]) -> None:
        raise raised

    async with calling(agent_of(odd)) as client:
        assert (await execute(client))["status"] == "error"


async def test_a_handler_that_cancels_itself_has_failed() -> None:
    """CancelledError of the handler's own is an answer, not silence."""

    async def odd(_: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    async with calling(agent_of(odd)) as client:
        assert (await execute(client, "k"))["error_code"] == "CANCELLED"


BAD_BODIES = [
    (b"", {}, 400, "INVALID_JSON"),
    (b"{", {}, 400, "INVALID_JSON"),
    (b"\xff", {}, 400, "INVALID_JSON"),
    (b"[" * 100_000, {}, 400, "INVALID_JSON"),
    (b'{"input": {"s": "\\ud800"}}', {}, 400, "INVALID_JSON"),
    (b'{"input": {"n": NaN}}', {}, 400, "INVALID_JSON"),
    (b"[" * 300_000, {}, 400, "INVALID_JSON"),
    (b"[]", {}, 400, "VALIDATION_ERROR"),
    (b"null", {}, 400, "VALIDATION_ERROR"),
    (b"{}", {}, 400, "VALIDATION_ERROR"),
    (b'{"input": []}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": null}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}, "config": 1}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}, "node_id": 1}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}, "execution_id": null}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}, "node_id": "' + b"n" * 201 + b'"}', {}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}}', {"Idempotency-Key": ""}, 400, "VALIDATION_ERROR"),
    (b'{"input": {}}', {"Idempotency-Key": "k" * 256}, 400, "VALIDATION_ERROR"),
    (gzip.compress(b'{"input": {}}'), {"Content-Encoding": "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    (b"x" * 400_001, {}, 413, "TOO_LARGE"),
    (b'{"input": {}}', {"Origin": "http://127.0.0.1:9001"}, 403, "FORBIDDEN"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_bad_input_is_a_problem(body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    """What is no call is refused with a problem, and no handler sees it."""
    seen: list[Any] = []
    async with (
        calling(agent_of(seen.append, max_body_bytes=400_000)) as client,
        client.post("/execute", data=body, headers=headers) as answer,
    ):
        problem = await answer.json()
        assert (answer.status, problem["status"], problem["error_code"]) == (status, status, code)
        assert answer.content_type == "application/problem+json"
    assert not seen


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/execute", 405), ("GET", "/nothing", 404)])
async def test_other_paths_and_methods_are_problems(method: str, path: str, status: int) -> None:
    """What aiohttp itself refuses has the same shape."""
    async with calling(agent_of(lambda given: None)) as client, client.request(method, path) as answer:
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert ("Allow" in answer.headers) is (status == 405)


async def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    """A stalled body costs its sender the call, not the agent its memory."""
    async with TestServer(agent_of(lambda given: None, body_timeout=0.05).app()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /execute HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in await asyncio.wait_for(reader.readline(), LIMIT)
        writer.close()


async def test_a_caller_that_leaves_in_the_middle_of_a_body_does_no_harm() -> None:
    """Half a call is no call; nothing is logged as an error of the agent's."""
    seen: list[Any] = []
    async with TestServer(agent_of(seen.append).app()) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /execute HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        async with TestClient(server) as client:
            await execute(client)
    assert len(seen) == 1


# -- repeats -------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_same_answer() -> None:
    """The same key runs once; another key, and no key, run again."""
    held = Held()
    held.go.set()
    async with calling(agent_of(held)) as client:
        runs = [(await execute(client, key))["output"]["runs"] for key in ("a", "a", "b", "a", None, None)]
    assert runs == [1, 1, 2, 1, 3, 4]


async def test_a_concurrent_repeat_joins_the_work() -> None:
    """A repeat that comes while the first is running waits for the same result, also above the limit."""
    held = Held()
    async with calling(agent_of(held, max_concurrency=1)) as client:
        calls = [asyncio.ensure_future(execute(client, "k")) for _ in range(5)]
        await held.running.wait()
        async with client.post("/execute", json=CALL, headers={"Idempotency-Key": "other"}) as busy:
            assert (busy.status, busy.headers["Retry-After"]) == (429, "1")
        held.go.set()
        assert [answer["output"] for answer in await asyncio.gather(*calls)] == [{"runs": 1}] * 5


@pytest.mark.parametrize(("retryable", "runs"), [(True, 2), (False, 1)])
async def test_only_final_failures_are_kept(retryable: bool, runs: int) -> None:
    """A failure that may be repeated is worked on again; one for good is not."""
    seen: list[Any] = []

    async def fail(given: dict[str, Any]) -> None:
        seen.append(given)
        raise AgentError("no", retryable=retryable)

    async with calling(agent_of(fail)) as client:
        assert await execute(client, "k") == await execute(client, "k")
    assert len(seen) == runs


async def test_kept_answers_are_bounded() -> None:
    """The oldest answer goes first, by number."""
    seen: list[str] = []

    async def note(_: dict[str, Any], call: Call) -> None:
        seen.append(str(call.idempotency_key))

    desk = Desk({None: Handler(note)}, 1)
    for number in [*range(KEPT_ANSWERS + 1), 1, 0]:
        await desk.answer(Call("e", "n", {}, idempotency_key=str(number)))
    assert seen[-2:] == [str(KEPT_ANSWERS), "0"]
    desk._kept_bytes += 10**9
    await desk.answer(Call("e", "n", {}, idempotency_key="large"))
    assert list(desk._kept) == ["large"]
    assert Answer(b"", is_final=True).crash is None


# -- hanging up ----------------------------------------------------------------------------------


async def hang_up(call: asyncio.Future[Any]) -> None:
    call.cancel()
    await asyncio.wait({call})


@pytest.mark.parametrize("how", ["app", "serving"])
async def test_a_handler_is_cancelled_when_its_caller_hangs_up(how: str) -> None:
    """As a plain application as well as under the agent's own server; the next try runs anew."""
    held = Held()
    agent = agent_of(held)
    async with TestServer(agent.app()) as server, agent.serving(register=False) as own:
        url = str(server.make_url("/")) if how == "app" else own
        async with aiohttp.ClientSession(url) as session:
            call = asyncio.ensure_future(session.post("/execute", json=CALL, headers={"Idempotency-Key": "k"}))
            await held.running.wait()
            await hang_up(call)
            await asyncio.wait_for(held.cancelled.wait(), LIMIT)
            held.go.set()
            async with session.post("/execute", json=CALL, headers={"Idempotency-Key": "k"}) as answer:
                assert (await answer.json())["output"] == {"runs": 2}


async def test_a_handler_goes_on_while_somebody_waits() -> None:
    """One of two callers hangs up: the other gets the result of the one run."""
    held = Held()
    async with agent_of(held).serving(register=False) as url, aiohttp.ClientSession(url) as session:
        headers = {"Idempotency-Key": "k"}
        first = asyncio.ensure_future(session.post("/execute", json=CALL, headers=headers))
        await held.running.wait()
        second = asyncio.ensure_future(session.post("/execute", json=CALL, headers=headers))
        async with session.get("/health") as health:
            assert (await health.json())["in_flight"] == 1
        await hang_up(first)
        async with session.get("/health"):
            held.go.set()
        async with await second as answer:
            assert (await answer.json())["output"] == {"runs": 1}
    assert not held.cancelled.is_set()


async def test_a_repeat_waits_for_the_clean_up_of_a_cancelled_run() -> None:
    """Two runs of one key never overlap, even while the first one takes its leave."""
    running, cleaning, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    log: list[str] = []

    async def work(_: dict[str, Any]) -> None:
        log.append("begin")
        running.set()
        if done.is_set():
            return
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await done.wait()
            log.append("end")

    desk = Desk({None: Handler(work)}, 5)
    call = Call("e", "n", {}, idempotency_key="k")
    first = asyncio.ensure_future(desk.answer(call))
    await running.wait()
    await hang_up(first)
    await cleaning.wait()
    second = asyncio.ensure_future(desk.answer(call))
    done.set()
    assert json.loads(await second)["status"] == "success"
    assert log == ["begin", "end", "begin"]


async def test_a_thread_runs_to_its_end_and_its_answer_is_kept() -> None:
    """A plain function cannot be cancelled; the repeat gets what it made."""
    running, go, runs = threading.Event(), threading.Event(), []

    def slow(given: dict[str, Any]) -> dict[str, Any]:
        runs.append(given)
        running.set()
        go.wait(LIMIT)
        return {"runs": len(runs)}

    desk = Desk({None: Handler(slow)}, 1)
    call = Call("e", "n", {}, idempotency_key="k")
    first = asyncio.ensure_future(desk.answer(call))
    await asyncio.get_running_loop().run_in_executor(None, running.wait, LIMIT)
    await hang_up(first)
    assert desk.in_flight == 1
    go.set()
    assert json.loads(await desk.answer(call))["output"] == {"runs": 1}


# -- presence ------------------------------------------------------------------------------------


class Reports:
    """A stand-in for the server: it notes what an agent says, and can say no."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.answers: list[tuple[int, str]] = []
        self._news = asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator[Reports]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        async with TestServer(app, port=port or None) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            yield self

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        status, code = self.answers.pop(0) if self.answers else (200, "")
        said = body.get("state", request.method)
        self.said.append(said if status < 400 else (said, status))
        self._news.set()
        return web.json_response({"error_code": code, "detail": code}, status=status)

    async def until(self, *said: Any) -> None:
        """Wait until this, and nothing else, was said."""
        wanted = list(said)

        async def look() -> None:
            while self.said != wanted:
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(look(), LIMIT)
        except asyncio.TimeoutError:
            assert self.said == wanted


async def call(url: str, **changes: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.post(url + "/execute", json={**CALL, **changes}) as answer:
        return await answer.json()


async def test_an_agent_tells_what_it_does() -> None:
    """Registered, initializing, idle, active while it works, error after a crash, offline at the end."""

    async def work(given: dict[str, Any]) -> None:
        if given.get("crash"):
            raise ValueError

    held = Held()
    agent = agent_of(held)
    agent.on("crash")(work)
    async with Reports().open() as server:
        agent._base_url = server.url
        async with agent.serving() as url:
            begun = ["POST", "initializing", "idle"]
            await server.until(*begun)
            running = asyncio.ensure_future(call(url))
            await server.until(*begun, "active")
            held.go.set()
            await running
            await server.until(*begun, "active", "idle")
            agent._handlers[None] = agent._handlers["crash"]
        await server.until(*begun, "active", "idle", "offline")


async def test_a_crash_is_shown_until_the_next_success() -> None:
    """Whose handler died unforeseen is in error; failing in one's own words is not."""
    async with Reports().open() as server:
        agent = Agent("tester", base_url=server.url, report_interval=0.0)

        @agent
        async def work(given: dict[str, Any]) -> None:
            kind = given.get("raise")
            if kind:
                raise {"crash": ValueError, "own": AgentError}[kind]("no")

        async with agent.serving() as url:
            await agent.registered(LIMIT)
            await call(url, input={"raise": "crash"})
            while server.said[-1] != "error":
                server._news.clear()
                await asyncio.wait_for(server._news.wait(), LIMIT)
            await call(url, input={"raise": "own"})
            while server.said[-1] != "idle":
                server._news.clear()
                await asyncio.wait_for(server._news.wait(), LIMIT)


async def test_reports_are_coalesced_and_hold_up_nothing() -> None:
    """While one report is on its way the work goes on, and of what happens meanwhile only the last is told."""
    gate, arrived = asyncio.Event(), asyncio.Event()
    said: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        said.append(body.get("state", "register"))
        if body.get("state") == "active":
            arrived.set()
            await gate.wait()
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with TestServer(app) as server:
        agent = Agent("tester", base_url=str(server.make_url("/")), report_interval=0.0)
        agent(lambda given: None)
        async with agent.serving() as url:
            await agent.registered(LIMIT)
            while not arrived.is_set():
                await call(url)
            for _ in range(50):
                assert (await call(url))["status"] == "success"
            gate.set()
        assert said[:2] == ["register", "initializing"]
        assert said[-1] == "offline"
        assert len(said) < 20


async def test_registration_is_tried_until_the_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals that may pass are repeated with backoff; the agent works meanwhile."""
    monkeypatch.setattr("opscore_sdk.agent_presence._FIRST_PAUSE", 0.001)
    async with Reports().open() as server:
        server.answers = [(503, "A"), (429, "B"), (500, "C"), (200, ""), (503, "D")]
        agent = agent_of(lambda given: None, base_url=server.url)
        async with agent.serving() as url:
            assert (await call(url))["status"] == "success"
            await agent.registered(LIMIT)
            while "idle" not in server.said:
                server._news.clear()
                await asyncio.wait_for(server._news.wait(), LIMIT)
        posts = [said for said in server.said if "POST" in said]
        assert posts[-1] == "POST"


async def test_a_name_that_is_taken_is_told_clearly(caplog: pytest.LogCaptureFixture) -> None:
    """On a conflict the agent says what to do, serves on, and does not speak for the other one."""
    async with Reports().open() as server:
        server.answers = [(409, "CONFLICT")]
        agent = agent_of(lambda given: None, base_url=server.url)
        async with agent.serving() as url:
            with pytest.raises(OpsCoreApiError):
                await agent.registered(LIMIT)
            assert (await call(url))["status"] == "success"
        assert server.said == [("POST", 409)]
    assert "replace=True" in caplog.text


async def test_an_agent_may_replace_another_one() -> None:
    """With replace=True the one that has the name is deleted first."""
    async with Reports().open() as server:
        server.answers = [(409, "CONFLICT"), (404, "AGENT_NOT_FOUND")]
        agent = agent_of(lambda given: None, base_url=server.url, replace=True)
        async with agent.serving():
            await server.until(("POST", 409), ("DELETE", 404), "POST", "initializing", "idle")


async def test_a_forgotten_agent_registers_again() -> None:
    """A server that does not know the agent any more is told again."""
    async with Reports().open() as server:
        agent = agent_of(lambda given: None, base_url=server.url)
        async with agent.serving() as url:
            await server.until("POST", "initializing", "idle")
            server.answers = [(404, "AGENT_NOT_FOUND")]
            await call(url)
            while server.said.count("initializing") < 2:
                server._news.clear()
                await asyncio.wait_for(server._news.wait(), LIMIT)


async def test_a_server_that_takes_no_reports_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Where an agent is registered but its first report refused, it serves on in silence."""
    async with Reports().open() as server:
        server.answers = [(200, ""), (404, "NOT_FOUND"), (403, "FORBIDDEN")]
        agent = agent_of(lambda _: None, base_url=server.url)
        async with agent.serving() as url:
            await server.until("POST", ("initializing", 404))
            await call(url)
        assert server.said == ["POST", ("initializing", 404), ("offline", 403)]
    assert "cannot be reported" in caplog.text
    assert "is offline" in caplog.text


async def test_a_replacement_that_is_refused_is_told() -> None:
    """Where the other agent may not be deleted, the agent is not registered."""
    async with Reports().open() as server:
        server.answers = [(409, "CONFLICT"), (403, "FORBIDDEN")]
        agent = agent_of(lambda _: None, base_url=server.url, replace=True)
        async with agent.serving():
            with pytest.raises(OpsCoreApiError) as refused:
                await agent.registered(LIMIT)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("host", "endpoint", "own"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:PORT"),
        ("0.0.0.0", None, f"http://{socket.gethostname()}:PORT"),
        ("127.0.0.1", "https://agents.example/greeter", "https://agents.example/greeter"),
        ("::1", None, "http://[::1]:PORT"),
    ],
)
async def test_an_agent_registers_where_it_can_be_reached(host: str, endpoint: Optional[str], own: str) -> None:
    """That is where it listens, this host's name where it listens everywhere, or what it is told."""
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with FakeOpsCore() as fake:
        agent = agent_of(lambda _: None, base_url=fake.url)
        try:
            async with agent.serving(host, endpoint=endpoint) as url:
                await agent.registered(LIMIT)
                assert fake.agents["tester"]["endpoint"] == own.replace("PORT", url.rsplit(":", 1)[1])
        except OSError as error:
            pytest.skip(f"cannot listen on {host}: {error}")


async def test_serving_needs_a_handler_and_a_free_agent() -> None:
    """What could not work is refused before anything listens."""
    with pytest.raises(RuntimeError, match="no handler"):
        async with Agent("empty").serving():
            pass
    agent = agent_of(lambda given: None)
    with pytest.raises(RuntimeError, match="does not register"):
        await agent.registered()
    with pytest.raises(RuntimeError, match="event loop"):
        agent.run()
    async with Reports().open() as server:
        agent._base_url = server.url
        async with agent.serving():
            with pytest.raises(RuntimeError, match="already"):
                async with agent.serving():
                    pass


# -- the end -------------------------------------------------------------------------------------


async def test_running_work_is_finished_before_the_end() -> None:
    """Leaving the block lets a running call end, and its caller gets the answer."""
    held = Held()
    serving = agent_of(held).serving(register=False)
    url = await serving.__aenter__()
    running = asyncio.ensure_future(call(url))
    await held.running.wait()
    leaving = asyncio.ensure_future(serving.__aexit__(None, None, None))
    held.go.set()
    await leaving
    assert (await running)["output"] == {"runs": 1}


async def test_work_that_does_not_end_in_time_is_cancelled() -> None:
    """The drain has a limit."""
    held = Held()
    async with agent_of(held, drain_timeout=0.05).serving(register=False) as url:
        running = asyncio.ensure_future(call(url))
        await held.running.wait()
    assert held.cancelled.is_set()
    with pytest.raises(aiohttp.ClientError):
        await running


async def test_a_thread_whose_caller_is_gone_is_finished_before_the_end() -> None:
    """What cannot be cancelled is waited for, within the same limit."""
    running, go, done = threading.Event(), threading.Event(), threading.Event()

    def slow(_: dict[str, Any]) -> None:
        running.set()
        go.wait(LIMIT)
        done.set()

    async with agent_of(slow).serving(register=False) as url:
        caller = asyncio.ensure_future(call(url))
        await asyncio.get_running_loop().run_in_executor(None, running.wait, LIMIT)
        await hang_up(caller)
        asyncio.get_running_loop().call_soon(go.set)
    assert done.is_set()


async def test_a_stopping_agent_takes_no_more_work() -> None:
    """New calls are told to come again, and its health says that it stops."""
    desk = Desk({None: Handler(lambda given: None)}, 1)
    from opscore_sdk.agent_app import AgentRoutes

    app = AgentRoutes(desk, {}, 1000, 1.0).app()
    await desk.close()
    async with TestServer(app) as server, TestClient(server) as client:
        async with client.post("/execute", json=CALL) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        async with client.get("/health") as health:
            assert (health.status, (await health.json())["status"]) == (503, "stopping")


# -- with a real Ops-Core ------------------------------------------------------------------------

FLOW = {"flow_id": "hello", "nodes": [{"id": "greet", "agent_id": "greeter"}]}


def example() -> Agent:
    spec = importlib.util.spec_from_file_location("sdk_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.agent  # type: ignore[no-any-return]


async def test_the_example_works_for_a_real_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines register with Ops-Core, are called by a flow, and say goodbye."""
    async with open_client(Settings(database="sqlite:///:memory:", drain_timeout=0.1)) as server:
        monkeypatch.setenv("OPSCORE_API_URL", str(server.make_url("/")))
        agent = example()
        async with agent.serving():
            await agent.registered(LIMIT)
            await server.post("/flows", json=FLOW)
            start = {"flow_id": "hello", "input_data": {"name": "Ada"}}
            async with server.post("/flows/execute?wait=10", json=start) as answer:
                assert (await answer.json())["result"] == {"greet": {"greeting": "Hello Ada"}}
        async with server.get("/agents/greeter") as answer:
            known = await answer.json()
        assert (known["state"], known["capabilities"], known["max_concurrency"]) == ("offline", ["greeting"], 100)


async def test_cancelling_an_execution_cancels_the_handler() -> None:
    """Ops-Core hangs up on an agent whose execution is cancelled, and the handler ends."""
    held = Held()
    async with open_client(Settings(database="sqlite:///:memory:", drain_timeout=0.1)) as server:
        agent = Agent("greeter", base_url=str(server.make_url("/")))
        agent(held)
        async with agent.serving():
            await agent.registered(LIMIT)
            await server.post("/flows", json=FLOW)
            async with server.post("/flows/execute", json={"flow_id": "hello", "input_data": {}}) as answer:
                execution_id = (await answer.json())["execution_id"]
            await asyncio.wait_for(held.running.wait(), LIMIT)
            await server.post(f"/executions/{execution_id}/cancel")
            await asyncio.wait_for(held.cancelled.wait(), LIMIT)


SCRIPT = """
import asyncio, sys, threading
from opscore_sdk import Agent
agent = Agent("worker", drain_timeout=5)
@agent
async def work(given):
    print("working", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return {"done": True}
@agent.on("stuck")
def stuck(given):
    print("working", flush=True)
    threading.Event().wait()
agent.run(port=0)
print("returned", flush=True)
"""


@asynccontextmanager
async def process(*arguments: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A real process with an agent, and its address."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", *arguments, env={**os.environ, **environment}, cwd=EXAMPLE.parent,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stderr is not None
    try:
        line = b""
        while b" ready at " not in line:
            line = await asyncio.wait_for(started.stderr.readline(), LIMIT)
            assert line, "the agent has ended"
        yield started, line.decode().split(" ready at ")[1].split()[0]
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_process_gracefully(number: signal.Signals) -> None:
    """At SIGTERM and Ctrl-C running work ends, its caller has the answer, and the exit code is 0."""
    async with Reports().open() as server:
        async with process("-c", SCRIPT, OPSCORE_API_URL=server.url) as (agent, url):
            assert agent.stdin is not None
            assert agent.stdout is not None
            assert agent.stderr is not None
            running = asyncio.ensure_future(call(url))
            assert await asyncio.wait_for(agent.stdout.readline(), LIMIT) == b"working\n"
            agent.send_signal(number)
            while b"stops" not in await asyncio.wait_for(agent.stderr.readline(), LIMIT):
                pass
            agent.stdin.write(b"\n")
            assert (await asyncio.wait_for(running, LIMIT))["output"] == {"done": True}
            assert await asyncio.wait_for(agent.wait(), LIMIT) == 0
            assert await agent.stdout.readline() == b"returned\n"
            rest = (await agent.stderr.read()).decode()
            assert "Traceback" not in rest
            assert "Warning" not in rest
        assert server.said[0] == "POST"
        assert server.said[-1] == "offline"


async def test_a_stuck_thread_does_not_keep_the_process() -> None:
    """A plain function that never returns is left behind when the time is over."""
    script = SCRIPT.replace("drain_timeout=5", "drain_timeout=0.05")
    async with Reports().open() as server, process("-c", script, OPSCORE_API_URL=server.url) as (agent, url):
        assert agent.stdout is not None
        running = asyncio.ensure_future(call(url, node_id="stuck"))
        assert await asyncio.wait_for(agent.stdout.readline(), LIMIT) == b"working\n"
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), LIMIT) == 0
        with pytest.raises(aiohttp.ClientError):
            await running


async def test_the_example_runs_as_a_process() -> None:
    """The ten lines listen, answer, and end at SIGTERM with exit code 0; no Ops-Core needs to be there."""
    code = "import sdk_agent; sdk_agent.agent.run(port=0)"
    async with process("-c", code, OPSCORE_API_URL="http://127.0.0.1:9") as (agent, url):
        assert (await call(url))["output"] == {"greeting": "Hello Ada"}
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), LIMIT) == 0


def test_running_returns_after_the_signal() -> None:
    """run() gives the program back, with the signals as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    class EndWhenReady(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if " ready at " in record.msg % record.args:
                os.kill(os.getpid(), signal.SIGTERM)

    logger, ending = logging.getLogger("opscore_sdk.agent"), EndWhenReady()
    logger.addHandler(ending)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        agent_of(lambda _: None).run(port=0, register=False)
    finally:
        logger.removeHandler(ending)
        logger.setLevel(level)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_running_sets_up_no_logging_where_there_is_some() -> None:
    """The agent's logger is the library's own; importing adds no handler to it."""
    assert not logging.getLogger("opscore_sdk.agent").handlers


def test_importing_the_sdk_leaves_the_web_server_out() -> None:
    """Who only calls Ops-Core does not pay for aiohttp.web; making an agent does not either, serving one does."""
    code = "import sys, opscore_sdk; opscore_sdk.Agent('a'); assert 'aiohttp.web' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
