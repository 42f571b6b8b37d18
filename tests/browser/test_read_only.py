from __future__ import annotations

import re

import pytest
from pages import Visit, to
from playwright.async_api import expect
from stage import Stage
from watching import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRITING = re.compile(
    r"(start( again)?|cancel( them| it)?|select .*|test|delete|remove|create|save|rerun)…?$", re.IGNORECASE
)


async def test_a_key_that_may_only_read_sees_no_button_that_writes(visit: Visit, stage: Stage, watch: Watch) -> None:
    """With the scope read no page has a button to start, cancel, select, start again or test; all else is there."""
    running = await stage.start("approval")
    failed = await stage.start("scoring", wait=10)
    places = {
        "overview": "Overview",
        "executions": "Executions",
        "flows": "Flows",
        "agents": "Agents",
        "logs": "Logs",
        f"executions/{running}": "approval",
        f"executions/{failed}": "scoring",
        "flows/approval": "approval",
        "flows/approval/start": "approval",
        "agents/checker": "checker",
        "agents/checker/executions": "checker",
    }
    page = await visit(key=stage.reader)
    for place, heading in places.items():
        await to(page, place)
        await expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible()
        await expect(page.get_by_label("Loading")).to_have_count(0)
        main = page.get_by_role("main")
        buttons = main.get_by_role("button").or_(main.get_by_role("tab")).or_(main.get_by_role("checkbox"))
        names = await buttons.evaluate_all(
            "(all) => all.map((one) => one.getAttribute('aria-label') ?? one.textContent)"
        )
        assert not [name for name in names if WRITING.match(name.strip())], place
    await expect(main.get_by_role("table")).to_contain_text("approval")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.get_by_role("region", name="What is selected")).to_have_count(0)
    assert watch.methods == {"GET"}
    await stage.let(running)


async def test_the_same_pages_have_the_buttons_for_a_key_that_may_write(visit: Visit, stage: Stage) -> None:
    """What the key above does not see is there for one with the scope write."""
    running = await stage.start("approval")
    key = (await stage.key("read", "write"))["key"]
    page = await visit(f"executions/{running}", key=key)
    await expect(page.get_by_role("button", name="Cancel…")).to_be_visible()
    await expect(page.get_by_role("button", name="Start again")).to_be_visible()
    await to(page, "executions?flow=approval")
    await expect(page.get_by_role("checkbox", name=f"Select approval {running}")).to_be_visible()
    await to(page, "agents/checker")
    await expect(page.get_by_role("button", name="Test", exact=True)).to_be_visible()
    await stage.let(running)
