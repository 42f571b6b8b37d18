from __future__ import annotations

from typing import Any

import pytest

from opscore.domain.errors import InvalidFlow
from opscore.domain.flow_reader import read_flow
from opscore.domain.flows import MAX_NODES
from opscore.domain.workflows import is_workflow, to_definition


def workflow(*tasks: Any, **more: Any) -> dict[str, Any]:
    return {"id": "w", "name": "W", "tasks": list(tasks), **more}


def task(task_id: Any, following: Any = None, **more: Any) -> dict[str, Any]:
    return {"taskId": task_id, **({} if following is None else {"nextTaskId": following}), **more}


ORDERS = [
    ([], ""),
    ([task("a")], "a"),
    ([task("a"), task("b"), task("c")], "abc"),
    ([task("a", "b"), task("b", "c"), task("c")], "abc"),
    ([task("c"), task("a", "b"), task("b", "c")], "abc"),
    ([task("a", "c"), task("b"), task("c", "b")], "acb"),
    ([task("a"), task("b", "d"), task("c"), task("d", "c")], "abdc"),
]

FINDINGS: list[tuple[Any, str, str]] = [
    ([], "", "must be an object"),
    (None, "", "must be an object"),
    ({"tasks": []}, "id", "1 to 100 letters"),
    (workflow(id="a b"), "id", "1 to 100 letters"),
    (workflow(name=5), "name", "must be text"),
    (workflow(version=2), "version", "must be text"),
    (workflow(metadata=[]), "metadata", "must be an object"),
    ({"id": "w"}, "tasks", "must be a list"),
    (workflow(tasks={}), "tasks", "must be a list"),
    (workflow(*[task(f"t{n}") for n in range(MAX_NODES + 1)]), "tasks", "at most 1000 tasks; this one has 1001"),
    (workflow("a"), "tasks[0]", "must be an object"),
    (workflow({}), "tasks[0].taskId", "1 to 100 letters"),
    (workflow(task(7)), "tasks[0].taskId", "1 to 100 letters"),
    (workflow(task("a"), task("a")), "tasks[1].taskId", "taken by tasks[0]"),
    (workflow(task("fetch", "stor"), task("store")), "tasks[0].nextTaskId", 'did you mean "store"?'),
    (workflow(task("a", "z")), "tasks[0].nextTaskId", 'the unknown task "z"'),
    (workflow(task("a", "")), "tasks[0].nextTaskId", "the unknown task"),
    (workflow(task("a", ["a"])), "tasks[0].nextTaskId", "the unknown task"),
    (workflow(task("a", {"a": 1})), "tasks[0].nextTaskId", "the unknown task"),
    (workflow(task("a", 1)), "tasks[0].nextTaskId", "the unknown task"),
    (workflow(task("a", "a")), "tasks", "in a circle"),
    (workflow(task("a", "b"), task("b", "a")), "tasks", "in a circle"),
    (workflow(task("a"), task("b", "c"), task("c", "b")), "tasks", 'leads back to "b"'),
    (workflow(task("a", "c"), task("b"), task("c")), "tasks", 'Task "b" is never reached'),
    (workflow(task("a", nextTask="b")), "tasks[0].nextTask", 'did you mean "nextTaskId"?'),
    (workflow(task("a", agentID="x")), "tasks[0].agentID", 'did you mean "agentId"?'),
    (workflow(task("a", agentId="x y")), "tasks[0].agentId", "1 to 100 letters"),
    (workflow(task("a", agentCapability="")), "tasks[0].agentCapability", "1 to 200 characters"),
    (workflow(task("a", agentCapability="x" * 201)), "tasks[0].agentCapability", "1 to 200 characters"),
    (workflow(task("a", parameters=[])), "tasks[0].parameters", "an object"),
    (workflow(task("a", maxRetries=-1)), "tasks[0].maxRetries", "from 0 to 99"),
    (workflow(task("a", maxRetries=100)), "tasks[0].maxRetries", "from 0 to 99"),
    (workflow(task("a", maxRetries=True)), "tasks[0].maxRetries", "from 0 to 99"),
    (workflow(task("a", maxRetries=1e9)), "tasks[0].maxRetries", "from 0 to 99"),
    (workflow(task("a", timeoutSeconds=0)), "tasks[0].timeoutSeconds", "above 0"),
    (workflow(task("a", timeoutSeconds="5")), "tasks[0].timeoutSeconds", "above 0"),
    (workflow(task("a", timeoutSeconds=True)), "tasks[0].timeoutSeconds", "above 0"),
    (workflow(task("a", timeoutSeconds=366 * 86_400 + 1)), "tasks[0].timeoutSeconds", "at most a year"),
    (workflow(task("a", fallbackAgentId="x y")), "tasks[0].fallbackAgentId", "1 to 100 letters"),
    (workflow(task("a", fallbackOutput="x")), "tasks[0].fallbackOutput", "an object"),
]


@pytest.mark.parametrize(("tasks", "order"), ORDERS)
def test_tasks_run_in_the_order_of_their_links_else_of_the_list(tasks: list[Any], order: str) -> None:
    """A task is followed by the one that it names, else by the next of the list that has not run; all in a row."""
    nodes = to_definition(workflow(*tasks))["nodes"]
    assert "".join(node["id"] for node in nodes) == order
    assert [node.get("depends_on") for node in nodes] == [None, *[[before] for before in order]][: len(order)]


@pytest.mark.parametrize(("document", "place", "text"), FINDINGS)
def test_findings_name_the_place_and_the_nearest_name(document: Any, place: str, text: str) -> None:
    """Each mistake is found where it is, with what would be right where that is near."""
    with pytest.raises(InvalidFlow) as refused:
        to_definition(document)
    assert text in " ".join(refused.value.details[place])


def test_all_findings_are_told_at_once() -> None:
    """The error of a bad definition has every finding, by place, and says how many more there are."""
    with pytest.raises(InvalidFlow, match=r"\(2 more\)") as refused:
        to_definition(workflow(task("a", "z"), task("b", maxRetries=-1), version=1))
    assert set(refused.value.details) == {"version", "tasks[0].nextTaskId", "tasks[1].maxRetries"}


def test_a_workflow_is_the_flow_that_it_means() -> None:
    """Every field of a workflow and its tasks is one of the flow's, which can be read."""
    whole = task(
        "a", name="A", description="does", agentId="x", parameters={"n": 1}, maxRetries=2, timeoutSeconds=5,
        fallbackAgentId="y", metadata={"k": "v"},
    )  # fmt: skip
    other = task("b", agentCapability="reading", fallbackOutput={"empty": True}, maxRetries=0)
    definition = to_definition(workflow(whole, other, description="D", version="1.2", metadata={"team": "t"}))
    flow = read_flow(definition)
    assert (flow.flow_id, flow.kind, flow.name, flow.definition["version"]) == ("w", "workflow", "W", "1.2")
    a, b = flow.nodes["a"], flow.nodes["b"]
    assert (a.name, a.agent_id, a.config, a.retry.max_attempts, a.timeout) == ("A", "x", {"n": 1}, 3, 5.0)
    assert (a.on_error.agent_id, b.on_error.output) == ("y", {"empty": True})
    assert (b.agent_id, b.capability, *b.depends_on, b.retry.max_attempts) == (None, "reading", "a", 1)


def test_an_agent_counts_for_more_than_a_capability() -> None:
    """A task that names both is its agent's."""
    (node,) = to_definition(workflow(task("a", agentId="x", agentCapability="y")))["nodes"]
    assert (node["agent_id"], "capability" in node) == ("x", False)


def test_fields_nobody_knows_are_left_alone() -> None:
    """What does not look like a mistyped field is no mistake: callers may be newer than the server."""
    definition = to_definition(workflow(task("a", zzz=1), whatever=2))
    assert definition == {"flow_id": "w", "kind": "workflow", "name": "W", "nodes": [{"id": "a", "type": "processor"}]}


def test_a_thousand_tasks_are_read() -> None:
    """The largest workflow is a flow in the order of its tasks."""
    flow = read_flow(to_definition(workflow(*[task(f"t{n}") for n in range(MAX_NODES)])))
    assert (flow.roots, flow.exits) == (("t0",), (f"t{MAX_NODES - 1}",))


def test_workflows_are_told_from_flows() -> None:
    """A document with tasks and without nodes is a workflow."""
    assert is_workflow({"tasks": []})
    assert not is_workflow({"tasks": [], "nodes": []})
    assert not is_workflow({"nodes": []})
    assert not is_workflow([])
