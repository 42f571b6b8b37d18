"""The house's rules, checked: who may import whom, and what the pure core never touches."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).parents[2]
SERVER, CLIENT = ROOT / "opscore", ROOT / "client" / "opscore_sdk"

MAY_IMPORT = {
    "domain": set(),
    "engine": {"domain"},
    "operations": {"domain"},
    "folders": {"domain"},
    "store": {"domain"},
    "protocols": {"domain"},
    "telemetry": {"domain"},
    "web": {"domain", "operations"},
    "settings": {"domain"},
    "version": set(),
    "bootstrap": {
        "domain",
        "engine",
        "folders",
        "operations",
        "protocols",
        "settings",
        "store",
        "telemetry",
        "version",
        "web",
    },
    "serving": {"bootstrap", "domain", "settings", "web"},
    "testing": {"bootstrap", "settings"},
    "cli": {"bootstrap", "domain", "folders", "opscore_sdk", "serving", "settings", "telemetry", "version"},
    "__init__": {"version"},
    "__main__": {"cli"},
}
PACKAGE = "opscore.telemetry"
EVERYBODY_MAY = "opscore.telemetry.context"
"""Whoever works for somebody binds what the log is to say of it; the domain does not work."""
IMPURE = {"aiohttp", "aiosqlite", "asyncio", "logging", "os", "random", "socket", "sqlite3", "threading", "time"}


def room(path: Path) -> str:
    """The room of the server that a file is in."""
    return path.relative_to(SERVER).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """All modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # "from opscore.telemetry import context" names a module, as does "from opscore.telemetry.context import".
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == PACKAGE else []
            yield from names or [str(node.module)]


SERVER_FILES = sorted(SERVER.rglob("*.py"))


@pytest.mark.parametrize("path", SERVER_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_inward(path: Path) -> None:
    """A file imports only from its own room and from those that its room may know."""
    own = room(path)
    allowed = MAY_IMPORT[own] | {own}
    for module in imports(path):
        first, *rest = module.split(".")
        if module == EVERYBODY_MAY and own != "domain":
            continue
        if first == "opscore":
            assert rest, module
            assert rest[0] in allowed, f"{own} must not import {module}"
        elif first == "opscore_sdk":
            assert "opscore_sdk" in allowed, f"{own} must not import the client"


def test_the_client_knows_only_the_wire() -> None:
    """The client imports nothing of the server."""
    for path in CLIENT.rglob("*.py"):
        assert not [module for module in imports(path) if module.split(".")[0] == "opscore"], path


def test_the_domain_is_pure() -> None:
    """The domain has no clock, chance, loop, logger or I/O."""
    for path in (SERVER / "domain").rglob("*.py"):
        assert not {module.split(".")[0] for module in imports(path)} & IMPURE, path


def test_names_say_what_a_module_is() -> None:
    """No module is called by a name that would fit any content."""
    names = {path.stem for path in [*SERVER_FILES, *CLIENT.rglob("*.py")]}
    assert not names & {"utils", "util", "common", "helpers", "manager", "misc"}


def test_importing_does_no_work() -> None:
    """Importing every part starts no thread and no loop, and says nothing."""
    code = (
        "import threading, opscore.serving, opscore.cli, opscore.testing, opscore_sdk;"
        "assert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_setting_is_documented() -> None:
    """docs/configuration.md names every variable."""
    import attrs

    from opscore.settings import Settings

    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    missing = [f.metadata["variable"] for f in attrs.fields(Settings) if f"`{f.metadata['variable']}`" not in text]
    assert not missing
