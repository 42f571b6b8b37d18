"""The log over HTTP: found by what it is about, followed as it comes."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from marshmallow import RAISE

from opscore.settings import Settings
from opscore.testing import open_client
from opscore.web.api import answer_schemas

SSE = {"Accept": "text/event-stream"}
FLOW = {"flow_id": "f", "nodes": [{"id": "n", "agent_id": "a", "retry": {"max_attempts": 1}}]}


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """As a server started with OPSCORE_LOG_LEVEL=DEBUG."""
    ours = logging.getLogger("opscore")
    before = ours.level
    ours.setLevel(logging.DEBUG)
    yield
    ours.setLevel(before)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[TestClient]:
    async def agent(given: dict[str, Any]) -> dict[str, Any]:
        if given.get("fail"):
            raise RuntimeError(given["fail"])
        return {}

    chosen = Settings(database="sqlite:///:memory:", drain_timeout=0.1, **settings)
    async with open_client(chosen, {"a": agent}) as client:
        await client.post("/flows", json=FLOW)
        yield client


async def start(client: TestClient, request_id: str, **given: Any) -> str:
    body = {"flow_id": "f", "input_data": given}
    async with client.post("/flows/execute?wait=5", json=body, headers={"X-Request-ID": request_id}) as answer:
        return str((await answer.json())["execution_id"])


async def logs(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    async with client.get("/logs", params=query) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        return list(body["logs"])


async def read(answer: aiohttp.ClientResponse, most: int) -> list[dict[str, str]]:
    """The next blocks of a stream."""
    blocks: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    while len(blocks) < most:
        line = (await asyncio.wait_for(answer.content.readline(), 10)).decode()
        if line == "\n":
            blocks.append(fields)
            fields = {}
            continue
        assert line, "the stream has ended"
        name, _, value = line.rstrip("\n").partition(":")
        fields[name] = value.removeprefix(" ")
    return blocks


async def test_a_run_can_be_followed_through_the_log() -> None:
    """Right after the answer all lines of an execution are there, newest first, with request, trace and codes."""
    async with serving() as client:
        execution_id = await start(client, "mine", fail="no luck today")
        found = await logs(client, execution_id=execution_id)
        assert [one["event"] for one in found] == [
            "execution.failed", "node.failed", "call.refused", "node.started", "execution.started",
            "execution.accepted",
        ]  # fmt: skip
        assert {(one["request_id"], one["trace_id"]) for one in found} == {("mine", execution_id.replace("-", ""))}
        assert found[0]["error_code"] == found[1]["error_code"] == found[2]["error_code"] == "AGENT_ERROR"
        assert "no luck today" in found[0]["message"]
        assert found[2]["duration_ms"] is not None
        (answered,) = await logs(client, request_id="mine", q="was answered")
        assert (answered["fields"]["path"], answered["fields"]["status"]) == ("/flows/execute", 200)
        async with client.get("/logs") as answer:
            body = await answer.json()
    schema = answer_schemas.LogsSchema()
    schema.unknown = RAISE
    assert schema.validate(body) == {}


async def test_filters_find_what_they_say() -> None:
    """By agent, flow, node, trace, code, level, time and text; a page leads to the next without gap or repeat."""
    async with serving() as client:
        well = await start(client, "one")
        ill = await start(client, "two", fail="No Luck")
        for query in ({"agent_id": "a"}, {"flow_id": "f"}, {"node_id": "n"}):
            assert {one["execution_id"] for one in await logs(client, **query)} >= {well, ill}
        assert {one["execution_id"] for one in await logs(client, error_code="AGENT_ERROR")} == {ill}
        assert {one["execution_id"] for one in await logs(client, trace_id=well.replace("-", ""))} == {well}
        assert {one["level"] for one in await logs(client, level="warning")} == {"WARNING"}
        assert {one["execution_id"] for one in await logs(client, q="no luck")} == {ill}
        whole = await logs(client, execution_id=ill)
        middle = whole[2]["timestamp"]
        assert await logs(client, execution_id=ill, since=middle) == whole[:3]
        assert await logs(client, execution_id=ill, until=middle) == whole[3:]
        paged: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            async with client.get("/logs", params={"execution_id": ill, "limit": "2", **cursor}) as answer:
                body = await answer.json()
            paged += body["logs"]
            if body["next_cursor"] is None:
                break
            cursor = {"cursor": body["next_cursor"]}
        assert paged == whole


@pytest.mark.parametrize(
    "query",
    ["level=LOUD", "level=", "level=10", "agent_id=a%20b", "agent_id=", "execution_id=%00", "flow_id=../x",
     "node_id=a.b", "error_code=", "error_code=%0A", "trace_id=xyz", "trace_id=" + "A" * 32, "request_id=a%20b",
     "since=soon", "until=1",
     "q=", "q=" + "x" * 201, "q=%00", "limit=0", "limit=501", "limit=ten", "cursor=x", "cursor=YQ", "after=-1",
     "after=1e9"],
)  # fmt: skip
async def test_a_bad_filter_is_refused(query: str) -> None:
    """Each filter that makes no sense is a 400 that names it, for pages and for streams."""
    async with serving() as client:
        for headers in ({}, SSE):
            if headers and query.startswith(("limit", "cursor")):
                continue  # streams have neither
            if not headers and query.startswith("after"):
                continue
            async with client.get(f"/logs?{query}", headers=headers) as answer:
                body = await answer.json()
                assert (answer.status, body["error_code"]) == (400, "VALIDATION_ERROR"), body
                assert list(body["details"]) == [query.partition("=")[0]]


async def test_a_stream_tells_what_comes() -> None:
    """It begins now, sends what fits as it is kept, and after a cut goes on where it was, without gap or repeat."""
    async with serving() as client:
        await start(client, "before", fail="old")
        async with client.get("/logs?level=WARNING", headers=SSE) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            ill = await start(client, "during", fail="new")
            blocks = await read(answer, 2)
        entries = [json.loads(block["data"]) for block in blocks]
        assert [one["event"] for one in entries] == ["node.failed", "execution.failed"]
        assert {one["execution_id"] for one in entries} == {ill}
        assert [block["event"] for block in blocks] == ["log", "log"]
        assert [int(block["id"]) for block in blocks] == [one["log_id"] for one in entries]
        assert entries[::-1] == await logs(client, execution_id=ill, level="WARNING")
        await start(client, "between", fail="missed")
        async with client.get(
            "/logs?level=WARNING&after=0", headers={**SSE, "Last-Event-ID": blocks[0]["id"]}
        ) as answer:
            found = [json.loads(block["data"]) for block in await read(answer, 3)]
        assert [one["request_id"] for one in found] == ["during", "between", "between"]
        for query in ("after=0", "since=2020-01-01T00:00:00Z"):
            async with client.get(f"/logs?level=WARNING&{query}", headers=SSE) as answer:
                assert len(await read(answer, 6)) == 6


async def test_a_filter_that_nothing_passes_does_not_read_the_log_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look of a stream begins where the last one ended, found or not; now and then the stream says where.

    What is new is in memory: the store is not asked for it.
    """
    from opscore.operations import Logs
    from opscore.store import SqlStore
    from opscore.web.api import logs as route

    monkeypatch.setattr(route, "_LOOKS", 3)
    begun: list[int] = []
    reached: list[int] = []
    read_from_store: list[int] = []
    following, stored = Logs.following, SqlStore.logs

    async def noted(self: Logs, query: Any) -> Any:
        page = await following(self, query)
        begun.append(query.after)
        reached.append(page.read_to)
        return page

    async def read_stored(self: SqlStore, query: Any) -> Any:
        if query.after is not None:
            read_from_store.append(query.after)
        return await stored(self, query)

    monkeypatch.setattr(Logs, "following", noted)
    monkeypatch.setattr(SqlStore, "logs", read_stored)
    async with serving() as client, client.get("/logs?agent_id=nobody", headers=SSE) as answer:
        marking = asyncio.ensure_future(read(answer, 1))
        number = 0
        while not marking.done():
            number += 1
            await start(client, f"r{number}")
            await logs(client)  # has all be written
        (block,) = await marking
    assert list(block) == ["id"]
    assert int(block["id"]) in reached
    assert begun[1:] == reached[: len(begun) - 1]
    assert len(set(reached)) >= 2
    assert read_from_store == []


async def test_who_is_refused_is_told_with_the_address() -> None:
    """A wrong key, no key and a foreign host are lines with the client's address and the code; no key is in them."""
    async with serving(api_key="sk_ops_canary_key_1") as client:
        async with client.get("/agents", headers={"Authorization": "Bearer sk_ops_wrong_key_2"}):
            pass
        async with client.get("/agents", headers={"Host": "elsewhere.example"}):
            pass
        found = await logs(client, q="was refused")
        assert [(one["level"], one["error_code"], one["fields"]["client"]) for one in found] == [
            ("INFO", "FORBIDDEN", "127.0.0.1"),
            ("INFO", "UNAUTHENTICATED", "127.0.0.1"),
        ]
        async with client.get("/logs", headers={"Authorization": ""}) as answer:
            assert answer.status == 401
        assert "wrong_key" not in json.dumps(await logs(client))


async def test_a_log_that_is_not_kept_is_empty() -> None:
    """With OPSCORE_LOG_KEEP=0 pages are empty."""
    async with serving(log_keep=0) as client:
        await start(client, "mine")
        assert await logs(client) == []
