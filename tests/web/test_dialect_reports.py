"""What agents report, in any order and across restarts, against the rule in one line."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opscore.bootstrap import running
from opscore.domain.agents import REPORTABLE_STATES, AgentSpec
from opscore.operations import Operations
from opscore.settings import Settings

FAR = 253_402_300_799_999_999
INSTANTS = (0, 1_000_000, 1_000_001, 2_000_000)
REPORT = st.tuples(st.sampled_from((*INSTANTS, *INSTANTS, -FAR // 5, FAR)), st.sampled_from(REPORTABLE_STATES))
Told = list[tuple[int, str]]


async def said(operations: Operations, reports: Told, before: int) -> None:
    """Report; the details number the reports."""
    for number, (at, state) in enumerate(reports, before):
        await operations.agents.report("a", state, at, {"n": number})


async def shown(operations: Operations) -> tuple[Any, list[Any]]:
    """The present and the whole history, in pages of three; each is a state and its number."""
    present = (await operations.agents.get("a")).agent.present
    history: list[Any] = []
    page = list(await operations.agents.history("a", 3))
    while page:
        history += page
        page = list(await operations.agents.history("a", 3, (page[-1].reported_at, page[-1].received_at)))
    found = [(one.reported_at, one.state, one.details) for one in history]
    return present and (present.reported_at, present.state, present.details), found


async def live(path: Path, parts: list[Told]) -> None:
    """Report the parts, with a restart after each, and compare what is shown with the rule."""
    told: Told = []
    for number, part in enumerate([*parts, []]):
        async with running(Settings(database=f"sqlite:///{path}", drain_timeout=0.0)) as operations:
            if number == 0:
                await operations.agents.register(AgentSpec("a", "A", "agentkit"))
            await said(operations, part, len(told))
            told += part
            ordered = sorted(((at, n, state) for n, (at, state) in enumerate(told)), reverse=True)
            expected = [(at, state, f'{{"n":{n}}}') for at, n, state in ordered]
            assert await shown(operations) == (expected[0] if expected else None, expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(REPORT, max_size=8), min_size=1, max_size=2))
def test_the_present_is_the_newest_report_whatever_came_when(parts: list[Told]) -> None:
    """Newest by the agent's own clock, ties by arrival, nothing lost, in any order and after any restart."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(Path(directory) / "opscore.db", parts))
