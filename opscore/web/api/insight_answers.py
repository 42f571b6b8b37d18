"""Answers about how things stand: pure translation of the domain's values to the API's JSON."""

from __future__ import annotations

from typing import Any

from opscore.domain.keys import Identity

Json = dict[str, Any]


def identity(found: Identity) -> Json:
    """Who asks, and what that one may do."""
    return {
        "key_required": found.key_required,
        "authenticated": found.key is not None,
        "key_id": None if found.key is None else found.key.key_id,
        "name": None if found.key is None else found.key.name,
        "scopes": list(found.scopes),
    }
