"""The OpenAPI 3.1 document, made from the handlers' decorators and the schemas they name.

aiohttp-apispec's own generator emits Swagger 2.0 and changes the handlers on the way; its decorators are
read here instead, and apispec makes the document from the same schemas.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from opscore.web.api.answer_schemas import ProblemSchema
from opscore.web.api.request_schemas import FlowDefinitionSchema
from opscore.web.auth import API_PREFIX, is_public
from opscore.web.bodies import YAML_TYPES
from opscore.web.streams import EVENT_STREAM

_OTHER_KINDS = {
    "/metrics": "text/plain",
    "/logs": EVENT_STREAM,
    "/events": EVENT_STREAM,
    "/executions/{execution_id}/events": EVENT_STREAM,
    "/executions/{execution_id}/stream": EVENT_STREAM,
}
"""What a path answers beside JSON, by the request's Accept."""
_PARAMETER = re.compile(r"\{(\w+)\}")
_ABOUT = "Run flows over fleets of AI agents, durably. Every path is also served under /api/v1."


def describe(router: web.UrlDispatcher, version: str) -> dict[str, Any]:
    """The document for all documented routes of the root face."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name)
    spec = APISpec(
        title="Ops-Core", version=version, openapi_version="3.1.0", plugins=[plugin], info={"description": _ABOUT}
    )
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme("header", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    for route in router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        noted = getattr(route.handler, "__apispec__", None)
        if noted is None or path.startswith(API_PREFIX) or route.method == "HEAD":
            continue
        spec.path(path=path, operations={route.method.lower(): _operation(path, route.method, noted)})
    return spec.to_dict()


def _name(schema: type[Schema]) -> str:
    name = schema if isinstance(schema, str) else getattr(schema, "__name__", type(schema).__name__)
    return name.removesuffix("Schema")


def _operation(path: str, method: str, noted: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    operation: dict[str, Any] = {
        "tags": noted["tags"],
        "summary": noted["summary"],
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}"),
        "parameters": [*parameters, *noted["parameters"]],
        "responses": {code: _response(path, code, given) for code, given in sorted(noted["responses"].items())},
    }
    if not is_public(path):
        operation["security"] = [{"key": []}, {"header": []}, {}]
    for body in noted["schemas"]:
        media = {"application/json": {"schema": body["schema"]}}
        if isinstance(body["schema"], FlowDefinitionSchema):
            media.update({kind: {"schema": {"type": "string"}} for kind in sorted(YAML_TYPES)[:1]})
        operation["requestBody"] = {"required": body["options"]["required"], "content": media}
    return operation


def _response(path: str, code: str, given: dict[str, Any]) -> dict[str, Any]:
    is_problem = isinstance(given["schema"], ProblemSchema)
    kind = "application/problem+json" if is_problem else "application/json"
    content: dict[str, Any] = {kind: {"schema": given["schema"]}}
    if path in _OTHER_KINDS and code == "200":
        content[_OTHER_KINDS[path]] = {"schema": {"type": "string"}}
    return {"description": given["description"], "content": content}
