"""The server as a process of its own: its signals, its limits, its exit codes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from typing import Callable, Optional

from aiohttp import web

from opscore.bootstrap import ENGINES, SERVER_OPTIONS, create_app
from opscore.domain.errors import Invalid
from opscore.domain.instants import Seconds
from opscore.settings import Settings
from opscore.web.server import Runner

log = logging.getLogger(__name__)

EXIT_STORE_FAILED = 70
"""The database died under the server; a supervisor starts it again (EX_SOFTWARE of sysexits.h)."""

_HANDLERS_GRACE: Seconds = 1.0
_WANTED_FILES = 65_536


async def serve(settings: Settings, on_ready: Optional[Callable[[str], object]] = None) -> int:
    """Serve until SIGTERM or SIGINT; a second signal ends the drain.

    Args:
        settings: See :mod:`opscore.settings`.
        on_ready: Called with the server's URL once it accepts connections.

    Returns:
        The exit code, 0 after a graceful stop.

    Raises:
        StoreError: The database cannot be opened, is in use, or is not for this program.
        Invalid: A setting is wrong, or the address cannot be listened on.
    """
    _raise_file_limit()
    _tune_collector()
    stopping = asyncio.Event()
    app = create_app(settings, on_fatal=_end_process)

    def stop() -> None:
        if stopping.is_set():
            for engine in app[ENGINES]:
                engine.hurry()
        stopping.set()

    runner = Runner(app, SERVER_OPTIONS, _HANDLERS_GRACE)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, settings.host, settings.port, backlog=2048)
            await site.start()
        except OSError as error:
            raise Invalid(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.") from None
        if on_ready is not None:
            on_ready(_url(settings.host, runner))
        log.info("server.ready", extra={"url": _url(settings.host, runner)})
        await stopping.wait()
        log.info("server.stopping")
    finally:
        await runner.cleanup()
    log.info("server.stopped")
    return 0


def _url(host: str, runner: web.AppRunner) -> str:
    port = runner.addresses[0][1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _end_process(reason: str) -> None:
    """The state on disk is unknown: nothing may be written or answered any more (HAZARDS 7)."""
    log.critical("store.failed", extra={"reason": reason})
    logging.shutdown()
    os._exit(EXIT_STORE_FAILED)


def _raise_file_limit() -> None:
    """Each open call is a socket; the usual soft limit of 1,024 is there for programs that use select()."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tune_collector() -> None:
    """Look for garbage cycles more rarely, and never among what lives as long as the process.

    Python's default looks after every 700 new objects, which a server with many open calls has all the time
    and nearly all of which die without its help; measured, it cost a third of the throughput of a wide fan-out.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
