"""Routes about flows."""

from __future__ import annotations

from typing import Optional

from aiohttp import web

from opscore.web.api import answer_schemas, answers, queries, request_schemas
from opscore.web.api.documents import operation, query
from opscore.web.config import BODIES, OPERATIONS


@operation("flows", "List all flows", answers={200: answer_schemas.FlowsSchema})
async def list_flows(request: web.Request) -> web.Response:
    """The newest version of each flow, by id."""
    stored = await request.app[OPERATIONS].flows.list()
    return answers.listing(request, "flows", [answers.flow(one) for one in stored])


@operation(
    "flows",
    "Get a flow",
    answers={200: answer_schemas.FlowSchema},
    parameters=(
        query("version", "integer", "which version; default: the newest", minimum=1, maximum=queries.NEWEST_VERSION),
    ),
    problems=(404,),
)
async def get_flow(request: web.Request) -> web.Response:
    """The definition as it was given, and what the server adds."""
    version: Optional[int] = queries.integer(request, "version", 0, 1, queries.NEWEST_VERSION) or None
    stored = await request.app[OPERATIONS].flows.get(request.match_info["flow_id"], version)
    return answers.reply(answers.flow(stored))


@operation("flows", "List the versions of a flow", answers={200: answer_schemas.VersionsSchema}, problems=(404,))
async def list_versions(request: web.Request) -> web.Response:
    """All versions, newest first."""
    flow_id = request.match_info["flow_id"]
    stored = await request.app[OPERATIONS].flows.versions(flow_id)
    return answers.listing(request, "versions", [answers.flow(one) for one in stored], flow_id=flow_id)


@operation(
    "flows",
    "Store a new flow (JSON or YAML); the same again changes nothing",
    answers={201: answer_schemas.FlowSchema, 200: answer_schemas.FlowSchema},
    body=request_schemas.FlowDefinitionSchema,
    problems=(409,),
)
async def create_flow(request: web.Request) -> web.Response:
    """201 for a new flow, 200 for the same again."""
    definition = await request.app[BODIES].document(request)
    stored, is_new = await request.app[OPERATIONS].flows.create(definition)
    location = {"Location": f"{request.path}/{stored.flow.flow_id}"}
    return answers.reply(answers.flow(stored), 201 if is_new else 200, location)


@operation(
    "flows",
    "Store the next version of a flow (JSON or YAML)",
    answers={200: answer_schemas.FlowSchema},
    body=request_schemas.FlowDefinitionSchema,
    problems=(404, 409),
)
async def replace_flow(request: web.Request) -> web.Response:
    """What runs keeps its own version."""
    definition = await request.app[BODIES].document(request)
    stored = await request.app[OPERATIONS].flows.replace(request.match_info["flow_id"], definition)
    return answers.reply(answers.flow(stored))


@operation("flows", "Take a flow out of use", answers={200: answer_schemas.DoneSchema}, problems=(404, 507))
async def delete_flow(request: web.Request) -> web.Response:
    """Its history stays readable."""
    flow_id = request.match_info["flow_id"]
    await request.app[OPERATIONS].flows.delete(flow_id)
    return answers.reply({"message": f"The flow {flow_id} is deleted.", "status": "deleted"})


@operation(
    "flows",
    "Check a definition (JSON or YAML) without storing it",
    answers={200: answer_schemas.ReportSchema},
    body=request_schemas.FlowDefinitionSchema,
)
async def validate_flow(request: web.Request) -> web.Response:
    """What is wrong with a definition is an answer here, no error."""
    definition = await request.app[BODIES].document(request)
    return answers.reply(answers.report(await request.app[OPERATIONS].flows.check(definition)))


ROUTES = (
    web.get("/flows", list_flows),
    web.post("/flows", create_flow),
    web.post("/flows/validate", validate_flow),
    web.get("/flows/{flow_id}", get_flow),
    web.put("/flows/{flow_id}", replace_flow),
    web.delete("/flows/{flow_id}", delete_flow),
    web.get("/flows/{flow_id}/versions", list_versions),
)
