"""What a careless or hostile caller may send: each row a request and the documented refusal."""

from __future__ import annotations

import gzip
import json
from typing import Any, Optional

import attrs
from aiohttp.test_utils import TestClient

from opscore.settings import Settings
from opscore.testing import open_client

JSON = "application/json"
YAML = "application/yaml"
START, FLOWS, AGENTS, CHECK = "/flows/execute", "/flows", "/agents", "/flows/validate"
KEYS, CANCEL = "/keys", "/executions/unknown/cancel"
NODE = {"id": "a", "agent_id": "echo"}


@attrs.frozen
class Bad:
    """A request, and how it is to be refused."""

    name: str
    method: str
    path: str
    status: int
    code: str
    body: Any = None
    headers: Optional[dict[str, str]] = None
    kind: str = JSON


def start(name: str, body: Any, status: int = 400, code: str = "VALIDATION_ERROR") -> Bad:
    return Bad(f"start: {name}", "POST", START, status, code, body)


def flow(name: str, definition: Any, code: str = "INVALID_FLOW") -> Bad:
    return Bad(f"flow: {name}", "POST", FLOWS, 400, code, definition)


def yaml(name: str, text: str) -> Bad:
    return Bad(f"yaml: {name}", "POST", FLOWS, 400, "INVALID_YAML", text.encode(), kind=YAML)


def agent(name: str, **fields: Any) -> Bad:
    return Bad(f"agent: {name}", "POST", AGENTS, 400, "VALIDATION_ERROR", {"agent_id": "bad", **fields})


def address(endpoint: str) -> Bad:
    return agent(f"at {endpoint}", endpoint=endpoint)


def query(text: str, path: str = "/executions") -> Bad:
    return Bad(f"query: {text}", "GET", f"{path}?{text}", 400, "VALIDATION_ERROR")


def raw(name: str, body: bytes) -> Bad:
    return Bad(f"json: {name}", "POST", START, 400, "INVALID_JSON", body)


def host(name: str, value: str) -> Bad:
    return Bad(f"host: {name}", "GET", FLOWS, 403, "FORBIDDEN", headers={"Host": value})


def origin(value: str) -> Bad:
    return Bad(f"origin: {value}", "POST", START, 403, "FORBIDDEN", {}, headers={"Origin": value})


def plain(**fields: Any) -> dict[str, Any]:
    return {"flow_id": "f", "input_data": {}, **fields}


def one(**fields: Any) -> dict[str, Any]:
    return {"flow_id": "bad", "nodes": [{**NODE, **fields}]}


TABLE = [
    raw("broken", b'{"flow_id": '),
    raw("empty", b""),
    raw("not UTF-8", b'{"flow_id": "\xff"}'),
    raw("deep", b'{"a":' * 65 + b"1" + b"}" * 65),
    raw("very deep", b"[" * 100_000),
    raw("duplicate keys", b'{"flow_id": "f", "flow_id": "g", "input_data": {}}'),
    raw("duplicate keys below", b'{"flow_id": "f", "input_data": {"a": 1, "a": 2}}'),
    raw("NaN", b'{"flow_id": "f", "input_data": {"a": NaN}}'),
    raw("Infinity", b'{"flow_id": "f", "input_data": {"a": -Infinity}}'),
    raw("1e999", b'{"flow_id": "f", "input_data": {"a": 1e999}}'),
    raw("2**63", b'{"flow_id": "f", "input_data": {"a": 9223372036854775808}}'),
    raw("a number of 5,000 digits", b'{"flow_id": "f", "input_data": {"a": ' + b"9" * 5000 + b"}}"),
    raw("lone surrogate", b'{"flow_id": "f", "input_data": {"a": "\\ud800"}}'),
    start("a list", []),
    start("a number", 5),
    start("null", None, code="INVALID_JSON"),
    start("no flow", {"input_data": {}}),
    start("no input", {"flow_id": "f"}),
    start("flow of a wrong type", plain(flow_id=7)),
    start("flow with a slash", plain(flow_id="../etc/passwd")),
    start("flow with a newline", plain(flow_id="f\n")),
    start("flow too long", plain(flow_id="f" * 101)),
    start("input is text", plain(input_data="{}")),
    start("input is null", plain(input_data=None)),
    start("metadata is a list", plain(metadata=[])),
    start("priority 11", plain(priority=11)),
    start("priority -1", plain(priority=-1)),
    start("priority true", plain(priority=True)),
    start("priority as text", plain(priority="5")),
    start("timeout 0", plain(timeout=0)),
    start("timeout of centuries", plain(timeout=1e12)),
    start("timeout as text", plain(timeout="10")),
    start("version 0", plain(flow_version=0)),
    start("unknown flow", plain(flow_id="unknown"), 404, "FLOW_NOT_FOUND"),
    start("unknown version", plain(flow_version=99), 404, "FLOW_NOT_FOUND"),
    start("huge", plain(input_data={"a": "x" * 1_100_000}), 413, "TOO_LARGE"),
    Bad("start: key too long", "POST", START, 400, "VALIDATION_ERROR", plain(), {"Idempotency-Key": "k" * 256}),
    Bad("start: key not ASCII", "POST", START, 400, "VALIDATION_ERROR", plain(), {"Idempotency-Key": "k\u00e9\u4e16"}),
    Bad("start: wait as text", "POST", f"{START}?wait=soon", 400, "VALIDATION_ERROR", plain()),
    Bad("start: wait NaN", "POST", f"{START}?wait=nan", 400, "VALIDATION_ERROR", plain()),
    Bad("type: form", "POST", START, 415, "UNSUPPORTED_MEDIA_TYPE", b"a=b", kind="application/x-www-form-urlencoded"),
    Bad("type: charset", "POST", START, 415, "UNSUPPORTED_MEDIA_TYPE", b"{}", kind=f"{JSON}; charset=utf-16"),
    Bad("type: yaml for a start", "POST", START, 415, "UNSUPPORTED_MEDIA_TYPE", b"a: 1", kind=YAML),
    Bad(
        "gzip bomb", "POST", START, 415, "UNSUPPORTED_MEDIA_TYPE", gzip.compress(b" " * 50_000_000),
        {"Content-Encoding": "gzip"},
    ),  # fmt: skip
    flow("a list", []),
    flow("no nodes", {"flow_id": "bad", "nodes": []}),
    flow("1,001 nodes", {"flow_id": "bad", "nodes": [{"id": f"n{i}", "agent_id": "e"} for i in range(1001)]}),
    flow("over 256 KiB", {"flow_id": "bad", "nodes": [{**NODE, "config": {"a": "x" * 300_000}}]}),
    flow("cycle", {"flow_id": "x", "nodes": [{**NODE, "depends_on": ["b"]}, {**NODE, "id": "b", "depends_on": ["a"]}]}),
    flow("waits for itself", one(depends_on=["a"])),
    flow("unknown dependency", one(depends_on=["b"])),
    flow("twice the same id", {"flow_id": "bad", "nodes": [NODE, NODE]}),
    flow("bad entry point", {**one(), "entry_point": "b"}),
    flow("bad exit point", {**one(), "exit_points": ["b"]}),
    flow("unknown type", one(type="procesor")),
    flow("nearly a field", one(depend_on=[])),
    flow("not supported yet", one(when="${ input.a }")),
    flow("timeout as text", one(timeout="5")),
    flow("no attempts", one(retry={"max_attempts": 0})),
    flow("id of another type", {"flow_id": 5, "nodes": [NODE]}),
    yaml("alias", "flow_id: bad\nnodes: &a [1]\nb: *a"),
    yaml("bomb of aliases", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n"),
    yaml("tag", "flow_id: !!python/object/apply:os.system [id]"),
    yaml("duplicate key", "flow_id: a\nflow_id: b"),
    yaml("broken", "flow_id: ["),
    yaml("deep", "[" * 10_000),
    yaml("two documents", "a: 1\n---\nb: 2"),
    agent("no id", agent_id=None),
    agent("id with spaces", agent_id="a b"),
    agent("no endpoint"),
    agent("unknown protocol", protocol="spin", endpoint="http://127.0.0.1:1"),
    agent("concurrency 0", endpoint="http://127.0.0.1:1", max_concurrency=0),
    agent("active as text", endpoint="http://127.0.0.1:1", is_active="yes"),
    agent("capabilities as text", endpoint="http://127.0.0.1:1", capabilities="all"),
    address("file:///etc/passwd"),
    address("gopher://127.0.0.1"),
    address("http://user:secret@127.0.0.1:1"),
    address("http://169.254.169.254/latest"),
    address("http://2852039166/"),
    address("http://0xA9FEA9FE/"),
    address("http://0251.0376.0251.0376/"),
    address("http://169.254.43518/"),
    address("http://[::ffff:169.254.169.254]/"),
    address("http://[fe80::1]/"),
    address("http://[64:ff9b::a9fe:a9fe]/"),
    address("http://0.0.0.0:80/"),
    Bad("agent: unknown", "GET", "/agents/unknown", 404, "AGENT_NOT_FOUND"),
    Bad("agent: delete unknown", "DELETE", "/agents/unknown", 404, "AGENT_NOT_FOUND"),
    Bad("agent: test a forbidden address", "POST", "/agents/test", 400, "VALIDATION_ERROR", {"endpoint": "http://169.254.1.1"}),
    Bad("flow: unknown", "GET", "/flows/unknown", 404, "FLOW_NOT_FOUND"),
    Bad("flow: unknown version", "GET", "/flows/f?version=9", 404, "FLOW_NOT_FOUND"),
    Bad("flow: replace unknown", "PUT", "/flows/bad", 404, "FLOW_NOT_FOUND", one()),
    Bad("flow: ids differ", "PUT", "/flows/f", 400, "VALIDATION_ERROR", one()),
    Bad("flow: taken", "POST", FLOWS, 409, "CONFLICT", {**one(), "flow_id": "f", "name": "other"}),
    Bad("flow: delete unknown", "DELETE", "/flows/unknown", 404, "FLOW_NOT_FOUND"),
    Bad("flow: versions of unknown", "GET", "/flows/unknown/versions", 404, "FLOW_NOT_FOUND"),
    Bad("execution: unknown", "GET", "/executions/unknown", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: NUL in the id", "GET", "/executions/a%00b", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: lone surrogate in the id", "GET", "/executions/%ED%A0%80", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: results of unknown", "GET", "/executions/unknown/results", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: messages of unknown", "GET", "/executions/unknown/messages", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: events of unknown", "GET", "/executions/unknown/events", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: cancel unknown", "POST", CANCEL, 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: reason of a wrong type", "POST", CANCEL, 400, "VALIDATION_ERROR", {"reason": 5}),
    Bad("message: unknown", "GET", "/messages/a.b.c", 404, "MESSAGE_NOT_FOUND"),
    Bad("message: no id at all", "GET", "/messages/x", 404, "MESSAGE_NOT_FOUND"),
    Bad("key: unknown", "DELETE", "/keys/unknown", 404, "KEY_NOT_FOUND"),
    Bad("key: unknown scope", "POST", KEYS, 400, "VALIDATION_ERROR", {"name": "k", "scopes": ["root"]}),
    Bad("key: no scopes", "POST", KEYS, 400, "VALIDATION_ERROR", {"name": "k", "scopes": []}),
    Bad("key: no name", "POST", KEYS, 400, "VALIDATION_ERROR", {"scopes": ["read"]}),
    query("limit=0"),
    query("limit=501"),
    query("limit=many"),
    query("limit=%D9%A3"),
    query("offset=-1"),
    query("status=done"),
    query("cursor=%21%21"),
    query("cursor=%FF%FE"),
    query("limit=%FF"),
    query("created_after=yesterday"),
    query("created_before=9999999999999"),
    query("after=-1", "/executions/x/events"),
    query("version=x", "/flows/f"),
    Bad("path: nothing there", "GET", "/nothing", 404, "NOT_FOUND"),
    Bad("path: not that method", "PATCH", FLOWS, 405, "METHOD_NOT_ALLOWED"),
    host("foreign", "evil.example"),
    host("foreign with our port", "evil.example:8000"),
    host("rebinding", "127.0.0.1.evil.example"),
    host("malformed", "[::1"),
    origin("https://evil.example"),
    origin("null"),
]  # fmt: skip


async def _send(client: TestClient, bad: Bad, prefix: str = "") -> tuple[int, dict[str, Any], Any]:
    headers = dict(bad.headers or {})
    data = bad.body
    if data is not None:
        headers["Content-Type"] = bad.kind
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
    elif bad.name == "start: null":
        headers["Content-Type"], data = JSON, b"nul"
    async with client.request(bad.method, prefix + bad.path, data=data, headers=headers) as answer:
        return answer.status, json.loads(await answer.read()), answer.headers


async def test_every_bad_input_is_refused_as_documented() -> None:
    """Each row gets its status and code as a whole problem, on both faces, and the server is well afterwards."""
    assert len(TABLE) >= 60
    wrong = []

    async def echo(given: dict[str, Any]) -> dict[str, Any]:
        return given

    async with open_client(local_agents={"echo": echo}) as client:
        async with client.post(FLOWS, json={"flow_id": "f", "nodes": [NODE]}) as stored:
            assert stored.status == 201
        for bad in TABLE:
            for prefix in ("", "/api/v1"):
                status, body, headers = await _send(client, bad, prefix)
                shape = {"type", "title", "status", "detail", "message", "error_code", "details", "request_id"}
                if (status, body.get("error_code")) != (bad.status, bad.code) or body.keys() != shape:
                    wrong.append((prefix + bad.name, status, body))
                assert headers["Content-Type"].startswith("application/problem+json"), bad.name
                assert headers["X-Request-ID"] == body["request_id"]
        assert not wrong
        async with client.post(f"{START}?wait=5", json=plain(input_data={"n": 1})) as done:
            assert (await done.json())["result"] == {"a": {"n": 1}}


async def test_keys_are_refused_as_documented() -> None:
    """Missing, wrong, revoked and too weak keys: 401 and 403, with the challenge; public paths need none."""
    settings = Settings(database="sqlite:///:memory:", api_key="sk_first_admin_key", drain_timeout=0.1)
    async with open_client(settings) as client:
        made = {}
        for scope in ("read", "write", "admin"):
            async with client.post(KEYS, json={"name": scope, "scopes": [scope]}) as answer:
                made[scope] = await answer.json()
        async with client.post(KEYS, json={"name": "gone", "scopes": ["admin"]}) as answer:
            gone = await answer.json()
        async with client.delete(f"/keys/{gone['key_id']}") as answer:
            assert answer.status == 200
        cases = [
            ("", FLOWS, "GET", 401),
            ("Bearer ", FLOWS, "GET", 401),
            ("Basic abc", FLOWS, "GET", 401),
            ("Bearer sk_wrong", FLOWS, "GET", 401),
            ("Bearer \u00e9", FLOWS, "GET", 401),
            (f"Bearer {gone['key']}", FLOWS, "GET", 401),
            (f"Bearer {made['read']['key']}", FLOWS, "GET", 200),
            (f"Bearer {made['read']['key']}", "/agents/x", "DELETE", 403),
            (f"Bearer {made['read']['key']}", KEYS, "GET", 403),
            (f"Bearer {made['write']['key']}", FLOWS, "GET", 200),
            (f"Bearer {made['write']['key']}", "/agents/x", "DELETE", 404),
            (f"Bearer {made['write']['key']}", "/api/v1/keys", "GET", 403),
            (f"Bearer {made['admin']['key']}", KEYS, "GET", 200),
            ("", "/health", "GET", 200),
            ("", "/openapi.json", "GET", 200),
            ("", "/docs", "GET", 200),
        ]
        for given, path, method, status in cases:
            async with client.request(method, path, headers={"Authorization": given}) as answer:
                assert answer.status == status, (given[:10], path)
                if status == 401:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
        async with client.get(KEYS) as answer:
            listed = await answer.text()
    assert not any(key["key"] in listed for key in made.values())
