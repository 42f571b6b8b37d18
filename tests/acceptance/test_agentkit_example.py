from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Callable, Optional

import aiohttp
import pytest
from aiohttp import web
from processes import AGENTKIT, LIMIT, Client, free_port, program

SECRET, KEY = "s3cret-of-the-webhook", "sk_ops_test_key"


class FakeOpsCore:
    """As much of Ops-Core's dialect as the examples speak; it notes what it accepts, in order, and what it refuses."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.url = ""
        self.accepted: list[tuple[str, Any]] = []
        self.notices: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.refusals: dict[str, list[int]] = {"notify": [], "state": [], "complete": []}
        self.knows_all_agents = False
        self.refused: list[tuple[str, int]] = []
        self.gate = asyncio.Event()
        self._changed = asyncio.Condition()
        self._runner: Optional[web.AppRunner] = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/opscore/internal/agent/notify", self._notify),
                web.post("/v1/opscore/agent/{agent}/state", self._state),
                web.post("/v1/opscore/task/{task}/complete", self._complete),
                web.post("/contact", self._contact),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, reached: Callable[[], Any]) -> None:
        """Wait until something that was accepted or refused makes this true."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(reached), LIMIT)

    def of(self, kind: str) -> list[Any]:
        return [what for its_kind, what in self.accepted if its_kind == kind]

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        return [(report["state"], report["details"]) for report in self.of("state")]

    async def _notify(self, request: web.Request) -> web.Response:
        self.notices.append(request)
        self.bodies.append(await request.read())
        return await self._answer("notify", await request.json())

    async def _state(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["agentId"] == request.match_info["agent"]
        known = self.knows_all_agents or body["agentId"] in {
            notice["agent_details"]["agentId"] for notice in self.of("notify")
        }
        return await self._answer("state", body, None if known else 404)

    async def _complete(self, request: web.Request) -> web.Response:
        return await self._answer("complete", {"task": request.match_info["task"], **await request.json()})

    async def _contact(self, request: web.Request) -> web.Response:
        await self.gate.wait()
        return await self._answer("contact", {"headers": request.headers, "body": await request.json()})

    async def _answer(self, kind: str, what: Any, status: Optional[int] = None) -> web.Response:
        if status is None and self.refusals.get(kind):
            status = self.refusals[kind].pop(0)
        async with self._changed:
            if status is None:
                self.accepted.append((kind, what))
            else:
                self.refused.append((kind, status))
            self._changed.notify_all()
        if status == 0:
            raise asyncio.CancelledError  # the connection breaks off without an answer
        return web.json_response({}, status=status or 202)


@pytest.fixture
async def opscore() -> AsyncIterator[FakeOpsCore]:
    """A fake that listens."""
    fake = FakeOpsCore()
    await fake.start()
    yield fake
    await fake.stop()


@asynccontextmanager
async def fleet(opscore: FakeOpsCore, *arguments: str) -> AsyncIterator[Client]:
    """AgentKit, and the agent ada behind it, idle; a client of AgentKit."""
    async with AsyncExitStack() as stack:
        agentkit = await stack.enter_async_context(program("agentkit.py", "--opscore", opscore.url, "--secret", SECRET))
        options = ("--agentkit", agentkit + "/v1", "--opscore", opscore.url, "--key", KEY, "--id", "ada", *arguments)
        await stack.enter_async_context(program("agent.py", *options))
        client = await stack.enter_async_context(Client(agentkit))
        await opscore.until(lambda: opscore.states() == [("idle", {})])
        yield client


def details(opscore: FakeOpsCore, agent_id: str = "ada") -> dict[str, Any]:
    """An agent that the fake itself is."""
    return {
        "agentId": agent_id,
        "agentName": "Ada",
        "version": "2.1.0",
        "capabilities": ["reading"],
        "contactEndpoint": f"{opscore.url}/contact",
        "metadata": {"team": "é"},
    }


def run(task_id: str, task_name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A task as Ops-Core sends it."""
    return {
        "senderId": "opscore_system_id",
        "messageType": "workflow_task",
        "payload": payload,
        "task_name": task_name,
        "opscore_session_id": "S1",
        "opscore_task_id": task_id,
        "sessionContext": {"sessionId": "S1", "workflowId": "read_text", "taskId": task_id},
    }


def headers(key: str, attempt: int) -> dict[str, str]:
    return {"Idempotency-Key": key, "X-OpsCore-Attempt": str(attempt)}


def signatures(opscore: FakeOpsCore) -> list[tuple[str, str]]:
    """Timestamp and signature of each notification, every one of them checked."""
    found = []
    for request, body in zip(opscore.notices, opscore.bodies):
        timestamp, signature = request.headers["X-AgentKit-Timestamp"], request.headers["X-AgentKit-Signature"]
        expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert signature == expected
        assert "Authorization" not in request.headers
        found.append((timestamp, signature))
    return found


async def test_a_notification_is_signed(opscore: FakeOpsCore) -> None:
    """Registering and leaving are notified with the agent's details under the signature of the secret."""
    ada = details(opscore)
    async with program("agentkit.py", "--opscore", opscore.url, "--secret", SECRET) as url, Client(url) as client:
        assert (await client.call("POST", "/v1/agents", ada))[0] == 201
        assert (await client.call("GET", "/v1/agents")) == (200, {"agents": [ada]})
        assert (await client.call("DELETE", "/v1/agents/ada"))[0] == 200
        assert (await client.call("DELETE", "/v1/agents/ada"))[0] == 404
        await opscore.until(lambda: len(opscore.of("notify")) == 2)
    assert opscore.of("notify") == [
        {"event_type": "REGISTER", "agent_details": ada},
        {"event_type": "DEREGISTER", "agent_details": ada},
    ]
    assert len(signatures(opscore)) == 2


async def test_without_a_secret_the_key_is_sent(opscore: FakeOpsCore) -> None:
    """Address and key may come from the environment; without a secret, the key proves the notification."""
    environment = {"OPSCORE_API_URL": opscore.url, "OPSCORE_API_KEY": KEY}
    async with program("agentkit.py", **environment) as url, Client(url) as client:
        await client.call("POST", "/v1/agents", details(opscore))
        await opscore.until(lambda: opscore.of("notify"))
    assert opscore.notices[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "X-AgentKit-Signature" not in opscore.notices[0].headers


async def test_a_refused_notification_is_repeated_under_fresh_signatures(opscore: FakeOpsCore) -> None:
    """Whatever Ops-Core's trouble is, the notification is repeated until accepted, each time signed anew."""
    opscore.refusals["notify"] = [503, 401, 0, 429]
    async with program("agentkit.py", "--opscore", opscore.url, "--secret", SECRET) as url, Client(url) as client:
        await client.call("POST", "/v1/agents", details(opscore))
        await opscore.until(lambda: opscore.of("notify"))
    signed = signatures(opscore)
    assert len(signed) == 5
    assert len(set(signed)) == 5
    assert [int(timestamp) for timestamp, _ in signed] == sorted({int(timestamp) for timestamp, _ in signed})


async def test_a_notification_waits_for_opscore_to_come_up() -> None:
    """An agent that registers before Ops-Core is up is notified once it is."""
    opscore = FakeOpsCore(free_port())
    later = f"http://127.0.0.1:{opscore.port}"
    async with program("agentkit.py", "--opscore", later, "--secret", SECRET) as url, Client(url) as client:
        await client.call("POST", "/v1/agents", {"agentId": "ada", "contactEndpoint": later})
        await opscore.start()
        await opscore.until(lambda: opscore.of("notify"))
    await opscore.stop()
    assert opscore.of("notify")[0]["agent_details"]["agentName"] == "ada"


async def test_a_repeated_run_is_forwarded_once(opscore: FakeOpsCore) -> None:
    """The same key and attempt is accepted again and not forwarded again; another attempt is."""
    opscore.gate.set()
    task = run("T1", "collect", {"text": "One."})
    async with program("agentkit.py", "--opscore", opscore.url) as url, Client(url) as client:
        await client.call("POST", "/v1/agents", details(opscore))
        for attempt in (1, 1, 2, 1):
            status, answer = await client.call(
                "POST", "/v1/agents/ada/run", task, headers=headers("E:collect", attempt)
            )
            assert (status, answer["status"]) == (202, "accepted")
        await opscore.until(lambda: len(opscore.of("contact")) == 2)
        _, listed = await client.call("GET", "/v1/runs")
    assert [forwarded["body"] for forwarded in opscore.of("contact")] == [task, task]
    assert sorted(forwarded["headers"]["X-OpsCore-Attempt"] for forwarded in opscore.of("contact")) == ["1", "2"]
    columns = ("agentId", "opscore_task_id", "idempotency_key", "attempt", "received")
    assert [tuple(one[column] for column in columns) for one in listed["runs"]] == [
        ("ada", "T1", "E:collect", 1, 3),
        ("ada", "T1", "E:collect", 2, 1),
    ]


async def test_a_run_is_answered_before_it_is_forwarded(opscore: FakeOpsCore) -> None:
    """AgentKit says 202 without waiting for the agent to take the task."""
    task = run("T1", "collect", {"text": "One."})
    async with program("agentkit.py", "--opscore", opscore.url) as url, Client(url) as client:
        await client.call("POST", "/v1/agents", details(opscore))
        assert (await client.call("POST", "/v1/agents/ada/run", task))[0] == 202
        assert not opscore.of("contact")
        opscore.gate.set()
        await opscore.until(lambda: opscore.of("contact"))


async def test_what_agentkit_does_not_know(opscore: FakeOpsCore) -> None:
    """An unknown agent is 404, broken bodies are 400, and without discovery the list is 405."""
    async with program("agentkit.py", "--opscore", opscore.url, "--no-discovery") as url, Client(url) as client:
        assert (await client.call("POST", "/v1/agents/nobody/run", run("T1", "collect", {})))[0] == 404
        assert (await client.call("POST", "/v1/agents", {"agentId": "ada"}))[0] == 400
        assert (await client.call("POST", "/v1/agents", ["ada"]))[0] == 400
        async with aiohttp.request("GET", url + "/v1/agents") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert opscore.accepted == []


async def test_states_are_reported_in_order(opscore: FakeOpsCore) -> None:
    """A task is reported active, then idle with its result; timestamps rise."""
    async with fleet(opscore) as agentkit:
        for number, text in enumerate(("One two. Three!", "Dr. who?")):
            await agentkit.call("POST", "/v1/agents/ada/run", run(f"T{number}", "collect", {"text": text}))
        await opscore.until(lambda: len(opscore.states()) == 5)
    assert opscore.states()[1:] == [
        ("active", {"opscore_task_id": "T0"}),
        ("idle", {"opscore_task_id": "T0", "result": {"characters": 15, "words": 3, "sentences": 2}}),
        ("active", {"opscore_task_id": "T1"}),
        ("idle", {"opscore_task_id": "T1", "result": {"characters": 8, "words": 2, "sentences": 2}}),
    ]
    timestamps = [report["timestamp"] for report in opscore.of("state")]
    assert timestamps == sorted(set(timestamps))
    assert all(len(timestamp) == len("2024-01-01T00:00:00.000000Z") for timestamp in timestamps)


async def test_the_agent_registers_and_leaves(opscore: FakeOpsCore) -> None:
    """The agent is announced with its flags when it starts and withdrawn when it stops."""
    flags = ("--name", "Ada, reads", "--capability", "reading", "--capability", "counting")
    async with program("agentkit.py", "--opscore", opscore.url) as url:
        options = ("--agentkit", url, "--opscore", opscore.url, "--id", "ada", *flags)
        async with program("agent.py", *options) as agent:
            await opscore.until(lambda: opscore.of("state"))
        await opscore.until(lambda: len(opscore.of("notify")) == 2)
    registered, left = opscore.of("notify")
    assert (registered["event_type"], left["event_type"]) == ("REGISTER", "DEREGISTER")
    announced = registered["agent_details"]
    assert (announced["agentName"], announced["capabilities"]) == ("Ada, reads", ["reading", "counting"])
    assert announced["contactEndpoint"] == f"{agent}/run"


async def test_the_first_report_waits_for_the_registration(opscore: FakeOpsCore) -> None:
    """The first idle is repeated while Ops-Core says 404, that is, has not heard of the agent yet."""
    opscore.refusals["notify"] = [503, 503]
    async with fleet(opscore):
        assert opscore.of("notify")
    assert ("state", 404) in opscore.refused


async def test_a_failing_task(opscore: FakeOpsCore) -> None:
    """A task that fails is reported as error with its text, and then the agent is idle again."""
    async with fleet(opscore) as agentkit:
        await agentkit.call("POST", "/v1/agents/ada/run", run("T1", "collect", {"fail": "no ink"}))
        await agentkit.call("POST", "/v1/agents/ada/run", run("T2", "summarise", {}))
        await opscore.until(lambda: len(opscore.states()) == 7)
    assert opscore.states()[1:] == [
        ("active", {"opscore_task_id": "T1"}),
        ("error", {"opscore_task_id": "T1", "error": "no ink"}),
        ("idle", {}),
        ("active", {"opscore_task_id": "T2"}),
        ("error", {"opscore_task_id": "T2", "error": "text is missing."}),
        ("idle", {}),
    ]


async def test_tasks_may_be_closed_explicitly(opscore: FakeOpsCore) -> None:
    """With --complete a task's end is posted for itself, and the idle after it names no task."""
    async with fleet(opscore, "--complete") as agentkit:
        await agentkit.call("POST", "/v1/agents/ada/run", run("T1", "anything", {"n": 1}))
        await agentkit.call("POST", "/v1/agents/ada/run", run("T2", "anything", {"fail": "no ink"}))
        await opscore.until(lambda: len(opscore.states()) == 5)
    told = [what if kind == "complete" else (what["state"], what["details"]) for kind, what in opscore.accepted[2:6]]
    assert told == [
        ("active", {"opscore_task_id": "T1"}),
        {"task": "T1", "status": "success", "output": {"payload": {"n": 1}, "bytes": 8}},
        ("idle", {}),
        ("active", {"opscore_task_id": "T2"}),
    ]
    assert opscore.of("complete")[1] == {"task": "T2", "status": "error", "error": "no ink"}


async def test_no_report_is_lost_while_opscore_is_away(opscore: FakeOpsCore) -> None:
    """Reports that meet errors, limits or broken connections are repeated, in order, until accepted."""
    async with fleet(opscore) as agentkit:
        opscore.refusals["state"] = [0, 503, 429, 0]
        await agentkit.call("POST", "/v1/agents/ada/run", run("T1", "collect", {"text": "One."}))
        await opscore.until(lambda: len(opscore.refused) >= 2)
        await agentkit.call("POST", "/v1/agents/ada/run", run("T2", "collect", {"text": "One."}))
        await opscore.until(lambda: len(opscore.states()) == 5)
    told = [(state, told.get("opscore_task_id")) for state, told in opscore.states()]
    assert told == [("idle", None), ("active", "T1"), ("idle", "T1"), ("active", "T2"), ("idle", "T2")]


async def test_the_workflow_is_one_the_agent_can_do(opscore: FakeOpsCore) -> None:
    """Each task of workflow.json asks for the agent's default capability and succeeds with its own parameters."""
    workflow = json.loads((AGENTKIT / "workflow.json").read_text(encoding="utf-8"))
    assert {"id", "name", "description", "version", "tasks"} == set(workflow)
    async with fleet(opscore) as agentkit:
        for task in workflow["tasks"]:
            await agentkit.call("POST", "/v1/agents/ada/run", run(task["taskId"], task["name"], task["parameters"]))
        await opscore.until(lambda: len(opscore.states()) == 5)
    capabilities = opscore.of("notify")[0]["agent_details"]["capabilities"]
    assert {task["agentCapability"] for task in workflow["tasks"]} == set(capabilities)
    results = {what["opscore_task_id"]: what["result"] for state, what in opscore.states() if "result" in what}
    assert results["collect"]["sentences"] == 2
    assert results["summarise"]["longest_words"] == ["survives", "workflow", "durable"]
