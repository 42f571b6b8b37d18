"""Chromium, and how one gets about in the pages of the dashboard."""

from __future__ import annotations

import os
import shutil
from typing import Any, Awaitable, Callable

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = 1400, 390

Visit = Callable[..., Awaitable[Any]]
"""Opens a place: a key, a width, a height, a colour scheme and another server can be given."""

_GO = """(place) => new Promise((done) => {
  if (location.hash === `#/${place}`) done();
  addEventListener("hashchange", () => requestAnimationFrame(() => requestAnimationFrame(done)), { once: true });
  location.hash = `#/${place}`;
})"""


def chromium() -> str:
    """Where the browser is; without one the tests are skipped, in CI they fail."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"There is no Chromium: none of {', '.join(NAMES)} is in PATH."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


async def to(page: Any, place: str) -> None:
    """Go to another place of the page that is open, as a link does; when this returns, it has been drawn."""
    await page.evaluate(_GO, place)
