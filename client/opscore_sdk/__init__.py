"""The client of Ops-Core: start flows on a server, follow them, and manage flows, agents and keys."""

from opscore_sdk._version import __version__
from opscore_sdk.client import OpsCoreClientAsync
from opscore_sdk.errors import (
    OpsCoreApiError,
    OpsCoreConfigurationError,
    OpsCoreConnectionError,
    OpsCoreSDKError,
    OpsCoreTimeoutError,
)

__all__ = [
    "OpsCoreApiError",
    "OpsCoreClientAsync",
    "OpsCoreConfigurationError",
    "OpsCoreConnectionError",
    "OpsCoreSDKError",
    "OpsCoreTimeoutError",
    "__version__",
]
