"""Reading request bodies: in time, within the size limit, as what they claim to be."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Optional

from aiohttp import web

from opscore.domain.documents import decode_json, decode_yaml
from opscore.domain.errors import Invalid, TooLarge, UnsupportedMediaType
from opscore.domain.instants import Seconds
from opscore.web.errors import RequestTimeout

_IN_THREAD = 256 * 1024
YAML_TYPES = frozenset(("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"))


class Bodies:
    """Reads bodies with one server's limits."""

    def __init__(self, timeout: Seconds, limit: int) -> None:
        """Take what it works with.

        Args:
            timeout: Seconds a client may take to send a body.
            limit: Largest body in bytes.
        """
        self._timeout = timeout
        self._limit = limit

    async def json(self, request: web.Request, *, optional: bool = False) -> Any:
        """The JSON value of the body; None when there is none and that is allowed.

        Raises:
            Invalid: It is not JSON, or is missing.
            TooLarge: It is over the limit.
            UnsupportedMediaType: It does not claim to be JSON.
            RequestTimeout: It did not come in time.
        """
        return await self._read(request, optional=optional, yaml=False)

    async def document(self, request: web.Request) -> Any:
        """The value of a JSON or YAML body, by its content type; raises as :meth:`json`."""
        return await self._read(request, optional=False, yaml=True)

    async def _read(self, request: web.Request, *, optional: bool, yaml: bool) -> Any:
        raw = await self.raw(request)
        if not raw and optional:
            return None
        return await self.decoded(request, raw, yaml=yaml)

    async def decoded(self, request: web.Request, raw: bytes, *, yaml: bool = False) -> Any:
        """The JSON (or YAML) value of a body that was read as bytes; raises as :meth:`json`."""
        if not raw:
            raise Invalid("The request needs a body.", error_code="INVALID_JSON")
        decode = self._decoder(request, yaml=yaml)
        if len(raw) <= _IN_THREAD:
            return decode(raw)
        return await asyncio.get_running_loop().run_in_executor(None, decode, raw)

    async def raw(self, request: web.Request) -> bytes:
        """The body as it came, for whoever checks its signature.

        Raises:
            TooLarge: It is over the limit.
            UnsupportedMediaType: It is compressed.
            RequestTimeout: It did not come in time.
        """
        if (request.content_length or 0) > self._limit:
            raise self._too_large()
        if not request.can_read_body:
            return b""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Compressed bodies are not accepted; send it as it is.")
        reading = asyncio.ensure_future(request.read())
        done, _ = await asyncio.wait({reading}, timeout=self._timeout)
        if not done:
            reading.cancel()
            raise RequestTimeout(f"The body did not arrive within {self._timeout:g} s.")
        try:
            return reading.result()
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large() from None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._limit} bytes.")

    def _decoder(self, request: web.Request, *, yaml: bool) -> Callable[[bytes], Any]:
        charset = _charset(request)
        if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType("Only UTF-8 is accepted.")
        kind = request.content_type.lower() if "Content-Type" in request.headers else "application/json"
        if kind == "application/json" or kind.endswith("+json"):
            return decode_json
        if yaml and kind in YAML_TYPES:
            return decode_yaml
        accepted = "application/json or application/yaml" if yaml else "application/json"
        raise UnsupportedMediaType(f"Send the body as {accepted} (Content-Type), not as {kind[:100]}.")


def _charset(request: web.Request) -> Optional[str]:
    try:
        return request.charset
    except (LookupError, ValueError):
        return "unknown"
