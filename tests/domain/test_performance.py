from __future__ import annotations

from typing import Optional

import pytest

from opscore.domain.executions import Timing
from opscore.domain.performance import (
    Figures,
    RunSample,
    Sample,
    StepSample,
    figures,
    summarise,
)


def step(call: Optional[float], agent_id: Optional[str] = "a", node_id: str = "n", attempt: int = 1) -> StepSample:
    return StepSample(
        "f", node_id, agent_id, attempt, call is None, Timing(1_000, None if call is None else int(call * 1_000))
    )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([5.0], (5, 5, 5, 5, 5)),
        ([2.0, 1.0], (1, 2, 2, 2, 1.5)),
        ([float(n) for n in range(100, 0, -1)], (50, 95, 99, 100, 50.5)),
        ([None, 4.0, None], (4, 4, 4, 4, 4)),
    ],
)
def test_percentiles_are_those_of_the_nearest_rank(times: list[Optional[float]], expected: tuple[float, ...]) -> None:
    """Each percentile is a time that was measured; times that are not known count for nothing."""
    assert figures(times) == Figures(*expected)


def test_no_times_have_no_figures() -> None:
    """Where nothing was measured nothing is claimed."""
    assert figures([]) is None
    assert figures([None]) is None


def test_groups_come_slowest_first() -> None:
    """Rows are ordered by the 95th percentile of the call, those without one last; steps of nobody are no agent's."""
    steps = [step(1.0), step(None, "c"), step(9.0, "b", attempt=3), step(5.0, None, "pass")]
    found = summarise(Sample(steps, [], is_partial=True), "agent")
    assert [(row.agent_id, row.count, row.failures, row.retries) for row in found.rows] == [
        ("b", 1, 0, 2), ("a", 1, 0, 0), ("c", 1, 1, 0),
    ]  # fmt: skip
    assert (found.sampled, found.is_partial) == (4, True)
    by_node = summarise(Sample(steps, [], is_partial=False), "node")
    assert [(row.flow_id, row.node_id, row.count) for row in by_node.rows] == [("f", "n", 3), ("f", "pass", 1)]


def test_a_flow_counts_its_executions() -> None:
    """Of a flow the executions are counted and timed, and the repeats of all its steps."""
    runs = [RunSample("f", is_failed=False, execution_ms=7.0), RunSample("g", is_failed=True, execution_ms=None)]
    found = summarise(Sample([step(1.0, attempt=2), step(2.0)], runs, is_partial=False), "flow")
    first, second = found.rows
    assert (first.flow_id, first.count, first.failures, first.retries) == ("f", 1, 0, 1)
    assert first.execution == Figures(7, 7, 7, 7, 7)
    assert (second.flow_id, second.count, second.failures, second.execution, second.call) == ("g", 1, 1, None, None)
