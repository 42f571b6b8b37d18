"""An agent's presence at Ops-Core: it is registered, and what it reports is what it does.

Reports never hold up the work: the newest state is put down here, and one task sends it. States that were
overtaken before they could be sent are left out; those that are sent keep their order.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Awaitable, Callable, Dict, Mapping, NamedTuple, Optional

from opscore_sdk.aio import OpsCoreClientAsync
from opscore_sdk.errors import OpsCoreApiError, OpsCoreSDKError

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_LONGEST_RETRY_AFTER = 60.0
_LEAVE_LIMIT = 3.0
_log = logging.getLogger("opscore_sdk.agent")


class State(NamedTuple):
    """What an agent is doing."""

    word: str
    details: Optional[Dict[str, Any]] = None


INITIALIZING = State("initializing")
IDLE = State("idle")
ACTIVE = State("active")
OFFLINE = State("offline")


def backoff(attempt: int, chance: float) -> float:
    """Seconds before another try: twice as long each time, from half to the whole of it by chance."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt, 10))
    return longest * (0.5 + chance / 2)


class Presence:
    """Keeps an agent registered and its state told. To be made inside a running loop.

    Args:
        client: The server; the caller closes it.
        agent_id: Whose presence.
        registration: The other arguments of ``create_agent``.
        replace: Whether another agent of this name is replaced.
        report_interval: Seconds between two reports at least.
        chance: Numbers from 0 to 1 for the backoff.
    """

    def __init__(
        self,
        client: OpsCoreClientAsync,
        agent_id: str,
        registration: Mapping[str, Any],
        *,
        replace: bool,
        report_interval: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._agent_id = agent_id
        self._registration = registration
        self._replace = replace
        self._report_interval = report_interval
        self._chance = chance
        self._wanted = IDLE
        self._told: Optional[State] = None
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._refusal: Optional[OpsCoreApiError] = None
        self._is_known = False
        self._task: Optional[asyncio.Task[None]] = None

    def enter(self) -> None:
        """Begin to register, and to report."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"opscore-presence:{self._agent_id}")

    def show(self, state: State) -> None:
        """Have this state told, soon; the last one wins."""
        self._wanted = state
        self._changed.set()

    async def registered(self) -> None:
        """Wait until Ops-Core knows the agent.

        Raises:
            OpsCoreApiError: It refused the agent for good.
        """
        await self._settled.wait()
        if self._refusal is not None:
            raise self._refusal

    async def leave(self) -> None:
        """Say that the agent is gone, if anybody was told that it is there; within a few seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._is_known:
            return
        try:
            await asyncio.wait_for(self._tell(OFFLINE), _LEAVE_LIMIT)
        except (OpsCoreSDKError, asyncio.TimeoutError) as error:
            _log.warning("Ops-Core could not be told that the agent %s is offline: %s", self._agent_id, error)

    async def _keep(self) -> None:
        try:
            while await self._enter_list():
                if await self._persist(lambda: self._tell(INITIALIZING), "reported") is not None:
                    return
                await self._report_changes()
                _log.warning("Ops-Core has forgotten the agent %s; it registers again.", self._agent_id)
        except Exception:  # noqa: BLE001 - a task of its own must not die unheard
            _log.exception("The agent %s does not report to Ops-Core any more.", self._agent_id)
        finally:
            self._settled.set()

    async def _enter_list(self) -> bool:
        self._refusal = await self._persist(self._register, "registered")
        self._is_known = self._refusal is None
        self._settled.set()
        return self._is_known

    async def _register(self) -> None:
        try:
            await self._client.create_agent(self._agent_id, **self._registration)
        except OpsCoreApiError as error:
            if error.status != 409 or not self._replace:
                raise
            await self._forget()
            await self._client.create_agent(self._agent_id, **self._registration)
        _log.info("The agent %s is registered at %s.", self._agent_id, self._client.base_url)

    async def _forget(self) -> None:
        try:
            await self._client.delete_agent(self._agent_id)
        except OpsCoreApiError as error:
            if error.status != 404:  # somebody else was faster
                raise

    async def _report_changes(self) -> None:
        """Report until the server does not know the agent any more."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._wanted == self._told:
                continue
            refusal = await self._persist(self._tell_wanted, "reported")
            if refusal is not None and refusal.status == 404:
                return
            await asyncio.sleep(self._report_interval)

    async def _tell_wanted(self) -> None:
        await self._tell(self._wanted)  # read at each try, so that a late report is of the present

    async def _tell(self, state: State) -> None:
        await self._client.update_state(self._agent_id, state.word, details=state.details)
        self._told = state

    async def _persist(self, act: Callable[[], Awaitable[None]], what: str) -> Optional[OpsCoreApiError]:
        """Do it again and again until the server takes it; the error where it refuses it for good."""
        attempt = 0
        while True:
            try:
                await act()
                return None
            except OpsCoreSDKError as error:
                if isinstance(error, OpsCoreApiError) and not _may_pass(error):
                    self._log_refusal(error, what)
                    return error
                level = logging.DEBUG if attempt else logging.WARNING
                _log.log(level, "The agent %s is not %s yet, and goes on trying: %s", self._agent_id, what, error)
                pause = max(backoff(attempt, self._chance()), _asked_pause(error))
            attempt += 1
            await asyncio.sleep(pause)

    def _log_refusal(self, error: OpsCoreApiError, what: str) -> None:
        hint = ""
        if error.status == 409:
            hint = " Delete the agent of that name, take another name, or use Agent(..., replace=True)."
        server = self._client.base_url
        _log.error("The agent %s cannot be %s at %s: %s%s", self._agent_id, what, server, error, hint)


def _may_pass(error: OpsCoreApiError) -> bool:
    return error.status in (408, 425, 429) or error.status >= 500


def _asked_pause(error: OpsCoreSDKError) -> float:
    """What the server asked to wait, within reason."""
    asked: Optional[float] = getattr(error, "retry_after", None)
    return min(asked or 0.0, _LONGEST_RETRY_AFTER)
