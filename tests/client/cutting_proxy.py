"""A proxy that passes requests on and cuts connections instead of delivering the first answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import AsyncIterator
from urllib.parse import urlsplit

from holding import holding


class CuttingProxy:
    """Loses as many answers as it is told to; the server has done what was asked by then."""

    def __init__(self, target: str, losses: int) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._losses = losses
        self.requests = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address, while it runs."""
        server = await asyncio.start_server(holding(self._serve), "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: pass it on, then lose its answer or deliver it and close."""
        self.requests += 1
        there_reader, there = await asyncio.open_connection(*self._target)
        there.write(await _message(reader))
        answer = await _message(there_reader)
        if self.requests > self._losses:
            writer.write(answer)
            await writer.drain()
        for end in (there, writer):
            end.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)
