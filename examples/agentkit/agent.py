"""An agent behind AgentKit: it gets tasks from AgentKit, and Ops-Core learns of them from its state reports alone.

It registers with AgentKit, reports ``idle``, and takes tasks at ``POST /run`` (202 at once, one worked on at a time).
A task is reported ``active``, then ``idle`` with its result, or ``error`` with its error and ``idle`` after that. With
``--complete`` it closes its task by ``POST /v1/opscore/task/{taskId}/complete`` instead, and then reports ``idle``.
Reports go out in order, each until it is accepted: an Ops-Core that restarts misses none.

The work: ``collect`` counts what is in ``payload["text"]``, ``summarise`` finds its longest words; anything else is
sent back with its size. ``{"fail": "why"}`` in the payload makes the task fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import quote

import aiohttp
from aiohttp import web
from outbox import Headers, Letter, Outbox, bearer, open_session
from serving import HOST, LARGEST_BODY, Json, problem, read_object, serve

NOT_REGISTERED_YET = frozenset({404})
LEAVE_LIMIT = 2.0
LONGEST_WORDS = 5


class TaskFailedError(Exception):
    """The task cannot be done; the message says why."""


def work(task_name: str, payload: Json) -> Json:
    """Do one task.

    Raises:
        TaskFailedError: It cannot be done.
    """
    if payload.get("fail"):
        raise TaskFailedError(str(payload["fail"]))
    return WORK.get(task_name, echo)(payload)


def collect(payload: Json) -> Json:
    """How much text there is."""
    text = _text(payload)
    sentences = [part for part in re.split(r"[.!?]+(?:\s|$)", text) if part.strip()]
    return {"characters": len(text), "words": len(_words(text)), "sentences": len(sentences)}


def summarise(payload: Json) -> Json:
    """The longest words, the longest first; among equals the first of the alphabet."""
    count = payload.get("count", LONGEST_WORDS)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise TaskFailedError("count must be a whole number from 1 on.")
    words = sorted({word.lower() for word in _words(_text(payload))}, key=lambda word: (-len(word), word))
    return {"longest_words": words[:count], "different_words": len(words)}


def echo(payload: Json) -> Json:
    """The payload again, and its size as JSON."""
    return {"payload": payload, "bytes": len(json.dumps(payload, ensure_ascii=False).encode())}


WORK: Dict[str, Callable[[Json], Json]] = {"collect": collect, "summarise": summarise}


def _text(payload: Json) -> str:
    text = payload.get("text")
    if not isinstance(text, str):
        raise TaskFailedError("text is missing.")
    return text


def _words(text: str) -> List[str]:
    return re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)  # noqa: RUF001 - an apostrophe as printed text has it


class Reports:
    """What Ops-Core is told, through the outbox; timestamps rise whatever the clock does."""

    def __init__(self, outbox: Outbox, opscore: str, agent_id: str, headers: Callable[[bytes], Headers]) -> None:
        self._outbox = outbox
        self._base = f"{opscore}/v1/opscore"
        self._agent_id = agent_id
        self._headers = headers
        self._last = datetime.min.replace(tzinfo=timezone.utc)

    def registered(self) -> None:
        """The agent is there and free; Ops-Core may hear of it a little later than this."""
        self._state("idle", {}, NOT_REGISTERED_YET)

    def state(self, state: str, **details: Any) -> None:
        """The agent is now in this state."""
        self._state(state, details)

    def completed(self, task_id: str, outcome: Json) -> None:
        """A task has ended, told explicitly."""
        url = f"{self._base}/task/{quote(task_id, safe='')}/complete"
        self._outbox.put(Letter("POST", url, outcome, self._headers))

    def _state(self, state: str, details: Json, patient_with: Any = frozenset()) -> None:
        self._last = max(datetime.now(timezone.utc), self._last + timedelta(microseconds=1))
        timestamp = self._last.isoformat(timespec="microseconds").replace("+00:00", "Z")
        body = {"agentId": self._agent_id, "timestamp": timestamp, "state": state, "details": details}
        url = f"{self._base}/agent/{quote(self._agent_id, safe='')}/state"
        self._outbox.put(Letter("POST", url, body, self._headers, patient_with))


class Agent:
    """Takes tasks, works them off one by one, and reports."""

    def __init__(self, session: aiohttp.ClientSession, arguments: argparse.Namespace) -> None:
        self._session = session
        self._arguments = arguments
        self._agents_url = re.sub(r"(/v1)?/*$", "", arguments.agentkit) + "/v1/agents"
        self._outbox = Outbox(session)
        opscore = arguments.opscore.rstrip("/")
        self._reports = Reports(self._outbox, opscore, arguments.id, bearer(arguments.key))
        self._tasks: asyncio.Queue[Json] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        """Take a task; its end is reported later."""
        task = await read_object(request)
        if not isinstance(task.get("opscore_task_id"), str) or not isinstance(task.get("payload"), dict):
            raise problem(web.HTTPBadRequest, "opscore_task_id must be a text and payload an object.")
        self._tasks.put_nowait(task)
        return web.json_response({"status": "accepted"}, status=202)

    async def run(self, port: int) -> None:
        """Register, work for ever, leave."""
        self._outbox.put(Letter("POST", self._agents_url, self._details(port), bearer(None)))
        self._reports.registered()
        try:
            await asyncio.gather(self._outbox.run(), self._work_off())
        finally:
            await self._leave()

    def _details(self, port: int) -> Json:
        return {
            "agentId": self._arguments.id,
            "agentName": self._arguments.name or self._arguments.id,
            "version": "1.0.0",
            "capabilities": self._arguments.capability or ["text_analysis"],
            "contactEndpoint": f"http://{HOST}:{port}/run",
            "metadata": {"example": "agentkit"},
        }

    async def _work_off(self) -> None:
        while True:
            task = await self._tasks.get()
            task_id = task["opscore_task_id"]
            self._reports.state("active", opscore_task_id=task_id)
            await asyncio.sleep(self._arguments.delay)
            try:
                result = work(str(task.get("task_name")), task["payload"])
            except TaskFailedError as error:
                self._failed(task_id, str(error))
            else:
                self._done(task_id, result)

    def _done(self, task_id: str, result: Json) -> None:
        if self._arguments.complete:
            self._reports.completed(task_id, {"status": "success", "output": result})
            self._reports.state("idle")
        else:
            self._reports.state("idle", opscore_task_id=task_id, result=result)

    def _failed(self, task_id: str, error: str) -> None:
        if self._arguments.complete:
            self._reports.completed(task_id, {"status": "error", "error": error})
        else:
            self._reports.state("error", opscore_task_id=task_id, error=error)
        self._reports.state("idle")

    async def _leave(self) -> None:
        url = f"{self._agents_url}/{quote(self._arguments.id, safe='')}"
        try:
            async with self._session.delete(url, timeout=aiohttp.ClientTimeout(total=LEAVE_LIMIT)) as answer:
                await answer.read()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            pass  # AgentKit is gone too


def make_app(agent: Agent) -> web.Application:
    """The agent as an aiohttp application."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app.add_routes([web.post("/run", agent.take)])
    return app


async def main(arguments: argparse.Namespace) -> None:
    """Serve until the end."""
    async with open_session() as session:
        agent = Agent(session, arguments)
        await serve(make_app(agent), agent.run, port=arguments.port, until_eof=arguments.until_eof)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    env: Callable[[str], Optional[str]] = os.environ.get
    options = argparse.ArgumentParser(description="An agent behind AgentKit that reports its states to Ops-Core.")
    add = options.add_argument
    add("--agentkit", default=env("AGENTKIT_API_URL") or "http://127.0.0.1:8100", help="AgentKit [AGENTKIT_API_URL]")
    add("--opscore", default=env("OPSCORE_API_URL") or "http://127.0.0.1:8000", help="Ops-Core [OPSCORE_API_URL]")
    add("--key", default=env("OPSCORE_API_KEY"), help="key for Ops-Core [OPSCORE_API_KEY]")
    add("--id", default="ada", help="the agent's id [ada]")
    add("--name", help="the agent's name [its id]")
    add("--capability", action="append", help="what it can do; may be repeated [text_analysis]")
    add("--delay", type=float, default=0.0, help="seconds that each task takes")
    add("--complete", action="store_true", help="close tasks explicitly instead of by state reports")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add("--until-eof", action="store_true", help="end when standard input ends, as the parent does")
    return options


if __name__ == "__main__":
    asyncio.run(main(parser().parse_args()))
