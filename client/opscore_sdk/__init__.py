"""The client of Ops-Core: start flows on a server, follow them, and manage flows, agents and keys."""

from opscore_sdk._version import __version__
from opscore_sdk.agent import Agent, AgentError, Call
from opscore_sdk.aio import OpsCoreClientAsync, RawResponse
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
from opscore_sdk.models import (
    AgentInfo,
    AgentState,
    Event,
    Execution,
    ExecutionPage,
    ExecutionResults,
    Flow,
    Message,
    NodeResult,
    Session,
)
from opscore_sdk.observations import Explanation, FeedEvent, LogEntry, Overview
from opscore_sdk.pages import Pages
from opscore_sdk.spine import AISpine, AsyncAISpine
from opscore_sdk.streams import EventStream, Feed
from opscore_sdk.sync import OpsCoreClientSync, SyncEventStream, SyncFeed, SyncPages

__all__ = [
    "AISpine",
    "AISpineError",
    "APIError",
    "Agent",
    "AgentError",
    "AgentInfo",
    "AgentState",
    "AsyncAISpine",
    "AuthenticationError",
    "Call",
    "ConflictError",
    "ConnectionError",
    "Event",
    "EventStream",
    "Execution",
    "ExecutionError",
    "ExecutionPage",
    "ExecutionResults",
    "Explanation",
    "Feed",
    "FeedEvent",
    "Flow",
    "InsufficientCreditsError",
    "LogEntry",
    "Message",
    "NetworkError",
    "NodeResult",
    "NotFoundError",
    "OpsCoreApiError",
    "OpsCoreClientAsync",
    "OpsCoreClientSync",
    "OpsCoreConfigurationError",
    "OpsCoreConnectionError",
    "OpsCoreSDKError",
    "OpsCoreTimeoutError",
    "Overview",
    "Pages",
    "PermissionDeniedError",
    "RateLimitError",
    "RawResponse",
    "ServerError",
    "Session",
    "SyncEventStream",
    "SyncFeed",
    "SyncPages",
    "TimeoutError",
    "ValidationError",
    "__version__",
]
