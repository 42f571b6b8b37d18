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
DIALECT = "/v1/opscore"
STATE, WORKFLOW = f"{DIALECT}/agent/echo/state", f"{DIALECT}/agent/echo/workflow"
NOTIFY, COMPLETE = f"{DIALECT}/internal/agent/notify", f"{DIALECT}/task/unknown/complete"
HISTORY = "/agents/echo/history"
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


def state(name: str, status: int = 400, code: str = "VALIDATION_ERROR", **changed: Any) -> Bad:
    body = {"agentId": "echo", "timestamp": "2026-01-31T12:00:00Z", "state": "idle", **changed}
    sent = {field: value for field, value in body.items() if value is not ...}
    return Bad(f"state: {name}", "POST", STATE, status, code, sent)


def at(timestamp: Any) -> Bad:
    return state(f"at {str(timestamp)[:30]!r}", timestamp=timestamp)


def tasks(fault: str, /, *listed: Any, **more: Any) -> Bad:
    body = {"workflowDefinition": {"id": "bad", "name": "Bad", "tasks": list(listed), **more}}
    return Bad(f"workflow: {fault}", "POST", WORKFLOW, 400, "INVALID_FLOW", body)


def trigger(name: str, body: Any, status: int = 400, code: str = "VALIDATION_ERROR", **options: Any) -> Bad:
    return Bad(f"trigger: {name}", "POST", WORKFLOW, status, code, body, **options)


def complete(name: str, body: Any, status: int = 400, code: str = "VALIDATION_ERROR") -> Bad:
    return Bad(f"complete: {name}", "POST", COMPLETE, status, code, body)


def notice(name: str, body: Any, status: int = 400, code: str = "VALIDATION_ERROR") -> Bad:
    return Bad(f"notice: {name}", "POST", NOTIFY, status, code, body)


def details(name: str, **changed: Any) -> Bad:
    return notice(name, {"event_type": "REGISTER", "agent_details": {"agentId": "bad", **changed}})


def bodies(path: str) -> list[Bad]:
    """What no route takes as its body."""
    kinds = {"application/x-www-form-urlencoded": b"a=b", "text/plain": b"{}", YAML: b"a: 1", "": b"{}"}
    codes = {
        "broken": b'{"a": ',
        "empty": b"",
        "not UTF-8": b'{"a": "\xff"}',
        "deep": b'{"a":' * 65 + b"1" + b"}" * 65,
        "very deep": b"[" * 100_000,
        "duplicate keys": b'{"a": 1, "a": 2}',
        "NaN": b'{"a": NaN}',
        "2**63": b'{"a": 9223372036854775808}',
        "lone surrogate": b'{"a": "\\ud800"}',
        "a bare word": b"nul",
    }
    unsupported = (415, "UNSUPPORTED_MEDIA_TYPE")
    compressed = {"Content-Encoding": "gzip"}
    return [
        *[Bad(f"{path}: {name}", "POST", path, 400, "INVALID_JSON", body) for name, body in codes.items()],
        *[Bad(f"{path}: {name}", "POST", path, 400, "VALIDATION_ERROR", given) for name, given in VALUES.items()],
        *[Bad(f"{path}: as {kind!r}", "POST", path, *unsupported, body, kind=kind) for kind, body in kinds.items()],
        Bad(f"{path}: in UTF-16", "POST", path, *unsupported, b"{}", kind=f"{JSON}; charset=utf-16"),
        Bad(f"{path}: gzip", "POST", path, *unsupported, gzip.compress(b"{}"), compressed),
        Bad(f"{path}: gzip bomb", "POST", path, *unsupported, gzip.compress(b" " * 50_000_000), compressed),
        Bad(f"{path}: deflate", "POST", path, *unsupported, b"{}", {"Content-Encoding": "deflate"}),
        Bad(f"{path}: 2 MiB", "POST", path, 413, "TOO_LARGE", b" " * 2 * 1024 * 1024),
        *[
            Bad(f"{path}: {method}", method, path, 405, "METHOD_NOT_ALLOWED", b"{}")
            for method in ("PUT", "PATCH", "DELETE", "OPTIONS", *(() if path == STATE else ("GET",)))
        ],
    ]


def ids(path: str, method: str, status: int, code: str, body: Any = None) -> list[Bad]:
    """Ids that are none, in the place of ``*``."""
    names = ("unknown", "a%20b", "%00", "a%0Ab", "x" * 2_000, "%F0%9F%A4%96", "..%5C", "%ED%A0%80", "'--", "a;b", "%22")
    return [Bad(f"{path} of {one[:20]}", method, path.replace("*", one), status, code, body) for one in names]


VALUES = {"a list": [], "a number": 5, "text": "a", "true": True, "an empty object": {}}
TASK = {"taskId": "a"}

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
    *[query(f"version={text}", "/flows/f/graph") for text in ("", "0", "-1", "x", "1.5", "%D9%A3")],
    *[query(f"window={text}", "/overview") for text in ("", "59", "86401", "x", "1e3", "60.5", "%D9%A3", "9" * 30)],
    *[query(f"window={text}", "/performance") for text in ("", "59", "86401", "x")],
    *[query(f"by={text}", "/performance") for text in ("", "agents", "AGENT", "%00")],
    *[query(f"limit={text}", "/performance") for text in ("", "0", "501", "x")],
    query("q="),
    query("q=%00"),
    query(f"q={'x' * 201}"),
    Bad("flow: graph of an unknown one", "GET", "/flows/unknown/graph", 404, "FLOW_NOT_FOUND"),
    Bad("execution: why an unknown one", "GET", "/executions/unknown/explanation", 404, "EXECUTION_NOT_FOUND"),
    Bad("execution: GET of a bulk action", "GET", "/executions/cancel", 404, "EXECUTION_NOT_FOUND"),
    *[bad for bad in bodies("/executions/cancel") if bad.method == "POST"],
    *[
        Bad(f"execution: cancel {name}", "POST", "/executions/cancel", 400, "VALIDATION_ERROR", body)
        for name, body in {
            "nothing": {},
            "none": {"execution_ids": []},
            "too many": {"execution_ids": ["x"] * 501},
            "a text": {"execution_ids": "x"},
            "numbers": {"execution_ids": [1]},
            "null": {"execution_ids": [None]},
            "an empty id": {"execution_ids": [""]},
            "a long id": {"execution_ids": ["x" * 101]},
            "for a number": {"execution_ids": ["x"], "reason": 5},
            "a list": ["x"],
        }.items()
    ],
    Bad("path: nothing there", "GET", "/nothing", 404, "NOT_FOUND"),
    Bad("path: not that method", "PATCH", FLOWS, 405, "METHOD_NOT_ALLOWED"),
    host("foreign", "evil.example"),
    host("foreign with our port", "evil.example:8000"),
    host("rebinding", "127.0.0.1.evil.example"),
    host("malformed", "[::1"),
    origin("https://evil.example"),
    origin("null"),
    *bodies(STATE), *bodies(WORKFLOW), *bodies(COMPLETE), *bodies(NOTIFY),
    *ids(f"{DIALECT}/agent/*/state", "GET", 404, "AGENT_NOT_FOUND"),
    *ids(f"{DIALECT}/agent/*/workflow", "POST", 404, "AGENT_NOT_FOUND", {"workflowDefinitionId": "f"}),
    *ids(f"{DIALECT}/session/*", "GET", 404, "EXECUTION_NOT_FOUND"),
    *ids(f"{DIALECT}/task/*/complete", "POST", 404, "TASK_NOT_FOUND", {"status": "success"}),
    *ids(f"{DIALECT}/task/a:*/complete", "POST", 404, "TASK_NOT_FOUND", {"status": "error"}),
    *ids("/agents/*/history", "GET", 404, "AGENT_NOT_FOUND"),
    Bad("session: not that method", "POST", f"{DIALECT}/session/a", 405, "METHOD_NOT_ALLOWED", {}),
    Bad("history: not that method", "POST", HISTORY, 405, "METHOD_NOT_ALLOWED", {}),
    Bad("dialect: nothing there", "GET", f"{DIALECT}/agents", 404, "NOT_FOUND"),
    Bad("dialect: not under the other face", "GET", f"/api{STATE}", 404, "NOT_FOUND"),
    Bad("dialect: a slash too many", "GET", f"{STATE}/", 404, "NOT_FOUND"),
    Bad("dialect: a slash in the id", "GET", f"{DIALECT}/agent/a%2Fb/state", 404, "AGENT_NOT_FOUND"),
    Bad("dialect: no id", "GET", f"{DIALECT}/agent//state", 404, "NOT_FOUND"),
    Bad("dialect: foreign origin", "POST", NOTIFY, 403, "FORBIDDEN", {}, {"Origin": "https://evil.example"}),
    Bad("dialect: foreign host", "POST", STATE, 403, "FORBIDDEN", {}, {"Host": "evil.example"}),
    state("of an agent that is not there", 400, agentId="unknown"),
    state("no agent", agentId=...),
    state("agent of a wrong type", agentId=5),
    state("agent null", agentId=None),
    state("agent with a newline", agentId="echo\n"),
    state("agent with NUL", agentId="echo\x00"),
    state("no timestamp", timestamp=...),
    state("no state", state=...),
    state("unknown", state="unknown"),
    state("in capitals", state="IDLE"),
    state("with a space", state=" idle"),
    state("another word", state="busy"),
    state("of a wrong type", state=1),
    state("null", state=None),
    state("a list", state=["idle"]),
    state("an object", state={"idle": 1}),
    state("details are text", details="x"),
    state("details are a list", details=[]),
    state("details are a number", details=0),
    state("details are false", details=False),
    *[at(value) for value in (None, 5, 1.5, True, [], {}, "", "now", "12:00", "1700000000", "2026-02-30T00:00:00Z")],
    *[at(value) for value in ("2026-01-31T12:00:00+25:00", "2026-01-31T12:00:60Z", "2026-13-01", "\x00", "9" * 5000)],
    *[at(value) for value in ("10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+00:01")],
    *[at(value) for value in ("0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "+12026-01-31T12:00:00Z")],
    trigger("neither", {"initialPayload": {}}),
    trigger("both", {"workflowDefinitionId": "f", "workflowDefinition": {"id": "bad", "tasks": []}}),
    trigger("id of a wrong type", {"workflowDefinitionId": 5}),
    trigger("id with a slash", {"workflowDefinitionId": "../f"}),
    trigger("id with NUL", {"workflowDefinitionId": "f\x00"}),
    trigger("id too long", {"workflowDefinitionId": "f" * 101}),
    trigger("unknown id", {"workflowDefinitionId": "unknown"}, 404, "FLOW_NOT_FOUND"),
    trigger("definition is text", {"workflowDefinition": "f"}),
    trigger("definition is a list", {"workflowDefinition": []}),
    trigger("payload is text", {"workflowDefinitionId": "f", "initialPayload": "x"}),
    trigger("payload is a list", {"workflowDefinitionId": "f", "initialPayload": []}),
    trigger("key too long", {"workflowDefinitionId": "f"}, headers={"Idempotency-Key": "k" * 256}),
    trigger("key not ASCII", {"workflowDefinitionId": "f"}, headers={"Idempotency-Key": "k\u00e9"}),
    trigger("empty definition", {"workflowDefinition": {}}, code="INVALID_FLOW"),
    trigger("a flow", {"workflowDefinition": {"flow_id": "bad", "nodes": [NODE]}}, code="INVALID_FLOW"),
    tasks("no id", TASK, id=None),
    tasks("id of a wrong type", TASK, id=7),
    tasks("id with NUL", TASK, id="a\x00"),
    tasks("id of two lines", TASK, id="a\n"),
    tasks("name of a wrong type", TASK, name=["W"]),
    tasks("description of a wrong type", TASK, description=5),
    tasks("version of a wrong type", TASK, version=2),
    tasks("metadata of a wrong type", TASK, metadata="m"),
    tasks("tasks are an object", tasks={}),
    tasks("tasks are null", tasks=None),
    tasks("tasks are text", tasks="ab"),
    tasks("a task is text", "a"),
    tasks("a task is null", None),
    tasks("a task is a list", [TASK]),
    tasks("no taskId", {}),
    tasks("taskId of a wrong type", {"taskId": 1}),
    tasks("taskId is a list", {"taskId": ["a"]}),
    tasks("taskId with a colon", {"taskId": "a:b"}),
    tasks("taskId twice", TASK, TASK),
    tasks("unknown next", {**TASK, "nextTaskId": "z"}),
    tasks("next is a list", {**TASK, "nextTaskId": ["a"]}),
    tasks("next is an object", {**TASK, "nextTaskId": {}}),
    tasks("next is empty", {**TASK, "nextTaskId": ""}),
    tasks("next is itself", {**TASK, "nextTaskId": "a"}),
    tasks("a circle", {**TASK, "nextTaskId": "b"}, {"taskId": "b", "nextTaskId": "a"}),
    tasks("a circle after the first", TASK, {"taskId": "b", "nextTaskId": "c"}, {"taskId": "c", "nextTaskId": "b"}),
    tasks("one is never reached", {**TASK, "nextTaskId": "c"}, {"taskId": "b"}, {"taskId": "c"}),
    tasks("1,001 tasks", *[{"taskId": f"t{n}"} for n in range(1001)]),
    tasks("1,001 times the same", *[TASK] * 1001),
    tasks("1,000 times the same", *[TASK] * 1000),
    tasks("over 256 KiB", {**TASK, "parameters": {"a": "x" * 300_000}}),
    tasks("nearly a field", {**TASK, "parameter": {}}),
    tasks("agent of a wrong type", {**TASK, "agentId": 5}),
    tasks("agent with spaces", {**TASK, "agentId": "a b"}),
    tasks("capability of a wrong type", {**TASK, "agentCapability": ["x"]}),
    tasks("no capability", {**TASK, "agentCapability": ""}),
    tasks("parameters are a list", {**TASK, "parameters": []}),
    tasks("parameters are text", {**TASK, "parameters": "x"}),
    *[tasks(f"maxRetries {value!r}", {**TASK, "maxRetries": value}) for value in (-1, True, 1e9, 10**9, 1.5, "1", [])],
    *[tasks(f"timeoutSeconds {value!r}", {**TASK, "timeoutSeconds": value}) for value in (0, -1, "5", True, 1e12, [])],
    tasks("fallback output is text", {**TASK, "fallbackOutput": "x"}),
    tasks("fallback agent with spaces", {**TASK, "fallbackAgentId": "a b"}),
    complete("no status", {"output": {}}),
    complete("another status", {"status": "done"}),
    complete("status in capitals", {"status": "SUCCESS"}),
    complete("status of a wrong type", {"status": 1}),
    complete("status null", {"status": None}),
    complete("status is a list", {"status": ["success"]}),
    complete("unknown task", {"status": "success", "output": {"a": "x" * 500_000}}, 404, "TASK_NOT_FOUND"),
    complete("unknown task failed", {"status": "error", "error": {"message": 5}}, 404, "TASK_NOT_FOUND"),
    notice("no event", {"agent_details": {"agentId": "bad"}}),
    notice("another event", {"event_type": "UPDATE", "agent_details": {"agentId": "bad"}}),
    notice("event in small letters", {"event_type": "register", "agent_details": {"agentId": "bad"}}),
    notice("event of a wrong type", {"event_type": ["REGISTER"], "agent_details": {"agentId": "bad"}}),
    notice("no details", {"event_type": "REGISTER"}),
    notice("details are null", {"event_type": "REGISTER", "agent_details": None}),
    notice("details are a list", {"event_type": "REGISTER", "agent_details": []}),
    notice("details are text", {"event_type": "DEREGISTER", "agent_details": "bad"}),
    details("no id", agentId=None),
    details("id of a wrong type", agentId=5),
    details("id with a slash", agentId="a/b"),
    details("id with NUL", agentId="a\x00"),
    details("id too long", agentId="a" * 101),
    details("name of a wrong type", agentName={}),
    details("name too long", agentName="x" * 201),
    details("version of a wrong type", version=1.5),
    details("version too long", version="1" * 101),
    details("capabilities are text", capabilities="all"),
    details("capabilities are numbers", capabilities=[1]),
    details("too many capabilities", capabilities=["x"] * 201),
    details("a capability too long", capabilities=["x" * 201]),
    details("endpoint of a wrong type", contactEndpoint=5),
    details("endpoint too long", contactEndpoint="http://127.0.0.1/" + "x" * 2000),
    details("endpoint without a host", contactEndpoint="http://"),
    details("endpoint with a secret", contactEndpoint="http://user:secret@127.0.0.1:1"),
    details("endpoint in a forbidden network", contactEndpoint="http://169.254.169.254/latest"),
    details("endpoint with a bad port", contactEndpoint="http://127.0.0.1:99999/"),
    details("endpoint with a broken host", contactEndpoint="http://[::1"),
    details("metadata is text", metadata="m"),
    details("metadata is a list", metadata=[]),
    *[query(f"cursor={text}", HISTORY) for text in ("", "x", "%21%21", "%FF%FE", "MQ", "MS4", "LjE", "MS4tMQ")],
    *[query(f"cursor={text}", HISTORY) for text in ("MS4x=", "MS4x%0A", "MS4y\u0663", "a" * 500, "OTk5" * 20)],
    *[query(f"limit={text}", HISTORY) for text in ("0", "501", "-1", "1.5", "many", "", "%D9%A3", "1" * 30)],
    *[query(f"state={text}", path) for text in ("", "busy", "IDLE", "%00") for path in (AGENTS, f"{AGENTS}/active")],
]  # fmt: skip


PROBLEM = ("type", "title", "status", "detail", "message", "error_code", "details")


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
    """Each row gets its status and code as a whole problem, on both faces; nothing came of it, and all is well."""
    assert len(TABLE) >= 60
    wrong = []

    async def echo(given: dict[str, Any]) -> dict[str, Any]:
        return given

    async with open_client(local_agents={"echo": echo}) as client:
        async with client.post(FLOWS, json={"flow_id": "f", "nodes": [NODE]}) as stored:
            assert stored.status == 201
        for bad in TABLE:
            for prefix in ("",) if bad.path.startswith(("/v1/", "/api/")) else ("", "/api/v1"):
                status, body, headers = await _send(client, bad, prefix)
                shape = {*PROBLEM, "request_id", "trace_id"}
                if (status, body.get("error_code")) != (bad.status, bad.code) or body.keys() != shape:
                    wrong.append((prefix + bad.name, status, body))
                assert headers["Content-Type"].startswith("application/problem+json"), bad.name
                assert headers["X-Request-ID"] == body["request_id"]
                assert headers["X-Trace-ID"] == body["trace_id"]
                assert ("Allow" in headers) == (status == 405), bad.name
        assert not wrong
        for listed, count in (("agents", 1), ("flows", 1), ("executions", 0)):
            async with client.get(f"/{listed}") as answer:
                assert (await answer.json())["count"] == count
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
