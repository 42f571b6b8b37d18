"""The half of an agent that speaks HTTP: Ops-Core's "spine" protocol around one plain function.

``POST /execute`` takes ``{execution_id, node_id, input, config}`` and answers ``{status, output}`` or
``{status: "error", error_code, error_message, retryable}``; ``GET /health`` says that the agent is there.
Ops-Core calls at least once, with the same ``Idempotency-Key`` on every repeat: a key seen before gets the
answer it got before, and the work is not done again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import OrderedDict
from typing import Any, Callable, Dict, Optional

from aiohttp import web

Json = Dict[str, Any]
Work = Callable[[Json, Json], Json]
"""From a node's input and config to its output."""

REMEMBERED = 1_000
"""Answers kept for repeats; the oldest goes first."""


class BadDataError(Exception):
    """The input cannot be worked on, however often it is sent."""


def make_app(name: str, work: Work) -> web.Application:
    """An aiohttp application that does this work for Ops-Core."""
    answers: OrderedDict[str, Json] = OrderedDict()

    async def execute(request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        if key is not None and key in answers:
            return web.json_response(answers[key])
        task = await _read(request)
        if task is None:
            problem = failure("BAD_REQUEST", "The body must be a JSON object with an object under input.")
            return web.json_response(problem, status=400)
        answer = _answer(work, task)
        if key is not None:
            answers[key] = answer
            while len(answers) > REMEMBERED:
                answers.popitem(last=False)
        return web.json_response(answer)

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "agent": name})

    app = web.Application()
    app.add_routes([web.post("/execute", execute), web.get("/health", health)])
    return app


def failure(code: str, message: str) -> Json:
    """The answer to what no repeat would make better."""
    return {"status": "error", "error_code": code, "error_message": message, "retryable": False}


async def _read(request: web.Request) -> Optional[Json]:
    try:
        task = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return task if isinstance(task, dict) and isinstance(task.get("input"), dict) else None


def _answer(work: Work, task: Json) -> Json:
    config = task.get("config")
    try:
        output = work(task["input"], config if isinstance(config, dict) else {})
    except BadDataError as error:
        return failure("BAD_DATA", str(error))
    return {"status": "success", "output": output, "execution_id": task.get("execution_id")}


def main(name: str, work: Work) -> None:
    """Serve the work until SIGTERM or Ctrl-C; the line ``ready <port>`` says that it is up."""
    parser = argparse.ArgumentParser(description=f"The agent {name}.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends, as its parent does")
    arguments = parser.parse_args()
    asyncio.run(_serve(make_app(name, work), arguments.host, arguments.port, until_eof=arguments.until_eof))


async def _serve(app: web.Application, host: str, port: int, *, until_eof: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        await loop.connect_read_pipe(lambda: _Ended(stop), sys.stdin)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, shutdown_timeout=1).start()
        print("ready", runner.addresses[0][1], flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


class _Ended(asyncio.Protocol):
    """Sets an event when the stream ends; what it says is of no interest."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def connection_lost(self, _: Optional[Exception]) -> None:
        self._event.set()
