from __future__ import annotations

import pytest
from pages import Visit, to
from playwright.async_api import expect
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_agent_is_tested(visit: Visit, stage: Stage) -> None:
    """The button "Test" tells that an agent answers, and of one that cannot be reached that it does not."""
    page = await visit("agents/writer")
    await page.get_by_role("button", name="Test", exact=True).click()
    await expect(page.get_by_test_id("test-result")).to_contain_text("ms")
    await expect(page.get_by_role("main")).to_contain_text(f"{stage.cast.url}/writer")
    await to(page, "agents/courier")
    await expect(page.get_by_role("heading", name="courier")).to_be_visible()
    await page.get_by_role("button", name="Test", exact=True).click()
    await expect(page.get_by_test_id("test-result")).not_to_have_text("")
    await expect(page.get_by_test_id("test-result")).not_to_contain_text("ms")


async def test_agents_that_report_nothing_have_a_condition(visit: Visit, stage: Stage) -> None:
    """Of an agent that never reports, the fleet, the list and its own page say the same: that it cannot be reached."""
    await stage.start("delivery", parcel=1)
    page = await visit("agents")
    row = page.locator('[data-key="courier"]')
    await expect(row.locator('[data-state="unreachable"]')).to_be_visible()
    await to(page, "overview")
    await page.get_by_role("list", name="Agents by condition").get_by_role("link", name="unreachable").click()
    await expect(row).to_be_visible()
    await expect(page.locator('[data-key="writer"]')).to_have_count(0)
    await row.get_by_role("link", name="courier").click()
    await expect(page.locator("h1 [data-state]")).to_have_text("unreachable")
    await expect(page.get_by_test_id("times").first).to_contain_text("No step has ended in the last 24 hours")


async def test_what_an_agent_reports_is_seen_at_once(visit: Visit, stage: Stage) -> None:
    """A state that is reported while the page is open shows up in the list of agents and in the agent's history."""
    page = await visit("agents")
    row = page.locator('[data-key="writer"]')
    await expect(page.get_by_test_id("connection").first).to_have_text("Live")
    report = {"agentId": "writer", "timestamp": "2026-01-02T03:04:05Z", "state": "initializing", "details": {"pen": 1}}
    await stage.call("POST", "/v1/opscore/agent/writer/state", report)
    await expect(row.locator('[data-state="initializing"]').first).to_be_visible()
    await row.get_by_role("link", name="writer").click()
    await expect(page.get_by_label("Reports, newest first")).to_contain_text('{"pen":1}')
    report = {**report, "timestamp": "2026-01-02T03:05:05Z", "state": "idle", "details": {"pen": 2}}
    await stage.call("POST", "/v1/opscore/agent/writer/state", report)
    await expect(page.get_by_label("Reports, newest first")).to_contain_text('{"pen":2}')
