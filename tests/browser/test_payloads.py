from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, AsyncIterator
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from pages import Visit
from payloads import PAYLOADS, nasty
from playwright.async_api import Error, Page, expect
from stage import Stage
from watching import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = list(PAYLOADS.values())
NOT_OURS = "body script, body style, body link, body meta, iframe, object, embed, base, video, math, form[action]"
# Waits until all texts can be read in the page (as text, in a field, or in a title), then tells what must not be there.
LOOK = """async ([place, texts, notOurs]) => {
  location.hash = `#/${place}`;
  const values = (names, of) => [...document.querySelectorAll(names)].map(of);
  const read = () => [
    document.body.textContent, ...values("input, textarea", (one) => one.value),
    ...values("[title]", (one) => one.title),
  ].join("\\n");
  const missing = () => {
    const all = read();
    return texts.filter((text) => !all.includes(text));
  };
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const until = performance.now() + 10000;
  do await drawn(); while (missing().length && performance.now() < until);
  const found = missing().map((text) => `not shown: ${text.slice(0, 80)}`);
  found.push(...values(notOurs, (one) => `element ${one.outerHTML.slice(0, 100)}`));
  for (const one of document.querySelectorAll("*")) {
    for (const { name } of one.attributes) if (name.startsWith("on")) found.push(`attribute ${name}`);
  }
  for (const href of values("a[href]", (one) => one.href)) if (!/^https?:/.test(href)) found.push(`link to ${href}`);
  for (const name in {}) found.push(`Object.prototype has ${name}`);
  return found;
}"""


class Poisoned:
    """A server in which every text that comes from outside is a payload."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.failed: list[str] = []
        self.cancelled: list[str] = []
        self.passed = ""

    async def fill(self) -> None:
        """For each payload an agent, a flow, an execution that fails with it and one that is cancelled for it."""
        await asyncio.gather(*[self._fill(number, text) for number, text in enumerate(TEXTS)])
        self.failed.sort(key=lambda one: one[0])
        self.cancelled.sort(key=lambda one: one[0])
        await self._fill_all()

    async def _fill(self, number: int, text: str) -> None:
        stage, agent, flow = self.stage, f"a{number:02}", f"f{number:02}"
        no = {"status": "error", "retryable": False, "error_message": text, "error_code": text}
        stage.cast.answers[agent] = no
        facts = {"name": text[:200], "description": text, "version": text[:100], "agent_type": text[:100]}
        more = {"capabilities": [text[:200]], "metadata": {"payload": text, text[:100]: 1}}
        body = {"agent_id": agent, "endpoint": f"{stage.cast.url}/{agent}/{quote(text[:200])}", **facts, **more}
        await stage.call("POST", "/agents", body)
        report = {"agentId": agent, "timestamp": "2026-01-02T03:04:05Z", "state": "idle", "details": {"payload": text}}
        await stage.call("POST", f"/v1/opscore/agent/{agent}/state", report)
        node = {
            "agent_id": agent,
            "name": text,
            "description": text,
            "config": {"payload": text},
            "metadata": {"label": text},
        }
        about = {"name": text, "description": text, "metadata": {"label": text}}
        await stage.call("POST", "/flows", {"flow_id": flow, "nodes": [{"id": "n", **node}], **about})
        given = {"input_data": {"payload": text}, "metadata": {"payload": text}, "user_id": text[:200]}
        answer = await stage.call("POST", "/flows/execute?wait=10", {"flow_id": flow, **given})
        assert answer["status"] == "failed"
        self.failed.append((number, answer["execution_id"]))
        cancelled = await stage.start("approval", payload=text)
        await stage.call("POST", f"/executions/{cancelled}/cancel", {"reason": text[:1000]})
        self.cancelled.append((number, cancelled))

    async def _fill_all(self) -> None:
        """One of each with all payloads at once, where there is room for JSON or for many."""
        stage, everything = self.stage, nasty()
        stage.cast.answers["all"] = {"status": "success", "output": everything}
        capabilities = [text[:200] for text in TEXTS]
        body = {
            "agent_id": "all",
            "endpoint": f"{stage.cast.url}/all",
            "capabilities": capabilities,
            "metadata": everything,
        }
        await stage.call("POST", "/agents", body)
        report = {"agentId": "all", "timestamp": "2026-01-02T03:04:05Z", "state": "idle", "details": everything}
        await stage.call("POST", "/v1/opscore/agent/all/state", report)
        nodes = [
            {"id": f"n{number:02}", "name": text, "agent_id": "all", "config": everything if number == 0 else {}}
            for number, text in enumerate(TEXTS)
        ]
        await stage.call("POST", "/flows", {"flow_id": "all", "nodes": nodes, "metadata": everything})
        answer = await stage.call(
            "POST", "/flows/execute?wait=10", {"flow_id": "all", "input_data": everything, "metadata": everything}
        )
        assert answer["status"] == "completed"
        self.passed = answer["execution_id"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def poisoned(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Poisoned]:
    assert browser.is_connected()
    directory: Path = tmp_path_factory.mktemp("poisoned")
    async with Stage(directory, OPSCORE_API_KEY_REQUIRED="false").open() as stage:
        await stage.set_up()
        poison = Poisoned(stage)
        await poison.fill()
        yield poison


@pytest_asyncio.fixture(loop_scope="session")
async def page(visit: Visit, poisoned: Poisoned, watch: Watch) -> Page:
    """A page of the poisoned server, which wants no key."""
    watch.also(poisoned.stage.url)
    opened: Page = await visit("overview", url=poisoned.stage.url, key=None, height=2_400)
    await expect(opened.get_by_test_id("tiles")).to_be_visible()
    return opened


async def look(page: Page, place: str, *texts: str) -> None:
    """Go there, read these texts as text, and find nothing that text must not become."""
    found = await page.evaluate(LOOK, [place, list(texts), NOT_OURS])
    assert found == [], (place, found)


def quoted(text: str) -> str:
    """A text as it reads within JSON that is shown."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


async def test_a_payload_that_becomes_markup_is_noticed(browser: Any, stage: Stage) -> None:
    """The watch itself works: put into a page as markup and without a policy, payloads run, load and ask others."""
    watch = Watch(stage.url)
    context = await browser.new_context()
    await watch.over(context)
    ran = []
    unsafe = await context.new_page()
    for name, text in PAYLOADS.items():
        watch.seen.clear()
        try:
            await unsafe.set_content(f"<p title='{text}'>{text}</p>", wait_until="domcontentloaded")
            await unsafe.evaluate("() => new Promise((done) => setTimeout(done, 30))")
        except Error:
            watch.seen.append("it has led elsewhere")
            unsafe = await context.new_page()
        if watch.seen:
            ran.append(name)
    await context.close()
    assert {"script", "image", "svg", "frame with a document", "style", "body"} <= set(ran), ran
    assert len(ran) >= 15, ran


@pytest.mark.usefixtures("poisoned")
async def test_lists_show_payloads_as_text(page: Page) -> None:
    """Overview, executions, flows, agents and logs show names, codes, messages and capabilities as they are."""
    cut = [text[:200] for text in TEXTS]
    await look(page, "agents", *cut)
    await look(page, "flows", *TEXTS)
    await look(page, "executions?status=failed")
    await look(page, "executions?status=cancelled")
    await look(page, "executions")
    await look(page, "overview?window=86400")
    await look(page, "logs?level=WARNING")
    lines = page.get_by_role("log").get_by_role("button")
    await lines.last.click()
    await expect(page.get_by_role("complementary", name="The chosen line")).to_be_visible()


async def test_one_thing_with_all_payloads_shows_them_as_text(page: Page, poisoned: Poisoned) -> None:
    """JSON with all payloads as names and values, 30 capabilities and 30 node names are shown as text everywhere."""
    names = [quoted(text) for text in TEXTS if len(text) < 1000]
    await look(page, "agents/all", *names, *[text[:200] for text in TEXTS])
    await look(page, "flows/all", *[text for text in TEXTS if len(text) < 1000])
    await look(page, "flows/all/definition", *names)
    await look(page, "flows/all/start", *names)
    await page.get_by_test_id("last-inputs").get_by_role("button").first.click()
    await look(page, "flows/all/start", *names)
    await look(page, f"executions/{poisoned.passed}", *names)
    await look(page, f"executions/{poisoned.passed}/data", *names)
    await look(page, f"executions/{poisoned.passed}/events")
    await look(page, f"executions/{poisoned.passed}/logs")


async def test_each_payload_is_text_on_the_pages_of_its_own(page: Page, poisoned: Poisoned) -> None:
    """An agent, a flow, a failed and a cancelled execution that are made of one payload show it as text."""
    for number, text in enumerate(TEXTS):
        await look(page, f"agents/a{number:02}", text[:200], text)
        await look(page, f"flows/f{number:02}", text)
        await look(page, f"executions/{poisoned.failed[number][1]}", text[:200], text[:900])
        await look(page, f"executions/{poisoned.cancelled[number][1]}/events", text[:900])


async def test_each_payload_in_the_address_is_text(page: Page, watch: Watch) -> None:
    """A link with a payload as an id, a page or a search shows no more than text."""
    watch.refusals = {400, 404}
    for text in TEXTS:
        part = quote(text[:100], safe="")
        await look(page, f"agents/{part}", text[:100])
        await look(page, f"executions?q={part}&flow={part}")
        await look(page, part)


async def test_addresses_of_agents_are_links_only_where_that_is_safe(page: Page, poisoned: Poisoned) -> None:
    """No payload is an endpoint; behind a host some are, and are shown as text, or as a link to http(s) alone."""
    for number, text in enumerate(TEXTS):
        for endpoint in (text, f"http://127.0.0.1:9/{text}", f"http://{text}@127.0.0.1:9/"):
            body = {"agent_id": f"e{number}", "endpoint": endpoint}
            async with aiohttp.request("POST", f"{poisoned.stage.url}/agents", json=body) as answer:
                assert answer.status == 400 or endpoint.startswith("http://127.0.0.1:9/")
                if answer.status == 201:
                    await look(page, f"agents/e{number}", endpoint)
    await look(page, "agents", "e6")
