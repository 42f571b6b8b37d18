from __future__ import annotations

from typing import Any, Awaitable, Callable

import pytest
from aioresponses import aioresponses

from opscore_sdk import OpsCoreClientAsync, OpsCoreConfigurationError, ValidationError

Call = Callable[[OpsCoreClientAsync], Awaitable[Any]]

WRONG: list[tuple[str, Call, str]] = [
    ("flow_id", lambda c: c.get_flow(""), "must be 1 to 100 letters"),
    ("flow_id", lambda c: c.get_flow(5), "must be text, not int"),  # type: ignore[arg-type]
    ("flow_id", lambda c: c.execute_flow("a b"), "not 'a b'"),
    ("flow_id", lambda c: c.delete_flow("../x"), "letters"),
    ("flow_id", lambda c: c.update_flow("ä", {}), "letters"),
    ("flow_id", lambda c: c.list_flow_versions("x" * 101), "1 to 100"),
    ("flow_id", lambda c: c.list_executions(flow_id=""), "letters"),  # type: ignore[arg-type,return-value]
    ("input_data", lambda c: c.execute_flow("f", [1]), "must be a dictionary, not list"),  # type: ignore[arg-type]
    ("metadata", lambda c: c.execute_flow("f", {}, "x"), "must be a dictionary"),  # type: ignore[arg-type]
    ("priority", lambda c: c.execute_flow("f", priority=11), "whole number from 0 to 10, not 11"),
    ("priority", lambda c: c.execute_flow("f", priority=True), "whole number"),
    ("timeout", lambda c: c.execute_flow("f", timeout=0), "above 0"),
    ("timeout", lambda c: c.get_flow("f", timeout=-1), "above 0"),
    ("timeout", lambda c: c.get_flow("f", timeout=float("nan")), "above 0"),
    ("timeout", lambda c: c.wait_for_execution("e", 0), "above 0"),
    ("timeout", lambda c: c.execute_and_wait("f", timeout=-1), "above 0"),
    ("interval", lambda c: c.wait_for_execution("e", interval=0), "above 0"),
    ("wait", lambda c: c.execute_flow("f", wait=-1), "from 0"),
    ("idempotency_key", lambda c: c.execute_flow("f", idempotency_key=""), "printable ASCII"),
    ("idempotency_key", lambda c: c.trigger_workflow("a", "w", idempotency_key="ä"), "printable ASCII"),
    ("flow_version", lambda c: c.execute_flow("f", flow_version=0), "from 1"),
    ("version", lambda c: c.get_flow("f", 0), "from 1"),
    ("execution_id", lambda c: c.get_execution(""), "letters"),
    ("execution_id", lambda c: c.cancel_execution("a/b"), "letters"),
    ("execution_id", lambda c: c.get_execution_results(None), "must be text"),  # type: ignore[arg-type]
    ("execution_id", lambda c: c.stream_events(""), "letters"),  # type: ignore[arg-type,return-value]
    ("after", lambda c: c.stream_events("e", after=-1), "from 0"),  # type: ignore[arg-type,return-value]
    ("message_id", lambda c: c.get_message(""), "not empty"),
    ("status", lambda c: c.list_executions(status="done"), "pending, running"),  # type: ignore[arg-type,return-value]
    ("limit", lambda c: c.list_executions(limit=0), "1 to 500"),  # type: ignore[arg-type,return-value]
    ("limit", lambda c: c.get_agent_history("a", limit=501), "1 to 500"),
    ("state", lambda c: c.update_state("a", "sleeping"), "initializing, idle"),
    ("state", lambda c: c.list_agents(state="x"), "unknown, initializing"),
    ("details", lambda c: c.update_state("a", "idle", "x"), "dictionary"),  # type: ignore[arg-type]
    ("agent_id", lambda c: c.create_agent(""), "letters"),
    ("agent_id", lambda c: c.create_agent({"name": "x"}), "must be text"),
    ("agent_id", lambda c: c.create_agent(5), "must be a dictionary"),  # type: ignore[arg-type]
    ("agent_id", lambda c: c.delete_agent(""), "letters"),
    ("capabilities", lambda c: c.create_agent("a", capabilities="x"), "list of texts"),
    ("max_concurrency", lambda c: c.create_agent("a", max_concurrency=0), "from 1"),
    ("endpoint", lambda c: c.test_agent(" "), "not empty"),
    ("workflow_definition_id", lambda c: c.trigger_workflow("a"), "and not both"),
    ("workflow_definition_id", lambda c: c.trigger_workflow("a", "w", workflow_definition={}), "and not both"),
    ("initial_payload", lambda c: c.trigger_workflow("a", "w", [1]), "dictionary"),  # type: ignore[arg-type]
    ("session_id", lambda c: c.wait_for_session(""), "letters"),
    ("status", lambda c: c.complete_task("t", "done"), "success, error"),
    ("task_id", lambda c: c.complete_task(""), "not empty"),
    ("scopes", lambda c: c.create_key("k", ["all"]), "read, write, admin"),
    ("name", lambda c: c.create_key(""), "not empty"),
    ("key_id", lambda c: c.revoke_key(""), "not empty"),
    ("execution_ids", lambda c: c.cancel_executions([]), "1 to 500 ids"),
    ("execution_ids", lambda c: c.cancel_executions("0190"), "1 to 500 ids"),
    ("execution_ids", lambda c: c.cancel_executions(["e"] * 501), "1 to 500 ids"),
    ("execution_ids", lambda c: c.cancel_executions(["a/b"]), "letters"),
    ("q", lambda c: c.list_executions(q=" "), "not empty"),  # type: ignore[arg-type,return-value]
    ("agent_id", lambda c: c.list_events(agent_id="a b"), "letters"),  # type: ignore[arg-type,return-value]
    ("types", lambda c: c.list_events(types=["node.failed", ""]), "not empty"),  # type: ignore[arg-type,return-value]
    ("after", lambda c: c.list_events(after=-1), "from 0"),  # type: ignore[arg-type,return-value]
    ("after", lambda c: c.stream_all_events(after=-1), "from 0"),  # type: ignore[arg-type,return-value]
    ("level", lambda c: c.list_logs(level="loud"), "debug, info"),  # type: ignore[arg-type,return-value]
    ("limit", lambda c: c.list_logs(limit=501), "1 to 500"),  # type: ignore[arg-type,return-value]
    ("node_id", lambda c: c.stream_logs(node_id="a b"), "letters"),  # type: ignore[arg-type,return-value]
    ("trace_id", lambda c: c.stream_logs(trace_id=""), "not empty"),  # type: ignore[arg-type,return-value]
    ("window", lambda c: c.get_overview(0), "from 1"),
    ("execution_id", lambda c: c.explain_execution(""), "letters"),
    ("by", lambda c: c.get_performance("day"), "agent, flow, node"),
    ("window", lambda c: c.get_performance(window=1.5), "whole number"),  # type: ignore[arg-type]
    ("flow_id", lambda c: c.get_flow_graph("a b"), "letters"),
]


@pytest.mark.parametrize(("name", "call", "text"), WRONG, ids=[f"{at}-{row[0]}" for at, row in enumerate(WRONG)])
async def test_wrong_arguments_are_refused_before_anything_is_sent(name: str, call: Call, text: str) -> None:
    """The error names the argument and what would be right; it is a ValueError too."""
    with aioresponses() as server:
        async with OpsCoreClientAsync("http://ops.test", "") as client:
            with pytest.raises(ValidationError, match=text) as refused:
                await call(client)
        assert not server.requests
    assert list(refused.value.field_errors) == [name]
    assert (refused.value.error_code, refused.value.request_id) == ("INVALID_ARGUMENT", None)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout"), ({"timeout": "5"}, "timeout"), ({"timeout": float("inf")}, "timeout"),
        ({"max_retries": -1}, "max_retries"), ({"max_retries": 1.5}, "max_retries"),
        ({"total_timeout": 0}, "total_timeout"), ({"api_key": "a b"}, "API key"), ({"base_url": "x"}, "address"),
    ],
)  # fmt: skip
def test_a_client_that_could_not_work_is_not_made(options: dict[str, Any], text: str) -> None:
    """The error names the setting; it is a ValueError too."""
    with pytest.raises(OpsCoreConfigurationError, match=text):
        OpsCoreClientAsync(**options)


def test_the_environment_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPSCORE_API_URL`` and ``OPSCORE_API_KEY`` are read when a client is made; an empty key sends none."""
    monkeypatch.setenv("OPSCORE_API_URL", "http://from.env")
    monkeypatch.setenv("OPSCORE_API_KEY", "sk_env")
    client = OpsCoreClientAsync()
    assert client.base_url == "http://from.env"
    assert client._transport.options.headers == {"Authorization": "Bearer sk_env"}
    assert OpsCoreClientAsync(api_key="")._transport.options.headers == {}
    assert "sk_env" not in repr(client)
