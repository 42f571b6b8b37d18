"""Agents that report their state: raw HTTP over kept connections, so that the client is not what is measured."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import attrs
import orjson
from systems import System

STATES = ("idle", "active", "error", "finished")


@attrs.define
class Tally:
    """What came of some reports. Times are milliseconds."""

    taken: int = 0
    failed: int = 0
    spans: list[float] = attrs.field(factory=list)

    def p99(self) -> float:
        """The time that one in a hundred took longer than."""
        ordered = sorted(self.spans)
        return ordered[int(len(ordered) * 0.99)]


class Reporter:
    """One agent's connection."""

    def __init__(self, system: System, agent_id: str) -> None:
        """Take what it works with."""
        self._address = urlsplit(system.url)
        self._agent_id = agent_id
        self._at = datetime.now(timezone.utc)
        self._count = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def report(self) -> bool:
        """Report the next state; whether it was accepted."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
        reader, writer = self._streams
        writer.write(self._request())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        return head.startswith(b"HTTP/1.1 202")

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()

    def _request(self) -> bytes:
        self._count += 1
        body = orjson.dumps(
            {
                "agentId": self._agent_id,
                "timestamp": (self._at + timedelta(milliseconds=self._count)).isoformat(),
                "state": STATES[self._count % 4],
                "details": {"load": 0.5, "note": "benchmark"},
            }
        )
        head = (
            f"POST /v1/opscore/agent/{self._agent_id}/state HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def register(system: System, count: int) -> list[str]:
    """Register so many agents as AgentKit does; their ids."""
    names = [f"reporter-{index}" for index in range(count)]
    for name in names:
        details = {"agentId": name, "agentName": name, "capabilities": ["reporting"]}
        body = {"event_type": "REGISTER", "agent_details": details}
        status, answer = await system.post("/v1/opscore/internal/agent/notify", body)
        assert status == 200, answer
    return names


async def rate(system: System, agents: list[str], lanes: int, seconds: float) -> float:
    """Reports per second with so many in flight."""
    tally = Tally()
    end = time.perf_counter() + seconds

    async def lane(index: int) -> None:
        reporter = Reporter(system, agents[index % len(agents)])
        while time.perf_counter() < end:
            accepted = await reporter.report()  # first: += would read the sum before the wait
            tally.taken += accepted
        reporter.close()

    begun = time.perf_counter()
    await asyncio.gather(*[lane(index) for index in range(lanes)])
    return tally.taken / (time.perf_counter() - begun)


async def every_second(system: System, agents: list[str], seconds: int) -> Tally:
    """Each agent reports once a second; times count from when a report was due, not from when it could be sent."""
    tally = Tally()
    begun = time.perf_counter() + 0.5

    async def agent(index: int) -> None:
        reporter = Reporter(system, agents[index])
        for second in range(seconds):
            due = begun + second + index / len(agents)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            try:
                accepted = await reporter.report()
            except (OSError, asyncio.IncompleteReadError):
                accepted = False
            tally.taken += accepted
            tally.failed += not accepted
            tally.spans.append((time.perf_counter() - due) * 1000)
        reporter.close()

    await asyncio.gather(*[agent(index) for index in range(len(agents))])
    return tally
