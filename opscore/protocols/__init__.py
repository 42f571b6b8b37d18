"""How agents are called: one file for each protocol, one contract suite for all (``tests/protocols``)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping, Optional, Sequence

from aiohttp.abc import AbstractResolver

from opscore.domain.instants import Seconds
from opscore.domain.ports import AgentProtocol
from opscore.protocols.addresses import AddressGuard, ForbiddenAddress
from opscore.protocols.agentkit import AgentKit
from opscore.protocols.discretion import Discretion
from opscore.protocols.local import AgentError, Handler, Local
from opscore.protocols.sessions import open_session
from opscore.protocols.spine import PROBE_TIMEOUT, Spine

__all__ = [
    "AddressGuard",
    "AgentError",
    "AgentKit",
    "Discretion",
    "ForbiddenAddress",
    "Handler",
    "Local",
    "Spine",
    "open_protocols",
    "open_session",
]

_LOCAL_THREADS = 32


@asynccontextmanager
async def open_protocols(
    networks: Sequence[str] = (),
    max_answer_bytes: int = 8 * 1024 * 1024,
    local_agents: Optional[Mapping[str, Handler]] = None,
    resolver: Optional[AbstractResolver] = None,
    agentkit: tuple[Optional[str], Optional[str]] = (None, None),
    probe_timeout: Seconds = PROBE_TIMEOUT,
    discretion: Optional[Discretion] = None,
) -> AsyncIterator[Mapping[str, AgentProtocol]]:
    """Open every protocol, by name. End all calls before leaving.

    Args:
        networks: The only networks (CIDR) agents may live in; empty: any but link-local and metadata networks.
        max_answer_bytes: The largest answer that is read, decompressed.
        local_agents: Functions in this process, by agent id.
        resolver: Looks names up instead of the operating system.
        agentkit: Where AgentKit is, and the key for it. It is no agent: ``networks`` do not limit it.
        probe_timeout: Seconds that an agent may take to tell its health.
        discretion: What to do about secrets; by default nothing.
    """
    discretion = discretion or Discretion()
    guard = AddressGuard(networks)
    threads = ThreadPoolExecutor(_LOCAL_THREADS, thread_name_prefix="local-agent")
    try:
        async with open_session(guard, resolver) as session, open_session(AddressGuard(), resolver) as other:
            spine = Spine(session, guard, max_answer_bytes, probe_timeout=probe_timeout, discretion=discretion)
            spoken: Sequence[AgentProtocol] = (
                spine,
                Local(local_agents or {}, threads, max_answer_bytes, discretion),
                AgentKit(other, guard, spine, *agentkit, discretion=discretion),
            )
            yield {protocol.name: protocol for protocol in spoken}
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
