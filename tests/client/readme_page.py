"""Runs the examples of a README, one after another as a notebook does, and says what they should have printed.

It needs nothing but the standard library, so that it runs wherever an example does:

    python tests/client/readme_page.py client/README.md [without-await]
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Block(NamedTuple):
    """An example."""

    line: int
    """Where it begins on its page."""
    source: str


class Wrong(NamedTuple):
    """Something that was not printed."""

    line: int
    promised: str
    printed: list[str]


def blocks(text: str) -> list[Block]:
    """The examples of a page."""
    found = re.finditer(r"```python\n(.*?)```", text, re.DOTALL)
    return [Block(text[: block.start()].count("\n") + 2, block[1]) for block in found]


def blocks_without_await(text: str) -> list[Block]:
    """The examples of the SDK's README about the client, for the synchronous one, after the quick start."""
    first, last = (text[: text.index(title)].count("\n") for title in ("## The client", "## Without await"))
    start, *others = blocks(text)
    examples = [Block(line, _without_await(source)) for line, source in others if first < line < last]
    return [start, Block(1, "from opscore_sdk import OpsCoreClientSync"), *examples]


def _without_await(source: str) -> str:
    return re.sub(r"\b(?:async|await) ", "", source).replace("OpsCoreClientAsync", "OpsCoreClientSync")


def _promised(source: str) -> list[str]:
    """The texts behind the prints of a block."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", source, re.MULTILINE)


class Page:
    """Runs blocks one after another: what one names, the next may use."""

    def __init__(self, name: str) -> None:
        self._file = name
        self._names: dict[str, Any] = {"__name__": "readme"}
        self._loop = asyncio.new_event_loop()

    def run(self, line: int, source: str) -> str:
        """Run a block that begins at a line, and the tests that it defines; what it printed."""
        padded = "\n" * (line - 1) + source
        code = compile(padded, self._file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self._finish(eval(code, self._names))
            for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE):
                self._finish(self._names[name]())
        return printed.getvalue()

    def wrong(self, found: list[Block]) -> list[Wrong]:
        """Run blocks in their order; what they should have printed and did not."""
        missed = []
        for line, source in found:
            printed = self.run(line, source).splitlines()
            missed += [Wrong(line, text, printed) for text in _promised(source) if text not in printed]
        return missed

    def _finish(self, result: Any) -> None:
        if inspect.iscoroutine(result):
            self._loop.run_until_complete(result)

    def close(self) -> None:
        """End what the blocks left open."""
        client = self._names.get("client")
        if client is not None:
            self._finish(client.close())
        self._loop.close()


def main(name: str, *variant: str) -> None:
    """Run a page; print how many blocks ran and what was wrong."""
    text = Path(name).read_text(encoding="utf-8")
    found = blocks_without_await(text) if variant else blocks(text)
    page = Page(name)
    missed = page.wrong(found)
    page.close()
    print(json.dumps({"blocks": len(found), "wrong": missed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
