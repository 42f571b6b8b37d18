from __future__ import annotations

import asyncio
import json
import re

import pytest
from pages import Visit
from playwright.async_api import Locator, Page, expect
from stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def node(page: Page, node_id: str) -> Locator:
    """A node of the graph on an execution's page."""
    return page.get_by_test_id("graph").locator(f'[data-node="{node_id}"]')


def is_(status: str) -> re.Pattern[str]:
    """What the class of a node in this state matches."""
    return re.compile(rf"\bis-{status}\b")


async def test_a_run_is_started_and_watched_to_its_end(visit: Visit, stage: Stage) -> None:
    """An execution that the form started is seen to run, to wait and to end, without a reload."""
    page = await visit("flows/onboarding")
    await page.evaluate("() => { window.samePage = true; }")
    await page.get_by_role("button", name="Start…").click()
    await page.get_by_label("Input (JSON)").fill('{"applicant": "Ada Lovelace"}')
    await page.get_by_test_id("start-form").get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url("**/#/executions/*")
    execution_id = page.url.rpartition("/")[2]
    badge = page.locator("h1 [data-state]")
    await expect(badge).to_have_attribute("data-state", "running")
    await expect(node(page, "intake")).to_have_class(is_("completed"))
    await expect(node(page, "check")).to_have_class(is_("running"))
    await expect(node(page, "letter")).to_have_class(is_("pending"))
    stage.cast.let(execution_id)
    await expect(badge).to_have_attribute("data-state", "completed")
    await expect(node(page, "letter")).to_have_class(is_("completed"))
    await page.get_by_role("tab", name="Input and output").click()
    await expect(page.get_by_label("input", exact=True)).to_contain_text("Ada Lovelace")
    await expect(page.get_by_label("output", exact=True)).to_contain_text('"by": "writer"')
    assert await page.evaluate("() => window.samePage")
    answer = await stage.call("GET", f"/executions/{execution_id}")
    assert answer["input_data"] == {"applicant": "Ada Lovelace"}


async def test_a_failure_says_where_and_why(visit: Visit, stage: Stage) -> None:
    """A failed execution shows the node that failed, its code and the agent's own words."""
    execution_id = await stage.start("scoring", wait=10)
    page = await visit(f"executions/{execution_id}")
    failure = page.get_by_test_id("failure")
    await expect(failure).to_contain_text("BUREAU_CLOSED")
    await expect(failure).to_contain_text("The bureau is closed until Monday.")
    step = page.get_by_test_id("step")
    await expect(step.get_by_role("heading", name="Step score")).to_be_visible()
    await expect(step).to_contain_text("BUREAU_CLOSED")
    await expect(node(page, "score")).to_have_class(is_("failed"))
    await expect(node(page, "letter")).to_have_class(is_("skipped"))


async def test_a_run_that_waits_says_for_whom(visit: Visit, stage: Stage) -> None:
    """A running execution explains what it waits for."""
    execution_id = await stage.start("approval")
    page = await visit(f"executions/{execution_id}")
    await expect(page.get_by_test_id("explanation")).to_contain_text("checker")
    await stage.let(execution_id)
    await expect(page.get_by_test_id("explanation")).to_have_count(0)


async def test_a_run_is_cancelled_with_a_reason(visit: Visit, stage: Stage) -> None:
    """Cancelling asks first; then the execution is cancelled, and the reason is kept with it."""
    execution_id = await stage.start("approval")
    page = await visit(f"executions/{execution_id}")
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_label("Why").fill("The applicant withdrew.")
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.locator("h1 [data-state]")).to_have_attribute("data-state", "cancelled")
    await expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    await expect(page.get_by_test_id("cancelled")).to_contain_text("The applicant withdrew.")
    kept = await stage.call("GET", f"/executions/{execution_id}")
    assert "The applicant withdrew." in kept["error_message"]


async def test_a_run_is_started_again_with_the_same_input(visit: Visit, stage: Stage) -> None:
    """The button "Start again" begins another execution of the flow with what the first one was given."""
    given = {"name": "Grace", "deep": {"numbers": [1, 2.5, None], "text": "ü\n\u2028"}}
    first = await stage.start("echo", wait=10, **given)
    page = await visit(f"executions/{first}")
    await page.get_by_role("button", name="Start again").click()
    await expect(page.get_by_test_id("toast")).to_contain_text("Started again")
    await page.wait_for_url(lambda url: not url.endswith(first))
    second = page.url.rpartition("/")[2]
    answer = await stage.call("GET", f"/executions/{second}")
    assert (answer["flow_id"], answer["input_data"]) == ("echo", given)
    await expect(page.locator("h1 [data-state]")).to_have_attribute("data-state", "completed")


async def test_what_is_selected_is_cancelled_at_once(visit: Visit, stage: Stage) -> None:
    """Ticked executions are cancelled together with one reason; the others run on."""
    nodes = [{"id": "wait", "agent_id": "checker"}]
    await stage.call("POST", "/flows", {"flow_id": "holidays", "nodes": nodes})
    ids = [await stage.start("holidays", number=number) for number in range(3)]
    page = await visit("executions?flow=holidays&status=running")
    table = page.get_by_test_id("executions")
    for execution_id in ids[:2]:
        await table.get_by_role("checkbox", name=f"holidays {execution_id}").check()
    bulk = page.get_by_role("region", name="What is selected")
    await expect(bulk).to_contain_text("2 executions selected")
    await bulk.get_by_role("button", name="Cancel them…").click()
    await page.get_by_label("Why").fill("Holiday.")
    await page.get_by_role("button", name="Cancel them", exact=True).click()
    await expect(page.get_by_test_id("toast")).to_contain_text("2 executions cancelled")
    await expect(table.locator("[data-key]")).to_have_count(1)
    statuses = [(await stage.call("GET", f"/executions/{one}"))["status"] for one in ids]
    assert statuses == ["cancelled", "cancelled", "running"]
    await stage.let(ids[2])


async def test_lists_are_paged_and_searched(visit: Visit, stage: Stage) -> None:
    """Scrolling reads on past the first page; a search finds one among many, and its address can be shared."""
    count = 130
    await asyncio.gather(*[stage.start("screening", number=number) for number in range(count)])
    await stage.start("scoring", wait=10)
    page = await visit("executions?flow=screening")
    table = page.get_by_role("table", name="executions")
    await expect(page.get_by_text("100 executions so far")).to_be_visible()
    await table.evaluate("(element) => element.scrollTo(0, element.scrollHeight)")
    await expect(page.get_by_text(f"{count} executions", exact=True)).to_be_visible()
    assert int(await table.get_attribute("aria-rowcount") or "") == count + 1
    page = await visit("executions")
    await page.get_by_label("Search executions").fill("until Monday")
    await expect(page).to_have_url(re.compile(r"q=until\+Monday"))
    await expect(page.get_by_role("table").get_by_role("link", name="screening")).to_have_count(0)
    await expect(page.get_by_role("table").get_by_role("link", name="scoring").first).to_be_visible()
    shared = await visit(page.url.partition("#/")[2])
    await expect(shared.get_by_label("Search executions")).to_have_value("until Monday")
    await shared.get_by_label("Search executions").fill("no such thing at all")
    await expect(shared.get_by_text("Nothing matches")).to_be_visible()


async def test_lists_live(visit: Visit, stage: Stage) -> None:
    """An execution appears in the list when it starts, and changes its state there when it ends."""
    page = await visit("executions?flow=approval")
    await expect(page.get_by_test_id("connection").first).to_have_text("Live")
    execution_id = await stage.start("approval")
    row = page.locator(f'[data-key="{execution_id}"]')
    await expect(row.locator('[data-state="running"]')).to_be_visible()
    await stage.let(execution_id)
    await expect(row.locator('[data-state="completed"]')).to_be_visible()


async def test_the_form_helps(visit: Visit, stage: Stage) -> None:
    """The form offers the last inputs, and names the line of a mistake before anything is sent."""
    await stage.start("echo", wait=10, only="this one")
    page = await visit("flows/echo/start")
    await page.get_by_test_id("last-inputs").get_by_role("button", name="this one").first.click()
    field = page.get_by_label("Input (JSON)")
    assert json.loads(await field.input_value()) == {"only": "this one"}
    start = page.get_by_test_id("start-form").get_by_role("button", name="Start", exact=True)
    await expect(start).to_be_enabled()
    await field.fill('{\n  "a": 1,\n  oops\n}')
    await expect(page.locator("#input-json-wrong")).to_contain_text("Line 3")
    await expect(start).to_be_disabled()
    await field.fill("[1]")
    await expect(page.locator("#input-json-wrong")).to_contain_text("object")
