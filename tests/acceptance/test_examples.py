from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from processes import Client, Server

from opscore.domain.documents import decode_yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
CREDIT = EXAMPLES / "credit_analysis"


async def _agent(script: Path, *arguments: str) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), *arguments, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int((await process.stdout.readline()).split()[1])


async def _score(given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Run the credit analysis on a real server with its two agents."""
    server = Server(tmp_path)
    await server.start()
    agents = [await _agent(CREDIT / script, "--until-eof") for script in ("collector.py", "scorer.py")]
    async with Client(server.url) as client:
        for agent_id, (_, port) in zip(("zoe", "eddie"), agents):
            await client.call("POST", "/agents", {"agent_id": agent_id, "endpoint": f"http://127.0.0.1:{port}"})
        _, stored = await client.call("POST", "/flows", decode_yaml((CREDIT / "flow.yaml").read_bytes()))
        assert stored["flow_version"] == 1
        body = {"flow_id": "credit_analysis", "input_data": given}
        _, answer = await client.call("POST", "/flows/execute?wait=20", body)
    await server.kill()
    for process, _ in agents:
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    return dict(answer)


async def test_the_credit_analysis_computes_what_it_documents(tmp_path: Path) -> None:
    """The instalment is the annuity of the loan, and the score the sum of its documented parts."""
    given = json.loads((CREDIT / "input.json").read_text(encoding="utf-8"))
    result = (await _score(given, tmp_path))["result"]["result"]
    rate, term, amount = 8.9 / 100 / 12, 48, 24_000.0
    annuity = amount * rate / (1 - (1 + rate) ** -term)
    assert result["monthly_instalment"] == round(annuity, 2)
    points = sum(part["points"] for part in result["score_parts"].values())
    assert result["score"] == 300 + points
    documented = (CREDIT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{result['score']}\b", documented)


async def test_bad_data_is_not_tried_again(tmp_path: Path) -> None:
    """An application without an income fails at once with the agent's own words."""
    given = json.loads((CREDIT / "input.json").read_text(encoding="utf-8"))
    answer = await _score({**given, "incomes": []}, tmp_path)
    assert (answer["status"], answer["error_code"]) == ("failed", "BAD_DATA")
    assert "incomes" in answer["error"]
