from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Optional

from processes import Client, Server, free_port, program

SECRET = "s3cret-of-the-webhook"
KILLS = int(os.environ.get("OPSCORE_KILLS", "3"))
DOWN = float(os.environ.get("OPSCORE_AGENTKIT_DOWN", "1.5"))
SESSIONS = 20
LIMIT = 60.0
TEXT = {"text": "A durable workflow survives. It goes on."}


class Town:
    """Ops-Core, the stand-in for AgentKit and its agents, each a process of its own."""

    def __init__(self, server: Server, client: Client, kit_port: int) -> None:
        self.server = server
        self.client = client
        self.kit_url = f"http://127.0.0.1:{kit_port}"
        self._kit_port = kit_port
        self._kit = AsyncExitStack()

    async def open_kit(self) -> None:
        """Start AgentKit, always at the same address."""
        options = ("--port", str(self._kit_port), "--opscore", self.server.url, "--secret", SECRET)
        await self._kit.enter_async_context(program("agentkit.py", *options))

    async def close_kit(self) -> None:
        """Stop AgentKit."""
        await self._kit.aclose()

    async def trigger(self, agent: str, tasks: list[dict[str, Any]], **more: Any) -> str:
        """Start a session of an inline workflow."""
        definition = {"id": more.pop("workflow", "reading"), "tasks": tasks}
        path = f"/v1/opscore/agent/{agent}/workflow"
        status, answer = await self.client.call("POST", path, {"workflowDefinition": definition, **more})
        assert status == 202, answer
        return str(answer["sessionId"])

    async def session(self, session_id: str) -> dict[str, Any]:
        """A session as it stands."""
        status, answer = await self.client.call("GET", f"/v1/opscore/session/{session_id}")
        assert status == 200, answer
        return dict(answer)

    async def until(self, look: Callable[[], Any], fits: Callable[[Any], bool]) -> Any:
        """Look again and again until it fits."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            found = await look()
            if fits(found):
                return found
            await asyncio.sleep(0.01)  # other processes are looked at; they have no event to wait for
        raise AssertionError(f"never so: {found}")

    async def ended(self, session_id: str) -> dict[str, Any]:
        """A session at its end, and all words that its status was seen to have."""
        words: list[str] = []

        async def look() -> dict[str, Any]:
            found = await self.session(session_id)
            if found["status"] not in words[-1:]:
                words.append(found["status"])
            return found

        found = await self.until(look, lambda now: now["status"] in ("completed", "failed", "cancelled"))
        return {**found, "words": words}

    async def agent(self, agent_id: str, state: str) -> dict[str, Any]:
        """An agent once it is in a state."""

        async def look() -> dict[str, Any]:
            return dict((await self.client.call("GET", f"/agents/{agent_id}"))[1])

        return dict(await self.until(look, lambda now: now.get("state") == state))

    async def dispatched(self, count: int) -> None:
        """Wait until AgentKit was asked to run so many tasks."""
        await self.until(self.runs, lambda runs: len(runs) == count)

    async def runs(self) -> list[dict[str, Any]]:
        """What AgentKit was asked to run, in order."""
        async with Client(self.kit_url) as kit:
            return list((await kit.call("GET", "/v1/runs"))[1]["runs"])


@asynccontextmanager
async def town(directory: Path, *agents: tuple[str, ...]) -> AsyncIterator[Town]:
    """A town with these agents (id and options of each), all of them idle."""
    kit_port = free_port()
    environment = {"AGENTKIT_API_URL": f"http://127.0.0.1:{kit_port}/v1", "OPSCORE_WEBHOOK_SECRET": SECRET}
    server = Server(directory, **environment)
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.kill)
        made = Town(server, await stack.enter_async_context(Client(server.url)), kit_port)
        await made.open_kit()
        stack.push_async_callback(made.close_kit)
        for agent_id, *options in agents:
            given = ("--agentkit", made.kit_url, "--opscore", server.url, "--id", agent_id, *options)
            await stack.enter_async_context(program("agent.py", *given))
        for agent_id, *_ in agents:
            await made.agent(agent_id, "idle")
        yield made


def task(task_id: str, name: str, parameters: Optional[dict[str, Any]] = None, **more: Any) -> dict[str, Any]:
    """A task of a workflow."""
    return {"taskId": task_id, "name": name, "parameters": TEXT if parameters is None else parameters, **more}


TWO = [task("first", "collect"), task("second", "summarise")]


async def test_a_session_runs_by_state_reports_alone(tmp_path: Path) -> None:
    """Two tasks through AgentKit and an agent that only reports: started, running, completed, both outputs recorded."""
    async with town(tmp_path, ("ada", "--delay", "0.05")) as place:
        _, answer = await place.client.call("GET", "/agents/ada")
        assert (answer["protocol"], answer["source"], answer["status"]) == ("agentkit", "webhook", "active")
        found = await place.ended(await place.trigger("ada", TWO))
        assert found["status"] == "completed"
        assert [word for word in found["words"] if word not in ("started", "running")] == ["completed"]
        first, second = found["tasks"]
        assert first["output"] == {"characters": 40, "words": 7, "sentences": 2}
        assert second["output"]["longest_words"][0] == "survives"
        assert found["result"] == {"second": second["output"]}
        _, results = await place.client.call("GET", f"/executions/{found['sessionId']}/results")
        assert [one["status"] for one in results["node_results"]] == ["completed", "completed"]
        assert [run["task_name"] for run in await place.runs()] == ["collect", "summarise"]


async def test_a_session_that_waits_for_its_agent_is_started_only(tmp_path: Path) -> None:
    """A session is "started" while its agent is busy with something else, and says so; then it runs and completes."""
    async with town(tmp_path, ("ada",)) as place:
        await _report(place, "ada", "active")
        session_id = await place.trigger("ada", TWO)
        _, execution = await place.client.call("GET", f"/executions/{session_id}")
        assert [one["reason"] for one in execution["waiting"]] == ["agent"]
        assert "reported active" in execution["waiting"][0]["message"]
        assert (await place.session(session_id))["status"] == "started"
        await _report(place, "ada", "idle")
        found = await place.ended(session_id)
        assert found["status"] == "completed"


async def test_a_kill_between_dispatch_and_completion_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed with -9 while the agent is at work on each of the two tasks: completed, each task dispatched once."""
    async with town(tmp_path, ("ada", "--delay", "0.6")) as place:
        session_id = await place.trigger("ada", TWO)
        for runs in (1, 2):
            await place.dispatched(runs)
            await place.agent("ada", "active")
            await place.server.kill()
            await place.server.start()
        found = await place.ended(session_id)
        assert found["status"] == "completed"
        assert [one["output"] is not None for one in found["tasks"]] == [True, True]
        runs = await place.runs()
        assert [(run["task_name"], run["received"], run["attempt"]) for run in runs] == [
            ("collect", 1, 1),
            ("summarise", 1, 1),
        ]


async def test_a_kill_while_the_agent_finishes_is_made_up_for(tmp_path: Path) -> None:
    """The agent ends its task while Ops-Core is down: its report comes afterwards and completes the session."""
    async with town(tmp_path, ("ada", "--delay", "0.3")) as place:
        session_id = await place.trigger("ada", TWO[:1])
        await place.agent("ada", "active")
        await place.server.kill()
        runs = await place.until(place.runs, lambda now: now[0]["outcome"] == "forwarded")
        await place.server.start()
        assert (await place.ended(session_id))["status"] == "completed"
        assert len(runs) == 1


async def test_an_error_is_retried_and_then_fails_the_session_with_the_agents_words(tmp_path: Path) -> None:
    """An agent that reports error is given the task maxRetries times more; then the session fails as the agent said."""
    async with town(tmp_path, ("ada",)) as place:
        failing = [task("first", "collect", {"fail": "The printer is out of ink."}, maxRetries=2)]
        found = await place.ended(await place.trigger("ada", failing))
        assert found["status"] == "failed"
        assert "The printer is out of ink." in found["error"]
        assert found["tasks"][0]["error"] == "The printer is out of ink."
        runs = await place.runs()
        assert [run["attempt"] for run in runs] == [1, 2, 3]
        assert len({run["idempotency_key"] for run in runs}) == 1


async def test_agentkit_down_loses_nothing(tmp_path: Path) -> None:
    """While AgentKit is down the execution says that it waits for it; once it is back the session completes."""
    async with town(tmp_path, ("ada",)) as place:
        _, answer = await place.client.call("GET", "/agents/ada")
        await place.close_kit()
        session_id = await place.trigger("ada", TWO)
        down_until = time.monotonic() + DOWN

        async def look() -> list[dict[str, Any]]:
            return list((await place.client.call("GET", f"/executions/{session_id}"))[1]["waiting"])

        waiting = await place.until(look, bool)
        while time.monotonic() < down_until:
            waiting = await place.until(look, bool)
        assert waiting[0]["error_code"] == "AGENTKIT_UNREACHABLE"
        assert "AgentKit cannot be reached" in waiting[0]["message"]
        assert waiting[0]["reason"] == "retry"
        await place.open_kit()
        async with Client(place.kit_url) as kit:  # as an AgentKit would that remembers its agents
            details = {"agentId": "ada", "contactEndpoint": answer["endpoint"], "capabilities": ["text_analysis"]}
            assert (await kit.call("POST", "/v1/agents", details))[0] == 201
        found = await place.ended(session_id)
        assert found["status"] == "completed"
        _, execution = await place.client.call("GET", f"/executions/{session_id}")
        assert execution["failures"] == 0


async def test_an_agent_never_has_two_tasks_and_they_come_in_order(tmp_path: Path) -> None:
    """20 sessions at once for one agent: a task is dispatched when the one before has ended, in the order of starts."""
    async with town(tmp_path, ("ada", "--delay", "0.01")) as place:
        sessions = [await place.trigger("ada", TWO[:1]) for _ in range(SESSIONS)]
        ends = [await place.ended(session_id) for session_id in sessions]
        assert {found["status"] for found in ends} == {"completed"}
        runs = await place.runs()
        assert [run["opscore_task_id"] for run in runs] == [found["tasks"][0]["opscoreTaskId"] for found in ends]
        for before, run in zip(ends, runs[1:]):
            assert run["time"] >= before["endTime"], "dispatched before the last one had ended"


async def test_a_capability_is_shared_among_all_who_have_it(tmp_path: Path) -> None:
    """Three agents with one capability: all get work, by turns; a fourth without it gets none."""
    # Who is free is given work: shares are equal as long as none falls behind by a whole task, here of half a second.
    agents = [(name, "--delay", "0.5", "--capability", "reading") for name in ("ada", "bob", "cyd")]
    async with town(tmp_path, *agents, ("dan", "--capability", "writing")) as place:
        tasks = [{"taskId": "first", "name": "collect", "parameters": TEXT, "agentCapability": "reading"}]
        sessions = await asyncio.gather(*[place.trigger("dan", tasks) for _ in range(12)])
        ends = [await place.ended(session_id) for session_id in sessions]
        assert {found["status"] for found in ends} == {"completed"}
        by_agent = [run["agentId"] for run in await place.runs()]
        assert {name: by_agent.count(name) for name in ("ada", "bob", "cyd")} == {"ada": 4, "bob": 4, "cyd": 4}


async def test_agents_may_close_their_tasks_explicitly(tmp_path: Path) -> None:
    """With explicit completions instead of results in reports, sessions complete and fail just the same."""
    async with town(tmp_path, ("ada", "--complete")) as place:
        found = await place.ended(await place.trigger("ada", TWO))
        assert found["status"] == "completed"
        assert found["tasks"][0]["output"]["words"] == 7
        failing = [task("first", "collect", {"fail": "No."}, maxRetries=0)]
        found = await place.ended(await place.trigger("ada", failing, workflow="failing"))
        assert (found["status"], found["tasks"][0]["error"]) == ("failed", "No.")


async def test_agents_are_discovered(tmp_path: Path) -> None:
    """Agents that AgentKit lists when Ops-Core starts are registered; one that it lists no more is forgotten."""
    kit_port = free_port()
    deaf = ("--port", str(kit_port), "--opscore", f"http://127.0.0.1:{free_port()}")
    server = Server(tmp_path, AGENTKIT_API_URL=f"http://127.0.0.1:{kit_port}", OPSCORE_AGENTKIT_INTERVAL="0.1")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(program("agentkit.py", *deaf))
        kit = await stack.enter_async_context(Client(f"http://127.0.0.1:{kit_port}"))
        details = {"agentId": "eve", "contactEndpoint": "http://127.0.0.1:9/run", "capabilities": ["reading"]}
        await kit.call("POST", "/v1/agents", details)
        await server.start()
        stack.push_async_callback(server.kill)
        place = Town(server, await stack.enter_async_context(Client(server.url)), kit_port)

        async def look() -> list[tuple[str, str]]:
            agents = (await place.client.call("GET", "/agents"))[1]["agents"]
            return [(agent["agent_id"], agent["source"]) for agent in agents]

        await place.until(look, lambda now: now == [("eve", "discovery")])
        await kit.call("DELETE", "/v1/agents/eve")
        await place.until(look, lambda now: now == [])


async def _report(place: Town, agent_id: str, state: str) -> None:
    """Report a state for an agent, from outside its process."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1000 % 10**6:06}Z"
    body = {"agentId": agent_id, "timestamp": stamp, "state": state}
    status, answer = await place.client.call("POST", f"/v1/opscore/agent/{agent_id}/state", body)
    assert status == 202, answer


async def test_kills_under_load_keep_every_promise(tmp_path: Path) -> None:
    """Killed again and again under sessions of three agents: all complete, one key a task, never two tasks an agent."""
    agents = [(name, "--delay", "0.02", "--capability", "reading") for name in ("ada", "bob", "cyd")]
    tasks = [{**one, "agentCapability": "reading"} for one in TWO]
    chance = random.Random(KILLS)
    async with town(tmp_path, *agents) as place:
        sessions: list[str] = []
        for _ in range(KILLS):
            sessions += await asyncio.gather(*[place.trigger("ada", tasks) for _ in range(10)])
            await asyncio.sleep(chance.uniform(0.0, 0.3))  # the moment of the kill is left to chance
            await place.server.kill()
            await place.server.start()
        assert {(await place.ended(session_id))["status"] for session_id in sessions} == {"completed"}
        spans: dict[str, list[tuple[str, str]]] = {}
        for session_id in sessions:
            _, found = await place.client.call("GET", f"/executions/{session_id}/results")
            for step in found["node_results"]:
                spans.setdefault(step["agent_id"], []).append((step["started_at"], step["completed_at"]))
        assert spans.keys() == {"ada", "bob", "cyd"}
        for one in spans.values():
            ordered = sorted(one)
            assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:]))
        keys: dict[str, set[str]] = {}
        for run in await place.runs():
            keys.setdefault(run["opscore_task_id"], set()).add(run["idempotency_key"])
        assert len(keys) == 2 * len(sessions)
        assert all(len(known) == 1 for known in keys.values())
