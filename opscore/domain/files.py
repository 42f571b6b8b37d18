"""Definitions in files: from names and bytes to checked flows, with the line of every mistake.

A file holds a flow or a workflow of the Ops-Core dialect, in JSON (``.json``) or YAML (``.yaml``, ``.yml``). Nothing
here opens a file: whoever walks a directory hands over what was found there.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, Optional, Sequence

import attrs

from opscore.domain.documents import decode_json, decode_yaml
from opscore.domain.errors import InvalidDocument, InvalidFiles, InvalidFlow
from opscore.domain.flow_reader import check_flow, check_size
from opscore.domain.flows import Finding, Report
from opscore.domain.lines import Lines
from opscore.domain.workflows import is_workflow, to_definition

SUFFIXES = (".json", ".yaml", ".yml")
MAX_FILE_BYTES = 1024 * 1024

_NODE = re.compile(r"nodes\[([0-9]+)\]")


@attrs.frozen
class File:
    """A file that was found: its bytes, or why they cannot be had."""

    name: str
    raw: bytes = b""
    problem: str = ""


@attrs.frozen
class Definition:
    """What a file says, and on which lines it says it."""

    name: str
    document: Any
    _lines: Lines

    def line_of(self, place: str) -> int:
        """The line (from 1) of a place such as ``nodes[3].depends_on``, or of the nearest thing that is there."""
        return self._lines.line_of(place)


@attrs.frozen
class Remark:
    """Something to say about a file, and where. As text it is one line, ``name:line: text``."""

    file: str
    line: int
    place: str
    text: str

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}: {shown(self.text)}"


@attrs.frozen
class Checked:
    """What a check of a file found; ``source`` is what was read, where it could be read."""

    name: str
    report: Report
    errors: Sequence[Remark]
    warnings: Sequence[Remark]
    source: Optional[Definition] = attrs.field(repr=False, default=None)

    @property
    def definition(self) -> Mapping[str, Any]:
        """The definition of the flow. Raises InvalidFiles when it cannot run."""
        if self.report.flow is None:
            raise refusal(self.errors)
        return self.report.flow.definition


def shown(text: str) -> str:
    """A text from a file or its name as one line without control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def refusal(errors: Iterable[Remark]) -> InvalidFiles:
    """All mistakes in files as one error, a line for each."""
    return InvalidFiles("\n".join(map(str, errors)))


def read_definition(name: str, raw: bytes) -> Definition:
    """Read a file's bytes; a file with another suffix is JSON when it begins like an object.

    Raises:
        InvalidDocument: It cannot be read. The message begins with ``name:line: ``.
    """
    try:
        return _read(name, raw)
    except InvalidDocument as error:
        line = error.line or 1
        located = InvalidDocument(f"{shown(name)}:{line}: {shown(error.message)}", error_code=error.error_code)
        located.line = line
        raise located from None


def check_file(name: str, raw: bytes) -> Checked:
    """Read a file and check its flow or workflow; never raises for what is wrong with it."""
    try:
        definition = _read(name, raw)
    except InvalidDocument as error:
        return _unreadable(name, error.message, error.line or 1)
    report = _check(definition.document)
    return Checked(
        name, report, remarks(definition, report.errors), remarks(definition, report.warnings), source=definition
    )


def check_files(files: Iterable[File]) -> Sequence[Checked]:
    """Check all files of one directory; two with the same flow are a mistake of the second."""
    taken: dict[str, str] = {}
    found = []
    for file in files:
        checked = _unreadable(file.name, file.problem) if file.problem else check_file(file.name, file.raw)
        flow = checked.report.flow
        if flow is not None:
            first = taken.setdefault(flow.flow_id, file.name)
            if first != file.name:
                text = f'The flow id "{flow.flow_id}" is taken by {shown(first)} already.'
                checked = _with_error(checked, "flow_id", text)
        found.append(checked)
    return found


def remarks(definition: Definition, findings: Iterable[Finding]) -> Sequence[Remark]:
    """Findings with their lines, from top to bottom."""
    found = [Remark(definition.name, definition.line_of(one.place), one.place, one.text) for one in findings]
    return sorted(found, key=lambda remark: remark.line)


def _read(name: str, raw: bytes) -> Definition:
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidDocument(f"The file is larger than {MAX_FILE_BYTES // 1024} KiB.")
    text = _text(raw)
    if not text.strip():
        raise InvalidDocument("The file is empty.")
    lower = name.lower()
    is_json = lower.endswith(".json") or (not lower.endswith(SUFFIXES) and text.lstrip()[0] == "{")
    lines = Lines(text, is_json=is_json)
    try:
        document = decode_json(text) if is_json else decode_yaml(text)
    except InvalidDocument as error:
        if error.line is None:
            lines.look()  # which raises the same with its line
        raise
    return Definition(name, document, lines)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = InvalidDocument("The file is not UTF-8.")
        problem.line = raw.count(b"\n", 0, error.start) + 1
        raise problem from None


def _check(document: Any) -> Report:
    """Check a flow, or a workflow in its own terms."""
    try:
        if not is_workflow(document):
            check_size(document)
            return check_flow(document)
        definition = to_definition(document)
        check_size(definition)
        return _in_terms_of(document, definition, check_flow(definition))
    except InvalidFlow as error:
        findings = [Finding(place, text) for place, texts in error.details.items() for text in texts]
        return Report(None, findings or [Finding("", error.message)], [])


def _in_terms_of(workflow: Mapping[str, Any], definition: Mapping[str, Any], report: Report) -> Report:
    """Where the flow of a workflow is wrong, as places of the workflow."""
    tasks = {str(task.get("taskId")): index for index, task in enumerate(workflow["tasks"]) if isinstance(task, dict)}

    def moved(finding: Finding) -> Finding:
        place = finding.place
        node = _NODE.match(place)
        if node is not None:
            task = tasks.get(definition["nodes"][int(node.group(1))].get("id"))
            place = "tasks" if task is None else f"tasks[{task}]"
        elif place.startswith("nodes"):
            place = "tasks"
        elif place == "flow_id":
            place = "id"
        return Finding(place, finding.text)

    return Report(report.flow, [moved(one) for one in report.errors], [moved(one) for one in report.warnings])


def _unreadable(name: str, problem: str, line: int = 1) -> Checked:
    return Checked(name, Report(None, [Finding("", problem)], []), [Remark(name, line, "", problem)], [])


def _with_error(checked: Checked, place: str, text: str) -> Checked:
    assert checked.source is not None, "it has been read"
    finding = Finding("id" if is_workflow(checked.source.document) else place, text)
    report = Report(None, [*checked.report.errors, finding], checked.report.warnings)
    return attrs.evolve(checked, report=report, errors=[*checked.errors, *remarks(checked.source, [finding])])
