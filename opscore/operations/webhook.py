"""Use cases about AgentKit's notices: who may send them, and what they do.

A notice is signed: ``X-AgentKit-Signature`` is the HMAC-SHA256 (RFC 2104), in hex, of its timestamp, a dot and its raw
body. A signature is good for 300 seconds around its timestamp, and for one use: used ones are kept in the store, in the
same unit of work as what they did, so that neither a restart nor a crash makes one good again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any, Literal, Mapping, Optional

import attrs

from opscore.domain.announcements import announced
from opscore.domain.errors import Unauthenticated
from opscore.domain.instants import SECOND, Seconds
from opscore.domain.ports import Clock, Proof
from opscore.operations.agents import Agents

WINDOW: Seconds = 300.0
_TIMESTAMP = re.compile(r"[0-9]{1,15}")


@attrs.frozen
class Signed:
    """A notice's proof as it came: header values, and the body's bytes."""

    timestamp: Optional[str]
    signature: Optional[str]
    body: bytes


@attrs.frozen
class Notice:
    """What AgentKit says about one of its agents."""

    event: Literal["REGISTER", "DEREGISTER"]
    details: Mapping[str, Any] = attrs.field(hash=False)
    """The agent as AgentKit describes it."""


class Webhook:
    """Takes notices."""

    def __init__(self, agents: Agents, clock: Clock, secret: Optional[str]) -> None:
        self._agents = agents
        self._clock = clock
        self._secret = None if secret is None else secret.encode()

    @property
    def is_signed(self) -> bool:
        """Whether notices prove themselves, and so need no key."""
        return self._secret is not None

    def prove(self, signed: Signed) -> Optional[Proof]:
        """Check a notice's signature; None where none is demanded.

        Raises:
            Unauthenticated: It is missing, wrong, or too far from now.
        """
        if self._secret is None:
            return None
        timestamp, signature = signed.timestamp, signed.signature
        if timestamp is None or signature is None:
            raise _refused("This needs the headers X-AgentKit-Timestamp and X-AgentKit-Signature.")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise _refused("X-AgentKit-Timestamp must be seconds since 1970, as digits.")
        digest = hmac.new(self._secret, timestamp.encode() + b"." + signed.body, hashlib.sha256).hexdigest()
        # Bytes, for compare_digest refuses text that is not ASCII (HAZARDS 18).
        if not hmac.compare_digest(digest.encode(), signature.strip().lower().encode("utf-8", "surrogateescape")):
            raise _refused("X-AgentKit-Signature does not fit the body and the timestamp.")
        at = int(timestamp)
        if abs(self._clock.now() // SECOND - at) > WINDOW:  # whole seconds: the sender's fraction is not known
            raise _refused(f"X-AgentKit-Timestamp is more than {WINDOW:g} seconds from now.")
        return Proof(digest, (at + int(WINDOW) + 1) * SECOND)

    async def take(self, notice: Notice, proof: Optional[Proof]) -> str:
        """Do what a notice says; what was done, in a sentence.

        Raises:
            Replayed: The notice was taken before.
            Invalid: The details are not as they should be, or the agent lives where no agent may.
        """
        agent_id = announced(notice.details).agent_id
        if notice.event == "DEREGISTER":
            if await self._agents.withdraw(agent_id, proof):
                return f"Agent {agent_id} is deregistered."
            return f"Agent {agent_id} was not registered; nothing changed."
        if await self._agents.announce(notice.details, proof):
            return f"Agent {agent_id} is registered."
        return f"Agent {agent_id} was registered already; nothing changed."


def _refused(text: str) -> Unauthenticated:
    return Unauthenticated(text, error_code="INVALID_SIGNATURE")
