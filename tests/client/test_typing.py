from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mypy import api

CLIENT = Path(__file__).parents[2] / "client"
HEAD = """
from typing import List, Optional
from opscore_sdk import Execution, ExecutionPage, NotFoundError, OpsCoreClientAsync

async def main() -> None:
    async with OpsCoreClientAsync() as client:
"""
GOOD = """
        execution: Execution = await client.execute_and_wait("f", {"a": 1})
        seconds: Optional[float] = execution.execution_time
        page: ExecutionPage = await client.list_executions()
        ids: List[str] = [one.execution_id async for one in client.list_executions()]
        numbers: List[int] = [event.seq async for event in client.stream_events("e")]
        status: int = (await client.with_raw_response.get_flow("f")).status
        gone: bool = await client.with_options(timeout=3).delete_agent("a")
        try:
            await client.get_flow("f")
        except NotFoundError as error:
            print(error.status, error.field_errors, execution["status"], seconds, page, ids, numbers, status, gone)
"""
SYNC_HEAD = """
from typing import List, Optional
from opscore_sdk import AISpine, Execution, ExecutionPage, Flow, NotFoundError, OpsCoreClientSync

def main() -> None:
    with OpsCoreClientSync("http://127.0.0.1:8000", timeout=3) as client, AISpine("sk_key", None, 30) as spine:
"""
SYNC_GOOD = """
        execution: Execution = client.execute_and_wait("f", {"a": 1}, timeout=20)
        page: ExecutionPage = client.list_executions(limit=3).first()
        ids: List[str] = [one.execution_id for one in client.list_executions()]
        numbers: List[int] = [event.seq for event in client.stream_events("e", after=1)]
        status: int = client.with_raw_response.get_flow("f").status
        gone: bool = client.with_options(timeout=3).delete_agent("a")
        flows: List[Flow] = spine.with_options(timeout=3).list_flows()
        agents: List[str] = [agent.agent_id for agent in spine.list_agents(active_only=True)]
        try:
            client.get_flow("f")
        except NotFoundError as error:
            print(error.status, execution["status"], page, ids, numbers, status, gone, flows, agents)
"""
SYNC_WRONG = """
        execution = client.get_execution("e")
        print(execution.stauts)
        client.execute_flow(5)
        client.get_flow(flow="f")
        AISpine(base=5)
"""
WRONG = """
        execution = await client.get_execution("e")
        print(execution.stauts)
        execution.status = "x"
        client.execute_flow(5)
"""


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        (HEAD + GOOD, []),
        (HEAD + WRONG, ["attr-defined", "arg-type", "unused-coroutine"]),
        (SYNC_HEAD + SYNC_GOOD, []),
        (SYNC_HEAD + SYNC_WRONG, ["attr-defined", "arg-type", "call-arg"]),
    ],
)
def test_users_code_is_checked_strictly(
    code: str, errors: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``mypy --strict`` passes on right code and finds misspelt fields, wrong arguments and forgotten awaits."""
    program = tmp_path / "program.py"
    program.write_text(code, encoding="utf-8")
    monkeypatch.setenv("MYPYPATH", str(CLIENT))
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", f"--python-executable={sys.executable}"]
    report, _, code_of_exit = api.run([*options, str(program)])
    assert (code_of_exit == 0) is (not errors), report
    for error in errors:
        assert f"[{error}]" in report, report
