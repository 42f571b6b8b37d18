from __future__ import annotations

from typing import Any, Optional

import attrs
import pytest

from opscore.domain.agents import Agent, AgentSpec, AgentView, Breaker, Observed, Report
from opscore.domain.capacity import Capacity
from opscore.domain.events import TAKEN
from opscore.domain.executions import Execution, Step
from opscore.domain.explanations import CAUSES, Cause, Explanation, Record, Situation, explain
from opscore.domain.flow_reader import read_flow
from opscore.domain.instants import SECOND, Instant

NOW: Instant = 1_800_000_000 * SECOND  # 2027-01-15T08:00:00Z
CAPACITY = Capacity(calls=10, calls_per_agent=4, open_runs=5, queued=100, node_timeout=300.0)
RETRY = {"max_attempts": 3}
FLOW = read_flow({
    "flow_id": "f",
    "nodes": [
        {"id": "n", "agent_id": "eddie", "timeout": 30, "retry": RETRY},
        {"id": "pass", "type": "input"},
        {"id": "able", "capability": "greet", "retry": RETRY},
        {"id": "backed", "agent_id": "eddie", "retry": RETRY, "on_error": {"agent_id": "bob"}},
        {"id": "lenient", "agent_id": "eddie", "on_error": "continue"},
        {"id": "replaced", "agent_id": "eddie", "on_error": {"output": {"x": 1}}},
    ],
})  # fmt: skip


def ago(seconds: float) -> Instant:
    return NOW - int(seconds * SECOND)


def ahead(seconds: float) -> Instant:
    return NOW + int(seconds * SECOND)


def step(node_id: str = "n", status: Any = "waiting", **fields: Any) -> Step:
    known = {
        "agent_id": "eddie", "attempt": 0, "failures": 0, "created_at": ago(90), "waiting_since": ago(40), **fields,
    }  # fmt: skip
    return Step("e1", node_id, status=status, **known)


def view(agent_id: str = "eddie", state: Optional[str] = None, **fields: Any) -> AgentView:
    names = ("protocol", "max_concurrency", "is_active")
    spec = {name: fields.pop(name) for name in names if name in fields}
    told = None if state is None else Report(agent_id, state, ago(20), ago(20), frees=state == "idle")  # type: ignore[arg-type]
    agent = Agent(AgentSpec(agent_id, agent_id, capabilities=("greet",), **spec), 0, 0, told)
    return AgentView(agent, Observed(**fields))


def told(*steps: Step, agents: Any = None, status: Any = "running", **facts: Any) -> Explanation:
    names = [field.name for field in attrs.fields(Execution)]
    given = {name: facts.pop(name) for name in names if name in facts}
    known = {
        "priority": 3, "last_seq": 1, "created_at": ago(100), "updated_at": ago(50), "started_at": ago(95), **given,
    }  # fmt: skip
    execution = Execution("e1", "f", 1, status, **known)
    record = Record(execution, steps, facts.pop("begun", {}), facts.pop("before", 0))
    views = {one.agent.spec.agent_id: one for one in (agents if agents is not None else [view()])}
    return explain(Situation(record, FLOW, views, ("agentkit",), NOW, CAPACITY, **facts))


def only(explanation: Explanation) -> Cause:
    (cause,) = explanation.causes
    return cause


OPEN = Breaker("open", 10, "Connection refused", ago(60), ahead(5))
AGENTKIT = {"protocol": "agentkit"}
RUNNING = {"attempt": 1, "started_at": ago(12), "waiting_since": None}
UNREACHABLE = {"error_code": "AGENT_UNREACHABLE", "error_message": "Connection refused"}

OPEN_NODES: list[tuple[str, str, Explanation, str, str]] = [
    (
        "an agent at work", "call", told(step(status="running", **RUNNING)),
        'Node "n": agent "eddie" has been working on it for 12 s, since 2027-01-15T07:59:48Z, attempt 1 of 3.',
        'Agent "eddie" answering, or its time limit of 30 s in 18 s; attempt 2 of 3 follows then.',
    ),
    (
        "a repeated call", "call",
        told(step(status="running", **{**RUNNING, "attempt": 3, "failures": 2}), begun={"n": ago(4)}),
        "has been working on it for 4 s, since 2027-01-15T07:59:56Z, attempt 3 of 3.",
        "or its time limit of 30 s in 26 s; the execution fails then.",
    ),
    (
        "a call that is overdue", "call", told(step(status="running", **{**RUNNING, "started_at": ago(31)})),
        "for 31 s", "or its time limit of 30 s, which is over: at any moment",
    ),
    (
        "a call to an agent that is not well", "call",
        told(step(status="running", **RUNNING), agents=[view(silent_since=ago(9), last_seen=ago(309))]),
        'Agent "eddie" is offline: nothing was heard of it since 2027-01-15T07:54:51Z.', 'Agent "eddie" answering',
    ),
    (
        "a call to an agent that was deleted", "call", told(step(status="running", **RUNNING), agents=[]),
        'No agent "eddie" is registered any more.', "answering",
    ),
    (
        "a call before a fallback", "call", told(step("backed", "running", **{**RUNNING, "failures": 2})),
        "attempt 3 of 3.", 'or its time limit of 5 min in 4 min 48 s; agent "bob" takes over then.',
    ),
    (
        "a call to the fallback", "call", told(step("backed", "running", **{**RUNNING, "agent_id": "bob"})),
        'agent "bob" has been working on it', "attempt 2 of 3 follows then.",
    ),
    (
        "a call that the flow can do without", "call", told(step("lenient", "running", **{**RUNNING, "failures": 2})),
        "attempt 3 of 3.", "the execution goes on without it then.",
    ),
    (
        "a call that something stands in for", "call", told(step("replaced", "running", **{**RUNNING, "failures": 2})),
        "attempt 3 of 3.", "the output that the flow names stands in then.",
    ),
    (
        "a node without an agent", "call", told(step("pass", "running", **{**RUNNING, "agent_id": None})),
        'Node "pass" passes on what reaches it', "The server, by itself, at once.",
    ),
    (
        "a task being handed over", "call", told(step(status="running", **RUNNING), agents=[view(**AGENTKIT)]),
        'Node "n": its task is being handed to agent "eddie", for 12 s so far.', 'Agent "eddie" taking the task, or',
    ),
    (
        "a task that was taken", "agent",
        told(
            step(waiting_for="agent", waiting_detail=TAKEN, attempt=1, waiting_until=ahead(20)),
            agents=[view(state="idle", **AGENTKIT)],
        ),
        'agent "eddie" took the task 40 s ago and has not ended it, attempt 1 of 3; it last reported idle, at',
        "or error, or ending the task itself; or its time limit in 20 s; attempt 2 of 3 follows then.",
    ),
    (
        "a task that was begun", "agent",
        told(step(waiting_for="agent", waiting_detail=TAKEN, attempt=1), agents=[view(state="active", **AGENTKIT)]),
        "it is at work on it (it reported active at 2027-01-15T07:59:40Z).", "reporting idle or finished",
    ),
    (
        "a task of an agent that says nothing", "agent",
        told(step(waiting_for="agent", waiting_detail=TAKEN, attempt=1), agents=[view(**AGENTKIT)]),
        "it has reported nothing yet.", "reporting idle or finished",
    ),
    (
        "an agent at its own limit", "slot",
        told(step(waiting_for="slot"), agents=[view(in_flight=2, max_concurrency=2)]),
        'Node "n" has waited for 40 s: agent "eddie" has as many calls open as it may have: 2 of 2.',
        'One of 2 open calls to agent "eddie" ending; executions of a higher priority go first.',
    ),
    (
        "an agent at the server's limit for one", "slot", told(step(waiting_for="slot"), agents=[view(in_flight=4)]),
        "4 of 4.", "One of 4 open calls",
    ),
    (
        "an agent on trial", "slot",
        told(step(waiting_for="agent"), agents=[view(in_flight=1, breaker=Breaker("half_open", 10))]),
        "1 of 1 (it is on trial after it could not be reached).", "The open call to agent",
    ),
    (
        "no call free in all", "slot", told(step(waiting_for="slot"), calls_in_flight=10),
        "all 10 calls that may be open at once, to all agents together, are open.", "One of the 10 open calls ending",
    ),
    (
        "a slot that is free again", "slot", told(step(waiting_for="slot")),
        "what it waited for is there in this moment.", "The server, by itself, at once",
    ),
    (
        "an unreachable agent", "agent", told(step(waiting_for="agent"), agents=[view(breaker=OPEN)]),
        'agent "eddie" cannot be reached, and is left alone for a while: Connection refused.',
        'Agent "eddie" becoming reachable: it is tried again at 2027-01-15T08:00:05Z (in 5 s), or sooner',
    ),
    (
        "an agent that became unreachable while a slot was waited for", "agent",
        told(step(waiting_for="slot"), agents=[view(breaker=OPEN)]), "cannot be reached", "becoming reachable",
    ),
    (
        "an agent with another task", "agent",
        told(step(waiting_for="agent"), agents=[view(task="e2:x", **AGENTKIT)]),
        'agent "eddie" takes one task at a time, and it has another task (e2:x).',
        'Agent "eddie" reporting that it is done with that task',
    ),
    (
        "an agent that has perhaps this task", "agent",
        told(step(waiting_for="agent"), agents=[view(task="e1:n", **AGENTKIT)]),
        "this task is being offered to it again.", "done with that task",
    ),
    (
        "an agent that is not idle", "agent",
        told(step(waiting_for="agent"), agents=[view(state="active", **AGENTKIT)]),
        "is given tasks only when it is idle, and it reported active at 2027-01-15T07:59:40Z.",
        'Agent "eddie" reporting idle.',
    ),
    (
        "nobody with a capability", "agent", told(step("able", waiting_for="agent", agent_id=None), agents=[]),
        'no active agent has the capability "greet".', "being registered, or activated.",
    ),
    (
        "nobody active with a capability", "agent",
        told(step("able", waiting_for="agent", agent_id=None), agents=[view(is_active=False)]),
        "(1 agent has it, but not active).", "being registered, or activated.",
    ),
    (
        "nobody free with a capability", "agent",
        told(
            step("able", waiting_for="agent", agent_id=None),
            agents=[view(breaker=OPEN), view("bob", in_flight=4), view("eve", task="e2:x")],
        ),
        "is free: eddie cannot be reached, bob has as many calls open as it may, eve has another task.",
        'An agent with the capability "greet" becoming free.',
    ),
    (
        "the one with a capability is not free", "agent",
        told(step("able", waiting_for="agent", agent_id=None), agents=[view(in_flight=4)]),
        'the one agent with the capability "greet" is not free', "becoming free",
    ),
    (
        "somebody is free with a capability", "slot",
        told(step("able", waiting_for="agent", agent_id=None, waiting_detail="Nobody was")),
        "is there in this moment. It waited because: Nobody was.", "at once",
    ),
    (
        "a retry", "retry",
        told(step(waiting_for="retry", attempt=2, failures=2, waiting_until=ahead(7), **UNREACHABLE)),
        'Node "n": attempt 2 of 3 of agent "eddie" failed, and another follows: AGENT_UNREACHABLE: Connection refused.',
        "A retry at 2027-01-15T08:00:07Z (in 7 s): attempt 3 of 3 after AGENT_UNREACHABLE.",
    ),
    (
        "a retry of an agent that is left alone", "retry",
        told(
            step(waiting_for="retry", attempt=2, failures=2, waiting_until=ahead(1), **UNREACHABLE),
            agents=[view(breaker=OPEN)],
        ),
        'attempt 2 of 3 of agent "eddie" failed, and another follows',
        "attempt 3 of 3 after AGENT_UNREACHABLE, but not before its agent is tried at 2027-01-15T08:00:05Z (in 5 s).",
    ),
    (
        "a retry after the time when an agent that is left alone is tried", "retry",
        told(
            step(waiting_for="retry", attempt=2, failures=2, waiting_until=ahead(9), **UNREACHABLE),
            agents=[view(breaker=OPEN)],
        ),
        "and another follows", "A retry at 2027-01-15T08:00:09Z (in 9 s): attempt 3 of 3 after AGENT_UNREACHABLE.",
    ),
    (
        "a fallback about to take over", "retry",
        told(step("backed", waiting_for="retry", agent_id="bob", attempt=3, waiting_until=ahead(0), **UNREACHABLE)),
        'agent "eddie" failed for good, and agent "bob" takes over: AGENT_UNREACHABLE', 'Agent "bob" being called at',
    ),
    (
        "a task that could not be handed over", "retry",
        told(
            step(
                waiting_for="retry", attempt=1, waiting_until=ahead(1), error_code="AGENTKIT_BUSY", error_message="Busy"
            ),
            agents=[view(**AGENTKIT)],
        ),
        "its task could not be handed to its agent, and is offered again: AGENTKIT_BUSY: Busy.",
        "The task being offered again at 2027-01-15T08:00:01Z (in 1 s), without end until it is taken.",
    ),
    (
        "a timer", "timer", told(step(waiting_for="timer", waiting_until=ahead(3600))),
        'Node "n" waits for a time, for 40 s so far.', "That time having come at 2027-01-15T09:00:00Z (in 1 h).",
    ),
    (
        "a signal", "signal", told(step(waiting_for="signal", waiting_detail='It is called "approved"')),
        'Node "n" waits for a signal, for 40 s so far. It is called "approved".', "The signal being sent.",
    ),
    (
        "others like it", "concurrency", told(step(waiting_for="concurrency")),
        "waits until fewer executions like it run", "One of them ending.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "explanation", "text", "would_move"), [row[1:] for row in OPEN_NODES], ids=[row[0] for row in OPEN_NODES]
)
def test_an_open_node(what: str, explanation: Explanation, text: str, would_move: str) -> None:
    """Each reason to wait is told as what it is, with what would move the node."""
    cause = only(explanation)
    assert cause.what == what
    assert text in cause.text
    assert would_move in cause.would_move
    assert cause.since is not None


ENDED = {"completed_at": ago(10), "waiting_since": None}
FAILED = {"status": "failed", "completed_at": ago(10), "error_code": "AGENT_UNREACHABLE"}

WHOLES: list[tuple[str, str, Explanation, str, str]] = [
    (
        "its turn", "queue", told(status="pending", before=2, started_at=None),
        "for 1 min 40 s so far, in place 3: 2 executions are ahead of it. At most 5 executions run at once.",
        "Higher priorities go first (its own is 3 of 10), then older executions.",
    ),
    ("the next turn", "queue", told(status="pending"), "in place 1: it is the next.", "A running execution ending"),
    (
        "a turn that will not come now", "queue", told(status="pending", is_accepting=False),
        "waits for its turn", "The server having started again",
    ),
    ("a pause", "paused", told(status="paused"), "Somebody paused the execution at 2027-01-15T07:59:10Z.", "resuming"),
    (
        "being taken up", "queue", told(step(status="running", **RUNNING), is_carried=False),
        "The server takes the execution up again from its record", "once the store can be read and written",
    ),
    (
        "a stop", "queue", told(step(status="running", **RUNNING), is_carried=False, is_accepting=False),
        "The server is stopping", "The server having started again",
    ),
    ("nothing", "call", told(step(status="completed")), "It is between two steps", "The server, by itself"),
    (
        "a failed node", "ended",
        told(step(status="failed", attempt=3, failures=3, **ENDED, **UNREACHABLE), **FAILED, error_message="..."),
        'after 3 attempts of agent "eddie", and the execution with it: AGENT_UNREACHABLE: Connection refused.',
        "Nothing: it has ended. Start the flow again with the same input, once the agent can be reached",
    ),
    (
        "a failure that no repeat helps", "ended",
        told(
            step(status="failed", attempt=1, failures=1, error_code="NO", error_message="I will not", **ENDED), **FAILED
        ),
        "It was not tried again, though 3 attempts were allowed", "once what the message tells of is put right.",
    ),
    (
        "its time limit", "ended",
        told(
            step(status="cancelled", **ENDED), step("pass", "completed", **ENDED),
            **{**FAILED, "error_code": "EXECUTION_TIMEOUT"}, error_message="It did not end within its time limit.",
        ),
        'It did not end within its time limit. Not ended by then: node "n" (agent "eddie").',
        "with a longer time limit",
    ),
    (
        "a time limit in the queue", "ended",
        told(**{**FAILED, "error_code": "EXECUTION_TIMEOUT"}, started_at=None, error_message="It did not begin."),
        "The execution failed at 2027-01-15T07:59:50Z: It did not begin. Nothing of it was under way.", "time limit",
    ),
    (
        "a cancellation", "ended",
        told(status="cancelled", completed_at=ago(10), error_code="CANCELLED", error_message="Cancelled: enough"),
        "The execution was cancelled at 2027-01-15T07:59:50Z, after 1 min 25 s: Cancelled: enough.", "after all.",
    ),
    (
        "success", "ended", told(step(status="completed"), status="completed", completed_at=ago(10)),
        "The execution completed at 2027-01-15T07:59:50Z, after 1 min 25 s.", "Nothing: it has ended",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "explanation", "text", "would_move"), [row[1:] for row in WHOLES], ids=[row[0] for row in WHOLES]
)
def test_an_execution_as_a_whole(what: str, explanation: Explanation, text: str, would_move: str) -> None:
    """What is true of all of an execution is told once: its turn, a pause, a restart, each way to end."""
    cause = only(explanation)
    assert cause.what == what
    assert text in cause.text
    assert would_move in cause.would_move
    assert cause.text in explanation.summary


def test_failures_that_the_flow_allows_for_are_told_too() -> None:
    """An execution that completed says which nodes failed on the way, and what came instead."""
    failed = {"attempt": 3, "completed_at": ago(10), **UNREACHABLE}
    found = told(
        step("lenient", "failed", **failed), step("replaced", "completed", **failed), status="completed",
        completed_at=ago(10),
    )  # fmt: skip
    _, lenient, replaced = found.causes
    assert 'Node "lenient" failed after 3 attempts, and the flow went on without it' in lenient.text
    assert 'Node "replaced" failed after 3 attempts, and the output that the flow names stood in' in replaced.text
    assert {lenient.would_move, replaced.would_move} == {"Nothing: the flow says to go on."}


def test_the_summary_of_many_causes() -> None:
    """The summary says how long and how far, what has lasted longest, how much more is open, and the time limit."""
    found = told(
        step(status="running", **RUNNING), step("able", waiting_for="slot", agent_id=None),
        step("pass", "completed"), deadline_at=ahead(3600),
    )  # fmt: skip
    assert [cause.node_id for cause in found.causes] == ["able", "n"]
    assert found.summary == (
        'Running for 1 min 35 s; 1 of 6 nodes ended. Node "able" has waited for 40 s: what it waited for is there '
        "in this moment. 1 more node is open. Its time limit ends it at 2027-01-15T09:00:00Z at the latest."
    )


def test_every_word_is_used() -> None:
    """The tables above have every reason that an explanation may give."""
    assert {row[1] for row in [*OPEN_NODES, *WHOLES]} == set(CAUSES)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"health": "unreachable", "health_message": "Connection refused"}, ' Agent "eddie" is unreachable.'),
        ({"breaker": OPEN}, " in a row and is left alone."),
    ],
    ids=["health", "breaker"],
)
def test_an_error_is_told_once(trouble: dict[str, object], said: str) -> None:
    """What the last attempt failed with is not told again as what is wrong with its agent; another reason is."""
    waits = step(waiting_for="retry", attempt=1, failures=1, waiting_until=ahead(7), **UNREACHABLE)
    text = only(told(waits, agents=[view(**trouble)])).text
    assert said in text
    assert text.count("Connection refused") == 1
    other = step(waiting_for="retry", attempt=1, failures=1, error_code="X", error_message="No ink")
    text = only(told(other, agents=[view(**trouble)])).text
    assert (text.count("No ink"), text.count("Connection refused")) == (1, 1)


def test_foreign_text_is_bounded() -> None:
    """What an agent said is quoted as far as a few lines."""
    cause = only(told(step(waiting_for="retry", attempt=1, failures=1, error_code="X", error_message="y" * 100_000)))
    assert len(cause.text) < 500
