"""What all groups of methods stand on: send a request, make a model of the answer."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any, Optional, Type, TypeVar

from opscore_sdk import wire
from opscore_sdk.checks import an_idempotency_key, some_seconds
from opscore_sdk.errors import NotFoundError
from opscore_sdk.models import Model
from opscore_sdk.transport import Transport

M = TypeVar("M", bound=Model)


class Calls:
    """A client's own side: the network, and how answers are read."""

    _transport: Transport

    async def _data(self, request: wire.Request, timeout: Optional[float] = None) -> Any:
        """The data of the answer to a request."""
        answer = await self._transport.send(request, some_seconds(timeout, "timeout"))
        self._note(answer)
        return wire.read(answer.status, answer.headers, answer.body, self._transport.clock.now())

    async def _model(self, kind: Type[M], request: wire.Request, timeout: Optional[float] = None) -> M:
        """The answer to a request as a model."""
        data = await self._data(request, timeout)
        return kind(data if isinstance(data, dict) else {})

    async def _listed(self, kind: Type[M], name: str, request: wire.Request, timeout: Optional[float]) -> M:
        """A list under its name; a server that answers with the bare list is understood, too."""
        data = await self._data(request, timeout)
        return kind({name: data, "count": len(data)} if isinstance(data, list) else data or {})

    async def _gone(self, request: wire.Request, timeout: Optional[float]) -> bool:
        """Whether there was something to delete."""
        with contextlib.suppress(NotFoundError):
            await self._data(request, timeout)
            return True
        return False

    def _note(self, answer: wire.Answer) -> None:
        """For whoever wants the answers as they came."""


def new_key(given: Optional[str]) -> str:
    """The caller's idempotency key, or one that nobody else has."""
    return uuid.uuid4().hex if given is None else an_idempotency_key(given)
