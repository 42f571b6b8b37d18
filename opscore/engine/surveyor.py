"""The surveyor: counts what the engine holds, and lets everybody else have a turn in between.

Ten thousand runs are some milliseconds of counting. A thread could not do it: what is counted changes all the time.
"""

from __future__ import annotations

import asyncio
from typing import Callable, Mapping, Sequence

from opscore.domain.agents import Agent, AgentView, Observed
from opscore.domain.executions import WaitReason
from opscore.domain.surveys import Wait
from opscore.engine.run import Run

_STEPS_AT_ONCE = 2_000
_AGENTS_AT_ONCE = 200


async def survey_waits(runs: Mapping[str, Run]) -> Mapping[WaitReason, Wait]:
    """How many nodes of these runs wait, by reason, and since when the first of each does."""
    found: dict[WaitReason, Wait] = {}
    looked_at = 0
    for run in tuple(runs.values()):
        _count(run, found)
        looked_at += 1 + len(run.steps)
        if looked_at >= _STEPS_AT_ONCE:
            looked_at = 0
            await asyncio.sleep(0)
    return found


def _count(run: Run, found: dict[WaitReason, Wait]) -> None:
    if run.stop is not None:
        return
    for state in run.steps.values():
        if state.waits is not None:
            before = found.get(state.waits.reason)
            since = state.waits.since
            found[state.waits.reason] = (
                Wait(1, since) if before is None else Wait(before.count + 1, min(before.oldest_since, since))
            )


async def survey_agents(agents: Sequence[Agent], observed: Callable[[str], Observed]) -> Sequence[AgentView]:
    """The agents as they are shown."""
    views = []
    for number, agent in enumerate(agents, 1):
        views.append(AgentView(agent, observed(agent.spec.agent_id)))
        if number % _AGENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return views
