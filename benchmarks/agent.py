"""The agent of all measurements: answers at once, or after ``?sleep=seconds``; prints ``ready <port>``.

``GET /?run=ID&calls=N`` is answered when that execution has made its N-th call: so a driver learns that an execution is
about to end without asking the server that is measured.
"""

from __future__ import annotations

import asyncio

import orjson
import uvloop
from aiohttp import web


class Calls:
    """How many calls each execution has made, and who waits for how many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._made: dict[str, int] = {}
        self._waiting: dict[str, tuple[int, asyncio.Future[None]]] = {}

    def note(self, run: str) -> None:
        """Count one."""
        made = self._made[run] = self._made.get(run, 0) + 1
        calls, future = self._waiting.get(run, (0, None))
        if future is not None and made >= calls and not future.done():
            future.set_result(None)

    async def made(self, run: str, calls: int) -> None:
        """Wait for so many."""
        if self._made.get(run, 0) < calls:
            future = asyncio.get_running_loop().create_future()
            self._waiting[run] = (calls, future)
            await future
        self._waiting.pop(run, None)
        self._made.pop(run, None)


CALLS = Calls()


async def execute(request: web.BaseRequest) -> web.Response:
    """Add one to ``n``."""
    if request.path == "/health":
        return web.Response(status=404)
    if request.method == "GET":
        await CALLS.made(request.query["run"], int(request.query["calls"]))
        return web.Response()
    body = orjson.loads(await request.read())
    CALLS.note(body["execution_id"])
    seconds = request.query.get("sleep")
    if seconds is not None:
        await asyncio.sleep(float(seconds))
    output = {"n": body["input"].get("n", 0) + 1}
    return web.Response(body=orjson.dumps({"status": "success", "output": output}), content_type="application/json")


async def main() -> None:
    """Serve until killed."""
    runner = web.ServerRunner(web.Server(execute, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
