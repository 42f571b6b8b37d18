"""Methods about what happens on the server: its events, its log, its figures, and why an execution does not move."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Optional, Sequence, Union

from opscore_sdk import checks
from opscore_sdk._calls import Calls
from opscore_sdk.observations import (
    Explanation,
    FeedEvent,
    FeedPage,
    FlowGraph,
    Identity,
    LogEntry,
    LogPage,
    Overview,
    Performance,
)
from opscore_sdk.pages import Pages
from opscore_sdk.streams import Feed
from opscore_sdk.wire import EVENT_STREAM, Request, request

_MOST = 2**53
_NEWEST_VERSION = 2**31
Json = Dict[str, Any]


class ObservationMethods(Calls):
    """See what is going on."""

    def list_events(
        self,
        *,
        agent_id: Optional[str] = None,
        flow_id: Optional[str] = None,
        execution_id: Optional[str] = None,
        types: Union[str, Sequence[str], None] = None,
        after: int = 0,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Pages[FeedPage, FeedEvent]:
        """Events of all executions, oldest first: ``async for`` gives all until now, ``await`` the first page.

        Args:
            agent_id: Only about this agent.
            flow_id: Only of executions of this flow.
            execution_id: Only of this execution.
            types: Only of these types, such as ``node.failed`` or ``execution.*``.
            after: Only events above this number.
            limit: How many on a page, 1 to 500.
            timeout: Seconds for each page instead of the client's.
        """
        query = _about(agent_id, flow_id, execution_id, types)
        query["limit"] = checks.a_number(limit, "limit", 1, 500)
        first = checks.a_number(after, "after", 0, _MOST)

        async def fetch(place: Optional[str]) -> FeedPage:
            asked = request("GET", "events", query={**query, "after": first if place is None else place})
            return await self._model(FeedPage, asked, timeout)

        def cursor(page: FeedPage, place: Optional[str]) -> Optional[str]:
            # A page without events may have looked at many that a filter left out, and more may follow.
            return str(page.next_after) if page.next_after > int(place or after) else None

        return Pages(fetch, lambda page: page.events, cursor)

    def stream_all_events(
        self,
        *,
        agent_id: Optional[str] = None,
        flow_id: Optional[str] = None,
        execution_id: Optional[str] = None,
        types: Union[str, Sequence[str], None] = None,
        after: Optional[int] = None,
    ) -> Feed[FeedEvent]:
        """Events of all executions as they happen: ``async for event in client.stream_all_events()``.

        The stream mends itself: when the connection breaks it goes on after the last event, none lost and none twice.
        It ends when it is closed, or when the server is out of reach for longer than calls are repeated.

        Args:
            agent_id: Only about this agent.
            flow_id: Only of executions of this flow.
            execution_id: Only of this execution.
            types: Only of these types, such as ``node.failed`` or ``execution.*``.
            after: Only events above this number; by default those that happen from now on.
        """
        query = _about(agent_id, flow_id, execution_id, types)
        checks.a_number(after, "after", 0, _MOST)

        def ask(last: Optional[int]) -> Request:
            return _stream("events", {**query, "after": last}, last)

        return Feed(self._transport, ask, FeedEvent, "position", after)

    def list_logs(
        self,
        *,
        level: Optional[str] = None,
        agent_id: Optional[str] = None,
        execution_id: Optional[str] = None,
        flow_id: Optional[str] = None,
        node_id: Optional[str] = None,
        error_code: Optional[str] = None,
        trace_id: Optional[str] = None,
        request_id: Optional[str] = None,
        since: Union[str, datetime, None] = None,
        until: Union[str, datetime, None] = None,
        q: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Pages[LogPage, LogEntry]:
        """Log entries, newest first: ``async for`` gives all of them, ``await`` the first page.

        Args:
            level: Only those at least as grave: debug, info, warning, error or critical.
            agent_id: Only about this agent.
            execution_id: Only about this execution.
            flow_id: Only about this flow.
            node_id: Only about this node.
            error_code: Only with this error code.
            trace_id: Only of this trace.
            request_id: Only of this request.
            since: Only from this instant on.
            until: Only before this instant.
            q: Only those that contain this text.
            limit: How many on a page, 1 to 500.
            cursor: ``next_cursor`` of a page, to go on from there.
            timeout: Seconds for each page instead of the client's.
        """
        query = {
            **_noted(level, agent_id, execution_id, flow_id, node_id),
            **_marked(error_code, trace_id, request_id, q),
            "since": since,
            "until": until,
            "limit": checks.a_number(limit, "limit", 1, 500),
        }

        async def fetch(after: Optional[str]) -> LogPage:
            asked = request("GET", "logs", query={**query, "cursor": cursor if after is None else after})
            return await self._listed(LogPage, "logs", asked, timeout)

        return Pages(fetch, lambda page: page.logs, lambda page, _: page.next_cursor)

    def stream_logs(
        self,
        *,
        level: Optional[str] = None,
        agent_id: Optional[str] = None,
        execution_id: Optional[str] = None,
        flow_id: Optional[str] = None,
        node_id: Optional[str] = None,
        error_code: Optional[str] = None,
        trace_id: Optional[str] = None,
        request_id: Optional[str] = None,
        since: Union[str, datetime, None] = None,
        q: Optional[str] = None,
        after: Optional[int] = None,
    ) -> Feed[LogEntry]:
        """Log entries as they are made: ``async for entry in client.stream_logs(level="warning")``.

        The stream mends itself: when the connection breaks it goes on after the last entry, none lost and none twice.
        It ends when it is closed, or when the server is out of reach for longer than calls are repeated.

        Args:
            level: Only those at least as grave: debug, info, warning, error or critical.
            agent_id: Only about this agent.
            execution_id: Only about this execution.
            flow_id: Only about this flow.
            node_id: Only about this node.
            error_code: Only with this error code.
            trace_id: Only of this trace.
            request_id: Only of this request.
            since: From this instant on; by default from now on.
            q: Only those that contain this text.
            after: Only entries with a higher ``log_id``.
        """
        query = {
            **_noted(level, agent_id, execution_id, flow_id, node_id),
            **_marked(error_code, trace_id, request_id, q),
        }
        checks.a_number(after, "after", 0, _MOST)

        def ask(last: Optional[int]) -> Request:
            return _stream("logs", {**query, "since": since if last is None else None, "after": last}, last)

        return Feed(self._transport, ask, LogEntry, "log_id", after)

    async def get_overview(self, window: Optional[int] = None, *, timeout: Optional[float] = None) -> Overview:
        """What is going on: open executions, throughput, what waits, the agents, and what needs attention.

        Args:
            window: How many seconds back; by default an hour.
            timeout: Seconds for this call instead of the client's.
        """
        query = {"window": checks.a_number(window, "window", 1, _MOST)}
        return await self._model(Overview, request("GET", "overview", query=query), timeout)

    async def explain_execution(self, execution_id: str, *, timeout: Optional[float] = None) -> Explanation:
        """Why an execution stands where it stands, since when, and what would move it.

        Args:
            execution_id: Which execution.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: Nothing has this id.
        """
        asked = request("GET", "executions", checks.an_id(execution_id, "execution_id"), "explanation")
        return await self._model(Explanation, asked, timeout)

    async def get_performance(
        self,
        by: Optional[str] = None,
        *,
        agent_id: Optional[str] = None,
        flow_id: Optional[str] = None,
        window: Optional[int] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Performance:
        """How long work waits, is called for and is stored: counts and percentiles by agent, flow or node.

        Args:
            by: ``agent``, ``flow`` or ``node``; by default ``agent``.
            agent_id: Only of this agent.
            flow_id: Only of this flow.
            window: How many seconds back; by default an hour.
            limit: How many rows.
            timeout: Seconds for this call instead of the client's.
        """
        query = {
            "by": None if by is None else checks.one_of(by, "by", checks.PERFORMANCE_BY),
            "agent_id": None if agent_id is None else checks.an_id(agent_id, "agent_id"),
            "flow_id": None if flow_id is None else checks.an_id(flow_id, "flow_id"),
            "window": checks.a_number(window, "window", 1, _MOST),
            "limit": checks.a_number(limit, "limit", 1, 500),
        }
        return await self._model(Performance, request("GET", "performance", query=query), timeout)

    async def get_flow_graph(
        self,
        flow_id: str,
        version: Optional[int] = None,
        *,
        timeout: Optional[float] = None,
    ) -> FlowGraph:
        """A flow or workflow as nodes and edges, by default the newest version.

        Args:
            flow_id: Which flow.
            version: Which version.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: There is no such flow or version.
        """
        query = {"version": checks.a_number(version, "version", 1, _NEWEST_VERSION)}
        asked = request("GET", "flows", checks.an_id(flow_id, "flow_id"), "graph", query=query)
        return await self._model(FlowGraph, asked, timeout)

    async def whoami(self, *, timeout: Optional[float] = None) -> Identity:
        """Who the server takes the caller for: the key's name and ``scopes``.

        Without a key it tells whether one is needed (``key_required``). A wrong key is an error.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(Identity, request("GET", "whoami"), timeout)


def _about(
    agent_id: Optional[str],
    flow_id: Optional[str],
    execution_id: Optional[str],
    types: Union[str, Sequence[str], None],
) -> Json:
    ids = {"agent_id": agent_id, "flow_id": flow_id, "execution_id": execution_id}
    words = types.split(",") if isinstance(types, str) else types
    kinds = None if words is None else ",".join(checks.some_text(word, "types").strip() for word in words)
    return {**_ids(ids), "type": kinds}


def _noted(
    level: Optional[str],
    agent_id: Optional[str],
    execution_id: Optional[str],
    flow_id: Optional[str],
    node_id: Optional[str],
) -> Json:
    ids = {"agent_id": agent_id, "execution_id": execution_id, "flow_id": flow_id, "node_id": node_id}
    known = checks.LOG_LEVELS
    return {**_ids(ids), "level": None if level is None else checks.one_of(str(level).lower(), "level", known)}


def _marked(error_code: Optional[str], trace_id: Optional[str], request_id: Optional[str], q: Optional[str]) -> Json:
    marks = {"error_code": error_code, "trace_id": trace_id, "request_id": request_id, "q": q}
    return {name: None if mark is None else checks.some_text(mark, name) for name, mark in marks.items()}


def _ids(given: Json) -> Json:
    return {name: None if value is None else checks.an_id(value, name) for name, value in given.items()}


def _stream(name: str, query: Json, last: Optional[int]) -> Request:
    headers = {"Accept": EVENT_STREAM, "Last-Event-ID": None if last is None else str(last)}
    return request("GET", name, query=query, headers=headers)
