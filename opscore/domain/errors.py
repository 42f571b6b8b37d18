"""Every way Ops-Core says no.

    OpsCoreError
    ├── Invalid               what was asked makes no sense as it stands
    │   ├── InvalidDocument   JSON or YAML that cannot be read
    │   ├── InvalidFiles      files with definitions that cannot run
    │   ├── InvalidFlow       a definition that cannot run
    │   └── TooBroad          a search that has too much to look at
    ├── Unauthenticated       no key, or not a key of ours
    │   └── Replayed          a signature that was used before
    ├── Forbidden             a key of ours without the scope; a foreign host
    ├── NotFound              nothing has this id
    ├── Conflict              the present state rules it out
    ├── TooLarge              over a size limit
    ├── UnsupportedMediaType  a body in a format nobody here reads
    ├── Overloaded            over a rate or queue limit; try again later
    ├── Unavailable           starting or stopping; try again later
    └── StoreError            the store could not do it
        ├── Stale             somebody wrote first; read back, do not guess
        └── StoreFull         no room on the disk; reading goes on

An error carries a stable ``error_code`` for programs, a sentence for people and, where fields are
to blame, texts by field. Which HTTP status that becomes is the business of ``opscore.web`` alone.
"""

from __future__ import annotations

from typing import ClassVar, Mapping, Optional, Sequence

Details = Mapping[str, Sequence[str]]


class OpsCoreError(Exception):
    """Base of all errors that are meant to be shown to whoever asked."""

    code: ClassVar[str] = "ERROR"

    def __init__(
        self,
        message: str,
        *,
        error_code: Optional[str] = None,
        details: Optional[Details] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code or self.code
        self.details: dict[str, list[str]] = {k: list(v) for k, v in (details or {}).items()}
        self.retry_after = retry_after


class Invalid(OpsCoreError):
    """What was asked makes no sense as it stands."""

    code = "VALIDATION_ERROR"


class InvalidDocument(Invalid):
    """JSON or YAML that cannot be read."""

    code = "INVALID_JSON"
    line: Optional[int] = None
    """On which line (from 1), where that is known."""


class InvalidFiles(Invalid):
    """Files with definitions that cannot run; the message has one line for each finding."""

    code = "INVALID_FLOW"


class InvalidFlow(Invalid):
    """A flow definition that cannot run; ``details`` has every finding by place."""

    code = "INVALID_FLOW"


class TooBroad(Invalid):
    """A search that has too much to look at."""

    code = "SEARCH_TOO_BROAD"


class Unauthenticated(OpsCoreError):
    """No key, or not a key of ours."""

    code = "UNAUTHENTICATED"


class Replayed(Unauthenticated):
    """A signature that was used before."""

    code = "SIGNATURE_REPLAYED"


class Forbidden(OpsCoreError):
    """A key of ours that lacks the scope, or a foreign Host or Origin."""

    code = "FORBIDDEN"


class NotFound(OpsCoreError):
    """Nothing has this id."""

    code = "NOT_FOUND"


class FlowNotFound(NotFound):
    """No flow has this id (or this version of it)."""

    code = "FLOW_NOT_FOUND"


class AgentNotFound(NotFound):
    """No agent has this id."""

    code = "AGENT_NOT_FOUND"


class ExecutionNotFound(NotFound):
    """No execution has this id."""

    code = "EXECUTION_NOT_FOUND"


class Conflict(OpsCoreError):
    """The present state rules it out."""

    code = "CONFLICT"


class TooLarge(OpsCoreError):
    """Over a size limit."""

    code = "TOO_LARGE"


class UnsupportedMediaType(OpsCoreError):
    """A body in a format nobody here reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class Overloaded(OpsCoreError):
    """Over a rate or queue limit; ``retry_after`` says when to try again (seconds)."""

    code = "RATE_LIMITED"


class Unavailable(OpsCoreError):
    """The server starts or stops; ``retry_after`` says when to try again (seconds)."""

    code = "SHUTTING_DOWN"


class StoreError(OpsCoreError):
    """The store could not do what was asked."""

    code = "STORE_ERROR"


class Stale(StoreError):
    """A guarded write met another state than its writer believed in."""

    code = "STALE"


class StoreFull(StoreError):
    """The disk has no room; nothing was written, reading goes on."""

    code = "STORE_FULL"
