"""Traces: which one an execution belongs to, and the W3C Trace Context that callers and agents are told.

https://www.w3.org/TR/trace-context/ (level 1): ``traceparent`` is ``version-traceid-parentid-flags`` in hex.
"""

from __future__ import annotations

import re
from hashlib import sha256

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


def trace_of(execution_id: str) -> str:
    """The trace (32 hex digits) of an execution whose caller named none: its own id, which is as long as one."""
    digits = execution_id.replace("-", "")
    if _TRACE_ID.fullmatch(digits):
        return digits
    return sha256(execution_id.encode()).hexdigest()[:32]


def traceparent(trace_id: str, span_id: str) -> str:
    """The header that tells an agent which trace and span (16 hex digits) called it; the flag says that it is kept."""
    return f"00-{trace_id}-{span_id}-01"
