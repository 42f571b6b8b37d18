"""The floor: the least that any server with this job must do, and nothing else.

    python floor.py AGENT_URL DATABASE

Accept a start, commit it, answer; call the agent, commit each result before the next call, commit the end.
A report of an agent's state is accepted, committed and answered.
SQLite with a write-ahead log and synchronous=FULL, one writer thread with group commit, aiohttp on both sides,
no validation, no routes, no features. ``chain-N`` is N calls in a row, ``fan-N`` is one call, N at once, one more.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
import uuid
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

SCHEMA = """
CREATE TABLE runs (id TEXT PRIMARY KEY, flow TEXT, input TEXT, output TEXT) WITHOUT ROWID;
CREATE TABLE reports (agent TEXT, at TEXT, seq INTEGER, state TEXT, PRIMARY KEY (agent, at, seq)) WITHOUT ROWID;
CREATE TABLE steps (run TEXT, node TEXT, output TEXT, PRIMARY KEY (run, node)) WITHOUT ROWID;
"""
RUN = "INSERT INTO runs (id, flow, input) VALUES (?, ?, ?)"
REPORT = "INSERT INTO reports VALUES (?, ?, ?, ?)"
STEP = "INSERT INTO steps VALUES (?, ?, ?)"
END = "UPDATE runs SET output = ? WHERE id = ?"


class Writer(threading.Thread):
    """Commits whatever waits, together."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        """Open the database."""
        super().__init__(daemon=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(SCHEMA)
        self._loop = loop
        self._rows: queue.SimpleQueue[tuple[str, tuple[Any, ...], asyncio.Future[None]]] = queue.SimpleQueue()

    def write(self, sql: str, *row: Any) -> asyncio.Future[None]:
        """Queue a row; done when it is committed."""
        future = self._loop.create_future()
        self._rows.put((sql, row, future))
        return future

    def run(self) -> None:
        """Commit for ever."""
        while True:
            batch = [self._rows.get()]
            while not self._rows.empty():
                batch.append(self._rows.get())
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, row, _ in batch:
                self._connection.execute(sql, row)
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._tell, [future for _, _, future in batch])

    @staticmethod
    def _tell(futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            future.set_result(None)


class Floor:
    """The handler."""

    def __init__(self, agent: str, path: str) -> None:
        """Open the client and the writer."""
        self._agent = agent
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._writer = Writer(path, asyncio.get_running_loop())
        self._writer.start()
        self._reports = 0
        self._status: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Start a flow, or tell its status from memory."""
        if request.method == "GET":
            return _answer({"status": self._status[request.path.rpartition("/")[2]]})
        body = orjson.loads(await request.read())
        if request.path.endswith("/state"):
            self._reports += 1
            await self._writer.write(REPORT, body["agentId"], body["timestamp"], self._reports, body["state"])
            return _answer({"status": "success"}, 202)
        run, kind, size = str(uuid.uuid4()), *body["flow_id"].split("-")
        await self._writer.write(RUN, run, body["flow_id"], orjson.dumps(body["input_data"]).decode())
        self._status[run] = "running"
        task = asyncio.ensure_future(self._run(run, kind, int(size), body["input_data"].get("n", 0)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _answer({"execution_id": run, "status": "pending"})

    async def _run(self, run: str, kind: str, size: int, n: int) -> None:
        if kind == "chain":
            for index in range(size):
                n = await self._step(run, f"n{index}", n)
        else:
            n = await self._step(run, "first", n)
            await asyncio.gather(*[self._step(run, f"n{index}", n) for index in range(size)])
            n = await self._step(run, "last", n)
        await self._writer.write(END, str(n), run)
        self._status[run] = "completed"

    async def _step(self, run: str, node: str, n: int) -> int:
        call = orjson.dumps({"execution_id": run, "node_id": node, "input": {"n": n}})
        async with self._session.post(self._agent, data=call, headers={"Content-Type": "application/json"}) as answer:
            raw = await answer.read()
        await self._writer.write(STEP, run, node, raw.decode())
        return int(orjson.loads(raw)["output"]["n"])


def _answer(body: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def main() -> None:
    """Serve until killed."""
    runner = web.ServerRunner(web.Server(Floor(sys.argv[1], sys.argv[2]).handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
