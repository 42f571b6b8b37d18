"""What goes over the wire, without any network: requests as values, answers read into data or errors."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Union
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson

from opscore_sdk.errors import OpsCoreApiError, OpsCoreConfigurationError, OpsCoreConnectionError

DEFAULT_URL = "http://127.0.0.1:8000"
PREFIX = "/api/v1"

JSON = "application/json"
YAML = "application/yaml"

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_FIRST_OF_ERROR = 400
_FIRST_OF_REDIRECT = 300
_LONGEST_EXCERPT = 200


class Request(NamedTuple):
    """One request: everything but where the server is and which key is used."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: Optional[bytes] = None
    extra_seconds: float = 0.0
    """How much longer than usual the answer may take, because the server was asked to wait."""


def request(
    method: str,
    *segments: str,
    query: Optional[Mapping[str, Any]] = None,
    json: Any = None,
    yaml: Optional[str] = None,
    headers: Optional[Mapping[str, Optional[str]]] = None,
    extra_seconds: float = 0.0,
) -> Request:
    """Make a request for a path below the API's prefix.

    Args:
        method: GET, POST, PUT or DELETE.
        *segments: The parts of the path; each is quoted, so an id can never change the path.
        query: Parameters; those that are None are left out.
        json: The body as data.
        yaml: The body as YAML text instead.
        headers: Headers; those that are None are left out.
        extra_seconds: How much longer than usual the answer may take.
    """
    path = PREFIX + "".join("/" + _segment(segment) for segment in segments)
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    if given:
        path += "?" + urlencode(given)
    sent = {"Accept": JSON, **{name: value for name, value in (headers or {}).items() if value is not None}}
    body: Optional[bytes] = None
    if yaml is not None:
        sent["Content-Type"], body = YAML, yaml.encode()
    elif json is not None:
        sent["Content-Type"], body = JSON, orjson.dumps(json)
    return Request(method, path, sent, body, extra_seconds)


def _segment(segment: str) -> str:
    # "." and ".." survive quoting and would climb out of the path.
    return segment.replace(".", "%2E") if segment in (".", "..") else quote(segment, safe="")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def without_nones(values: Mapping[str, Any]) -> Dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None}


def base_address(url: str) -> str:
    """The server's address without a trailing slash or API prefix.

    Raises:
        OpsCoreConfigurationError: It is no http or https address.
    """
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username:
        raise OpsCoreConfigurationError(f"{url[:200]!r} is not the address of a server, such as {DEFAULT_URL}.")
    path = parts.path.rstrip("/").removesuffix(PREFIX)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def credentials(api_key: Optional[str]) -> Dict[str, str]:
    """The headers that carry a key; none for no key.

    Raises:
        OpsCoreConfigurationError: The key could not stand in a header.
    """
    if not api_key:
        return {}
    if not _PRINTABLE.fullmatch(api_key):
        raise OpsCoreConfigurationError("The API key must be printable ASCII characters without spaces.")
    return {"Authorization": f"Bearer {api_key}"}


def read(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The data of an answer.

    Raises:
        OpsCoreApiError: The server said no.
        OpsCoreConnectionError: This is no answer of an Ops-Core server.
    """
    if _FIRST_OF_REDIRECT <= status < _FIRST_OF_ERROR:
        target = headers.get("Location", "nowhere")[:_LONGEST_EXCERPT]
        raise OpsCoreConnectionError(f"The server redirects to {target}; use that address if you trust it.")
    data = _decoded(body)
    if status >= _FIRST_OF_ERROR:
        raise _error(status, headers, data, body)
    if data is _UNREADABLE:
        raise OpsCoreConnectionError(f"What answered is no Ops-Core server: {_excerpt(body)}")
    return data


_UNREADABLE: Any = object()


def _decoded(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _UNREADABLE


def _error(status: int, headers: Mapping[str, str], data: Any, body: bytes) -> OpsCoreApiError:
    problem: Dict[str, Any] = data if isinstance(data, dict) else {}
    detail = problem.get("detail") or problem.get("message") or problem.get("title")
    if not isinstance(detail, str):
        detail = _excerpt(body) if body else "The server gave no reason."
    return OpsCoreApiError(
        status,
        _word(problem.get("error_code")) or f"HTTP_{status}",
        detail,
        details=_details(problem.get("details")),
        request_id=_word(problem.get("request_id")) or headers.get("X-Request-ID"),
        retry_after=_seconds(headers.get("Retry-After")),
    )


def _word(value: Any) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _details(value: Any) -> Dict[str, List[str]]:
    if not isinstance(value, dict):
        return {}
    return {field: [str(text) for text in texts] for field, texts in value.items() if isinstance(texts, list)}


def _seconds(value: Optional[str]) -> Optional[float]:
    return float(value) if value and value.isascii() and value.isdigit() else None


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * _LONGEST_EXCERPT].decode("utf-8", "replace").split())
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= _LONGEST_EXCERPT else printable[: _LONGEST_EXCERPT - 3] + "..."


def definition_body(definition: Union[Mapping[str, Any], str]) -> Dict[str, Any]:
    """The keyword for :func:`request` that sends a flow: text goes as YAML, data as JSON."""
    return {"yaml": definition} if isinstance(definition, str) else {"json": definition}
