"""Discretion: what an agent says in a failure is stored and shown, so no secret that it was told may be in it."""

from __future__ import annotations

from typing import Callable

import attrs

from opscore.domain.calls import Answered, Deferred, Probe, Reply


def _told(address: str) -> None:
    """Nobody wants to know."""


def _as_it_is(text: str) -> str:
    return text


@attrs.frozen
class Discretion:
    """What the protocols do about secrets."""

    learn: Callable[[str], object] = _told
    """Told each address before it is used first: there may be a key in it."""
    mask: Callable[[str], str] = _as_it_is
    """Gives a text without the secrets that are known."""

    def reply(self, reply: Reply) -> Reply:
        """The reply without secrets in what it says of a failure; an output is the agent's own."""
        if isinstance(reply, (Answered, Deferred)):
            return reply
        code, message = self.mask(reply.error_code), self.mask(reply.error_message)
        if (code, message) == (reply.error_code, reply.error_message):
            return reply
        return attrs.evolve(reply, error_code=code, error_message=message)

    def probe(self, probe: Probe) -> Probe:
        """The same for a look at an agent's health."""
        return attrs.evolve(probe, message=self.mask(probe.message))
