from __future__ import annotations

import inspect
from typing import Any, Iterator

import pytest

from opscore_sdk import (
    AISpine,
    AISpineError,
    AsyncAISpine,
    ExecutionError,
    NotFoundError,
    OpsCoreSDKError,
)
from opscore_sdk import TimeoutError as TooLate
from opscore_sdk.testing import FakeOpsCore

KEY = "sk_spine_test"
KNOWN = {
    "__init__": ["self", "api_key", "base_url", "timeout", "max_retries", "debug"],
    "cancel_execution": ["self", "execution_id"],
    "check_credits": ["self"],
    "check_user_api_key": ["self", "user_id"],
    "close": ["self"],
    "create_agent": ["self", "agent_config"],
    "delete_agent": ["self", "agent_id"],
    "execute_and_wait": ["self", "flow_id", "input_data", "metadata", "timeout", "interval"],
    "execute_flow": ["self", "flow_id", "input_data", "metadata"],
    "generate_user_api_key": ["self", "user_id"],
    "get_current_user": ["self"],
    "get_execution": ["self", "execution_id"],
    "get_flow": ["self", "flow_id"],
    "get_metrics": ["self"],
    "get_status": ["self"],
    "health_check": ["self"],
    "list_agents": ["self"],
    "list_flows": ["self"],
    "revoke_user_api_key": ["self", "user_id"],
    "wait_for_execution": ["self", "execution_id", "timeout", "interval"],
}
"""The parameters of ai-spine-sdk 2.3.1, in their order."""


@pytest.fixture
def fake() -> Iterator[FakeOpsCore]:
    with FakeOpsCore(KEY) as running:
        running.on_flow("hello", lambda given: {"greeting": f"Hello {given['name']}"})
        running.fail_flow("broken", "The agent is on strike.")
        running.on_flow("held", {}, held=True)
        yield running


@pytest.fixture
def client(fake: FakeOpsCore) -> Iterator[AISpine]:
    with AISpine(KEY, fake.url, 5, 0) as opened:
        yield opened


@pytest.mark.parametrize("kind", [AISpine, AsyncAISpine])
@pytest.mark.parametrize("name", KNOWN)
def test_known_methods_take_known_arguments(kind: type, name: str) -> None:
    """Every method takes what that SDK takes, by place and by name, and needs no more."""
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert list(parameters)[: len(KNOWN[name])] == KNOWN[name]
    more = list(parameters.values())[len(KNOWN[name]) :]
    assert all(one.default is not one.empty or one.kind is one.VAR_KEYWORD for one in more)


@pytest.mark.parametrize("name", sorted(name for name in dir(AsyncAISpine) if not name.startswith("_")))
def test_both_faces_of_a_method_are_the_same(name: str) -> None:
    """Parameters and annotations of both clients are the same."""
    original, borrowed = getattr(AsyncAISpine, name), getattr(AISpine, name)
    if not isinstance(original, property):
        assert inspect.signature(original).parameters == inspect.signature(borrowed).parameters
        assert (borrowed.__name__, bool(borrowed.__doc__)) == (name, True)


def test_the_published_names_are_all_there() -> None:
    """What the installed SDK can do, this one can, with the same parameters in the same places."""
    published = pytest.importorskip("ai_spine").AISpine
    names = [name for name in dir(published) if not name.startswith("_")]
    assert {*names, "__init__"} == KNOWN.keys()
    for name, parameters in KNOWN.items():
        assert list(inspect.signature(getattr(published, name)).parameters) == parameters


def test_where_it_goes_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default to AI Spine, without a key; what the environment has for Ops-Core is not sent there."""
    monkeypatch.setenv("OPSCORE_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OPSCORE_API_KEY", "sk_for_another")
    for client in (AISpine(), AsyncAISpine()):
        assert client.base_url == "https://ai-spine-api-production.up.railway.app"
        inner: Any = getattr(client, "_aio", client)
        assert "Authorization" not in inner._transport.options.headers


def test_a_flow_as_they_run_it(client: AISpine) -> None:
    """Start, look, wait and list as in that SDK's documentation; answers are dictionaries and lists of them."""
    started = client.execute_flow("hello", {"name": "Ada"}, {"customer": "acme"})
    done = client.wait_for_execution(started["execution_id"], 10, 1)
    assert (done["status"], done["output_data"]) == ("completed", {"greeting": "Hello Ada"})
    assert client.execute_and_wait("hello", {"name": "Bo"}, None, 10, 1)["output_data"] == {"greeting": "Hello Bo"}
    assert sorted(flow["flow_id"] for flow in client.list_flows()) == ["broken", "held", "hello"]
    assert client.create_agent(agent_config={"agent_id": "a", "endpoint": "http://127.0.0.1:9"})["agent_id"] == "a"
    assert [agent["agent_id"] for agent in client.list_agents()] == ["a"]
    assert (client.delete_agent("a"), client.delete_agent("a")) == (True, False)
    with pytest.raises(NotFoundError):
        client.get_flow("nothing")


def test_a_failed_execution_is_an_error(client: AISpine) -> None:
    """Waiting for it raises with its message, its id and itself; those who want no error get the execution."""
    with pytest.raises(ExecutionError) as failed:
        client.execute_and_wait("broken", {})
    assert str(failed.value) == "The agent is on strike."
    assert failed.value.execution_id == failed.value.details["execution_id"]
    with pytest.raises(AISpineError):
        client.wait_for_execution(str(failed.value.execution_id))
    assert client.execute_and_wait("broken", raise_on_failure=False).status == "failed"


def test_a_cancelled_execution_is_none(client: AISpine) -> None:
    """Waiting for it returns it; waiting for one that does not end has a limit."""
    held = client.execute_flow("held", {})
    with pytest.raises(TooLate) as late:
        client.wait_for_execution(held["execution_id"], timeout=0.05)
    assert late.value.timeout == 0.05
    client.cancel_execution(held["execution_id"])
    assert client.wait_for_execution(held["execution_id"])["status"] == "cancelled"


async def test_the_asynchronous_client_does_the_same(fake: FakeOpsCore) -> None:
    """Lists are lists, failures are errors, and the options of its base work."""
    async with AsyncAISpine(KEY, fake.url) as client:
        assert len(await client.with_options(timeout=3).list_flows()) == 3
        with pytest.raises(ExecutionError, match="strike"):
            await client.execute_and_wait("broken")
        with pytest.raises(OpsCoreSDKError, match="no credits"):
            await client.check_credits()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_current_user", ()),
        ("check_credits", ()),
        ("check_user_api_key", ("u",)),
        ("generate_user_api_key", ("u",)),
        ("revoke_user_api_key", ("u",)),
    ],
)
def test_what_there_is_not_says_so(client: AISpine, name: str, arguments: tuple[str, ...]) -> None:
    """Users and credits, which Ops-Core has not, are refused with the reason, and nothing is sent."""
    with pytest.raises(AISpineError, match=f"Ops-Core has no {name}: it"):
        getattr(client, name)(*arguments)
