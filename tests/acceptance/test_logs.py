"""The log of a real server: nothing secret in it, no line forged, nobody kept waiting by it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from processes import Agent, Client, Server, flow, free_port

API_KEY = "sk_ops_canaryA1b2C3d4E5f6"
WEBHOOK_SECRET = "canaryB1-webhook&secret"
AGENTKIT_KEY = 'canaryC1"agentkit\\key'
AGENT_TOKEN = "canaryD1tokenofanagent"
USER_INFO = "canaryE1:canaryF1passw"
CANARY = b"canary"
FORGED = (
    "x\n{}", "x\r\n{}", "x\r{}", "x\x0b{}", "x\x0c{}", "x\x1c{}", "x\x1d{}", "x\x1e{}", "x\x85{}", "x\u2028{}",
    "x\u2029{}", 'x"}\n{"a":"', "x\\\n{}", "x\u202e\n{}", "x\x1b[2K\x1b[1G{}", "x\x1b]0;t\x07{}", "x\n    | {}",
    "x\n2026-01-31T12:00:00.000Z ERROR {}", "x\x7f\n{}", "x\n\n\n{}",
)  # fmt: skip


class Echo:
    """An agent, and an AgentKit, that say in their failures all that they were told."""

    def __init__(self) -> None:
        self.url = ""
        self.message: Any = None

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        told = f"You came to {request.raw_path} = {request.path_qs} with {dict(request.headers)}"
        body = {"status": "error", "error_message": self.message or told, "error_code": self.message or "ECHO"}
        return web.json_response(body, status=400 if request.method == "POST" else 503)


def _signed(body: bytes) -> dict[str, str]:
    at = str(int(time.time()))
    signature = hmac.new(WEBHOOK_SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-AgentKit-Timestamp": at, "X-AgentKit-Signature": signature}
    return {"Content-Type": "application/json", **headers}


async def _stir(session: aiohttp.ClientSession, echo: Echo) -> list[bytes]:
    """Do everything in which a secret could get somewhere; the answers, but for those that have to hold it."""
    answers: list[bytes] = []
    key = {"Authorization": f"Bearer {API_KEY}"}

    async def call(method: str, path: str, body: Any = None, *, keep: bool = True, **options: Any) -> None:
        headers = {**key, **options.pop("headers", {})}
        async with session.request(method, path, json=body, headers=headers, **options) as answer:
            if keep:
                answers.append(await answer.read())

    await call("POST", "/agents", {"agent_id": "s", "endpoint": f"{echo.url}/x?token={AGENT_TOKEN}"}, keep=False)
    await call("POST", "/agents", {"agent_id": "u", "endpoint": f"http://{USER_INFO}@127.0.0.1:1/"})
    await call("POST", "/agents/test", {"endpoint": f"{echo.url}/y?api_key={AGENT_TOKEN}"})
    notice = {"agentId": "k", "agentName": "k", "contactEndpoint": f"kafka://{USER_INFO}@broker:9092"}
    raw = json.dumps({"event_type": "REGISTER", "agent_details": notice}).encode()
    for headers in (_signed(raw), {**_signed(raw), "X-AgentKit-Signature": WEBHOOK_SECRET}):
        async with session.post("/v1/opscore/internal/agent/notify", data=raw, headers=headers) as answer:
            answers.append(await answer.read())
    for agent_id in ("s", "k"):
        node = {"id": "n", "agent_id": agent_id, "retry": {"max_attempts": 1}}
        await call("POST", "/flows", {"flow_id": f"f-{agent_id}", "nodes": [node]})
        await call("POST", "/flows/execute?wait=5", {"flow_id": f"f-{agent_id}", "input_data": {}})
    for path in (f"/flows/{API_KEY}", f"/agents/{WEBHOOK_SECRET}", f"/executions/{AGENTKIT_KEY}", f"/{API_KEY}"):
        await call("GET", path)
        await call("GET", f"/executions?status={API_KEY}")
        await call("GET", path, headers={"Authorization": f"Bearer {API_KEY}x", "Cookie": f"a={API_KEY}"})
    await call("GET", "/agents", headers={"X-Request-ID": API_KEY}, keep=False)
    for path in ("/executions", "/logs?limit=500", "/status", "/metrics"):
        await call("GET", path)
    return answers


async def _log_stream(session: aiohttp.ClientSession) -> bytes:
    """What a stream of the whole log begins with."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": "text/event-stream"}
    found = b""
    async with session.get("/logs?after=0", headers=headers) as answer:
        while b"call.refused" not in found or b"request.refused" not in found:
            found += await asyncio.wait_for(answer.content.readany(), 10)
    return found


def _files(directory: Path) -> dict[str, bytes]:
    """The database's files as they are while it is served, write-ahead log included."""
    return {path.name: path.read_bytes() for path in directory.glob("opscore.db*")}


def _rest_of_the_store(database: Path) -> bytes:
    """All rows but those of the agents: where to call them has to be there."""
    connection = sqlite3.connect(database)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [repr(connection.execute(f"SELECT * FROM {name}").fetchall()) for name in names if name != "agents"]
    connection.close()
    return "".join(rows).encode()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_secret_gets_anywhere(tmp_path: Path, form: str) -> None:
    """Errors, calls, probes, notices and bad requests at DEBUG: no secret in log, store, WAL, pages, problems."""
    echo = Echo()
    runner = await echo.start()
    server = Server(
        tmp_path,
        OPSCORE_LOG_LEVEL="DEBUG",
        OPSCORE_LOG_FORMAT=form,
        OPSCORE_API_KEY=API_KEY,
        OPSCORE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        AGENTKIT_API_URL=echo.url,
        AGENTKIT_API_KEY=AGENTKIT_KEY,
        OPSCORE_DRAIN_TIMEOUT="0.1",
    )
    await server.start("/health")
    async with aiohttp.ClientSession(server.url) as session:
        answers = await _stir(session, echo)
        streamed = await _log_stream(session)
    files = _files(tmp_path)
    server.signal()
    assert await server.ended(10) == 0
    await runner.cleanup()
    log = (tmp_path / "server.log").read_bytes()
    places = {"the log": log, "a stream": streamed, "the store": _rest_of_the_store(server.database)}
    places.update({f"answer {number}": answer for number, answer in enumerate(answers)})
    assert [name for name, content in places.items() if CANARY in content] == []
    assert "opscore.db-wal" in files
    # In the files the agents' own registrations are the only ones.
    for name, content in files.items():
        for secret in (API_KEY, WEBHOOK_SECRET, AGENTKIT_KEY):
            assert secret.encode() not in content, name
    assert b"***" in log
    assert b"call.refused" in log
    assert b"agent.probe_failed" in log


async def _send_raw(port: int, forged: str) -> None:
    """Requests with a text in their headers as no client would send it."""
    for name in (b"X-Request-ID", b"Host", b"Authorization", b"traceparent"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        host = b"" if name == b"Host" else b"Host: localhost\r\n"
        value = forged.encode("utf-8", "surrogatepass")
        writer.write(b"GET /agents HTTP/1.1\r\n" + host + name + b": " + value + b"\r\nConnection: close\r\n\r\n")
        await asyncio.wait_for(reader.read(), 10)
        writer.close()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("form", ["json", "console"])
async def test_lines_in_are_lines_out(tmp_path: Path, form: str) -> None:
    """Twenty forged texts as agents' messages and codes, paths, queries and headers: each record is one line."""
    echo = Echo()
    runner = await echo.start()
    server = Server(tmp_path, OPSCORE_LOG_LEVEL="DEBUG", OPSCORE_LOG_FORMAT=form, OPSCORE_DRAIN_TIMEOUT="0.1")
    await server.start("/health")
    async with aiohttp.ClientSession(server.url) as session:
        await session.post("/agents", json={"agent_id": "e", "endpoint": echo.url})
        nodes = [{"id": "n", "agent_id": "e", "retry": {"max_attempts": 1}}]
        await session.post("/flows", json={"flow_id": "f", "nodes": nodes})
        for forged in FORGED:
            echo.message = forged
            await session.post("/flows/execute?wait=5", json={"flow_id": "f", "input_data": {forged: forged}})
            await session.post("/agents", json={"agent_id": forged, "endpoint": forged})
            for path in (forged, f"flows/{forged}"):
                await session.get(f"/{path}", params={"q": forged})
            await _send_raw(server.port, forged)
        kept = 0
        cursor = ""
        while cursor is not None:
            async with session.get(f"/logs?limit=500{cursor and '&cursor=' + cursor}") as answer:
                page = await answer.json()
            kept += sum(one["event"] != "request.answered" or "/logs" not in one["message"] for one in page["logs"])
            cursor = page["next_cursor"]
    server.signal()
    assert await server.ended(10) == 0
    await runner.cleanup()
    text = (tmp_path / "server.log").read_bytes().decode()
    lines = text.splitlines()
    assert len(lines) == text.count("\n")
    after = ("server.stopping", "server.stopped", "Ops-Core is ready", "GET /logs was answered")
    told = [line for line in lines if not line.startswith("    | ") and not any(word in line for word in after)]
    assert len(told) == kept
    assert kept > len(FORGED) * 8
    assert all(line.isprintable() for line in lines)
    assert form == "console" or all(json.loads(line)["timestamp"] for line in told)


@pytest.mark.timeout(90)
async def test_a_pipe_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    """With standard error full and unread the server serves, keeps its log, and stops gracefully in time."""
    reading, writing = os.pipe()
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *_command(port, tmp_path),
        stderr=writing,
        env={**os.environ, "OPSCORE_LOG_LEVEL": "DEBUG", "OPSCORE_LOG_FORMAT": "json", "OPSCORE_DRAIN_TIMEOUT": "1"},
    )
    os.close(writing)
    agent = Agent()
    await agent.start()
    try:
        async with Client(f"http://127.0.0.1:{port}") as client:
            await _ready(client)
            await client.define(agent.url, flow("one", {"a": []}))
            body = {"flow_id": "one", "input_data": {}}
            slowest = 0.0
            for _ in range(60):
                begun = time.monotonic()
                found = await asyncio.gather(*[client.call("POST", "/flows/execute?wait=10", body) for _ in range(8)])
                slowest = max(slowest, time.monotonic() - begun)
                assert {answer["status"] for _, answer in found} == {"completed"}
            _, page = await client.call("GET", "/logs?q=completed&limit=500")
            assert page["count"] > 400
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 12) == 0
        print(f"slowest round with a full pipe: {slowest:.2f} s")
    finally:
        os.close(reading)
        await agent.stop()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _command(port: int, directory: Path) -> list[str]:
    database = str(directory / "opscore.db")
    return [sys.executable, "-m", "opscore", "serve", "--port", str(port), "--database", database]


async def _ready(client: Client) -> None:
    for _ in range(1500):
        try:
            await client.call("GET", "/health")
            return
        except aiohttp.ClientError:
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.02)
    raise AssertionError("the server was not ready in time")


@pytest.mark.timeout(90)
async def test_the_log_survives_a_kill_but_for_its_end(tmp_path: Path) -> None:
    """After kill -9 the log goes on in the same file: what was kept is there, ids rise, and recovery is a line."""
    agent, server = Agent(), Server(tmp_path, OPSCORE_LOG_LEVEL="INFO")
    agent.gate = asyncio.Event()
    await agent.start()
    await server.start()
    async with Client(server.url) as client:
        await client.define(agent.url, flow("one", {"a": []}))
        await client.call("POST", "/flows/execute", {"flow_id": "one", "input_data": {}})
        _, before = await client.call("GET", "/logs?limit=500")
    await server.kill()
    agent.gate.set()
    await server.start()
    async with Client(server.url) as client:
        while True:
            _, after = await client.call("GET", "/logs?limit=500")
            if any(one["event"] == "execution.completed" for one in after["logs"]):
                break
    await server.kill()
    await agent.stop()
    ids = [one["log_id"] for one in after["logs"]]
    assert before["logs"] == after["logs"][-len(before["logs"]) :]
    assert ids == sorted(ids, reverse=True)
    assert "engine.recovered" in [one["event"] for one in after["logs"]]
