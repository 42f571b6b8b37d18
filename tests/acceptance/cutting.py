"""A proxy that cuts every connection it passes on."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import AsyncIterator

from holding import holding


class Proxy:
    """Passes connections on to a port, and cuts each after some bytes of what comes back, at most so many."""

    def __init__(self, port: int, seed: int, most: int = 4000) -> None:
        self.url = ""
        self.cuts = 0
        self._port = port
        self._random = random.Random(seed)
        self._most = most

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        """Listen on a port of its own."""
        server = await asyncio.start_server(holding(self._serve), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        asking = asyncio.ensure_future(self._pass(reader, forth))
        try:
            left = self._random.randint(1, self._most)
            while left > 0:
                data = await back.read(left)
                left -= len(data)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            self.cuts += left == 0
        except ConnectionError:
            pass
        finally:
            asking.cancel()
            forth.transport.abort()
            if left == 0:
                writer.transport.abort()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
