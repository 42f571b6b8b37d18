"""What every log line about a piece of work carries: bound once where it begins, inherited by the tasks it starts.

Any room may bind. What a call to the log says of itself goes before what is bound.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Mapping, Optional

Bound = Mapping[str, Optional[str]]

_BOUND: ContextVar[Bound] = ContextVar("opscore_bound", default=MappingProxyType({}))


def bound() -> Bound:
    """What is bound here: ``request_id``, ``trace_id``, ``execution_id``, ``flow_id``."""
    return _BOUND.get()


def begin(**facts: Optional[str]) -> Token[Bound]:
    """Bind these facts and nothing else: another piece of work begins here, whoever started it."""
    return _BOUND.set(facts)


def bind(**facts: Optional[str]) -> Token[Bound]:
    """Bind these facts beside what is bound already."""
    return _BOUND.set({**_BOUND.get(), **facts})


def release(token: Token[Bound]) -> None:
    """Take back what :func:`begin` or :func:`bind` did."""
    _BOUND.reset(token)
