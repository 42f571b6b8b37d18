"""The ``agentkit`` protocol: tasks are handed to AgentKit, and their agents answer later.

``POST {AgentKit}/v1/agents/{agentId}/run`` is answered with 202; what the agent made of the task comes back as reports
of its state, or as an explicit completion. What AgentKit itself does not take (it is down, it is busy) is no failure
of the agent: the task is offered again.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
from typing import Any, Mapping, Optional, Sequence

import aiohttp
import orjson
import yarl

from opscore.domain.agents import AgentSpec
from opscore.domain.announcements import announced
from opscore.domain.calls import Call, Deferred, Postponed, Probe, Refused, Reply
from opscore.domain.documents import decode_json
from opscore.domain.errors import Invalid, InvalidDocument, Unavailable
from opscore.domain.instants import Seconds
from opscore.domain.ports import NotOffered
from opscore.domain.tasks import task_id
from opscore.protocols import answers
from opscore.protocols.addresses import AddressGuard
from opscore.protocols.discretion import Discretion
from opscore.protocols.spine import IN_THREAD_FROM, Spine, os_reason, payload_body, read_body

SENDER = "opscore_system_id"
HAND_OVER_TIMEOUT: Seconds = 10.0
"""AgentKit only takes tasks over; one that needs longer for that is not well."""
_LIST_TIMEOUT: Seconds = 30.0
_LONGEST_LIST = 16 * 1024 * 1024
_LONGEST_ANSWER = 64 * 1024
_ENDPOINTS_KNOWN = 4_096
_BUSY = frozenset({408, 409, 423, 425, 429})
_NOT_OFFERED = (404, 405, 501)
# "http://v1" and "http://run" are hosts of those names, not paths.
_V1 = re.compile(r"(?<!:/)/v1\Z")
_RUN = re.compile(r"(?<!:/)/run\Z")
_log = logging.getLogger(__name__)


class AgentKit:
    """Hands tasks to agents by way of AgentKit; also the directory of its agents.

    Args:
        session: The session of :func:`opscore.protocols.sessions.open_session`; its owner closes it.
        guard: Says which addresses may be asked for their health.
        prober: Asks agents for their health.
        url: Where AgentKit is, with or without ``/v1``; None when there is none.
        key: The key for it, if it wants one.
        timeout: Seconds that AgentKit may take to take a task over.
        discretion: What to do about secrets.
    """

    name = "agentkit"
    answers_later = True
    needs_endpoint = True

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guard: AddressGuard,
        prober: Spine,
        url: Optional[str],
        key: Optional[str] = None,
        timeout: Seconds = HAND_OVER_TIMEOUT,
        discretion: Optional[Discretion] = None,
    ) -> None:
        self._session = session
        self._guard = guard
        self._prober = prober
        self._discretion = discretion or Discretion()
        self._base = None if url is None else yarl.URL(_V1.sub("", url.rstrip("/")).rstrip("/"))
        self._limit = aiohttp.ClientTimeout(total=timeout)
        self._learn = functools.lru_cache(_ENDPOINTS_KNOWN)(self._discretion.learn)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}", "X-API-Key": key}

    def check(self, spec: AgentSpec) -> None:
        """Refuse an endpoint that is no address of the web; most are AgentKit's business alone.

        Raises:
            Invalid: It is malformed or in a forbidden network.
        """
        self._learn(spec.endpoint or "")
        if spec.endpoint is not None and spec.endpoint.lower().startswith(("http:", "https:")):
            self._guard.check_endpoint(spec.endpoint)

    async def call(self, call: Call) -> Reply:
        """Hand a task over; only cancellation leaves it."""
        if self._base is None:
            text = "AGENTKIT_API_URL is not set, so no task can be handed to this agent."
            return Refused("AGENTKIT_NOT_CONFIGURED", text, retryable=False)
        self._learn(call.agent.spec.endpoint or "")  # AgentKit knows it, and may tell of it
        try:
            return self._discretion.reply(await self._hand_over(self._base, call))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            return _unreachable(error)
        except Exception:  # noqa: BLE001 - the port's promise; what we did not foresee is logged and is a failure
            _log.exception("agentkit.call_failed", extra={"agent_id": call.agent.spec.agent_id})
            return Refused("AGENT_CALL_FAILED", "The call failed inside Ops-Core; its log says why.", retryable=True)

    async def probe(self, endpoint: Optional[str], agent_id: Optional[str] = None) -> Probe:
        """Ask the agent itself for its health, where its contact endpoint is an address of the web."""
        if endpoint is None or not endpoint.lower().startswith(("http:", "https:")):
            return Probe(connected=False, message="The agent has no HTTP endpoint to ask.", has_health=False)
        return await self._prober.probe(_RUN.sub("", endpoint.rstrip("/")), agent_id)

    async def agents(self) -> Sequence[AgentSpec]:
        """The agents that AgentKit lists.

        Raises:
            NotOffered: It lists none.
            Unavailable: It could not be asked now, or answered something else than a list.
        """
        if self._base is None:
            raise NotOffered("there is no AgentKit")
        limit = aiohttp.ClientTimeout(total=_LIST_TIMEOUT)
        try:
            async with self._session.get(
                self._base / "v1/agents", headers=self._headers, timeout=limit, allow_redirects=False
            ) as response:
                if response.status in _NOT_OFFERED:
                    raise NotOffered(f"AgentKit answered {answers.named(response.status)} to /v1/agents")
                if not answers.is_success(response.status):
                    raise Unavailable(f"AgentKit answered {answers.named(response.status)} to /v1/agents.")
                body = await read_body(response, _LONGEST_LIST)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise Unavailable(_unreachable(error).error_message) from None
        encoding = response.headers.get("Content-Encoding", "")
        if body is None or (len(body) < IN_THREAD_FROM and not encoding):
            return self._read_specs(_listed(body, encoding))
        return self._read_specs(await asyncio.get_running_loop().run_in_executor(None, _listed, body, encoding))

    def _read_specs(self, items: Sequence[Any]) -> Sequence[AgentSpec]:
        """The agents of a list that could be called; the others are told to the log."""
        specs = []
        for item in items:
            try:
                spec = announced(item)
                self.check(spec)
                specs.append(spec)
            except Invalid as error:
                _log.warning("agentkit.listed_agent_ignored", extra={"reason": error.message})
        return specs

    async def _hand_over(self, base: yarl.URL, call: Call) -> Reply:
        agent_id = call.agent.spec.agent_id
        body = payload_body(orjson.dumps(_message(call), default=dict))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": call.idempotency_key,
            "X-OpsCore-Attempt": str(call.attempt),
            **call.trace_headers,
            **self._headers,
        }
        response = await self._session.post(
            base / f"v1/agents/{agent_id}/run",
            data=body,
            headers=headers,
            timeout=self._limit,
            allow_redirects=False,
        )
        try:
            told = await read_body(response, _LONGEST_ANSWER) or b""
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            if not answers.is_success(response.status):
                raise
            told = b""  # the status has said already that the task is taken: offered again, it would be done twice
        finally:
            response.close()
        return Deferred() if answers.is_success(response.status) else _declined(response, told)


def _message(call: Call) -> Mapping[str, Any]:
    task = task_id(call.execution_id, call.node_id)
    return {
        "senderId": SENDER,
        "messageType": "workflow_task",
        "payload": call.payload,
        "task_name": call.name or call.node_id,
        "opscore_session_id": call.execution_id,
        "opscore_task_id": task,
        "sessionContext": {"sessionId": call.execution_id, "workflowId": call.flow_id, "taskId": task},
    }


def _declined(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    """What it means that AgentKit did not take a task."""
    encoding = response.headers.get("Content-Encoding", "")
    refused = answers.understood(response.status, body, encoding, _LONGEST_ANSWER)
    if not isinstance(refused, Refused):
        return answers.bad_answer("it is neither a success nor a failure.")
    text = refused.error_message.replace("The agent answered", "AgentKit answered", 1)
    if response.status in _BUSY or response.status >= 500:
        wait = answers.retry_after(response.headers.get("Retry-After"), time.time())
        is_busy = response.status in _BUSY
        return Postponed("AGENTKIT_BUSY" if is_busy else "AGENTKIT_UNAVAILABLE", text, wait, is_certain=is_busy)
    if answers.is_redirect(response.status):
        return Refused("AGENTKIT_REDIRECT", text, retryable=False)
    code = refused.error_code.replace("AGENT_HTTP_", "AGENTKIT_HTTP_", 1)
    return Refused(code, text, retryable=False)


def _unreachable(error: BaseException) -> Postponed:
    if isinstance(error, asyncio.TimeoutError):
        reason = "it did not answer in time"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = "its certificate is not trusted"
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = os_reason(error.os_error)
    else:
        reason = "the connection broke"
    text = answers.shown(f"AgentKit cannot be reached: {reason}.")
    never_connected = isinstance(error, aiohttp.ClientConnectorError)
    return Postponed("AGENTKIT_UNREACHABLE", text, is_certain=never_connected)


def _listed(body: Optional[bytes], encoding: str) -> Sequence[Any]:
    """The entries of AgentKit's list, as they came. Raises Unavailable."""
    try:
        found = decode_json(answers.decompressed(body, encoding, _LONGEST_LIST))
    except (InvalidDocument, answers.NotDecompressed, answers.TooMuch):
        raise Unavailable("AgentKit's list of agents is not understood.") from None
    items = found.get("agents") if isinstance(found, dict) else found
    if not isinstance(items, list):
        raise Unavailable("AgentKit's list of agents is not understood.")
    return items
