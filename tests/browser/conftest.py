"""One Chromium for all browser tests, a fresh context for each, and one server on which most of them look."""

from __future__ import annotations

from typing import Any, AsyncIterator, Optional

import pytest
import pytest_asyncio
from pages import ARGUMENTS, WIDE, Visit, chromium
from playwright.async_api import async_playwright
from stage import ADMIN, Stage
from watching import Watch

PATIENCE = 15_000.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """The browser."""
    path = chromium()
    async with async_playwright() as started:
        launched = await started.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A server with agents, flows and keys; none without a browser that looks at it."""
    assert browser.is_connected()
    async with Stage(tmp_path_factory.mktemp("stage")).open() as opened:
        await opened.set_up()
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def watch(stage: Stage) -> AsyncIterator[Watch]:
    """What the pages did that they must not; whatever is seen fails the test."""
    watching = Watch(stage.url)
    yield watching
    assert watching.seen == []


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Any, stage: Stage, watch: Watch) -> AsyncIterator[Visit]:
    """What opens a place in a context of its own: a key, a width and a colour scheme can be given."""
    contexts = []

    async def go(
        place: str = "overview",
        key: Optional[str] = ADMIN,
        width: int = WIDE,
        height: int = 900,
        scheme: str = "light",
        url: str = stage.url,
    ) -> Any:
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        await watch.over(context)
        page = await context.new_page()
        if key is not None:
            await page.add_init_script(f'sessionStorage.setItem("opscore.key", {key!r})')
        await page.goto(f"{url}/#/{place}")
        return page

    yield go
    for context in contexts:
        await context.close()
