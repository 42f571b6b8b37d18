from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opscore.domain.executions import EXECUTION_MOVES, FINAL, STEP_MOVES
from opscore.domain.flow_reader import read_flow
from opscore.domain.flows import Flow
from opscore.domain.planner import Complete, Progress, Ready, merged_input, passed_on
from opscore.domain.retries import RetryPolicy


@st.composite
def flows(draw: Any) -> Flow:
    """A random acyclic flow."""
    size = draw(st.integers(1, 12))
    nodes = []
    for index in range(size):
        before = draw(st.sets(st.integers(0, index - 1), max_size=4)) if index else set()
        nodes.append({"id": f"n{index}", "agent_id": "x", "depends_on": [f"n{one}" for one in sorted(before)]})
    return read_flow({"flow_id": "f", "nodes": nodes})


@given(flows(), st.randoms())
def test_every_node_runs_once_and_after_what_it_depends_on(flow: Flow, chance: Any) -> None:
    """Whatever the order of the results, each node is made ready once, last comes the end."""
    progress = Progress(flow)
    ready = [command.node_id for command in progress.begin() if isinstance(command, Ready)]
    done: set[str] = set()
    complete = False
    while ready:
        node_id = ready.pop(chance.randrange(len(ready)))
        assert node_id not in done
        assert set(flow.nodes[node_id].depends_on) <= done
        done.add(node_id)
        for command in progress.ended(node_id, completed=True):
            if isinstance(command, Ready):
                ready.append(command.node_id)
            complete = isinstance(command, Complete)
    assert complete
    assert done == flow.nodes.keys()


@given(flows(), st.randoms())
def test_progress_can_be_rebuilt_at_any_moment(flow: Flow, chance: Any) -> None:
    """After any results, the recorded steps give the same open nodes as the live progress has."""
    progress = Progress(flow)
    ready = {command.node_id for command in progress.begin() if isinstance(command, Ready)}
    done: dict[str, Any] = {}
    while ready:
        _, open_nodes = Progress.resume(flow, {**done, **dict.fromkeys(ready, "running")})
        assert set(open_nodes) == ready
        node_id = chance.choice(sorted(ready))
        ready.discard(node_id)
        done[node_id] = "completed"
        commands = progress.ended(node_id, completed=True)
        ready |= {command.node_id for command in commands if isinstance(command, Ready)}


def test_inputs_are_merged_in_the_order_of_the_dependencies() -> None:
    """Later dependencies win over earlier ones, and all over the execution's input."""
    nodes = [{"id": n, "agent_id": "x"} for n in "ab"]
    flow = read_flow({"flow_id": "f", "nodes": [*nodes, {"id": "o", "type": "output", "depends_on": ["b", "a"]}]})
    outputs = {"a": {"k": 1, "m": 1}, "b": {"k": 2}}
    assert merged_input(flow.nodes["o"], {"k": 0, "i": 0}, outputs) == {"k": 1, "m": 1, "i": 0}
    assert passed_on(flow.nodes["o"], {"i": 0}, outputs) == {"k": 1, "m": 1}


def test_the_tables_are_closed() -> None:
    """Every state that can be entered is in the table, and final ones are never left."""
    for moves in (EXECUTION_MOVES, STEP_MOVES):
        assert set().union(*moves.values()) <= moves.keys()
    assert frozenset({"completed", "failed", "cancelled"}) == FINAL


@given(st.integers(1, 2000), st.floats(0, 1))
def test_delays_grow_within_their_bounds(failures: int, chance: float) -> None:
    """A delay lies between half and all of the exponential one, and never above the longest."""
    policy = RetryPolicy(initial_interval=1, backoff=2, max_interval=60)
    full = min(60.0, 2.0 ** min(failures - 1, 10))
    assert full / 2 <= policy.delay(failures, chance) <= full


def test_retries_end() -> None:
    """No attempt follows the last one, a code that is not worth it, or the time limit; Retry-After is kept."""
    policy = RetryPolicy(max_attempts=3, jitter=False, max_elapsed=10, non_retryable=frozenset({"BAD"}))
    facts: dict[str, Any] = {
        "failures": 1,
        "error_code": "X",
        "retryable": True,
        "elapsed": 0.0,
        "retry_after": None,
        "chance": 0.5,
    }
    assert policy.next_delay(**facts) == 1
    assert policy.next_delay(**{**facts, "retry_after": 5.0}) == 5
    for change in ({"failures": 3}, {"error_code": "BAD"}, {"retryable": False}, {"elapsed": 9.5}):
        assert policy.next_delay(**{**facts, **change}) is None
