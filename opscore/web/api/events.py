"""Routes about the events of an execution: a page of them, or all of them as they happen."""

from __future__ import annotations

import orjson
from aiohttp import web

from opscore.domain.events import Event
from opscore.web.api import answer_schemas, answers, queries
from opscore.web.api.documents import header, operation, query
from opscore.web.config import OPERATIONS, STREAMS
from opscore.web.streams import Stream, frame, wants_events

_PAGE = 50
_PARAMETERS = (
    query("after", "integer", "only events above this number", minimum=0, maximum=queries.LARGEST_PLACE),
    query("limit", "integer", "how many in a page", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
    header("Last-Event-ID", "the same as after, for streams; it goes before it", pattern="^[0-9]*$"),
)


@operation(
    "executions",
    "Get the events of an execution: a page, or with Accept: text/event-stream a stream",
    answers={200: answer_schemas.EventsSchema},
    parameters=_PARAMETERS,
    problems=(404,),
)
async def list_events(request: web.Request) -> web.StreamResponse:
    """A page where nothing else is asked for."""
    return await (_stream(request) if wants_events(request, otherwise=False) else _page(request))


@operation(
    "executions",
    "Follow the events of an execution: a stream, or with Accept: application/json a page",
    answers={200: answer_schemas.EventsSchema},
    parameters=_PARAMETERS,
    problems=(404,),
)
async def follow_events(request: web.Request) -> web.StreamResponse:
    """A stream where nothing else is asked for."""
    return await (_stream(request) if wants_events(request, otherwise=True) else _page(request))


async def _page(request: web.Request) -> web.Response:
    after = queries.integer(request, "after", 0, 0, queries.LARGEST_PLACE)
    limit = queries.integer(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MOST)
    events = await request.app[OPERATIONS].executions.events(request.match_info["execution_id"], after, limit)
    next_after = events[-1].seq if events else after
    return answers.reply({"events": [answers.event(one) for one in events], "next_after": next_after})


async def _stream(request: web.Request) -> web.StreamResponse:
    after = queries.resumed_at(request) or 0
    async with request.app[STREAMS].place(request) as stream:
        await _follow(request, stream, after)
    return stream.response


async def _follow(request: web.Request, stream: Stream, after: int) -> None:
    """Send what there is, then what comes, until the end of the execution or of the stream."""
    execution_id = request.match_info["execution_id"]
    executions = request.app[OPERATIONS].executions
    # Listening begins before the first look, so that nothing can fall in between.
    with executions.listening(execution_id, stream.ring):
        page = await executions.history(execution_id, after, _PAGE)
        await stream.begin()
        while True:
            if page.events:
                await stream.send(b"".join(map(_framed, page.events)))
                after = page.events[-1].seq
            if page.is_last(_PAGE):
                ended = {"execution_id": execution_id, "status": page.status}
                await stream.send(frame("end", orjson.dumps(ended)))
                return
            if len(page.events) == _PAGE:
                stream.ring()
            if not await stream.goes_on():
                return
            page = await executions.history(execution_id, after, _PAGE)


def _framed(event: Event) -> bytes:
    return frame(event.type, orjson.dumps(answers.event(event)), event.seq)


ROUTES = (
    web.get("/executions/{execution_id}/events", list_events),
    web.get("/executions/{execution_id}/stream", follow_events),
)
