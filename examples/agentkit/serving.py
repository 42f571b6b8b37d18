"""The half of both programs that serves HTTP: one line when they are up, a clean end, JSON bodies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import Any, Awaitable, Callable, Dict, Optional

from aiohttp import web

Json = Dict[str, Any]

LARGEST_BODY = 16 * 1024 * 1024
HOST = "127.0.0.1"


async def serve(app: web.Application, beside: Callable[[int], Awaitable[None]], *, port: int, until_eof: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; the line ``ready <port>`` says that the program listens.

    Args:
        app: What is served.
        beside: Runs beside the server once it listens, given the port; cancelled after the last request.
            If it fails, the program ends with its error.
        port: The port to listen on; 0 takes a free one.
        until_eof: End also when standard input ends, as the parent process does.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        await loop.connect_read_pipe(lambda: _Ended(stop), sys.stdin)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, shutdown_timeout=1).start()
        taken: int = runner.addresses[0][1]
        work = asyncio.ensure_future(beside(taken))
        work.add_done_callback(lambda _: stop.set())
        print("ready", taken, flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def read_object(request: web.Request) -> Json:
    """The JSON object in a request's body.

    Raises:
        web.HTTPBadRequest: There is none.
    """
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise problem(web.HTTPBadRequest, "The body must be a JSON object.")
    return body


def problem(kind: Callable[..., web.HTTPError], detail: str) -> web.HTTPError:
    """An HTTP error that says in JSON what is wrong."""
    return kind(text=json.dumps({"detail": detail}), content_type="application/json")


def log(text: str) -> None:
    """A line for the person at the terminal; standard output is for the parent process."""
    print(text, file=sys.stderr, flush=True)


class _Ended(asyncio.Protocol):
    """Sets an event when the stream ends; what it says is of no interest."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def connection_lost(self, _: Optional[Exception]) -> None:
        self._event.set()
