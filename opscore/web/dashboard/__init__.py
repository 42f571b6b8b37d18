"""The dashboard: one HTML shell and the ES modules, styles and pictures it is made of. All data comes from the API."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Mapping, Optional

import attrs
from aiohttp import web

from opscore.web.api import system

__all__ = ["PREFIX", "add_dashboard"]

PREFIX = "/dashboard/static/"

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
    "": "text/plain",
}
# Scripts and styles are files of ours, nothing is inline, and no text can become markup (Trusted Types).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@attrs.frozen
class _File:
    content_type: str
    body: bytes
    packed: bytes


@attrs.frozen
class _Site:
    """All files by name, and the page that begins with them."""

    digest: str
    files: Mapping[str, _File]
    shell: bytes


class Dashboard:
    """Answers with the files of the dashboard, which are read once, when they are first asked for.

    Their addresses name what is in them: an upgraded server has other addresses, so that browsers may keep the files
    for ever and never mix two versions.
    """

    def __init__(self) -> None:
        self._site: Optional[_Site] = None

    async def root(self, request: web.Request) -> web.Response:
        """The shell for a browser, the JSON pointer for everybody else."""
        if "text/html" not in request.headers.get("Accept", ""):
            pointer = await system.pointer(request)
            pointer.headers["Vary"] = "Accept"
            return pointer
        return web.Response(body=self.site.shell, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)

    async def file(self, request: web.Request) -> web.Response:
        """One file; 404 for whatever is not in the list, and for files of another version."""
        file = self.site.files.get(request.match_info["name"])
        if file is None or request.match_info["digest"] != self.site.digest:
            raise web.HTTPNotFound
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": _FOR_EVER,
            "Vary": "Accept-Encoding",
        }
        if file.content_type == _TYPES[".svg"]:
            headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        body = file.body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = file.packed
        return web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=headers)

    @property
    def site(self) -> _Site:
        """The files."""
        if self._site is None:
            self._site = _read(_STATIC)
        return self._site


def add_dashboard(app: web.Application) -> None:
    """Add the page at the root, and its files."""
    dashboard = Dashboard()
    app.router.add_get("/", dashboard.root)
    app.router.add_get(PREFIX + "{digest}/{name:.+}", dashboard.file)


def _read(directory: Path) -> _Site:
    files: dict[str, _File] = {}
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.suffix in _TYPES and path.is_file():
            name, body = path.relative_to(directory).as_posix(), path.read_bytes()
            digest.update(b"%s\0%d\0" % (name.encode(), len(body)))
            digest.update(body)
            files[name] = _File(_TYPES[path.suffix], body, gzip.compress(body, mtime=0))
    return _Site(digest.hexdigest()[:16], files, _shell(directory, f"{PREFIX}{digest.hexdigest()[:16]}/", files))


def _shell(directory: Path, base: str, files: Mapping[str, _File]) -> bytes:
    """The page, with the addresses of the styles and of all modules: the browser fetches them at once, not in turn."""
    styles = [f'<link rel="stylesheet" href="{base}{name}">' for name in files if name.endswith(".css")]
    modules = [f'<link rel="modulepreload" href="{base}{name}">' for name in files if name.endswith(".js")]
    page = (directory / "index.html").read_text(encoding="utf-8")
    return page.replace("{base}", base).replace("{links}", "\n    ".join([*styles, *modules])).encode()
