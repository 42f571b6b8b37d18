"""Looks over a browser's shoulder: whatever a page must never do is noted, on every page of every test."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Request

_VIOLATION = """document.addEventListener("securitypolicyviolation", (event) => window.__violated(
  `${event.effectiveDirective} ${event.blockedURI} ${event.sample} at ${event.sourceFile}:${event.lineNumber}`));"""
_RAN = """window.__ran = () => window.__script("ran");"""
_REFUSAL = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_CUT = re.compile(
    r"net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)"
)


class Watch:
    """What the pages of one context did.

    The policy's own reports (``securitypolicyviolation``), scripts of a payload, dialogs, errors of the console and of
    scripts, and requests to anybody but the server.
    """

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.requests: list[str] = []
        self.methods: set[str] = set()
        self.refusals: set[int] = set()
        """Statuses that a test provokes: the browser writes each refused request on its console."""
        self.cuts = False
        """Whether a test cuts connections."""
        self._origins = {urlsplit(url).netloc}

    def also(self, url: str) -> None:
        """Another server that a test looks at."""
        self._origins.add(urlsplit(url).netloc)

    async def over(self, context: BrowserContext) -> None:
        """Watch all pages of a context."""
        await context.expose_binding("__violated", lambda _, told: self.seen.append(f"policy: {told}"))
        await context.expose_binding("__script", lambda _, told: self.seen.append(f"a payload {told}"))
        await context.add_init_script(_VIOLATION + _RAN)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.seen.append(f"script error: {error.error}"))
        context.on("request", self._request)
        context.on("page", self._page)

    def _page(self, page: Page) -> None:
        page.on("dialog", self._dialog)

    async def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        refusal = _REFUSAL.match(message.text)
        if refusal and int(refusal[1]) in self.refusals:
            return
        if self.cuts and _CUT.search(message.text):
            return
        self.seen.append(f"console {message.type}: {message.text} {_place(message.location)}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        self.methods.add(request.method)
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "about", "blob"} and parts.netloc not in self._origins:
            self.seen.append(f"a request to {request.url[:200]}")


def _place(location: Any) -> str:
    return f"({location.get('url', '')})"
