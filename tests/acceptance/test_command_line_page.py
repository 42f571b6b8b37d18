"""docs/command-line.md: every example runs, and every command and option is on it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Iterator

import click
from processes import Agent, Server

from opscore.cli import cli
from opscore_sdk import OpsCoreClientAsync

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMON = {"--url", "--api-key", "--json", "--help", "-h", "--version"}
ENDLESS = re.compile(r"opscore (logs -f|events)\b")
LIMIT = 110.0


def examples() -> list[str]:
    """The lines that a reader would type."""
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    """All commands below a group, with their whole names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        yield " ".join((*names, name)), command


async def test_every_example_runs(tmp_path: Path) -> None:
    """In the order of the page, in one bash; what has no end is interrupted after a moment."""
    (tmp_path / "flows").mkdir()
    for name in ("hello", "slow"):
        text = f"flow_id: {name}\nnodes: [{{id: greet, agent_id: {'greeter' if name == 'hello' else 'sloth'}}}]\n"
        (tmp_path / "flows" / f"{name}.yaml").write_text(text)
    (tmp_path / "input.json").write_text(json.dumps({"name": "Ada"}))
    (tmp_path / "opscore").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opscore "$@"\n')
    (tmp_path / "opscore").chmod(0o755)
    server, greeter, sloth = Server(tmp_path), Agent(), Agent()
    sloth.gate = asyncio.Event()
    await greeter.start()
    await sloth.start()
    await server.start()
    surroundings = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "OPSCORE_API_URL": server.url,
        "AGENT_URL": greeter.url,
    }
    async with OpsCoreClientAsync(server.url) as client:
        await client.create_agent("greeter", greeter.url, capabilities=["greeting"])
        await client.create_agent("sloth", sloth.url)
    lines = ["set -e -o pipefail"]
    for example in examples():
        is_endless = ENDLESS.search(example) is not None
        lines.append(f"timeout -s INT 3 {example} || test $? = 124" if is_endless else example)
    process = await asyncio.create_subprocess_exec(
        "bash", "-x", "-c", "\n".join(lines),
        cwd=tmp_path, env=surroundings, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), LIMIT)
    await server.kill()
    sloth.gate.set()
    await sloth.stop()
    await greeter.stop()
    assert process.returncode == 0, err.decode()[-2000:]


def test_every_command_and_option_is_on_the_page() -> None:
    """A new one is written down, and one that is written down is there."""
    known = dict(commands(cli))
    for name in known:
        assert re.search(rf"\b{name.split()[-1]}\b", TEXT), name
    options = {
        option
        for command in known.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert {option for option in options - COMMON if f"{option}" not in TEXT} == set()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) <= options | COMMON
