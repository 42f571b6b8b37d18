"""The demo's examples: where they are, and their programs as processes that end with the command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator

from opscore.domain.errors import Unavailable

_HOST = "127.0.0.1"
_START_LIMIT = 20.0
_STOP_LIMIT = 3.0


def example_directory(name: str) -> Path:
    """Where an example's files are: in the installed package, or in the checkout."""
    here = Path(__file__).parent
    installed = here / "examples" / name
    return installed if installed.is_dir() else here.parent.parent / "examples" / name


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def program(script: Path, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """A program that serves HTTP, its address once it is ready; ended with the block, whatever happens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        "--until-eof",  # so that it ends with this process, however that ends
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None, "it is piped"
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _START_LIMIT)
        except asyncio.TimeoutError:
            line = b""
        word, _, port = line.decode().partition(" ")
        if word != "ready":
            raise Unavailable(f"The program {script.name} did not start.")
        yield f"http://{_HOST}:{int(port)}"
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_LIMIT)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()


async def until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    await interrupted.wait()
