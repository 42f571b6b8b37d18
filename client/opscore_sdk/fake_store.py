"""The memory of the fake server of :mod:`opscore_sdk.testing`."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from opscore_sdk.fake_runs import FakeExecution, FakeFlow, Journal, Json, now

LOG_FIELDS = (
    "event", "logger", "execution_id", "flow_id", "node_id", "agent_id", "attempt", "request_id", "trace_id",
    "error_code", "duration_ms",
)  # fmt: skip
"""What an entry of the log may be about; everything else is among its ``fields``."""


class RecordedRequest(NamedTuple):
    """One request that the fake server got."""

    method: str
    path: str
    """Without ``/api/v1``."""
    query: Dict[str, str]
    headers: Mapping[str, str]
    """Names in any case."""
    body: Any
    """JSON as data, anything else as text, nothing as None."""


class KeyReused(Exception):
    """An idempotency key came back with another request."""


class FakeStore:
    """Flows, scripts, executions, agents and reports; events of all executions, and log entries."""

    def __init__(self) -> None:
        self.flows: Dict[str, List[Json]] = {}
        self.scripts: Dict[str, FakeFlow] = {}
        self.executions: Dict[str, FakeExecution] = {}
        self.agents: Dict[str, Json] = {}
        self.reports: Dict[str, List[Json]] = {}
        self.feed = Journal()
        self.logs = Journal()
        self._starts: Dict[str, Tuple[Any, str]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.drop()
        for part in (self.flows, self.scripts, self.executions, self.agents, self.reports, self._starts):
            part.clear()
        self.feed, self.logs = Journal(), Journal()

    def drop(self) -> None:
        """Stop what runs."""
        for execution in self.executions.values():
            execution.drop()

    def put_flow(self, definition: Mapping[str, Any]) -> Json:
        """Keep the next version of a flow."""
        versions = self.flows.setdefault(definition["flow_id"], [])
        first = versions[0]["created_at"] if versions else now()
        stored = {**definition, "flow_version": len(versions) + 1, "created_at": first, "updated_at": now()}
        versions.append(stored)
        return stored

    def start(self, flow_id: str, given: Mapping[str, Any], key: Optional[str], agent_id: Optional[str]) -> Json:
        """Start an execution, or find the one that was started with this key.

        Raises:
            KeyReused: The key was used for something else.
        """
        if key is not None and key in self._starts:
            before, execution_id = self._starts[key]
            if before != (flow_id, given, agent_id):
                raise KeyReused
            return self.executions[execution_id].record
        versions = self.flows[flow_id]
        version = int(given.get("flow_version") or len(versions))
        execution = FakeExecution(flow_id, version, given, agent_id, self.tell)
        self.executions[execution.execution_id] = execution
        if key is not None:
            self._starts[key] = ((flow_id, given, agent_id), execution.execution_id)
        accepted = dict(execution.record)
        nodes = versions[-1].get("nodes") or [{"id": "main"}]
        echo = FakeFlow(flow_id, lambda data: {str(nodes[-1]["id"]): data}, held=False)
        execution.start(self.scripts.get(flow_id, echo))
        return accepted

    def new_agent(self, given: Mapping[str, Any]) -> Json:
        """An agent as the API shows one that has just registered."""
        moment = now()
        return {
            "agent_id": given["agent_id"],
            "name": given.get("name") or given["agent_id"],
            "description": given.get("description") or "",
            "endpoint": given.get("endpoint"),
            "protocol": given.get("protocol") or "spine",
            "capabilities": list(given.get("capabilities") or ()),
            "agent_type": given.get("agent_type") or "processor",
            "version": given.get("version"),
            "is_active": given.get("is_active", True),
            "status": "active",
            "condition": "unknown",
            "state": "unknown",
            "state_details": {},
            "state_timestamp": None,
            "last_seen": None,
            "health": {"status": "unknown", "message": None, "checked_at": None, "latency_ms": None},
            "breaker": {"state": "closed", "failures": 0, "reason": None, "since": None, "retry_at": None},
            "task_id": None,
            "source": "api",
            "max_concurrency": given.get("max_concurrency"),
            "in_flight": 0,
            "metadata": dict(given.get("metadata") or {}),
            "created_at": moment,
            "updated_at": moment,
        }

    def report(self, agent_id: str, report: Mapping[str, Any]) -> None:
        """Keep what an agent says of its state."""
        kept = {
            "state": report["state"],
            "details": dict(report.get("details") or {}),
            "timestamp": report.get("timestamp") or now(),
            "received_at": now(),
        }
        self.reports.setdefault(agent_id, []).append(kept)
        if kept["state"] != self.agents[agent_id]["state"]:
            told = {"state": kept["state"], "timestamp": kept["timestamp"]}
            about = {"seq": None, "execution_id": None, "flow_id": None, "agent_id": agent_id}
            self.tell({**about, "type": "agent.state", "at": kept["received_at"], "data": told})
        self.agents[agent_id].update(
            state=kept["state"],
            state_details=kept["details"],
            state_timestamp=kept["timestamp"],
            last_seen=kept["received_at"],
            status="error" if kept["state"] in ("error", "offline") else "active",
            condition="working" if kept["state"] == "active" else kept["state"],
        )

    def tell(self, event: Json) -> None:
        """Note an event among those of all executions and agents."""
        self.feed.add({**event, "position": len(self.feed.entries) + 1})

    def log(self, message: str, level: str, fields: Mapping[str, Any]) -> None:
        """Note a log entry."""
        entry: Json = {name: fields.get(name) for name in LOG_FIELDS}
        entry["fields"] = {name: value for name, value in fields.items() if name not in LOG_FIELDS}
        entry.update(log_id=len(self.logs.entries) + 1, timestamp=now(), level=level.upper(), message=message)
        self.logs.add(entry)
