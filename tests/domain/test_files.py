from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opscore.domain.errors import InvalidDocument
from opscore.domain.files import MAX_FILE_BYTES, File, check_file, check_files, read_definition

YAML = b"""\
# A comment, and nothing else.
flow_id: f

nodes:
  - id: a
    agent_id: x
  - agent_id: y
    id: b
    depends_on:
      - a
    retry: {max_attempts: 2,
      jitter: true}
"a.b[0]": odd
"""
JSON = b"""\
{
\t"flow_id": "f",
\t"text": "a { [ : , \\" \\u0041 \\ud83d\\ude00 \\/ \\\\",
\t"nodes":
\t[
\t\t{"id": "a", "agent_id": "x"}, {
\t\t\t"id": "b",
\t\t\t"depends\\u005fon" :\t["a"],
\t\t\t"retry": {"max_attempts": -1.5e3,
\t\t\t\t"jitter": true}}
\t],
\t"a.b[0]": "odd"
}
"""
PLACES = [
    ("", 2, 1),
    ("flow_id", 2, 2),
    ("nodes", 4, 4),
    ("nodes[0]", 5, 6),
    ("nodes[0].agent_id", 6, 6),
    ("nodes[1]", 7, 6),
    ("nodes[1].id", 8, 7),
    ("nodes[1].depends_on", 9, 8),
    ("nodes[1].depends_on[0]", 10, 8),
    ("nodes[1].retry", 11, 9),
    ("nodes[1].retry.jitter", 12, 10),
    ("nodes[1].retry.jitter.deeper", 12, 10),
    ("nodes[1].timeout", 7, 6),
    ("nodes[7].id", 4, 4),
    ("nodes.id", 4, 4),
    ("entry_point", 2, 1),
    ("a.b[0]", 13, 12),
    ("flow_id[0]", 2, 2),
    ("][", 2, 1),
    ("nodes[99999999999999]", 4, 4),
]


@pytest.mark.parametrize(("place", "in_yaml", "in_json"), PLACES)
def test_a_place_is_on_the_line_of_what_is_there(place: str, in_yaml: int, in_json: int) -> None:
    """A place is on the line of its key or item, or else of the nearest element around it; tabs change nothing."""
    assert read_definition("f.yaml", YAML).line_of(place) == in_yaml
    assert read_definition("f.json", JSON).line_of(place) == in_json


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("ab:{}\"\\,'#"), below, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 2, "\t"]))
def test_json_lines_are_those_of_its_layout(value: Any, indent: Any) -> None:
    """Where each value is on a line of its own, the lines of the items of any list are found."""
    text = json.dumps({"list": [value, "last"]}, indent=indent, ensure_ascii=False)
    before_last = text[: text.rindex('"last"')]
    definition = read_definition("any.json", text.encode())
    assert definition.document == {"list": [value, "last"]}
    assert definition.line_of("list[1]") == before_last.count("\n") + 1


UNREADABLE = [
    ("a.json", b'{\n  "a": 1,\n  "b" 2\n}', 3, "column 7"),
    ("a.json", b'{\n"a": 1', 2, "column"),
    ("a.json", b'{"a": 1,\n"b": 2,\n"\\u0061": 3}', 3, '"a" twice'),
    ("a.json", b'{"a": [1,\n12345678901234567890123]}', 2, "64-bit"),
    ("a.json", b'{"a":\n' + b"[" * 65 + b"]" * 65 + b"}", 2, "nested deeper"),
    ("a.json", b"flow_id: f", 1, "not valid JSON"),
    ("a.yaml", b"a: 1\nb: [1,\n\tc: }", 3, "YAML cannot be read"),
    ("a.yaml", b"a:\n\t- 1\n", 2, "cannot start any token"),
    ("a.yml", b"a: &x 1\nb: *x\n", 1, "anchors and aliases"),
    ("a.yml", b"a: 1\nb: !!str 2\n", 2, "tags"),
    ("a.yml", b"a: 1\nb: 2\na: 3\n", 3, '"a" appears twice'),
    ("a.yaml", "ä: ü\nb: \x07\n".encode(), 2, "U+0007"),
    ("a.yaml", b"a: 1\nb: \xff\n", 2, "not UTF-8"),
    ("a.yaml", "a: 1".encode("utf-16"), 1, "not UTF-8"),
    ("a.yaml", b" \n", 1, "empty"),
    ("a.json", b"", 1, "empty"),
    ("a.yaml", b"#" * (MAX_FILE_BYTES + 1), 1, "larger than 1024 KiB"),
    ("flow", b'{"a":\n}', 2, "not valid JSON"),
    ("flow", b"a: 1\na: 2", 2, "YAML"),
]


@pytest.mark.parametrize(("name", "raw", "line", "text"), UNREADABLE, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_refused_with_its_line(name: str, raw: bytes, line: int, text: str) -> None:
    """Each error begins with the file and the line, and says what is wrong in one line."""
    with pytest.raises(InvalidDocument) as refused:
        read_definition(name, raw)
    assert refused.value.message.startswith(f"{name}:{line}: ")
    assert text in refused.value.message
    assert len(refused.value.message.splitlines()) == 1
    assert [str(error) for error in check_file(name, raw).errors] == [refused.value.message]


@given(st.binary(max_size=40) | st.text("{}[]\",:\\ \n\t-a1'#&*!|>%@", max_size=40).map(str.encode))
def test_any_bytes_are_checked(raw: bytes) -> None:
    """Whatever a file holds, its check tells findings on lines that it has, and never raises."""
    for name in ("a.json", "a.yaml"):
        checked = check_file(name, raw)
        assert checked.errors
        assert all(1 <= error.line <= raw.count(b"\n") + raw.count(b"\r") + 2 for error in checked.errors)


def test_findings_are_told_with_their_lines() -> None:
    """Each finding of a flow's check is a line with the file, the number and the text, from top to bottom."""
    raw = b"flow_id: f\nnodes:\n- id: a\n  agent_id: x\n- id: b\n  agent_id: x\n  depends_on: [c]\n- id: a b\n"
    assert [str(error) for error in check_file("flows/f.yaml", raw).errors] == [
        'flows/f.yaml:7: Node "b" depends on the unknown node "c".',
        "flows/f.yaml:8: nodes[2]: id must be 1 to 100 letters, digits, '_' or '-'.",
        "flows/f.yaml:8: nodes[2]: a processor needs an agent_id or a capability.",
    ]
    assert check_file("none.yaml", b"\n# nothing\n").errors[0].text == "A flow must be an object."


def test_workflows_are_told_in_their_own_terms() -> None:
    """A workflow becomes a flow, and what is wrong with it is found at its tasks."""
    good = b'{"id": "w",\n "tasks": [\n  {"taskId": "t", "agentId": "x"},\n  {"taskId": "u", "agentId": "x"}]}'
    checked = check_file("w.json", good)
    assert (checked.errors, checked.definition["flow_id"]) == ([], "w")
    (error,) = check_file("w.json", good.replace(b'"taskId": "u"', b'"taskId": 5')).errors
    assert error.line == 4
    (error,) = check_file("w.json", good.replace(b'"id": "w"', b'"id": "w w"')).errors
    assert (error.line, error.place) == (1, "id")


def test_a_flow_id_is_taken_once() -> None:
    """The second file with a flow's id is refused, with both names."""
    raw = b"name: n\nflow_id: f\nnodes: [{id: a, agent_id: x}]\n"
    first, second = check_files([File("d/a.yaml", raw), File("d/b.yaml", raw)])
    assert first.errors == []
    assert [str(error) for error in second.errors] == [
        'd/b.yaml:2: The flow id "f" is taken by d/a.yaml already.',
    ]
    assert second.report.flow is None


def test_names_and_texts_cannot_break_a_line() -> None:
    """A line break or an escape in a file's name or content does not reach the message."""
    raw = b'{"flow_id": "f", "nodes": [{"id": "a", "agent_id": "x", "depend_on\\n\\u001b[1m": []}]}'
    for name in ("a\nb.json", "a\x1b.json", "a\udcff.json"):
        for remark in (*check_file(name, raw).errors, *check_file(name, raw).warnings, *check_file(name, b"").errors):
            assert str(remark).isprintable()
            str(remark).encode()


def test_a_large_file_is_looked_through_in_linear_time() -> None:
    """The lines of a file at the limit are found, however many there are and however deep the places look."""
    many = b'{"nodes": [\n' + b",\n".join([b'"' + b"\\\\" * 20 + b'"'] * 20_000) + b"]}"
    assert read_definition("a.json", many).line_of("nodes[19999]") == 20_001
    assert read_definition("a.yaml", many).line_of("nodes[19999]") == 20_001
    one = b'{"a": "' + b"x{" * 400_000 + b'",\n"b": 1}'
    definition = read_definition("a.json", one)
    assert [definition.line_of("b." + "x." * 400_000), definition.line_of("." * 900_000)] == [2, 1]
