"""A server inside a command: real HTTP on a free port of this machine, for as long as a block lasts."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import AsyncIterator

import attrs
from aiohttp import web

from opscore.bootstrap import SERVER_OPTIONS, create_app
from opscore.settings import Settings
from opscore_sdk import OpsCoreClientAsync

_HOST = "127.0.0.1"


@attrs.frozen
class Embedded:
    """A running server and a client for it."""

    url: str
    api_key: str
    client: OpsCoreClientAsync


@asynccontextmanager
async def embedded_server(settings: Settings) -> AsyncIterator[Embedded]:
    """Serve on the settings' port, with a key of its own so that nothing else on the machine gets in.

    It has the one flow it is given: ``flows_dir`` is for servers that stay.
    """
    api_key = settings.api_key or f"sk_ops_{secrets.token_urlsafe(24)}"
    app = create_app(attrs.evolve(settings, host=_HOST, api_key=api_key, flows_dir=None))
    runner = web.AppRunner(app, shutdown_timeout=1.0, **SERVER_OPTIONS)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, settings.port).start()
        url = f"http://{_HOST}:{runner.addresses[0][1]}"
        async with OpsCoreClientAsync(url, api_key) as client:
            yield Embedded(url, api_key, client)
    finally:
        await runner.cleanup()
