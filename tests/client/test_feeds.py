from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Iterator, Optional

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from still_clock import StillClock

from opscore_sdk import ConnectionError as ServerLost
from opscore_sdk import OpsCoreClientAsync, OpsCoreClientSync, ServerError, ValidationError
from opscore_sdk.testing import FakeOpsCore

LIMIT = 10.0


def event(position: int) -> bytes:
    """One event as the server sends it."""
    data = orjson.dumps({"position": position, "type": "node.started", "data": {"text": "é\n" * 9}})
    return b"id: %d\nevent: node.started\ndata: %s\n\n" % (position, data)


class Sender:
    """A server whose connections bring what a test says, and then break."""

    def __init__(self, *bodies: bytes, statuses: tuple[int, ...] = ()) -> None:
        self.asked: list[tuple[dict[str, str], Optional[str]]] = []
        self._bodies = list(bodies)
        self._statuses = list(statuses)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((dict(request.query), request.headers.get("Last-Event-ID")))
        if self._statuses:
            return web.json_response({"detail": "no"}, status=self._statuses.pop(0))
        if not self._bodies:
            return web.json_response({"detail": "over"}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self._bodies.pop(0))
        return response


@asynccontextmanager
async def listening(sender: Sender, **options: Any) -> AsyncIterator[tuple[OpsCoreClientAsync, StillClock]]:
    """A client of that server, and its clock."""
    app = web.Application()
    app.router.add_get("/api/v1/events", sender.answer)
    app.router.add_get("/api/v1/logs", sender.answer)
    clock = StillClock()
    async with (
        TestServer(app) as server,
        OpsCoreClientAsync(str(server.make_url("/")), "", clock=clock.clock, **options) as client,
    ):
        yield client, clock


async def positions(feed: Any) -> list[int]:
    """What a feed gives out until its server refuses to go on."""
    found: list[int] = []
    with pytest.raises(ValidationError):
        async for item in feed:
            found.append(item.position)  # noqa: PERF401 - what came before the end counts
    return found


async def test_a_feed_that_is_cut_goes_on_after_the_last_event() -> None:
    """Each connection breaks in the middle of an event; nothing is lost and nothing comes twice."""
    whole = b"".join(event(at) for at in range(1, 6))
    cut = whole[: whole.index(b"id: 4") + 7]
    sender = Sender(cut, event(3) + event(4), event(5))
    async with listening(sender) as (client, clock):
        assert await positions(client.stream_all_events(types=["node.*", "agent.state"])) == [1, 2, 3, 4, 5]
    assert [last for _, last in sender.asked] == [None, "3", "4", "5"]
    assert sender.asked[0][0] == {"type": "node.*,agent.state"}
    assert sender.asked[1][0] == {"type": "node.*,agent.state", "after": "3"}
    assert clock.slept == [0.5, 0.5, 0.5]  # a connection that stood is no failure in a row


async def test_a_feed_knows_what_a_filter_passed_over() -> None:
    """An id alone is no event, but where the next connection begins; one that is cut off does not count."""
    sender = Sender(b"id: 7\n\n", event(9) + b"id: 20\n\nid: 30\n")
    async with listening(sender) as (client, _):
        feed = client.stream_all_events()
        assert await positions(feed) == [9]
        assert feed.last_id == 20
    assert [last for _, last in sender.asked] == [None, "7", "20"]


async def test_a_feed_tells_what_is_gone() -> None:
    """What was pruned is no event; the feed keeps the server's word for it."""
    async with listening(Sender(b'event: pruned\ndata: {"after":3,"oldest":8}\n\n' + event(8))) as (client, _):
        feed = client.stream_all_events(after=3)
        assert feed.pruned is None
        assert await positions(feed) == [8]
        assert feed.pruned is not None
        assert (feed.pruned.after, feed.pruned.oldest) == (3, 8)


async def test_a_feed_waits_for_a_server_that_is_away_for_a_moment_and_gives_up_where_others_do() -> None:
    """Refusals that pass are waited out with growing pauses; too many in a row are raised."""
    async with listening(Sender(event(1), statuses=(503, 503))) as (client, clock):
        assert await positions(client.stream_all_events()) == [1]
        assert clock.slept == [0.5, 1.0, 0.5]
    async with listening(Sender(statuses=(503, 503, 503)), max_retries=2) as (client, clock):
        with pytest.raises(ServerError):
            [item async for item in client.stream_all_events()]
        assert clock.slept == [0.5, 1.0]


@pytest.mark.parametrize("body", [b"data: nonsense\n\n", b"data: [1]\n\n", b'data: {"type":"x"}\n\n'])
async def test_what_is_no_event_is_a_connection_error(body: bytes) -> None:
    """Events are objects with a position."""
    async with listening(Sender(body), max_retries=0) as (client, _):
        with pytest.raises(ServerLost):
            [item async for item in client.stream_all_events()]


async def test_since_is_asked_for_until_the_first_entry() -> None:
    """A log that is followed from an instant goes on by number once there is one."""
    entry = b'id: 5\nevent: log\ndata: {"log_id":5,"level":"INFO","message":"m"}\n\n'
    sender = Sender(b": nothing yet\n\n", entry)
    async with listening(sender) as (client, _):
        with pytest.raises(ValidationError):
            async for found in client.stream_logs(since="2026-01-01T00:00:00Z", level="INFO"):
                assert (found.log_id, found.message) == (5, "m")
    since = {"since": "2026-01-01T00:00:00Z", "level": "info"}
    assert [query for query, _ in sender.asked] == [since, since, {"level": "info", "after": "5"}]


# -- against the fake server ---------------------------------------------------------------------


@pytest.fixture
def fake() -> Iterator[FakeOpsCore]:
    with FakeOpsCore() as running:
        running.on_flow("hello", {"greet": {"greeting": "Hello"}})
        running.fail_flow("sad", "No ink.", "NO_INK")
        yield running


async def test_events_of_all_executions_by_page_and_by_type(fake: FakeOpsCore) -> None:
    """All pages together are all events; a prefix takes all types that begin with it."""
    async with OpsCoreClientAsync(fake.url) as client:
        done = [await client.execute_and_wait(name) for name in ("hello", "sad")]
        await client.create_agent("zoe")
        await client.update_state("zoe", "idle")
        every = await client.list_events(limit=2).all()
        assert [one.position for one in every] == list(range(1, len(every) + 1))
        assert every[-1].type == "agent.state"
        assert every[-1].execution_id is None
        ends = await client.list_events(types="execution.failed,execution.completed").all()
        assert [(one.execution_id, one.flow_id) for one in ends] == [(one.execution_id, one.flow_id) for one in done]
        nodes = await client.list_events(execution_id=done[0].execution_id, types=["node.*"]).all()
        assert [one.type for one in nodes] == ["node.started", "node.completed"]


async def test_a_feed_begins_now(fake: FakeOpsCore) -> None:
    """What was before is not in it; what comes is, for as long as it is open."""
    async with OpsCoreClientAsync(fake.url) as client:
        before = await client.execute_and_wait("hello")
        after = len(await client.list_events().all())
        async with client.stream_all_events(after=after, types="execution.completed") as feed:
            started = await client.execute_and_wait("hello")
            found = await asyncio.wait_for(feed.__anext__(), LIMIT)
            assert found.execution_id == started.execution_id != before.execution_id


async def test_logs_by_page_and_live(fake: FakeOpsCore) -> None:
    """A level means at least; the newest come first; a stream goes on."""
    fake.log("begun", agent_id="zoe", ink="low")
    fake.log("no ink", "error", agent_id="zoe", error_code="NO_INK")
    async with OpsCoreClientAsync(fake.url) as client:
        assert [one.message for one in await client.list_logs(limit=1).all()] == ["no ink", "begun"]
        (grave,) = await client.list_logs(level="warning").all()
        assert (grave.error_code, grave.level, grave.fields) == ("NO_INK", "ERROR", {})
        assert (await client.list_logs(q="BEG")).logs[0].fields == {"ink": "low"}
        async with client.stream_logs(after=grave.log_id, level="error") as feed:
            fake.log("still begun")
            fake.log("paper jam", "critical")
            assert (await asyncio.wait_for(feed.__anext__(), LIMIT)).message == "paper jam"


def test_a_feed_without_await(fake: FakeOpsCore) -> None:
    """The synchronous client iterates over a feed and closes it."""
    with OpsCoreClientSync(fake.url) as client, client.stream_logs(after=0) as feed:
        said = threading.Timer(0, fake.log, ("hello",))
        said.start()
        assert next(feed).message == "hello"
        assert (feed.last_id, feed.pruned) == (1, None)
        said.join()
    assert list(feed) == []


async def test_many_are_cancelled_at_once(fake: FakeOpsCore) -> None:
    """Each is cancelled or refused for itself, and the reason is told."""
    fake.on_flow("long", held=True)
    async with OpsCoreClientAsync(fake.url) as client:
        done = await client.execute_and_wait("hello")
        started = [await client.execute_flow("long") for _ in range(3)]
        ids = [one.execution_id for one in started]
        answer = await client.cancel_executions([*ids, done.execution_id, "nothing"], "too late")
        assert answer.cancelled == ids
        assert [(one.execution_id, one.error_code) for one in answer.refused] == [
            (done.execution_id, "EXECUTION_FINISHED"),
            ("nothing", "EXECUTION_NOT_FOUND"),
        ]
        assert [one.error_message for one in await client.list_executions(status="cancelled").all()] == ["too late"] * 3


async def test_executions_are_found_by_text(fake: FakeOpsCore) -> None:
    """The beginning of an id, or a part of the error."""
    async with OpsCoreClientAsync(fake.url) as client:
        done = await client.execute_and_wait("sad")
        await client.execute_and_wait("hello")
        for text in (done.execution_id[:8], "NO_I", "No ink"):
            assert [one.flow_id for one in await client.list_executions(q=text).all()] == ["sad"]


async def test_the_fake_server_tells_what_is_going_on(fake: FakeOpsCore) -> None:
    """Counts, the newest failures, who asks, and how a flow looks."""
    async with OpsCoreClientAsync(fake.url) as client:
        await client.execute_and_wait("sad")
        await client.create_agent("zoe")
        seen = await client.get_overview(60)
        assert (seen.executions["window"]["failed"], seen.agents["by_state"]) == (1, {"unknown": 1})
        assert [one.error_code for one in seen.recent_failures] == ["NO_INK"]
        assert "write" in (await client.whoami()).scopes
        nodes = [{"id": "a", "agent_id": "zoe"}, {"id": "b", "agent_id": "zoe", "depends_on": ["a"]}]
        await client.create_flow({"flow_id": "two", "nodes": nodes})
        graph = await client.get_flow_graph("two")
        assert ([one.id for one in graph.nodes], graph.edges) == (["a", "b"], [{"from": "a", "to": "b"}])
