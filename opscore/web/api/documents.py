"""Shorthands for the decorators that document handlers (aiohttp-apispec)."""

from __future__ import annotations

from typing import Any, Callable, Optional, TypeVar

from aiohttp_apispec import docs, json_schema, response_schema
from marshmallow import Schema

from opscore.web.api.answer_schemas import ProblemSchema

Handler = TypeVar("Handler", bound=Callable[..., Any])

_PROBLEMS = {
    400: "The request makes no sense as it stands.",
    401: "No key, or none of ours.",
    403: "The key lacks the scope; or a foreign Host or Origin.",
    404: "Nothing has this id.",
    405: "Not that method.",
    408: "The body did not arrive in time.",
    409: "The present state rules it out.",
    413: "Over a size limit.",
    415: "A format nobody here reads.",
    429: "Over a rate or queue limit.",
    503: "Starting or stopping.",
    507: "The disk is full.",
}


def operation(
    tag: str,
    summary: str,
    *,
    answers: dict[int, type[Schema]],
    body: Optional[type[Schema]] = None,
    body_required: bool = True,
    parameters: tuple[dict[str, Any], ...] = (),
    problems: tuple[int, ...] = (),
) -> Callable[[Handler], Handler]:
    """Document a handler: what it takes, what it answers, how it refuses."""
    always = (400, 401, 403, 429, 503, *((408, 413, 415, 507) if body else ()))

    def decorate(handler: Handler) -> Handler:
        for status, schema in answers.items():
            handler = response_schema(schema, status, description=(schema.__doc__ or "").strip())(handler)
        for status in sorted({*always, *problems}):
            handler = response_schema(ProblemSchema, status, description=_PROBLEMS[status])(handler)
        if body is not None:
            handler = json_schema(body, required=body_required)(handler)
        documented: Handler = docs(tags=[tag], summary=summary, parameters=list(parameters))(handler)
        return documented

    return decorate


def query(name: str, kind: str, text: str, **schema: Any) -> dict[str, Any]:
    """A query parameter."""
    return {"in": "query", "name": name, "description": text, "schema": {"type": kind, **schema}}


def header(name: str, text: str, **schema: Any) -> dict[str, Any]:
    """A request header."""
    return {"in": "header", "name": name, "description": text, "schema": {"type": "string", **schema}}


TRACE_HEADERS = (
    header("traceparent", "the caller's span (W3C Trace Context): the execution joins its trace"),
    header("tracestate", "what other tracing systems want to find again; passed on to the agents"),
)
