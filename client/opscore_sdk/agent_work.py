"""An agent's work, without HTTP: calls, handlers, who waits for which result, and answers kept for repeats.

Ops-Core calls at least once, with the same key on every repeat. So a key that was answered gets the same answer,
a key that is being worked on joins that work, and only a key whose last try may be repeated is worked on again.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, Mapping, NamedTuple, Optional, Set

import orjson

KEPT_ANSWERS = 1_000
KEPT_BYTES = 64 * 1024 * 1024

_LOOK_EVERY = 0.1
_END_LIMIT = 1.0
_log = logging.getLogger("opscore_sdk.agent")


class AgentError(Exception):
    """Raised by a handler: the task has failed, in the handler's own words.

    Args:
        message: One sentence for people; it is sent to Ops-Core.
        error_code: A stable code for programs.
        retryable: Whether the same call may succeed later. False ends the task at once.

    Example:
        >>> raise AgentError("The name is missing.", "BAD_DATA", retryable=False)
        Traceback (most recent call last):
        opscore_sdk.agent_work.AgentError: The name is missing.
    """

    def __init__(self, message: str, error_code: str = "AGENT_ERROR", retryable: bool = True) -> None:  # noqa: FBT001, FBT002 - the order of the wire
        super().__init__(message)
        self.message = str(message)
        self.error_code = str(error_code)
        self.retryable = bool(retryable)


@dataclass(frozen=True)
class Call:
    """What Ops-Core asks for: one attempt at one node of one execution."""

    execution_id: str
    node_id: str
    input: Dict[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The node's configuration in the flow."""
    attempt: int = 1
    """1 for the first try."""
    idempotency_key: Optional[str] = None
    """The same on every repeat of this task; hand it on to what must not happen twice."""
    traceparent: Optional[str] = None
    """The span of this attempt (W3C Trace Context), for the calls and the spans that the handler makes."""
    tracestate: Optional[str] = None
    """What goes with it, where the trace's beginner sent any."""


class Answer(NamedTuple):
    """A finished call: the body for the wire, and what the agent itself has to know about it."""

    body: bytes
    is_final: bool
    """Whether a repeat gets the same answer; not where it is to be tried again."""
    crash: Optional[str] = None
    """What the handler died of, where it did not fail in its own words."""


class Busy(Exception):
    """There is as much work as the agent takes."""


class Stopping(Exception):
    """The agent takes no more work."""


class HungUp(Exception):
    """Whoever called is gone."""


class Handler:
    """A user's function as something that takes a call.

    Args:
        function: An ``async def``, or a plain function, which gets a thread. It takes the input, or the input
            and the call.

    Raises:
        TypeError: It takes neither one nor two arguments.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._takes_call = _takes_call(function)
        inner = getattr(function, "func", function)  # of functools.partial
        self.is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
            getattr(inner, "__call__", None)  # noqa: B004 - of an object with an async __call__
        )

    async def __call__(self, call: Call) -> Any:
        """Do the work; whatever the function raises is raised."""
        arguments = (call.input, call) if self._takes_call else (call.input,)
        if self.is_async:
            return await self._function(*arguments)
        return await in_thread(self._function, *arguments)


def _takes_call(function: Callable[..., Any]) -> bool:
    """Whether a handler wants the call beside the input."""
    signature = inspect.signature(function)
    takes_one = _binds(signature, 1)
    if takes_one and "call" not in signature.parameters:
        return False
    if _binds(signature, 2):
        return True
    if takes_one:
        return False
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(f"The handler {name} must take the input, or the input and the call.")


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def in_thread(function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
    """Run a function in a thread of its own, which never keeps the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: Optional[Exception] = None
        try:
            result = context.run(function, *arguments)
        except StopIteration as stop:  # a future refuses it
            error = RuntimeError(f"The handler raised {stop!r}.")
        except BaseException as caught:  # noqa: BLE001 - SystemExit in a thread would otherwise leave the caller waiting
            error = caught if isinstance(caught, Exception) else RuntimeError(f"The handler raised {caught!r}.")
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has ended meanwhile; nobody waits any more
            _log.warning("A handler ended after its agent had stopped.")

    threading.Thread(target=work, name="opscore-agent-handler", daemon=True).start()
    return future


class _Job:
    """One running handler, and how many wait for its answer."""

    def __init__(self, task: asyncio.Task[Answer], call: Call, *, can_stop: bool) -> None:
        self.task = task
        self._call = call
        self._can_stop = can_stop
        self._waiting = 0
        self.is_abandoned = False

    async def answer(self, is_gone: Callable[[], bool]) -> Optional[Answer]:
        """Wait for the answer; None when the work was stopped because all others who waited were gone."""
        self._waiting += 1
        try:
            while not self.task.done():
                await asyncio.wait({self.task}, timeout=_LOOK_EVERY)
                if is_gone() and not self.task.done():
                    raise HungUp
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.abandon()
        if not self.task.cancelled():
            return self.task.result()
        return None if self.is_abandoned else failed(self._call, "The handler was cancelled.", "CANCELLED")

    def abandon(self) -> None:
        """Stop the handler, as nobody waits any more. A thread cannot be stopped; its answer is kept instead."""
        if self._can_stop and not self.task.done():
            self.is_abandoned = True
            self.task.cancel()


class Desk:
    """Takes calls, has them worked on, and gives answers.

    Args:
        handlers: By node; that of the key None is for all other nodes.
        max_concurrency: How many calls are worked on at once.
        on_change: Called without arguments whenever work begins or ends.
    """

    def __init__(
        self,
        handlers: Mapping[Optional[str], Handler],
        max_concurrency: int,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_change = on_change
        self.is_stopping = False
        self.last_crash: Optional[str] = None
        self._handlers = handlers
        self._limit = max_concurrency
        self._jobs: Set[_Job] = set()
        self._by_key: Dict[str, _Job] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    @property
    def in_flight(self) -> int:
        """How many handlers run."""
        return len(self._jobs)

    async def answer(self, call: Call, is_gone: Callable[[], bool] = lambda: False) -> bytes:
        """The answer to a call: a kept one, that of a handler which is at it already, or a new one.

        Args:
            call: What is asked for.
            is_gone: Whether the caller has hung up; looked at now and then.

        Raises:
            Busy: There is too much to do.
            Stopping: The agent stops.
            HungUp: The caller is gone.
        """
        key = call.idempotency_key
        while True:
            if key is not None and key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            job = (None if key is None else self._by_key.get(key)) or self._start(call)
            answer = await job.answer(is_gone)
            if answer is not None:
                return answer.body
            await asyncio.sleep(0)  # the stopped work is about to be taken from the list

    async def close(self, drain: float = 0.0) -> None:
        """Let what still runs end in so many seconds, then stop it; threads that go on are left behind."""
        self.is_stopping = True
        if self._jobs:
            await asyncio.wait({job.task for job in self._jobs}, timeout=drain)
        for job in list(self._jobs):
            job.abandon()
        stopped = {job.task for job in self._jobs if job.is_abandoned}
        if stopped:
            await asyncio.wait(stopped, timeout=_END_LIMIT)

    def _start(self, call: Call) -> _Job:
        if self.is_stopping:
            raise Stopping
        if len(self._jobs) >= self._limit:
            raise Busy
        handler = self._handlers.get(call.node_id) or self._handlers.get(None)
        task = asyncio.get_running_loop().create_task(_perform(call, handler), name=f"opscore-agent:{call.node_id}")
        job = _Job(task, call, can_stop=handler is None or handler.is_async)
        self._jobs.add(job)
        if call.idempotency_key is not None:
            self._by_key[call.idempotency_key] = job
        task.add_done_callback(lambda _: self._finish(job, call.idempotency_key))
        self.on_change()
        return job

    def _finish(self, job: _Job, key: Optional[str]) -> None:
        self._jobs.discard(job)
        answer = None if job.task.cancelled() else job.task.result()
        if answer is not None:
            self.last_crash = answer.crash
        if key is not None:
            del self._by_key[key]
            if answer is not None and answer.is_final:
                self._keep(key, answer.body)
        self.on_change()

    def _keep(self, key: str, body: bytes) -> None:
        self._kept[key] = body
        self._kept_bytes += len(body)
        while len(self._kept) > KEPT_ANSWERS or (self._kept_bytes > KEPT_BYTES and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


async def _perform(call: Call, handler: Optional[Handler]) -> Answer:
    """Run a handler; only cancellation leaves it."""
    if handler is None:
        return failed(call, f'This agent has no handler for the node "{call.node_id}".', "NO_HANDLER", retryable=False)
    try:
        return _succeeded(call, await handler(call))
    except AgentError as error:
        return failed(call, error.message, error.error_code, retryable=error.retryable)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's function dies of; its name is sent, the log has it all
        _log.exception("The handler of node %s failed in execution %s.", call.node_id, call.execution_id)
        crash = type(error).__name__
        answer = failed(call, f"The agent failed with {crash}; its log says more.", "HANDLER_FAILED")
        return answer._replace(crash=crash)


def _succeeded(call: Call, output: Any) -> Answer:
    if not isinstance(output, dict):
        output = {} if output is None else {"value": output}  # as Ops-Core reads an output that is no object
    body = {"status": "success", "output": output, "execution_id": call.execution_id}
    try:
        return Answer(orjson.dumps(body), is_final=True)
    except TypeError as error:
        return failed(call, f"The handler's output is not JSON: {error}.", "BAD_OUTPUT", retryable=False)


def failed(call: Call, message: str, error_code: str, *, retryable: bool = True) -> Answer:
    """The answer of a task that failed."""
    body: Dict[str, Any] = {
        "status": "error",
        "error_message": _sendable(message),
        "error_code": _sendable(error_code),
        "retryable": retryable,
        "execution_id": call.execution_id,
    }
    return Answer(orjson.dumps(body), is_final=not retryable)


def _sendable(text: str) -> str:
    """Text without lone surrogates, which are no Unicode."""
    return text.encode("utf-8", "replace").decode()
