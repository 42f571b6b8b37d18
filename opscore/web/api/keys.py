"""Routes about API keys (scope admin)."""

from __future__ import annotations

from aiohttp import web

from opscore.web.api import answer_schemas, answers, request_schemas
from opscore.web.api.documents import operation
from opscore.web.config import BODIES, OPERATIONS

_SPEC = request_schemas.KeySpecSchema()


@operation("keys", "Create a key", answers={201: answer_schemas.KeySchema}, body=request_schemas.KeySpecSchema)
async def create_key(request: web.Request) -> web.Response:
    """The key itself is in this answer and nowhere else, ever."""
    given = request_schemas.load(_SPEC, await request.app[BODIES].json(request))
    key, secret = await request.app[OPERATIONS].keys.create(given["name"], given["scopes"])
    return answers.reply({**answers.key(key), "key": secret}, 201)


@operation("keys", "List all keys", answers={200: answer_schemas.KeysSchema})
async def list_keys(request: web.Request) -> web.Response:
    """All keys there ever were, oldest first."""
    keys = await request.app[OPERATIONS].keys.list()
    return answers.listing(request, "keys", [answers.key(key) for key in keys])


@operation("keys", "Revoke a key", answers={200: answer_schemas.RevokedKeySchema}, problems=(404, 507))
async def revoke_key(request: web.Request) -> web.Response:
    """At once; again is no error."""
    key = await request.app[OPERATIONS].keys.revoke(request.match_info["key_id"])
    return answers.reply({**answers.key(key), "message": f"The key {key.key_id} is revoked.", "status": "revoked"})


ROUTES = (
    web.get("/keys", list_keys),
    web.post("/keys", create_key),
    web.delete("/keys/{key_id}", revoke_key),
)
