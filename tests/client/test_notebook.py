from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from opscore_sdk.testing import FakeOpsCore

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CLIENT = Path(__file__).parents[2] / "client"
CELLS = [
    """
import asyncio, os, threading
from opscore_sdk import AISpine, OpsCoreClientAsync, OpsCoreClientSync
loop = asyncio.get_running_loop()
client = OpsCoreClientSync(os.environ["FAKE_URL"])
other = OpsCoreClientAsync(os.environ["FAKE_URL"])
""",
    """
done = client.execute_and_wait("hello", {"name": "Ada"})
print(done.output_data["greeting"])
""",
    """
both = await asyncio.gather(*(other.execute_and_wait("hello", {"name": name}) for name in "AB"))
print([one.output_data["greeting"] for one in both])
""",
    """
awaited = await other.get_flow("hello")
assert client.get_flow("hello") == awaited
listed = [one.execution_id for one in client.list_executions()]
print(listed == [one.execution_id async for one in other.list_executions()])
print([event.type for event in client.stream_events(done.execution_id)][-1])
""",
    """
def in_a_coroutine():
    return client.get_flow("hello").flow_id
async def caller():
    return in_a_coroutine()
print(await caller(), await asyncio.to_thread(in_a_coroutine))
with AISpine(None, os.environ["FAKE_URL"]) as spine:
    print(len(spine.list_flows()))
""",
    """
client.close()
await other.close()
print(asyncio.get_running_loop() is loop)
""",
]


@pytest.fixture
def fake() -> Iterator[FakeOpsCore]:
    with FakeOpsCore() as running:
        running.on_flow("hello", lambda given: {"greeting": f"Hello {given['name']}"})
        yield running


@pytest.mark.parametrize("last", [CELLS[-1:], []], ids=["closed", "left open"])
def test_a_notebook_calls_and_awaits(
    fake: FakeOpsCore, last: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a real kernel synchronous calls work beside top-level ``await``, and nothing is said on standard error."""
    monkeypatch.setenv("FAKE_URL", fake.url)
    paths = [str(CLIENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in [*CELLS[:-1], *last]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    runner = nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    runner.execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [output for output in outputs if output.get("name") != "stdout"] == []
    said = ["Hello Ada", "['Hello A', 'Hello B']", "True", "execution.completed", "hello hello", "1"]
    assert "".join(output["text"] for output in outputs).splitlines() == said + ["True"] * len(last)
