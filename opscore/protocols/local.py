"""The ``local`` protocol: agents that are functions in this process."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from concurrent.futures import Executor
from typing import Any, Awaitable, Callable, Mapping, Optional, Union

import attrs
import orjson

from opscore.domain.agents import AgentSpec
from opscore.domain.calls import Answered, Call, Probe, Refused, Reply
from opscore.domain.documents import decode_json
from opscore.domain.errors import Invalid, InvalidDocument
from opscore.domain.instants import Seconds
from opscore.domain.planner import as_output
from opscore.protocols.answers import bad_answer, shown, too_large
from opscore.protocols.discretion import Discretion

Handler = Union[Callable[..., Any], Callable[..., Awaitable[Any]]]
"""``handler(input)`` or ``handler(input, call)``; what it returns, JSON data, is the output."""

_Run = Callable[[Call], Awaitable[Reply]]
_log = logging.getLogger(__name__)

_CLEANUP: Seconds = 0.5
"""How long a cancelled agent may clean up before its call ends without it."""


class AgentError(Exception):
    """Raised by a local agent to say why it did not do its work.

    Args:
        message: A sentence for people.
        error_code: A word for programs.
        retryable: Whether another attempt could help.
    """

    def __init__(self, message: str, error_code: str = "AGENT_ERROR", *, retryable: bool = True) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.retryable = retryable


class Local:
    """Calls functions.

    An ``async def`` runs in the loop and is cancelled with its call. Any other function runs in a thread; a thread
    cannot be stopped, so after a cancellation it runs to its end and its result is dropped.

    Args:
        agents: A handler for each agent id.
        threads: Where functions that are not ``async`` run; its owner shuts it down.
        max_answer_bytes: The largest output, as JSON text.
    """

    name = "local"
    answers_later = False
    needs_endpoint = False

    def __init__(
        self,
        agents: Mapping[str, Handler],
        threads: Executor,
        max_answer_bytes: int,
        discretion: Optional[Discretion] = None,
    ) -> None:
        self._threads = threads
        self._discretion = discretion or Discretion()
        self._limit = max_answer_bytes
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._agents: dict[str, _Run] = {agent_id: self._runner(handler) for agent_id, handler in agents.items()}

    def check(self, spec: AgentSpec) -> None:
        """Refuse an agent that no function is registered for. Raises Invalid."""
        if spec.agent_id not in self._agents:
            text = f'No local agent has the id "{spec.agent_id}".'
            raise Invalid(text, details={"agent_id": [text]})

    async def call(self, call: Call) -> Reply:
        """Make one attempt; only cancellation leaves it, and cancels the agent."""
        run = self._agents.get(call.agent.spec.agent_id)
        if run is None:
            text = f'No local agent has the id "{call.agent.spec.agent_id}".'
            return Refused("AGENT_UNREACHABLE", text, retryable=False)
        try:
            return self._discretion.reply(await run(_own_copy(call)))
        except Exception:  # noqa: BLE001 - the port's promise; what we did not foresee is logged and is a failure
            _log.exception("local.call_failed", extra={"agent_id": call.agent.spec.agent_id})
            return Refused("AGENT_CALL_FAILED", "The call failed inside Ops-Core; its log says why.", retryable=True)

    async def probe(self, endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
        """Whether a function is registered for the agent."""
        if agent_id in self._agents:
            return Probe(connected=True, message="The agent runs in this process.", latency_ms=0.0)
        return Probe(connected=False, message="No such agent runs in this process.", is_reachable=False)

    def _runner(self, handler: Handler) -> _Run:
        arguments = _arguments(handler)
        call_method = type(handler).__call__  # an object may have "async def __call__"
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call_method):
            return lambda call: self._in_loop(handler, arguments(call))
        return lambda call: self._in_thread(handler, arguments(call))

    async def _in_loop(self, handler: Handler, arguments: tuple[Any, ...]) -> Reply:
        async def work() -> Reply:
            try:
                return self._reply(await handler(*arguments))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an agent raises is its failure
                return _refused(error)

        # A task of its own tells our cancellation from one that the agent let escape.
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait({task})
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_CLEANUP)
        if task.cancelled():
            return Refused("AGENT_ERROR", "The agent cancelled itself.", retryable=True)
        return task.result()

    async def _in_thread(self, handler: Handler, arguments: tuple[Any, ...]) -> Reply:
        def work() -> Reply:
            try:
                return self._reply(handler(*arguments))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an agent raises is its failure
                return _refused(error)

        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._threads, run, work)

    def _reply(self, value: Any) -> Reply:
        if value is None:
            return Answered({})
        try:
            text = orjson.dumps(value)
            if len(text) > self._limit:
                return too_large(self._limit)
            return Answered(as_output(decode_json(text)))
        except TypeError as error:
            return bad_answer(f"it is not JSON data: {error}.")
        except InvalidDocument as error:
            return bad_answer(error.message)


def _own_copy(call: Call) -> Call:
    """The call with payloads of its own, so that an agent may change what it was given."""
    given, config = orjson.loads(orjson.dumps((call.input, call.config), default=dict))
    return attrs.evolve(call, input=given, config=config)


def _arguments(handler: Handler) -> Callable[[Call], tuple[Any, ...]]:
    """What to hand to this handler: the input, and the call if it takes a second argument."""
    try:
        inspect.signature(handler).bind(None, None)
    except (TypeError, ValueError):  # ValueError: a builtin without a signature
        return lambda call: (call.input,)
    return lambda call: (call.input, call)


def _refused(error: BaseException) -> Refused:
    text = str(error) or type(error).__name__
    if isinstance(error, AgentError):
        return Refused(shown(error.error_code)[:100], shown(text), retryable=error.retryable)
    return Refused("AGENT_ERROR", shown(text), retryable=True)
