"""Pictures of every page for people to look at: ``make screenshots`` writes them to ``screenshots/``.

Light and dark, 1400 and 390 px wide, on a server of its own that has something to show. Not a test.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "acceptance")]

from pages import ARGUMENTS, NARROW, WIDE, chromium, to  # noqa: E402 - pytest finds these files by itself
from playwright.async_api import Browser, Page, async_playwright  # noqa: E402 - after the same lines
from stage import ADMIN, Stage  # noqa: E402 - found beside this file

FOLDER = Path(__file__).parents[2] / "screenshots"
SEEN = "() => !document.querySelector('[aria-label=Loading]')"


async def populate(stage: Stage) -> dict[str, str]:
    """Executions of each kind; their ids by kind."""
    await stage.set_up()
    for number in range(60):
        await stage.start("echo" if number % 3 else "screening", number=number, applicant="Ada Lovelace")
    for number in range(6):
        await stage.start("scoring", wait=10, number=number)
    report = {"agentId": "writer", "timestamp": "2026-01-02T03:04:05Z", "state": "idle", "details": {"ink": "blue"}}
    for minute, state in enumerate(("initializing", "idle", "active", "idle")):
        body = {**report, "timestamp": f"2026-01-02T03:{minute:02}:05Z", "state": state}
        await stage.call("POST", "/v1/opscore/agent/writer/state", body)
    ids = {
        "failed": await stage.start("scoring", wait=10, applicant="Grace Hopper"),
        "running": await stage.start("onboarding", applicant="Ada Lovelace", loan={"amount": 1200, "years": 5}),
        "waiting": await stage.start("delivery", parcel=7),
        "cancelled": await stage.start("approval"),
        "completed": await stage.start("screening", wait=10, applicant="Ada Lovelace"),
    }
    await stage.start("approval")
    await stage.call("POST", f"/executions/{ids['cancelled']}/cancel", {"reason": "The applicant withdrew."})
    return ids


def places(ids: dict[str, str]) -> dict[str, str]:
    """What is shown, by the name of its file."""
    return {
        "overview": "overview",
        "executions": "executions",
        "executions-none": "executions?q=nothing-at-all",
        "execution-running": f"executions/{ids['running']}",
        "execution-failed": f"executions/{ids['failed']}",
        "execution-waiting": f"executions/{ids['waiting']}",
        "execution-cancelled": f"executions/{ids['cancelled']}",
        "execution-completed": f"executions/{ids['completed']}",
        "execution-data": f"executions/{ids['failed']}/data",
        "execution-events": f"executions/{ids['failed']}/events",
        "execution-logs": f"executions/{ids['failed']}/logs",
        "execution-unknown": "executions/01a00000-0000-7000-8000-000000000000",
        "flows": "flows",
        "flow": "flows/onboarding",
        "flow-start": "flows/onboarding/start",
        "flow-executions": "flows/screening/executions",
        "flow-definition": "flows/onboarding/definition",
        "flow-versions": "flows/onboarding/versions",
        "agents": "agents",
        "agent": "agents/writer",
        "agent-gone": "agents/courier",
        "agent-executions": "agents/intake/executions",
        "logs": "logs",
        "no-page": "no-such-page",
    }


async def opened(browser: Browser, url: str, scheme: Any, width: int, key: Optional[str] = ADMIN) -> Page:
    """A page of the dashboard."""
    size = {"width": width, "height": 900 if width > NARROW else 844}
    context = await browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=scheme,
        device_scale_factor=1,
        locale="en-GB",
        timezone_id="UTC",
    )
    page = await context.new_page()
    if key is not None:
        await page.add_init_script(f'sessionStorage.setItem("opscore.key", {key!r})')
    await page.goto(f"{url}/#/logs")
    return page


async def take(page: Page, name: str, scheme: str, width: int) -> None:
    """One picture, when nothing is loading any more."""
    await page.wait_for_function(SEEN)
    await page.wait_for_timeout(400)
    await page.screenshot(path=FOLDER / f"{name}-{scheme}-{width}.png")


async def portrait(browser: Browser, stage: Stage, ids: dict[str, str], scheme: str, width: int) -> None:
    """All pages and dialogs in one scheme and width."""
    page = await opened(browser, stage.url, scheme, width)
    for name, place in places(ids).items():
        await to(page, place)
        await take(page, name, scheme, width)
    await page.keyboard.press("?")
    await take(page, "shortcuts", scheme, width)
    await page.keyboard.press("Escape")
    await to(page, f"executions/{ids['running']}")
    await page.get_by_role("button", name="Cancel…").click()
    await take(page, "cancel", scheme, width)
    await page.keyboard.press("Escape")
    await to(page, "executions?status=running")
    await page.locator("[data-key] input[type=checkbox]").first.check()
    await take(page, "bulk", scheme, width)
    await to(page, "logs")
    await page.get_by_role("log").get_by_role("button").last.click()
    await take(page, "log-line", scheme, width)
    await page.context.close()
    page = await opened(browser, stage.url, scheme, width, key=None)
    await page.get_by_label("API key").wait_for()
    await take(page, "sign-in", scheme, width)
    await page.context.close()


async def empty(browser: Browser, stage: Stage, scheme: str, width: int) -> None:
    """The pages of a server that has nothing yet."""
    page = await opened(browser, stage.url, scheme, width)
    for name in ("overview", "executions", "flows", "agents", "logs"):
        await to(page, name)
        await take(page, f"empty-{name}", scheme, width)
    await page.context.close()


async def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as full, tempfile.TemporaryDirectory() as bare:
        async with Stage(Path(full)).open() as stage, Stage(Path(bare)).open() as new, async_playwright() as started:
            ids = await populate(stage)
            browser = await started.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
            for scheme in ("light", "dark"):
                for width in (WIDE, NARROW):
                    await portrait(browser, stage, ids, scheme, width)
                    await empty(browser, new, scheme, width)
            await browser.close()
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")


if __name__ == "__main__":
    asyncio.run(main())
