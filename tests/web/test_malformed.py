"""What is no HTTP, sent over real sockets to the runner that the server has."""

from __future__ import annotations

import asyncio
import json
from typing import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from opscore.bootstrap import SERVER_OPTIONS, create_app
from opscore.settings import Settings
from opscore.web.server import Runner

CANARY = "sk_ops_canaryA1b2C3"


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    runner = Runner(create_app(Settings(database="sqlite:///:memory:")), SERVER_OPTIONS, 1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer; the connection is closed after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "request_text",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /agents HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET /" + CANARY.encode() * 600 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + CANARY.encode() + b"\0\r\n\r\n",
        b"POST /flows HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n",
        b"POST /flows HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem(port: int, request_text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered with a problem that names request and trace, and is a line without traceback or what was sent."""
    with caplog.at_level("DEBUG"):
        head, body = await exchange(port, request_text)
    problem = json.loads(body)
    assert head.split(b" ", 2)[1] == b"400"
    assert b"\r\nContent-Type: application/problem+json" in head
    assert f"\r\nX-Request-ID: {problem['request_id']}".encode() in head
    assert f"\r\nX-Trace-ID: {problem['trace_id']}".encode() in head
    assert (problem["status"], problem["error_code"], problem["title"]) == (400, "BAD_REQUEST", "Bad Request")
    assert problem["detail"].startswith("This is not HTTP as it should be: ")
    (record,) = [one for one in caplog.records if one.message == "request.malformed"]
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert [one for one in caplog.records if one.name.startswith("aiohttp")] == []
    assert CANARY not in f"{problem}{vars(record)}"


async def test_a_request_without_a_host_is_refused(port: int) -> None:
    """By the parser or, where that lets it through (aiohttp 3.13), by us: a problem with its ids in either case."""
    head, body = await exchange(port, b"GET /agents HTTP/1.1\r\nConnection: close\r\n\r\n")
    problem = json.loads(body)
    assert problem["status"] == int(head.split(b" ", 2)[1]) in (400, 403)
    assert f"\r\nX-Request-ID: {problem['request_id']}".encode() in head
    assert f"\r\nX-Trace-ID: {problem['trace_id']}".encode() in head
