"""A stand-in for AgentKit: it knows agents, tells Ops-Core about them, and passes Ops-Core's tasks on to them.

- ``POST /v1/agents`` with an agent's details registers it, ``DELETE /v1/agents/{agentId}`` removes it; Ops-Core is
  told of both by the signed webhook ``POST /v1/opscore/internal/agent/notify``, in order, until it has accepted.
- ``GET /v1/agents`` lists the agents (405 with ``--no-discovery``).
- ``POST /v1/agents/{agentId}/run`` answers 202, and only then forwards the body to the agent's ``contactEndpoint``.
  A repeat, that is the same ``Idempotency-Key`` and the same ``X-OpsCore-Attempt``, is accepted and not forwarded.
- ``GET /v1/runs`` lists what was forwarded, for tests that count.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import os
import time
import uuid
from collections import OrderedDict
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Optional, Set, Tuple

import aiohttp
from aiohttp import web
from outbox import Headers, Letter, Outbox, bearer, open_session
from serving import LARGEST_BODY, Json, log, problem, read_object, serve

NOT_YET = frozenset({401, 403, 404})
"""Ops-Core may be up before its secret, its key or its routes are as they should be."""
REMEMBERED = 100_000
"""Runs kept for ``GET /v1/runs`` and against repeats; the oldest goes first."""
PASSED_ON = ("Idempotency-Key", "X-OpsCore-Attempt", "traceparent")

RunKey = Tuple[str, str, str]


class AgentKit:
    """The agents, the runs, and everything under way for them."""

    def __init__(self, session: aiohttp.ClientSession, opscore: str, secret: Optional[str], key: Optional[str]) -> None:
        self._session = session
        self._notify_url = f"{opscore}/v1/opscore/internal/agent/notify"
        self._secret, self._key = secret, key
        self._outbox = Outbox(session)
        self._agents: Dict[str, Json] = {}
        self._runs: OrderedDict[RunKey, Json] = OrderedDict()
        self._forwards: Set[asyncio.Task[None]] = set()

    async def run(self, _: int) -> None:
        """Notify Ops-Core, for ever; ends what it forwards when it ends."""
        try:
            await self._outbox.run()
        finally:
            for forward in self._forwards:
                forward.cancel()
            await asyncio.gather(*self._forwards, return_exceptions=True)

    async def register(self, request: web.Request) -> web.Response:
        """Know an agent from now on, or know it better."""
        details = _checked(await read_object(request))
        agent_id = details["agentId"]
        status = 200 if agent_id in self._agents else 201
        self._agents[agent_id] = details
        self._notify("REGISTER", details)
        return web.json_response({"status": "registered", "agentId": agent_id}, status=status)

    async def deregister(self, request: web.Request) -> web.Response:
        """Know an agent no longer."""
        details = self._known(request)
        del self._agents[details["agentId"]]
        self._notify("DEREGISTER", details)
        return web.json_response({"status": "deregistered", "agentId": details["agentId"]})

    async def discover(self, _: web.Request) -> web.Response:
        """All agents."""
        return web.json_response({"agents": list(self._agents.values())})

    async def runs(self, _: web.Request) -> web.Response:
        """What was forwarded, oldest first; ``received`` counts the repeats too."""
        return web.json_response({"runs": list(self._runs.values()), "count": len(self._runs)})

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """Accept a task for an agent; it is forwarded once it is accepted."""
        agent = self._known(request)
        task = await read_object(request)
        attempt = request.headers.get("X-OpsCore-Attempt", "")
        # without a key, no two requests are the same
        key = request.headers.get("Idempotency-Key") or uuid.uuid4().hex
        known = self._runs.get((agent["agentId"], key, attempt))
        answer = web.json_response({"status": "accepted", "agentId": agent["agentId"]}, status=202)
        if known is not None:
            known["received"] += 1
            return answer
        run = {
            "agentId": agent["agentId"],
            "opscore_task_id": task.get("opscore_task_id"),
            "task_name": task.get("task_name"),
            "idempotency_key": request.headers.get("Idempotency-Key"),
            "attempt": int(attempt) if attempt.isdecimal() else None,
            "time": datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "received": 1,
            "outcome": "accepted",
        }
        self._remember((agent["agentId"], key, attempt), run)
        try:
            await answer.prepare(request)
            await answer.write_eof()
        finally:
            headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
            self._start(self._forward(run, agent["contactEndpoint"], task, headers))
        return answer

    def _known(self, request: web.Request) -> Json:
        agent = self._agents.get(request.match_info["agentId"])
        if agent is None:
            raise problem(web.HTTPNotFound, "There is no such agent.")
        return agent

    def _notify(self, event_type: str, details: Json) -> None:
        body = {"event_type": event_type, "agent_details": details}
        headers = signer(self._secret) if self._secret else bearer(self._key)
        self._outbox.put(Letter("POST", self._notify_url, body, headers, NOT_YET))

    def _remember(self, key: RunKey, run: Json) -> None:
        self._runs[key] = run
        while len(self._runs) > REMEMBERED:
            self._runs.popitem(last=False)

    def _start(self, forward: Any) -> None:
        task = asyncio.ensure_future(forward)
        self._forwards.add(task)
        task.add_done_callback(self._forwards.discard)

    async def _forward(self, run: Json, endpoint: str, task: Json, headers: Headers) -> None:
        """Send a task to its agent, once: Ops-Core's time limit tells of a task that got lost."""
        try:
            async with self._session.post(endpoint, json=task, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                run["outcome"] = "forwarded" if answer.status < 300 else f"refused with {answer.status}"
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            run["outcome"] = f"unreachable: {type(error).__name__}"
        if run["outcome"] != "forwarded":
            log(f"agent {run['agentId']}: task {run['opscore_task_id']} {run['outcome']}")


def _checked(details: Json) -> Json:
    for field in ("agentId", "contactEndpoint"):
        if not isinstance(details.get(field), str) or not details[field]:
            raise problem(web.HTTPBadRequest, f"{field} must be a text.")
    return {"agentName": details["agentId"], "version": "1.0.0", "capabilities": [], "metadata": {}, **details}


def signer(secret: str) -> Callable[[bytes], Headers]:
    """Signs the tries of one message: no two with the same timestamp, for Ops-Core takes each signature once."""
    last = 0

    def headers(body: bytes) -> Headers:
        nonlocal last
        last = max(int(time.time()), last + 1)
        digest = hmac.new(secret.encode(), f"{last}.".encode() + body, hashlib.sha256)
        return {"X-AgentKit-Timestamp": str(last), "X-AgentKit-Signature": digest.hexdigest()}

    return headers


def make_app(kit: AgentKit, *, discovery: bool = True) -> web.Application:
    """The stand-in as an aiohttp application."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app.add_routes(
        [
            web.post("/v1/agents", kit.register),
            web.delete("/v1/agents/{agentId}", kit.deregister),
            web.post("/v1/agents/{agentId}/run", kit.dispatch),
            web.get("/v1/runs", kit.runs),
        ]
    )
    if discovery:
        app.router.add_get("/v1/agents", kit.discover)
    return app


async def main(arguments: argparse.Namespace) -> None:
    """Serve until the end."""
    async with open_session() as session:
        kit = AgentKit(session, arguments.opscore.rstrip("/"), arguments.secret, arguments.key)
        app = make_app(kit, discovery=not arguments.no_discovery)
        await serve(app, kit.run, port=arguments.port, until_eof=arguments.until_eof)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    env = os.environ.get
    options = argparse.ArgumentParser(description="A stand-in for AgentKit.")
    add = options.add_argument
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add("--opscore", default=env("OPSCORE_API_URL") or "http://127.0.0.1:8000", help="Ops-Core [OPSCORE_API_URL]")
    add("--secret", default=env("OPSCORE_WEBHOOK_SECRET"), help="signs notifications [OPSCORE_WEBHOOK_SECRET]")
    add("--key", default=env("OPSCORE_API_KEY"), help="key for Ops-Core when there is no secret [OPSCORE_API_KEY]")
    add("--no-discovery", action="store_true", help="do not list agents: GET /v1/agents answers 405")
    add("--until-eof", action="store_true", help="end when standard input ends, as the parent does")
    return options


if __name__ == "__main__":
    asyncio.run(main(parser().parse_args()))
