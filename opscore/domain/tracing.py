"""Traces: which one an execution belongs to, and the W3C Trace Context that callers send and agents are told.

https://www.w3.org/TR/trace-context/: ``traceparent`` is ``version-traceid-parentid-flags`` in hex, ``tracestate`` a
list of what the tracing systems on the way want to find again.

No span id is a matter of chance. That of an execution and that of an attempt follow from what they are the spans of:
so a span may be told of before it ends, by whichever process sees its end, and what a crash has cut in two is one
trace all the same.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Optional

import attrs

SAMPLED = 0x01
_RANDOM = 0x02
"""Level 2: the trace id was made at random. Passed on as it came."""
_KNOWN_FLAGS = SAMPLED | _RANDOM
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_PARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
_LONGEST_PARENT = 512
"""Later versions may add to the 55 characters of this one."""
_LONGEST_STATE = 512
_MOST_MEMBERS = 32
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


@attrs.frozen
class TraceContext:
    """A span somewhere, as the header names it."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    flags: int = SAMPLED
    state: str = ""
    """What other systems want to find again: ``tracestate``."""

    @property
    def is_sampled(self) -> bool:
        """Whether somebody may have recorded the span."""
        return bool(self.flags & SAMPLED)

    @property
    def parent(self) -> str:
        """The header ``traceparent``."""
        return to_parent(self.trace_id, self.span_id, self.flags)

    @property
    def text(self) -> str:
        """One line that :func:`recall` reads."""
        return f"{self.parent} {self.state}" if self.state else self.parent


def to_parent(trace_id: str, span_id: str, flags: int = SAMPLED) -> str:
    """The header ``traceparent`` of a span."""
    return f"00-{trace_id}-{span_id}-{flags:02x}"


def read_context(parent: Optional[str], state: Optional[str] = None) -> Optional[TraceContext]:
    """What a caller's headers say; None where they say nothing, or nothing that may be believed.

    A ``tracestate`` that is not well-formed, or too long to be carried whole, counts as absent.
    """
    if not parent or len(parent) > _LONGEST_PARENT:
        return None
    match = _PARENT.fullmatch(parent.strip(" \t"))
    if match is None or (match["more"] is not None and match["version"] == "00"):
        return None
    return TraceContext(match["trace"], match["span"], int(match["flags"], 16) & _KNOWN_FLAGS, _read_state(state))


def recall(text: Optional[str]) -> Optional[TraceContext]:
    """A context that was kept as its :attr:`TraceContext.text`."""
    if text is None:
        return None
    parent, _, state = text.partition(" ")
    return read_context(parent, state)


def _read_state(state: Optional[str]) -> str:
    if not state or len(state) > _LONGEST_STATE:
        return ""
    members = [member for member in (part.strip(" \t") for part in state.split(",")) if member]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > _MOST_MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)


def trace_of(execution_id: str) -> str:
    """The trace (32 hex digits) of an execution whose caller named none: its own id, which is as long as one."""
    digits = execution_id.replace("-", "")
    if _TRACE_ID.fullmatch(digits):
        return digits
    return sha256(execution_id.encode()).hexdigest()[:32]


def execution_span(execution_id: str) -> str:
    """The id (16 hex digits) of an execution's span."""
    return sha256(execution_id.encode()).hexdigest()[32:48]


def attempt_span(execution_id: str, node_id: str, attempt: int) -> str:
    """The id (16 hex digits) of the span of a node's attempt."""
    return sha256(f"{execution_id}:{node_id}:{attempt}".encode()).hexdigest()[:16]
