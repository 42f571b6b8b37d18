"""The route about all events, of whatever execution: a page of them, or all of them as they happen."""

from __future__ import annotations

from functools import partial

import orjson
from aiohttp import web

from opscore.domain.events import EVENT_WORDS, FeedEvent
from opscore.domain.ports import Follower
from opscore.web.api import answer_schemas, answers, queries
from opscore.web.api.documents import header, operation, query
from opscore.web.config import FRAMES, OPERATIONS, STREAMS
from opscore.web.streams import COMMENT, Frames, Stream, frame, place_frame, wants_events

_PAGE = 100


@operation(
    "events",
    "Get the events of all executions: a page, or with Accept: text/event-stream a stream that begins now",
    answers={200: answer_schemas.FeedSchema},
    parameters=(
        query("agent_id", "string", "only about this agent", pattern="^[A-Za-z0-9_-]{1,100}$"),
        query("flow_id", "string", "only of executions of this flow", pattern="^[A-Za-z0-9_-]{1,100}$"),
        query("execution_id", "string", "only of this execution", format="uuid"),
        query("type", "string", f"only of these types, separated by commas: {', '.join(EVENT_WORDS)}"),
        query("after", "integer", "only events above this position", minimum=0, maximum=queries.LARGEST_PLACE),
        query("limit", "integer", "how many in a page", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
        header("Last-Event-ID", "the same as after, for streams; it goes before it", pattern="^[0-9]*$"),
    ),
)
async def list_events(request: web.Request) -> web.StreamResponse:
    """A page where nothing else is asked for."""
    return await (_stream(request) if wants_events(request, otherwise=False) else _page(request))


async def _page(request: web.Request) -> web.Response:
    wanted = queries.event_filter(request)
    after = queries.integer(request, "after", 0, 0, queries.LARGEST_PLACE)
    limit = queries.integer(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MOST)
    page = await request.app[OPERATIONS].events.page(wanted, after, limit)
    body = {
        "events": [answers.feed_event(one) for one in page.events],
        "next_after": page.passed,
        "pruned": answers.pruned(page) if page.is_pruned else None,
    }
    return answers.reply(body)


async def _stream(request: web.Request) -> web.StreamResponse:
    wanted, after = queries.event_filter(request), queries.resumed_at(request)
    events = request.app[OPERATIONS].events
    async with request.app[STREAMS].place(request) as stream:
        with events.following(wanted, await events.place(after), stream.ring) as follower:
            await _follow(stream, follower, request.app[FRAMES])
    return stream.response


async def _follow(stream: Stream, follower: Follower, frames: Frames) -> None:
    """Send what there is, then what comes, until the stream is to end."""
    told, pruned_to = -1, 0

    def progress() -> bytes:
        """Tell the place that the reader has come to, if it knows of none so far."""
        nonlocal told
        if follower.passed <= told:
            return COMMENT
        told = follower.passed
        return place_frame(told)

    page = await follower.read(_PAGE)
    await stream.begin()
    while True:
        if page.is_pruned and page.pruned_to > pruned_to:
            pruned_to = page.pruned_to
            await stream.send(frame("pruned", orjson.dumps(answers.pruned(page))))
        if page.events:
            told = page.events[-1].position
            await stream.send(b"".join([frames.made(one.position, partial(_framed, one)) for one in page.events]))
        elif follower.passed > told:
            # Also before any event was sent: who is cut then resumes from where it began.
            await stream.send(progress())
        if not page.is_last:
            stream.ring()
        if not await stream.goes_on(progress):
            return
        page = await follower.read(_PAGE)


def _framed(event: FeedEvent) -> bytes:
    return frame(event.type, orjson.dumps(answers.feed_event(event)), event.position)


ROUTES = (web.get("/events", list_events),)
