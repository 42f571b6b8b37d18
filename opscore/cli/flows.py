"""``opscore flows``: check definitions."""

from __future__ import annotations

from typing import Any

import click

from opscore.cli.output import FAILED, print_json, read_file
from opscore.domain.documents import decode_json, decode_yaml
from opscore.domain.errors import InvalidDocument
from opscore.domain.flows import Finding, Report, check_flow


def read_document(path: str) -> Any:
    """A JSON or YAML file; what begins like a JSON object is read as JSON.

    Raises:
        Invalid: It cannot be read.
        InvalidDocument: It is neither.
    """
    raw = read_file(path)
    try:
        return decode_json(raw) if raw.lstrip()[:1] == b"{" else decode_yaml(raw)
    except InvalidDocument as error:
        raise InvalidDocument(f"{path}: {error.message}", error_code=error.error_code) from None


@click.group()
def flows() -> None:
    """Work with flow definitions."""


@flows.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(file: str, as_json: bool) -> None:  # noqa: FBT001
    """Check a definition in JSON or YAML; exit code 1 when it cannot run."""
    try:
        report = check_flow(read_document(file))
    except InvalidDocument as error:
        report = Report(None, [Finding("", error.message)], [])
    if as_json:
        print_json(
            {"valid": report.flow is not None, "errors": _shown(report.errors), "warnings": _shown(report.warnings)}
        )
    else:
        _print(file, report)
    if report.flow is None:
        raise click.exceptions.Exit(FAILED)


def _shown(findings: Any) -> list[dict[str, str]]:
    return [{"place": finding.place, "message": finding.text} for finding in findings]


def _print(file: str, report: Report) -> None:
    for kind, findings in (("error", report.errors), ("warning", report.warnings)):
        for finding in findings:
            place = f" at {finding.place}" if finding.place else ""
            click.echo(f"{kind}{place}: {finding.text}", err=True)
    if report.flow is not None:
        flow = report.flow
        click.echo(f"{file}: valid; flow {flow.flow_id}, {len(flow.nodes)} nodes, exits {', '.join(flow.exits)}.")
