from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio

from opscore.domain.agents import AgentSpec, Report
from opscore.domain.errors import (
    AgentNotFound,
    Conflict,
    ExecutionNotFound,
    FlowNotFound,
    Replayed,
    Stale,
    StoreError,
    StoreFull,
)
from opscore.domain.executions import (
    EXECUTION_MOVES,
    STEP_MOVES,
    Accepted,
    Finished,
    Idempotency,
    NewExecution,
    Started,
    StepCompleted,
    StepStarted,
    Unit,
)
from opscore.domain.flow_reader import read_flow
from opscore.domain.keys import Key
from opscore.domain.ports import ExecutionQuery, Proof, ReportQuery
from opscore.store import SqlStore, migrate_database, open_store
from opscore.store.catalogue import agent_to_text
from opscore.store.migrate import known_migrations
from opscore.store.sqlite import Database
from opscore.store.statements import load_statements

DEFINITION = {"flow_id": "f", "nodes": [{"id": "n", "agent_id": "a"}]}


@pytest_asyncio.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as opened:
        await opened.add_flow_version(read_flow(DEFINITION), 1)
        yield opened


def name(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012}"


def accepted(number: int, **more: Any) -> Unit:
    key = more.pop("idempotency", None)
    fields = {"input": '{"n":1}', "metadata": "{}", "priority": 0, "created_at": number * 10, **more}
    new = NewExecution(name(number), "f", 1, **fields)
    begun = StepStarted("n", "a", 1, is_new=True, is_exit=True)
    return Unit(name(number), 0, number * 10, (Accepted(new, key), Started(), begun))


def finished(number: int, output: str = '{"x":1}') -> Unit:
    return Unit(name(number), 3, number * 10 + 5, (StepCompleted("n", "a", 1, output), Finished("completed", 2.0)))


async def test_an_execution_is_kept_whole(store: SqlStore) -> None:
    """What was written is read back: execution, step, outputs, events in order, totals."""
    await store.commit(accepted(1))
    await store.commit(finished(1))
    found = await store.execution(name(1))
    assert (found.status, found.input, found.outputs, found.last_seq) == ("completed", '{"n":1}', {"n": '{"x":1}'}, 5)
    assert [step.status for step in await store.steps(name(1))] == ["completed"]
    assert [event.seq for event in (await store.history(name(1), 0, 10)).events] == [1, 2, 3, 4, 5]
    totals = await store.totals()
    assert (totals.completed, totals.running, totals.seconds) == (1, 0, 2.0)


async def test_an_execution_may_end_as_it_begins(store: SqlStore) -> None:
    """One that has nothing to do is written whole by one unit, accepted in it or before; it is over and counted."""
    new = NewExecution(name(1), "f", 1, input="{}", metadata="{}", priority=0, created_at=10)
    await store.commit(Unit(name(1), 0, 10, (Accepted(new), Started(), Finished("completed", 0.0))))
    queued = NewExecution(name(2), "f", 1, input="{}", metadata="{}", priority=0, created_at=20)
    await store.commit(Unit(name(2), 0, 20, (Accepted(queued),)))
    await store.commit(Unit(name(2), 1, 21, (Started(), Finished("completed", 0.0))))
    for number, seq, at in ((1, 3, 10), (2, 3, 21)):
        found = await store.execution(name(number))
        assert (found.status, found.last_seq, found.outputs) == ("completed", seq, {})
        assert (found.started_at, found.completed_at) == (at, at)
    assert await store.open_runs("", 10) == []
    totals = await store.totals()
    assert (totals.completed, totals.running, totals.pending) == (2, 0, 0)


async def test_a_failing_unit_fails_alone(store: SqlStore) -> None:
    """Of many units in one batch only the stale one is left out, and leaves nothing behind."""
    await store.commit(accepted(1))
    stale = Unit(name(1), 7, 99, (StepCompleted("n", "a", 1, "{}"), Finished("completed", 0.0)))
    outcomes = await asyncio.gather(
        *[store.commit(accepted(number)) for number in range(2, 20)], store.commit(stale), store.commit(accepted(20)),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 18 + [Stale, type(None)]
    assert (await store.totals()).running == 20
    assert (await store.execution(name(1))).last_seq == 3


async def test_the_first_result_wins(store: SqlStore) -> None:
    """Two ends of the same execution in one batch: one is written, the other is stale."""
    await store.commit(accepted(1))
    outcomes = await asyncio.gather(
        store.commit(finished(1, '{"x":1}')), store.commit(finished(1, '{"x":2}')), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Stale]
    assert (await store.execution(name(1))).outputs == {"n": '{"x":1}'}


async def test_a_cancelled_caller_loses_nothing(store: SqlStore) -> None:
    """A unit is written though its caller has gone, and the next one is too."""
    task = asyncio.ensure_future(store.commit(accepted(1)))
    await asyncio.wait({task}, timeout=0)
    task.cancel()
    await store.commit(accepted(2))
    assert (await store.totals()).running == 2


async def test_idempotency_keys_expire(store: SqlStore) -> None:
    """A key is taken until it expires, and can be used anew then."""
    await store.commit(accepted(1, idempotency=Idempotency("k", "print", 100)))
    with pytest.raises(Stale):
        await store.commit(accepted(2, idempotency=Idempotency("k", "print", 100)))
    assert (await store.started_as("k", 50)) == (Idempotency("k", "print", 100), name(1))
    assert await store.started_as("k", 100) is None
    await store.commit(accepted(30, idempotency=Idempotency("k", "other", 900)))
    assert (await store.started_as("k", 301)) == (Idempotency("k", "other", 900), name(30))
    with pytest.raises(ExecutionNotFound):
        await store.execution(name(2))


async def test_lists_are_filtered_and_paged(store: SqlStore) -> None:
    """Newest first, by state, flow, agent, time and metadata, in pages that join without gap or repeat."""
    for number in range(1, 11):
        await store.commit(accepted(number, metadata=f'{{"even":"{number % 2 == 0}"}}'))
    await store.commit(finished(3))

    async def ids(**query: Any) -> list[int]:
        return [int(found.execution_id[-12:]) for found in await store.executions(ExecutionQuery(**query))]

    assert await ids(limit=3) == [10, 9, 8]
    assert await ids(limit=3, before=name(8)) == [7, 6, 5]
    assert await ids(limit=2, offset=8) == [2, 1]
    assert await ids(status="completed") == [3]
    assert await ids(flow_id="other") == []
    assert await ids(agent_id="a", limit=1) == [10]
    assert await ids(agent_id="b") == []
    assert await ids(metadata={"even": "True"}, limit=2) == [10, 8]


async def test_lists_leave_large_payloads_out(store: SqlStore) -> None:
    """A payload over 16 KiB is left out of a list and named, and is whole in the execution."""
    await store.commit(accepted(1, input='{"n":"' + "x" * 20_000 + '"}'))
    await store.commit(finished(1, '{"x":"' + "y" * 20_000 + '"}'))
    (listed,) = await store.executions(ExecutionQuery())
    assert (listed.input, listed.outputs, listed.truncated) == (None, None, ("input_data", "output_data"))
    found = await store.execution(name(1))
    assert len(found.input or "") > 20_000
    assert len((found.outputs or {})["n"]) > 20_000


async def test_pruning_forgets_what_ended_long_ago(store: SqlStore) -> None:
    """Old ended executions go with all that is theirs; open and recent ones and the totals stay."""
    later = 3_600_000_000 * 24
    for number in (1, 2, 3):
        await store.commit(accepted(number))
    await store.commit(finished(1))
    await store.commit(Unit(name(3), 3, later, (StepCompleted("n", "a", 1, "{}"), Finished("completed", 2.0))))
    assert await store.prune(later, later, 100) == 1
    left = [found.execution_id for found in await store.executions(ExecutionQuery())]
    assert left == [name(3), name(2)]
    assert await store.steps(name(1)) == []
    with pytest.raises(ExecutionNotFound):
        await store.history(name(1), 0, 10)
    with pytest.raises(ExecutionNotFound):
        await store.input(name(1))
    assert (await store.totals()).completed == 2


async def test_flows_have_versions_and_keep_their_history(store: SqlStore) -> None:
    """Each version stays readable by number, also after the flow was deleted and made anew."""
    second = read_flow({**DEFINITION, "name": "second"}, 2)
    await store.add_flow_version(second, 5)
    with pytest.raises(Conflict):
        await store.add_flow_version(second, 6)
    assert (await store.flow("f")).flow.name == "second"
    assert (await store.flow("f", 1)).flow.name == "f"
    await store.delete_flow("f", 7)
    with pytest.raises(FlowNotFound):
        await store.flow("f")
    assert (await store.flow("f", 2)).flow.name == "second"
    assert [stored.flow.version for stored in await store.flow_versions("f")] == [2, 1]
    assert await store.flows() == []
    await store.add_flow_version(read_flow({**DEFINITION, "name": "third"}, 3), 9)
    assert (await store.flow("f")).flow.name == "third"


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_a_slow_reader_brings_no_old_flow_back(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What was read before a flow was changed, and comes in afterwards, is not taken for its present version."""
    has_read, gate, read = asyncio.Event(), asyncio.Event(), store._database.read

    async def slow(query: Any) -> Any:
        found = await read(query)
        has_read.set()
        await gate.wait()
        return found

    store._flows.drop("f")
    monkeypatch.setattr(store._database, "read", slow)
    reading = asyncio.ensure_future(store.flow("f"))
    await has_read.wait()
    monkeypatch.setattr(store._database, "read", read)
    if change == "replaced":
        await store.add_flow_version(read_flow(DEFINITION, 2), 5)
    else:
        await store.delete_flow("f", 5)
    gate.set()
    assert (await reading).flow.version == 1
    if change == "replaced":
        assert (await store.flow("f")).flow.version == 2
    else:
        with pytest.raises(FlowNotFound):
            await store.flow("f")


async def test_agents_and_keys_are_kept(store: SqlStore) -> None:
    """Agents come and go; a key is found by its hash and stays revoked."""
    await store.add_agent(AgentSpec("a", "A", capabilities=("x", "y")), 3)
    with pytest.raises(Conflict):
        await store.add_agent(AgentSpec("a", "B"), 4)
    assert (await store.agent("a")).spec.capabilities == ("x", "y")
    await store.delete_agent("a")
    with pytest.raises(AgentNotFound):
        await store.delete_agent("a")
    await store.add_key(Key("k", "key", frozenset({"read"}), 5), "hash")
    assert (await store.revoke_key("k", 6)).revoked_at == 6
    assert (await store.revoke_key("k", 7)).revoked_at == 6
    found = await store.key("hash")
    assert found is not None
    assert found.revoked_at == 6


async def test_a_file_holds_everything_after_it_was_closed(tmp_path: Path) -> None:
    """What was committed is there when the file is opened again, in memory too: agents, flows, keys, executions."""
    path = str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print) as first:
        await first.add_flow_version(read_flow(DEFINITION), 1)
        await first.add_agent(AgentSpec("a", "A"), 3)
        await first.add_key(Key("k", "key", frozenset({"read"}), 5), "hash")
        await first.commit(accepted(1))
    async with open_store(path, now=2, timeout=30, on_fatal=print) as again:
        assert (await again.agent("a")).spec.name == "A"
        assert (await again.key("hash")) is not None
        (run,) = await again.open_runs("", 10)
        assert (run.execution.execution_id, run.steps[0].status) == (name(1), "running")


async def test_one_server_to_a_file(tmp_path: Path) -> None:
    """A second opener is refused in one line; the file is free again afterwards."""
    path = str(tmp_path / "store.db")
    async with open_store(path, now=1, timeout=30, on_fatal=print):
        with pytest.raises(StoreError, match=r"in use by process \d+\.$"):
            await migrate_database(path, now=1, timeout=30)
    assert await migrate_database(path, now=1, timeout=30) == []


async def test_what_is_not_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    """A newer database, an altered history, another program's tables, no database and no directory are refused."""
    path = str(tmp_path / "store.db")
    known = [f"{migration.version:04}_{migration.name}" for migration in known_migrations()]
    assert await migrate_database(path, now=1, timeout=30) == known
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'x'")
    with pytest.raises(StoreError, match="differs"):
        await migrate_database(path, now=1, timeout=30)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (99, 'later', 'x', 1)")
    with pytest.raises(StoreError, match="newer Ops-Core"):
        await migrate_database(path, now=1, timeout=30)
    other = str(tmp_path / "other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="something else"):
        await migrate_database(other, now=1, timeout=30)
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one " * 20)
    with pytest.raises(StoreError, match="cannot be used"):
        await migrate_database(str(tmp_path / "text.db"), now=1, timeout=30)
    with pytest.raises(StoreError, match="cannot be opened"):
        await migrate_database(str(tmp_path / "no" / "where.db"), now=1, timeout=30)


async def test_a_database_of_the_first_schema_is_upgraded(tmp_path: Path) -> None:
    """Opening brings it up to date: agents, flows and open executions are there, and what is new has its default."""
    path = str(tmp_path / "store.db")
    first = known_migrations()[0]
    spec = AgentSpec("a", "A", "spine", "http://127.0.0.1:9", "does", ("x",), max_concurrency=2, metadata={"k": 1})
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE schema_migrations "
            "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        connection.execute("INSERT INTO schema_migrations VALUES (1, ?, ?, 5)", (first.name, first.checksum))
        connection.executescript(first.sql.replace("/* sqlite: ", "").replace(" */", ""))
        row = ("a", agent_to_text(spec), "idle", "{}", 7, 5, 6)
        connection.execute("INSERT INTO agents VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO flows VALUES ('f', 1, 5, NULL)")
        definition = (
            '{"flow_id": "f", "nodes": [{"id": "n", "agent_id": "a"}, '
            '{"id": "m", "agent_id": "a", "depends_on": ["n"]}]}'
        )
        connection.execute("INSERT INTO flow_versions VALUES ('f', 1, ?, 5)", (definition,))
        execution = (name(1), "f", 1, "running", 3, 5, 10, 20, 10, None, 999, None, None, "u", '{"k":"v"}')
        connection.execute(f"INSERT INTO executions VALUES ({', '.join('?' * 15)})", execution)
        connection.execute("INSERT INTO execution_inputs VALUES (?, ?)", (name(1), '{"n":1}'))
        done = (name(1), "n", "a", "completed", 0, 1, 0, 10, 10, 15, None, None, None, '{"x":1}', None, None)
        waits = (name(1), "m", "a", "waiting", 1, 1, 1, 15, 15, None, "retry", 20, 30, None, "E", "no ink")
        connection.executemany(f"INSERT INTO steps VALUES ({', '.join('?' * 16)})", [done, waits])
        connection.execute(
            "INSERT INTO events VALUES (?, 1, 'execution.accepted', NULL, NULL, NULL, 10, '{}')", (name(1),)
        )
    connection.close()
    async with open_store(path, now=50, timeout=30, on_fatal=print) as store:
        agent = await store.agent("a")
        assert (agent.spec, agent.created_at, agent.updated_at, agent.source) == (spec, 5, 6, "direct")
        assert (agent.present, await store.reports(ReportQuery("a", 0))) == (None, [])
        assert list(store.capable_now("x")) == ["a"]
        assert set((await store.flow("f")).flow.nodes) == {"n", "m"}
        found = await store.execution(name(1))
        assert (found.status, found.input, found.user_id, found.agent_id) == ("running", '{"n":1}', "u", None)
        (waiting,) = found.waiting
        assert (waiting.node_id, waiting.reason, waiting.until, waiting.error_code) == ("m", "retry", 30, "E")
        assert {step.node_id: step.output for step in await store.steps(name(1))} == {"n": '{"x":1}', "m": None}
        assert len((await store.history(name(1), 0, 10)).events) == 1
        (run,) = await store.open_runs("", 10)
        assert (run.execution.execution_id, run.tasks) == (name(1), [])
        await store.add_report(Report("a", "idle", 40, 60))
        assert (await store.agent("a")).present == Report("a", "idle", 40, 60)
    assert await migrate_database(path, now=70, timeout=30) == []


async def test_signatures_are_kept_while_they_could_be_replayed(store: SqlStore) -> None:
    """A used proof is refused until it has expired; only then is it forgotten."""
    await store.use(Proof("s", 100))
    assert await store.prune_proofs(99, 10) == 0
    with pytest.raises(Replayed):
        await store.use(Proof("s", 100))
    for refused in (
        store.add_agent(AgentSpec("b", "B"), 5, "webhook", Proof("s", 100)),
        store.delete_agent("b", Proof("s", 100)),
    ):
        with pytest.raises(Replayed):
            await refused
    with pytest.raises(AgentNotFound):
        await store.agent("b")
    await store.prune_proofs(100, 10)
    await store.use(Proof("s", 500))


async def test_a_proof_is_used_only_with_what_it_proves(store: SqlStore) -> None:
    """When the rest of the unit is refused, the proof is as good as before."""
    await store.add_agent(AgentSpec("b", "B"), 5)
    proof = Proof("s", 100)
    with pytest.raises(Conflict):
        await store.add_agent(AgentSpec("b", "B"), 6, "webhook", proof)
    with pytest.raises(AgentNotFound):
        await store.delete_agent("c", proof)
    with pytest.raises(AgentNotFound):
        await store.replace_agent(AgentSpec("c", "C"), 7, "webhook", proof)
    await store.delete_agent("b", proof)
    with pytest.raises(Replayed):
        await store.use(proof)


async def test_old_reports_are_forgotten_but_the_newest(store: SqlStore) -> None:
    """Of each agent the present stays, however old it is, and what arrived lately."""
    for agent_id in ("b", "c"):
        await store.add_agent(AgentSpec(agent_id, agent_id), 1)
        for at, received in ((10, 11), (20, 12), (20, 13), (5, 500)):
            await store.add_report(Report(agent_id, "idle", at, received))
    assert await store.prune_reports(100, 1) == 1
    assert await store.prune_reports(100, 10) == 1
    for agent_id in ("b", "c"):
        left = await store.reports(ReportQuery(agent_id, 0))
        assert [(one.reported_at, one.received_at) for one in left] == [(20, 13), (20, 12), (5, 500)]
        present = (await store.agent(agent_id)).present
        assert present == left[0]


async def test_commits_survive_power_cuts(tmp_path: Path) -> None:
    """The writer has a write-ahead log and synchronous=FULL (2); readers cannot write."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    assert await database._writer.execute_fetchall("PRAGMA synchronous") == [(2,)]
    assert await database._writer.execute_fetchall("PRAGMA journal_mode") == [("wal",)]
    with pytest.raises(StoreError):
        await database.read(lambda connection: connection.execute("DELETE FROM totals"))
    await database.close()


async def test_a_full_disk_is_said_and_waited_out(tmp_path: Path) -> None:
    """Without room a unit is refused as such, reading goes on, and writing too once there is room."""
    database = Database(str(tmp_path / "store.db"), 30, print)
    await database.open(1)
    store = SqlStore(database)
    await store.add_flow_version(read_flow(DEFINITION), 1)
    ((pages,),) = await database._writer.execute_fetchall("PRAGMA page_count")
    await database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull):
        await store.commit(accepted(1, input='{"n":"' + "x" * 100_000 + '"}'))
    assert await store.executions(ExecutionQuery()) == []
    await database._writer.execute(f"PRAGMA max_page_count = {pages + 1000}")
    await store.commit(accepted(1, input='{"n":"' + "x" * 100_000 + '"}'))
    assert len(await store.executions(ExecutionQuery())) == 1
    await database.close()


def test_the_schema_says_what_the_tables_say() -> None:
    """The CHECK constraints allow exactly the words of the state machines' tables."""
    sql = known_migrations()[0].sql
    words = [set(re.findall(r"'(\w+)'", found)) for found in re.findall(r"status IN \(([^)]*)\)", sql)]
    assert set(EXECUTION_MOVES) in words
    assert set(STEP_MOVES) - {"pending"} in words


def test_the_guards_move_only_as_the_tables_allow() -> None:
    """Every statement that moves an execution or a step starts from states that the tables let move there."""
    moves = {
        "begin_execution": (EXECUTION_MOVES, "running"),
        "start_step": (STEP_MOVES, "running"),
        "suspend_step": (STEP_MOVES, "waiting"),
        "complete_step": (STEP_MOVES, "completed"),
        "fail_step": (STEP_MOVES, "failed"),
        "cancel_open_steps": (STEP_MOVES, "cancelled"),
    }
    sql = load_statements("queries")
    for name, (table, after) in moves.items():
        guard = sql[name].partition(" WHERE ")[2]
        before = re.findall(r"status IN \(([^)]*)\)|status = '(\w+)'", guard)
        words = re.findall(r"\w+", " ".join(part for found in before for part in found))
        assert words, name
        assert all(after in table[word] for word in words), name
