"""The asynchronous client."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Type, Union

from opscore_sdk.errors import OpsCoreConfigurationError, OpsCoreTimeoutError
from opscore_sdk.transport import Transport
from opscore_sdk.wire import DEFAULT_URL, base_address, credentials, definition_body, request, without_nones

if TYPE_CHECKING:
    from typing_extensions import Self

Json = Dict[str, Any]
Definition = Union[Mapping[str, Any], str]
"""A flow: its data, or YAML text."""

FINAL = frozenset({"completed", "failed", "cancelled"})
_FIRST_PAUSE = 0.05


class OpsCoreClientAsync:
    """Talks to one Ops-Core server. Use it as an async context manager, or close it.

    Every method returns the JSON of the answer and raises :class:`OpsCoreApiError` when the server says no,
    :class:`OpsCoreTimeoutError` when it does not answer in time and :class:`OpsCoreConnectionError` when it
    cannot be reached.
    """

    def __init__(self, base_url: Optional[str] = None, api_key: Optional[str] = None, timeout: float = 30.0) -> None:
        """Choose the server; nothing is connected yet.

        Args:
            base_url: The server; by default ``OPSCORE_API_URL``, or else http://127.0.0.1:8000.
            api_key: The key; by default ``OPSCORE_API_KEY``. An empty text sends none.
            timeout: Seconds for one request, its answer included.

        Raises:
            OpsCoreConfigurationError: The address, the key or the time could not work.
        """
        if not 0 < timeout < float("inf"):
            raise OpsCoreConfigurationError("timeout must be a number of seconds above 0.")
        self.base_url = base_address(base_url or os.environ.get("OPSCORE_API_URL") or DEFAULT_URL)
        key = os.environ.get("OPSCORE_API_KEY") if api_key is None else api_key
        self._transport = Transport(self.base_url, credentials(key), timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # -- executions ------------------------------------------------------------------------------

    async def execute_flow(
        self,
        flow_id: str,
        input_data: Optional[Mapping[str, Any]] = None,
        *,
        metadata: Optional[Mapping[str, Any]] = None,
        priority: Optional[int] = None,
        timeout: Optional[float] = None,
        flow_version: Optional[int] = None,
        user_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        wait: Optional[float] = None,
    ) -> Json:
        """Start a flow; the execution is durable when this returns.

        Args:
            flow_id: Which flow.
            input_data: What its first nodes get.
            metadata: Labels to find the execution by.
            priority: 0 to 10, higher first; by default the flow's own.
            timeout: Seconds for the whole execution.
            flow_version: Which version; by default the newest.
            user_id: On whose behalf.
            idempotency_key: The same key and request give the same execution for 24 hours.
            wait: Seconds to wait for the end before answering.

        Returns:
            ``execution_id``, ``flow_id``, ``flow_version``, ``status`` and more; with ``wait`` the
            execution as it then stands.
        """
        optional = {
            "metadata": metadata,
            "priority": priority,
            "timeout": timeout,
            "flow_version": flow_version,
            "user_id": user_id,
        }
        body = {"flow_id": flow_id, "input_data": dict(input_data or {}), **without_nones(optional)}
        return await self._send(
            "POST",
            "flows",
            "execute",
            json=body,
            query={"wait": wait},
            headers={"Idempotency-Key": idempotency_key},
            extra_seconds=wait or 0.0,
        )

    async def get_execution(self, execution_id: str) -> Json:
        """One execution as it stands now."""
        return await self._send("GET", "executions", execution_id)

    async def wait_for_execution(
        self, execution_id: str, *, timeout: Optional[float] = None, poll_interval: float = 0.5
    ) -> Json:
        """The execution once it has ended.

        Args:
            execution_id: Which execution.
            timeout: Seconds to wait at most; by default for ever.
            poll_interval: Seconds between two looks; the first looks come sooner.

        Raises:
            OpsCoreTimeoutError: It has not ended in time; it goes on.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        pause = min(_FIRST_PAUSE, poll_interval)
        while True:
            execution = await self.get_execution(execution_id)
            if execution.get("status") in FINAL:
                return execution
            if deadline is not None and clock() + pause > deadline:
                raise OpsCoreTimeoutError(
                    f"Execution {execution_id} is still {execution.get('status')} after {timeout:g} seconds."
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, poll_interval)

    async def cancel_execution(self, execution_id: str, reason: Optional[str] = None) -> Json:
        """End an execution; no call to an agent leaves for it any more. Again is no error."""
        return await self._send("POST", "executions", execution_id, "cancel", json=without_nones({"reason": reason}))

    async def list_executions(
        self,
        *,
        flow_id: Optional[str] = None,
        status: Optional[str] = None,
        agent_id: Optional[str] = None,
        created_after: Optional[str] = None,
        created_before: Optional[str] = None,
        metadata: Optional[Mapping[str, str]] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        offset: Optional[int] = None,
    ) -> Json:
        """A page of executions, newest first: ``executions``, ``count`` and ``next_cursor`` for the next page."""
        query: Dict[str, Any] = {
            "flow_id": flow_id,
            "status": status,
            "agent_id": agent_id,
            "created_after": created_after,
            "created_before": created_before,
            "limit": limit,
            "cursor": cursor,
            "offset": offset,
        }
        query.update({f"metadata.{name}": value for name, value in (metadata or {}).items()})
        return await self._send("GET", "executions", query=query)

    async def get_execution_results(self, execution_id: str) -> Json:
        """An execution with ``node_results``: what each node was given and what it returned."""
        return await self._send("GET", "executions", execution_id, "results")

    async def get_execution_events(self, execution_id: str, *, after: int = 0, limit: Optional[int] = None) -> Json:
        """A page of the execution's history: ``events`` numbered above ``after``, and ``next_after``."""
        query = {"after": after, "limit": limit}
        return await self._send("GET", "executions", execution_id, "events", query=query)

    # -- flows -----------------------------------------------------------------------------------

    async def list_flows(self) -> Json:
        """All flows in their newest version: ``flows`` and ``count``."""
        return await self._send("GET", "flows")

    async def get_flow(self, flow_id: str, version: Optional[int] = None) -> Json:
        """A flow's definition, by default the newest."""
        return await self._send("GET", "flows", flow_id, query={"version": version})

    async def create_flow(self, definition: Definition) -> Json:
        """Store a new flow. The same definition again changes nothing; another one under its id is a conflict."""
        return await self._send("POST", "flows", **definition_body(definition))

    async def update_flow(self, flow_id: str, definition: Definition) -> Json:
        """Store the next version of a flow; executions that run keep theirs."""
        return await self._send("PUT", "flows", flow_id, **definition_body(definition))

    async def validate_flow(self, definition: Definition) -> Json:
        """Check a definition without storing it: ``valid``, ``errors`` and ``warnings``."""
        return await self._send("POST", "flows", "validate", **definition_body(definition))

    # -- agents ----------------------------------------------------------------------------------

    async def list_agents(self, *, active_only: bool = False) -> Json:
        """All agents, or those that may be given work: ``agents`` and ``count``."""
        return await self._send("GET", "agents", *(["active"] if active_only else []))

    async def create_agent(
        self,
        agent_id: str,
        endpoint: Optional[str] = None,
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        protocol: Optional[str] = None,
        capabilities: Optional[Sequence[str]] = None,
        agent_type: Optional[str] = None,
        version: Optional[str] = None,
        max_concurrency: Optional[int] = None,
        metadata: Optional[Mapping[str, Any]] = None,
    ) -> Json:
        """Register an agent. The same registration again changes nothing; another one is a conflict."""
        optional = {
            "endpoint": endpoint,
            "description": description,
            "protocol": protocol,
            "capabilities": None if capabilities is None else list(capabilities),
            "agent_type": agent_type,
            "version": version,
            "max_concurrency": max_concurrency,
            "metadata": metadata,
        }
        body = {"agent_id": agent_id, "name": name or agent_id, **without_nones(optional)}
        return await self._send("POST", "agents", json=body)

    async def delete_agent(self, agent_id: str) -> Json:
        """Forget an agent; nodes that still need it will fail."""
        return await self._send("DELETE", "agents", agent_id)

    # -- keys ------------------------------------------------------------------------------------

    async def create_key(self, name: str, scopes: Sequence[str] = ("read", "write")) -> Json:
        """Make an API key (scopes: read, write, admin). ``key`` is in this answer and never again."""
        return await self._send("POST", "keys", json={"name": name, "scopes": list(scopes)})

    async def list_keys(self) -> Json:
        """All keys there ever were, without the keys themselves: ``keys`` and ``count``."""
        return await self._send("GET", "keys")

    async def revoke_key(self, key_id: str) -> Json:
        """Revoke a key, at once. Again is no error."""
        return await self._send("DELETE", "keys", key_id)

    # -- the server ------------------------------------------------------------------------------

    async def health_check(self) -> Json:
        """Whether the server is there, and its version; needs no key."""
        return await self._send("GET", "health")

    async def get_status(self) -> Json:
        """The server at a glance: components, and counts of agents, flows and executions."""
        return await self._send("GET", "status")

    async def get_metrics(self) -> Json:
        """Counts and times over all executions."""
        return await self._send("GET", "metrics")

    async def _send(self, method: str, *segments: str, **parts: Any) -> Json:
        answer: Json = await self._transport.send(request(method, *segments, **parts))
        return answer
