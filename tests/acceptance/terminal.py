"""A command of ours in a terminal of its own: what it shows, the keys it gets, the terminal's size."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator

LIMIT = 20.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]")
_HOME = "\x1b[H"


def without_escapes(text: str) -> str:
    """What a terminal shows, without colours and movements."""
    return _ESCAPES.sub("", text).replace("\r", "")


class Terminal:
    """A running command and its terminal; made by :func:`terminal`."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.raw = ""
        self._master = master
        self._process = process
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            found = os.read(self._master, 65_536)
        except OSError:  # the other side is closed
            found = b""
        if not found:
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += found.decode("utf-8", "replace")
        self._news.set()

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return without_escapes(self.raw)

    @property
    def pages(self) -> list[list[str]]:
        """The pages that were drawn one over another, each as its lines."""
        drawn = self.raw.split(_HOME)[1:]
        return [without_escapes(page).rstrip("\n").split("\n") for page in drawn]

    async def until(self, text: str, *, since: int = 0) -> None:
        """Wait until it shows a text, after so many characters of what it wrote."""

        async def shown() -> None:
            while text not in without_escapes(self.raw[since:]):
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(shown(), LIMIT)
        except asyncio.TimeoutError:
            raise AssertionError(f"{text!r} was not shown, but: {self.text[-3000:]}") from None

    def press(self, keys: str) -> None:
        """Press keys; Ctrl-C is the character 3."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        _set_size(self._master, columns, rows)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def is_echoing(self) -> bool:
        """Whether the terminal shows what is typed, as a shell expects it to."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    async def ended(self) -> int:
        """The exit code."""
        return await asyncio.wait_for(self._process.wait(), LIMIT)


def _set_size(master: int, columns: int, rows: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _own_terminal() -> None:
    """Make standard input the terminal that Ctrl-C and changes of size come from."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def terminal(
    *arguments: str, directory: Path, columns: int = 80, rows: int = 24, **environment: str
) -> AsyncIterator[Terminal]:
    """``opscore`` in a terminal; killed at the end of the block if it still runs then."""
    master, slave = pty.openpty()
    _set_size(master, columns, rows)
    surroundings: dict[str, Any] = {**os.environ, "TERM": "xterm-256color", **environment}
    for name in ("COLUMNS", "LINES", "NO_COLOR") if "NO_COLOR" not in environment else ("COLUMNS", "LINES"):
        surroundings.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "opscore", *arguments,
        cwd=directory, env=surroundings, stdin=slave, stdout=slave, stderr=slave,
        preexec_fn=_own_terminal,
    )  # fmt: skip
    try:
        opened = Terminal(master, process)
        yield opened
        assert "Traceback" not in opened.text, opened.text
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(slave)
        os.close(master)
