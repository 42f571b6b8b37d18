from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta, timezone

import pytest
from pages import Visit, to
from playwright.async_api import Route, expect
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_line_is_found_by_its_text(visit: Visit, stage: Stage) -> None:
    """A search finds the line that tells of a failure, and leads to the execution that it is about."""
    execution_id = await stage.start("scoring", wait=10, applicant="Found By Text")
    page = await visit("logs")
    await page.get_by_label("Search log lines").fill("until Monday")
    log = page.get_by_role("log")
    await expect(log.get_by_role("button").first).to_contain_text("until Monday")
    await log.get_by_role("button").last.click()
    details = page.get_by_role("complementary", name="The chosen line")
    await details.get_by_role("link", name=execution_id).click()
    await expect(page.get_by_test_id("failure")).to_be_visible()


async def test_lines_of_another_day_say_which(visit: Visit, stage: Stage) -> None:
    """The day stands before the time of lines that are not of today, and of those alone."""
    await stage.start("echo", wait=10)
    page = await visit("logs")
    time = page.get_by_role("log").locator("time").last
    await expect(time).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$"))
    await page.clock.set_fixed_time(datetime.now(timezone.utc) + timedelta(days=2))
    await page.reload()
    await expect(time).to_have_text(re.compile(r"^\d+ \w+, \d\d:\d\d:\d\d\.\d\d\d$"))


async def test_lines_are_found_by_execution_and_level(visit: Visit, stage: Stage) -> None:
    """The filters show the lines of one execution alone, and only from a level on; what is typed is not lost."""
    execution_id = await stage.start("scoring", wait=10)
    await stage.start("echo", wait=10)
    page = await visit()
    late = asyncio.Event()

    async def hold(route: Route) -> None:
        await late.wait()
        await route.continue_()

    await page.route("**/api/v1/flows", hold)
    await to(page, "logs")
    field = page.get_by_label("Execution", exact=True)
    await field.fill(execution_id)
    late.set()
    await expect(page.get_by_label("Flow", exact=True)).to_contain_text("scoring")
    await expect(field).to_have_value(execution_id)
    await field.press("Enter")
    lines = page.get_by_role("log").get_by_role("button")
    await expect(lines.filter(has_text="execution.failed")).to_have_count(1)
    await expect(lines.filter(has_text="echo")).to_have_count(0)
    await page.get_by_label("Level").select_option("ERROR")
    await expect(page.get_by_text("No log lines")).to_be_visible()
    page = await visit(f"executions/{execution_id}/logs")
    await expect(page.get_by_role("log").get_by_role("button").filter(has_text="execution.failed")).to_have_count(1)


async def test_the_tail_is_live_and_can_be_held(visit: Visit, stage: Stage) -> None:
    """New lines appear as they are written; while the log is paused they are held back, and come with "Resume"."""
    await stage.call("POST", "/flows", {"flow_id": "tail", "nodes": [{"id": "no", "agent_id": "bureau"}]})
    page = await visit("logs?flow=tail&level=WARNING")
    await expect(page.get_by_test_id("connection").first).to_have_text("Live")
    ends = page.get_by_role("log").get_by_role("button").filter(has_text="execution.failed")
    await expect(page.get_by_text("No log lines")).to_be_visible()
    first = await stage.start("tail", wait=10)
    await expect(ends).to_have_count(1)
    await page.get_by_role("button", name="Pause").click()
    await stage.start("tail", wait=10)
    await expect(page.get_by_test_id("log-count")).to_contain_text("held back")
    await expect(ends).to_have_count(1)
    await page.get_by_role("button", name="Resume").click()
    await expect(ends).to_have_count(2)
    await ends.first.click()
    await expect(page.get_by_role("complementary", name="The chosen line")).to_contain_text(first)
