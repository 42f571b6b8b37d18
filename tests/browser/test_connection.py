from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Visit, to
from playwright.async_api import expect
from stage import Stage
from watching import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_page_mends_itself_when_the_server_comes_back(visit: Visit, watch: Watch, tmp_path: Path) -> None:
    """A page says that its killed server is gone; when it is back, the page goes on and shows what it missed."""
    own = Stage(tmp_path)
    async with own.open():
        await own.set_up()
        watch.also(own.url)
        execution_id = await own.start("onboarding")
        page = await visit(f"executions/{execution_id}", url=own.url)
        connection = page.get_by_test_id("connection").first
        await expect(connection).to_have_text("Live")
        await page.evaluate("() => { window.samePage = true; }")
        watch.cuts = True
        await own.server.kill()
        await expect(connection).to_have_text("Offline")
        own.cast.let(execution_id)
        await own.server.start()
        await expect(page.locator("h1 [data-state]")).to_have_attribute("data-state", "completed")
        await expect(page.get_by_test_id("graph").locator(".node.is-completed")).to_have_count(3)
        await to(page, "executions")
        await expect(connection).to_have_text("Live")
        another = await own.start("echo")
        await expect(page.locator(f'[data-key="{another}"] [data-state="completed"]')).to_be_visible()
        assert await page.evaluate("() => window.samePage")


async def test_a_cut_stream_goes_on_without_a_gap(visit: Visit, stage: Stage, watch: Watch) -> None:
    """A page whose streams are cut again and again shows each event once, to the end."""
    watch.cuts = True
    execution_id = await stage.start("onboarding")
    page = await visit()
    opened = []
    cut = 5

    async def passing(route: object) -> None:
        opened.append(route)
        await (route.abort("connectionreset") if len(opened) <= cut else route.continue_())  # type: ignore[attr-defined]

    await page.route("**/events", passing, times=cut + 20)
    await to(page, f"executions/{execution_id}/events")
    await stage.let(execution_id)
    await expect(page.locator("h1 [data-state]")).to_have_attribute("data-state", "completed", timeout=30_000)
    count = len((await stage.call("GET", f"/executions/{execution_id}/events"))["events"])
    numbers = page.get_by_test_id("events").locator("[data-key]")
    await expect(numbers).to_have_count(count)
    assert await numbers.evaluate_all("(all) => all.map((one) => Number(one.dataset.key))") == list(range(1, count + 1))
