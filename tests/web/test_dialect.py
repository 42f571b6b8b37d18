"""The camelCase dialect: agents, their states, workflows and sessions, as its clients see them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, AsyncIterator, Optional

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient
from marshmallow import RAISE, Schema

from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.api import answer_schemas as api
from opscore.web.config import OPERATIONS
from opscore.web.opscore_v1 import ROUTES, schemas

NOTIFY = "/v1/opscore/internal/agent/notify"
ADA = {
    "agentId": "ada",
    "agentName": "Ada",
    "version": "2.1.0",
    "capabilities": ["reading"],
    "contactEndpoint": "http://127.0.0.1:9/run",
    "metadata": {"team": "é"},
}


class Worker:
    """A local agent that tells what it was given, and holds what it was told to hold."""

    def __init__(self) -> None:
        self.given: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.busy = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, given: dict[str, Any], call: Any) -> dict[str, Any]:
        self.given.append((call.node_id, given, dict(call.config)))
        if given.get("hold"):
            self.busy.set()
            await self.gate.wait()
        if given.get("fail"):
            raise ValueError("no ink")
        return {"done": call.node_id}

    @property
    def tasks(self) -> str:
        """The tasks in the order in which they came."""
        return "".join(task for task, _, _ in self.given)


@pytest_asyncio.fixture
async def worker() -> Worker:
    return Worker()


@pytest_asyncio.fixture
async def client(worker: Worker) -> AsyncIterator[TestClient]:
    async with open_client(local_agents={"worker": worker}) as opened:
        yield opened


async def call(client: TestClient, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, path, json=body, headers=sent) as answer:
        return answer.status, json.loads(await answer.read())


async def get(client: TestClient, path: str) -> Any:
    status, body = await call(client, "GET", path)
    assert status == 200, body
    return body


async def notify(client: TestClient, event: str = "REGISTER", **changed: Any) -> tuple[int, Any]:
    return await call(client, "POST", NOTIFY, {"event_type": event, "agent_details": {**ADA, **changed}})


async def report(client: TestClient, agent_id: str, state: str, at: int, **details: Any) -> None:
    """Report a state; instants are minutes."""
    body = {"agentId": agent_id, "timestamp": moment(at), "state": state, "details": details}
    status, _ = await call(client, "POST", f"/v1/opscore/agent/{agent_id}/state", body)
    assert status == 202


def moment(minute: int) -> str:
    return f"2026-01-31T12:{minute:02}:00.000000Z"


async def trigger(client: TestClient, body: dict[str, Any], agent_id: str = "worker", **headers: str) -> Any:
    status, answer = await call(client, "POST", f"/v1/opscore/agent/{agent_id}/workflow", body, **headers)
    assert status == 202, answer
    return answer["sessionId"]


async def ended(client: TestClient, session_id: str) -> Any:
    """The session at its end."""
    await client.server.app[OPERATIONS].executions.wait(session_id, 10)
    return await get(client, f"/v1/opscore/session/{session_id}")


def workflow(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"workflowDefinition": {"id": "w", "name": "W", "tasks": list(tasks), **more}}


def task(task_id: str, following: Optional[str] = None, **more: Any) -> dict[str, Any]:
    return {"taskId": task_id, **({} if following is None else {"nextTaskId": following}), **more}


def fits(schema: Schema, body: Any) -> bool:
    """Whether a body is as documented, to the last field."""
    schema.unknown = RAISE
    return schema.validate(body) == {}


# -- documentation ------------------------------------------------------------------------------


async def test_answers_are_as_documented(client: TestClient) -> None:
    """Every answer of the dialect validates against the schema that the documentation shows for it."""
    assert fits(schemas.TakenSchema(), (await notify(client))[1])
    state = "/v1/opscore/agent/worker/state"
    body = {"agentId": "worker", "timestamp": moment(1), "state": "idle"}
    assert await call(client, "POST", state, body) == (
        202,
        {"status": "success", "message": "State update accepted"},
    )
    assert fits(schemas.StateSchema(), await get(client, state))
    _, triggered = await call(client, "POST", "/v1/opscore/agent/worker/workflow", workflow(task("a"), task("b")))
    assert fits(schemas.TriggeredSchema(), triggered)
    assert fits(schemas.SessionSchema(), await ended(client, triggered["sessionId"]))
    named = f"{triggered['sessionId']}:a"
    status, closed = await call(client, "POST", f"/v1/opscore/task/{named}/complete", {"status": "success"})
    assert status == 200
    assert fits(schemas.TakenSchema(), closed)
    failing = await trigger(client, {"workflowDefinitionId": "w", "initialPayload": {"fail": True}})
    await client.post(f"/executions/{failing}/cancel")
    assert fits(schemas.SessionSchema(), await get(client, f"/v1/opscore/session/{failing}"))
    assert fits(api.HistorySchema(), await get(client, "/agents/worker/history"))
    for agent_id in ("ada", "worker"):
        assert fits(api.AgentSchema(), await get(client, f"/agents/{agent_id}"))
    for path in (state.replace("worker", "nobody"), "/v1/opscore/session/none", "/agents/nobody/history"):
        status, problem = await call(client, "GET", path)
        assert (status, fits(api.ProblemSchema(), problem)) == (404, True)


async def test_every_route_is_documented(client: TestClient) -> None:
    """The OpenAPI document has every route of the dialect, each with an id of its own."""
    document = await get(client, "/openapi.json")
    for route in ROUTES:
        assert route.method.lower() in document["paths"][route.path], route.path
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


# -- agents -------------------------------------------------------------------------------------


async def test_an_announced_agent_is_registered(client: TestClient) -> None:
    """What AgentKit says of an agent is what the API shows, with the protocol agentkit."""
    assert (await notify(client))[0] == 200
    found = await get(client, "/agents/ada")
    shown = {name: found[name] for name in ("agent_id", "name", "version", "capabilities", "endpoint", "metadata")}
    assert shown == {
        "agent_id": "ada", "name": "Ada", "version": "2.1.0", "capabilities": ["reading"],
        "endpoint": "http://127.0.0.1:9/run", "metadata": {"team": "é"},
    }  # fmt: skip
    assert (found["protocol"], found["source"], found["state"]) == ("agentkit", "webhook", "unknown")


async def test_what_an_announcement_leaves_out_has_a_default(client: TestClient) -> None:
    """Only the id is needed; null is the same as nothing, and unknown fields are left alone."""
    empty = dict.fromkeys(("agentName", "version", "capabilities", "contactEndpoint", "metadata"))
    for agent_id, details in (("a", {}), ("b", empty), ("c", {"whatever": 1})):
        body = {"event_type": "REGISTER", "agent_details": {"agentId": agent_id, **details}, "more": []}
        assert (await call(client, "POST", NOTIFY, body))[0] == 200
        found = await get(client, f"/agents/{agent_id}")
        assert [found[name] for name in ("name", "version", "capabilities", "endpoint", "metadata")] == [
            agent_id, None, [], None, {},
        ]  # fmt: skip


async def test_the_same_announcement_again_changes_nothing(client: TestClient) -> None:
    """Registering twice is a success after which everything is as before, instants included."""
    await notify(client)
    before = await get(client, "/agents/ada")
    assert (await notify(client))[0] == 200
    assert await get(client, "/agents/ada") == before


async def test_a_changed_announcement_changes_what_changed(client: TestClient) -> None:
    """The new words count; when it was registered, its state and its history stay."""
    await notify(client)
    await report(client, "ada", "idle", 1, n=1)
    before = await get(client, "/agents/ada")
    assert (await notify(client, agentName="Ada L.", capabilities=["writing"], version=None))[0] == 200
    after = await get(client, "/agents/ada")
    assert (after["name"], after["capabilities"], after["version"]) == ("Ada L.", ["writing"], None)
    assert after["updated_at"] > before["updated_at"]
    for kept in ("created_at", "state", "state_details", "state_timestamp", "metadata"):
        assert after[kept] == before[kept]
    assert (await get(client, "/agents/ada/history"))["count"] == 1
    assert (await get(client, "/agents?capability=writing"))["count"] == 1
    assert (await get(client, "/agents?capability=reading"))["count"] == 0


async def test_a_withdrawn_agent_is_gone(client: TestClient) -> None:
    """DEREGISTER forgets the agent, again is no error, and nothing of it comes back with a new registration."""
    await notify(client)
    await report(client, "ada", "idle", 1)
    assert (await notify(client, "DEREGISTER"))[0] == 200
    assert (await call(client, "GET", "/agents/ada"))[0] == 404
    assert (await call(client, "GET", "/v1/opscore/agent/ada/state"))[0] == 404
    assert (await notify(client, "DEREGISTER"))[0] == 200
    await notify(client)
    assert (await get(client, "/agents/ada"))["state"] == "unknown"
    assert (await get(client, "/agents/ada/history"))["history"] == []


async def test_an_agent_in_a_forbidden_network_is_not_announced(client: TestClient) -> None:
    """A contact endpoint where no agent may live is refused, and nothing is registered."""
    status, problem = await notify(client, contactEndpoint="http://169.254.169.254/latest")
    assert (status, problem["error_code"]) == (400, "VALIDATION_ERROR")
    assert (await get(client, "/agents"))["count"] == 1


# -- states -------------------------------------------------------------------------------------


async def test_a_state_is_there_once_it_was_reported(client: TestClient) -> None:
    """404 for an unknown agent and for one that never reported, by different codes; then its word."""
    path = "/v1/opscore/agent/worker/state"
    _, unknown = await call(client, "GET", "/v1/opscore/agent/nobody/state")
    status, silent = await call(client, "GET", path)
    assert (status, unknown["error_code"], silent["error_code"]) == (404, "AGENT_NOT_FOUND", "NO_STATE_YET")
    body = {"agentId": "nobody", "timestamp": moment(1), "state": "idle"}
    status, unknown = await call(client, "POST", "/v1/opscore/agent/nobody/state", body)
    assert (status, unknown["error_code"]) == (404, "AGENT_NOT_FOUND")
    await report(client, "worker", "error", 1, reason="no ink")
    assert await get(client, path) == {
        "agentId": "worker", "state": "error", "details": {"reason": "no ink"}, "timestamp": moment(1),
    }  # fmt: skip


@pytest.mark.parametrize("state", ["initializing", "idle", "active", "error", "finished", "offline"])
async def test_any_report_may_bring_any_state(client: TestClient, state: str) -> None:
    """From each state each other one is reached by one report."""
    for minute, before in enumerate(("initializing", "idle", "active", "error", "finished", "offline")):
        await report(client, "worker", before, 2 * minute)
        await report(client, "worker", state, 2 * minute + 1)
        assert (await get(client, "/agents/worker"))["state"] == state


async def test_a_timestamp_may_have_any_offset(client: TestClient) -> None:
    """Instants are shown in UTC with microseconds; without an offset they are taken as UTC."""
    for given, shown in (
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000Z"),
    ):
        body = {"agentId": "worker", "timestamp": given, "state": "idle", "details": None}
        assert (await call(client, "POST", "/v1/opscore/agent/worker/state", body))[0] == 202
        assert (await get(client, "/v1/opscore/agent/worker/state"))["timestamp"] == shown


async def test_a_timestamp_may_be_far_away(client: TestClient) -> None:
    """The first and the last instants that there are can be reported, read, and paged through."""
    far = ("9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z")
    for at in reversed(far):
        body = {"agentId": "worker", "timestamp": at, "state": "idle"}
        assert (await call(client, "POST", "/v1/opscore/agent/worker/state", body))[0] == 202
        assert (await get(client, "/v1/opscore/agent/worker/state"))["timestamp"] == at
    seen, cursor = [], ""
    for _ in far:
        page = await get(client, f"/agents/worker/history?limit=1{cursor}")
        seen += [one["timestamp"] for one in page["history"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (tuple(seen), page["next_cursor"]) == (far, None)


async def test_details_are_kept_as_they_came(client: TestClient) -> None:
    """Whatever JSON can hold comes back: NUL, emoji, numbers at their limits."""
    for details in ({"": None}, {"a\x00": "\x00"}, {"\U0001f916": 2**63 - 1, "x": 1e308}, {"x": "x" * 500_000}):
        await report(client, "worker", "idle", 1, **details)
        assert (await get(client, "/v1/opscore/agent/worker/state"))["details"] == details
        assert (await get(client, "/agents/worker"))["state_details"] == details


async def test_the_present_is_the_newest_report_by_its_own_clock(client: TestClient) -> None:
    """A late report and a repeated one are in the history, newest first, and do not change the present."""
    for state, minute in (("active", 10), ("idle", 20), ("error", 5), ("active", 10)):
        await report(client, "worker", state, minute)
        if minute <= 10:
            continue
        assert (await get(client, "/agents/worker"))["state"] == "idle"
    assert (await get(client, "/v1/opscore/agent/worker/state"))["timestamp"] == moment(20)
    history = (await get(client, "/agents/worker/history"))["history"]
    assert [(one["state"], one["timestamp"]) for one in history] == [
        ("idle", moment(20)), ("active", moment(10)), ("active", moment(10)), ("error", moment(5)),
    ]  # fmt: skip


async def test_of_two_reports_with_one_instant_the_later_one_counts(client: TestClient) -> None:
    """Ties are broken by arrival, in the present and in the history."""
    for n, state in enumerate(("idle", "active", "idle", "error")):
        await report(client, "worker", state, 1, n=n)
        assert (await get(client, "/v1/opscore/agent/worker/state"))["details"] == {"n": n}
    history = (await get(client, "/agents/worker/history"))["history"]
    assert [one["details"]["n"] for one in history] == [3, 2, 1, 0]


async def test_pages_of_the_history_join(client: TestClient) -> None:
    """The cursor leads through all reports, newest first, each once, whatever arrived meanwhile at its head."""
    for n, minute in enumerate((5, 1, 3, 3, 3, 9, 5)):
        await report(client, "worker", "idle", minute, n=n)
    seen: list[tuple[str, int]] = []
    cursor: Optional[str] = ""
    while cursor is not None:
        page = await get(client, f"/agents/worker/history?limit=2{cursor and '&cursor=' + cursor}")
        seen += [(one["timestamp"], one["details"]["n"]) for one in page["history"]]
        assert (page["agent_id"], page["limit"], page["count"]) == ("worker", 2, len(page["history"]))
        cursor = page["next_cursor"]
        await report(client, "worker", "idle", 30 + len(seen), n=-1)
    assert seen == [(moment(at), n) for at, n in ((9, 5), (5, 6), (5, 0), (3, 4), (3, 3), (3, 2), (1, 1))]


async def test_agents_are_listed_by_state_and_capability(client: TestClient) -> None:
    """Both filters work on both lists, alone and together; an unknown state is refused with the nearest word."""
    await notify(client, agentId="a", capabilities=["x", "y"])
    await notify(client, agentId="b", capabilities=["y"])
    await report(client, "a", "idle", 1)
    await report(client, "b", "error", 1)
    for path in ("/agents", "/agents/active", "/api/v1/agents"):
        for query, expected in (
            ("", ["a", "b", "worker"]),
            ("?state=idle", ["a"]),
            ("?state=unknown", ["worker"]),
            ("?state=offline", []),
            ("?capability=y", ["a", "b"]),
            ("?capability=z", []),
            ("?state=error&capability=y", ["b"]),
            ("?state=error&capability=x", []),
        ):
            found = await get(client, path + query)
            assert [one["agent_id"] for one in found["agents"]] == expected, query
        status, problem = await call(client, "GET", f"{path}?state=idel")
        assert (status, 'did you mean "idle"?' in problem["message"]) == (400, True)


# -- workflows and sessions ---------------------------------------------------------------------


async def test_a_workflow_runs_and_its_session_tells(client: TestClient, worker: Worker) -> None:
    """Its tasks are done one after the other by the agent it was triggered for; the session is the execution."""
    session_id = await trigger(client, workflow(task("a", name="A", parameters={"n": 1}), task("b")))
    session = await ended(client, session_id)
    assert worker.tasks == "ab"
    told = [session[name] for name in ("workflowId", "agentId", "status", "result", "error", "errorCode")]
    assert told == ["w", "worker", "completed", {"b": {"done": "b"}}, None, None]
    assert session["startTime"] <= session["endTime"] <= session["last_updated_time"]
    shown = [(one["taskId"], one["name"], one["agentId"], one["status"], one["output"]) for one in session["tasks"]]
    assert shown == [
        ("a", "A", "worker", "completed", {"done": "a"}),
        ("b", "b", "worker", "completed", {"done": "b"}),
    ]
    execution = await get(client, f"/executions/{session_id}")
    told = [execution[name] for name in ("flow_id", "agent_id", "status", "output_data", "input_data")]
    assert told == ["w", "worker", "completed", {"b": {"done": "b"}}, {"n": 1}]


async def test_tasks_run_in_the_order_of_their_links(client: TestClient, worker: Worker) -> None:
    """``nextTaskId`` counts for more than the list, and the session shows the tasks as they run."""
    session = await ended(client, await trigger(client, workflow(task("a", "c"), task("b"), task("c", "b"))))
    assert worker.tasks == "acb"
    assert [one["taskId"] for one in session["tasks"]] == ["a", "c", "b"]


async def test_the_initial_payload_takes_the_place_of_parameters(client: TestClient, worker: Worker) -> None:
    """The first task gets its parameters, or else what the session was triggered with, be it empty."""
    definition = workflow(task("a", parameters={"n": 1, "m": 2}))
    for more in ({}, {"initialPayload": {"n": 9}}, {"initialPayload": {}}, {"initialPayload": None}):
        await ended(client, await trigger(client, {**definition, **more}))
    assert [given for _, given, _ in worker.given] == [{"n": 1, "m": 2}, {"n": 9}, {}, {"n": 1, "m": 2}]


async def test_a_workflow_without_tasks_completes_at_once(client: TestClient) -> None:
    """An empty list of tasks is a session that has completed, with nothing as its result."""
    session = await get(client, f"/v1/opscore/session/{await trigger(client, workflow())}")
    assert (session["status"], session["tasks"], session["result"]) == ("completed", [], {})


async def test_definitions_are_stored_in_versions(client: TestClient, worker: Worker) -> None:
    """The same content is stored once, another under a known id is its next version, and the id means the newest."""
    for tasks in ("a", "a", "ab"):
        await ended(client, await trigger(client, workflow(*map(task, tasks))))
    assert [one["flow_version"] for one in (await get(client, "/flows/w/versions"))["versions"]] == [2, 1]
    session_id = await trigger(client, {"workflowDefinitionId": "w", "workflowDefinition": None})
    await ended(client, session_id)
    assert (await get(client, f"/executions/{session_id}"))["flow_version"] == 2
    assert worker.tasks == "aaabab"


async def test_an_unknown_agent_has_no_sessions(client: TestClient) -> None:
    """A session for an agent that is not registered is 404, and its definition is not stored."""
    status, problem = await call(client, "POST", "/v1/opscore/agent/nobody/workflow", workflow(task("a")))
    assert (status, problem["error_code"]) == (404, "AGENT_NOT_FOUND")
    assert (await get(client, "/flows"))["count"] == 0


async def test_a_task_may_name_who_does_it(worker: Worker) -> None:
    """A task is its own agent's where it names one, else the session's agent's."""
    other = Worker()
    async with open_client(local_agents={"one": worker, "two": other}) as pair:
        session_id = await trigger(pair, workflow(task("a"), task("b", agentId="two"), task("c")), "one")
        session = await ended(pair, session_id)
    assert [one["agentId"] for one in session["tasks"]] == ["one", "two", "one"]
    assert (worker.tasks, other.tasks) == ("ac", "b")


async def test_a_session_is_cancelled_as_an_execution(client: TestClient, worker: Worker) -> None:
    """It is started, runs once an agent has its task, and shows a cancellation made in the API."""
    session_id = await trigger(client, {**workflow(task("a"), task("b")), "initialPayload": {"hold": True}})
    await worker.busy.wait()
    session = await get(client, f"/v1/opscore/session/{session_id}")
    assert (session["status"], [one["status"] for one in session["tasks"]]) == ("running", ["running", "pending"])
    assert (session["result"], session["endTime"]) == (None, None)
    status, _ = await call(client, "POST", f"/executions/{session_id}/cancel", {"reason": "enough"})
    assert status == 200
    session = await get(client, f"/v1/opscore/session/{session_id}")
    assert (session["status"], session["errorCode"], session["error"]) == (
        "cancelled", "CANCELLED", "Cancelled: enough",
    )  # fmt: skip
    assert [one["status"] for one in session["tasks"]] == ["cancelled", "pending"]


async def test_a_session_says_started_until_an_agent_has_a_task(client: TestClient) -> None:
    """A task that waits for somebody who can do it is no running session yet, and says what it waits for."""
    body = workflow(task("a", agentCapability="flying"))
    await notify(client, agentId="busy", capabilities=["flying"])
    await report(client, "busy", "active", 1)
    session_id = await trigger(client, body)
    session = await get(client, f"/v1/opscore/session/{session_id}")
    assert session["status"] == "started"
    assert (session["tasks"][0]["waitingFor"], "flying" in session["tasks"][0]["waitingDetail"]) == ("agent", True)


async def test_a_failed_session_says_why(client: TestClient) -> None:
    """The session and its task have the agent's words."""
    body = {**workflow(task("a", maxRetries=0), task("b")), "initialPayload": {"fail": True}}
    session = await ended(client, await trigger(client, body))
    assert (session["status"], session["errorCode"]) == ("failed", "AGENT_ERROR")
    assert "no ink" in session["error"]
    told = [(one["status"], one["error"], one["attempt"]) for one in session["tasks"]]
    assert told == [("failed", "no ink", 1), ("pending", None, 0)]


async def test_a_task_may_have_a_fallback(client: TestClient) -> None:
    """``fallbackOutput`` is taken once the last try has failed."""
    fallback = task("a", maxRetries=0, fallbackOutput={"empty": True})
    session = await ended(client, await trigger(client, {**workflow(fallback), "initialPayload": {"fail": True}}))
    assert (session["status"], session["result"]) == ("completed", {"a": {"empty": True}})


async def test_a_definition_is_given_once(client: TestClient) -> None:
    """Neither and both are 400, a definition that cannot run too, an unknown one 404; nothing is stored."""
    path = "/v1/opscore/agent/worker/workflow"
    both = {**workflow(task("a")), "workflowDefinitionId": "w"}
    bad = workflow(task("a", "b"))
    for body, expected in (
        ({}, (400, "VALIDATION_ERROR")),
        ({"workflowDefinitionId": None}, (400, "VALIDATION_ERROR")),
        (both, (400, "VALIDATION_ERROR")),
        (bad, (400, "INVALID_FLOW")),
        ({"workflowDefinitionId": "w"}, (404, "FLOW_NOT_FOUND")),
    ):
        status, problem = await call(client, "POST", path, body)
        assert (status, problem["error_code"]) == expected
    assert (await get(client, "/flows"))["count"] == (await get(client, "/executions"))["count"] == 0


async def test_a_workflow_needs_a_session_for_its_agent(client: TestClient) -> None:
    """Started as a flow, a workflow whose task names nobody is refused with what to do instead."""
    await ended(client, await trigger(client, workflow(task("a", agentId="worker"), task("b"))))
    status, problem = await call(client, "POST", "/flows/execute", {"flow_id": "w", "input_data": {}})
    assert (status, problem["error_code"]) == (400, "VALIDATION_ERROR")
    assert 'Task "b" names no agent' in problem["message"]
    assert "POST /v1/opscore/agent/{agentId}/workflow" in problem["message"]


async def test_a_workflow_that_names_its_agents_runs_as_a_flow(client: TestClient) -> None:
    """Where every task says who does it, no session's agent is needed."""
    await ended(client, await trigger(client, workflow(task("a", agentId="worker"))))
    status, done = await call(client, "POST", "/flows/execute?wait=10", {"flow_id": "w", "input_data": {"n": 1}})
    assert (status, done["status"]) == (200, "completed")
    session = await get(client, f"/v1/opscore/session/{done['execution_id']}")
    assert (session["agentId"], session["status"]) == (None, "completed")


async def test_a_repeated_trigger_is_the_same_session(client: TestClient) -> None:
    """The same key and body give the same session at any time; another body, or agent, is a conflict."""
    body = {**workflow(task("a")), "initialPayload": {"n": 1}}
    sessions = await asyncio.gather(*[trigger(client, body, Idempotency_Key="once") for _ in range(8)])
    assert len(set(sessions)) == 1
    await ended(client, sessions[0])
    await trigger(client, body, Idempotency_Key="twice")
    path = "/v1/opscore/agent/worker/workflow"
    for other in ({**body, "initialPayload": {"n": 2}}, workflow(task("b")), {"workflowDefinitionId": "w"}):
        status, problem = await call(client, "POST", path, other, Idempotency_Key="once")
        assert (status, problem["error_code"]) == (409, "CONFLICT")
    assert [one["flow_version"] for one in (await get(client, "/flows/w/versions"))["versions"]] == [1]


async def test_a_repeated_trigger_does_not_ask_what_has_changed(client: TestClient) -> None:
    """The same key and body are the same session also after the definition was changed, and after it was deleted."""
    inline = workflow(task("a"))
    by_id = {"workflowDefinitionId": "w"}
    first = await trigger(client, inline, Idempotency_Key="inline")
    second = await trigger(client, by_id, Idempotency_Key="by id")
    await ended(client, await trigger(client, workflow(task("a"), task("b"))))
    assert await trigger(client, inline, Idempotency_Key="inline") == first
    assert await trigger(client, by_id, Idempotency_Key="by id") == second
    assert (await get(client, "/flows/w"))["flow_version"] == 2
    await call(client, "DELETE", "/flows/w")
    assert await trigger(client, inline, Idempotency_Key="inline") == first
    assert await trigger(client, by_id, Idempotency_Key="by id") == second
    assert (await get(client, "/flows"))["count"] == 0


async def test_only_an_open_task_is_completed(client: TestClient, worker: Worker) -> None:
    """An unknown task is 404; one whose turn has not come, one that a call holds and one that ended otherwise 409."""
    session_id = await trigger(client, {**workflow(task("a"), task("b")), "initialPayload": {"hold": True}})
    await worker.busy.wait()
    for task_id, code in (
        ("none", "TASK_NOT_FOUND"),
        (":", "TASK_NOT_FOUND"),
        ("a", "TASK_NOT_FOUND"),
        (f"{session_id}:z", "TASK_NOT_FOUND"),
        (f"{session_id[:-1]}:a", "TASK_NOT_FOUND"),
        (f"{session_id}:a", "TASK_NOT_OPEN"),
        (f"{session_id}:b", "TASK_NOT_OPEN"),
    ):
        status, problem = await call(client, "POST", f"/v1/opscore/task/{task_id}/complete", {"status": "success"})
        assert (status, problem["error_code"]) == (409 if code == "TASK_NOT_OPEN" else 404, code), task_id
    await call(client, "POST", f"/executions/{session_id}/cancel")
    status, problem = await call(client, "POST", f"/v1/opscore/task/{session_id}:a/complete", {"status": "error"})
    assert (status, problem["error_code"]) == (409, "TASK_NOT_OPEN")


async def test_the_same_word_about_an_ended_task_is_no_error(client: TestClient) -> None:
    """Completing a completed task is a success that changes nothing; failing it is a conflict."""
    session_id = await trigger(client, workflow(task("a")))
    before = await ended(client, session_id)
    path = f"/v1/opscore/task/{session_id}:a/complete"
    assert (await call(client, "POST", path, {"status": "success", "output": {"other": 1}}))[0] == 200
    assert (await call(client, "POST", path, {"status": "error", "error": "no"}))[0] == 409
    assert await get(client, f"/v1/opscore/session/{session_id}") == before


async def test_the_dialect_needs_the_key_and_its_scope() -> None:
    """Without a key 401, without the scope to write 403, on every route of it."""
    settings = Settings(database="sqlite:///:memory:", api_key="sk_first_admin_key", drain_timeout=0.1)
    async with open_client(settings) as client:
        _, made = await call(client, "POST", "/keys", {"name": "reader", "scopes": ["read"]})
        for route in ROUTES:
            path = route.path.replace("{", "").replace("}", "")
            assert (await call(client, route.method, path, Authorization="Bearer wrong"))[0] == 401
            status, _ = await call(client, route.method, path, Authorization=f"Bearer {made['key']}")
            assert status == (404 if route.method == "GET" else 403)
