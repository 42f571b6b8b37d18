from __future__ import annotations

from typing import Any, Optional, cast

import pytest

from opscore.domain.agents import (
    CONDITIONS,
    Agent,
    AgentSpec,
    AgentState,
    AgentView,
    Breaker,
    Observed,
    Report,
)

SEEN = {"last_seen": 5, "health": "healthy"}
LEFT_ALONE = Breaker("open", 5, "refused", 1, 2)
ON_TRIAL = Breaker("half_open", 5, "refused", 1)

ROWS: list[tuple[str, bool, Optional[str], dict[str, Any]]] = [
    ("inactive", False, "active", {**SEEN, "in_flight": 1, "breaker": LEFT_ALONE}),
    ("unreachable", True, "idle", {**SEEN, "breaker": LEFT_ALONE, "in_flight": 1}),
    ("unreachable", True, None, {**SEEN, "breaker": ON_TRIAL}),
    ("unreachable", True, None, {"health": "unreachable"}),
    ("offline", True, "idle", {**SEEN, "silent_since": 9}),
    ("offline", True, "offline", {**SEEN, "in_flight": 1}),
    ("error", True, "error", SEEN),
    ("unhealthy", True, "active", {"last_seen": 5, "health": "unhealthy", "in_flight": 2}),
    ("working", True, None, {**SEEN, "in_flight": 2}),
    ("working", True, "idle", {**SEEN, "task": "e1:n"}),
    ("working", True, "active", SEEN),
    ("idle", True, "idle", SEEN),
    ("initializing", True, "initializing", {}),
    ("finished", True, "finished", SEEN),
    ("reachable", True, None, SEEN),
    ("unknown", True, None, {}),
]


@pytest.mark.parametrize(("word", "is_active", "reported", "seen"), ROWS)
def test_the_condition_of_an_agent(word: str, is_active: bool, reported: Optional[str], seen: dict[str, Any]) -> None:
    """What is wrong comes before what goes on, and what was seen before what was reported; nobody need report."""
    report = None if reported is None else Report("ada", cast("AgentState", reported), 5, 5)
    agent = Agent(AgentSpec("ada", "Ada", is_active=is_active), 0, 0, report)
    assert AgentView(agent, Observed(**seen)).condition == word


def test_every_condition_is_shown() -> None:
    """The table above has every word there is."""
    assert {row[0] for row in ROWS} == set(CONDITIONS)
