"""Every way a call to Ops-Core goes wrong.

OpsCoreSDKError                     base of all (AISpineError)
├── OpsCoreConfigurationError       an address, a key or a time that cannot work (also a ValueError)
├── OpsCoreApiError                 the server answered, and said no (APIError)
│   ├── ValidationError             400, 413, 415, 422: the request makes no sense as it stands (also a ValueError)
│   ├── AuthenticationError         401: no key, or a wrong one
│   │   └── PermissionDeniedError   403: the key may not do this
│   │       └── InsufficientCreditsError    402, or 403 that speaks of credits
│   ├── NotFoundError               404: nothing has this id
│   ├── ConflictError               409: the present state rules it out
│   ├── RateLimitError              429: too many requests
│   └── ServerError                 5xx: the server could not
├── ConnectionError                 no answer, or not one of an Ops-Core server (OpsCoreConnectionError, NetworkError)
│   └── TimeoutError                not in time (OpsCoreTimeoutError)
└── ExecutionError                  an execution ended without success

Names in brackets are those of the SDKs of AI Spine and Ops-Core; they are the same classes. Our ConnectionError and
TimeoutError are also Python's own of these names, so either is caught. A permission error is an authentication error
because the users of the Ops-Core SDK catch both by that name.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Type

if TYPE_CHECKING:
    from opscore_sdk.models import Execution


class OpsCoreSDKError(Exception):
    """Base of all errors of this SDK; the text is one sentence for people.

    Attributes:
        message: The sentence.
        details: What else is known; of a refusal, texts by the field that they are about.
    """

    def __init__(self, message: str = "", details: Optional[Mapping[str, Any]] = None) -> None:
        """Say what went wrong.

        Args:
            message: One sentence for people.
            details: What else is known.
        """
        super().__init__(message)
        self.message = message
        self.details: Dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Tuple[Any, ...]:
        """Survive pickling, which would otherwise call the constructor with the text alone."""
        return _rebuilt, (type(self), self.args, dict(self.__dict__))


def _rebuilt(kind: Type[OpsCoreSDKError], args: Tuple[Any, ...], state: Dict[str, Any]) -> OpsCoreSDKError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class OpsCoreConfigurationError(OpsCoreSDKError, ValueError):
    """The client was given an address, a key or a time that cannot work."""


class OpsCoreApiError(OpsCoreSDKError):
    """The server answered, and said no.

    Attributes:
        status: The HTTP status; ``status_code`` is the same.
        error_code: The stable code for programs, such as ``FLOW_NOT_FOUND``; ``code`` is the same.
        detail: One sentence for people; ``message`` is the same.
        details: Texts by the field that they are about.
        request_id: What to name when asking the server's operator.
        trace_id: The trace that the request was in.
        retry_after: Seconds after which a repeat makes sense, where the server said so.
        response_body: The answer's text, where it was not understood.
    """

    default_status: ClassVar[int] = 500
    default_code: ClassVar[str] = "API_ERROR"

    def __init__(
        self,
        message: str = "",
        status_code: Optional[int] = None,
        response_body: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
        *,
        error_code: Optional[str] = None,
        request_id: Optional[str] = None,
        trace_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        """Take over what the server said.

        Args:
            message: One sentence for people.
            status_code: The HTTP status.
            response_body: The answer's text, where it was not understood.
            details: Texts by the field that they are about.
            error_code: The stable code for programs.
            request_id: What to name when asking the server's operator.
            trace_id: The trace that the request was in.
            retry_after: Seconds after which a repeat makes sense.
        """
        super().__init__(message, details)
        self.status = self.default_status if status_code is None else status_code
        self.error_code = error_code or self.default_code
        self.response_body = response_body
        self.request_id = request_id
        self.trace_id = trace_id
        self.retry_after = retry_after

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.status

    @property
    def code(self) -> str:
        """The stable code for programs."""
        return self.error_code

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return self.message

    @property
    def field_errors(self) -> Dict[str, List[str]]:
        """Texts by the field that they are about; empty where the refusal is about no field."""
        return {name: [str(text) for text in texts] for name, texts in self.details.items() if isinstance(texts, list)}

    def __str__(self) -> str:
        return f"{self.message} ({self.status} {self.error_code})"


class ValidationError(OpsCoreApiError, ValueError):
    """The request makes no sense as it stands: a field is missing or wrong, a body too large or of a wrong kind.

    Arguments that no server would take are refused with it before anything is sent (``INVALID_ARGUMENT``).
    """

    default_status = 400
    default_code = "VALIDATION_ERROR"


class AuthenticationError(OpsCoreApiError):
    """No key was given, or one that the server does not know."""

    default_status = 401
    default_code = "UNAUTHENTICATED"


class PermissionDeniedError(AuthenticationError):
    """The key may not do this."""

    default_status = 403
    default_code = "FORBIDDEN"


class InsufficientCreditsError(PermissionDeniedError):
    """No credits are left (AI Spine)."""

    default_code = "INSUFFICIENT_CREDITS"

    @property
    def credits_needed(self) -> Optional[Any]:
        """What the call would have cost, where the server said so."""
        return self.details.get("credits_needed")

    @property
    def credits_available(self) -> Optional[Any]:
        """What is left, where the server said so."""
        return self.details.get("credits_available")


class NotFoundError(OpsCoreApiError):
    """Nothing has this id."""

    default_status = 404
    default_code = "NOT_FOUND"


class ConflictError(OpsCoreApiError):
    """The present state rules it out: an id is taken, an execution has ended, a key was used for another request."""

    default_status = 409
    default_code = "CONFLICT"


class RateLimitError(OpsCoreApiError):
    """Too many requests, or too much that waits; ``retry_after`` says when to come back."""

    default_status = 429
    default_code = "RATE_LIMITED"


class ServerError(OpsCoreApiError):
    """The server could not: it stops, its disk is full, or it has a bug."""

    default_code = "INTERNAL_ERROR"


class ConnectionError(OpsCoreSDKError, builtins.ConnectionError):  # noqa: A001 - the name that users know
    """The server could not be reached, or what answered is no Ops-Core server.

    Whether the server did what was asked is unknown. Calls that may be repeated were repeated already.
    """


class TimeoutError(ConnectionError, builtins.TimeoutError):  # noqa: A001 - the name that users know
    """No answer, or no end of an execution, within the time that the caller gave.

    Attributes:
        timeout: That time in seconds.
    """

    def __init__(
        self, message: str = "", timeout: Optional[float] = None, details: Optional[Mapping[str, Any]] = None
    ) -> None:
        """Say what took too long.

        Args:
            message: One sentence for people.
            timeout: Seconds that were allowed.
            details: What else is known.
        """
        super().__init__(message, details)
        self.timeout = timeout


class ExecutionError(OpsCoreSDKError):
    """An execution ended without success.

    Attributes:
        execution: The execution as it ended, where it is known.
        execution_id: Its id.
    """

    def __init__(
        self,
        message: str = "",
        execution_id: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
        *,
        execution: Optional[Execution] = None,
    ) -> None:
        """Say how it ended.

        Args:
            message: One sentence for people.
            execution_id: Which execution; by default that of ``execution``.
            details: What else is known; by default the execution.
            execution: The execution as it ended.
        """
        super().__init__(message, execution if details is None else details)
        self.execution = execution
        self.execution_id = execution_id if execution is None else execution.execution_id

    @property
    def status(self) -> Optional[str]:
        """How it ended: failed or cancelled."""
        return None if self.execution is None else self.execution.status

    @property
    def error_code(self) -> Optional[str]:
        """The execution's own error code."""
        return None if self.execution is None else self.execution.error_code


AISpineError = OpsCoreSDKError
APIError = OpsCoreApiError
NetworkError = OpsCoreConnectionError = ConnectionError
OpsCoreTimeoutError = TimeoutError

_BY_STATUS: Mapping[int, Type[OpsCoreApiError]] = {
    400: ValidationError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: ValidationError,
    415: ValidationError,
    422: ValidationError,
    429: RateLimitError,
}


def kind_of(status: int, error_code: str = "") -> Type[OpsCoreApiError]:
    """The class for a refusal."""
    if "INSUFFICIENT_CREDITS" in error_code.upper():
        return InsufficientCreditsError
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else OpsCoreApiError)
