"""AgentKit's notices about its agents: the signed webhook."""

from __future__ import annotations

from aiohttp import web

from opscore.operations.webhook import Notice, Signed
from opscore.web.api import answers
from opscore.web.api.documents import header, operation
from opscore.web.api.request_schemas import load
from opscore.web.auth import WEBHOOK
from opscore.web.config import BODIES, OPERATIONS
from opscore.web.opscore_v1 import schemas

_NOTICE = schemas.NoticeSchema()


@operation(
    "dialect",
    "Take a notice of AgentKit's about an agent",
    answers={200: schemas.TakenSchema},
    body=schemas.NoticeSchema,
    parameters=(
        header("X-AgentKit-Timestamp", "seconds since 1970; demanded where a secret is set"),
        header(
            "X-AgentKit-Signature", "HMAC-SHA256 in hex of timestamp, dot and raw body; demanded where a secret is set"
        ),
    ),
)
async def notify(request: web.Request) -> web.Response:
    """Proves itself by its signature where a secret is set, and needs a key otherwise."""
    bodies, webhook = request.app[BODIES], request.app[OPERATIONS].webhook
    raw = await bodies.raw(request)
    headers = request.headers
    proof = webhook.prove(Signed(headers.get("X-AgentKit-Timestamp"), headers.get("X-AgentKit-Signature"), raw))
    given = load(_NOTICE, await bodies.decoded(request, raw))
    message = await webhook.take(Notice(given["event_type"], given["agent_details"]), proof)
    return answers.reply({"status": "success", "message": message})


ROUTES = (web.post(WEBHOOK, notify),)
