"""What the fake server of :mod:`opscore_sdk.testing` knows: scripts of flows, and executions that follow them."""

from __future__ import annotations

import asyncio
import inspect
import threading
import uuid
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Union

Json = Dict[str, Any]
Script = Union[Mapping[str, Any], Callable[[Json], Any], None]
"""An execution's output, or a function (also ``async def``) from its input to its output."""

FINAL = ("completed", "failed", "cancelled")


class FlowFailed(Exception):
    """Raised by a script: the execution fails with this message and code."""

    def __init__(self, message: str, error_code: str = "AGENT_ERROR") -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


class FakeFlow:
    """What happens to executions of one flow; made by :meth:`FakeOpsCore.on_flow`.

    Attributes:
        flow_id: Which flow.
        inputs: The inputs of all executions so far, in their order.
    """

    def __init__(self, flow_id: str, script: Script, *, held: bool) -> None:
        self.flow_id = flow_id
        self.inputs: List[Json] = []
        self._script = script
        self._held = held
        self._waiting: List[Callable[[], None]] = []
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Let executions that start from now on stay ``running`` until :meth:`release`."""
        with self._lock:
            self._held = True

    def release(self) -> None:
        """Let all executions of this flow come to their end, also those yet to start. From any thread."""
        with self._lock:
            self._held = False
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    async def output(self, given: Json) -> Json:
        """Follow the script, once the flow is released."""
        self.inputs.append(given)
        await self._released()
        result = self._script(given) if callable(self._script) else self._script
        if inspect.isawaitable(result):
            result = await result
        return {} if result is None else dict(result)

    async def _released(self) -> None:
        loop, go = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if not self._held:
                return
            self._waiting.append(lambda: _wake(loop, go))
        await go.wait()


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


def now() -> str:
    """The present instant as the API writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Journal:
    """A list that grows, and whose readers can wait for more."""

    def __init__(self) -> None:
        self.entries: List[Json] = []
        self._news: Set[Callable[[], None]] = set()

    def add(self, entry: Json) -> None:
        """Put an entry at the end; from any thread."""
        self.entries.append(entry)
        for wake in list(self._news):
            wake()

    async def news(self, seen: int, timeout: float) -> bool:
        """Wait until there are more entries than were seen; False when there were none in time."""
        if len(self.entries) > seen:
            return True
        loop, bell = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            _wake(loop, bell)

        self._news.add(wake)
        try:
            if len(self.entries) <= seen:  # nothing came from another thread meanwhile
                await asyncio.wait_for(bell.wait(), timeout)
        except asyncio.TimeoutError:
            return len(self.entries) > seen
        finally:
            self._news.discard(wake)
        return True


class FakeExecution:
    """One execution: its record as the API shows it, and its events."""

    def __init__(
        self,
        flow_id: str,
        flow_version: int,
        given: Mapping[str, Any],
        agent_id: Optional[str],
        tell: Callable[[Json], None],
    ) -> None:
        self.execution_id = str(uuid.uuid4())
        self.journal = Journal()
        self._tell_all = tell
        self._task: Optional[asyncio.Task[None]] = None
        moment = now()
        self.record: Json = {
            "execution_id": self.execution_id,
            "flow_id": flow_id,
            "flow_version": flow_version,
            "status": "pending",
            "input_data": dict(given.get("input_data") or {}),
            "output_data": None,
            "error_message": None,
            "error_code": None,
            "metadata": dict(given.get("metadata") or {}),
            "priority": given.get("priority", 5),
            "user_id": given.get("user_id"),
            "agent_id": agent_id,
            "attempts": 0,
            "failures": 0,
            "waiting": [],
            "created_at": moment,
            "started_at": None,
            "updated_at": moment,
            "completed_at": None,
            "execution_time": None,
            "trace_id": self.execution_id.replace("-", ""),
        }
        told = {name: self.record[name] for name in ("flow_id", "flow_version", "priority")}
        self._tell("execution.accepted", told)

    @property
    def events(self) -> List[Json]:
        """Its events so far, in order."""
        return self.journal.entries

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.record["status"] in FINAL

    def start(self, flow: FakeFlow) -> None:
        """Begin to follow the script, in a task that the execution owns."""
        self._task = asyncio.get_running_loop().create_task(self._run(flow))

    def cancel(self, reason: Optional[str]) -> None:
        """End it; what its script would have given is lost."""
        self._end("cancelled", error_message=reason, error_code="CANCELLED")
        self.drop()

    def drop(self) -> None:
        """Stop its task; from any thread."""
        task = self._task
        if task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def ended(self, timeout: float) -> None:
        """Wait until it has ended, or so many seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        seen = len(self.events)
        while not self.is_final:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await self.journal.news(seen, left):
                return
            seen = len(self.events)

    def node_results(self) -> List[Json]:
        """The steps: one for each object in the output."""
        outputs = self.record["output_data"] or {}
        return [self._node_result(node_id, output) for node_id, output in outputs.items() if isinstance(output, dict)]

    def _node_result(self, node_id: str, output: Json) -> Json:
        record = self.record
        return {
            "id": f"{self.execution_id}:{node_id}",
            "execution_id": self.execution_id,
            "node_id": node_id,
            "agent_id": None,
            "status": "completed",
            "attempt": 1,
            "input_data": record["input_data"],
            "output_data": output,
            "error_message": None,
            "error_code": None,
            "execution_time_ms": 0.0,
            "timing": {"queue_ms": 0.0, "call_ms": 0.0, "commit_ms": 0.0},
            "created_at": record["created_at"],
            "started_at": record["started_at"],
            "completed_at": record["completed_at"],
        }

    async def _run(self, flow: FakeFlow) -> None:
        self._change("running", started_at=now(), attempts=1)
        self._tell("execution.started", {})
        try:
            output = await flow.output(dict(self.record["input_data"]))
        except FlowFailed as error:
            self._end("failed", error_message=error.message, error_code=error.error_code, failures=1)
        except Exception as error:  # noqa: BLE001 - a script that breaks is a failing flow
            text = f"{type(error).__name__}: {error}"
            self._end("failed", error_message=text, error_code="AGENT_ERROR", failures=1)
        else:
            self._end("completed", output_data=output)

    def _end(self, status: str, **changes: Any) -> None:
        if self.is_final:
            return
        moment = now()
        begun = datetime.fromisoformat(self.record["created_at"].replace("Z", "+00:00"))
        spent = (datetime.fromisoformat(moment.replace("Z", "+00:00")) - begun).total_seconds()
        self._change(status, completed_at=moment, execution_time=max(spent, 0.0), **changes)
        data = {name: changes[name] for name in ("error_message", "error_code") if changes.get(name)}
        for step in self.node_results():
            for word in ("started", "completed"):
                self._tell(f"node.{word}", {}, node_id=step["node_id"], attempt=1)
        self._tell(f"execution.{status}", {"execution_time": self.record["execution_time"], **data})

    def _change(self, status: str, **changes: Any) -> None:
        self.record.update(status=status, updated_at=now(), **changes)

    def _tell(self, kind: str, data: Json, **about: Any) -> None:
        event = {"seq": len(self.events) + 1, "execution_id": self.execution_id, "type": kind, **about}
        event.update(at=now(), data=data)
        self._tell_all({**event, "flow_id": self.record["flow_id"]})
        self.journal.add(event)
