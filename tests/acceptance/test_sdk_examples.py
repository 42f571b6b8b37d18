from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import AsyncIterator

import nbformat
import pytest
import pytest_asyncio
from nbclient import NotebookClient
from processes import LIMIT, Server

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("Ada", "Grace", "Katherine", "Dorothy", "Mary")


def _module(name: str) -> ModuleType:
    """A program of the examples, imported and not run."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest_asyncio.fixture(autouse=True)
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server process, named in the environment, where the agent of the examples is registered."""
    monkeypatch.delenv("OPSCORE_API_KEY", raising=False)
    running = Server(tmp_path)
    await running.start()
    monkeypatch.setenv("OPSCORE_API_URL", running.url)
    agent = _module("sdk_agent").agent
    async with agent.serving():
        await agent.registered(LIMIT)
        yield running
    await running.kill()


async def _run(name: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """What an example says, on standard output and standard error; it must end well, and without a warning."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments,
        env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


async def test_basic() -> None:
    """A flow is started, and its end, output and nodes are shown."""
    out, err = await _run("sdk_basic")
    assert "status:  completed\noutput:  {'greet': {'greeting': 'Hello Ada'}}\nnode greet: completed after" in out
    assert err == ""


async def test_error_handling() -> None:
    """Each kind of error is met once and told in a line."""
    out, err = await _run("sdk_error_handling")
    words = [line.partition(":")[0] for line in out.splitlines()]
    assert words == ["not found", "invalid", "conflict", "failed", "no server", "any error"]
    assert 'There is no flow "no_such_flow".' in out
    assert out.endswith("any error:  NotFoundError\n")
    assert err == ""


async def test_async() -> None:
    """Three executions end, and the events of a fourth are told to its end."""
    out, err = await _run("sdk_async")
    assert [f"completed {{'greet': {{'greeting': 'Hello {name}'}}}}" in out for name in NAMES[:3]] == [True] * 3
    assert "1: execution.accepted\n" in out
    assert out.endswith("the execution has completed\n")
    assert err == ""


async def test_batch() -> None:
    """All executions of the batch end, and the bar is full."""
    out, err = await _run("sdk_batch", "40", "8")
    assert out == "40 completed\n"
    assert "100%" in err


async def test_batch_without_rich(tmp_path: Path) -> None:
    """Without rich the bar is plain text."""
    (tmp_path / "rich.py").write_text("raise ImportError\n", encoding="utf-8")
    out, err = await _run("sdk_batch", "5", "2", PYTHONPATH=str(tmp_path))
    assert out == "5 completed\n"
    assert err.endswith("[########################################] 5/5\n")


async def test_notebook() -> None:
    """The notebook runs in a real kernel, with top-level await beside synchronous calls."""
    notebook = nbformat.read(EXAMPLES / "sdk_notebook.ipynb", as_version=4)
    await NotebookClient(notebook, timeout=60, kernel_name="python3").async_execute()
    said = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", ()))
    assert [f"Hello {name}" in said for name in NAMES] == [True] * 5
    assert "the oldest: {'greet': {'greeting': 'Hello Ada'}}" in said


def test_the_notebook_is_stored_without_outputs() -> None:
    """What a run left behind is not committed."""
    notebook = nbformat.read(EXAMPLES / "sdk_notebook.ipynb", as_version=4)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
