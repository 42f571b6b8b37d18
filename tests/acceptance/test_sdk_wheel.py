from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from processes import Agent, Client, Server

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "client"
LARGEST = 100_000
IMPORT_ALL = """
import importlib, pkgutil, sys, opscore_sdk
for module in pkgutil.iter_modules(opscore_sdk.__path__):
    importlib.import_module("opscore_sdk." + module.name)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"opscore", "aiohttp_apispec", "marshmallow", "yaml"}))
"""


async def run(*command: str, **environment: str) -> str:
    """What a command prints; it must succeed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPSCORE_"))}
    process = await asyncio.create_subprocess_exec(
        *command, env={**clean, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, err.decode()[-2000:]
    return out.decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the SDK, built as its users' pip builds it, from a copy that no former build has left things in."""
    directory = tmp_path_factory.mktemp("wheel")
    leftovers = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(SOURCE, directory / "client", ignore=leftovers)
    source, target = str(directory / "client"), str(directory / "dist")
    asyncio.run(run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", target, source))
    (built,) = (directory / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a fresh environment that has the wheel and what it asks for, and nothing else."""
    directory = tmp_path_factory.mktemp("alone")
    interpreter = str(directory / ("Scripts" if os.name == "nt" else "bin") / "python")

    async def make() -> None:
        await run(sys.executable, "-m", "venv", "--without-pip", str(directory))
        await run(sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", str(wheel))

    asyncio.run(make())
    return interpreter


def test_the_wheel_is_small_and_whole(wheel: Path) -> None:
    """It has every module and the mark of typed packages, asks for aiohttp and orjson only, and is below 100 kB."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    modules = {f"opscore_sdk/{path.name}" for path in (SOURCE / "opscore_sdk").iterdir() if path.is_file()}
    print(f"{wheel.stat().st_size:,} bytes, {len(names)} files")
    assert "opscore_sdk/py.typed" in modules
    assert {name for name in names if ".dist-info/" not in name} == modules
    assert re.findall(r"^Requires-Dist: ([a-z]+)", metadata, re.MULTILINE) == ["aiohttp", "orjson"]
    assert wheel.stat().st_size < LARGEST


async def test_no_module_needs_the_server(python: str) -> None:
    """All modules are imported where no server is installed, and bring in nothing that only a server needs."""
    assert await run(python, "-I", "-c", IMPORT_ALL) == "[]\n"


@pytest.mark.timeout(120)
async def test_the_quick_start_runs_against_a_server_of_another_environment(python: str, tmp_path: Path) -> None:
    """The first example of the SDK's README, as it stands there, makes and runs a flow, and prints what came of it."""
    readme = (SOURCE / "README.md").read_text(encoding="utf-8")
    example = readme.partition("```python\n")[2].partition("```")[0]
    agent, server = Agent(), Server(tmp_path)
    await agent.start()
    await server.start()
    async with Client(server.url) as client:
        await client.call("POST", "/agents", {"agent_id": "greeter", "endpoint": agent.url})
    isolated = ("-I", "-X", "dev", "-W", "error", "-c", example)
    printed = await run(python, *isolated, OPSCORE_API_URL=server.url)
    await server.kill()
    await agent.stop()
    assert printed == "{'greet': {'greet': 1, 'n': 1}}\n"
    assert len(agent.calls) == 1
