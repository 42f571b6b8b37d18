from __future__ import annotations

import copy
import json
import pickle
from typing import Any, Callable

import orjson
import pytest

from opscore_sdk import ExecutionError, models
from opscore_sdk.models import AgentState, Event, Execution, ExecutionPage, Session

DATA: dict[str, Any] = {
    "execution_id": "e",
    "status": "running",
    "waiting": [{"node_id": "n", "reason": "retry"}],
    "metadata": {"k": "v"},
    "brand_new": 5,
}


def test_a_field_is_a_key_and_an_attribute() -> None:
    """``execution["status"]`` and ``execution.status`` are the same; ``get`` and ``in`` work."""
    execution = Execution(DATA)
    assert execution["status"] == execution.status == execution.get("status") == "running"
    assert "status" in execution
    assert execution.get("nothing", 1) == 1
    assert list(execution) == list(DATA)


def test_a_model_is_the_dictionary_that_came() -> None:
    """It equals it, is one, unpacks as one and is written as JSON as one."""
    execution = Execution(DATA)
    assert execution == DATA
    assert isinstance(execution, dict)
    assert {**execution} == dict(execution) == DATA
    assert json.loads(json.dumps(execution)) == orjson.loads(orjson.dumps(execution)) == DATA


def test_fields_that_the_server_adds_later_are_there() -> None:
    """An unknown field is an attribute as well; a known one that was not sent is None."""
    execution: Any = Execution(DATA)
    assert execution.brand_new == 5
    assert execution.completed_at is None


def test_a_misspelt_attribute_is_an_error() -> None:
    """The error names the fields there are."""
    execution: Any = Execution(DATA)
    with pytest.raises(AttributeError, match=r"'stauts'.*status"):
        _ = execution.stauts


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.__setitem__("status", "x"), lambda one: one.__delitem__("status"), lambda one: one.clear(),
        lambda one: one.pop("status"), lambda one: one.popitem(), lambda one: one.setdefault("a", 1),
        lambda one: one.update(a=1), lambda one: one.__ior__({"a": 1}),
        lambda one: setattr(one, "status", "x"), lambda one: delattr(one, "status"),
    ],
)  # fmt: skip
def test_a_model_cannot_be_changed(change: Callable[[Any], object]) -> None:
    """Every way to change a dictionary or an attribute is refused, and says what to do instead."""
    execution = Execution(DATA)
    with pytest.raises((TypeError, AttributeError), match=r"Execution cannot be changed; dict\(...\)"):
        change(execution)
    assert execution == DATA


def test_a_copy_may_be_changed() -> None:
    """``dict(model)`` and ``model | {...}`` are plain dictionaries."""
    changed = dict(Execution(DATA))
    changed["status"] = "x"
    assert type(Execution(DATA).copy()) is dict
    assert Execution(DATA).status == "running"


def test_models_survive_pickling_and_copying() -> None:
    """They come back as what they were."""
    execution = Execution(DATA)
    for again in (pickle.loads(pickle.dumps(execution)), copy.copy(execution), copy.deepcopy(execution)):
        assert type(again) is Execution
        assert again == DATA


def test_nested_objects_are_models_when_asked_for() -> None:
    """By attribute they are typed models, by key the plain data."""
    execution = Execution(DATA)
    assert execution.waiting[0].reason == "retry"
    assert type(execution["waiting"][0]) is dict
    assert Execution({}).waiting == []
    page = ExecutionPage({"executions": [DATA], "count": 1})
    assert page.executions[0].execution_id == "e"
    assert page.next_cursor is None


def test_camel_case_has_snake_case_beside_it() -> None:
    """Models of the Ops-Core dialect are read by the wire's names and by Python's."""
    state = AgentState({"agentId": "a", "state": "idle", "details": None, "timestamp": "t"})
    assert state.agentId == state.agent_id == state["agentId"] == "a"
    session = Session({"sessionId": "s", "status": "failed", "tasks": [{"taskId": "t", "opscoreTaskId": "s:t"}]})
    assert (session.session_id, session.end_time, session.is_final) == ("s", None, True)
    assert (session.tasks[0].task_id, session.tasks[0].opscore_task_id) == ("t", "s:t")


def test_an_execution_says_how_it_ended() -> None:
    """Final or not, successful or not, and an error for those who want one."""
    assert not Execution(DATA).is_final
    done = Execution({**DATA, "status": "completed"})
    assert done.is_final
    assert done.is_successful
    assert done.raise_for_status() is done
    failed = Execution({**DATA, "status": "failed", "error_message": "boom"})
    with pytest.raises(ExecutionError, match="Execution e failed: boom") as raised:
        failed.raise_for_status()
    assert raised.value.execution is failed


def test_an_event_knows_whether_it_is_the_last() -> None:
    """Terminal events are those of an execution's end, not of a node's."""
    assert Event({"type": "execution.cancelled"}).is_terminal
    assert not Event({"type": "node.completed"}).is_terminal


def test_models_are_shown_with_their_name_and_fields() -> None:
    """``repr`` and completion help at a prompt."""
    assert repr(Event({"seq": 1})) == "Event({'seq': 1})"
    assert {"status", "brand_new", "waiting"} <= set(dir(Execution(DATA)))


def test_every_model_is_documented_and_has_no_dictionary_of_its_own() -> None:
    """A model costs no more than the dictionary it is."""
    found = [one for one in vars(models).values() if isinstance(one, type) and issubclass(one, models.Model)]
    assert len(found) > 20
    for model in found:
        assert model.__doc__
        assert not hasattr(model({}), "__dict__"), model
