"""Routes that tell how things stand, and why."""

from __future__ import annotations

from aiohttp import web

from opscore.web.api import answers, insight_answers, insight_schemas
from opscore.web.api.documents import operation
from opscore.web.auth import given_key
from opscore.web.config import OPERATIONS


@operation("system", "Who I am, and what I may do", answers={200: insight_schemas.IdentitySchema})
async def whoami(request: web.Request) -> web.Response:
    """The key that the request brings; without one too, where none is needed."""
    found = await request.app[OPERATIONS].keys.identify(given_key(request))
    return answers.reply(insight_answers.identity(found))


ROUTES = (web.get("/whoami", whoami),)
