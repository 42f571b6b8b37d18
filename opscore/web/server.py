"""The server's end of a connection: what is no HTTP gets a problem too, and a line of the log, not a traceback."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from typing import Any, Mapping, Optional

from aiohttp import web

from opscore.web.errors import problem

log = logging.getLogger(__name__)

_SERVER_FAULT = 500


class Runner(web.AppRunner):
    """Runs an application on connections that answer what is no HTTP as everything else is answered."""

    def __init__(self, app: web.Application, options: Mapping[str, Any], shutdown_timeout: float) -> None:
        """Take what it works with.

        Args:
            app: The application.
            options: Of each connection.
            shutdown_timeout: Seconds that handlers get to end when the server stops.
        """
        super().__init__(app, shutdown_timeout=shutdown_timeout, handle_signals=False, **options)
        self._options = options

    @property
    def server(self) -> Any:
        """What makes a connection's protocol."""
        manager = super().server
        if manager is None:
            return None
        return functools.partial(_Connection, manager, loop=asyncio.get_running_loop(), **self._options)


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_FAULT,
        exc: Optional[BaseException] = None,
        message: Optional[str] = None,
    ) -> web.StreamResponse:
        """Answer what could not be read as a request."""
        if status >= _SERVER_FAULT or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        # What follows the colon is what was sent: it may be anything, a key for example.
        reason = (message or "").partition("\n")[0].partition(":")[0].strip().rstrip(".") or "it cannot be read"
        made = os.urandom(24).hex()
        request_id, trace_id = made[:16], made[16:]
        facts = {"client": request.remote, "reason": f"{reason}.", "request_id": request_id, "trace_id": trace_id}
        log.info("request.malformed", extra=facts)
        detail = f"This is not HTTP as it should be: {reason}."
        answer = problem(status, "BAD_REQUEST", detail, request_id, trace_id)
        answer.headers["X-Request-ID"], answer.headers["X-Trace-ID"] = request_id, trace_id
        answer.force_close()
        return answer
