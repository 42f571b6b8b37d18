"""``opscore flows``: see flows, check definitions, and store those of a directory on a running server."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NoReturn, Optional, Sequence

import attrs
import click

from opscore.cli.output import FAILED, print_json, read_file
from opscore.cli.sections import Listing
from opscore.cli.serve import run_async
from opscore.cli.stored_flows import list_flows, show
from opscore.domain.files import Checked, Remark, check_file, check_files, remarks
from opscore.domain.flows import Finding
from opscore.folders import read_folder

Json = dict[str, Any]

_REFUSED = (400, 409, 413)
"""Answers that are about the one definition, so that the others may still be sent."""


def read_document(path: str) -> Mapping[str, Any]:
    """The definition of the flow in a JSON or YAML file, which may be written as a workflow.

    One that cannot run ends the command, with a line for each mistake.

    Raises:
        Invalid: The file cannot be opened.
    """
    checked = check_file(path, read_file(path))
    if checked.errors:
        _refuse(checked.errors)
    return checked.definition


@click.group(cls=Listing)
def flows() -> None:
    """See, check and store flows."""


flows.add_command(list_flows)
flows.add_command(show)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@flows.command()
@click.argument("file", metavar="FILE")
@json_option
def validate(file: str, as_json: bool) -> None:  # noqa: FBT001
    """Check a flow or workflow in JSON or YAML.

    Exit code 1 when it cannot run.
    """
    checked = check_file(file, read_file(file))
    if as_json:
        errors, warnings = _shown(checked.errors), _shown(checked.warnings)
        print_json({"valid": not checked.errors, "errors": errors, "warnings": warnings})
    else:
        _print_remarks(checked)
    flow = checked.report.flow
    if flow is None:
        raise click.exceptions.Exit(FAILED)
    if not as_json:
        click.echo(f"{file}: valid; flow {flow.flow_id}, {len(flow.nodes)} nodes, exits {', '.join(flow.exits)}.")


@flows.command()
@click.argument("directory", metavar="DIR")
@click.option("--url", envvar="OPSCORE_API_URL", help="The server. [OPSCORE_API_URL, http://127.0.0.1:8000]")
@click.option("--api-key", envvar="OPSCORE_API_KEY", help="A key that may write. [OPSCORE_API_KEY]")
@json_option
def load(directory: str, url: Optional[str], api_key: Optional[str], as_json: bool) -> None:  # noqa: FBT001
    """Store all flows in and below DIR on a running server.

    Workflows too. All files are checked first; when one of them cannot run, nothing is sent. A new flow is created,
    a changed one becomes its next version.
    """
    checked = check_files(read_folder(directory))
    errors = [error for one in checked for error in one.errors]
    loaded: list[Json] = []
    if not errors:
        loaded, errors = run_async(_send(checked, url, api_key, quiet=as_json))
    if as_json:
        print_json({"flows": loaded, "count": len(loaded), "errors": _shown(errors)})
    elif not checked:
        click.echo(f"{directory} has no definitions (*.json, *.yaml, *.yml).", err=True)
    if errors:
        _refuse(errors)


async def _send(
    checked: Iterable[Checked], url: Optional[str], api_key: Optional[str], *, quiet: bool
) -> tuple[list[Json], list[Remark]]:
    from opscore_sdk import OpsCoreApiError, OpsCoreClientAsync

    loaded: list[Json] = []
    refused: list[Remark] = []
    async with OpsCoreClientAsync(url, api_key, max_retries=0) as client:
        for one in checked:
            try:
                stored = await _store(client, one)
            except OpsCoreApiError as error:
                if error.status not in _REFUSED:
                    raise
                refused += _refusals(one, error)
                continue
            loaded.append(stored)
            if not quiet:
                click.echo(f"{stored['flow_id']}: {_RESULTS[stored['result']].format(**stored)}")
    return loaded, refused


_RESULTS = {"created": "created", "changed": "new version {flow_version}", "unchanged": "unchanged"}


async def _store(client: Any, checked: Checked) -> Json:
    from opscore_sdk import OpsCoreApiError

    definition = checked.definition
    flow_id = definition["flow_id"]
    try:
        before = (await client.get_flow(flow_id))["flow_version"]
    except OpsCoreApiError as error:
        if error.error_code != "FLOW_NOT_FOUND":
            raise
        stored, result = await client.create_flow(definition), "created"
    else:
        stored = await client.update_flow(flow_id, definition)
        result = "unchanged" if stored["flow_version"] == before else "changed"
    return {"flow_id": flow_id, "flow_version": stored["flow_version"], "result": result, "file": checked.name}


def _refusals(checked: Checked, error: Any) -> Sequence[Remark]:
    """What a server of another version finds wrong with a definition that this one can run."""
    findings = [Finding(place, text) for place, texts in error.details.items() for text in texts]
    assert checked.source is not None, "it has been read"
    return remarks(checked.source, findings or [Finding("", str(error))])


def _shown(found: Iterable[Remark]) -> list[Json]:
    return [{"file": one.file, "line": one.line, "place": one.place, "message": one.text} for one in found]


def _refuse(errors: Iterable[Remark]) -> NoReturn:
    for error in errors:
        click.echo(str(error), err=True)
    raise click.exceptions.Exit(FAILED)


def _print_remarks(checked: Checked) -> None:
    for kind, found in (("error", checked.errors), ("warning", checked.warnings)):
        for one in found:
            click.echo(str(attrs.evolve(one, text=f"{kind}: {one.text}")), err=True)
