"""Methods about executions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from opscore_sdk import checks
from opscore_sdk._calls import Calls, new_key
from opscore_sdk.errors import TimeoutError as TooLate
from opscore_sdk.models import (
    Cancelled,
    CancelledMany,
    EventPage,
    Execution,
    ExecutionPage,
    ExecutionResults,
    Message,
    MessageList,
)
from opscore_sdk.pages import Pages
from opscore_sdk.streams import EventStream
from opscore_sdk.wire import EVENT_STREAM, IDEMPOTENCY_KEY, JSON, Request, request, without_nones

_LONGEST_POLL = 25.0
"""Seconds that the server is asked to hold an answer back: less than proxies let a connection be silent."""
_FIRST_PAUSE = 0.05
_MOST = 2**31
_MOST_AT_ONCE = 500


class ExecutionMethods(Calls):
    """Start, follow and end executions."""

    async def execute_flow(
        self,
        flow_id: str,
        input_data: Optional[Mapping[str, Any]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        *,
        priority: Optional[int] = None,
        timeout: Optional[float] = None,
        flow_version: Optional[int] = None,
        user_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        wait: Optional[float] = None,
        request_timeout: Optional[float] = None,
    ) -> Execution:
        """Start a flow; the execution is durable when this returns.

        A start whose answer is lost is repeated with the same idempotency key, so it makes one execution.

        Args:
            flow_id: Which flow.
            input_data: What its first nodes get.
            metadata: Labels to find the execution by.
            priority: 0 to 10, higher first; by default the flow's own.
            timeout: Seconds for the whole execution.
            flow_version: Which version; by default the newest.
            user_id: On whose behalf.
            idempotency_key: The same key and request give the same execution for 24 hours; by default a new one.
            wait: Seconds to wait for the end before answering.
            request_timeout: Seconds for this call instead of the client's; ``wait`` comes on top.

        Returns:
            ``execution_id``, ``flow_id``, ``flow_version``, ``status`` and more; with ``wait`` the execution as it
            then stands, its output in ``result``.

        Raises:
            ValidationError: An argument is wrong, or the server refuses it.
            NotFoundError: There is no such flow.
            ConflictError: The idempotency key was used for another request.
        """
        optional = {
            "metadata": None if metadata is None else dict(checks.an_object(metadata, "metadata")),
            "priority": checks.a_number(priority, "priority", 0, 10),
            "timeout": checks.some_seconds(timeout, "timeout"),
            "flow_version": checks.a_number(flow_version, "flow_version", 1, _MOST),
            "user_id": user_id,
        }
        given = {} if input_data is None else dict(checks.an_object(input_data, "input_data"))
        body = {"flow_id": checks.an_id(flow_id, "flow_id"), "input_data": given, **without_nones(optional)}
        start = request(
            "POST",
            "flows",
            "execute",
            json=body,
            query={"wait": checks.some_seconds(wait, "wait", zero=True)},
            headers={IDEMPOTENCY_KEY: new_key(idempotency_key)},
            extra_seconds=wait or 0.0,
        )
        return await self._model(Execution, start, request_timeout)

    async def get_execution(
        self,
        execution_id: str,
        *,
        wait: Optional[float] = None,
        timeout: Optional[float] = None,
    ) -> Execution:
        """One execution as it stands now.

        Args:
            execution_id: Which execution.
            wait: Seconds that the server holds its answer back while the execution has not ended.
            timeout: Seconds for this call instead of the client's; ``wait`` comes on top.

        Raises:
            NotFoundError: Nothing has this id.
        """
        return await self._model(Execution, _look(execution_id, wait), timeout)

    async def wait_for_execution(
        self,
        execution_id: str,
        timeout: Optional[float] = 300.0,
        interval: float = 2.0,
        *,
        raise_on_failure: bool = False,
    ) -> Execution:
        """The execution once it has ended, within milliseconds of its end.

        The server is asked to answer when the execution has ended; one that cannot is asked again and again, soon at
        first and then every ``interval`` seconds.

        Args:
            execution_id: Which execution.
            timeout: Seconds to wait at most; None to wait for ever.
            interval: Longest pause between two looks at a server that cannot wait.
            raise_on_failure: Whether an execution that failed or was cancelled is an error.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            ExecutionError: It failed or was cancelled, and ``raise_on_failure`` is set.
            NotFoundError: Nothing has this id.
        """
        checks.some_seconds(timeout, "timeout")
        checks.some_seconds(interval, "interval")
        clock = self._transport.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        pause = min(_FIRST_PAUSE, interval)
        while True:
            begun = clock.monotonic()
            left = _LONGEST_POLL if deadline is None else min(_LONGEST_POLL, max(deadline - begun, 0.0))
            execution = await self._model(Execution, _look(execution_id, round(left, 3) or None))
            if execution.is_final:
                return execution.raise_for_status() if raise_on_failure else execution
            now = clock.monotonic()
            if deadline is not None and now >= deadline - 0.001:
                break
            if now - begun < left / 2:  # it cannot wait, or stops just now
                left = pause if deadline is None else min(pause, deadline - now)
                await clock.sleep(left)
                pause = min(pause * 1.5, interval)
        text = f"Execution {execution_id} is still {execution.status} after {timeout:g} seconds."
        raise TooLate(text, timeout, execution)

    async def execute_and_wait(
        self,
        flow_id: str,
        input_data: Optional[Mapping[str, Any]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = 300.0,
        interval: float = 2.0,
        *,
        priority: Optional[int] = None,
        flow_version: Optional[int] = None,
        user_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        raise_on_failure: bool = False,
    ) -> Execution:
        """Start a flow and wait for its end.

        Args:
            flow_id: Which flow.
            input_data: What its first nodes get.
            metadata: Labels to find the execution by.
            timeout: Seconds to wait at most; the execution goes on after that. None to wait for ever.
            interval: As for :meth:`wait_for_execution`.
            priority: 0 to 10, higher first; by default the flow's own.
            flow_version: Which version; by default the newest.
            user_id: On whose behalf.
            idempotency_key: As for :meth:`execute_flow`.
            raise_on_failure: Whether an execution that failed or was cancelled is an error.

        Returns:
            The execution as it ended, its output in ``output_data``.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            ExecutionError: It failed or was cancelled, and ``raise_on_failure`` is set.
        """
        checks.some_seconds(timeout, "timeout")
        checks.some_seconds(interval, "interval")
        started = await self.execute_flow(
            flow_id,
            input_data,
            metadata,
            priority=priority,
            flow_version=flow_version,
            user_id=user_id,
            idempotency_key=idempotency_key,
        )
        return await self.wait_for_execution(started.execution_id, timeout, interval, raise_on_failure=raise_on_failure)

    async def cancel_execution(
        self,
        execution_id: str,
        reason: Optional[str] = None,
        *,
        timeout: Optional[float] = None,
    ) -> Cancelled:
        """End an execution; no call to an agent leaves for it any more. Again is no error.

        Args:
            execution_id: Which execution.
            reason: Why, for whoever reads its history.
            timeout: Seconds for this call instead of the client's.

        Raises:
            ConflictError: It completed or failed before.
        """
        segments = ("executions", checks.an_id(execution_id, "execution_id"), "cancel")
        body = without_nones({"reason": reason})
        return await self._model(Cancelled, request("POST", *segments, json=body, idempotent=True), timeout)

    async def cancel_executions(
        self,
        execution_ids: Sequence[str],
        reason: Optional[str] = None,
        *,
        timeout: Optional[float] = None,
    ) -> CancelledMany:
        """End many executions with one request: ``cancelled``, and ``refused`` with the reason for each.

        Args:
            execution_ids: Which executions, 1 to 500.
            reason: Why, for whoever reads their histories.
            timeout: Seconds for this call instead of the client's.
        """
        if isinstance(execution_ids, str) or not 0 < len(execution_ids) <= _MOST_AT_ONCE:
            checks.refuse("execution_ids", f"must be a list of 1 to {_MOST_AT_ONCE} ids.")
        ids = [checks.an_id(one, "execution_ids") for one in execution_ids]
        body = {"execution_ids": ids, **without_nones({"reason": reason})}
        asked = request("POST", "executions", "cancel", json=body, idempotent=True)
        return await self._model(CancelledMany, asked, timeout)

    def list_executions(
        self,
        *,
        flow_id: Optional[str] = None,
        status: Optional[str] = None,
        agent_id: Optional[str] = None,
        created_after: Union[str, datetime, None] = None,
        created_before: Union[str, datetime, None] = None,
        metadata: Optional[Mapping[str, str]] = None,
        q: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        offset: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Pages[ExecutionPage, Execution]:
        """Executions, newest first: ``async for`` gives all of them, ``await`` the first page.

        Args:
            flow_id: Only of this flow.
            status: Only in this state.
            agent_id: Only those with a step of this agent.
            created_after: Only newer ones.
            created_before: Only older ones.
            metadata: Only those with these labels.
            q: Only those whose id begins with this, or that have it in their flow id, user id or error.
            limit: How many on a page, 1 to 500.
            cursor: ``next_cursor`` of a page, to go on from there.
            offset: How many to leave out first.
            timeout: Seconds for each page instead of the client's.
        """
        query: Dict[str, Any] = {
            "flow_id": None if flow_id is None else checks.an_id(flow_id, "flow_id"),
            "status": None if status is None else checks.one_of(status, "status", checks.EXECUTION_STATUSES),
            "agent_id": None if agent_id is None else checks.an_id(agent_id, "agent_id"),
            "created_after": created_after,
            "created_before": created_before,
            "q": None if q is None else checks.some_text(q, "q"),
            "limit": checks.a_number(limit, "limit", 1, 500),
        }
        query.update({f"metadata.{name}": value for name, value in (metadata or {}).items()})
        first = {"cursor": cursor, "offset": checks.a_number(offset, "offset", 0, 100_000)}

        async def fetch(after: Optional[str]) -> ExecutionPage:
            place = first if after is None else {"cursor": after}
            asked = request("GET", "executions", query={**query, **place})
            return await self._listed(ExecutionPage, "executions", asked, timeout)

        return Pages(fetch, lambda page: page.executions, lambda page, _: page.next_cursor)

    async def get_execution_results(
        self,
        execution_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> ExecutionResults:
        """An execution with ``node_results``: what each node was given and what it returned.

        Args:
            execution_id: Which execution.
            timeout: Seconds for this call instead of the client's.
        """
        asked = request("GET", "executions", checks.an_id(execution_id, "execution_id"), "results")
        return await self._model(ExecutionResults, asked, timeout)

    async def list_messages(
        self,
        execution_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> MessageList:
        """What travelled along the edges of an execution's flow: ``messages`` and ``count``.

        Args:
            execution_id: Which execution.
            timeout: Seconds for this call instead of the client's.
        """
        asked = request("GET", "executions", checks.an_id(execution_id, "execution_id"), "messages")
        return await self._listed(MessageList, "messages", asked, timeout)

    async def get_message(
        self,
        message_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> Message:
        """One message.

        Args:
            message_id: Its id, as :meth:`list_messages` has it.
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(Message, request("GET", "messages", checks.a_token(message_id, "message_id")), timeout)

    async def get_execution_events(
        self,
        execution_id: str,
        *,
        after: int = 0,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> EventPage:
        """A page of the execution's history: ``events`` numbered above ``after``, and ``next_after``.

        Args:
            execution_id: Which execution.
            after: Only events above this number.
            limit: How many, 1 to 500.
            timeout: Seconds for this call instead of the client's.
        """
        query = {"after": checks.a_number(after, "after", 0, 2**53), "limit": checks.a_number(limit, "limit", 1, 500)}
        asked = request("GET", "executions", checks.an_id(execution_id, "execution_id"), "events", query=query)
        return await self._model(EventPage, asked, timeout)

    def stream_events(self, execution_id: str, *, after: int = 0) -> EventStream:
        """The execution's events as they happen, until it has ended: ``async for event in client.stream_events(id)``.

        The stream mends itself: when the connection breaks it goes on after the last event, none lost and none twice.

        Args:
            execution_id: Which execution.
            after: Only events above this number; 0 for all from the beginning.

        Returns:
            A stream to iterate over once; ``last_seq`` is where it stands, ``final_status`` how the execution ended.
        """
        checks.an_id(execution_id, "execution_id")
        checks.a_number(after, "after", 0, 2**53)

        def ask(last: int) -> Request:
            headers = {"Accept": f"{EVENT_STREAM}, {JSON};q=0.5", "Last-Event-ID": str(last) if last else None}
            query = {"after": last or None}
            return request("GET", "executions", execution_id, "events", query=query, headers=headers)

        return EventStream(self._transport, ask, after)


def _look(execution_id: str, wait: Optional[float]) -> Request:
    query = {"wait": checks.some_seconds(wait, "wait", zero=True)}
    segments = ("executions", checks.an_id(execution_id, "execution_id"))
    return request("GET", *segments, query=query, extra_seconds=wait or 0.0)
