"""API keys: who may ask what. Only hashes of keys are ever kept."""

from __future__ import annotations

import hashlib
from typing import Optional

import attrs

from opscore.domain.instants import Instant

PREFIX = "sk_ops_"
"""How every key of ours begins, so that people and secret scanners know one when they see it."""

SCOPES = ("read", "write", "admin")


@attrs.frozen
class Key:
    """An API key's record. The key itself was shown once, to whoever created it."""

    key_id: str
    name: str
    scopes: frozenset[str]
    created_at: Instant
    revoked_at: Optional[Instant] = None
    hint: str = ""
    """The first characters of the key, to tell keys apart."""

    def allows(self, scope: str) -> bool:
        """Whether the key may be used for something that needs this scope."""
        return "admin" in self.scopes or scope in self.scopes or (scope == "read" and "write" in self.scopes)


@attrs.frozen
class Identity:
    """Who asks, and what that one may do."""

    key_required: bool
    """Whether this server answers nobody without a key."""
    key: Optional[Key] = None
    """The key that was given; None where none is needed and none was given."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """All that is allowed, what a wider scope includes too; everything where no key is needed."""
        return tuple(scope for scope in SCOPES if not self.key_required or (self.key and self.key.allows(scope)))


def fingerprint(secret: str) -> str:
    """SHA-256 in hex: enough for random keys of 256 bits, which no dictionary holds."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
