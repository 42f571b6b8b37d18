from __future__ import annotations

import asyncio
import re
from email.utils import formatdate
from typing import Any, Awaitable, Callable, Optional
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from played import Played
from still_clock import START, StillClock

from opscore_sdk import OpsCoreApiError, OpsCoreClientAsync, OpsCoreSDKError, RateLimitError
from opscore_sdk.retries import RetryPolicy, read_retry_after
from opscore_sdk.transport import RetryPlanned

URL = "http://ops.test"
ANY = re.compile(r"^http://ops\.test/.*$")
FLOW = {"flow_id": "f", "nodes": []}

REPEATED: dict[str, Callable[[OpsCoreClientAsync], Awaitable[Any]]] = {
    "GET": lambda client: client.get_flow("f"),
    "PUT": lambda client: client.update_flow("f", FLOW),
    "DELETE": lambda client: client.delete_agent("a"),
    "POST with a key of the client's": lambda client: client.execute_flow("f", {}),
    "POST with a key of the caller's": lambda client: client.execute_flow("f", {}, idempotency_key="k"),
    "POST of a workflow": lambda client: client.trigger_workflow("a", "w"),
    "POST that changes nothing the second time": lambda client: client.cancel_execution("e"),
    "POST that reports a state": lambda client: client.update_state("a", "idle"),
    "POST of a registration": lambda client: client.create_agent("a", "http://127.0.0.1:9"),
    "POST of a flow": lambda client: client.create_flow(FLOW),
    "POST that only asks": lambda client: client.validate_flow(FLOW),
}
ONCE: dict[str, Callable[[OpsCoreClientAsync], Awaitable[Any]]] = {
    "POST that makes another one each time": lambda client: client.create_key("k"),
}
METHODS = ("GET", "PUT", "DELETE", "POST")
WORTH = (408, 429, 500, 501, 502, 503, 504, 507, 520)
POINTLESS = (400, 401, 403, 405, 409, 413, 415, 422)
BROKEN: tuple[Exception, ...] = (
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientConnectionError("refused"),
    aiohttp.ClientPayloadError("half of it"),
    aiohttp.ClientOSError(104, "reset"),
    ConnectionResetError(),
    asyncio.TimeoutError(),
)


async def made(
    call: Callable[[OpsCoreClientAsync], Awaitable[Any]],
    answers: list[dict[str, Any]],
    *,
    chance: float = 1.0,
    **options: Any,
) -> tuple[int, list[float], Optional[OpsCoreSDKError]]:
    """Make a call against these answers, the last one again and again: attempts, pauses and the error."""
    clock, error = StillClock(chance), None
    with aioresponses() as server:
        for position, answer in enumerate(answers):
            for method in METHODS:
                server.add(ANY, method, response_class=Played, repeat=position == len(answers) - 1, **answer)
        async with OpsCoreClientAsync(URL, "sk_test", clock=clock.clock, **options) as client:
            try:
                await call(client)
            except OpsCoreSDKError as raised:
                error = raised
        return sum(map(len, server.requests.values())), clock.slept, error


@pytest.mark.parametrize("status", WORTH)
@pytest.mark.parametrize("kind", REPEATED)
async def test_what_may_be_repeated_is_on_a_status_that_may_pass(kind: str, status: int) -> None:
    """A call that cannot do anything twice is made four times, with growing pauses."""
    attempts, pauses, error = await made(REPEATED[kind], [{"status": status}])
    assert (attempts, pauses) == (4, [0.5, 1.0, 2.0])
    assert isinstance(error, OpsCoreApiError)
    assert error.status == status


@pytest.mark.parametrize("failure", BROKEN, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("kind", REPEATED)
async def test_what_may_be_repeated_is_when_the_connection_breaks(kind: str, failure: Exception) -> None:
    """So it is when there is no answer, or half of one."""
    attempts, pauses, error = await made(REPEATED[kind], [{"exception": failure}])
    assert (attempts, pauses) == (4, [0.5, 1.0, 2.0])
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize("status", POINTLESS)
@pytest.mark.parametrize("kind", {**REPEATED, **ONCE})
async def test_nothing_is_repeated_that_would_be_refused_again(kind: str, status: int) -> None:
    """Any call is made once when the server says what is wrong with it."""
    attempts, pauses, error = await made({**REPEATED, **ONCE}[kind], [{"status": status}])
    assert (attempts, pauses) == (1, [])
    assert isinstance(error, OpsCoreApiError)


@pytest.mark.parametrize("answer", [*({"status": s} for s in WORTH), *({"exception": e} for e in BROKEN)], ids=str)
@pytest.mark.parametrize("kind", ONCE)
async def test_what_could_happen_twice_is_never_repeated(kind: str, answer: dict[str, Any]) -> None:
    """A call that is neither idempotent nor has a key is made once, whatever happens to it."""
    attempts, pauses, error = await made(ONCE[kind], [answer])
    assert (attempts, pauses) == (1, [])
    assert error is not None


async def test_a_certificate_that_is_wrong_stays_wrong() -> None:
    """A failed TLS handshake is not repeated."""
    failure = aiohttp.ClientConnectorCertificateError(Mock(host="ops.test", port=443), ValueError("expired"))
    attempts, _, error = await made(REPEATED["GET"], [{"exception": failure}])
    assert attempts == 1
    assert isinstance(error, ConnectionError)


async def test_a_repeat_that_succeeds_is_the_answer() -> None:
    """Failures before a success are not the caller's business."""
    answers = [{"status": 503}, {"exception": aiohttp.ServerDisconnectedError()}, {"payload": FLOW}]
    assert await made(REPEATED["GET"], answers) == (3, [0.5, 1.0], None)


async def test_every_attempt_of_a_start_has_the_same_key() -> None:
    """The key is made once for a start, and another one for the next."""
    keys: list[str] = []

    def note(_: Any, **options: Any) -> None:
        keys.append(options["headers"]["Idempotency-Key"])

    answers: list[dict[str, Any]] = [{"status": 503, "callback": note}]
    await made(REPEATED["POST with a key of the client's"], answers)
    await made(REPEATED["POST with a key of the client's"], answers)
    assert (len(keys), len(set(keys[:4])), len(set(keys))) == (8, 1, 2)


@pytest.mark.parametrize("max_retries", [0, 1, 5])
async def test_there_are_never_more_repeats_than_allowed(max_retries: int) -> None:
    """``max_retries`` is the number of repeats, not of attempts."""
    attempts, pauses, _ = await made(REPEATED["GET"], [{"status": 503}], max_retries=max_retries)
    assert (attempts, len(pauses)) == (max_retries + 1, max_retries)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
async def test_pauses_are_spread_from_nothing_to_the_bound(chance: float) -> None:
    """Full jitter: the pause is chance times a bound that doubles, up to eight seconds."""
    _, pauses, _ = await made(REPEATED["GET"], [{"status": 503}], max_retries=6, chance=chance, total_timeout=None)
    assert pauses == [chance * bound for bound in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_seconds_is_obeyed(status: int) -> None:
    """The client comes back no sooner than the server said."""
    answers = [{"status": status, "headers": {"Retry-After": "7"}}, {"payload": FLOW}]
    assert await made(REPEATED["GET"], answers) == (2, [7.0], None)


async def test_retry_after_as_a_date_is_obeyed() -> None:
    """A date means the time from now until then."""
    then = formatdate(START + 12, usegmt=True)
    attempts, pauses, _ = await made(
        REPEATED["GET"], [{"status": 429, "headers": {"Retry-After": then}}, {"payload": FLOW}]
    )
    assert (attempts, pauses) == (2, [12.0])


async def test_retry_after_beyond_the_cap_is_left_to_the_caller() -> None:
    """Above a minute the call is not repeated; the error says when to come back."""
    attempts, pauses, error = await made(REPEATED["GET"], [{"status": 429, "headers": {"Retry-After": "3600"}}])
    assert (attempts, pauses) == (1, [])
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 3600


async def test_a_call_with_its_repeats_has_a_total_limit() -> None:
    """A repeat that would begin after the limit is not made."""
    answers = [{"status": 429, "headers": {"Retry-After": "4"}}]
    attempts, pauses, _ = await made(REPEATED["GET"], answers, total_timeout=10, max_retries=9)
    assert (attempts, pauses) == (3, [4.0, 4.0])


async def test_a_hook_is_told_of_every_repeat() -> None:
    """``on_retry`` gets the attempt that failed, why, and the pause; never a key."""
    told: list[RetryPlanned] = []
    answers = [{"status": 503}, {"exception": aiohttp.ServerDisconnectedError()}, {"payload": FLOW}]
    await made(REPEATED["GET"], answers, on_retry=told.append)
    assert [(one.attempt, one.pause, one.status) for one in told] == [(1, 0.5, 503), (2, 1.0, None)]
    assert isinstance(told[1].error, ConnectionError)
    assert "sk_test" not in repr(told)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), ("1.5", 1.5), (" 3 ", 3.0),
        (formatdate(START + 90, usegmt=True), 90.0), (formatdate(START - 90, usegmt=True), 0.0),
        (None, None), ("", None), ("-1", None), ("soon", None), ("1e3", None), ("٣", None), ("Wed, 99 Foo", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(header: Optional[str], seconds: Optional[float]) -> None:
    """Seconds or a date, one in the past is now; anything else says nothing."""
    assert read_retry_after(header, START) == seconds


def test_a_policy_is_a_table_of_pauses() -> None:
    """The bound doubles; ``Retry-After`` lengthens a pause and never shortens it."""
    policy = RetryPolicy(max_retries=2, first=1, longest=3)
    assert [policy.pause(repeat, 1.0) for repeat in (1, 2, 3)] == [1, 2, None]
    assert policy.pause(1, 1.0, 0.1) == 1
    assert policy.pause(1, 0.0, 5) == 5
    assert RetryPolicy(max_retries=10_000).pause(9_999, 1.0) == 8.0
