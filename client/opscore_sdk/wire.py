"""What goes over the wire, without any network: requests as values, answers read into data or errors."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

import orjson

from opscore_sdk.errors import ConnectionError as ServerLost
from opscore_sdk.errors import OpsCoreApiError, OpsCoreConfigurationError, ValidationError, kind_of
from opscore_sdk.retries import read_retry_after

DEFAULT_URL = "http://127.0.0.1:8000"
PREFIX = "/api/v1"
DIALECT = "/v1/opscore"
"""Where agents report and workflows are triggered, in camelCase."""

JSON = "application/json"
YAML = "application/yaml"
EVENT_STREAM = "text/event-stream"
IDEMPOTENCY_KEY = "Idempotency-Key"

_IDEMPOTENT_METHODS = frozenset({"GET", "PUT", "DELETE"})
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
"""What a path can hold as it is; nearly all segments are such."""
_PLAIN_PARAMETER = re.compile(r"[A-Za-z0-9_.-]*")
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
    idempotent: bool = False
    """Whether it may be sent again when it is unknown what became of it."""


class Answer(NamedTuple):
    """One answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str,
    *segments: str,
    prefix: str = PREFIX,
    query: Optional[Mapping[str, Any]] = None,
    json: Any = None,
    raw: Optional[bytes] = None,
    content_type: str = JSON,
    headers: Optional[Mapping[str, Optional[str]]] = None,
    extra_seconds: float = 0.0,
    idempotent: Optional[bool] = None,
) -> Request:
    """Make a request for a path below the API's prefix.

    Args:
        method: GET, POST, PUT or DELETE.
        *segments: The parts of the path; each is quoted, so an id can never change the path.
        prefix: What the path begins with.
        query: Parameters; those that are None are left out.
        json: The body as data.
        raw: The body as bytes instead.
        content_type: What the bytes are.
        headers: Headers; those that are None are left out.
        extra_seconds: How much longer than usual the answer may take.
        idempotent: Whether it may be sent again; by default by its method, or by an idempotency key.

    Raises:
        ValidationError: The data cannot be sent as JSON.
    """
    path = "/".join((prefix, *map(_segment, segments)))
    if query:
        given = [f"{_quoted(name)}={_quoted(_text(value))}" for name, value in query.items() if value is not None]
        path += "?" + "&".join(given) if given else ""
    sent = {"Accept": JSON}
    if headers:
        sent.update((name, value) for name, value in headers.items() if value is not None)
    body = raw if raw is not None or json is None else encoded(json)
    if body is not None:
        sent["Content-Type"] = content_type
    if idempotent is None:
        idempotent = method in _IDEMPOTENT_METHODS or IDEMPOTENCY_KEY in sent
    return Request(method, path, sent, body, extra_seconds, idempotent)


def _segment(segment: str) -> str:
    if _PLAIN.fullmatch(segment):
        return segment
    # "." and ".." survive quoting and would climb out of the path.
    return segment.replace(".", "%2E") if segment in (".", "..") else quote(segment, safe="")


def _quoted(text: str) -> str:
    return text if _PLAIN_PARAMETER.fullmatch(text) else quote_plus(text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # what a caller gave as 10 is sent as 10
    return show_instant(value) if isinstance(value, datetime) else str(value)


def show_instant(moment: datetime) -> str:
    """An instant as the wire has it: RFC 3339 in UTC; one without a time zone is taken as local time."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encoded(data: Any) -> bytes:
    """Data as JSON.

    Raises:
        ValidationError: JSON cannot hold it.
    """
    try:
        return orjson.dumps(data, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        reason = str(error.__cause__ or error)
        raise ValidationError(f"This cannot be sent as JSON: {reason}.", error_code="INVALID_ARGUMENT") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


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
    except (AttributeError, ValueError):
        valid = False
    if not valid or parts.query or parts.fragment or parts.username:
        # What may be a password in it is not to be read in a log.
        shown = re.sub(r"//[^/]*@", "//***@", str(url).partition("?")[0])[:200] + ("?..." if "?" in str(url) else "")
        raise OpsCoreConfigurationError(f"{shown!r} is not the address of a server, such as {DEFAULT_URL}.")
    path = parts.path.rstrip("/")
    for prefix in (PREFIX, DIALECT):
        path = path.removesuffix(prefix)
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


def read(status: int, headers: Mapping[str, str], body: bytes, now: float = 0.0) -> Any:
    """The data of an answer.

    Args:
        status: Its HTTP status.
        headers: Its headers.
        body: Its body.
        now: Seconds since 1970, to read a ``Retry-After`` that is a date.

    Raises:
        OpsCoreApiError: The server said no.
        ConnectionError: This is no answer of an Ops-Core server.
    """
    if _FIRST_OF_REDIRECT <= status < _FIRST_OF_ERROR:
        target = headers.get("Location", "nowhere")[:_LONGEST_EXCERPT]
        raise ServerLost(f"The server redirects to {target}; use that address if you trust it.")
    data = _decoded(body)
    if status >= _FIRST_OF_ERROR:
        raise _error(status, headers, data, body, now)
    if data is _UNREADABLE:
        raise ServerLost(f"What answered is no Ops-Core server: {_excerpt(body)}")
    return data


_UNREADABLE: Any = object()


def _decoded(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _UNREADABLE


def _error(status: int, headers: Mapping[str, str], data: Any, body: bytes, now: float) -> OpsCoreApiError:
    problem: Dict[str, Any] = data if isinstance(data, dict) else {}
    code = _word(problem.get("error_code")) or f"HTTP_{status}"
    return kind_of(status, code)(
        _sentence(problem) or (_excerpt(body) if body else "The server gave no reason."),
        status,
        None if problem else body.decode("utf-8", "replace"),
        _details(problem),
        error_code=code,
        request_id=_word(problem.get("request_id")) or headers.get("X-Request-ID"),
        trace_id=_word(problem.get("trace_id")) or headers.get("X-Trace-ID"),
        retry_after=read_retry_after(headers.get("Retry-After"), now),
    )


def _sentence(problem: Mapping[str, Any]) -> Optional[str]:
    found = (_word(problem.get(name)) for name in ("detail", "message", "title"))
    return next((text for text in found if text is not None), None)


def _word(value: Any) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _details(problem: Mapping[str, Any]) -> Dict[str, Any]:
    value = problem.get("details")
    if not isinstance(value, dict):
        return {}
    return {name: _texts(texts) if isinstance(texts, list) else texts for name, texts in value.items()}


def _texts(values: List[Any]) -> List[str]:
    return [str(value) for value in values]


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * _LONGEST_EXCERPT].decode("utf-8", "replace").split())
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= _LONGEST_EXCERPT else printable[: _LONGEST_EXCERPT - 3] + "..."
