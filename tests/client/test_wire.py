from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opscore_sdk import errors
from opscore_sdk.definitions import definition_body
from opscore_sdk.models import Execution
from opscore_sdk.wire import base_address, credentials, encoded, read, request


@given(st.text(min_size=1))
def test_an_id_can_never_change_the_path(segment: str) -> None:
    """Whatever a segment holds stays one segment and comes back as it was."""
    try:
        segment.encode()
    except UnicodeEncodeError:
        return
    path = request("GET", "flows", segment, "versions").path
    assert path.startswith("/api/v1/flows/")
    assert path.endswith("/versions")
    middle = path[len("/api/v1/flows/") : -len("/versions")]
    assert "/" not in middle
    assert "?" not in middle
    assert middle not in (".", "..")
    assert unquote(middle) == segment


def test_parameters_that_were_not_given_are_not_sent() -> None:
    """None leaves a parameter or header out; instants are sent in UTC, truth values in lower case."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    made = request("GET", "x", query={"a": None, "b": True, "c": moment, "d": 0}, headers={"H": None})
    assert made.path == "/api/v1/x?b=true&c=2026-01-02T01%3A04%3A05.000000Z&d=0"
    assert made.headers == {"Accept": "application/json"}


def test_seconds_are_sent_as_their_caller_writes_them() -> None:
    """Whole numbers have no decimal point, so that a mocked address is the one that is asked for."""
    assert request("GET", "x", query={"a": 10.0, "b": 0.25, "c": 0.0}).path == "/api/v1/x?a=10&b=0.25&c=0"


@pytest.mark.parametrize(
    ("method", "headers", "said", "idempotent"),
    [
        ("GET", {}, None, True), ("PUT", {}, None, True), ("DELETE", {}, None, True), ("POST", {}, None, False),
        ("POST", {"Idempotency-Key": "k"}, None, True), ("POST", {"Idempotency-Key": None}, None, False),
        ("POST", {}, True, True),
    ],
)  # fmt: skip
def test_a_request_knows_whether_it_may_be_sent_again(
    method: str, headers: dict[str, Optional[str]], said: Optional[bool], idempotent: bool
) -> None:
    """By its method, by its key, or because the caller says so."""
    assert request(method, "x", headers=headers, idempotent=said).idempotent is idempotent


def test_data_is_sent_as_json() -> None:
    """Mappings, sets and keys that are numbers are understood; what JSON cannot hold is refused by name."""
    assert orjson.loads(encoded({1: Execution({"a": {"b"}})})) == {"1": {"a": ["b"]}}
    assert encoded(MappingProxyType({"a": 1})) == b'{"a":1}'
    with pytest.raises(errors.ValidationError, match="no JSON for object") as refused:
        encoded({"x": object()})
    assert refused.value.error_code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://a:1/", "http://a:1"), ("https://a/api/v1/", "https://a"), (" http://a/ops ", "http://a/ops"),
        ("http://a/v1/opscore", "http://a"),
    ],
)  # fmt: skip
def test_addresses_lose_what_every_path_begins_with(given: str, used: str) -> None:
    """A trailing slash and the API's prefixes are left off."""
    assert base_address(given) == used


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a:1",
        "ftp://a",
        "http://",
        "http://a:0",
        "http://u@a",
        "http://a?b",
        "http://a#b",
        "http://a:x",
        "http://[",
        5,
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """The error shows an address that would do."""
    with pytest.raises(errors.OpsCoreConfigurationError, match="such as http://127"):
        base_address(url)


def test_keys_stand_in_a_header_or_are_refused() -> None:
    """No key sends no header; one with spaces or line ends could not be sent."""
    assert credentials(None) == credentials("") == {}
    assert credentials("sk_1") == {"Authorization": "Bearer sk_1"}
    with pytest.raises(errors.OpsCoreConfigurationError, match="printable"):
        credentials("sk\r\nX: y")


def refusal(status: int, body: bytes, **headers: str) -> Any:
    with pytest.raises(errors.OpsCoreApiError) as raised:
        read(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    return raised.value


def test_a_problem_is_read_whole() -> None:
    """Sentence, code, fields, request id, trace and delay are the server's."""
    body = {
        "detail": "No.", "error_code": "INVALID_FLOW", "details": {"nodes": ["Bad.", 1], "x": "y"},
        "request_id": "r", "trace_id": "t",
    }  # fmt: skip
    error = refusal(400, orjson.dumps(body), Retry_After="3")
    assert type(error) is errors.ValidationError
    assert (error.detail, error.error_code, error.request_id, error.retry_after) == ("No.", "INVALID_FLOW", "r", 3)
    assert error.trace_id == "t"
    assert error.details == {"nodes": ["Bad.", "1"], "x": "y"}
    assert error.field_errors == {"nodes": ["Bad.", "1"]}
    assert error.response_body is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The server gave no reason."), (b"<html>\n Bad   gateway\x00", "<html> Bad gateway?"),
        (b"x" * 1000, "x" * 197 + "..."), (b'{"message":"m"}', "m"), (b'{"title":"t","detail":5}', "t"),
        (b'["a"]', '["a"]'), (b"\xff", "\ufffd"),
    ],
)  # fmt: skip
def test_a_refusal_that_is_no_problem_is_shown_shortly(body: bytes, sentence: str) -> None:
    """What a proxy says is quoted, cut and made printable."""
    error = refusal(502, body, X_Request_ID="r")
    assert (type(error), error.detail, error.error_code) == (errors.ServerError, sentence, "HTTP_502")
    assert error.request_id == "r"


def test_what_is_no_ops_core_server_is_a_connection_error() -> None:
    """A page of HTML with 200, and a redirect, which is never followed."""
    with pytest.raises(errors.ConnectionError, match="no Ops-Core server: <html>"):
        read(200, {}, b"<html>")
    with pytest.raises(errors.ConnectionError, match="redirects to https://other"):
        read(302, {"Location": "https://other"}, b"")
    assert read(204, {}, b"") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"flow_id": "f"}', "application/json"), ('\n {"a":1}', "application/json"),
        ("flow_id: f\n", "application/yaml"), ("{flow_id: f}", "application/yaml"),
    ],
)  # fmt: skip
def test_text_of_a_flow_is_sent_as_what_it_is(text: str, kind: str, tmp_path: Path) -> None:
    """JSON as JSON and YAML as YAML, from a string or a file."""
    path = tmp_path / "flow.yaml"
    path.write_text(text, encoding="utf-8")
    for given_as in (text, path, str(path)):
        assert definition_body(given_as) == {"raw": text.encode(), "content_type": kind}


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ('{"flow_id": ', "is no JSON"), ("  ", "must not be empty"), (5, "must be a dictionary, JSON or YAML"),
        ("no/such.yaml", "no/such.yaml cannot be read: No such file"), (Path(), "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_definition_is_refused_before_it_is_sent(definition: Any, text: str) -> None:
    """The error says why, under the argument's name."""
    with pytest.raises(errors.ValidationError, match=text) as refused:
        definition_body(definition)
    assert list(refused.value.field_errors) == ["definition"]


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "flow.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(errors.ValidationError, match=r"flow\.yaml is not UTF-8"):
        definition_body(path)


@pytest.mark.parametrize("url", ["ftp://u:canary@host", "http://u:canary@host/?x=1", "http://host?token=canary"])
def test_a_wrong_address_is_told_without_its_secrets(url: str) -> None:
    """The error about an address that cannot be used shows neither its user nor its query."""
    with pytest.raises(errors.OpsCoreConfigurationError) as refused:
        base_address(url)
    assert "canary" not in str(refused.value)
    assert "host" in str(refused.value)
