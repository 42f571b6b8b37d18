"""The errors under the name that the first Ops-Core SDK had for their module."""

from opscore_sdk.errors import (
    AISpineError,
    APIError,
    AuthenticationError,
    ConflictError,
    ConnectionError,  # noqa: A004 - the name that users know
    ExecutionError,
    InsufficientCreditsError,
    NetworkError,
    NotFoundError,
    OpsCoreApiError,
    OpsCoreConfigurationError,
    OpsCoreConnectionError,
    OpsCoreSDKError,
    OpsCoreTimeoutError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TimeoutError,  # noqa: A004 - the name that users know
    ValidationError,
)

__all__ = [
    "AISpineError",
    "APIError",
    "AuthenticationError",
    "ConflictError",
    "ConnectionError",
    "ExecutionError",
    "InsufficientCreditsError",
    "NetworkError",
    "NotFoundError",
    "OpsCoreApiError",
    "OpsCoreConfigurationError",
    "OpsCoreConnectionError",
    "OpsCoreSDKError",
    "OpsCoreTimeoutError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "TimeoutError",
    "ValidationError",
]
