"""Use cases about how things stand: the server at a glance, and why an execution does not move."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Literal, Mapping, Optional, Sequence

import attrs

from opscore.domain.agents import AgentView
from opscore.domain.capacity import Capacity
from opscore.domain.errors import StoreError, StoreFull
from opscore.domain.explanations import Explanation, Record, Situation, explain
from opscore.domain.flows import Flow
from opscore.domain.instants import Instant, Seconds, after
from opscore.domain.overview import Bucket, Overview, Scene, Tally, buckets, draw
from opscore.domain.performance import By, Performance, SampleQuery, summarise
from opscore.domain.ports import AgentProtocol, Clock, Runs, Store
from opscore.operations.shared import Shared

WINDOWS = (60, 86_400)
"""The shortest and the longest window, in seconds."""
DEFAULT_WINDOW = 3_600

_LASTS: Seconds = 1.0
_FIGURES_LAST: Seconds = 5.0
_SETTLED: Seconds = 60.0
"""After that long no commit that is still under way can add to a span that is over."""
_FAILURES = 200
_MOST_WIDTHS = 16
_BETWEEN_BREATHS = 500


class Insight:
    """Tells how things stand."""

    def __init__(
        self, store: Store, runs: Runs, protocols: Mapping[str, AgentProtocol], clock: Clock, capacity: Capacity
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._capacity = capacity
        self._later = frozenset(protocol.name for protocol in protocols.values() if protocol.answers_later)
        self._overviews: Shared[Overview] = Shared(clock, _LASTS)
        self._figures: Shared[Performance] = Shared(clock, _FIGURES_LAST)
        self._tallies: OrderedDict[int, dict[Instant, Tally]] = OrderedDict()
        """Counts of spans that are over, by their length and beginning: they never change."""

    async def overview(self, window: int = DEFAULT_WINDOW) -> Overview:
        """The server at a glance, at most a second old; ``window`` is in seconds.

        Raises:
            StoreError: The store cannot even be read.
        """
        return await self._overviews.get(window, lambda: self._overview(window))

    async def _overview(self, window: int) -> Overview:
        store = await self._state_of_store()
        now = self._clock.now()
        spans = buckets(window, now)
        known = self._known(spans)
        unknown = [span for span in spans if span.at not in known]
        picture = await self._store.picture(unknown, _FAILURES)
        counted = {**known, **{span.at: tally for span, tally in zip(unknown, picture.spans)}}
        self._remember(spans, counted, now)
        gauges = self._runs.gauges()
        return draw(
            Scene(
                at=now,
                picture=picture,
                buckets=[attrs.evolve(span, tally=counted[span.at]) for span in spans],
                agents=await self._agents(),
                calls_in_flight=int(gauges["calls_in_flight"]),
                calls_waiting=int(gauges["calls_waiting"]),
                capacity=self._capacity,
                store=store,
                is_accepting=self._runs.accepting,
            )
        )

    def _known(self, spans: Sequence[Bucket]) -> dict[Instant, Tally]:
        return self._tallies.get(spans[0].seconds, {})

    def _remember(self, spans: Sequence[Bucket], counted: dict[Instant, Tally], now: Instant) -> None:
        width = spans[0].seconds
        self._tallies[width] = {span.at: counted[span.at] for span in spans if after(span.end, _SETTLED) < now}
        self._tallies.move_to_end(width)
        while len(self._tallies) > _MOST_WIDTHS:
            self._tallies.popitem(last=False)

    async def _state_of_store(self) -> Literal["works", "full", "down"]:
        try:
            await self._store.probe()
        except StoreFull:
            return "full"
        except StoreError:
            return "down"
        return "works"

    async def _agents(self) -> Sequence[AgentView]:
        """All agents, a few at a time: there may be very many, and others want their turn."""
        views = []
        for number, agent in enumerate(await self._store.agents(), 1):
            views.append(AgentView(agent, self._runs.observed(agent.spec.agent_id)))
            if number % _BETWEEN_BREATHS == 0:
                await asyncio.sleep(0)
        return views

    async def performance(
        self, by: By, window: int = DEFAULT_WINDOW, agent_id: Optional[str] = None, flow_id: Optional[str] = None
    ) -> Performance:
        """How fast things went in the last ``window`` seconds, at most five seconds old."""
        question = (by, window, agent_id, flow_id)
        return await self._figures.get(question, lambda: self._performance(by, window, agent_id, flow_id))

    async def _performance(self, by: By, window: int, agent_id: Optional[str], flow_id: Optional[str]) -> Performance:
        sample = await self._store.sample(SampleQuery(after(self._clock.now(), -window), agent_id, flow_id))
        return await asyncio.get_running_loop().run_in_executor(None, summarise, sample, by)

    async def explain(self, execution_id: str) -> Explanation:
        """Why an execution stands where it stands, and what would move it. Raises ExecutionNotFound."""
        record = await self._store.record(execution_id)
        if record.execution.status == "running" and not self._runs.carries(execution_id):
            record = await self._store.record(execution_id)  # most likely it has ended in between
        stored = await self._store.flow(record.execution.flow_id, record.execution.flow_version)
        situation = Situation(
            record=record,
            flow=stored.flow,
            agents=await self._involved(record, stored.flow),
            later=self._later,
            now=self._clock.now(),
            capacity=self._capacity,
            calls_in_flight=int(self._runs.gauges()["calls_in_flight"]),
            is_carried=self._runs.carries(execution_id),
            is_accepting=self._runs.accepting,
        )
        return explain(situation)

    async def _involved(self, record: Record, flow: Flow) -> Mapping[str, AgentView]:
        """The agents of an execution's open steps, and those that could do what its open steps ask for."""
        steps = [step for step in record.steps if step.status in ("running", "waiting")]
        wanted = {step.agent_id for step in steps if step.agent_id is not None}
        for capability in {flow.nodes[step.node_id].capability for step in steps if step.agent_id is None}:
            if capability is not None:
                wanted.update(self._store.capable_now(capability))
        views = {}
        for agent_id in sorted(wanted):
            agent = self._store.agent_now(agent_id)
            if agent is not None:
                views[agent_id] = AgentView(agent, self._runs.observed(agent_id))
        return views
