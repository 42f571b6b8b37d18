from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from pages import Visit, to
from playwright.async_api import Route, expect
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


async def test_a_cut_stream_goes_on_without_a_gap(visit: Visit, stage: Stage) -> None:
    """A page whose stream is cut every 400 bytes, within events too, shows each event once, to the end."""
    execution_id = await stage.start("onboarding")
    page = await visit()
    ended = asyncio.Event()
    resumed = []

    async def cut(route: Route) -> None:
        await ended.wait()
        wanted = {"accept", "authorization", "last-event-id"}
        headers = {name: value for name, value in route.request.headers.items() if name in wanted}
        resumed.append(headers.get("last-event-id"))
        async with aiohttp.request("GET", route.request.url, headers=headers) as answer:
            whole = await answer.read()
        await route.fulfill(status=200, headers={"Content-Type": "text/event-stream"}, body=whole[:400])

    await page.route(f"**/{execution_id}/events", cut)
    await to(page, f"executions/{execution_id}/events")
    numbers = page.get_by_test_id("events").locator("[data-key]")
    await expect(page.get_by_test_id("connection").first).to_have_text("Connecting…")
    await stage.let(execution_id)
    ended.set()
    count = len((await stage.call("GET", f"/executions/{execution_id}/events"))["events"])
    await expect(numbers).to_have_count(count)
    assert await numbers.evaluate_all("(all) => all.map((one) => Number(one.dataset.key))") == list(range(1, count + 1))
    assert len(resumed) > 2
    assert resumed == sorted(resumed, key=lambda one: int(one or 0))
