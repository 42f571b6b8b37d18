"""The one HTTP client session that all protocols over HTTP share."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, AsyncIterator, Optional

import aiohttp
from aiohttp.abc import AbstractResolver

from opscore.domain.instants import Seconds
from opscore.protocols.addresses import AddressGuard

CONNECT_TIMEOUT: Seconds = 10.0
KEEPALIVE_TIMEOUT: Seconds = 15.0
"""Seconds a connection that nobody uses is kept. Shorter than most agents' own, so that they seldom close first."""

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
"""Only connecting is limited: the time limit of an attempt is its caller's."""

_sockets_made: ContextVar[Optional[list[None]]] = ContextVar("sockets_made", default=None)


def watch_sockets() -> list[None]:
    """A list that grows with every socket made on behalf of the current task: empty, its connection was an old one."""
    made: list[None] = []
    _sockets_made.set(made)
    return made


@asynccontextmanager
async def open_session(
    guard: AddressGuard, resolver: Optional[AbstractResolver] = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session that calls only where the guard lets it, keeps no cookies and reads no environment.

    It limits neither connections (the engine limits calls) nor time, and hands bodies over as they came: whoever
    reads them decompresses within a limit.

    Args:
        guard: Judges every address before its socket is made.
        resolver: Looks names up instead of the operating system.
    """

    def make_socket(addr_info: Any) -> socket.socket:
        made = _sockets_made.get()
        if made is not None:
            made.append(None)
        return guard.socket_factory(addr_info)

    connector = aiohttp.TCPConnector(
        limit=0,
        limit_per_host=0,
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        resolver=resolver,
        socket_factory=make_socket,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=NO_TIMEOUT,
        trust_env=False,
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "ops-core"},
    )
    try:
        yield session
    finally:
        await session.close()
        await asyncio.sleep(0)  # transports close in the loop's next round
