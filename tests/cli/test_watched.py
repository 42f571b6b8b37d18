from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from opscore.cli.watch import page
from opscore.cli.watched import Watched

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc)
NODES = [{"id": name, "agent_id": "zoe"} for name in ("a", "b", "c")]


def event(kind: str, second: float = 0, node_id: Any = None, **more: Any) -> dict[str, Any]:
    at = (START + timedelta(seconds=second)).isoformat()
    return {"type": kind, "at": at, "node_id": node_id, "data": more.pop("data", {}), **more}


def watched(*events: dict[str, Any]) -> Watched:
    found = Watched(NODES)
    for one in (event("execution.accepted"), event("execution.started"), *events):
        found.take(one)
    return found


def test_nodes_go_through_their_states() -> None:
    """Each event changes one node; those that have not begun are pending."""
    found = watched(
        event("node.started", 1, "a", attempt=1), event("node.completed", 3, "a", attempt=1),
        event("node.waiting", 3, "b", data={"reason": "agent", "detail": "Nobody is free."}),
    )  # fmt: skip
    assert [node.state for node in found.nodes.values()] == ["completed", "waiting", "pending"]
    assert (found.status, found.done, found.is_final) == ("running", 1, False)
    assert found.nodes["b"].told == "agent: Nobody is free."


def test_a_time_is_that_of_the_state_and_in_the_end_that_of_the_node() -> None:
    """One that waits shows how long it has waited, one that has ended how long it took with all attempts."""
    later = START + timedelta(seconds=60)
    found = watched(event("node.started", 10, "a"), event("node.retrying", 20, "a", data={"error_code": "X"}))
    assert found.nodes["a"].seconds(later) == 40
    found.take(event("node.started", 30, "a", attempt=2))
    assert found.nodes["a"].seconds(later) == 30
    found.take(event("node.completed", 50, "a", attempt=2))
    assert (found.nodes["a"].seconds(later), found.nodes["a"].attempt) == (40, 2)
    assert found.nodes["b"].seconds(later) is None


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_end_of_an_execution_ends_its_nodes(status: str) -> None:
    """What was under way is cancelled; the reason is kept."""
    data = {"error_code": "NO_INK", "error_message": "dry"} if status == "failed" else {}
    found = watched(event("node.started", 1, "a"), event(f"execution.{status}", 2, data=data))
    assert (found.status, found.is_final, found.nodes["a"].state) == (status, True, "cancelled")
    assert found.told == ("NO_INK: dry" if data else None)
    assert found.seconds(START + timedelta(hours=1)) == 2


def test_events_that_are_not_known_change_nothing() -> None:
    """A newer server may tell more; a node that nobody knew is there from its first event on."""
    found = watched(event("node.pondered", 1, "a"), event("agent.state", 1), event("node.started", 1, "new"))
    assert found.nodes["a"].state == "pending"
    assert list(found.nodes) == ["a", "b", "c", "new"]


def test_where_there_is_not_room_for_all_those_that_matter_are_shown() -> None:
    """Failures first, then what is under way; in the order of the flow."""
    found = Watched([{"id": str(n)} for n in range(100)])
    for n in range(50):
        found.take(event("node.started", 1, str(n)))
        found.take(event("node.completed", 2, str(n)))
    found.take(event("node.failed", 3, "7"))
    found.take(event("node.started", 3, "60"))
    assert [node.node_id for node in found.in_view(3)] == ["7", "49", "60"]
    assert len(found.in_view(200)) == 100
    assert found.in_view(-1) == []


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60)])
def test_a_page_fits(width: int, height: int) -> None:
    """With any number of nodes it has no more lines than the terminal, and says how many are not shown."""
    found = Watched([{"id": f"node-{n}", "agent_id": "zoe"} for n in range(500)])
    drawn = page({"execution_id": "0190", "flow_id": "wide"}, found, width, height)
    assert len(drawn) <= height
    assert any("more nodes" in line.plain for line in drawn)
    assert "0/500 nodes" in drawn[1].plain
