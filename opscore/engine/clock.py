"""The real clock."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Callable

import uuid_utils

from opscore.domain.instants import Instant, Seconds
from opscore.domain.ports import Clock, TimerHandle


class SystemClock:
    """Time, chance and ids as the machine has them."""

    def now(self) -> Instant:
        """The wall clock: microseconds since 1970."""
        return time.time_ns() // 1000

    def monotonic(self) -> Seconds:
        """Seconds from some moment on, never backwards."""
        return time.monotonic()

    def call_later(self, delay: Seconds, callback: Callable[[], object]) -> TimerHandle:
        """Call back after that many seconds, on the running loop."""
        return asyncio.get_running_loop().call_later(delay, callback)

    def chance(self) -> float:
        """A number within 0 and 1, for jitter and nothing secret."""
        return random.random()  # noqa: S311

    def new_id(self) -> str:
        """A UUID of version 7 (RFC 9562, 5.7), rising within this process."""
        return str(uuid_utils.uuid7())


async def pause(clock: Clock, seconds: Seconds) -> None:
    """Wait that long by the given clock."""
    over = asyncio.Event()
    timer = clock.call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
