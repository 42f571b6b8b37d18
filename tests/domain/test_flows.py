from __future__ import annotations

from typing import Any

import pytest

from opscore.domain.errors import InvalidFlow
from opscore.domain.flow_reader import check_flow, read_flow


def flow(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"flow_id": "f", "nodes": [{"agent_id": "x", **node} for node in nodes], **more}


A, B = {"id": "alpha"}, {"id": "beta", "depends_on": ["alpha"]}

FINDINGS = [
    (flow(A, {"id": "beta", "depends_on": ["alfa"]}), "nodes[1].depends_on", 'did you mean "alpha"?'),
    (flow(A, B, entry_point="alpa"), "entry_point", 'did you mean "alpha"?'),
    (flow(A, B, entry_point="beta"), "entry_point", 'depends on "alpha"'),
    (flow(A, B, exit_points=["betta"]), "exit_points", 'did you mean "beta"?'),
    (flow(A, A), "nodes[1].id", "taken by nodes[0]"),
    (flow(A, {"id": "gamma"}, entry_point="alpha"), "entry_point", '"gamma"'),
    (flow({"id": "a", "type": "procesor"}), "nodes[0].type", 'did you mean "processor"?'),
    (flow({"id": "a", "depend_on": []}), "nodes[0].depend_on", 'did you mean "depends_on"?'),
    (flow({"id": "a", "map": {}}), "nodes[0].map", "not supported by this version"),
    (flow({"id": "a", "agent_id": None}), "nodes[0].agent_id", "needs an agent_id"),
    (flow({"id": "a", "timeout": True}), "nodes[0].timeout", "seconds"),
    (flow({"id": "a", "retry": {"max_attempt": 1}}), "nodes[0].retry.max_attempt", 'did you mean "max_attempts"?'),
    (flow(A, priority=11), "priority", "0 to 10"),
    (flow({"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}), "nodes", "waits for itself"),
]


@pytest.mark.parametrize(("definition", "place", "text"), FINDINGS)
def test_findings_name_the_place_and_the_nearest_name(definition: dict[str, Any], place: str, text: str) -> None:
    """Each mistake is found where it is, with what would be right where that is near."""
    found = {finding.place: finding.text for finding in check_flow(definition).errors}
    assert text in found[place]


def test_all_findings_are_told_at_once() -> None:
    """The error of a bad definition has every finding, by place."""
    with pytest.raises(InvalidFlow) as refused:
        read_flow(flow({"id": "a b"}, {"id": "c", "type": "?"}, priority=-1))
    assert set(refused.value.details) == {"nodes[0].id", "nodes[1].type", "priority"}


def test_ends_default_to_the_graphs_own() -> None:
    """Without entry and exit points they are the nodes before and after which nothing is."""
    read = read_flow(flow(A, B, {"id": "gamma", "depends_on": ["alpha"]}))
    assert (read.roots, read.exits) == (("alpha",), ("beta", "gamma"))


def test_a_thousand_nodes_are_the_limit() -> None:
    """1,000 nodes in a chain are read, 1,001 are not."""
    chain = [{"id": f"n{i}", "depends_on": [f"n{i - 1}"] if i else []} for i in range(1001)]
    assert len(read_flow(flow(*chain[:1000])).nodes) == 1000
    with pytest.raises(InvalidFlow, match="at most 1000"):
        read_flow(flow(*chain))


def test_defaults_reach_nodes_that_say_nothing() -> None:
    """A node's own limits win over the flow's defaults, field by field."""
    defaults = {"timeout": 7, "retry": {"max_attempts": 5, "backoff": 3}}
    nodes = read_flow(flow(A, {**B, "timeout": 1, "retry": {"max_attempts": 1}}, defaults=defaults)).nodes
    assert (nodes["alpha"].timeout, nodes["alpha"].retry.max_attempts) == (7, 5)
    assert (nodes["beta"].timeout, nodes["beta"].retry.max_attempts, nodes["beta"].retry.backoff) == (1, 1, 3)


def test_what_a_server_adds_is_no_part_of_a_definition() -> None:
    """A flow that was fetched from a server can be stored again as it is."""
    again = read_flow({**flow(A), "flow_version": 3, "created_at": "x", "updated_at": "y"})
    assert again.definition == flow(A)


DOERS = [
    (flow({"id": "a", "agent_id": None, "capability": ""}), "nodes[0].capability", "1 to 200 characters"),
    (flow({"id": "a", "agent_id": None, "capability": "x" * 201}), "nodes[0].capability", "1 to 200 characters"),
    (flow({"id": "a", "agent_id": None, "capability": ["x"]}), "nodes[0].capability", "1 to 200 characters"),
    (flow({"id": "a", "capability": "x"}), "nodes[0].capability", "not both"),
    (flow({"id": "a", "agent_id": "x y"}), "nodes[0].agent_id", "1 to 100 letters"),
    (flow({"id": "a", "agent_id": None, "capabilty": "x"}), "nodes[0].capabilty", 'did you mean "capability"?'),
    (flow(A, kind="workflo"), "kind", 'did you mean "workflow"?'),
    (flow(A, kind=["flow"]), "kind", "must be one of flow, workflow"),
    (flow(A, kind=None), "kind", "must be one of flow, workflow"),
    (flow({"id": "a", "on_error": "ignore"}), "nodes[0].on_error", '"fail", "continue"'),
    (flow({"id": "a", "on_error": True}), "nodes[0].on_error", '"fail", "continue"'),
    (flow({"id": "a", "on_error": {}}), "nodes[0].on_error", '"fail", "continue"'),
    (flow({"id": "a", "on_error": {"output": []}}), "nodes[0].on_error", '"fail", "continue"'),
    (flow({"id": "a", "on_error": {"agent_id": 5}}), "nodes[0].on_error", '"fail", "continue"'),
    (flow({"id": "a", "on_error": {"agent_id": "b", "output": {}}}), "nodes[0].on_error", '"fail", "continue"'),
]


@pytest.mark.parametrize(("definition", "place", "text"), DOERS)
def test_who_does_it_and_what_follows_a_failure_are_checked(definition: dict[str, Any], place: str, text: str) -> None:
    """An agent or a capability, one of the kinds, one of four ways on: everything else is found where it is."""
    found = {finding.place: finding.text for finding in check_flow(definition).errors}
    assert text in found[place]


def test_a_node_may_ask_for_a_capability() -> None:
    """A capability stands for whichever agent has it."""
    node = read_flow(flow({"id": "a", "agent_id": None, "capability": "x" * 200})).nodes["a"]
    assert (node.agent_id, node.capability) == (None, "x" * 200)


def test_there_are_four_ways_on_after_a_failure() -> None:
    """Fail, go on, take another output, ask another agent; failing is what happens without a word."""
    ways: list[Any] = [None, "fail", "continue", {"output": {"n": 1}}, {"agent_id": "b"}]
    nodes = read_flow(flow(*[{"id": f"n{i}", "on_error": way} for i, way in enumerate(ways)])).nodes.values()
    found = [(node.on_error.goes_on, node.on_error.output, node.on_error.agent_id) for node in nodes]
    assert found == [
        (False, None, None), (False, None, None), (True, None, None), (False, {"n": 1}, None), (False, None, "b"),
    ]  # fmt: skip


def test_a_workflow_may_be_empty_and_leave_its_agents_out() -> None:
    """What a flow needs, a node and somebody who does it, a workflow does not."""
    definition = {"flow_id": "w", "kind": "workflow", "nodes": []}
    assert read_flow(definition).nodes == {}
    assert read_flow({**definition, "nodes": [{"id": "a"}]}).nodes["a"].agent_id is None
    for bad in ({**definition, "kind": "flow"}, {**definition, "kind": "flow", "nodes": [{"id": "a"}]}):
        with pytest.raises(InvalidFlow):
            read_flow(bad)
