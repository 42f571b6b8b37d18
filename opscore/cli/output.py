"""What commands print: results to standard output, all else to standard error; errors as one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import click

from opscore.domain.errors import Invalid, InvalidFiles, OpsCoreError, StoreError

EXIT_CODES = (
    "\b\nExit codes: 0 done; 1 what was asked for failed; 2 wrong usage or setting;\n"
    "3 the store or the server could not be reached; 130 interrupted."
)
FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

_HINTS = {
    "DATABASE_IN_USE": "Talk to that server instead (--url), or name another database (--database).",
    "INCOMPATIBLE_DATABASE": "Nothing was changed in it.",
    "UNAUTHENTICATED": "Give a key with --api-key or OPSCORE_API_KEY.",
    "FORBIDDEN": "Use a key with the scope for this; `opscore keys list` shows scopes.",
}


def failed(error: Exception) -> Optional[int]:
    """Print an error of ours as one line with a hint; its exit code, None for one that is not ours.

    What is wrong with files is a line for each finding.
    """
    code, message, hint = _described(error)
    if code is None:
        return None
    for line in message.splitlines() if isinstance(error, InvalidFiles) else [message]:
        click.echo(f"Error: {' '.join(line.split())}", err=True)
    if hint:
        click.echo(f"Hint: {hint}", err=True)
    return code


def _described(error: Exception) -> tuple[Optional[int], str, Optional[str]]:
    from opscore_sdk.errors import OpsCoreApiError, OpsCoreConnectionError, OpsCoreSDKError

    if isinstance(error, OpsCoreConnectionError):
        return UNREACHABLE, str(error), "Is the server running? `opscore serve` starts one."
    if isinstance(error, OpsCoreApiError):
        return FAILED, str(error), _HINTS.get(error.error_code or "")
    if isinstance(error, OpsCoreSDKError):
        return FAILED, str(error), None
    if isinstance(error, OpsCoreError):
        code = UNREACHABLE if isinstance(error, StoreError) else USAGE if isinstance(error, Invalid) else FAILED
        return code, error.message, _HINTS.get(error.error_code)
    return None, "", None


def print_json(value: Any) -> None:
    """A result for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def read_file(path: str) -> bytes:
    """A file's bytes.

    Raises:
        Invalid: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from None
