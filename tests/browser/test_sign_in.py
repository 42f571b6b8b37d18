from __future__ import annotations

import pytest
from pages import Visit
from playwright.async_api import Page, expect
from stage import ADMIN, Stage
from watching import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEPT = """() => ({
  session: Object.values(sessionStorage),
  local: Object.values(localStorage).join(" "),
  cookies: document.cookie,
  address: location.href,
})"""


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def test_the_key_is_kept_for_this_tab_alone(visit: Visit, watch: Watch) -> None:
    """Signing in puts the key into sessionStorage: it outlives a reload, and no other tab, cookie or address has it."""
    page = await visit(key=None)
    await sign_in(page, ADMIN)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    kept = await page.evaluate(KEPT)
    assert kept["session"] == [ADMIN]
    assert ADMIN not in kept["local"] + kept["cookies"] + kept["address"]
    assert await page.context.cookies() == []
    await page.reload()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    beside = await page.context.new_page()
    await beside.goto(page.url)
    await expect(beside.get_by_label("API key")).to_be_focused()
    later = await visit(key=None)
    await expect(later.get_by_label("API key")).to_be_visible()
    assert not [url for url in watch.requests if ADMIN in url]


async def test_a_wrong_key_is_refused_and_forgotten(visit: Visit, watch: Watch) -> None:
    """A key that the server does not know is said to be wrong, and kept nowhere."""
    watch.refusals = {401}
    page = await visit(key=None)
    await sign_in(page, "no-such-key")
    await expect(page.get_by_role("alert").filter(has_text="wrong")).to_be_visible()
    await expect(page.get_by_label("API key")).to_be_focused()
    assert (await page.evaluate(KEPT))["session"] == []
    await sign_in(page, "two words")
    await expect(page.get_by_role("alert").filter(has_text="one word")).to_be_visible()


async def test_a_revoked_key_leads_back_to_sign_in(visit: Visit, stage: Stage, watch: Watch) -> None:
    """A key that is revoked while its page is open brings up the sign-in page; the next key is back where it was."""
    watch.refusals = {401}
    made = await stage.key("read")
    page = await visit("flows", key=None)
    await sign_in(page, made["key"])
    await expect(page.get_by_role("link", name="onboarding")).to_be_visible()
    await stage.call("DELETE", f"/keys/{made['key_id']}")
    await page.get_by_role("link", name="onboarding").click()
    await expect(page.get_by_role("heading", name="Sign in to Ops-Core")).to_be_visible()
    assert (await page.evaluate(KEPT))["session"] == []
    await sign_in(page, stage.reader)
    await expect(page.get_by_role("heading", name="onboarding")).to_be_visible()


async def test_signing_out_forgets_the_key(visit: Visit) -> None:
    """After "Sign out" the key is gone and the sign-in page is there, also after a reload."""
    page = await visit(key=None)
    await sign_in(page, ADMIN)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("API key")).to_be_visible()
    assert (await page.evaluate(KEPT))["session"] == []
