"""The API's own documentation: OpenAPI 3.1, Swagger UI and ReDoc, all without the network."""

from __future__ import annotations

from pathlib import Path

import orjson
from aiohttp import web

from opscore.web.config import OPENAPI
from opscore.web.docs.openapi import describe

_STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def add_docs(app: web.Application, version: str) -> None:
    """Add the document, both pages and their files; after all other routes."""
    app[OPENAPI] = orjson.dumps(describe(app.router, version))
    app.router.add_get("/openapi.json", _document)
    app.router.add_get("/docs", _swagger)
    app.router.add_get("/redoc", _redoc)
    app.router.add_get("/docs/static/{name}", _file)


async def _document(request: web.Request) -> web.Response:
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def _swagger(_: web.Request) -> web.FileResponse:
    return _page("swagger.html")


async def _redoc(_: web.Request) -> web.FileResponse:
    return _page("redoc.html")


def _page(name: str) -> web.FileResponse:
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.FileResponse(_STATIC / name, headers=headers)


async def _file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    known = {path.name for path in _STATIC.iterdir()}
    if name not in known:
        raise web.HTTPNotFound
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=86400"}
    return web.FileResponse(_STATIC / name, headers=headers)
