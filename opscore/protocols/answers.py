"""What an agent's HTTP answer means. All here is pure, and total: any bytes become a Reply."""

from __future__ import annotations

import re
import zlib
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Mapping, Optional

from opscore.domain.calls import Answered, Refused, Reply
from opscore.domain.documents import decode_json, encode_json
from opscore.domain.errors import InvalidDocument
from opscore.domain.instants import Seconds
from opscore.domain.planner import as_output
from opscore.domain.retries import LONGEST_RETRY_AFTER

MAX_MESSAGE = 1_000
"""Characters of an agent's error message that are kept."""

_CODE = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_REPEATABLE = frozenset({408, 425, 429})


class NotDecompressed(Exception):
    """The body is not what its Content-Encoding says."""


class TooMuch(Exception):
    """The body is larger than allowed."""


def too_large(limit: int) -> Refused:
    """The reply to an answer over the limit (bytes); it would be as large the next time."""
    return Refused("AGENT_ANSWER_TOO_LARGE", f"The agent's answer is larger than {limit} bytes.", retryable=False)


def bad_answer(problem: str) -> Refused:
    """The reply to an answer that is not understood."""
    return Refused("AGENT_BAD_ANSWER", shown(f"The agent's answer is not understood: {problem}"), retryable=True)


def shown(text: str) -> str:
    """Text for people, of bounded length and without NUL, which some stores refuse."""
    clean = text.replace("\x00", "\ufffd")
    return clean if len(clean) <= MAX_MESSAGE else clean[: MAX_MESSAGE - 3] + "..."


def decompressed(body: Optional[bytes], encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding without ever holding more than ``limit`` bytes of the result."""
    if body is None:
        raise TooMuch
    if not encoding:
        return body
    encoding = encoding.strip().lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise NotDecompressed
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip and zlib, told apart by their headers
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise NotDecompressed from None
    if len(plain) > limit:
        raise TooMuch
    if not inflater.eof:
        raise NotDecompressed
    return plain


def understood(status: int, body: Optional[bytes], encoding: str, limit: int) -> Reply:
    """What the HTTP answer of a ``spine`` agent means.

    Args:
        status: The HTTP status, 200 or above.
        body: The whole body as it was sent; None when it is over the limit.
        encoding: Its Content-Encoding; empty for none.
        limit: The largest body in bytes, decompressed.
    """
    try:
        plain = decompressed(body, encoding, limit)
        return _told(plain) if is_success(status) else _refused_by_status(status, plain)
    except InvalidDocument as error:
        refused = bad_answer(error.message)
    except NotDecompressed:
        refused = bad_answer("it is not in the encoding that it names, or in one nobody asked for.")
    except TooMuch:
        refused = too_large(limit)
    return refused if is_success(status) else _refused_by_status(status, b"")


def _told(body: bytes) -> Reply:
    answer = decode_json(body)
    if not isinstance(answer, dict):
        return bad_answer("it is not a JSON object.")
    status = answer.get("status")
    if status == "success":
        output = answer.get("output")
        return Answered({} if output is None else as_output(output))
    if status == "error":
        return _refused_by_agent(answer)
    return bad_answer('its status is neither "success" nor "error".')


def _refused_by_agent(answer: Mapping[str, Any]) -> Refused:
    return Refused(
        _code(answer) or "AGENT_ERROR",
        _message(answer) or "The agent reported an error and gave no message.",
        retryable=answer.get("retryable") is not False,
    )


def _refused_by_status(status: int, body: bytes) -> Refused:
    if is_redirect(status):
        return Refused(
            "AGENT_REDIRECT", f"The agent answered {named(status)}; redirects are not followed.", retryable=False
        )
    answer = _object(body)
    code, message = _code(answer), _message(answer)
    text = f"The agent answered {named(status)}" + (f": {message}" if message else ".")
    repeatable = status in _REPEATABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(
        code or f"AGENT_HTTP_{status}",
        shown(text),
        retryable=repeatable and answer.get("retryable") is not False,
    )


def _object(body: bytes) -> Mapping[str, Any]:
    """The JSON object a body is; an empty one for any other body."""
    try:
        answer = decode_json(body)
    except InvalidDocument:
        return {}
    return answer if isinstance(answer, dict) else {}


def is_success(status: int) -> bool:
    """Whether a status is one of 2xx."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def is_redirect(status: int) -> bool:
    """Whether a status is one of 3xx."""
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def named(status: int) -> str:
    """A status with its words, for people."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _code(answer: Mapping[str, Any]) -> Optional[str]:
    code = answer.get("error_code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _message(answer: Mapping[str, Any]) -> Optional[str]:
    for field in ("error_message", "message", "detail", "error"):
        told = answer.get(field)
        if told:
            return shown(told if isinstance(told, str) else encode_json(told))
    return None


def retry_after(value: Optional[str], now: Seconds) -> Optional[Seconds]:
    """Seconds to wait that a ``Retry-After`` header asks for, an hour at most; None for a malformed one.

    Args:
        value: The header: seconds or an HTTP date (RFC 9110, 10.2.3).
        now: Seconds since 1970.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC of unknown origin
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return min(max(moment.timestamp() - now, 0.0), LONGEST_RETRY_AFTER)
    except (OverflowError, ValueError):
        return None
