"""Methods about API keys; they need the scope admin."""

from __future__ import annotations

from typing import Optional, Sequence

from opscore_sdk import checks
from opscore_sdk._calls import Calls
from opscore_sdk.models import ApiKey, ApiKeyList
from opscore_sdk.wire import request


class KeyMethods(Calls):
    """Make, list and revoke API keys."""

    async def create_key(
        self,
        name: str,
        scopes: Sequence[str] = ("read", "write"),
        *,
        timeout: Optional[float] = None,
    ) -> ApiKey:
        """Make an API key. ``key`` is in this answer and never again, so this call is never repeated by itself.

        Args:
            name: What it is for.
            scopes: What it may do: read, write, admin.
            timeout: Seconds for this call instead of the client's.
        """
        wanted = [checks.one_of(scope, "scopes", checks.SCOPES) for scope in scopes]
        body = {"name": checks.some_text(name, "name"), "scopes": wanted}
        return await self._model(ApiKey, request("POST", "keys", json=body), timeout)

    async def list_keys(self, *, timeout: Optional[float] = None) -> ApiKeyList:
        """All keys there ever were, without the keys themselves: ``["keys"]`` and ``count``.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return await self._listed(ApiKeyList, "keys", request("GET", "keys"), timeout)

    async def revoke_key(
        self,
        key_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> ApiKey:
        """Revoke a key, at once. Again is no error.

        Args:
            key_id: Which key.
            timeout: Seconds for this call instead of the client's.
        """
        return await self._model(ApiKey, request("DELETE", "keys", checks.a_token(key_id, "key_id")), timeout)
