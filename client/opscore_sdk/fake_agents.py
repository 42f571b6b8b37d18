"""Agents, sessions and the server itself, of the fake server of :mod:`opscore_sdk.testing`, over HTTP."""

from __future__ import annotations

from collections import Counter
from typing import List

from aiohttp import web

from opscore_sdk._version import __version__
from opscore_sdk.fake_flows import started
from opscore_sdk.fake_http import Problem, Route, invalid, json_body, reply
from opscore_sdk.fake_runs import Json, now
from opscore_sdk.fake_store import FakeStore

STATES = ("initializing", "idle", "active", "error", "finished", "offline")
STATUSES = ("pending", "running", "paused", "completed", "failed", "cancelled")

_SPEC = ("endpoint", "capabilities", "name", "description", "protocol", "version", "max_concurrency", "metadata")


class AgentRoutes:
    """Agents, what they report, and their sessions."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def table(self) -> List[Route]:
        """All routes."""
        agent = "/v1/opscore/agent/{agent_id}"
        return [
            ("GET", "/agents", self.list_agents),
            ("POST", "/agents", self.create_agent),
            ("GET", "/agents/active", self.list_active),
            ("POST", "/agents/test", self.test_agent),
            ("GET", "/agents/{agent_id}", self.get_agent),
            ("DELETE", "/agents/{agent_id}", self.delete_agent),
            ("GET", "/agents/{agent_id}/history", self.history),
            ("POST", agent + "/state", self.report),
            ("GET", agent + "/state", self.state),
            ("POST", agent + "/workflow", self.trigger),
            ("GET", "/v1/opscore/session/{session_id}", self.session),
        ]

    async def list_agents(self, request: web.Request) -> web.Response:
        """All, or those in a state or with a capability."""
        query = request.query
        found = [
            agent
            for _, agent in sorted(self._store.agents.items())
            if query.get("state", agent["state"]) == agent["state"]
            and query.get("capability") in (None, *agent["capabilities"])
        ]
        return reply({"agents": found, "count": len(found)})

    async def list_active(self, _: web.Request) -> web.Response:
        """Those that may be given work."""
        found = [agent for _, agent in sorted(self._store.agents.items()) if agent["is_active"]]
        return reply({"agents": found, "count": len(found)})

    async def create_agent(self, request: web.Request) -> web.Response:
        """201, 200 for the same again, 409 for other data."""
        given = await json_body(request)
        if not isinstance(given.get("agent_id"), str):
            raise invalid("agent_id", "Missing data for required field.")
        made, known = self._store.new_agent(given), self._store.agents.get(given["agent_id"])
        if known is None:
            self._store.agents[made["agent_id"]] = made
            return reply(made, 201)
        if any(known[name] != made[name] for name in _SPEC):
            raise Problem(409, f'The agent "{made["agent_id"]}" is registered with other data.')
        return reply(known)

    async def get_agent(self, request: web.Request) -> web.Response:
        """One agent."""
        return reply(self._agent(request))

    async def delete_agent(self, request: web.Request) -> web.Response:
        """It may register anew."""
        agent_id = self._agent(request)["agent_id"]
        del self._store.agents[agent_id]
        return reply({"message": f"The agent {agent_id} is forgotten.", "status": "deleted"})

    async def test_agent(self, request: web.Request) -> web.Response:
        """Any address is well here; nobody is asked."""
        endpoint = (await json_body(request)).get("endpoint")
        if not isinstance(endpoint, str):
            raise invalid("endpoint", "Missing data for required field.")
        return reply({"connected": True, "message": "The agent is healthy.", "latency_ms": 1.0})

    async def history(self, request: web.Request) -> web.Response:
        """What it reported, newest first."""
        agent_id = self._agent(request)["agent_id"]
        reports = self._store.reports.get(agent_id, [])[::-1]
        more = {"count": len(reports), "limit": len(reports), "next_cursor": None}
        return reply({"agent_id": agent_id, "history": reports, **more})

    async def report(self, request: web.Request) -> web.Response:
        """202, once it is kept."""
        given, agent_id = await json_body(request), request.match_info["agent_id"]
        if given.get("agentId") != agent_id:
            raise invalid("agentId", f'The path says "{agent_id}", the body says "{given.get("agentId")}".')
        if given.get("state") not in STATES:
            raise invalid("state", f"Must be one of {', '.join(STATES)}.")
        self._agent(request)
        self._store.report(agent_id, given)
        return reply({"status": "success", "message": "State update accepted"}, 202)

    async def state(self, request: web.Request) -> web.Response:
        """The present one; 404 for who never reported."""
        agent = self._agent(request)
        if agent["state_timestamp"] is None:
            raise Problem(404, "The agent has not reported its state yet.", "NO_STATE_YET")
        body = {"agentId": agent["agent_id"], "state": agent["state"], "details": agent["state_details"]}
        return reply({**body, "timestamp": agent["state_timestamp"]})

    def _agent(self, request: web.Request) -> Json:
        agent_id = request.match_info["agent_id"]
        if agent_id not in self._store.agents:
            raise Problem(404, f'There is no agent "{agent_id}".', "AGENT_NOT_FOUND")
        return self._store.agents[agent_id]

    # -- sessions --------------------------------------------------------------------------------

    async def trigger(self, request: web.Request) -> web.Response:
        """Start a session: an execution of the workflow, which is a flow."""
        given, agent_id = await json_body(request), self._agent(request)["agent_id"]
        workflow, inline = given.get("workflowDefinitionId"), given.get("workflowDefinition")
        if (workflow is None) == (inline is None):
            raise invalid("workflowDefinitionId", "Give this or workflowDefinition.")
        if inline is not None:
            workflow = str(inline.get("id"))
            nodes = [{"id": task.get("taskId")} for task in inline.get("tasks", [])]
            if workflow not in self._store.flows:
                self._store.put_flow({"flow_id": workflow, "nodes": nodes})
        start = {"input_data": given.get("initialPayload") or {}}
        accepted = started(self._store, request, str(workflow), start, agent_id)
        body = {"sessionId": accepted["execution_id"], "workflowId": workflow, "message": "The workflow is started."}
        return reply(body, 202)

    async def session(self, request: web.Request) -> web.Response:
        """An execution in the other dialect's words."""
        execution = self._store.executions.get(request.match_info["session_id"])
        if execution is None:
            raise Problem(404, "There is no such session.", "EXECUTION_NOT_FOUND")
        record = execution.record
        body = {
            "sessionId": record["execution_id"],
            "workflowId": record["flow_id"],
            "agentId": record["agent_id"],
            "status": "started" if record["status"] == "pending" else record["status"],
            "startTime": record["created_at"],
            "last_updated_time": record["updated_at"],
            "endTime": record["completed_at"],
            "metadata": record["metadata"],
            "result": record["output_data"],
            "error": record["error_message"],
            "errorCode": record["error_code"],
            "traceId": record["trace_id"],
            "tasks": [],
        }
        return reply(body)


class SystemRoutes:
    """Health, status and metrics."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def table(self) -> List[Route]:
        """All routes."""
        return [
            ("GET", "/health", self.health),
            ("GET", "/health/live", self.health),
            ("GET", "/health/ready", self.health),
            ("GET", "/status", self.status),
            ("GET", "/metrics", self.metrics),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """Always well."""
        body = {"status": "healthy", "version": __version__, "timestamp": now(), "uptime_seconds": 1.0}
        return reply(body)

    async def status(self, _: web.Request) -> web.Response:
        """Counts."""
        agents, flows = self._store.agents, self._store.flows
        counts = self._counts()
        active = sum(agent["is_active"] for agent in agents.values())
        body = {
            "status": "operational",
            "components": {"store": "healthy", "engine": "healthy"},
            "agents": {"total": len(agents), "active": active},
            "flows": {"total": len(flows)},
            "executions": {status: counts[status] for status in STATUSES},
            "version": __version__,
            "uptime_seconds": 1.0,
        }
        return reply(body)

    async def metrics(self, _: web.Request) -> web.Response:
        """Totals, as JSON."""
        counts, executions = self._counts(), list(self._store.executions.values())
        spent = [one.record["execution_time"] for one in executions if one.is_final]
        body = {
            "total_executions": len(executions),
            "successful_executions": counts["completed"],
            "failed_executions": counts["failed"],
            "cancelled_executions": counts["cancelled"],
            "running_executions": counts["running"],
            "average_execution_time": sum(spent) / len(spent) if spent else 0.0,
            "total_execution_time": sum(spent),
            "last_execution": executions[-1].record["created_at"] if executions else None,
        }
        return reply(body)

    def _counts(self) -> Counter[str]:
        return Counter(one.record["status"] for one in self._store.executions.values())
