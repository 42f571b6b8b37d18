"""Prometheus' own tool, where it is installed; in CI it has to be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WANTED = "promtool is not installed (Debian: it is in the package prometheus)"


def promtool(*arguments: str, given: bytes = b"", directory: Path = Path()) -> None:
    """Run it, and fail with what it says when it finds a fault."""
    program = shutil.which("promtool")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail(WANTED)
    if program is None:
        pytest.skip(WANTED)
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, check=False, timeout=60, cwd=directory
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
