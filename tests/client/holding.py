"""Servers of asyncio.streams whose handlers are not collected while they wait: before Python 3.12 nobody holds them."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def holding(serve: Serve) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """For ``asyncio.start_server``: serve each connection in a task that is held until it ends."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return accept
