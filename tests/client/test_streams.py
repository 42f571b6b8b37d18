from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Optional

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from still_clock import StillClock

from opscore_sdk import ConnectionError as ServerLost
from opscore_sdk import NotFoundError, OpsCoreClientAsync
from opscore_sdk.streams import EventParser, ServerSentEvent

STREAM = (
    b"\xef\xbb\xbf: hello\n\n"
    b'id: 1\nevent: node.started\ndata: {"seq":1}\n\n'
    b"id:2\r\nevent:x\r\ndata:a\r\ndata: b\r\n\r\n"
    b"retry: 10\rdata\r\r"
    b"event: dropped\n\n"
    b"id: 3\0\ndata: \xc3\xa9\n\n"
    b"unknown: x\ndata: last\n\n"
    b"data: never finished"
)
EVENTS = [
    ServerSentEvent('{"seq":1}', "node.started", "1"),
    ServerSentEvent("a\nb", "x", "2"),
    ServerSentEvent("", "message", "2"),
    ServerSentEvent("é", "message", "2"),
    ServerSentEvent("last", "message", "2"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    """Line ends, UTF-8 and the byte order mark may be cut anywhere."""
    bounds = [0, *sorted(cuts), len(STREAM)]
    parser = EventParser()
    found = [event for a, b in zip(bounds, bounds[1:]) for event in parser.feed(STREAM[a:b])]
    assert found == EVENTS


def test_events_do_not_depend_on_bytes_coming_one_by_one() -> None:
    """The worst of all cuts."""
    parser = EventParser()
    assert [event for at in range(len(STREAM)) for event in parser.feed(STREAM[at : at + 1])] == EVENTS


class History:
    """A server of one execution's events that breaks connections as a test wants."""

    def __init__(self, length: int, *, bytes_each: int = 10**9, **faults: Any) -> None:
        self.connections: list[tuple[int, Optional[str]]] = []
        self.bytes_each = bytes_each
        self.faults = faults
        self.events = [
            {
                "seq": seq,
                "type": "execution.completed" if seq == length else "node.started",
                "data": {"text": "é\n" * 9},
            }
            for seq in range(1, length + 1)
        ]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        after = int(request.query.get("after", "0"))
        self.connections.append((after, request.headers.get("Last-Event-ID")))
        statuses = self.faults.get("statuses", [])
        if len(self.connections) <= len(statuses):
            return web.json_response({"detail": "no"}, status=statuses[len(self.connections) - 1])
        found = [event for event in self.events if event["seq"] > after - self.faults.get("repeats", 0)]
        if len(self.connections) == 1 and "skips" in self.faults:
            found = [event for event in found if event["seq"] != self.faults["skips"]]
        if self.faults.get("pages"):
            return web.json_response({"events": found[:2], "next_after": found[:2][-1]["seq"]})
        return await self._stream(request, found)

    async def _stream(self, request: web.Request, found: list[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        text = (
            b": ping\n\n"
            + b"".join(self._sent(event) for event in found)
            + b'event: end\ndata: {"status":"completed"}\n\n'
        )
        await response.write(text[: self.bytes_each])
        if len(text) > self.bytes_each:
            assert request.transport is not None
            request.transport.close()  # as a proxy that dies: no end of the body
        return response

    @staticmethod
    def _sent(event: dict[str, Any]) -> bytes:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event["seq"], str(event["type"]).encode(), orjson.dumps(event))


@asynccontextmanager
async def listening(history: History, **options: Any) -> AsyncIterator[tuple[OpsCoreClientAsync, StillClock]]:
    """A client of that server, and its clock."""
    app = web.Application()
    app.router.add_get("/api/v1/executions/{id}/events", history.answer)
    clock = StillClock()
    async with (
        TestServer(app) as server,
        OpsCoreClientAsync(str(server.make_url("/")), "", clock=clock.clock, **options) as client,
    ):
        yield client, clock


async def test_a_stream_ends_with_its_execution() -> None:
    """All events come in order, over one connection; then the iteration is over and says how it ended."""
    history = History(50)
    async with listening(history) as (client, clock):
        stream = client.stream_events("e")
        assert [event.seq async for event in stream] == list(range(1, 51))
        assert (stream.last_seq, stream.final_status) == (50, "completed")
        assert [event async for event in stream] == []
    assert history.connections == [(0, None)]
    assert clock.slept == []


async def test_a_stream_that_is_cut_a_hundred_times_loses_and_repeats_nothing() -> None:
    """Every connection breaks in the middle of an event; the next one goes on after the last whole one."""
    history = History(400, bytes_each=500)
    async with listening(history) as (client, clock):
        assert [event.seq async for event in client.stream_events("e")] == list(range(1, 401))
    assert len(history.connections) >= 100
    assert all(after == int(said or 0) for after, said in history.connections)
    assert clock.slept == []


async def test_events_that_come_twice_are_given_out_once() -> None:
    """A server that repeats what it sent before does no harm."""
    async with listening(History(40, bytes_each=900, repeats=2)) as (client, _):
        assert [event.seq async for event in client.stream_events("e")] == list(range(1, 41))


async def test_an_event_that_is_missing_is_asked_for() -> None:
    """A gap in the numbers makes the stream ask again, once; what is not there then was never there."""
    history = History(5, skips=3)
    async with listening(history) as (client, _):
        assert [event.seq async for event in client.stream_events("e")] == [1, 2, 3, 4, 5]
    assert [after for after, _ in history.connections] == [0, 2]
    pruned = History(5)
    pruned.events = pruned.events[2:]
    async with listening(pruned) as (client, _):
        assert [event.seq async for event in client.stream_events("e")] == [3, 4, 5]


async def test_a_stream_begins_where_it_is_told_to() -> None:
    """``after`` skips what the caller has; after the last event there is only the end."""
    history = History(5)
    async with listening(history) as (client, _):
        assert [event.seq async for event in client.stream_events("e", after=3)] == [4, 5]
        stream = client.stream_events("e", after=5)
        assert [event async for event in stream] == []
        assert stream.final_status == "completed"


async def test_a_stream_outlives_a_server_that_is_away_for_a_moment() -> None:
    """Refusals that pass are waited out with growing pauses."""
    async with listening(History(2, statuses=[503, 503])) as (client, clock):
        assert [event.seq async for event in client.stream_events("e")] == [1, 2]
    assert clock.slept == [0.5, 1.0]


async def test_a_stream_gives_up_where_others_do() -> None:
    """What will not pass is raised at once, and so is the last failure when there were too many in a row."""
    async with listening(History(2, statuses=[404])) as (client, clock):
        with pytest.raises(NotFoundError):
            [event async for event in client.stream_events("e")]
        assert clock.slept == []
    history = History(2, bytes_each=20)
    async with listening(history, max_retries=2) as (client, clock):
        with pytest.raises(ServerLost):
            [event async for event in client.stream_events("e")]
    assert (len(history.connections), clock.slept) == (3, [0.5, 1.0])


async def test_a_server_without_streams_is_asked_for_pages() -> None:
    """One that answers with JSON is asked again until the execution has ended."""
    history = History(5, pages=True)
    async with listening(history) as (client, _):
        assert [event.seq async for event in client.stream_events("e")] == [1, 2, 3, 4, 5]
    assert [after for after, _ in history.connections] == [0, 2, 4]


async def test_a_stream_may_be_left_early() -> None:
    """Leaving its block closes the connection."""
    async with listening(History(5)) as (client, _):
        async with client.stream_events("e") as stream:
            async for event in stream:
                assert event.seq == 1
                break
        assert [event async for event in stream] == []
        assert stream.final_status is None


async def test_the_next_event_can_be_asked_for() -> None:
    """``anext`` works on a stream."""
    async with listening(History(2)) as (client, _), client.stream_events("e") as stream:
        assert (await stream.__anext__()).seq == 1


@pytest.mark.parametrize("events", [[1], "x", {"no": 1}])
async def test_what_is_no_history_is_a_connection_error(events: Any) -> None:
    """Something else that answers 200 is not taken for a server of ours."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(events)

    history = History(1)
    history.answer = answer  # type: ignore[method-assign,assignment]
    async with listening(history, max_retries=0) as (client, _):
        with pytest.raises(ServerLost, match="no events of an execution"):
            [event async for event in client.stream_events("e")]


class Said(History):
    """A server that answers each connection with bytes of the test's choice."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__(1)
        self.bodies = list(bodies)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        after = int(request.query.get("after", "0"))
        self.connections.append((after, None))
        body = self.bodies.pop(0)
        kind = "application/json" if body.startswith(b"{") else "text/event-stream"
        return web.Response(body=body, headers={"Content-Type": kind})


async def test_a_server_of_pages_is_asked_again_with_growing_pauses_while_nothing_happens() -> None:
    """An empty page is no end; an event makes the pauses short again."""
    empty, started = b'{"events":[]}', b'{"events":[{"seq":1,"type":"node.started"}]}'
    ended = b'{"events":[{"seq":2,"type":"execution.failed"}]}'
    async with listening(Said(empty, empty, started, empty, ended)) as (client, clock):
        stream = client.stream_events("e")
        assert [event.seq async for event in stream] == [1, 2]
        assert stream.final_status == "failed"
    assert clock.slept == pytest.approx([0.05, 0.075, 0.05])


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'{"type":"node.started"}', b'{"seq":"1"}'])
async def test_an_event_that_is_none_is_a_connection_error(data: bytes) -> None:
    """Events are objects with a number; the error quotes what came instead."""
    async with listening(Said(b"id: 1\ndata: " + data + b"\n\n"), max_retries=0) as (client, _):
        with pytest.raises(ServerLost, match="no events of an execution"):
            [event async for event in client.stream_events("e")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b'{"status":"cancelled"}', "cancelled"), (b'"failed"', "failed"), (b"over", "over"), (b"{}", "ended"),
        (b"5", "ended"),
    ],
)  # fmt: skip
async def test_a_stream_ends_whatever_its_end_says(data: bytes, status: str) -> None:
    """How the execution ended is read where it can be."""
    async with listening(Said(b"event: end\ndata: " + data + b"\n\n")) as (client, _):
        stream = client.stream_events("e")
        assert [event async for event in stream] == []
        assert stream.final_status == status


async def test_a_stream_that_falls_silent_is_connected_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without even a comment from the server the connection is taken for dead."""
    monkeypatch.setattr("opscore_sdk.transport._STREAM_SILENCE", 0.05)
    over = asyncio.Event()

    class Silent(History):
        async def _stream(self, request: web.Request, found: list[dict[str, Any]]) -> web.StreamResponse:
            if len(self.connections) > 1:
                return await super()._stream(request, found)
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(self._sent(found[0]))
            await over.wait()
            return response

    history = Silent(3)
    async with listening(history, timeout=0.05) as (client, _):
        assert [event.seq async for event in client.stream_events("e")] == [1, 2, 3]
        over.set()
    assert [after for after, _ in history.connections] == [0, 1]
