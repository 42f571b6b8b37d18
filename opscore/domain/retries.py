"""When to try again: exponential backoff with jitter.

The delays follow "Exponential Backoff And Jitter" (M. Brooker, AWS Architecture Blog, 2015), the variant
called "equal jitter": half of the delay is certain, half is chance, so that repeats spread out and none comes at once.
"""

from __future__ import annotations

from typing import Optional

import attrs

from opscore.domain.instants import Seconds

LONGEST_RETRY_AFTER: Seconds = 3600.0
"""An agent that asks for a longer pause than this is not believed."""


@attrs.frozen
class RetryPolicy:
    """How often and how long an attempt is repeated. All times are seconds."""

    max_attempts: int = 3
    initial_interval: Seconds = 1.0
    backoff: float = 2.0
    max_interval: Seconds = 60.0
    jitter: bool = True
    max_elapsed: Optional[Seconds] = None
    non_retryable: frozenset[str] = frozenset()

    def delay(self, failures: int, chance: float) -> Seconds:
        """Seconds to wait after that many failures (1, 2, ...); chance is within 0 and 1."""
        try:
            full = min(self.max_interval, self.initial_interval * self.backoff ** (failures - 1))
        except OverflowError:
            full = self.max_interval
        return full * (0.5 + chance / 2) if self.jitter else full

    def next_delay(
        self,
        *,
        failures: int,
        error_code: str,
        retryable: bool,
        elapsed: Seconds,
        retry_after: Optional[Seconds],
        chance: float,
    ) -> Optional[Seconds]:
        """Seconds until the next attempt, or None when there is to be none.

        Args:
            failures: Attempts that have failed so far, this one included.
            error_code: The failure's code, looked up in ``non_retryable``.
            retryable: Whether the protocol thinks a repeat could help.
            elapsed: Seconds since the first attempt began.
            retry_after: What the agent asked for; never waited less than, up to an hour.
            chance: Between 0 and 1.
        """
        if not retryable or failures >= self.max_attempts or error_code in self.non_retryable:
            return None
        delay = self.delay(failures, chance)
        if retry_after is not None:
            delay = max(delay, min(retry_after, LONGEST_RETRY_AFTER))
        if self.max_elapsed is not None and elapsed + delay > self.max_elapsed:
            return None
        return delay


HAND_OVER = RetryPolicy(initial_interval=0.25, backoff=2.0, max_interval=5.0)
"""How often a task is offered again that could not be handed over: without end, and soon after it can be."""
