from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import readme_page
from aiohttp.test_utils import TestServer
from processes import Agent, Client, Server
from readme_server import AGENTS, KEY, agentkit, http_agents

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "client"
README = SOURCE / "README.md"
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
    example = readme_page.blocks(README.read_text(encoding="utf-8"))[0].source
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


@pytest.mark.timeout(120)
@pytest.mark.parametrize("variant", ["as it stands", "without-await"])
async def test_every_example_runs_against_a_server_of_another_environment(
    python: str, tmp_path: Path, variant: str
) -> None:
    """All examples of the SDK's README print what they say, and those of the client without ``await``, too.

    Client, server and agents are three processes, and the client's environment has the wheel alone.
    """
    text = README.read_text(encoding="utf-8")
    arguments = [] if variant == "as it stands" else [variant]
    expected = readme_page.blocks_without_await(text) if arguments else readme_page.blocks(text)
    async with TestServer(http_agents()) as agents, TestServer(agentkit()) as kit:
        server = Server(tmp_path, OPSCORE_API_KEY=KEY, AGENTKIT_API_URL=str(kit.make_url("")))
        await server.start()
        async with Client(server.url) as client:
            for name in AGENTS:
                agent = {"agent_id": name, "endpoint": str(agents.make_url(f"/{name}"))}
                status, _ = await client.call("POST", "/agents", agent, headers={"Authorization": f"Bearer {KEY}"})
                assert status == 201
        environment = {"OPSCORE_API_URL": server.url, "OPSCORE_API_KEY": KEY}
        isolated = ("-I", "-X", "dev", "-W", "error", readme_page.__file__)
        printed = await run(python, *isolated, str(README), *arguments, **environment)
        await server.kill()
    assert json.loads(printed) == {"blocks": len(expected), "wrong": []}
