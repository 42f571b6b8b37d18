"""From changes to statements: what a unit of the engine means in SQL.

Each unit begins with one guarded statement on the execution's row, which also numbers the unit's events:
a unit that builds on another history than the stored one touches no row and fails as stale.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from opscore.domain import executions as x
from opscore.domain.agents import Report
from opscore.domain.documents import encode_json
from opscore.domain.events import TAKEN, describe, state_data
from opscore.store.sqlite import Write


class Translator:
    """Turns units into writes."""

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql
        self._insert_event = sql["insert_event"]
        self._append_unit = sql["append_unit"]
        self._by_type: Mapping[type, Callable[[x.Unit, Any], list[Write]]] = {
            x.StepStarted: self._step_started,
            x.StepAccepted: self._step_accepted,
            x.AgentReported: self._agent_reported,
            x.StepWaits: self._step_waits,
            x.StepCompleted: self._step_completed,
            x.StepFailed: self._step_failed,
            x.StepSkipped: self._step_skipped,
        }

    def writes(self, unit: x.Unit) -> list[Write]:
        """The statements of a unit, in order."""
        writes = self._execution(unit)
        seq = unit.expected_seq
        for change in unit.changes:
            translate = self._by_type.get(type(change))
            if translate is not None:
                writes += translate(unit, change)
            seq += 1
            writes.append(self._event(unit, seq, change))
        if isinstance(unit.changes[-1], x.Finished) and unit.changes[-1].status != "completed":
            # Last, so that the step whose failure ends the execution has failed before the others are cancelled.
            params = {"execution_id": unit.execution_id, "at": unit.at}
            writes.append((self._sql["cancel_open_steps"], params, False))
        place = {"event_count": len(unit.changes), "execution_id": unit.execution_id, "last_seq": seq}
        writes.append((self._append_unit, place, False))
        return writes

    def _event(self, unit: x.Unit, seq: int, change: x.Change) -> Write:
        kind, data = describe(change)
        params = {
            "execution_id": unit.execution_id,
            "seq": seq,
            "type": kind,
            "node_id": getattr(change, "node_id", None),
            "agent_id": getattr(change, "agent_id", None),
            "attempt": getattr(change, "attempt", None),
            "at": unit.at,
            "data": encode_json(data) if data else "{}",
        }
        return (self._insert_event, params, False)

    def _execution(self, unit: x.Unit) -> list[Write]:
        """The guarded statement on the execution's own row."""
        begins = False
        finished: Optional[x.Finished] = None
        for change in unit.changes:
            if isinstance(change, x.Started):
                begins = True
            elif isinstance(change, x.Finished):
                finished = change
        first = unit.changes[0]
        params: dict[str, Any] = {
            "execution_id": unit.execution_id,
            "expected_seq": unit.expected_seq,
            "last_seq": unit.expected_seq + len(unit.changes),
            "at": unit.at,
        }
        if isinstance(first, x.Accepted):
            writes = self._accepted(first, params, begins=begins)
        elif begins or finished is None:
            writes = [(self._sql["begin_execution" if begins else "touch_execution"], params, True)]
        else:
            return self._finished(finished, params)
        if finished is not None:  # it ends as it begins: there was nothing to do
            writes += self._finished(finished, {**params, "expected_seq": params["last_seq"]})
        return writes

    def _accepted(self, change: x.Accepted, params: dict[str, Any], *, begins: bool) -> list[Write]:
        new = change.execution
        row = {
            "execution_id": new.execution_id,
            "flow_id": new.flow_id,
            "flow_version": new.flow_version,
            "status": "running" if begins else "pending",
            "priority": new.priority,
            "last_seq": params["last_seq"],
            "created_at": new.created_at,
            "started_at": params["at"] if begins else None,
            "deadline_at": new.deadline_at,
            "user_id": new.user_id,
            "agent_id": new.agent_id,
            "metadata": new.metadata,
            "trace_context": None if new.caller is None else new.caller.text,
        }
        body = {"execution_id": new.execution_id, "body": new.input}
        writes: list[Write] = [
            (self._sql["insert_execution"], row, False),
            (self._sql["insert_input"], body, False),
        ]
        if change.idempotency is not None:
            key = {
                "key": change.idempotency.key,
                "fingerprint": change.idempotency.fingerprint,
                "execution_id": new.execution_id,
                "expires_at": change.idempotency.expires_at,
                "now": params["at"],
            }
            writes.append((self._sql["forget_expired_key"], key, False))
            writes.append((self._sql["insert_idempotency_key"], key, False))
        return writes

    def _finished(self, change: x.Finished, params: dict[str, Any]) -> list[Write]:
        params["status"] = change.status
        params["error_code"] = change.error_code
        params["error_message"] = change.error_message
        params["seconds"] = change.seconds
        writes: list[Write] = [
            (self._sql["finish_execution"], params, True),
            (self._sql["count_finished"], params, True),
        ]
        for name, agents in (("close_task", change.closes), ("abandon_task", change.abandons)):
            for agent_id in agents:
                task = {"agent_id": agent_id, "execution_id": params["execution_id"]}
                writes.append((self._sql[name], task, False))
        return writes

    def _step_started(self, unit: x.Unit, change: x.StepStarted) -> list[Write]:
        if change.is_new:
            write = self._new_step(unit, change, "running", attempt=change.attempt, started_at=unit.at)
        else:
            write = (self._sql["start_step"], _step(unit, change), True)
        if change.task_until is None:
            return [write]
        return [write, (self._sql["open_task"], {**_step(unit, change), "until": change.task_until}, True)]

    def _step_accepted(self, unit: x.Unit, change: x.StepAccepted) -> list[Write]:
        params = {**_step(unit, change), "until": change.until, "waiting_detail": TAKEN}
        return [(self._sql["accept_step"], params, True), (self._sql["accept_task"], params, True)]

    def _agent_reported(self, unit: x.Unit, change: x.AgentReported) -> list[Write]:
        writes = [self.report(change.report)]
        if change.begun:
            params = {**_step(unit, change), "begun_at": change.report.reported_at}
            writes.append((self._sql["begin_task"], params, True))
        return writes

    def report(self, report: Report) -> Write:
        """The statement that keeps a report."""
        params = {
            "agent_id": report.agent_id,
            "reported_at": report.reported_at,
            "received_at": report.received_at,
            "state": report.state,
            "details": report.details,
            "frees": report.frees,
        }
        return (self._sql["insert_report"], params, False)

    def state(self, report: Report) -> Write:
        """The statement that tells of a change of an agent's state outside any task."""
        data = encode_json(state_data(report.state, report.reported_at))
        return (self._sql["append_state"], {"agent_id": report.agent_id, "at": report.received_at, "data": data}, False)

    def close_task(self, agent_id: str, execution_id: str) -> Write:
        """The statement that forgets an agent's task."""
        return (self._sql["close_task"], {"agent_id": agent_id, "execution_id": execution_id}, False)

    def _closed(self, unit: x.Unit, change: Any) -> list[Write]:
        return [self.close_task(change.closes, unit.execution_id)] if change.closes is not None else []

    def _step_waits(self, unit: x.Unit, change: x.StepWaits) -> list[Write]:
        if change.is_new:
            return [
                self._new_step(
                    unit,
                    change,
                    "waiting",
                    waiting_for=change.reason,
                    waiting_since=unit.at,
                    waiting_until=change.until,
                    waiting_detail=change.detail,
                )
            ]
        params = {
            **_step(unit, change),
            "failures": change.failures,
            "waiting_for": change.reason,
            "waiting_until": change.until,
            "waiting_detail": change.detail or change.error_message,
            "error_code": change.error_code,
            "error_message": change.error_message,
        }
        return [(self._sql["suspend_step"], params, True), *self._closed(unit, change)]

    def _step_completed(self, unit: x.Unit, change: x.StepCompleted) -> list[Write]:
        timing = change.timing
        params = {
            **_step(unit, change),
            "output": change.output,
            "error_code": change.error_code,
            "error_message": change.error_message,
            "queue_us": timing.queue_us,
            "call_us": timing.call_us,
            "commit_us": timing.commit_us,
        }
        return [(self._sql["complete_step"], params, True), *self._closed(unit, change)]

    def _step_failed(self, unit: x.Unit, change: x.StepFailed) -> list[Write]:
        timing = change.timing
        params = {
            **_step(unit, change),
            "failures": change.failures,
            "error_code": change.error_code,
            "error_message": change.error_message,
            "queue_us": timing.queue_us,
            "call_us": timing.call_us,
            "commit_us": timing.commit_us,
        }
        return [(self._sql["fail_step"], params, True), *self._closed(unit, change)]

    def _step_skipped(self, unit: x.Unit, change: x.StepSkipped) -> list[Write]:
        return [self._new_step(unit, change, "skipped", completed_at=unit.at)]

    def _new_step(self, unit: x.Unit, change: Any, status: str, **given: Any) -> Write:
        row = {
            "execution_id": unit.execution_id,
            "node_id": change.node_id,
            "agent_id": change.agent_id,
            "status": status,
            "is_exit": change.is_exit,
            "attempt": 0,
            "failures": 0,
            "at": unit.at,
            "started_at": None,
            "completed_at": None,
            "waiting_for": None,
            "waiting_since": None,
            "waiting_until": None,
            "waiting_detail": None,
        }
        row.update(given)
        return (self._sql["insert_step"], row, False)


def _step(unit: x.Unit, change: Any) -> dict[str, Any]:
    return {
        "execution_id": unit.execution_id,
        "node_id": change.node_id,
        "agent_id": change.agent_id,
        "attempt": change.attempt,
        "at": unit.at,
    }
