"""The clients for users of the AI Spine SDK: its constructor, its methods, its way of telling failures.

They are the clients of this package with the key first, the address of AI Spine by default, plain lists of flows and
agents, and an :class:`ExecutionError` for an execution that failed. Nothing is read from the environment: a key for
Ops-Core is no business of AI Spine.
"""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, NoReturn, Optional, Union

from opscore_sdk.aio import OpsCoreClientAsync
from opscore_sdk.blocking import run
from opscore_sdk.errors import ExecutionError, OpsCoreSDKError
from opscore_sdk.models import AgentInfo, Execution, Flow
from opscore_sdk.sync import OpsCoreClientSync, blocking, borrowed
from opscore_sdk.transport import Clock, RequestSent, ResponseReceived, RetryPlanned

SPINE_URL = "https://ai-spine-api-production.up.railway.app"


class AsyncAISpine(OpsCoreClientAsync):
    """The asynchronous client with the names that users of the AI Spine SDK know.

    Example:
        >>> async with AsyncAISpine("sk_your_key") as client:
        ...     execution = await client.execute_and_wait("credit_analysis", {"amount": 50000})
        ...     print(execution["output_data"])
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        base_url: Optional[str] = None,
        timeout: float = 30.0,
        max_retries: int = 3,
        debug: bool = False,  # noqa: FBT001, FBT002 - the place that the users of the AI Spine SDK know
        *,
        total_timeout: Optional[float] = 120.0,
        headers: Optional[Mapping[str, str]] = None,
        on_request: Optional[Callable[[RequestSent], object]] = None,
        on_response: Optional[Callable[[ResponseReceived], object]] = None,
        on_retry: Optional[Callable[[RetryPlanned], object]] = None,
        clock: Optional[Clock] = None,
    ) -> None:
        """Choose the key and the server; nothing is connected yet.

        Args:
            api_key: The key; without one none is sent.
            base_url: The server; by default that of AI Spine.
            timeout: Seconds for one attempt, its answer included.
            max_retries: How often a call is made again at most.
            debug: Whether to log what happens on the wire to standard error; keys and bodies are never logged.
            total_timeout: Seconds for a call with all its repeats; None for no limit.
            headers: Sent with every request.
            on_request: Told of every attempt before it is made.
            on_response: Told of every answer.
            on_retry: Told of every repeat before its pause.
            clock: Time and chance, for tests.

        Raises:
            OpsCoreConfigurationError: The address, the key or a time could not work.
        """
        super().__init__(
            base_url or SPINE_URL,
            api_key or "",
            timeout,
            max_retries,
            debug,
            total_timeout=total_timeout,
            headers=headers,
            on_request=on_request,
            on_response=on_response,
            on_retry=on_retry,
            clock=clock,
        )

    async def wait_for_execution(
        self,
        execution_id: str,
        timeout: Optional[float] = 300.0,
        interval: float = 2.0,
        *,
        raise_on_failure: bool = True,
    ) -> Execution:
        """The execution once it has ended, within milliseconds of its end; also when it was cancelled.

        Args:
            execution_id: Which execution.
            timeout: Seconds to wait at most; None to wait for ever.
            interval: Longest pause between two looks at a server that cannot wait.
            raise_on_failure: Whether an execution that failed is an error; one that was cancelled never is.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            ExecutionError: It failed; the text is its ``error_message``, ``details`` are the execution.
            NotFoundError: Nothing has this id.
        """
        execution = await super().wait_for_execution(execution_id, timeout, interval)
        if raise_on_failure and execution.status == "failed":
            raise ExecutionError(execution.error_message or "Execution failed", execution_id, execution=execution)
        return execution

    async def execute_and_wait(
        self,
        flow_id: str,
        input_data: Optional[Mapping[str, Any]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = 300.0,
        interval: float = 2.0,
        *,
        priority: Optional[int] = None,
        flow_version: Optional[int] = None,
        user_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        raise_on_failure: bool = True,
    ) -> Execution:
        """Start a flow and wait for its end, or for its cancellation.

        Args:
            flow_id: Which flow.
            input_data: What its first nodes get.
            metadata: Labels to find the execution by.
            timeout: Seconds to wait at most; the execution goes on after that. None to wait for ever.
            interval: As for :meth:`wait_for_execution`.
            priority: 0 to 10, higher first; by default the flow's own.
            flow_version: Which version; by default the newest.
            user_id: On whose behalf.
            idempotency_key: As for :meth:`execute_flow`.
            raise_on_failure: As for :meth:`wait_for_execution`.

        Returns:
            The execution as it ended, its output in ``output_data``.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            ExecutionError: It failed.
        """
        return await super().execute_and_wait(
            flow_id,
            input_data,
            metadata,
            timeout,
            interval,
            priority=priority,
            flow_version=flow_version,
            user_id=user_id,
            idempotency_key=idempotency_key,
            raise_on_failure=raise_on_failure,
        )

    async def list_flows(  # type: ignore[override]  # a list is what these users know
        self, *, timeout: Optional[float] = None
    ) -> List[Flow]:
        """All flows in their newest version, as a list.

        Args:
            timeout: Seconds for this call instead of the client's.
        """
        return list((await super().list_flows(timeout=timeout)).flows)

    async def list_agents(  # type: ignore[override]  # a list is what these users know
        self,
        *,
        state: Optional[str] = None,
        capability: Optional[str] = None,
        active_only: bool = False,
        timeout: Optional[float] = None,
    ) -> List[AgentInfo]:
        """Agents by id, as a list.

        Args:
            state: Only those in this state.
            capability: Only those that can do this.
            active_only: Only those that may be given work.
            timeout: Seconds for this call instead of the client's.
        """
        found = await super().list_agents(state=state, capability=capability, active_only=active_only, timeout=timeout)
        return list(found.agents)

    async def create_agent(  # type: ignore[override]  # these users know its first parameter by another name
        self,
        /,
        agent_config: Union[str, Mapping[str, Any]],
        endpoint: Optional[str] = None,
        **fields: Any,
    ) -> AgentInfo:
        """Register an agent. The same registration again changes nothing; another one is a conflict.

        Args:
            agent_config: A dictionary with all of it, or its id.
            endpoint: Where it listens.
            fields: As for :meth:`OpsCoreClientAsync.create_agent`.

        Raises:
            ConflictError: Another agent has this id; delete it first.
        """
        return await super().create_agent(agent_config, endpoint, **fields)

    async def get_current_user(self) -> NoReturn:
        """Refused: Ops-Core knows keys, and no users.

        Raises:
            OpsCoreSDKError: Always.
        """
        _refuse("get_current_user", "it knows keys, and no users; see list_keys")

    async def check_credits(self) -> NoReturn:
        """Refused: Ops-Core counts no credits.

        Raises:
            OpsCoreSDKError: Always.
        """
        _refuse("check_credits", "it counts no credits; get_metrics has what was executed")

    async def check_user_api_key(self, user_id: str) -> NoReturn:
        """Refused: Ops-Core's keys belong to no user; see :meth:`list_keys`.

        Args:
            user_id: Whose key.

        Raises:
            OpsCoreSDKError: Always.
        """
        _refuse("check_user_api_key", "its keys belong to no user; see list_keys")

    async def generate_user_api_key(self, user_id: str) -> NoReturn:
        """Refused: Ops-Core's keys belong to no user; see :meth:`create_key`.

        Args:
            user_id: Whose key.

        Raises:
            OpsCoreSDKError: Always.
        """
        _refuse("generate_user_api_key", "its keys belong to no user; see create_key")

    async def revoke_user_api_key(self, user_id: str) -> NoReturn:
        """Refused: Ops-Core's keys belong to no user; see :meth:`revoke_key`.

        Args:
            user_id: Whose key.

        Raises:
            OpsCoreSDKError: Always.
        """
        _refuse("revoke_user_api_key", "its keys belong to no user; see revoke_key")


def _refuse(method: str, reason: str) -> NoReturn:
    raise OpsCoreSDKError(f"Ops-Core has no {method}: {reason}.")


class AISpine(OpsCoreClientSync):
    """The synchronous client with the names that users of the AI Spine SDK know.

    Example:
        >>> with AISpine("sk_your_key") as client:
        ...     execution = client.execute_and_wait("credit_analysis", {"amount": 50000})
        ...     print(execution["output_data"])
    """

    _aio: AsyncAISpine

    @borrowed(AsyncAISpine.__init__)
    def __init__(self, /, *args: Any, **options: Any) -> None:
        self._aio = AsyncAISpine(*args, **options)
        self._watch()

    # Written out, so that type checkers see that these differ from those of the base.

    @borrowed(AsyncAISpine.list_flows)
    def list_flows(self, /, **options: Any) -> List[Flow]:  # type: ignore[override]  # noqa: D102 - borrowed
        return run(self._aio.list_flows(**options))

    @borrowed(AsyncAISpine.list_agents)
    def list_agents(self, /, **options: Any) -> List[AgentInfo]:  # type: ignore[override]  # noqa: D102 - borrowed
        return run(self._aio.list_agents(**options))

    @borrowed(AsyncAISpine.create_agent)
    def create_agent(self, /, *args: Any, **options: Any) -> AgentInfo:  # type: ignore[override]  # noqa: D102 - borrowed
        return run(self._aio.create_agent(*args, **options))

    wait_for_execution = blocking(AsyncAISpine.wait_for_execution)
    execute_and_wait = blocking(AsyncAISpine.execute_and_wait)
    get_current_user = blocking(AsyncAISpine.get_current_user)
    check_credits = blocking(AsyncAISpine.check_credits)
    check_user_api_key = blocking(AsyncAISpine.check_user_api_key)
    generate_user_api_key = blocking(AsyncAISpine.generate_user_api_key)
    revoke_user_api_key = blocking(AsyncAISpine.revoke_user_api_key)
