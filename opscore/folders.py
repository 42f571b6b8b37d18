"""The definitions in a directory of this machine."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path
from typing import Iterator

from opscore.domain.errors import Invalid
from opscore.domain.files import MAX_FILE_BYTES, SUFFIXES, File


def read_folder(directory: str) -> Iterator[File]:
    """All JSON and YAML files in and below a directory, by name.

    What is hidden is left out. Links are followed, so that a mounted ConfigMap works, and no directory is read twice.
    A file that cannot be read is there with its problem.

    Raises:
        Invalid: The directory itself cannot be read.
    """
    try:
        os.scandir(directory).close()
    except OSError as error:
        raise Invalid(f"{directory} cannot be read: {error.strerror}.") from None
    found = sorted(_walk(directory), key=lambda file: Path(file.name).parts)
    return (file if file.problem else _read(file.name) for file in found)


def _walk(directory: str) -> Iterator[File]:
    """The files to be read, without their bytes."""
    seen = set()
    waiting = deque([directory])
    while waiting:
        folder = waiting.popleft()
        try:
            status = Path(folder).stat()
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                visible = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            yield File(folder, problem=_problem("directory", error))
            continue
        for entry in visible:
            if not _is_directory(entry):
                if entry.name.lower().endswith(SUFFIXES):
                    yield File(entry.path)
            elif entry.is_symlink():
                waiting.append(entry.path)  # last: what has a place of its own is found there
            else:
                waiting.appendleft(entry.path)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _read(name: str) -> File:
    path = Path(name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for somebody to write
            return File(name, problem="It is no regular file.")
        with path.open("rb") as file:
            return File(name, file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        return File(name, problem=_problem("file", error))


def _problem(what: str, error: OSError) -> str:
    return f"The {what} cannot be read: {error.strerror}."
