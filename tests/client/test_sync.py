from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import pytest
from holding import holding

from opscore_sdk import ConnectionError as ServerLost
from opscore_sdk import Event, EventStream, NotFoundError, OpsCoreClientAsync, OpsCoreClientSync, OpsCoreSDKError
from opscore_sdk.testing import FakeOpsCore

if TYPE_CHECKING:
    from typing_extensions import Self

CLIENT = Path(__file__).parents[2] / "client"
CHANGED_RETURNS = {"Pages[ExecutionPage, Execution]": "SyncPages[ExecutionPage, Execution]"}
for pages in ("Pages[FeedPage, FeedEvent]", "Pages[LogPage, LogEntry]", "Feed[FeedEvent]", "Feed[LogEntry]"):
    CHANGED_RETURNS[pages] = f"Sync{pages}"
CHANGED_RETURNS["EventStream"] = "SyncEventStream"
CHANGED_RETURNS["RawMethods"] = "SyncRawMethods"


@pytest.fixture
def fake() -> Iterator[FakeOpsCore]:
    with FakeOpsCore() as running:
        running.on_flow("hello", lambda given: {"greeting": f"Hello {given['name']}"})
        yield running


@pytest.fixture
def client(fake: FakeOpsCore) -> Iterator[OpsCoreClientSync]:
    with OpsCoreClientSync(fake.url) as opened:
        yield opened


def public(kind: type) -> dict[str, Any]:
    """The public methods and properties of a class, and its constructor."""
    names = (name for name in dir(kind) if not name.startswith("_"))
    return {name: inspect.getattr_static(kind, name) for name in ("__init__", *names)}


def plain(text: str) -> str:
    return text.replace("``await``", "``first()``").replace("await ", "").replace("async ", "")


def test_both_faces_have_the_same_methods() -> None:
    """What one client can do, the other can; only the address is a property here and an attribute there."""
    assert public(OpsCoreClientSync).keys() - public(OpsCoreClientAsync).keys() == {"base_url"}
    assert public(OpsCoreClientAsync).keys() <= public(OpsCoreClientSync).keys()


@pytest.mark.parametrize("name", sorted(public(OpsCoreClientAsync)))
def test_both_faces_of_a_method_are_the_same(name: str) -> None:
    """Parameters, defaults, annotations and docstring are those of the original, without ``await``."""
    original, borrowed = public(OpsCoreClientAsync)[name], public(OpsCoreClientSync)[name]
    assert plain(original.__doc__) == borrowed.__doc__
    if isinstance(original, property):
        original, borrowed = original.fget, borrowed.fget
    there, here = inspect.signature(original), inspect.signature(borrowed)
    assert there.parameters == here.parameters
    expected = CHANGED_RETURNS.get(there.return_annotation, there.return_annotation)
    assert here.return_annotation == expected == borrowed.__annotations__["return"]
    assert {**borrowed.__annotations__, "return": 0} == {**original.__annotations__, "return": 0}
    assert borrowed.__name__ == name
    assert not inspect.iscoroutinefunction(borrowed)


def test_a_flow_from_start_to_result(client: OpsCoreClientSync) -> None:
    """Calls return what their originals return once they are awaited, and raise what they raise."""
    done = client.execute_and_wait("hello", {"name": "Ada"})
    assert (done.status, done["output_data"]) == ("completed", {"greeting": "Hello Ada"})
    with pytest.raises(NotFoundError):
        client.get_flow("nothing")
    assert client.with_options(timeout=3).delete_agent("nothing") is False
    answer = client.with_raw_response.get_flow("hello")
    assert (answer.status, answer.parse().flow_id) == (200, "hello")
    assert repr(client) == f"OpsCoreClientSync({client.base_url!r})"


def test_pages_and_streams_are_iterated_over(client: OpsCoreClientSync) -> None:
    """Items, first page, pages and list; events until the end, or until the block is left."""
    started = [client.execute_flow("hello", {"name": "Ada"}).execution_id for _ in range(5)]
    client.wait_for_execution(started[0])
    listed = client.list_executions(limit=2)
    assert [one.execution_id for one in listed] == started[::-1]
    assert len(listed.first().executions) == 2
    assert [len(page.executions) for page in listed.pages()] == [2, 2, 1]
    assert [one.execution_id for one in listed.all(3)] == started[:1:-1]
    assert client.with_raw_response.list_executions(limit=2).status == 200
    stream = client.stream_events(started[0])
    events = list(stream)
    assert (events[-1].is_terminal, stream.last_seq, stream.final_status) == (True, len(events), "completed")
    with client.stream_events(started[0]) as cut:
        assert next(cut).seq == 1
    assert list(cut) == []


def test_threads_share_a_client(client: OpsCoreClientSync) -> None:
    """16 threads at once get each their own answers."""
    together = threading.Barrier(16)

    def work(number: int) -> list[str]:
        together.wait()
        found = [client.execute_and_wait("hello", {"name": f"{number}.{turn}"}) for turn in range(10)]
        return [str((one.output_data or {})["greeting"]) for one in found]

    with ThreadPoolExecutor(16) as pool:
        for number, greetings in enumerate(pool.map(work, range(16))):
            assert greetings == [f"Hello {number}.{turn}" for turn in range(10)]


async def test_it_works_beside_a_running_loop(fake: FakeOpsCore) -> None:
    """Inside a coroutine, as in a notebook, a synchronous call works, and the asynchronous client beside it."""
    async with OpsCoreClientAsync(fake.url) as other:
        with OpsCoreClientSync(fake.url) as client:
            assert client.get_flow("hello") == await other.get_flow("hello")


def test_it_refuses_on_its_own_loop(fake: FakeOpsCore) -> None:
    """A hook that calls a synchronous client would wait for itself; it is told so."""
    said: list[str] = []

    def hook(_: object) -> None:
        with pytest.raises(OpsCoreSDKError, match="own event loop") as refused:
            client.health_check()
        said.append(str(refused.value))

    with OpsCoreClientSync(fake.url, on_response=hook) as client:
        client.get_flow("hello")
    assert len(said) == 1


def test_a_hook_that_ends_the_program_ends_its_caller(fake: FakeOpsCore) -> None:
    """SystemExit comes out where the call was made, and the loop goes on."""

    def leave(_: object) -> None:
        sys.exit(3)

    with OpsCoreClientSync(fake.url, on_request=leave) as client, pytest.raises(SystemExit):
        client.health_check()
    with OpsCoreClientSync(fake.url) as other:
        assert other.health_check().status


def test_a_closed_client_refuses(fake: FakeOpsCore) -> None:
    """After ``close`` every call says so; closing again is no error."""
    client = OpsCoreClientSync(fake.url)
    assert client.health_check().status
    client.close()
    client.close()
    with pytest.raises(OpsCoreSDKError, match="closed"):
        client.health_check()


def test_a_forgotten_client_is_closed(fake: FakeOpsCore) -> None:
    """Without any reference its connections are closed; a view or a list of pages keeps them."""
    client = OpsCoreClientSync(fake.url)
    connections = client._aio._transport.connections
    listed = client.with_options(timeout=3).list_executions()
    del client
    assert listed.first().executions == []
    assert not connections.is_closed
    del listed
    with OpsCoreClientSync(fake.url) as other:
        other.health_check()  # the loop does one thing after the other
    assert connections.is_closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
def test_a_forked_child_and_its_parent_both_go_on(fake: FakeOpsCore) -> None:
    """The child calls over its own connections, a client of before and a new one; the parent keeps its own."""
    program = """
import os, sys
from opscore_sdk import OpsCoreClientSync
client = OpsCoreClientSync(sys.argv[1])
stream = client.stream_events(client.execute_and_wait("hello", {"name": "Ada"}).execution_id)
next(stream)
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert client.get_flow("hello").flow_id == "hello"
        with OpsCoreClientSync(sys.argv[1]) as own:
            own.health_check()
        sys.exit(7)
    assert client.get_flow("hello").flow_id == "hello"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert [event.seq for event in stream][0] == 2
print(client.health_check().status)
"""
    options = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    ended = python(program, fake.url, *options)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("healthy\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
def test_a_forked_child_does_not_hold_the_parents_connections() -> None:
    """When the parent hangs up, the server sees it, though the child lives."""
    program = """
import os, sys
from opscore_sdk import OpsCoreClientSync
client = OpsCoreClientSync(sys.argv[1], "")
client.health_check()
here, there = os.pipe()
child = os.fork()
if child == 0:
    os.close(there)
    os.read(here, 1)
    os._exit(0)
client.close()
sys.stdin.readline()
os.close(there)
os.waitpid(child, 0)
"""
    with HangingServer() as server:
        process = start(program, server.url, "-W", "ignore:This process:DeprecationWarning")
        assert server.left.wait(20)
        assert process.poll() is None
        assert process.communicate("\n", timeout=20) == ("", "")


@pytest.mark.parametrize(
    "last", ["client.close()", "pass", "del client", "stream = client.stream_events(e); next(stream)"]
)
def test_the_interpreter_ends_in_silence(fake: FakeOpsCore, last: str) -> None:
    """With every warning an error nothing is said at the end, whether the client was closed or not."""
    program = f"""
import sys
from opscore_sdk import OpsCoreClientSync
client = OpsCoreClientSync(sys.argv[1])
e = client.execute_and_wait("hello", {{"name": "Ada"}}).execution_id
{last}
"""
    ended = python(program, fake.url, "-X", "dev", "-W", "error")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)


def test_the_interpreter_ends_while_a_thread_waits(fake: FakeOpsCore) -> None:
    """A daemon thread in mid-call neither delays the end nor speaks; a call after the end is refused."""
    fake.on_flow("held", {}, held=True)
    program = """
import atexit, sys, threading
from opscore_sdk import OpsCoreClientSync, OpsCoreSDKError
def late():
    try:
        client.health_check()
    except OpsCoreSDKError as error:
        print(error)
atexit.register(late)  # runs last
sent = threading.Event()
client = OpsCoreClientSync(sys.argv[1], on_response=lambda _: sent.set())
held = client.execute_flow("held")
sent.clear()
def wait():
    client.get_execution(held.execution_id)
    try:
        client.wait_for_execution(held.execution_id)
    except OpsCoreSDKError:
        pass
threading.Thread(target=wait, daemon=True).start()
sent.wait()
"""
    begun = time.monotonic()
    ended = python(program, fake.url, "-X", "dev", "-W", "error")
    assert (ended.stdout, ended.stderr, ended.returncode) == (
        "The interpreter is ending; nothing can be called any more.\n",
        "",
        0,
    )
    assert time.monotonic() - begun < 10


@pytest.mark.skipif(sys.platform == "win32", reason="Signals are other there.")
@pytest.mark.parametrize("call", ["client.wait_for_execution('e')", "list(client.stream_events('e'))"])
def test_ctrl_c_takes_the_request_back(call: str) -> None:
    """A wait that is interrupted returns within 0.2 s, and the server saw the disconnect; the client goes on."""
    program = f"""
import sys, time
from opscore_sdk import OpsCoreClientSync
with OpsCoreClientSync(sys.argv[1], "") as client:
    try:
        {call}
    except KeyboardInterrupt:
        print(time.time())
    print(client.health_check().status)
"""
    with HangingServer() as server:
        process = start(program, server.url, "-X", "dev", "-W", "error")
        assert server.asked.wait(20)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        assert server.gone.wait(5)
        seen = time.time()
        said, complaint = process.communicate(timeout=20)
    assert (complaint, process.returncode) == ("", 0)
    returned, health = said.split()
    assert float(returned) - sent < 0.2
    assert seen - sent < 0.2
    assert health == "healthy"


@pytest.mark.skipif(sys.platform == "win32", reason="Signals are other there.")
def test_an_interrupted_stream_goes_on_where_it_stood(fake: FakeOpsCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C during a wait for an event, iterating again gives the events that are still to come."""
    flow = fake.on_flow("held", {}, held=True)
    next_event = EventStream.__anext__

    async def press_and_wait(stream: EventStream) -> Event:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return await next_event(stream)

    with OpsCoreClientSync(fake.url) as client:
        held = client.execute_flow("held").execution_id
        stream = client.stream_events(held)
        seen = [next(stream).seq for _ in client.get_execution_events(held).events]
        with monkeypatch.context() as patched:
            patched.setattr(EventStream, "__anext__", press_and_wait)
            with pytest.raises(KeyboardInterrupt):
                next(stream)
        flow.release()
        seen += [event.seq for event in stream]
    assert seen == list(range(1, len(seen) + 1))
    assert stream.final_status == "completed"


def test_nobody_there() -> None:
    """No server is a connection error here as there."""
    with OpsCoreClientSync("http://127.0.0.1:9", max_retries=0) as client, pytest.raises(ServerLost):
        client.health_check()


class HangingServer:
    """Holds every question about an execution back, and notes when the one who asked is gone."""

    def __init__(self) -> None:
        self.asked, self.gone, self.left = threading.Event(), threading.Event(), threading.Event()
        self._ready, self.url = threading.Event(), ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(holding(self._answer), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"/executions/" in asked:
            self.asked.set()
            assert await reader.read() == b""
            self.gone.set()
        else:
            body = b'{"status": "healthy"}'
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            if await reader.read() == b"":
                self.left.set()
        writer.close()


def start(program: str, url: str, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CLIENT)}
    command = [sys.executable, *options, "-c", program, url]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def python(program: str, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    process = start(program, url, *options)
    said, complaint = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, said, complaint)
