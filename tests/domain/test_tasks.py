from __future__ import annotations

from typing import Any, Optional

import attrs
import orjson
import pytest

from opscore.domain.agents import Report
from opscore.domain.calls import Answered, Refused
from opscore.domain.tasks import Begun, OpenTask, Verdict, split_task_id

HELD = OpenTask("a", "e", "n", until=1_000, accepted_at=5)
BEGUN = attrs.evolve(HELD, begun_at=10)
NAMED = {"opscore_task_id": "e:n"}
FAILED = Refused("AGENT_ERROR", "The agent reported an error and gave no message.", retryable=True)


def report(state: Any, at: int = 20, **details: Any) -> Report:
    return Report("a", state, at, at, orjson.dumps(details).decode())


ENDED = attrs.evolve(HELD, ended=report("idle", at=30, result={"late": 1}))

VERDICTS: list[tuple[str, OpenTask, Report, Verdict]] = [
    ("active begins it", HELD, report("active"), Begun(20)),
    ("active again is no news", BEGUN, report("active"), None),
    ("active that names it begins it", HELD, report("active", **NAMED), Begun(20)),
    ("active that names another is not about it", HELD, report("active", opscore_task_id="e:m"), None),
    ("idle before it has begun is no end", HELD, report("idle"), None),
    ("finished before it has begun is no end", HELD, report("finished"), None),
    ("idle after active ends it", BEGUN, report("idle"), Answered({})),
    ("finished after active ends it", BEGUN, report("finished"), Answered({})),
    ("idle that names it ends it", HELD, report("idle", **NAMED), Answered({})),
    ("idle that names another does not", BEGUN, report("idle", opscore_task_id="e:m"), None),
    ("its node is a name too", HELD, report("finished", taskId="n"), Answered({})),
    ("of two names the first counts", BEGUN, report("idle", opscore_task_id="x", taskId="n"), None),
    ("a name that is no text is none", BEGUN, report("idle", opscore_task_id=7), Answered({})),
    ("result is its output", BEGUN, report("idle", result={"n": 1}), Answered({"n": 1})),
    ("output is its output", BEGUN, report("idle", output={"n": 1}), Answered({"n": 1})),
    ("result wins over output", BEGUN, report("idle", output={"n": 1}, result={"n": 2}), Answered({"n": 2})),
    ("null is no result", BEGUN, report("idle", output={"n": 1}, result=None), Answered({"n": 1})),
    ("a value becomes an object", BEGUN, report("idle", result=0), Answered({"value": 0})),
    ("error ends it, begun or not", HELD, report("error"), FAILED),
    ("error says why", BEGUN, report("error", error="no ink"), Refused("AGENT_ERROR", "no ink", True)),
    ("error has a code", BEGUN, report("error", error_code="E1", message="m"), Refused("E1", "m", True)),
    ("a code is short", BEGUN, report("error", error_code="x" * 101, error="m"), Refused("AGENT_ERROR", "m", True)),
    ("an error may be an object", BEGUN, report("error", error={"a": 1}), Refused("AGENT_ERROR", '{"a":1}', True)),
    ("NUL is not kept", BEGUN, report("error", error="a\x00"), Refused("AGENT_ERROR", "a\ufffd", True)),
    ("retryable false counts", BEGUN, report("error", error="m", retryable=False), Refused("AGENT_ERROR", "m", False)),
    ("retryable 0 is not false", BEGUN, report("error", error="m", retryable=0), Refused("AGENT_ERROR", "m", True)),
    ("error about another task is not its", BEGUN, report("error", taskId="m"), None),
    ("initializing says nothing", BEGUN, report("initializing"), None),
    ("offline says nothing", BEGUN, report("offline", **NAMED), None),
    ("a late active lets the end count", ENDED, report("active", at=20), Answered({"late": 1})),
    ("an active after that end begins it", ENDED, report("active", at=31), Begun(31)),
    ("an active at that instant begins it", ENDED, report("active", at=30), Begun(30)),
]  # fmt: skip


@pytest.mark.parametrize(("fact", "task", "told", "verdict"), VERDICTS, ids=[row[0] for row in VERDICTS])
def test_what_a_report_means_for_a_task(fact: str, task: OpenTask, told: Report, verdict: Verdict) -> None:
    """Each row is a fact: a task, a report of its agent, and what it means."""
    assert task.judge(told) == verdict, fact


def test_messages_have_an_end() -> None:
    """Of a long message the first 1,000 characters are kept."""
    verdict = BEGUN.judge(report("error", error="x" * 5_000))
    assert isinstance(verdict, Refused)
    assert verdict.error_message == "x" * 1_000


@pytest.mark.parametrize(
    ("given", "parts"), [("e:n", ("e", "n")), ("n", ("", "n")), (":n", ("", "n")), ("e:", ("e", "")), ("", ("", ""))]
)
def test_a_task_id_names_execution_and_node(given: str, parts: tuple[str, str]) -> None:
    """Without a colon it names a node alone."""
    assert split_task_id(given) == parts


@pytest.mark.parametrize(("accepted", "begun", "taken"), [(None, None, False), (1, None, True), (None, 1, True)])
def test_a_task_is_taken_once_it_was_accepted_or_begun(
    accepted: Optional[int], begun: Optional[int], taken: bool
) -> None:
    """Either word of the other side is enough."""
    assert OpenTask("a", "e", "n", 1, accepted, begun).is_taken is taken
