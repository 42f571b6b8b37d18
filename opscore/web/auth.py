"""Who may ask: host, origin, key and scope.

A browser can be led to send requests to a server on this machine; the Host and Origin checks are against
that (DNS rebinding and cross-site requests). Keys and scopes are against everybody else.
"""

from __future__ import annotations

from typing import Optional
from urllib.parse import urlsplit

from aiohttp import web

from opscore.domain.errors import Forbidden, Unauthenticated
from opscore.web.config import OPERATIONS, RATE_LIMIT, WebConfig

LOOPBACK_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
PUBLIC_PATHS = frozenset(("/", "/docs", "/redoc", "/openapi.json", "/health", "/health/live", "/health/ready"))
PUBLIC_PREFIXES = ("/docs/static/", "/dashboard/static/")
API_PREFIX = "/api/v1"
WEBHOOK = "/v1/opscore/internal/agent/notify"
"""AgentKit's notices: signed, they need no key."""
WHOAMI = "/whoami"
"""Tells whoever brings no key whether one is needed; one that it brings is checked."""

_ADMIN_PATHS = ("/keys",)
_KEY_HEADERS = ("Authorization", "X-API-Key")
_READING_POSTS = frozenset(("/flows/validate",))


def bare_path(path: str) -> str:
    """The path without the prefix that both faces of the API share."""
    return path[len(API_PREFIX) :] if path.startswith(API_PREFIX + "/") else path


def is_public(path: str) -> bool:
    """Whether a path needs no key."""
    bare = bare_path(path)
    return bare in PUBLIC_PATHS or bare.startswith(PUBLIC_PREFIXES)


def needed_scope(method: str, path: str) -> str:
    """The scope that a request needs."""
    bare = bare_path(path)
    if bare.startswith(_ADMIN_PATHS):
        return "admin"
    if method in ("GET", "HEAD") or bare in _READING_POSTS:
        return "read"
    return "write"


def check_host(request: web.Request, config: WebConfig) -> None:
    """Refuse requests meant for another host, or sent by another site's pages.

    Raises:
        Forbidden: They are.
    """
    allowed = frozenset(name.lower() for name in config.allowed_hosts)
    if not allowed and config.is_loopback:
        allowed = LOOPBACK_HOSTS
    host = _host_name(request.headers.get("Host", ""))
    if host is None or (allowed and "*" not in allowed and host not in allowed):
        raise Forbidden("This server does not answer to that Host; see OPSCORE_ALLOWED_HOSTS.")
    origin = request.headers.get("Origin")
    if origin is not None:
        name = _host_name(urlsplit(origin).netloc) if origin.startswith(("http://", "https://")) else None
        if name is None or (name != host and name not in allowed):
            raise Forbidden("Requests from pages of other origins are not accepted.")


def _host_name(netloc: str) -> Optional[str]:
    """The name in ``name:port`` or ``[address]:port``, in lower case; None when it is neither."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
        name = parts.hostname
    except ValueError:
        return None
    if not name or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return name.rstrip(".").lower()


async def check_key(request: web.Request) -> str:
    """Demand a key where one is needed; who asks, for idempotency and rate limits.

    Raises:
        Unauthenticated: No key, or none of ours.
        Forbidden: The key lacks the scope.
        Overloaded: The caller is over its rate limit.
    """
    caller = await _caller(request)
    request.app[RATE_LIMIT].take(caller or f"address:{request.remote}")
    return caller


async def _caller(request: web.Request) -> str:
    operations = request.app[OPERATIONS]
    keys = operations.keys
    if is_public(request.path) or not await keys.required():
        return ""
    if request.path == WEBHOOK and operations.webhook.is_signed:
        return ""
    if bare_path(request.path) == WHOAMI and not any(name in request.headers for name in _KEY_HEADERS):
        return ""
    secret = given_key(request)
    if secret is None:
        raise Unauthenticated("This needs an API key: Authorization: Bearer <key>.")
    key = await keys.authenticate(secret)
    if key is None:
        raise Unauthenticated("The API key is wrong or was revoked.")
    scope = needed_scope(request.method, request.path)
    if not key.allows(scope):
        raise Forbidden(f'The API key lacks the scope "{scope}".')
    return key.key_id


def given_key(request: web.Request) -> Optional[str]:
    """The API key that a request brings, right or wrong; None when it brings none."""
    given = request.headers.get("Authorization")
    if given is not None:
        kind, _, secret = given.partition(" ")
        return secret.strip() if kind.lower() == "bearer" and secret.strip() else None
    return request.headers.get("X-API-Key") or None
