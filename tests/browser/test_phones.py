from __future__ import annotations

import re

import pytest
from pages import NARROW, Visit
from playwright.async_api import expect
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

AFTER, BEFORE = re.compile(r"\bmore-after\b"), re.compile(r"\bmore-before\b")
FAN = [
    {"id": "begin", "agent_id": "writer"},
    *({"id": f"part-{number}", "agent_id": "writer", "depends_on": ["begin"]} for number in range(9)),
]


async def test_what_scrolls_sideways_fades_where_there_is_more(visit: Visit) -> None:
    """Chips that have no room fade at the right, and at the left once they were moved; with room they do not fade."""
    page = await visit("executions", width=NARROW)
    chips = page.get_by_role("group", name="Status")
    await expect(chips).to_have_class(AFTER)
    await expect(chips).not_to_have_class(BEFORE)
    await chips.evaluate("(chips) => { chips.scrollLeft = chips.scrollWidth; }")
    await expect(chips).to_have_class(BEFORE)
    await expect(chips).not_to_have_class(AFTER)
    await page.set_viewport_size({"width": 1400, "height": 900})
    await expect(chips).not_to_have_class(BEFORE)


async def test_all_open_executions_are_selected(visit: Visit, stage: Stage) -> None:
    """Where the table has no headings, a box below it selects all that can be cancelled."""
    execution_id = await stage.start("approval")
    page = await visit("executions?status=running", width=NARROW)
    row = page.locator(f'[data-key="{execution_id}"]')
    await expect(row).to_be_visible()
    await page.get_by_text("Select all").click()
    await expect(row.get_by_role("checkbox")).to_be_checked()
    await expect(page.get_by_role("region", name="What is selected")).to_be_visible()
    await stage.call("POST", f"/executions/{execution_id}/cancel", {})


async def test_an_explanation_is_short_at_first(visit: Visit, stage: Stage) -> None:
    """What would move an execution is there when one asks for more; with more room it is there at once."""
    execution_id = await stage.start("delivery", parcel=1)
    page = await visit(f"executions/{execution_id}", width=NARROW)
    told = page.get_by_test_id("explanation")
    move = told.get_by_text("What would move it")
    await expect(told.get_by_role("button", name="More")).to_have_attribute("aria-expanded", "false")
    await expect(move).to_be_hidden()
    await told.get_by_role("button", name="More").click()
    await expect(move).to_be_visible()
    await expect(told.get_by_role("button", name="Less")).to_have_attribute("aria-expanded", "true")
    await told.get_by_role("button", name="Less").click()
    await page.set_viewport_size({"width": 1400, "height": 900})
    await expect(move).to_be_visible()
    await stage.call("POST", f"/executions/{execution_id}/cancel", {})


async def test_a_broad_graph_is_all_in_sight(visit: Visit, stage: Stage) -> None:
    """Nodes beside each other, too many for the width of a phone, are all in the frame when the page opens."""
    await stage.call("POST", "/flows", {"flow_id": "fan", "nodes": FAN})
    page = await visit("flows/fan", width=NARROW)
    graph = page.get_by_test_id("graph")
    await expect(graph.locator('[data-node="part-8"]')).to_be_visible()
    frame = await graph.bounding_box()
    assert frame is not None
    for node in await graph.locator("[data-node]").all():
        box = await node.bounding_box()
        assert box is not None
        assert frame["x"] <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    await stage.call("DELETE", "/flows/fan")
