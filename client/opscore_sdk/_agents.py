"""Methods about agents."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from opscore_sdk import checks
from opscore_sdk._calls import Calls
from opscore_sdk.models import Accepted, AgentHistory, AgentInfo, AgentList, AgentState, AgentTest
from opscore_sdk.wire import DIALECT, request, show_instant, without_nones


class AgentMethods(Calls):
    """Register agents, find them, and report their states."""

    async def list_agents(
        self,
        *,
        state: Optional[str] = None,
        capability: Optional[str] = None,
        active_only: bool = False,
        timeout: Optional[float] = None,
    ) -> AgentList:
        """Agents, by id: ``agents`` and ``count``.

        Args:
            state: Only those in this state.
            capability: Only those that can do this.
            active_only: Only those that may be given work.
            timeout: Seconds for this call instead of the client's.
        """
        known = ("unknown", *checks.AGENT_STATES)
        query = {"state": None if state is None else checks.one_of(state, "state", known), "capability": capability}
        asked = request("GET", "agents", *(["active"] if active_only else []), query=query)
        return await self._listed(AgentList, "agents", asked, timeout)

    async def get_agent(
        self,
        agent_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> AgentInfo:
        """One agent: what it is, what it reports, and what was seen of it.

        Args:
            agent_id: Which agent.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: There is no such agent.
        """
        return await self._model(AgentInfo, request("GET", "agents", checks.an_id(agent_id, "agent_id")), timeout)

    async def get_agent_history(
        self,
        agent_id: str,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> AgentHistory:
        """A page of what an agent reported of its state, newest first: ``history`` and ``next_cursor``.

        Args:
            agent_id: Which agent.
            limit: How many, 1 to 500.
            cursor: ``next_cursor`` of the page before.
            timeout: Seconds for this call instead of the client's.
        """
        query = {"limit": checks.a_number(limit, "limit", 1, 500), "cursor": cursor}
        asked = request("GET", "agents", checks.an_id(agent_id, "agent_id"), "history", query=query)
        return await self._listed(AgentHistory, "history", asked, timeout)

    async def create_agent(
        self,
        agent_id: Union[str, Mapping[str, Any]],
        endpoint: Optional[str] = None,
        *,
        name: Optional[str] = None,
        description: Optional[str] = None,
        protocol: Optional[str] = None,
        capabilities: Optional[Sequence[str]] = None,
        agent_type: Optional[str] = None,
        version: Optional[str] = None,
        is_active: Optional[bool] = None,
        max_concurrency: Optional[int] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = None,
    ) -> AgentInfo:
        """Register an agent. The same registration again changes nothing; another one is a conflict.

        Args:
            agent_id: Its id, or a dictionary with all of it.
            endpoint: Where it listens.
            name: What people call it; by default its id.
            description: What it does.
            protocol: How it is called; by default ``spine``.
            capabilities: What it can do.
            agent_type: What kind of agent it is.
            version: Its version.
            is_active: Whether it may be given work.
            max_concurrency: How many calls at once.
            metadata: Whatever else there is to know.
            timeout: Seconds for this call instead of the client's.

        Raises:
            ConflictError: Another agent has this id; delete it first.
        """
        optional = {
            "endpoint": endpoint,
            "name": name,
            "description": description,
            "protocol": protocol,
            "capabilities": None if capabilities is None else _texts(capabilities, "capabilities"),
            "agent_type": agent_type,
            "version": version,
            "is_active": is_active,
            "max_concurrency": checks.a_number(max_concurrency, "max_concurrency", 1, 10_000),
            "metadata": None if metadata is None else dict(checks.an_object(metadata, "metadata")),
        }
        body = {**_described(agent_id), **without_nones(optional)}
        return await self._model(AgentInfo, request("POST", "agents", json=body, idempotent=True), timeout)

    async def delete_agent(
        self,
        agent_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> bool:
        """Forget an agent; nodes that still need it will fail.

        Args:
            agent_id: Which agent.
            timeout: Seconds for this call instead of the client's.

        Returns:
            Whether there was such an agent.
        """
        return await self._gone(request("DELETE", "agents", checks.an_id(agent_id, "agent_id")), timeout)

    async def test_agent(
        self,
        endpoint: str,
        protocol: Optional[str] = None,
        *,
        timeout: Optional[float] = None,
    ) -> AgentTest:
        """Have the server try an endpoint: ``connected``, ``message`` and ``latency_ms``.

        Args:
            endpoint: Where an agent may listen.
            protocol: How it is called; by default ``spine``.
            timeout: Seconds for this call instead of the client's.
        """
        body = without_nones({"endpoint": checks.some_text(endpoint, "endpoint"), "protocol": protocol})
        return await self._model(AgentTest, request("POST", "agents", "test", json=body, idempotent=True), timeout)

    async def update_state(
        self,
        agent_id: str,
        state: str,
        details: Optional[Mapping[str, Any]] = None,
        *,
        timestamp: Union[str, datetime, None] = None,
        timeout: Optional[float] = None,
    ) -> Accepted:
        """Report an agent's state; durable when this returns.

        Args:
            agent_id: Which agent.
            state: initializing, idle, active, error, finished or offline.
            details: What else there is to say, such as ``opscore_task_id`` and ``result``.
            timestamp: When it was so; by default now. A report older than the newest changes nothing.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: The agent is not registered.
        """
        moment = datetime.now(timezone.utc) if timestamp is None else timestamp
        body: Dict[str, Any] = {
            "agentId": checks.an_id(agent_id, "agent_id"),
            "timestamp": show_instant(moment) if isinstance(moment, datetime) else moment,
            "state": checks.one_of(state, "state", checks.AGENT_STATES),
        }
        if details is not None:
            body["details"] = dict(checks.an_object(details, "details"))
        # The same report again has the same instant and says the same.
        report = request("POST", "agent", agent_id, "state", prefix=DIALECT, json=body, idempotent=True)
        return await self._model(Accepted, report, timeout)

    async def get_state(
        self,
        agent_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> AgentState:
        """What an agent last reported: ``agentId``, ``state``, ``details`` and ``timestamp``.

        Args:
            agent_id: Which agent.
            timeout: Seconds for this call instead of the client's.

        Raises:
            NotFoundError: There is no such agent, or it never reported.
        """
        asked = request("GET", "agent", checks.an_id(agent_id, "agent_id"), "state", prefix=DIALECT)
        return await self._model(AgentState, asked, timeout)


def _described(agent: Union[str, Mapping[str, Any]]) -> Dict[str, Any]:
    given = {"agent_id": agent} if isinstance(agent, str) else dict(checks.an_object(agent, "agent_id"))
    agent_id = checks.an_id(given.get("agent_id"), "agent_id")
    return {"name": agent_id, **given}


def _texts(values: Sequence[str], name: str) -> Sequence[str]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        checks.refuse(name, "must be a list of texts.")
    return list(values)
