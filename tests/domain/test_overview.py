from __future__ import annotations

from typing import Any, Optional

import attrs
import pytest

from opscore.domain.agents import Agent, AgentSpec, AgentView, Breaker, Observed, Report
from opscore.domain.capacity import Capacity
from opscore.domain.events import TAKEN
from opscore.domain.instants import SECOND, Instant
from opscore.domain.overview import (
    Attention,
    Failure,
    Overview,
    Picture,
    Scene,
    Tally,
    WaitingStep,
    Waits,
    buckets,
    draw,
)
from opscore.domain.wording import counted, some, span

NOW: Instant = 1_800_000_000 * SECOND
CAPACITY = Capacity(calls=10, calls_per_agent=2, open_runs=5, queued=100, node_timeout=30.0)
QUIET = Picture(0, 0, 0, Tally(), (), (), (), None)


def ago(seconds: float) -> Instant:
    return NOW - int(seconds * SECOND)


def scene(**changed: Any) -> Scene:
    tally = changed.pop("tally", Tally())
    picture = attrs.evolve(QUIET, **changed.pop("picture", {}))
    spans = [attrs.evolve(bucket, tally=tally) for bucket in buckets(3600, NOW)[-1:]]
    facts = {
        "at": NOW, "picture": picture, "buckets": [*buckets(3600, NOW)[:-1], *spans], "agents": (),
        "calls_in_flight": 0, "calls_waiting": 0, "capacity": CAPACITY, "store": "works", "is_accepting": True,
    }  # fmt: skip
    return Scene(**{**facts, **changed})


def view(agent_id: str = "eddie", state: Optional[str] = None, *, is_active: bool = True, **seen: Any) -> AgentView:
    spec = AgentSpec(agent_id, agent_id, is_active=is_active)
    present = None if state is None else Report(agent_id, state, ago(90), ago(90))  # type: ignore[arg-type]
    return AgentView(Agent(spec, 0, 0, present), Observed(**seen))


def waits(reason: Any, seconds: float, detail: Optional[str] = None) -> Waits:
    step = WaitingStep("e1", "n", "eddie", ago(seconds), detail)
    return Waits(reason, 3, step.since, [step])


def failure(flow_id: str = "f", code: str = "BROKEN", seconds: float = 60) -> Failure:
    return Failure("e1", flow_id, code, "It broke", ago(seconds))


OPEN = Breaker("open", 10, "Connection refused", ago(120), NOW + 5 * SECOND)

NEEDED: list[tuple[str, Scene, str, str]] = [
    ("disk_full", scene(store="full"), "error", "The disk is full: nothing can be written"),
    ("store_down", scene(store="down"), "error", "The store takes no writes"),
    ("stopping", scene(is_accepting=False), "warning", "The server is stopping"),
    ("queue_full", scene(picture={"pending": 100, "queued_since": ago(1)}), "error", "The queue is full: 100 exec"),
    ("queue_near_limit", scene(picture={"pending": 80}), "warning", "80 of at most 100 executions wait"),
    (
        "queue_waits",
        scene(picture={"pending": 1, "running": 5, "queued_since": ago(61)}),
        "warning",
        "1 execution waits for a turn, the oldest for 1 min 1 s; 5 of at most 5 run.",
    ),
    ("calls_full", scene(calls_in_flight=10, calls_waiting=3), "warning", "All 10 calls to agents"),
    (
        "agent_unreachable",
        scene(agents=[view(breaker=OPEN)]),
        "error",
        "10 times in a row and is left alone: Connection refused. It is tried again at 2027-01-15T08:00:05Z.",
    ),
    (
        "agent_unreachable",
        scene(agents=[view(breaker=attrs.evolve(OPEN, state="half_open"))]),
        "error",
        "The next call is a trial.",
    ),
    (
        "agent_offline",
        scene(agents=[view(silent_since=ago(1), last_seen=ago(301))]),
        "error",
        'Agent "eddie" is offline: nothing was heard of it since 2027-01-15T07:54:59Z.',
    ),
    ("agent_offline", scene(agents=[view(state="offline")]), "warning", 'eddie" reported offline 1 min 30 s ago.'),
    ("agent_error", scene(agents=[view(state="error")]), "error", 'Agent "eddie" reported error 1 min 30 s ago.'),
    (
        "agent_unhealthy",
        scene(agents=[view(health="unhealthy", health_message="no model")]),
        "warning",
        'Agent "eddie" is unhealthy: no model.',
    ),
    (
        "agent_error",
        scene(agents=[view(f"a{n}", "error") for n in range(8)]),
        "error",
        "8 agents report an error: a0, a1, a2, a3, a4 and 3 more.",
    ),
    (
        "executions_failed",
        scene(picture={"failures": [failure(), failure(seconds=90)]}, tally=Tally(9, 7, 2)),
        "error",
        'Flow "f" failed 2 times in the last 1 h with BROKEN; the last time 1 min ago: It broke.',
    ),
    (
        "executions_failed",
        scene(picture={"failures": [failure()]}, tally=Tally(99, 90, 5)),
        "warning",
        'Flow "f" failed at least 1 time in the last 1 h',
    ),
    (
        "waiting_long",
        scene(picture={"waits": [waits("slot", 61)]}),
        "warning",
        '3 steps wait until a call to an agent may be made; node "n" (agent "eddie") has waited longest, for 1 min',
    ),
    ("waiting_long", scene(picture={"waits": [waits("agent", 301, "It is off")]}), "warning", "It is off."),
    ("waiting_long", scene(picture={"waits": [waits("retry", 601)]}), "warning", "wait for another attempt"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "facts", "severity", "text"), NEEDED, ids=lambda one: str(one)[:30])
def test_what_needs_attention(kind: str, facts: Scene, severity: str, text: str) -> None:
    """Each of these is told of once, as what it is, in words that an operator understands."""
    (found,) = draw(facts).attention
    assert (found.kind, found.severity) == (kind, severity)
    assert text in found.text


@pytest.mark.parametrize(
    "facts",
    [
        scene(),
        scene(agents=[view(state="idle"), view(is_active=False, breaker=OPEN), view("new")]),
        scene(picture={"pending": 79, "queued_since": ago(60)}),
        scene(picture={"waits": [waits("slot", 60), waits("agent", 900, TAKEN), waits("timer", 9e6)]}),
        scene(picture={"failures": [failure(seconds=3700)]}),
        scene(calls_in_flight=10),
    ],
)
def test_what_is_as_it_should_be(facts: Scene) -> None:
    """Work in progress, ordinary waits, old failures and agents that nobody wants to work need no attention."""
    assert draw(facts).attention == []


def test_many_failing_flows_are_told_of_in_short() -> None:
    """The flows that failed last are told of one by one, and further ones by name, so that the rest can be seen."""
    failures = [failure(f"f{number:02}") for number in range(30)]
    *each, others = draw(scene(picture={"failures": failures}, tally=Tally(99, 0, 30))).attention
    assert [one.flow_id for one in each] == [f"f{number:02}" for number in range(10)]
    assert others.text == "Others failed too: f10, f11, f12, f13, f14 and 15 more."


def test_errors_come_first() -> None:
    """What is an error stands before what is a warning, each in a settled order."""
    found: Overview = draw(scene(is_accepting=False, agents=[view(state="offline"), view("b", "error")], store="full"))
    listed: list[Attention] = list(found.attention)
    assert [one.kind for one in listed] == ["disk_full", "agent_error", "stopping", "agent_offline"]


def test_agents_are_counted_by_their_words() -> None:
    """Every agent is in one state, and has one status and one condition."""
    found = draw(scene(agents=[view(state="idle", last_seen=1), view("b", "error"), view("c")]))
    assert found.agents_by_state == {"idle": 1, "error": 1, "unknown": 1}
    assert found.agents_by_status == {"active": 1, "error": 1, "inactive": 1}
    assert found.agents_by_condition == {"idle": 1, "error": 1, "unknown": 1}


@pytest.mark.parametrize("window", [60, 61, 3600, 5000, 86_400])
def test_spans_stay_the_same_while_time_goes_on(window: int) -> None:
    """Sixty spans join without a gap, hold the present moment in the last, and are the same ones a moment later."""
    spans = buckets(window, NOW)
    assert len(spans) == 60
    assert all(one.end == other.at for one, other in zip(spans, spans[1:]))
    assert spans[-1].at <= NOW < spans[-1].end
    later = buckets(window, NOW + spans[0].seconds * SECOND)
    assert later[:-1] == spans[1:]
    assert sum(bucket.seconds for bucket in spans) >= window


def test_words() -> None:
    """Spans, counts and lists read as people write them."""
    assert [span(s) for s in (0, 0.25, 9.96, 12.4, 60, 3725, 90_000)] == [
        "0 s", "0.2 s", "10 s", "12 s", "1 min", "1 h 2 min", "1 d 1 h",
    ]  # fmt: skip
    assert [counted(n, "call") for n in (0, 1, 1000)] == ["0 calls", "1 call", "1,000 calls"]
    assert some(["a", "b"]) == "a, b"
