"""Messages to servers that may be down for a while: sent in order, each repeated until it is accepted."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Callable, Dict, FrozenSet, Mapping, NamedTuple, Optional

import aiohttp
from serving import log

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
ANSWER_LIMIT = 10.0
TOO_EARLY = frozenset({408, 429})

Headers = Mapping[str, str]


class Letter(NamedTuple):
    """One message. ``headers`` is asked anew for every try; ``patient_with`` are statuses also worth a repeat."""

    method: str
    url: str
    body: Dict[str, Any]
    headers: Callable[[bytes], Headers]
    patient_with: FrozenSet[int] = frozenset()

    def worth_a_repeat(self, status: int) -> bool:
        """Whether the same message may be accepted later."""
        return status >= 500 or status in TOO_EARLY or status in self.patient_with


def bearer(key: Optional[str]) -> Callable[[bytes], Headers]:
    """Headers that carry a key, where there is one."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return lambda _: headers


def open_session() -> aiohttp.ClientSession:
    """A session that keeps no connections: the other side may be another process by the next message."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT),
    )


class Outbox:
    """A queue of letters and the one sender that empties it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._letters: asyncio.Queue[Letter] = asyncio.Queue()

    def put(self, letter: Letter) -> None:
        """Send this after all that was put before."""
        self._letters.put_nowait(letter)

    async def run(self) -> None:
        """Send what is put, for ever."""
        while True:
            await self._deliver(await self._letters.get())

    async def _deliver(self, letter: Letter) -> None:
        pause = FIRST_PAUSE
        while True:
            status = await self._try(letter)
            if status is not None and not letter.worth_a_repeat(status):
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if status >= 300:
            log(f"{letter.method} {letter.url} was refused with {status}; given up")

    async def _try(self, letter: Letter) -> Optional[int]:
        body = json.dumps(letter.body).encode()
        headers = {"Content-Type": "application/json", **letter.headers(body)}
        try:
            async with self._session.request(
                letter.method, letter.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return None
