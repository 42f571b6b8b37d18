"""The whole terminal as a page that is drawn again and again: another screen, keys, and its size as it changes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from opscore.cli.tables import console, cut

_QUIT = frozenset("qQ")


def is_interactive() -> bool:
    """Whether somebody looks at standard output who can press keys."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """A page of the terminal; use :func:`open_screen`.

    Attributes:
        left: Set when whoever looks wants to leave.
        resized: Set when the terminal has another size.
    """

    def __init__(self, out: Console, live: Live) -> None:
        self.left = asyncio.Event()
        self.resized = asyncio.Event()
        self._out = out
        self._live = live

    @property
    def width(self) -> int:
        """Cells in a line."""
        return self._out.width

    @property
    def height(self) -> int:
        """Lines."""
        return self._out.height

    def draw(self, lines: Sequence[Text]) -> None:
        """Show lines instead of those before; what does not fit is cut off."""
        width, height = self.width, self.height
        self._live.update(Group(*(cut(line, width) for line in lines[:height])), refresh=True)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until somebody leaves or changes the size."""
        self.resized.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (self.left, self.resized)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


@contextmanager
def open_screen() -> Iterator[Screen]:
    """The terminal as it was, and as it will be again, with a page of our own in between."""
    out = console()
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=out, screen=True, auto_refresh=False, redirect_stderr=False))
        screen = Screen(out, live)
        stack.enter_context(_signals({signal.SIGTERM: screen.left.set, "SIGWINCH": screen.resized.set}))
        stack.enter_context(_keys(screen.left.set))
        yield screen


@contextmanager
def _signals(wanted: dict[object, Callable[[], None]]) -> Iterator[None]:
    loop, added = asyncio.get_running_loop(), []
    for name, act in wanted.items():
        number = getattr(signal, name, None) if isinstance(name, str) else name
        if isinstance(number, signal.Signals):
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, act)
                added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)


@contextmanager
def _keys(leave: Callable[[], None]) -> Iterator[None]:
    """Read single keys where standard input is a terminal."""
    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C leaves
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        if _QUIT & set(os.read(keyboard, 64).decode("utf-8", "replace")):
            leave()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
