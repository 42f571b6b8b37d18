"""Workflow definitions of the Ops-Core dialect: tasks in a row, read as flows.

One engine runs both, so a workflow is stored as the flow that it means: a node for each task, each depending on the
one before. The order of the tasks is ``nextTaskId`` where it is given, else that of the list.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from opscore.domain.agents import is_id
from opscore.domain.errors import InvalidFlow
from opscore.domain.flows import LONGEST_CAPABILITY, MAX_ATTEMPTS, MAX_NODES
from opscore.domain.spelling import nearest

_TASK_FIELDS = frozenset((
    "taskId", "name", "description", "agentId", "agentCapability", "parameters", "nextTaskId", "maxRetries",
    "timeoutSeconds", "metadata", "fallbackAgentId", "fallbackOutput",
))  # fmt: skip
_YEAR = 366 * 86_400


def is_workflow(document: Any) -> bool:
    """Whether a document is a workflow definition and not a flow."""
    return isinstance(document, dict) and "tasks" in document and "nodes" not in document


def to_definition(document: Any) -> dict[str, Any]:
    """The flow definition that a workflow definition means.

    Raises:
        InvalidFlow: It cannot run; all findings are in ``details`` by place (``tasks[1].nextTaskId``).
    """
    return _Reader().read(document)


class _Reader:
    """Reads one definition and gathers findings on the way."""

    def __init__(self) -> None:
        self._errors: dict[str, list[str]] = {}

    def read(self, given: Any) -> dict[str, Any]:
        definition = self._definition(given)
        if self._errors:
            first = next(iter(self._errors.values()))[0]
            more = sum(map(len, self._errors.values())) - 1
            raise InvalidFlow(f"{first} ({more} more)" if more else first, details=self._errors)
        return definition

    def _error(self, place: str, text: str) -> None:
        self._errors.setdefault(place, []).append(text)

    def _definition(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, dict):
            self._error("", "A workflow definition must be an object.")
            return {}
        if not is_id(given.get("id")):
            self._error("id", "id must be 1 to 100 letters, digits, '_' or '-'.")
        for field in ("name", "description", "version"):
            if given.get(field) is not None and not isinstance(given[field], str):
                self._error(field, f"{field} must be text.")
        metadata = given.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            self._error("metadata", "metadata must be an object.")
        tasks = self._tasks(given.get("tasks"))
        order = self._order(tasks) if not self._errors else []
        definition = {"flow_id": given.get("id"), "kind": "workflow"}
        for field in ("name", "description", "version", "metadata"):
            if given.get(field) is not None:
                definition[field] = given[field]
        definition["nodes"] = [
            _node(tasks[task_id], order[index - 1] if index else None) for index, task_id in enumerate(order)
        ]
        return definition

    def _tasks(self, listed: Any) -> dict[str, Mapping[str, Any]]:
        if not isinstance(listed, list):
            self._error("tasks", "tasks must be a list.")
            return {}
        if len(listed) > MAX_NODES:
            self._error("tasks", f"A workflow has at most {MAX_NODES} tasks; this one has {len(listed)}.")
            return {}
        tasks: dict[str, Mapping[str, Any]] = {}
        places: dict[str, int] = {}
        for index, task in enumerate(listed):
            place = f"tasks[{index}]"
            if not isinstance(task, dict):
                self._error(place, f"{place}: a task must be an object.")
                continue
            task_id = task.get("taskId")
            if not isinstance(task_id, str) or not is_id(task_id):
                self._error(f"{place}.taskId", f"{place}: taskId must be 1 to 100 letters, digits, '_' or '-'.")
                continue
            if places.setdefault(task_id, index) != index:
                text = f'The taskId "{task_id}" is taken by tasks[{places[task_id]}] already.'
                self._error(f"{place}.taskId", text)
                continue
            self._task(task, place, f'Task "{task_id}"')
            tasks[task_id] = task
        self._targets(tasks, places)
        return tasks

    def _task(self, task: Mapping[str, Any], place: str, named: str) -> None:
        for field, rule, fits in _RULES:
            if task.get(field) is not None and not fits(task[field]):
                self._error(f"{place}.{field}", f"{named}: {field} must be {rule}.")
        for field in task:
            hint = nearest(field, _TASK_FIELDS) if field not in _TASK_FIELDS else ""
            if hint:
                self._error(f"{place}.{field}", f'{named}: unknown field "{field[:100]}"{hint}')

    def _targets(self, tasks: Mapping[str, Mapping[str, Any]], places: Mapping[str, int]) -> None:
        for task_id, task in tasks.items():
            target = task.get("nextTaskId")
            if target is not None and not (isinstance(target, str) and target in tasks):
                hint = nearest(target, tasks) or "."
                text = f'Task "{task_id}": nextTaskId names the unknown task "{str(target)[:100]}"{hint}'
                self._error(f"tasks[{places[task_id]}].nextTaskId", text)

    def _order(self, tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The tasks in the order in which they run."""
        listed = list(tasks)
        following: dict[str, str] = dict(zip(listed, listed[1:]))
        named = {task["nextTaskId"] for task in tasks.values() if task.get("nextTaskId")}
        if not listed:
            return []
        current: Optional[str] = next((task_id for task_id in listed if task_id not in named), None)
        order: list[str] = []
        while current is not None and current not in order:
            order.append(current)
            told = tasks[current].get("nextTaskId")
            if told in order:
                break
            beside = following.get(current)
            current = told or (beside if beside not in order else None)
        told = tasks[order[-1]].get("nextTaskId") if order else listed[0]
        if told:
            self._error("tasks", f'The tasks run in a circle: nextTaskId leads back to "{told}".')
        for task_id in listed:
            if order and task_id not in order and not told:
                self._error("tasks", f'Task "{task_id}" is never reached: no task leads to it.')
        return order


def _node(task: Mapping[str, Any], before: Optional[str]) -> dict[str, Any]:
    node: dict[str, Any] = {"id": task["taskId"], "type": "processor"}
    if task.get("agentId") is not None:
        node["agent_id"] = task["agentId"]
    elif task.get("agentCapability") is not None:
        node["capability"] = task["agentCapability"]
    for field, ours in (("name", "name"), ("description", "description"), ("parameters", "config")):
        if task.get(field):
            node[ours] = task[field]
    if before is not None:
        node["depends_on"] = [before]
    if task.get("maxRetries") is not None:
        node["retry"] = {"max_attempts": task["maxRetries"] + 1}
    if task.get("timeoutSeconds") is not None:
        node["timeout"] = task["timeoutSeconds"]
    if task.get("fallbackAgentId") is not None:
        node["on_error"] = {"agent_id": task["fallbackAgentId"]}
    elif task.get("fallbackOutput") is not None:
        node["on_error"] = {"output": task["fallbackOutput"]}
    return node


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_RULES = (
    ("name", "text", _is_text),
    ("description", "text", _is_text),
    ("agentId", "1 to 100 letters, digits, '_' or '-'", is_id),
    (
        "agentCapability",
        f"text of 1 to {LONGEST_CAPABILITY} characters",
        lambda value: isinstance(value, str) and 0 < len(value) <= LONGEST_CAPABILITY,
    ),
    ("parameters", "an object", _is_object),
    (
        "maxRetries",
        f"a whole number from 0 to {MAX_ATTEMPTS - 1}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_ATTEMPTS,
    ),
    (
        "timeoutSeconds",
        "a number of seconds above 0, at most a year",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _YEAR,
    ),
    ("fallbackAgentId", "1 to 100 letters, digits, '_' or '-'", is_id),
    ("fallbackOutput", "an object", _is_object),
)
