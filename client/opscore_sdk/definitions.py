"""Flow definitions as users have them: data, JSON or YAML text, or the path of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Mapping, Union

import orjson

from opscore_sdk.checks import refuse
from opscore_sdk.wire import JSON, YAML

Definition = Union[Mapping[str, Any], str, "os.PathLike[str]"]
"""A flow: its data, JSON or YAML text, or a path."""

_ENDINGS = (".json", ".yaml", ".yml")


def definition_body(definition: Definition) -> Dict[str, Any]:
    """The arguments that make a request carry a definition; the server reads YAML itself.

    Raises:
        ValidationError: It is neither data nor text, no JSON, or a file that cannot be read.
    """
    if isinstance(definition, Mapping):
        return {"json": dict(definition)}
    if isinstance(definition, os.PathLike):
        return _file(Path(definition))
    if not isinstance(definition, str):
        refuse("definition", f"must be a dictionary, JSON or YAML text, or a path, not {type(definition).__name__}.")
    if _looks_like_path(definition):
        return _file(Path(definition))
    return _text(definition)


def _looks_like_path(text: str) -> bool:
    return "\n" not in text and text.lower().endswith(_ENDINGS)


def _file(path: Path) -> Dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        refuse("definition", f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        refuse("definition", f"{path} is not UTF-8.")
    return _text(text)


def _text(text: str) -> Dict[str, Any]:
    if not text.strip():
        refuse("definition", "must not be empty.")
    if not text.lstrip().startswith("{"):
        return {"raw": text.encode(), "content_type": YAML}
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not _is_flow_style(text):
            refuse("definition", f"is no JSON: {error}.")
        return {"raw": text.encode(), "content_type": YAML}
    return {"raw": text.encode(), "content_type": JSON}


def _is_flow_style(text: str) -> bool:
    """Whether it is YAML that begins with a brace: its first key has no quotes, as JSON's must have."""
    return not text.lstrip()[1:].lstrip().startswith(('"', "}"))
