from __future__ import annotations

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from pages import NARROW, WIDE, Visit, to
from playwright.async_api import Page, expect
from stage import Stage
from watching import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Only colours differ between the schemes; what axe would read from the network it need not.
SIGHTS = [
    ("light", WIDE, {}),
    ("dark", WIDE, {"runOnly": ["color-contrast", "link-in-text-block"]}),
    ("dark", NARROW, {"runOnly": ["color-contrast", "link-in-text-block"]}),
    ("light", NARROW, {}),
]
SETTLE = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => one.effect.getTiming().iterations !== Infinity).map((one) => one.finished))"""
SCAN = """async (options) => {
  const { violations } = await axe.run({ resultTypes: ["violations"], preload: false, ...options });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} ${target} ${failureSummary}`));
}"""


async def scan(page: Page, name: str) -> list[str]:
    """The grave findings on a page as it stands, in light and dark, wide and narrow."""
    found = []
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    for scheme, width, options in SIGHTS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.evaluate(SETTLE)
        found += [f"{name}, {scheme}, {width}: {one}" for one in await page.evaluate(SCAN, options)]
    return found


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_no_page_has_a_serious_fault(visit: Visit, stage: Stage) -> None:
    """Axe finds nothing serious or critical on any page, tab and dialog, in light and dark, at 1400 and 390 px."""
    running = await stage.start("onboarding", applicant="Ada")
    failed = await stage.start("scoring", wait=10, applicant="Grace")
    await stage.start("delivery")
    places = [
        "overview",
        "executions",
        "executions?q=nothing-at-all",
        f"executions/{running}",
        f"executions/{failed}",
        f"executions/{failed}/data",
        f"executions/{failed}/events",
        f"executions/{failed}/logs",
        "flows",
        "flows/onboarding",
        "flows/onboarding/start",
        "flows/onboarding/executions",
        "flows/onboarding/definition",
        "flows/onboarding/versions",
        "agents",
        "agents/intake",
        "agents/courier",
        "logs",
        "no-such-page",
    ]
    page = await visit()
    found = []
    for place in places:
        await to(page, place)
        await expect(page.get_by_label("Loading")).to_have_count(0)
        found += await scan(page, place)
    await stage.let(running)
    assert found == []


async def test_no_dialog_has_a_serious_fault(visit: Visit, stage: Stage, watch: Watch) -> None:
    """Axe finds nothing serious or critical in dialogs, with a row ticked or a line chosen, and on the sign-in page."""
    watch.refusals = {401}
    running = await stage.start("approval")
    page = await visit(f"executions/{running}")
    await press(page, "Cancel…")
    found = await scan(page, "the dialog to cancel")
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    found += await scan(page, "the shortcuts")
    await page.keyboard.press("Escape")
    await to(page, "executions?flow=approval&status=running")
    await page.get_by_role("checkbox", name=f"approval {running}").check()
    found += await scan(page, "a ticked row")
    await to(page, "logs")
    await page.get_by_role("log").get_by_role("button").last.click()
    found += await scan(page, "a chosen line")
    page = await visit(key=None)
    await expect(page.get_by_label("API key")).to_be_visible()
    found += await scan(page, "sign in")
    await stage.let(running)
    assert found == []
