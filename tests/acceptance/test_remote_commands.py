"""The commands that talk to a running server: real processes on both sides."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator

import attrs
import pytest
from aiohttp import web
from processes import LIMIT, Agent, Server, flow, opscore
from terminal import terminal

from opscore_sdk import Execution, OpsCoreClientAsync

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]ink[/red] \u202e\nForged: line"
CHAIN = flow("chain", {"collect": [], "score": ["collect"], "write": ["score"]})


@attrs.frozen
class Scene:
    """A server, an agent called ``stub``, and a client."""

    server: Server
    agent: Agent
    client: OpsCoreClientAsync
    directory: Path

    async def run(self, command: str, **environment: str) -> tuple[int, str, str]:
        """Run a command against the server; exit code, standard output, standard error."""
        given = {"OPSCORE_API_URL": self.server.url, **environment}
        return await opscore(*shlex.split(command), directory=self.directory, **given)

    async def json(self, command: str) -> Any:
        """What a command that succeeds prints with ``--json``."""
        code, out, err = await self.run(f"{command} --json")
        assert (code, err) == (0, "")
        return json.loads(out)

    @property
    def surroundings(self) -> dict[str, Any]:
        """What a terminal is given."""
        return {"directory": self.directory, "OPSCORE_API_URL": self.server.url}

    async def held(self) -> Execution:
        """An execution whose first call is under way until the agent's gate opens."""
        if self.agent.gate is None:
            self.agent.gate = asyncio.Event()
        started = await self.client.execute_flow("chain")
        async for event in self.client.stream_events(started.execution_id):
            if event.type == "node.started":
                break
        return started


@asynccontextmanager
async def scene_in(directory: Path, **environment: str) -> AsyncIterator[Scene]:
    """A server with a flow over an agent."""
    server, agent = Server(directory, **environment), Agent()
    await agent.start()
    await server.start()
    try:
        async with OpsCoreClientAsync(server.url, environment.get("OPSCORE_API_KEY", "")) as client:
            await client.create_agent("stub", agent.url, capabilities=["everything"])
            await client.create_flow(CHAIN)
            yield Scene(server, agent, client, directory)
    finally:
        await server.kill()
        if agent.gate is not None:
            agent.gate.set()
        await agent.stop()


async def test_what_is_there_is_listed_and_shown(tmp_path: Path) -> None:
    """Status, agents, flows and executions as tables that fit 80 columns, and as JSON with the same in it."""
    async with scene_in(tmp_path) as scene:
        done = await scene.client.execute_and_wait("chain", {"n": 1}, {"team": "blue"})
        for command, texts in {
            "status": ["operational", "1 completed", "0 failed", "agents"],
            "agents": ["AGENT", "stub", "everything"],
            "agents show stub": ["everything", "3 calls", "call time"],
            "agents list --state unknown --capability everything --active": ["stub"],
            "flows": ["chain", "FLOW"],
            "flows show chain": ["collect", "score", "ends with"],
            "executions": [done.execution_id, "chain", "completed"],
            "executions --flow chain --status completed --label team=blue --agent stub": [done.execution_id],
            "executions list --since 1h --until 0s --grep cha": [done.execution_id],
            f"executions show {done.execution_id}": ["collect", "write", "team=blue", "CALL"],
            f"executions show {done.execution_id} --data": ["output of write:", '"n": 1'],
            f"why {done.execution_id}": ["completed", "Nothing"],
            "performance": ["AGENT", "stub", "CALL P95"],
            "performance --by flow": ["chain", "TOOK P50"],
            "performance --by node --flow chain --agent stub --window 10m": ["collect", "score"],
            "top": ["Ops-Core", "stub", done.execution_id],
        }.items():
            code, out, err = await scene.run(command)
            assert (code, err) == (0, ""), command
            assert [text for text in texts if text not in out] == [], out
            assert "\x1b" not in out
        assert (await scene.run("executions --ids"))[1] == done.execution_id + "\n"
        assert [one["flow_id"] for one in (await scene.json("flows"))["flows"]] == ["chain"]
        assert [one["agent_id"] for one in (await scene.json("agents"))["agents"]] == ["stub"]
        assert (await scene.json("agents show stub"))["agent"]["agent_id"] == "stub"
        assert len((await scene.json("flows show chain"))["graph"]["nodes"]) == 3
        assert (await scene.json("executions"))["executions"][0]["execution_id"] == done.execution_id
        assert (await scene.json(f"executions show {done.execution_id}"))["count"] == 3
        assert (await scene.json(f"why {done.execution_id}"))["status"] == "completed"
        assert (await scene.json("performance --by flow"))["rows"][0]["flow_id"] == "chain"
        assert (await scene.json("top"))["overview"]["executions"]["totals"]["completed"] == 1
        told = await scene.json("status")
        assert (told["status"]["status"], told["overview"]["agents"]["total"]) == ("operational", 1)


async def test_where_there_is_nothing_that_is_said(tmp_path: Path) -> None:
    """An empty list is a line on standard error, and nothing for programs to stumble over."""
    async with scene_in(tmp_path) as scene:
        for command in ("executions", "agents list --state offline", "performance", "executions --ids"):
            code, out, err = await scene.run(command)
            assert (code, out) == (0, "")
            assert err or command.endswith("--ids")
        assert (await scene.json("executions"))["executions"] == []
        for command in ("top", "status"):
            assert (await scene.run(command))[0] == 0


async def test_a_started_execution_is_watched_in_a_pipe(tmp_path: Path) -> None:
    """A line for each event and one for the end; as JSON the events; exit code 1 for a failure."""
    async with scene_in(tmp_path) as scene:
        code, out, err = await scene.run("executions start chain --input '{\"n\": 1}' --label team=blue --watch")
        assert (code, err) == (0, "")
        assert "write completed by stub" in out
        assert "execution completed after" in out.splitlines()[-1]
        code, out, _ = await scene.run("executions start chain --idempotency-key one --priority 7 --timeout 60")
        assert code == 0
        assert (await scene.run("executions start chain --idempotency-key one --priority 7 --timeout 60"))[1] == out
        code, out, _ = await scene.run(f"executions watch {out.strip()} --json")
        events = [json.loads(line) for line in out.splitlines()]
        assert (code, events[-1]["type"]) == (0, "execution.completed")
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        await scene.client.create_agent("gone", "http://127.0.0.1:9")
        nodes = [{"id": "call", "agent_id": "gone", "retry": {"max_attempts": 1}}]
        await scene.client.create_flow({"flow_id": "sad", "nodes": nodes})
        code, out, _ = await scene.run("executions start sad --watch")
        assert code == 1
        assert "execution failed after" in out.splitlines()[-1]
        assert "AGENT_UNREACHABLE" in out.splitlines()[-1]


async def test_an_execution_is_watched_live_at_a_terminal(tmp_path: Path) -> None:
    """Nodes with their states as they go, on pages that fit; then the whole as a table, and the exit code."""
    async with scene_in(tmp_path) as scene:
        started = await scene.held()
        watch = ("executions", "watch", started.execution_id)
        async with terminal(*watch, columns=70, rows=12, **scene.surroundings) as shown:
            await shown.until("0/3 nodes")
            await shown.until("running")
            assert scene.agent.gate is not None
            scene.agent.gate.set()
            await shown.until(f"execution {started.execution_id} completed")
            assert await shown.ended() == 0
            assert all(len(page) <= 12 and max(map(len, page)) <= 70 for page in shown.pages[:-1])
            assert "\x1b[?1049l" in shown.raw  # the terminal has its own screen again
            assert shown.is_echoing
        async with terminal(*watch, **scene.surroundings) as shown:
            assert await shown.ended() == 0
            assert "\x1b[?1049h" not in shown.raw  # what has ended is no live page


@pytest.mark.parametrize("keys", ["\x03", "q"])
async def test_leaving_a_watched_execution_lets_it_go_on(keys: str, tmp_path: Path) -> None:
    """Ctrl-C and q detach, say so, and give the terminal back; the execution does not notice."""
    async with scene_in(tmp_path) as scene:
        started = await scene.held()
        async with terminal("executions", "watch", started.execution_id, **scene.surroundings) as shown:
            await shown.until("collect")
            shown.press(keys)
            await shown.until("Detached")
            assert await shown.ended() == 130
            assert "goes on" in shown.text
            assert shown.is_echoing
        assert (await scene.client.get_execution(started.execution_id)).status == "running"


async def test_ctrl_c_detaches_in_a_pipe_too(tmp_path: Path) -> None:
    """It says so on standard error."""
    async with scene_in(tmp_path) as scene:
        started = await scene.held()
        process = await _begin(scene, "executions", "watch", started.execution_id)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), LIMIT)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), LIMIT)
        told = f"Detached; execution {started.execution_id} goes on."
        assert (process.returncode, err.decode().strip()) == (130, told)


async def _begin(scene: Scene, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "opscore", *arguments,
        cwd=scene.directory, env={**os.environ, "OPSCORE_API_URL": scene.server.url, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_executions_are_cancelled_by_id_and_by_choice(tmp_path: Path) -> None:
    """Those that are named, or those that options choose and somebody confirms; what is refused is named."""
    async with scene_in(tmp_path) as scene:
        held = [await scene.held() for _ in range(3)]
        code, out, _ = await scene.run(f"executions cancel {held[0].execution_id} --reason late")
        assert (code, out) == (0, "Cancelled 1 execution.\n")
        assert (await scene.client.get_execution(held[0].execution_id)).error_message == "Cancelled: late"
        code, out, err = await scene.run(f"executions cancel {held[1].execution_id} nothing")
        assert (code, out) == (1, "Cancelled 1 execution.\n")
        assert err == 'Error: nothing: No execution has the id "nothing".\n'
        code, out, err = await scene.run("executions cancel --flow chain --before 0s")
        assert (code, out) == (2, "")
        assert "--yes" in err
        assert (await scene.client.get_execution(held[2].execution_id)).status == "running"
        code, out, _ = await scene.run("executions cancel --flow chain --agent stub --status running --yes --json")
        assert (code, json.loads(out)) == (0, {"cancelled": [held[2].execution_id], "refused": []})
        assert (await scene.run("executions cancel --all --yes"))[1] == "Cancelled 0 executions.\n"
        for wrong in ("executions cancel", f"executions cancel {held[0].execution_id} --all"):
            assert (await scene.run(wrong))[0] == 2


async def test_many_are_cancelled_with_a_bar_after_a_question(tmp_path: Path) -> None:
    """At a terminal whoever cancels is asked how many it may be, and sees how it goes."""
    async with scene_in(tmp_path) as scene:
        scene.agent.gate = asyncio.Event()
        await asyncio.gather(*[scene.client.execute_flow("chain") for _ in range(250)])
        for answer, code in (("n", 130), ("y", 0)):
            async with terminal("executions", "cancel", "--all", **scene.surroundings) as shown:
                await shown.until("Cancel 250 executions?")
                shown.press(f"{answer}\n")
                assert await shown.ended() == code
        await asyncio.sleep(0)
        assert "Cancelled 250 executions." in shown.text
        assert "Cancelling" in shown.text
        assert len(await scene.client.list_executions(status="cancelled").all()) == 250
        process = await _begin(scene, "executions", "cancel", "-")
        out, _ = await asyncio.wait_for(process.communicate(b"nothing\nnever\n"), LIMIT)
        assert (process.returncode, out) == (1, b"")


async def test_why_names_what_would_move_it(tmp_path: Path) -> None:
    """An execution that waits for an agent that is away says so."""
    async with scene_in(tmp_path) as scene:
        await scene.client.create_agent("gone", "http://127.0.0.1:9")
        nodes = [{"id": "call", "agent_id": "gone", "retry": {"max_attempts": 9, "delay": 60}}]
        await scene.client.create_flow({"flow_id": "stuck", "nodes": nodes})
        started = await scene.client.execute_flow("stuck")
        async for event in scene.client.stream_events(started.execution_id):
            if event.type in ("node.retrying", "node.waiting"):
                break
        code, out, _ = await scene.run(f"why {started.execution_id}")
        assert code == 0
        assert "node call" in out
        assert "agent gone" in out
        assert "→" in out


async def test_agents_are_tried(tmp_path: Path) -> None:
    """By their id or by an address; nobody there is exit code 1."""
    async with scene_in(tmp_path) as scene:
        for target, code in (("stub", 0), (scene.agent.url, 0), ("http://127.0.0.1:9", 1), ("nobody", 1)):
            assert (await scene.run(f"agents test {target}"))[0] == code
        assert (await scene.json("agents test stub --protocol spine"))["connected"] is True


async def test_what_agents_say_is_only_text(tmp_path: Path) -> None:
    """Escape codes, markup and line breaks of an agent do nothing, in pipes and at terminals."""

    async def sulk(_: web.Request) -> web.Response:
        body = {"status": "error", "error_message": HOSTILE, "error_code": "INK", "retryable": False}
        return web.json_response(body)

    async with scene_in(tmp_path) as scene:
        scene.agent._execute = sulk  # type: ignore[method-assign]
        sulking = Agent()
        sulking._execute = sulk  # type: ignore[method-assign]
        await sulking.start()
        await scene.client.create_agent("sulk", sulking.url, name=HOSTILE[8:24])
        await scene.client.create_flow(
            {"flow_id": "sad", "name": "[bold]sad[/bold]", "nodes": [{"id": "n", "agent_id": "sulk"}]}
        )
        done = await scene.client.execute_and_wait("sad")
        commands = [
            "executions", f"executions show {done.execution_id}", f"executions watch {done.execution_id}", "status",
            "top", f"why {done.execution_id}", "logs", "flows", f"executions show {done.execution_id} --data",
        ]  # fmt: skip
        for command in commands:
            _, out, err = await scene.run(command)
            assert not any(bad in out + err for bad in ("\x1b", "\x07", "\u202e")), command
            assert not any(line.startswith("Forged") for line in (out + err).splitlines()), command
        assert "[red]ink[/red]" in (await scene.run(f"executions show {done.execution_id}"))[1]
        async with terminal("top", "--interval", "0.5", columns=140, **scene.surroundings) as shown:
            await shown.until("[red]ink[/red]")
            shown.press("q")
            await shown.ended()
            assert "\x1b[2J\x1b]0;" not in shown.raw
            assert "\u202e" not in shown.raw
        await sulking.stop()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 40), (60, 15), (30, 8)])
async def test_top_fits_its_terminal(columns: int, rows: int, tmp_path: Path) -> None:
    """Every page is as large as the terminal at most, and q gives the terminal back."""
    async with scene_in(tmp_path) as scene:
        await asyncio.gather(*[scene.client.execute_and_wait("chain") for _ in range(30)])
        top = ("top", "--interval", "0.5", "--window", "10m")
        async with terminal(*top, columns=columns, rows=rows, **scene.surroundings) as shown:
            await shown.until("Ops-Core")
            await shown.until("Ops-Core", since=len(shown.raw))
            shown.press("q")
            assert await shown.ended() == 0
            assert shown.is_echoing
        pages = [page for page in shown.pages if "Ops-Core" in page[0]]
        assert pages
        for page in pages:
            assert len(page) <= rows
            assert max(map(len, page)) <= columns
        if columns >= 80:
            assert any("chain" in line for line in pages[-1])
            assert any("stub" in line for line in pages[-1])


async def test_top_follows_the_size_of_its_terminal(tmp_path: Path) -> None:
    """A terminal that grows or shrinks gets a page of its size at once."""
    async with (
        scene_in(tmp_path) as scene,
        terminal("top", "--interval", "3600", columns=100, rows=30, **scene.surroundings) as shown,
    ):
        await shown.until("q leaves")
        for columns, rows in ((70, 20), (120, 40)):
            seen = len(shown.raw)
            shown.resize(columns, rows)
            await shown.until("q leaves", since=seen)
            assert max(map(len, shown.pages[-1])) <= columns
            assert len(shown.pages[-1]) <= rows
        shown.press("\x03")
        assert await shown.ended() == 130
        assert shown.is_echoing


async def test_top_outlives_a_server(tmp_path: Path) -> None:
    """It says that there is no answer, and goes on when there is one again; SIGTERM gives the terminal back."""
    async with (
        scene_in(tmp_path) as scene,
        terminal("top", "--interval", "0.5", **scene.surroundings) as shown,
    ):
        await shown.until("operational")
        await scene.server.kill()
        await shown.until("no answer")
        seen = len(shown.raw)
        await scene.server.start()
        await shown.until("operational", since=seen)
        shown.signal(signal.SIGTERM)
        assert await shown.ended() == 0
        assert "\x1b[?1049l" in shown.raw
        assert shown.is_echoing


# -- logs and events -----------------------------------------------------------------------------


async def test_logs_are_filtered_and_followed(tmp_path: Path) -> None:
    """The oldest first; with -f what comes, once each, also over a restart of the server."""
    async with scene_in(tmp_path, OPSCORE_LOG_LEVEL="INFO") as scene:
        first = await scene.client.execute_and_wait("chain")
        code, out, _ = await scene.run(f"logs --execution {first.execution_id} --json")
        entries = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert entries
        assert {entry["execution_id"] for entry in entries} == {first.execution_id}
        assert [entry["log_id"] for entry in entries] == sorted(entry["log_id"] for entry in entries)
        code, out, _ = await scene.run("logs --level critical --since 1h")
        assert (code, out) == (0, "")
        process = await _begin(scene, "logs", "-f", "--flow", "chain", "--json", "-n", "1")
        seen: set[int] = set()
        await asyncio.wait_for(_entries_of(process, first.execution_id, seen), LIMIT)
        for attempt in range(2):
            later = await scene.client.execute_and_wait("chain")
            await asyncio.wait_for(_entries_of(process, later.execution_id, seen), LIMIT)
            if attempt == 0:
                await scene.server.kill()
                await scene.server.start()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), LIMIT) == 130


async def _entries_of(process: asyncio.subprocess.Process, execution_id: str, seen: set[int]) -> None:
    """Read entries until one is about an execution; none comes twice."""
    assert process.stdout is not None
    while True:
        entry = json.loads(await process.stdout.readline())
        assert entry["log_id"] not in seen
        seen.add(entry["log_id"])
        if entry["execution_id"] == execution_id:
            return


async def test_events_of_all_executions_are_followed(tmp_path: Path) -> None:
    """From a position on, then as they happen; with a type only those of it."""
    async with scene_in(tmp_path) as scene:
        first = await scene.client.execute_and_wait("chain")
        process = await _begin(scene, "events", "--after", "0", "--type", "execution.completed", "--json")
        assert process.stdout is not None
        found = json.loads(await asyncio.wait_for(process.stdout.readline(), LIMIT))
        assert (found["execution_id"], found["type"]) == (first.execution_id, "execution.completed")
        second = await scene.client.execute_and_wait("chain")
        found = json.loads(await asyncio.wait_for(process.stdout.readline(), LIMIT))
        assert found["execution_id"] == second.execution_id
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), LIMIT) == 130


# -- pipes, colours, mistakes --------------------------------------------------------------------


async def test_a_reader_that_has_seen_enough_ends_a_command_quietly(tmp_path: Path) -> None:
    """``| head`` is no error, neither of a table nor of JSON."""
    async with scene_in(tmp_path) as scene:
        await asyncio.gather(*[scene.client.execute_flow("chain", {"text": "x" * 9000}) for _ in range(40)])
        for command in ("executions -n 40 --json", "executions -n 40", "executions -n 40 --ids", "events --after 0"):
            line = f"{shlex.quote(sys.executable)} -m opscore {command} | head -n 1"
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", line,
                cwd=scene.directory, env={**os.environ, "OPSCORE_API_URL": scene.server.url},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), LIMIT)
            assert (len(out.splitlines()), err) == (1, b""), command


async def test_colours_are_for_terminals(tmp_path: Path) -> None:
    """At a terminal states have colours, but not with NO_COLOR; what the encoding lacks is no error."""
    async with scene_in(tmp_path) as scene:
        await scene.client.execute_and_wait("chain")
        for no_color, has_colours in ((None, True), ("1", False)):
            environment = {} if no_color is None else {"NO_COLOR": no_color}
            async with terminal("executions", **scene.surroundings, **environment) as shown:
                assert await shown.ended() == 0
                await shown.until("completed")
                assert ("\x1b[32m" in shown.raw) is has_colours
        code, out, _ = await scene.run("status", PYTHONIOENCODING="ascii")
        assert code == 0
        assert out.isascii()


async def test_tables_fit_narrow_terminals(tmp_path: Path) -> None:
    """Ids stay whole, the rest is cut or left out, and no line is folded."""
    async with scene_in(tmp_path) as scene:
        done = await scene.client.execute_and_wait("chain")
        for columns in (50, 80):
            async with terminal("executions", columns=columns, **scene.surroundings) as shown:
                assert await shown.ended() == 0
                await shown.until(done.execution_id)
                assert all(len(line) <= columns for line in shown.text.splitlines())


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("why nothing", 1, "No execution has the id"),
        ("why a/b", 1, "letters, digits"),
        ("executions show nothing", 1, "404 EXECUTION_NOT_FOUND"),
        ("executions watch nothing", 1, "EXECUTION_NOT_FOUND"),
        ("executions start nothing", 1, "FLOW_NOT_FOUND"),
        ("executions start chain --input [", 2, "--input"),
        ("executions --since yesterday", 2, "--since must be a stretch of time such as"),
        ("executions --label team", 2, "NAME=VALUE"),
        ("executions nothing", 2, "There are: cancel, list, show, start, watch."),
        ("executions list --status done", 2, "pending"),
        ("logs -f --until 1h", 2, "--until"),
        ("logs --level loud", 2, "debug"),
        ("performance --window never", 2, "--window"),
        ("agents show nobody", 1, "AGENT_NOT_FOUND"),
        ("flows show nothing", 1, "FLOW_NOT_FOUND"),
        ("completion tcsh", 2, "bash"),
        ("status --api-key wrong", 1, "Hint: Give a key with --api-key"),
        ("status --url http://127.0.0.1:9", 3, "Hint: Is the server running?"),
        ("top --url http://127.0.0.1:9", 3, "nothing listens there"),
        ("status --url nowhere", 1, "not the address of a server"),
    ],
)
async def test_mistakes_are_a_line_and_an_exit_code(command: str, code: int, text: str, shared: Scene) -> None:
    """Whatever is wrong is said in one sentence, with what to do where that is known."""
    got, out, err = await shared.run(command, OPSCORE_API_KEY="test-key-of-the-server")
    assert (got, out) == (code, ""), err
    assert text in err


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Scene]:
    """A server that asks for a key."""
    async with scene_in(tmp_path, OPSCORE_API_KEY="test-key-of-the-server") as scene:
        yield scene


# -- completion ----------------------------------------------------------------------------------


async def complete(scene: Scene, line: str, **environment: str) -> list[str]:
    """What bash is offered at the end of a line."""
    words = ["opscore", *line.split(" ")]
    asked = {"_OPSCORE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    code, out, err = await scene.run("", **asked, **environment)
    assert (code, err) == (0, "")
    return [offered.partition(",")[2] for offered in out.split()]


async def test_ids_are_completed_where_a_server_answers(tmp_path: Path) -> None:
    """Executions, agents and flows by the beginning of their ids; commands and options as ever."""
    async with scene_in(tmp_path) as scene:
        done = await scene.client.execute_and_wait("chain")
        assert await complete(scene, "exec") == ["executions"]
        assert await complete(scene, f"why {done.execution_id[:8]}") == [done.execution_id]
        assert await complete(scene, "executions watch ") == [done.execution_id]
        assert await complete(scene, "executions start ch") == ["chain"]
        assert await complete(scene, "agents show s") == ["stub"]
        assert await complete(scene, "logs --agent ") == ["stub"]
        assert await complete(scene, "agents show x") == []
        assert "--since" in await complete(scene, "logs --s")
        assert "failed" in await complete(scene, "executions list --status f")


async def test_completion_does_not_wait_for_a_server(tmp_path: Path) -> None:
    """One that is not there, or takes the request and says nothing, gives no completions and no error."""
    scene = Scene(Server(tmp_path), Agent(), OpsCoreClientAsync("http://127.0.0.1:9"), tmp_path)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for url in ("http://127.0.0.1:9", f"http://127.0.0.1:{silent.getsockname()[1]}", "no address"):
            offered = asyncio.ensure_future(complete(scene, "agents show ", OPSCORE_API_URL=url))
            assert await asyncio.wait_for(offered, 10) == []


async def test_bash_takes_the_script(tmp_path: Path) -> None:
    """The script defines the completion of ``opscore`` in a real bash; those for other shells are printed."""
    scripts: dict[str, str] = {}
    for shell in ("bash", "zsh", "fish"):
        code, scripts[shell], _ = await opscore("completion", shell, directory=tmp_path)
        assert code == 0
        assert "_OPSCORE_COMPLETE" in scripts[shell]
    (tmp_path / "script").write_text(scripts["bash"])
    process = await asyncio.create_subprocess_exec(
        "bash", "--norc", "-c", "source ./script && complete -p opscore",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert b"opscore" in out
