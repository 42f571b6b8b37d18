"""How fast things go: how long steps waited for their call, were called, and waited for the store."""

from __future__ import annotations

from typing import Iterable, Literal, Mapping, NamedTuple, Optional, Sequence

import attrs

from opscore.domain.executions import Timing
from opscore.domain.instants import Instant

By = Literal["agent", "flow", "node"]
KEYS: Mapping[By, tuple[str, ...]] = {"agent": ("agent_id",), "flow": ("flow_id",), "node": ("flow_id", "node_id")}
"""What tells groups apart."""
SAMPLE = 20_000
"""Steps that are looked at, the newest ones; and executions that they are looked for in."""


@attrs.frozen
class SampleQuery:
    """Which steps to look at: the newest ones that ended since an instant."""

    since: Instant
    agent_id: Optional[str] = None
    flow_id: Optional[str] = None
    limit: int = SAMPLE


class StepSample(NamedTuple):
    """A step that ended."""

    flow_id: str
    node_id: str
    agent_id: Optional[str]
    attempt: int
    is_failed: bool
    timing: Timing
    """Of its last attempt."""


class RunSample(NamedTuple):
    """An execution that ended."""

    flow_id: str
    is_failed: bool
    execution_ms: Optional[float]


@attrs.frozen
class Sample:
    """What was looked at."""

    steps: Sequence[StepSample]
    executions: Sequence[RunSample]
    is_partial: bool
    """Whether there are more that were not looked at."""


@attrs.frozen
class Figures:
    """Percentiles (nearest rank), the greatest and the mean of some times, in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float
    mean: float


@attrs.frozen
class Row:
    """How one agent, flow or node did. Figures are None where no time is known."""

    count: int
    """Steps; executions of a flow."""
    failures: int
    """Those of them that failed for good."""
    retries: int
    """Calls beyond the first of each step."""
    queue: Optional[Figures]
    call: Optional[Figures]
    commit: Optional[Figures]
    execution: Optional[Figures] = None
    """How long executions of the flow took."""
    agent_id: Optional[str] = None
    flow_id: Optional[str] = None
    node_id: Optional[str] = None

    @property
    def slowness(self) -> float:
        """What rows are ordered by: the 95th percentile of the execution, or of the call."""
        figures = self.execution or self.call
        return -1.0 if figures is None else figures.p95


@attrs.frozen
class Performance:
    """How fast things went, slowest first."""

    by: By
    sampled: int
    is_partial: bool
    rows: Sequence[Row]


def summarise(sample: Sample, by: By) -> Performance:
    """Group a sample. Steps that no agent did are no part of any agent's figures."""
    names = KEYS[by]
    groups: dict[tuple[Optional[str], ...], list[StepSample]] = {}
    for step in sample.steps:
        if by != "agent" or step.agent_id is not None:
            groups.setdefault(tuple(getattr(step, name) for name in names), []).append(step)
    runs: dict[tuple[Optional[str], ...], list[RunSample]] = {}
    for run in sample.executions if by == "flow" else ():
        runs.setdefault((run.flow_id,), []).append(run)
    rows = [_row(by, key, groups.get(key, ()), runs.get(key, ())) for key in {**groups, **runs}]
    rows.sort(key=lambda row: (-row.slowness, row.agent_id or "", row.flow_id or "", row.node_id or ""))
    return Performance(by, len(sample.steps), sample.is_partial, rows)


def _row(by: By, key: tuple[Optional[str], ...], steps: Sequence[StepSample], runs: Sequence[RunSample]) -> Row:
    counted: Sequence[StepSample | RunSample] = runs if by == "flow" else steps
    return Row(
        count=len(counted),
        failures=sum(one.is_failed for one in counted),
        retries=sum(max(0, step.attempt - 1) for step in steps),
        queue=figures(milliseconds(step.timing.queue_us) for step in steps),
        call=figures(milliseconds(step.timing.call_us) for step in steps),
        commit=figures(milliseconds(step.timing.commit_us) for step in steps),
        execution=figures(run.execution_ms for run in runs),
        **dict(zip(KEYS[by], key)),
    )


def milliseconds(microseconds: Optional[int]) -> Optional[float]:
    """The same time in milliseconds."""
    return None if microseconds is None else microseconds / 1000


def figures(times: Iterable[Optional[float]]) -> Optional[Figures]:
    """Percentiles of those times that are known; None when none is."""
    known = sorted(time for time in times if time is not None)
    if not known:
        return None
    p50, p95, p99 = (known[-(-len(known) * part // 100) - 1] for part in (50, 95, 99))
    return Figures(p50, p95, p99, known[-1], sum(known) / len(known))
