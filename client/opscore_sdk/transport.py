"""The network: one aiohttp session, a time limit on every request, no redirects followed."""

from __future__ import annotations

import asyncio
from typing import Any, Mapping, Optional

import aiohttp
from yarl import URL

from opscore_sdk._version import __version__
from opscore_sdk.errors import OpsCoreConnectionError, OpsCoreSDKError, OpsCoreTimeoutError
from opscore_sdk.wire import Request, read


class Transport:
    """Sends requests to one server. Connections are kept open until :meth:`close`."""

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout: float) -> None:
        """Prepare; the session is opened by the first request.

        Args:
            base_url: The server's address, without a trailing slash.
            headers: What every request carries, such as the key.
            timeout: Seconds for one request, its answer included.
        """
        self._base_url = base_url
        self._headers = {"User-Agent": f"opscore-sdk/{__version__}", "X-SDK-Version": f"opscore-sdk/{__version__}"}
        self._headers.update(headers)
        self._timeout = timeout
        self._session: Optional[aiohttp.ClientSession] = None
        self._closed = False

    async def send(self, request: Request) -> Any:
        """Send a request and return the data of its answer.

        Raises:
            OpsCoreApiError: The server said no.
            OpsCoreTimeoutError: No answer in time.
            OpsCoreConnectionError: The server could not be reached, or is no Ops-Core server.
        """
        limit = self._timeout + request.extra_seconds
        try:
            async with self._open_session().request(
                request.method,
                URL(self._base_url + request.path, encoded=True),
                headers=request.headers,
                data=request.body,
                timeout=aiohttp.ClientTimeout(total=limit),
                allow_redirects=False,
            ) as response:
                return read(response.status, response.headers, await response.read())
        except asyncio.TimeoutError:
            raise OpsCoreTimeoutError(f"{self._base_url} gave no answer within {limit:g} seconds.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise OpsCoreConnectionError(f"Cannot reach {self._base_url}: {_reason(error)}.") from error

    async def close(self) -> None:
        """Close the connections; requests are refused from now on."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise OpsCoreSDKError("The client is closed.")
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        return self._session


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ConnectionRefusedError):
        return "nothing listens there"
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(text).split()).rstrip(".")
