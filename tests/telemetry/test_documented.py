"""What docs/ says of the metrics, held against a real server's, and by Prometheus' own tool."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest_asyncio
import yaml
from aiohttp.test_utils import TestClient
from promtool import promtool
from scraped import Scraped

from opscore.settings import Settings
from opscore.testing import open_client

DOCS = Path(__file__).parents[2] / "docs"
HERE = Path(__file__).parent
ROW = re.compile(r"\| `(?P<name>opscore_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*)\|(?P<unit>[^|]*)\| (?P<text>.+) \|")
METRIC = re.compile(r"\b(?:opscore|process|python)_\w+|\bup\b")
PARTS = ("_bucket", "_sum", "_count")


@pytest_asyncio.fixture
async def text(tmp_path: Path) -> str:
    """A scrape of a server on a file that has done a little of everything."""
    tries = 0

    async def flaky(given: dict[str, Any]) -> dict[str, Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("not now")
        return given

    settings = Settings(database=f"sqlite:///{tmp_path / 'opscore.db'}", drain_timeout=0.1)
    async with open_client(settings, local_agents={"flaky": flaky}) as client:
        retry = {"max_attempts": 2, "initial_interval": 0.01}
        for flow_id, agent_id in (("good", "flaky"), ("bad", "nobody")):
            await client.post(
                "/flows", json={"flow_id": flow_id, "nodes": [{"id": "a", "agent_id": agent_id, "retry": retry}]}
            )
            async with client.post("/flows/execute?wait=5", json={"flow_id": flow_id, "input_data": {}}) as answer:
                assert (await answer.json())["status"] in ("completed", "failed")
        return await scrape(client)


async def scrape(client: TestClient) -> str:
    async with client.get("/metrics") as answer:
        return await answer.text()


def rows() -> dict[str, dict[str, str]]:
    found = [match.groupdict() for match in ROW.finditer((DOCS / "observability.md").read_text(encoding="utf-8"))]
    assert len({row["name"] for row in found}) == len(found)
    return {row["name"]: row for row in found}


def rules() -> list[dict[str, Any]]:
    given = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in given["groups"] for rule in group["rules"]]


def board() -> dict[str, Any]:
    given: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return given


def expressions(node: Any) -> Iterator[str]:
    """All expressions of a dashboard, and what its variables are looked up by."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("expr", "definition") if isinstance(node.get(key), str))
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def unknown(expression: str, found: Scraped) -> set[str]:
    """The metrics of an expression that a server does not have."""
    missing = set()
    for name in METRIC.findall(expression):
        base = next((name[: -len(part)] for part in PARTS if name.endswith(part)), name)
        is_histogram = found.kinds.get(base) == "histogram"
        if name != "up" and name not in found.kinds and not is_histogram:
            missing.add(name)
    return missing


async def test_the_table_is_what_a_server_has(text: str) -> None:
    """Name, type and labels of every metric are in the table, and nothing else is."""
    found = Scraped(text)
    ours = {name: kind for name, kind in found.kinds.items() if name.startswith("opscore_")}
    documented = rows()
    assert documented.keys() == ours.keys()
    for name, row in documented.items():
        assert row["kind"] == ours[name], name
        labels = set(re.findall(r"`(\w+)`", row["labels"]))
        if found.labels[name]:
            assert labels == found.labels[name], name
        assert row["text"].endswith("."), name


async def test_names_have_the_units_and_endings_that_people_expect(text: str) -> None:
    """Prometheus' own tool accepts text and names, and a unit that is in the table is in the name."""
    promtool("check", "metrics", given=text.encode())
    for name, row in rows().items():
        for unit in ("seconds", "bytes"):
            assert (row["unit"].strip() == unit) == (unit in name), name


async def test_alert_rules_are_sound(text: str) -> None:
    """Prometheus accepts the rules, they are about metrics that exist, and each says what to do."""
    promtool("check", "rules", str(DOCS / "prometheus-alerts.yml"))
    found = Scraped(text)
    for rule in rules():
        assert not unknown(rule["expr"], found), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]


def test_alerts_fire_when_they_should_and_only_then() -> None:
    """Every alert fires in a unit test of the rules, and none does for a server that is well."""
    tests = (HERE / "alerts.test.yml").read_text(encoding="utf-8")
    missing = [rule["alert"] for rule in rules() if rule["alert"] not in tests]
    assert not missing
    promtool("test", "rules", "alerts.test.yml", directory=HERE)


async def test_the_dashboard_asks_only_for_what_exists(text: str) -> None:
    """Every metric of every expression is one that a server has."""
    found = Scraped(text)
    asked = list(expressions(board()))
    assert len(asked) > 40
    assert not {name for expression in asked for name in unknown(expression, found)}


def test_the_dashboards_expressions_are_sound(tmp_path: Path) -> None:
    """Prometheus reads every expression, with Grafana's variables filled in."""
    written = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
        for number, expression in enumerate(expressions(board()["panels"]))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": written}]}))
    promtool("check", "rules", "--lint=none", str(path))


def test_the_dashboard_can_be_imported() -> None:
    """Panels have ids of their own, do not lie over one another, and take their data from the variable."""
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
