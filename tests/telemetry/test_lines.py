from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
from collected import COLOURED, PLAIN, collecting

from opscore.telemetry import context
from opscore.telemetry.formats import Format, as_json
from opscore.telemetry.lines import FACTS, LONGEST_TEXT
from opscore.telemetry.secrets import Secrets
from opscore.telemetry.sentences import SENTENCES

ROOT = Path(__file__).parents[2]

FORGED = (
    'x\n{"level":"ERROR","message":"forged"}', "x\r\nforged", "x\rforged", "x\x0bforged", "x\x0cforged", "x\x1cforged",
    "x\x1dforged", "x\x1eforged", "x\x85forged", "x\u2028forged", "x\u2029forged", "x\x00\nforged", "x\\\nforged",
    'x"}\n{"a":"', "x\u202eforged\n", "x\u061c\u200f\x7fforged", "x\ufeff\u2060forged", "x\U000e0001\U000e0066forged",
    "x\x1b[2K\x1b[1Gforged", "x\x1b]0;forged\x07", "x\ud800\nforged",
    "x\n    | forged", "x\n2026-01-31T12:00:00.000Z ERROR forged",
)  # fmt: skip


def test_a_line_has_its_names_in_one_order() -> None:
    """Instant, level, event, message, logger; then the known facts in their order, then others; nothing null."""
    with collecting() as log:
        facts = {name: name for name in reversed(FACTS)}
        log.logger.warning("agent.offline", extra={"zebra": 1, **facts, "attempt": 0, "duration_ms": 0.0, "none": None})
        (line,) = log.objects
    head = ["timestamp", "level", "event", "message", "logger"]
    assert list(line) == [*head, *FACTS, "zebra"]
    assert (line["level"], line["event"], line["attempt"], line["duration_ms"]) == ("WARNING", "agent.offline", 0, 0.0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])


def test_an_event_becomes_a_sentence() -> None:
    """The sentence has the facts it names; an unknown event speaks for itself; other texts stay as they are."""
    with collecting() as log:
        log.logger.warning("run.lost", extra={"reason": "disk full"})
        log.logger.info("something.new_here", extra={"reason": "why not"})
        log.logger.info("%s of %d", "one", 2)
        lost, new, other = log.objects
    assert lost["message"] == "Memory and store disagree about an execution, and it is taken up anew: disk full"
    assert new["message"] == "Something: new here: why not"
    assert (other["message"], other["event"]) == ("one of 2", log.logger.name)


def test_what_is_bound_is_on_every_line() -> None:
    """Bound facts are on each line of a work; what the call says goes before; another work has none of them."""
    with collecting() as log:
        outer = context.begin(request_id="r-1", trace_id="t-1")
        inner = context.bind(execution_id="e-1")
        log.logger.info("a.b")
        log.logger.info("a.b", extra={"trace_id": "t-2"})
        context.release(inner)
        anew = context.begin(execution_id="e-2")
        log.logger.info("a.b")
        context.release(anew)
        context.release(outer)
        log.logger.info("a.b")
        found = [[line.get(name) for name in ("request_id", "trace_id", "execution_id")] for line in log.objects]
    assert found == [["r-1", "t-1", "e-1"], ["r-1", "t-2", "e-1"], [None, None, "e-2"], [None, None, None]]


def test_a_fact_never_replaces_what_the_record_says() -> None:
    """Extras with the names of a line's own fields stand beside them under other names."""
    with collecting() as log:
        log.logger.info("a.b", extra={"level": "forged", "event": "forged", "timestamp": "forged", "logger": "forged"})
        (line,) = log.objects
    assert (line["level"], line["event"], line["logger"]) == ("INFO", "a.b", log.logger.name)
    assert line["extra_level"] == line["extra_event"] == line["extra_timestamp"] == line["extra_logger"] == "forged"


def test_what_changes_after_the_call_is_shown_as_it_was() -> None:
    """Arguments, nested facts and exceptions are taken down at the call."""
    with collecting() as log:
        given: dict[str, Any] = {"inner": [1, {"a": 1}]}
        arguments = ["first"]
        log.logger.info("a.b", extra={"given": given})
        log.logger.info("%s", arguments)
        given["inner"][1]["a"] = 2
        given.clear()
        arguments.clear()
        facts, text = log.objects
    assert facts["given"] == {"inner": [1, {"a": 1}]}
    assert text["message"] == "['first']"


class Odd:
    """Something that cannot be shown."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_whatever_is_logged_becomes_a_line() -> None:
    """Values that JSON lacks, that cannot be shown, that hold themselves, that have no end: each is one line."""
    endless: list[Any] = []
    endless.append(endless)
    values: list[Any] = [
        object(), Odd(), endless, 2**70, float("nan"), b"\xff", {1: {2: {3: {4: {5: {6: 7}}}}}}, {"\ud800": "\ud800"},
        list(range(1000)), "x" * 10_000_000, {Odd(): 1}, {"x": {1, 2}}, type,
    ]  # fmt: skip
    with collecting() as log:
        for value in values:
            log.logger.info("a.b", extra={"value": value})
        log.logger.info(Odd())
        log.logger.info("%d is not", "a number")
        assert [one["event"] for one in log.objects[-2:]] == ["logs.not_shown"] * 2
        sizes = [len(line) for line in log.text.split("\n")[:-1]]
    assert len(sizes) == len(values) + 2
    assert max(sizes) < 2 * LONGEST_TEXT


def test_an_exception_is_in_its_line() -> None:
    """A traceback is one field of one line, its last words the reason; in the console its lines are set in."""
    for form in (as_json, PLAIN):
        with collecting(form=form) as log:
            try:
                _ = {}["first\nsecond"]
            except KeyError:
                log.logger.exception("engine.hop_failed")
            text = log.text
            (line,) = log.lines
        assert "KeyError: 'first" in line.extras["exc_info"]
        assert line.message.endswith("second'")
        assert text.count("\n") == (1 if form is as_json else len(line.extras["exc_info"].split("\n")) + 1)
        assert form is as_json or all(one.startswith("    | ") for one in text.split("\n")[1:-1])


@pytest.mark.parametrize("forged", FORGED, ids=[repr(one)[:20] for one in FORGED])
@pytest.mark.parametrize("form", [as_json, PLAIN, COLOURED], ids=["json", "console", "colour"])
def test_nobody_forges_a_line(forged: str, form: Format) -> None:
    """Twenty texts that would begin a line, as message, fact, name and error code: lines in are lines out."""
    with collecting(form=form) as log:
        log.logger.info("agent.offline", extra={"agent_id": forged, "reason": forged, "error_code": forged})
        log.logger.info("a.b", extra={"deep": {forged: [forged]}})
        log.logger.info(forged)
        log.logger.info("%s", forged)
        text = log.text
    assert text.count("\n") == len(text.splitlines()) == 4
    for line in text.split("\n")[:-1]:
        visible = re.sub(r"\x1b\[[0-9;]*m", "", line) if form is COLOURED else line
        assert visible.isprintable()


def test_what_is_escaped_in_json_is_read_as_it_was() -> None:
    """Whoever reads the JSON gets the very characters that the line does not show, those beyond 16 bits too."""
    text = "a\x7f\x85\u200f\u202e\ufeff\U000e0041é\U0001f600z"
    with collecting(form=as_json) as log:
        log.logger.info("a.b", extra={"reason": text})
        written = log.text
    assert json.loads(written)["reason"] == text
    assert "é\U0001f600z" in written


def test_people_can_read_it() -> None:
    """The console's columns stand in line, facts come after the sentence; a trace that says nothing is left out."""
    execution_id = "01a22017-94f6-75bf-92c2-b96c7b3e31a8"
    with collecting(form=PLAIN) as log:
        extra: dict[str, Any] = {"flow_id": "f", "execution_id": execution_id}
        extra.update({"trace_id": execution_id.replace("-", ""), "duration_ms": 12.5})
        log.logger.info("execution.completed", extra=extra)
        log.logger.error("node.failed", extra={"node_id": "n", "reason": "no answer", "trace_id": "f" * 32})
        first, second = log.text.split("\n")[:-1]
    assert first[25:].startswith("INFO     execution.completed    The execution of f has completed. execution_id=01a2")
    assert first.endswith("duration_ms=12.5")
    assert second[25:].startswith("ERROR    node.failed            Node n has failed: no answer")
    assert second.endswith(f"trace_id={'f' * 32}")


def test_a_cut_never_goes_through_a_secret() -> None:
    """Texts are cut to their bounds only when they are masked: wherever the cut falls, no part of a secret is left."""
    secret = "canary-0123456789-abcdef"
    secrets = Secrets()
    secrets.add(secret)
    with collecting(secrets) as log:
        for place in range(LONGEST_TEXT - 40, LONGEST_TEXT + 5):
            log.logger.info("a.b", extra={"text": "x" * place + secret + "y" * 10_000})
        assert "canary" not in log.text


def _events() -> Iterator[tuple[str, str]]:
    """Every event that the code gives to a logger."""
    for path in sorted((ROOT / "opscore").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                continue
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                name = of.id if isinstance(of, ast.Name) else ""
                if name.lower().strip("_") not in ("log", "executions", "nodes", "calls"):
                    continue
                for argument in node.args:
                    for part in ast.walk(argument):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str) and "." in part.value:
                            yield path.name, part.value


def test_every_event_has_a_sentence_and_a_row() -> None:
    """Whatever the code logs is in the table of sentences, and the documentation's table has each of those."""
    found = [(path, event) for path, event in _events() if not event.endswith(".")]
    assert len(found) > 40
    assert [one for one in found if one[1] not in SENTENCES] == []
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert [event for event in SENTENCES if f"`{event}`" not in text] == []
