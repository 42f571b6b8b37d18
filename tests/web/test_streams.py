from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Optional

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient
from streaming import FORGED, NEVER, SSE, Gate, read, seqs, serving, start

from opscore.domain.errors import ExecutionNotFound, StoreError
from opscore.web.config import OPERATIONS, STREAMS
from opscore.web.streams import ReaderGone, Streams


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[TestClient, Gate]]:
    async with serving() as opened:
        yield opened


async def follow(client: TestClient, path: str, **options: Any) -> list[dict[str, str]]:
    """A stream to its end."""
    async with client.get(path + "/events", headers={**SSE, **options.pop("headers", {})}, **options) as answer:
        assert answer.status == 200, await answer.text()
        return await read(answer)


async def page(client: TestClient, path: str) -> list[dict[str, Any]]:
    async with client.get(path + "/events") as answer:
        assert answer.content_type == "application/json"
        return list((await answer.json())["events"])


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("name", ["events", "stream"])
async def test_a_stream_tells_what_happens_and_ends(served: tuple[TestClient, Gate], prefix: str, name: str) -> None:
    """Both names on both faces send the events of the page as they happen, then the end, and close."""
    client, gate = served
    gate.open.clear()
    path = await start(client)
    await gate.called.wait()
    async with client.get(f"{prefix}{path}/{name}", headers={**SSE, "X-Request-ID": "mine"}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Connection"] == "close"
        assert answer.headers.getall("X-Request-ID") == ["mine"]
        begun = await read(answer, 3)
        gate.open.set()
        blocks = begun + await read(answer)
    assert [block["event"] for block in begun] == ["execution.accepted", "execution.started", "node.started"]
    assert blocks[-1].keys() == {"event", "data"}
    assert (blocks[-1]["event"], json.loads(blocks[-1]["data"])["status"]) == ("end", "completed")
    expected = await page(client, path)
    assert [json.loads(block["data"]) for block in blocks[:-1]] == expected
    assert [(int(b["id"]), b["event"]) for b in blocks[:-1]] == [(one["seq"], one["type"]) for one in expected]


async def test_a_reader_resumes_where_it_was(served: tuple[TestClient, Gate]) -> None:
    """Both the header and the parameter lead on from an event, the header first; after the last there is the end."""
    client, _ = served
    path = await start(client, 5)
    whole = seqs(await follow(client, path))
    assert whole == list(range(1, 8))
    for after in range(9):
        for options in (
            {"headers": {"Last-Event-ID": str(after)}},
            {"params": {"after": str(after)}},
            {"params": {"after": "1"}, "headers": {"Last-Event-ID": str(after)}},
            {"params": {"after": str(after)}, "headers": {"Last-Event-ID": ""}},
        ):
            blocks = await follow(client, path, **options)
            assert seqs(blocks) == whole[after:]
            assert blocks[-1]["event"] == "end"


async def test_bad_places_to_resume_from_are_refused(served: tuple[TestClient, Gate]) -> None:
    """What is no number of an event is a 400, an unknown execution a 404, both before a stream begins."""
    client, _ = served
    path = await start(client, 5)
    for bad in ("x", "-1", "1.0", "9" * 17, "1 2", "٣"):
        for options in ({"headers": {**SSE, "Last-Event-ID": bad}}, {"params": {"after": bad}, "headers": SSE}):
            async with client.get(path + "/events", **options) as answer:
                assert (answer.status, answer.content_type) == (400, "application/problem+json"), bad
    async with client.get("/executions/unknown/events", headers=SSE) as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert (await answer.json())["error_code"] == "EXECUTION_NOT_FOUND"
    assert client.server.app[STREAMS].count == 0


async def test_a_reader_that_speaks_http_1_0_is_served(served: tuple[TestClient, Gate]) -> None:
    """Without chunks the end of the connection is the end of the stream."""
    client, _ = served
    path = await start(client, 5)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(f"GET {path}/stream HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    assert b"Transfer-Encoding" not in head
    assert body.startswith(b"id: 1\nevent: execution.accepted\ndata: {")
    assert body.endswith(b"}\n\n")
    assert b"\nevent: end\n" in body


@pytest.mark.parametrize(
    ("accept", "events", "stream"),
    [
        (None, False, True),
        ("*/*", False, True),
        ("text/html, */*;q=0.8", False, True),
        ("application/json", False, False),
        ("application/json, */*", False, False),
        ("text/event-stream", True, True),
        ("TEXT/Event-Stream; charset=utf-8", True, True),
        ("application/json, text/event-stream", True, True),
        ("application/json, text/event-stream;q=0.5", False, False),
        ("application/json;q=0.5, text/event-stream;q=0.6", True, True),
        ("text/event-stream;q=0", False, False),
    ],
)
async def test_accept_decides(
    served: tuple[TestClient, Gate], accept: Optional[str], events: bool, stream: bool
) -> None:
    """A page or a stream, by what the request names, and by the route where it names neither."""
    client, _ = served
    path = await start(client, 5)
    for name, is_stream in (("events", events), ("stream", stream)):
        headers = {} if accept is None else {"Accept": accept}
        async with client.get(f"{path}/{name}", headers=headers, skip_auto_headers=["Accept"]) as answer:
            assert answer.content_type == ("text/event-stream" if is_stream else "application/json")


async def test_an_execution_in_the_queue_is_followed() -> None:
    """A pending execution's stream waits with it, and tells its cancellation."""
    async with serving(max_open_runs=1) as (client, gate):
        gate.open.clear()
        await start(client)
        path = await start(client)
        async with client.get(path + "/events", headers=SSE) as answer:
            blocks = await read(answer, 1)
            await client.post(path + "/cancel", json={"reason": "enough"})
            blocks += await read(answer)
    names = ["execution.accepted", "execution.cancel_requested", "execution.cancelled", "end"]
    assert [block["event"] for block in blocks] == names
    assert json.loads(blocks[-1]["data"])["status"] == "cancelled"


async def test_an_execution_is_waited_for(served: tuple[TestClient, Gate]) -> None:
    """With wait an execution is answered at its end, or as it stands after the time; bad waits are refused."""
    client, gate = served
    gate.open.clear()
    path = await start(client)

    async def get(wait: str) -> tuple[int, Any]:
        async with client.get(path, params={"wait": wait}) as answer:
            return answer.status, (await answer.json()).get("status")

    waiting = asyncio.ensure_future(get("60"))
    assert await get("0.01") == (200, "running")
    assert not waiting.done()
    gate.open.set()
    assert await asyncio.wait_for(waiting, 10) == (200, "completed")
    assert await get("60") == (200, "completed")
    assert [(await get(bad))[0] for bad in ("x", "-1", "301", "nan")] == [400] * 4
    async with client.get("/executions/unknown?wait=60") as answer:
        assert answer.status == 404


async def test_what_agents_say_forges_no_line(served: tuple[TestClient, Gate]) -> None:
    """Line ends of every kind in an agent's text stay inside the one line of JSON."""
    client, _ = served
    path = await start(client, 5, fail=True)
    async with client.get(path + "/events", headers=SSE) as answer:
        raw = await answer.read()
    expected = await page(client, path)
    assert FORGED[:10] in expected[-1]["data"]["error_message"]
    assert b"\r" not in raw
    lines = raw.split(b"\n")
    assert sum(line.startswith(b"event:") for line in lines) == len(expected) + 1
    assert {line.split(b":")[0] for line in lines} == {b"id", b"event", b"data", b""}
    assert [json.loads(line[6:]) for line in lines if line.startswith(b"data:")][:-1] == expected


async def test_comments_keep_an_idle_stream_awake() -> None:
    """While nothing happens comments come, one for each beat, also to a reader that has all events."""
    async with serving(Streams(10, heartbeat=0.02)) as (client, gate):
        gate.open.clear()
        path = await start(client)
        await gate.called.wait()
        async with client.get(path + "/events?after=3", headers=SSE) as answer:
            assert await read(answer, 3) == [{"": ""}] * 3


async def test_a_stream_needs_a_key_as_all_routes_do() -> None:
    """Without a key there is no stream, and with one that reads there is."""
    async with serving(api_key="letmein-please") as (client, _):
        path = await start(client, 5)
        for key, status in (("wrong", 401), ("letmein-please", 200)):
            headers = {**SSE, "Authorization": f"Bearer {key}"}
            async with client.get(path + "/stream", headers=headers) as answer:
                assert answer.status == status


async def test_streams_over_the_limit_are_refused() -> None:
    """The one too many is a 503 that says when to come again; a reader that has left makes room."""
    async with serving(Streams(2, heartbeat=NEVER)) as (client, gate):
        gate.open.clear()
        path = await start(client)
        first = await client.get(path + "/events", headers=SSE)
        async with client.get(path + "/stream", headers=SSE):
            async with client.get(path + "/events", headers=SSE) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
                assert (await refused.json())["error_code"] == "TOO_MANY_STREAMS"
            assert "opscore_streams_open 2.0" in await (await client.get("/metrics")).text()
            first.close()
            while True:
                async with client.get(path + "/events", headers=SSE) as answer:
                    if answer.status == 200:
                        break
    assert client.server.app[STREAMS].count == 0


@pytest.mark.parametrize("error", [StoreError("gone"), ExecutionNotFound("pruned"), ValueError("a bug")])
async def test_what_fails_in_the_middle_ends_a_stream_that_resumes(
    served: tuple[TestClient, Gate], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What fails after the beginning ends the stream in good order, without an end event, and loses nothing."""
    client, gate = served
    gate.open.clear()
    path = await start(client)
    await gate.called.wait()
    executions = client.server.app[OPERATIONS].executions

    async def fail(*_: object) -> None:
        raise error

    async with client.get(path + "/events", headers=SSE) as answer:
        blocks = await read(answer, 3)
        with monkeypatch.context() as broken:
            broken.setattr(type(executions), "history", fail)
            gate.open.set()
            assert await read(answer) == []
    assert seqs(blocks + await follow(client, path, headers={"Last-Event-ID": "3"})) == list(range(1, 8))


async def test_readers_cut_in_the_middle_resume_under_load(served: tuple[TestClient, Gate]) -> None:
    """Readers that leave after every other event and come back see each event once, in order, of many executions."""
    client, _ = served

    async def reader(number: int) -> list[int]:
        path = await start(client, n=number)
        seen: list[int] = []
        while True:
            headers = {**SSE, "Last-Event-ID": str(seen[-1] if seen else 0)}
            async with client.get(path + "/events", headers=headers) as answer:
                blocks = await read(answer, 1 + number % 3)
                seen += seqs(blocks)
                if blocks[-1]["event"] == "end":
                    return seen

    found = await asyncio.gather(*[reader(number) for number in range(60)])
    assert found == [list(range(1, 8))] * 60


async def test_many_idle_readers_cost_no_reading(
    served: tuple[TestClient, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing happens the store is not asked; a change wakes the readers of its execution and no others."""
    client, gate = served
    gate.open.clear()
    paths = [await start(client) for _ in range(2)]
    asked: list[str] = []
    executions = client.server.app[OPERATIONS].executions
    history = type(executions).history

    async def counted(self: Any, execution_id: str, after: int, limit: int) -> Any:
        asked.append(execution_id)
        return await history(self, execution_id, after, limit)

    monkeypatch.setattr(type(executions), "history", counted)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, base_url=client.make_url("/")) as session:
        answers = [await session.get(paths[n % 2] + "/events?after=3", headers=SSE) for n in range(100)]
        assert len(asked) == 100
        await client.post(paths[0] + "/cancel", json={})
        ended = await asyncio.gather(*[read(answer) for answer in answers[::2]])
        assert {tuple(block["event"] for block in blocks) for blocks in ended} == {
            ("execution.cancel_requested", "execution.cancelled", "end")
        }
        assert asked[100:] == [paths[0].rpartition("/")[2]] * 50


async def test_a_stopping_server_tells_its_readers() -> None:
    """A stop ends streams with a comment and takes no further ones."""
    async with serving() as (client, gate):
        gate.open.clear()
        path = await start(client)
        await gate.called.wait()
        async with client.get(path + "/events", headers=SSE) as answer:
            await read(answer, 3)
            await client.server.app[STREAMS].close()
            assert await read(answer) == [{"": "the server stops; resume with Last-Event-ID"}]
        async with client.get(path + "/events", headers=SSE) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (503, "SHUTTING_DOWN")


async def test_a_reader_that_stalls_is_cut_off() -> None:
    """Who takes nothing in for the time of a write loses its connection and its place, and can resume."""
    async with serving(Streams(10, heartbeat=NEVER, write_timeout=0.2)) as (client, gate):
        gate.open.clear()
        path = await start(client)
        await gate.called.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port, limit=1000)
        writer.write(f"GET {path}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        streams = client.server.app[STREAMS]
        (stream,) = streams._open
        with pytest.raises(ReaderGone):
            # More than the systems of both ends keep for a reader.
            await asyncio.wait_for(stream.send(b": " + b"x" * 20_000_000 + b"\n\n"), 10)
        assert stream.is_gone
        writer.close()
        gate.open.set()
        assert seqs(await follow(client, path)) == list(range(1, 8))
        assert streams.count == 0
