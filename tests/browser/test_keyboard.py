from __future__ import annotations

import json

import pytest
from pages import Visit, to
from playwright.async_api import Locator, Page, expect
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAR = 60
# What the focus is on, and whether one can see that: an outline, a shadow, or (in the graph) a drawn one.
FOCUS = """() => {
  const here = document.activeElement;
  const parts = [here, here.querySelector(".card"), here.closest(".editor"), here.closest(".tr")].filter(Boolean);
  const seen = parts.some((part) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(part);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none";
  }) || Boolean(here.closest("svg"));
  return { what: here.outerHTML.slice(0, 120), seen, isBody: here === document.body };
}"""


async def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus, as somebody without a mouse would."""
    for _ in range(FAR):
        await page.keyboard.press("Tab")
        if await wanted.evaluate_all("(all) => all.includes(document.activeElement)"):
            return
    raise AssertionError(f"{wanted} is not among the first {FAR} stops")


async def test_the_first_stop_skips_the_navigation(visit: Visit) -> None:
    """The first stop of Tab is a link, seen only then, that takes the focus into the content."""
    page = await visit()
    await expect(page.get_by_test_id("tiles")).to_be_visible()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()


@pytest.mark.parametrize("place", ["executions", "flows/onboarding", "flows/onboarding/start", "logs"])
async def test_each_stop_can_be_seen(visit: Visit, stage: Stage, place: str) -> None:
    """Wherever Tab stops, one sees where that is; and it comes round again, so nothing holds the focus."""
    await stage.start("echo", wait=10)
    page = await visit(place)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.get_by_label("Loading")).to_have_count(0)
    stops = []
    for _ in range(3 * FAR):
        await page.keyboard.press("Tab")
        stop = await page.evaluate(FOCUS)
        if stop["isBody"]:
            break
        stops.append(stop)
    assert stops[-1]["what"] != stops[-2]["what"]
    assert len(stops) < 3 * FAR
    assert not [stop["what"] for stop in stops if not stop["seen"]]


async def test_a_run_is_started_and_cancelled_without_a_mouse(visit: Visit, stage: Stage) -> None:
    """Keys alone go to a flow, fill in the form, start, open the dialog, leave it, open it again and cancel."""
    page = await visit()
    await expect(page.get_by_test_id("tiles")).to_be_visible()
    await page.keyboard.press("g")
    await page.keyboard.press("f")
    await expect(page.get_by_role("heading", name="Flows")).to_be_focused()
    await expect(page.get_by_role("link", name="approval")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("approv")
    await expect(page.get_by_test_id("flows").locator("[data-key]")).to_have_count(1)
    await tab_to(page, page.get_by_role("link", name="approval"))
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("button", name="Start…"))
    await page.keyboard.press("Enter")
    field = page.get_by_label("Input (JSON)")
    await tab_to(page, field)
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type('{"by": "keys"}')
    await page.keyboard.press("ControlOrMeta+Enter")
    await page.wait_for_url("**/#/executions/*")
    execution_id = page.url.rpartition("/")[2]
    cancel = page.get_by_role("button", name="Cancel…")
    await expect(cancel).to_be_visible()
    await tab_to(page, cancel)
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    for _ in range(8):
        assert await dialog.evaluate(
            "(one) => one.contains(document.activeElement) || document.activeElement === document.body"
        )
        await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(cancel).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_visible()
    await tab_to(page, page.get_by_label("Why"))
    await page.keyboard.type("By keys alone.")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1 [data-state]")).to_have_attribute("data-state", "cancelled")
    answer = await stage.call("GET", f"/executions/{execution_id}")
    assert answer["input_data"] == {"by": "keys"}
    await expect(page.get_by_role("main").locator(":focus")).to_have_count(1)


async def test_rows_are_walked_and_ticked(visit: Visit, stage: Stage) -> None:
    """The keys j and k go from row to row, x ticks one, Enter opens it."""
    await stage.call("POST", "/flows", {"flow_id": "rows", "nodes": [{"id": "wait", "agent_id": "checker"}]})
    ids = [await stage.start("rows", row=row) for row in range(2)]
    page = await visit("executions?flow=rows&status=running")
    table = page.get_by_test_id("executions")
    await expect(table.locator("[data-key]")).to_have_count(2)
    for key in "jjk":
        await page.keyboard.press(key)
    await expect(table.locator("[data-key]").first.get_by_role("link")).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(table.get_by_role("checkbox", name=f"rows {ids[0]}")).to_be_checked()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/#/executions/{ids[0]}")
    for one in ids:
        await stage.let(one)


async def test_shortcuts_are_told_and_silent_while_one_types(visit: Visit) -> None:
    """The key "?" lists the shortcuts; letters that are typed into a field go there and nowhere else."""
    page = await visit("flows")
    await expect(page.get_by_role("link", name="approval")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("/")
    await page.keyboard.type("g e?t")
    await expect(page.get_by_label("Filter flows")).to_have_value("g e?t")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert "#/flows" in page.url


async def test_graph_and_tabs_follow_the_arrows(visit: Visit) -> None:
    """In a graph the arrows follow the edges and Enter chooses; in tabs they go from one to the next."""
    page = await visit("flows/onboarding")
    graph = page.get_by_test_id("graph")
    await graph.locator('[data-node="intake"]').focus()
    await page.keyboard.press("ArrowRight")
    await expect(graph.locator('[data-node="check"]')).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Node check")).to_be_visible()
    await page.get_by_role("tab", name="Graph").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Start")).to_be_focused()
    assert json.loads(await page.get_by_label("Input (JSON)").input_value()) is not None
    await to(page, "overview")
    await expect(page.get_by_role("heading", name="Overview")).to_be_focused()
