"""Use cases about flow definitions in files."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Callable, Iterable, Sequence

import attrs

from opscore.domain.errors import Conflict
from opscore.domain.files import Checked, File, check_files, refusal
from opscore.operations.flows import Flows

ReadFolder = Callable[[str], Iterable[File]]
"""Finds the files of a directory. It may block: it is called in a thread."""


@attrs.frozen
class Loaded:
    """How many flows were stored for the first time, got their next version, and stayed as they were."""

    new: int
    changed: int
    unchanged: int


async def check(directory: str, read: ReadFolder) -> Sequence[Checked]:
    """Read and check all definitions in a directory.

    Raises:
        Invalid: The directory cannot be read.
        InvalidFiles: Some cannot run; the message has all findings, a line for each.
    """

    def found() -> Sequence[Checked]:
        return check_files(read(directory))

    checked = await asyncio.get_running_loop().run_in_executor(None, found)
    errors = [error for one in checked for error in one.errors]
    if errors:
        raise refusal(errors)
    return checked


async def store(flows: Flows, checked: Iterable[Checked]) -> Loaded:
    """Store what was checked: a new flow, the next version of one that changed.

    Raises:
        StoreError: The store could not; what was stored before stays.
    """
    counts = Counter([await _store(flows, one) for one in checked])
    return Loaded(counts["new"], counts["changed"], counts["unchanged"])


async def load(flows: Flows, directory: str, read: ReadFolder) -> Loaded:
    """Store all definitions in a directory, or none when one of them cannot run.

    Raises:
        Invalid: As :func:`check` does.
        StoreError: As :func:`store` does.
    """
    return await store(flows, await check(directory, read))


async def _store(flows: Flows, checked: Checked) -> str:
    definition = dict(checked.definition)
    try:
        _, is_new = await flows.create(definition)
    except Conflict:
        await flows.replace(str(definition["flow_id"]), definition)
        return "changed"
    return "new" if is_new else "unchanged"
