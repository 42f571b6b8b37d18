"""Time that passes only when somebody sleeps, so that tests take none."""

from __future__ import annotations

from opscore_sdk.transport import Clock

START = 1_800_000_000.0


class StillClock:
    """Notes how long was slept; chance is what the test says."""

    def __init__(self, chance: float = 1.0) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self._chance = chance

    @property
    def clock(self) -> Clock:
        """What a client takes."""
        return Clock(lambda: self.seconds, lambda: START + self.seconds, self._sleep, lambda: self._chance)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
