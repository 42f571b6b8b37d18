"""Use cases about API keys."""

from __future__ import annotations

import hmac
import logging
import secrets
from typing import Optional, Sequence

from opscore.domain.errors import Invalid, Unauthenticated
from opscore.domain.instants import Instant
from opscore.domain.keys import PREFIX, SCOPES, Identity, Key, fingerprint
from opscore.domain.ports import Clock, Store

log = logging.getLogger(__name__)

_FIRST_KEY_ID = "environment"


class Keys:
    """Create, list, revoke and check API keys."""

    def __init__(self, store: Store, clock: Clock, *, first_key: Optional[str], required: Optional[bool]) -> None:
        """Take what it works with.

        Args:
            store: Where the records are.
            clock: For the instants.
            first_key: An admin key that is not stored, from the settings.
            required: Whether a key is needed; None: when there is, or ever was, one.
        """
        self._store = store
        self._clock = clock
        self._first = fingerprint(first_key) if first_key else None
        self._required = required

    async def required(self) -> bool:
        """Whether requests need a key."""
        if self._required is not None:
            return self._required
        return self._first is not None or bool(await self._store.keys())

    async def authenticate(self, secret: str) -> Optional[Key]:
        """The key that a secret belongs to; None when it is not ours or was revoked."""
        found = fingerprint(secret)
        if self._first is not None and hmac.compare_digest(found, self._first):
            return Key(_FIRST_KEY_ID, _FIRST_KEY_ID, frozenset(SCOPES), created_at=0)
        key = await self._store.key(found)
        return None if key is None or key.revoked_at is not None else key

    async def identify(self, secret: Optional[str]) -> Identity:
        """Who asks with this key, or with none.

        Raises:
            Unauthenticated: The key is none of ours, whether or not one is needed.
        """
        key = None if secret is None else await self.authenticate(secret)
        if secret is not None and key is None:
            raise Unauthenticated("The API key is wrong or was revoked.")
        return Identity(await self.required(), key)

    async def create(self, name: str, scopes: Sequence[str]) -> tuple[Key, str]:
        """Make a key.

        Returns:
            Its record, and the key itself, which is shown this once and kept nowhere.

        Raises:
            Invalid: The name is empty or long, or a scope is unknown.
        """
        if not 0 < len(name.strip()) <= 100:
            raise Invalid("name must have 1 to 100 characters.", details={"name": ["1 to 100 characters."]})
        if not scopes or set(scopes) - set(SCOPES):
            text = f"scopes must be some of {', '.join(SCOPES)}."
            raise Invalid(text, details={"scopes": [text]})
        secret = PREFIX + secrets.token_urlsafe(32)
        now: Instant = self._clock.now()
        key = Key(self._clock.new_id(), name.strip(), frozenset(scopes), now, hint=secret[: len(PREFIX) + 4])
        await self._store.add_key(key, fingerprint(secret))
        log.info("key.created", extra={"key_id": key.key_id, "name_given": key.name, "scopes": sorted(key.scopes)})
        return key, secret

    async def list(self) -> Sequence[Key]:
        """All keys there ever were, oldest first."""
        return await self._store.keys()

    async def revoke(self, key_id: str) -> Key:
        """Revoke a key, at once; again is no error. Raises NotFound."""
        revoked = await self._store.revoke_key(key_id, self._clock.now())
        log.info("key.revoked", extra={"key_id": revoked.key_id})
        return revoked
