"""Routes about the log: a page of it, newest first, or all of it as it comes."""

from __future__ import annotations

import re
from functools import partial
from typing import Optional

import attrs
from aiohttp import web

from opscore.domain.agents import ID
from opscore.domain.logs import LEVELS, LogEntry, LogPage, LogQuery
from opscore.domain.spelling import nearest
from opscore.web.api import answer_schemas, answers, queries
from opscore.web.api.documents import header, operation, query
from opscore.web.config import LOG_FRAMES, OPERATIONS, STREAMS
from opscore.web.streams import Frames, Stream, frame, place_frame, wants_events

_LARGEST = 2**53
_PAGE = 100
_LONGEST_TEXT = 200
_LOOKS = 40
"""A stream whose filter let nothing pass for so many looks says how far it is: a resume begins there."""

_ID = re.compile(ID.pattern)
_EXECUTION = re.compile(r"[A-Za-z0-9-]{1,36}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_REQUEST = re.compile(r"[A-Za-z0-9._-]{1,100}")
_CODE = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_CURSOR = re.compile(r"[0-9]{1,16}")


def _text(name: str, pattern: re.Pattern[str], text: str) -> dict[str, object]:
    return query(name, "string", text, pattern=f"^{pattern.pattern}$")


_PARAMETERS = (
    query("level", "string", "at least this level", enum=[*LEVELS]),
    _text("agent_id", _ID, "only about this agent"),
    _text("execution_id", _EXECUTION, "only about this execution"),
    _text("flow_id", _ID, "only about this flow"),
    _text("node_id", _ID, "only about this node"),
    query("error_code", "string", "only with this error code", minLength=1, maxLength=100),
    _text("trace_id", _TRACE, "only of this trace"),
    _text("request_id", _REQUEST, "only of this request"),
    query("since", "string", "not before this instant", format="date-time"),
    query("until", "string", "before this instant", format="date-time"),
    query(
        "q", "string", "part of message, event or error code, in upper or lower case",
        minLength=1, maxLength=_LONGEST_TEXT,
    ),
    query("limit", "integer", "how many in a page", minimum=1, maximum=queries.MOST, default=queries.DEFAULT_LIMIT),
    query("cursor", "string", "next_cursor of the page before"),
    query("after", "integer", "for streams: only entries above this log_id", minimum=0, maximum=_LARGEST),
    header("Last-Event-ID", "the same as after; it goes before it", pattern="^[0-9]*$"),
)  # fmt: skip


@operation(
    "logs",
    "Read the log: a page, newest first, or with Accept: text/event-stream a stream",
    answers={200: answer_schemas.LogsSchema},
    parameters=_PARAMETERS,
)
async def read_logs(request: web.Request) -> web.StreamResponse:
    """A page where nothing else is asked for."""
    return await (_stream(request) if wants_events(request, otherwise=False) else _page(request))


async def _page(request: web.Request) -> web.Response:
    limit = queries.integer(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MOST)
    wanted = attrs.evolve(_query(request), limit=limit + 1, before=_from_cursor(request))
    entries = (await request.app[OPERATIONS].logs.page(wanted)).entries
    page = entries[:limit]
    cursor = queries.to_cursor(str(page[-1].log_id)) if len(entries) > limit else None
    return answers.listing(request, "logs", [answers.log(one) for one in page], limit=limit, next_cursor=cursor)


async def _stream(request: web.Request) -> web.StreamResponse:
    wanted = attrs.evolve(_query(request), limit=_PAGE, after=_resumed_at(request))
    async with request.app[STREAMS].place(request) as stream:
        await _follow(request, stream, wanted)
    return stream.response


async def _follow(request: web.Request, stream: Stream, wanted: LogQuery) -> None:
    """Send what there is, then what comes, until the end of the stream."""
    logs, frames = request.app[OPERATIONS].logs, request.app[LOG_FRAMES]
    # Listening begins before the first look, so that nothing can fall in between.
    with logs.listening(stream.ring):
        wanted = await logs.beginning(wanted)
        page = await logs.following(wanted)
        await stream.begin()
        looks = 0
        while True:
            looks = 0 if page.entries else looks + 1
            await _send(stream, page, looks, frames)
            is_all = len(page.entries) < _PAGE
            wanted = attrs.evolve(wanted, after=page.read_to, is_near=is_all)
            if not is_all:
                stream.ring()
            if not await stream.goes_on():
                return
            page = await logs.following(wanted)


async def _send(stream: Stream, page: LogPage, looks: int, frames: Frames) -> None:
    if page.entries:
        await stream.send(b"".join([frames.made(one.log_id, partial(_framed, one)) for one in page.entries]))
    elif looks and looks % _LOOKS == 0:
        await stream.send(place_frame(page.read_to))


def _framed(entry: LogEntry) -> bytes:
    return frame("log", answers.dumps(answers.log(entry)), entry.log_id)


def _query(request: web.Request) -> LogQuery:
    """Which entries are wanted. Raises Invalid."""
    level = request.query.get("level")
    if level is not None and level.upper() not in LEVELS:
        raise queries.refused("level", f"must be one of {', '.join(LEVELS)}{nearest(level.upper(), LEVELS) or '.'}")
    text = request.query.get("q")
    if text is not None and not (0 < len(text) <= _LONGEST_TEXT and "\0" not in text):
        raise queries.refused("q", f"must be 1 to {_LONGEST_TEXT} characters.")
    return LogQuery(
        level=0 if level is None else LEVELS[level.upper()],
        execution_id=_like(request, "execution_id", _EXECUTION, "the id of an execution"),
        flow_id=_like(request, "flow_id", _ID, "1 to 100 letters, digits, '_' or '-'"),
        node_id=_like(request, "node_id", _ID, "1 to 100 letters, digits, '_' or '-'"),
        agent_id=_like(request, "agent_id", _ID, "1 to 100 letters, digits, '_' or '-'"),
        error_code=_like(request, "error_code", _CODE, "1 to 100 characters"),
        request_id=_like(request, "request_id", _REQUEST, "1 to 100 letters, digits, '.', '_' or '-'"),
        trace_id=_like(request, "trace_id", _TRACE, "32 hexadecimal digits in lower case"),
        since=queries.instant(request, "since"),
        until=queries.instant(request, "until"),
        text=text,
    )


def _like(request: web.Request, name: str, pattern: re.Pattern[str], what: str) -> Optional[str]:
    given = request.query.get(name)
    if given is not None and not pattern.fullmatch(given):
        raise queries.refused(name, f"must be {what}.")
    return given


def _from_cursor(request: web.Request) -> Optional[int]:
    text = queries.from_cursor(request.query.get("cursor"))
    if text is not None and not _CURSOR.fullmatch(text):
        raise queries.refused("cursor", "is none that this server gave out.")
    return None if text is None else int(text)


def _resumed_at(request: web.Request) -> Optional[int]:
    """The id of the last entry that the reader has. Raises Invalid."""
    raw = request.headers.get("Last-Event-ID")
    if raw:
        return queries.whole("Last-Event-ID", raw, 0, _LARGEST)
    return queries.integer(request, "after", 0, 0, _LARGEST) if "after" in request.query else None


ROUTES = (web.get("/logs", read_logs),)
