from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import Any, AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient
from streaming import FLOW, FORGED, NEVER, SSE, Gate, read, seqs, serving, start

from opscore.bootstrap import ENGINES
from opscore.domain.errors import StoreError
from opscore.store import SqlStore
from opscore.web.config import STREAMS
from opscore.web.streams import ReaderGone, Streams

OTHER = {**FLOW, "flow_id": "other"}
STATES = "/v1/opscore/agent/gated/state"
AT = datetime(2026, 11, 28, tzinfo=timezone.utc)


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[TestClient, Gate]]:
    async with serving() as opened:
        yield opened


async def report(client: TestClient, state: str, seconds: int = 0) -> None:
    body = {"agentId": "gated", "timestamp": (AT + timedelta(seconds=seconds)).isoformat(), "state": state}
    async with client.post(STATES, json=body) as answer:
        assert answer.status == 202, await answer.text()


async def filled(client: TestClient) -> list[dict[str, Any]]:
    """Events of a flow that completes, one that fails, another flow and an agent; all of them."""
    await client.post("/flows", json=OTHER)
    await start(client, 5)
    await start(client, 5, fail=True)
    await client.post("/flows/execute?wait=5", json={"flow_id": "other", "input_data": {}})
    await report(client, "idle")
    return list((await page(client))["events"])


async def page(client: TestClient, **query: Any) -> dict[str, Any]:
    async with client.get("/events", params=query) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json"), await answer.text()
        return dict(await answer.json())


async def read_events(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    """The next events of a stream; frames that only move its place are passed over."""
    blocks: list[dict[str, str]] = []
    while len(blocks) < count:
        blocks += [block for block in await read(answer, 1) if "event" in block]
    return blocks


def told(blocks: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The events that blocks tell of."""
    return [json.loads(block["data"]) for block in blocks if "id" in block]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_all_events_are_paged_and_streamed(served: tuple[TestClient, Gate], prefix: str) -> None:
    """On both faces a stream sends the events of the page, each under its position, and goes on with what comes."""
    client, _ = served
    events = await filled(client)
    assert [one["position"] for one in events] == list(range(1, len(events) + 1))
    assert {one["flow_id"] for one in events} == {"two", "other", None}
    outside = events[-1]
    assert outside.pop("at")
    assert outside == {
        "position": len(events), "seq": None, "execution_id": None, "flow_id": None, "type": "agent.state",
        "agent_id": "gated", "data": {"state": "idle", "timestamp": "2026-11-28T00:00:00.000000Z"},
    }  # fmt: skip
    path = f"{prefix}/events"
    async with client.get(path, params={"after": 0}, headers={**SSE, "X-Request-ID": "mine"}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers.getall("X-Request-ID") == ["mine"]
        blocks = await read_events(answer, len(events))
        await report(client, "active", 1)
        blocks += await read_events(answer, 1)
    expected = (await page(client))["events"]
    assert told(blocks) == expected
    assert [(int(b["id"]), b["event"]) for b in blocks] == [(one["position"], one["type"]) for one in expected]


async def test_a_stream_begins_now_and_says_where_that_is(served: tuple[TestClient, Gate]) -> None:
    """Without a place the first frame is the number of the newest event, so that nothing is missed after a cut."""
    client, _ = served
    count = len(await filled(client))
    async with client.get("/events", headers=SSE) as answer:
        assert await read(answer, 1) == [{"id": str(count)}]
    await report(client, "active", 1)
    async with client.get("/events", headers={**SSE, "Last-Event-ID": str(count)}) as answer:
        (event,) = told(await read_events(answer, 1))
    assert (event["position"], event["data"]["state"]) == (count + 1, "active")


async def test_a_reader_resumes_where_it_was(served: tuple[TestClient, Gate]) -> None:
    """Both the header and the parameter lead on from an event, the header first, in a page as in a stream."""
    client, _ = served
    events = await filled(client)
    for after in range(len(events)):
        assert (await page(client, after=after, limit=500))["events"] == events[after:]
        for options in (
            {"headers": {"Last-Event-ID": str(after)}},
            {"params": {"after": str(after)}},
            {"params": {"after": "1"}, "headers": {"Last-Event-ID": str(after)}},
            {"params": {"after": str(after)}, "headers": {"Last-Event-ID": ""}},
        ):
            headers = {**SSE, **options.get("headers", {})}
            async with client.get("/events", headers=headers, params=options.get("params")) as answer:
                assert told(await read_events(answer, len(events) - after)) == events[after:]
    assert await page(client, after=len(events)) == {"events": [], "next_after": len(events), "pruned": None}


FILTERS: list[dict[str, str]] = [
    {"type": "node.failed"},
    {"type": "execution.*"},
    {"type": "node.started,execution.completed"},
    {"type": "agent.*"},
    {"flow_id": "other"},
    {"agent_id": "gated"},
    {"agent_id": "gated", "type": "agent.state"},
    {"flow_id": "two", "agent_id": "gated", "type": "node.*"},
    {"flow_id": "nowhere"},
    {"execution_id": "?"},
    {"execution_id": "?", "type": "node.completed"},
]


def fits(event: dict[str, Any], wanted: dict[str, str]) -> bool:
    words = wanted.get("type")
    by_type = words is None or any(
        event["type"] == word or (word.endswith("*") and event["type"].startswith(word[:-1]))
        for word in words.split(",")
    )
    return by_type and all(event.get(name) == value for name, value in wanted.items() if name != "type")


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
async def test_filters_choose(served: tuple[TestClient, Gate], wanted: dict[str, str]) -> None:
    """A page and a stream hold what fits all that is given, keep its numbers, and tell how far they have come."""
    client, _ = served
    events = await filled(client)
    wanted = {name: events[0]["execution_id"] if value == "?" else value for name, value in wanted.items()}
    expected = [one for one in events if fits(one, wanted)]
    found = await page(client, **wanted)
    assert (found["events"], found["next_after"]) == (expected, len(events))
    if expected:
        first = await page(client, **wanted, limit=1)
        assert (first["events"], first["next_after"]) == (expected[:1], expected[0]["position"])
    async with client.get("/events", headers=SSE, params={**wanted, "after": 0}) as answer:
        assert told(await read_events(answer, len(expected))) == expected
        if not expected:
            assert await read(answer, 1) == [{"id": str(len(events))}]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("type=node.complete", 'knows no "node.complete"; did you mean "node.completed"?'),
        ("type=nodes.*", 'did you mean "node.*"?'),
        ("type=", 'knows no ""; there are execution.*, node.*, agent.* and all that begin so.'),
        ("type=node.failed,", 'knows no ""'),
        ("type=*", 'knows no "*"'),
        ("type=node.failed&type=x", 'knows no "x"'),
        ("agent_id=", "agent_id must be 1 to 100 letters"),
        ("agent_id=a%20b", "agent_id must be 1 to 100 letters"),
        ("flow_id=" + "x" * 101, "flow_id must be 1 to 100 letters"),
        ("execution_id=unknown", "execution_id must be a UUID."),
        ("limit=0", "limit must be a whole number from 1 to 500."),
        ("limit=501", "limit must be a whole number"),
        ("after=-1", "after must be a whole number"),
        ("after=x", "after must be a whole number"),
        ("after=99", "after is above the newest event's position, 0: it is of another database, or of none."),
    ],
)
async def test_bad_input_is_refused(served: tuple[TestClient, Gate], query: str, text: str) -> None:
    """What makes no sense is a 400 that says so, for a page as for a stream."""
    client, _ = served
    for headers in {}, SSE:
        if headers and query.startswith("limit"):
            continue  # a stream has no limit
        async with client.get(f"/events?{query}", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (400, "application/problem+json")
            problem = await answer.json()
            assert text in problem["message"]
            assert list(problem["details"]) == [query.partition("=")[0]]
    async with client.get("/events", headers={**SSE, "Last-Event-ID": "99"}) as answer:
        assert answer.status == 400
    assert client.server.app[STREAMS].count == 0


async def prune(client: TestClient) -> None:
    """Delete all executions that have ended."""
    (engine,) = client.server.app[ENGINES]
    later = 2**62
    await engine._store.prune(later, later, 100)


async def test_what_was_pruned_is_said(served: tuple[TestClient, Gate]) -> None:
    """Whoever resumes from before what is gone hears first from where on there is something; others hear nothing."""
    client, _ = served
    events = await filled(client)
    await prune(client)
    count = len(events)
    gone = {"after": 0, "oldest": count}
    assert await page(client) == {"events": events[-1:], "next_after": count, "pruned": gone}
    assert (await page(client, flow_id="other"))["pruned"] == gone
    assert (await page(client, after=count - 1))["pruned"] is None
    async with client.get("/events?after=0", headers=SSE) as answer:
        blocks = await read(answer, 2)
    assert blocks[0] == {"event": "pruned", "data": json.dumps(gone, separators=(",", ":"))}
    assert told(blocks) == events[-1:]
    for after in (count - 1, count):
        async with client.get("/events", headers={**SSE, "Last-Event-ID": str(after)}) as answer:
            await report(client, "active" if after == count - 1 else "error", after)
            assert [block["event"] for block in await read_events(answer, 1)] == ["agent.state"]


async def test_a_filtered_reader_is_told_how_far_it_has_come() -> None:
    """What it does not want moves the place from which it resumes, by numbers alone that come instead of comments."""
    async with (
        serving(Streams(10, heartbeat=0.05)) as (client, _),
        client.get("/events?type=node.failed", headers=SSE) as answer,
    ):
        assert await read(answer, 1) == [{"id": "0"}]
        await start(client, 5)
        place = 0
        while place < 7:
            (block,) = await read(answer, 1)
            assert block in ({"": ""}, {"id": block.get("id")})
            place = int(block.get("id", place))
        assert (await read(answer, 2))[-1] == {"": ""}


async def test_long_history_is_passed_over_by_steps(served: tuple[TestClient, Gate], monkeypatch: Any) -> None:
    """A reader that wants none of a long history is told how far it has come after each part of it."""
    monkeypatch.setattr("opscore.store.feed._UNITS", 3)
    client, _ = served
    events = await filled(client)
    async with client.get("/events?after=0&agent_id=nobody", headers=SSE) as answer:
        places = []
        while not places or places[-1] < len(events):
            places += [int(block["id"]) for block in await read(answer, 1)]
    assert places == sorted(places)
    assert len(places) > 2
    found = await page(client, agent_id="nobody")
    assert (found["events"], found["next_after"]) == ([], len(events))
    monkeypatch.setattr("opscore.operations.events._MOST_LOOKS", 1)
    found = await page(client, agent_id="nobody")
    assert (found["events"], 0 < found["next_after"] < len(events)) == ([], True)


async def test_what_agents_say_forges_no_line(served: tuple[TestClient, Gate]) -> None:
    """Line ends of every kind in an agent's text stay inside the one line of JSON."""
    client, _ = served
    events = await filled(client)
    assert FORGED[:10] in next(one for one in events if one["type"] == "node.failed")["data"]["error_message"]
    async with client.get("/events?after=0", headers=SSE) as answer:
        raw = b"".join([await answer.content.readline() for _ in range(4 * len(events))])
    assert b"\r" not in raw
    assert {line.split(b":")[0] for line in raw.split(b"\n")} == {b"id", b"event", b"data", b""}


async def test_many_idle_readers_cost_no_reading(
    served: tuple[TestClient, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that want none of what happens ask the store for nothing; many that want the same ask it once."""
    client, _ = served
    await filled(client)
    asked: list[int] = []
    feed = SqlStore.feed

    async def counted(self: Any, wanted: Any, after: int, limit: int) -> Any:
        asked.append(after)
        return await feed(self, wanted, after, limit)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, base_url=client.make_url("/")) as session:
        idle = [await session.get(f"/events?agent_id=nobody-{n}", headers=SSE) for n in range(50)]
        busy = [await session.get("/events?type=agent.*", headers=SSE) for _ in range(50)]
        for answer in idle + busy:
            await read(answer, 1)
        async with session.get("/events", headers=SSE) as last:
            await report(client, "active", 1)
            await read_events(last, 1)
        await asyncio.gather(*[read_events(answer, 1) for answer in busy])
        monkeypatch.setattr(SqlStore, "feed", counted)
        await report(client, "error", 2)
        found = await asyncio.gather(*[read_events(answer, 1) for answer in busy])
        assert {told(blocks)[0]["data"]["state"] for blocks in found} == {"error"}
        assert len(asked) == 1
        for answer in idle + busy:
            answer.close()


async def test_a_stopping_server_tells_its_readers(served: tuple[TestClient, Gate]) -> None:
    """A stop ends the streams of all events with a comment."""
    client, _ = served
    async with client.get("/events", headers=SSE) as answer:
        await read(answer, 1)
        await client.server.app[STREAMS].close()
        assert await read(answer) == [{"": "the server stops; resume with Last-Event-ID"}]


async def test_a_reader_that_stalls_is_cut_off() -> None:
    """Who takes nothing in for the time of a write loses its connection, and can resume."""
    async with serving(Streams(10, heartbeat=NEVER, write_timeout=0.2)) as (client, _):
        await start(client, 5)
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port, limit=1000)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        (stream,) = client.server.app[STREAMS]._open
        with pytest.raises(ReaderGone):
            await asyncio.wait_for(stream.send(b": " + b"x" * 20_000_000 + b"\n\n"), 10)
        writer.close()
        async with client.get("/events?after=0", headers=SSE) as answer:
            assert seqs(await read_events(answer, 7)) == list(range(1, 8))


async def test_what_fails_in_the_middle_ends_a_stream_that_resumes(
    served: tuple[TestClient, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails ends the stream in good order; its reader misses nothing."""
    client, _ = served
    await start(client, 5)
    async with client.get("/events?after=0", headers=SSE) as answer:
        assert seqs(await read_events(answer, 7)) == list(range(1, 8))

        async def fail(*_: object) -> None:
            raise StoreError("gone")

        with monkeypatch.context() as broken:
            broken.setattr("opscore.engine.feed.Follower.read", fail)
            await start(client, 5)
            assert await read(answer) == []
    async with client.get("/events", headers={**SSE, "Last-Event-ID": "7"}) as answer:
        assert seqs(await read_events(answer, 7)) == list(range(8, 15))


async def test_a_stream_needs_a_key_as_all_routes_do() -> None:
    """Without a key there are neither pages nor streams."""
    async with serving(api_key="letmein-please") as (client, _):
        for headers in {}, SSE:
            for key, status in (("wrong", 401), ("letmein-please", 200)):
                async with client.get("/events", headers={**headers, "Authorization": f"Bearer {key}"}) as answer:
                    assert answer.status == status
