from __future__ import annotations

import builtins
import copy
import pickle
from typing import Any

import pytest

import opscore_sdk
from opscore_sdk import errors, exceptions
from opscore_sdk.errors import kind_of
from opscore_sdk.models import Execution

FAILED = Execution({"execution_id": "e", "status": "failed", "error_message": "boom", "error_code": "AGENT_ERROR"})
ONE_OF_EACH: list[Exception] = [
    errors.OpsCoreSDKError("text", {"a": 1}),
    errors.OpsCoreConfigurationError("text"),
    errors.OpsCoreApiError("text", 418, "body", {"f": ["x"]}, error_code="TEAPOT", request_id="r", retry_after=2.0),
    errors.ValidationError("text", 422, details={"f": ["x"]}),
    errors.RateLimitError("text", retry_after=3.0),
    errors.ConnectionError("text"),
    errors.TimeoutError("text", 5.0),
    errors.ExecutionError("text", execution=FAILED),
]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "ValidationError"), (401, "AuthenticationError"), (402, "InsufficientCreditsError"),
        (403, "PermissionDeniedError"), (404, "NotFoundError"), (405, "OpsCoreApiError"), (409, "ConflictError"),
        (413, "ValidationError"), (415, "ValidationError"), (422, "ValidationError"), (429, "RateLimitError"),
        (500, "ServerError"), (503, "ServerError"), (507, "ServerError"),
    ],
)  # fmt: skip
def test_each_status_has_its_class(status: int, name: str) -> None:
    """The class of a refusal says what it is about."""
    assert kind_of(status).__name__ == name
    assert issubclass(kind_of(status), errors.OpsCoreApiError)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling_and_copying(error: Exception) -> None:
    """An error from another process has all that it had there."""
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


def test_the_names_of_both_sdks_are_there() -> None:
    """What users of the AI Spine and Ops-Core SDKs catch is the same class under another name."""
    assert opscore_sdk.AISpineError is opscore_sdk.OpsCoreSDKError
    assert opscore_sdk.APIError is opscore_sdk.OpsCoreApiError
    assert opscore_sdk.NetworkError is opscore_sdk.ConnectionError is opscore_sdk.OpsCoreConnectionError
    assert opscore_sdk.TimeoutError is opscore_sdk.OpsCoreTimeoutError
    assert {name: getattr(exceptions, name) for name in exceptions.__all__}.items() <= vars(opscore_sdk).items()


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (errors.ValidationError, ValueError), (errors.OpsCoreConfigurationError, ValueError),
        (errors.ConnectionError, builtins.ConnectionError), (errors.TimeoutError, builtins.TimeoutError),
        (errors.TimeoutError, errors.ConnectionError), (errors.PermissionDeniedError, errors.AuthenticationError),
    ],
)  # fmt: skip
def test_errors_are_caught_as_users_expect(error: type[Exception], caught: type[Exception]) -> None:
    """Python's own names and those of the older SDKs catch them, and so does the base."""
    with pytest.raises(caught):
        raise error("text")
    assert issubclass(error, errors.OpsCoreSDKError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class is drawn, below its parent."""
    drawn: list[tuple[int, str]] = []
    for line in str(errors.__doc__).splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        if name.endswith("Error") and isinstance(getattr(errors, name, None), type):
            drawn.append((line.index(name) // 4, name))
    parents: dict[int, str] = {}
    for depth, name in drawn:
        parents[depth] = name
        if depth:
            assert getattr(errors, parents[depth - 1]) in getattr(errors, name).__mro__[1:], name
    classes = {one.__name__ for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)}
    assert {name for _, name in drawn} == classes


def test_a_refusal_says_all_that_the_server_said() -> None:
    """Status, code, sentence, fields, request id and delay, under the names of all SDKs."""
    error: Any = ONE_OF_EACH[2]
    assert (error.status, error.status_code) == (418, 418)
    assert (error.error_code, error.code) == ("TEAPOT", "TEAPOT")
    assert (error.detail, error.message, str(error)) == ("text", "text", "text (418 TEAPOT)")
    assert (error.details, error.field_errors) == ({"f": ["x"]}, {"f": ["x"]})
    assert (error.request_id, error.retry_after, error.response_body) == ("r", 2.0, "body")


def test_an_execution_error_has_its_execution() -> None:
    """Id, status, code and the execution itself; as details too, as AI Spine's users read it."""
    error = errors.ExecutionError("text", execution=FAILED)
    assert (error.execution_id, error.status, error.error_code) == ("e", "failed", "AGENT_ERROR")
    assert error.execution == FAILED == error.details
    bare = errors.ExecutionError("text", "e")
    assert (bare.execution_id, bare.status, bare.error_code, bare.details) == ("e", None, None, {})


def test_credits_are_an_error_of_their_own() -> None:
    """AI Spine's refusal for want of credits says what is needed and what is left."""
    assert kind_of(403, "INSUFFICIENT_CREDITS") is errors.InsufficientCreditsError
    error = errors.InsufficientCreditsError("none left", details={"credits_needed": 2, "credits_available": 1})
    assert (error.status, error.credits_needed, error.credits_available) == (403, 2, 1)
