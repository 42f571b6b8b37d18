"""Every way a call to Ops-Core goes wrong.

OpsCoreSDKError
├── OpsCoreConfigurationError   an address or key that cannot work (also a ValueError)
├── OpsCoreApiError             the server answered, and said no
└── OpsCoreConnectionError      no answer, or not one of an Ops-Core server
    └── OpsCoreTimeoutError     not in time
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence


class OpsCoreSDKError(Exception):
    """Base of all errors of this client; the text is one sentence for people."""


class OpsCoreConfigurationError(OpsCoreSDKError, ValueError):
    """The client was given an address or a key that cannot work."""


class OpsCoreConnectionError(OpsCoreSDKError):
    """The server could not be reached, or what answered is no Ops-Core server.

    Whether the server did what was asked is unknown: ask again with the same idempotency key.
    """


class OpsCoreTimeoutError(OpsCoreConnectionError):
    """No answer, or no end of an execution, within the time the caller gave."""


class OpsCoreApiError(OpsCoreSDKError):
    """The server answered, and said no."""

    def __init__(
        self,
        status: int,
        error_code: str,
        detail: str,
        *,
        details: Optional[Mapping[str, Sequence[str]]] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        """Take over what the server said.

        Args:
            status: The HTTP status.
            error_code: The stable code for programs, such as ``FLOW_NOT_FOUND``.
            detail: One sentence for people.
            details: Texts by the field they are about.
            request_id: What to name when asking the server's operator.
            retry_after: Seconds after which a repeat makes sense, where the server said so.
        """
        super().__init__(detail)
        self.status = status
        self.error_code = error_code
        self.detail = detail
        self.details: Dict[str, List[str]] = {field: list(texts) for field, texts in (details or {}).items()}
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.detail} ({self.status} {self.error_code})"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, which would call the constructor with the text alone."""
        return _rebuilt, (dict(self.__dict__),)


def _rebuilt(state: Dict[str, object]) -> OpsCoreApiError:
    error = OpsCoreApiError.__new__(OpsCoreApiError)
    error.__dict__.update(state)
    error.args = (state["detail"],)
    return error
