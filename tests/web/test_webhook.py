"""AgentKit's notices under a secret: which are taken, which are refused, and that each is taken once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from pathlib import Path
from typing import Any, AsyncIterator, Optional

import attrs
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient

from opscore import bootstrap
from opscore.engine import SystemClock
from opscore.settings import Settings
from opscore.testing import open_client

NOTIFY = "/v1/opscore/internal/agent/notify"
SECRET = "whsec_d41d8cd98f00b204"
WHOLE_SECOND = 1_750_000_000
NOW = WHOLE_SECOND * 1_000_000 + 900_000


class HeldClock(SystemClock):
    """A clock that stands still for whoever asks for the time of day."""

    def now(self) -> int:
        return NOW


@pytest.fixture(autouse=True)
def _held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SystemClock", HeldClock)


def settings(**more: Any) -> Settings:
    return Settings(**{"database": "sqlite:///:memory:", "drain_timeout": 0.1, "webhook_secret": SECRET, **more})


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient]:
    async with open_client(settings()) as opened:
        yield opened


@attrs.frozen(kw_only=True)
class Sent:
    """A notice as it is sent; None leaves a header out."""

    body: bytes
    timestamp: Optional[str]
    signature: Optional[str]


def notice(agent_id: str = "ada", event: str = "REGISTER", **details: Any) -> bytes:
    return json.dumps({"event_type": event, "agent_details": {"agentId": agent_id, **details}}).encode()


def signed(body: Optional[bytes] = None, timestamp: Any = WHOLE_SECOND, secret: str = SECRET) -> Sent:
    """A notice with the signature that belongs to it."""
    body = notice() if body is None else body
    text = str(timestamp)
    message = text.encode("utf-8", "surrogateescape") + b"." + body
    return Sent(body=body, timestamp=text, signature=hmac.new(secret.encode(), message, hashlib.sha256).hexdigest())


async def send(client: TestClient, sent: Sent, **more: str) -> tuple[int, Any]:
    proof = {"X-AgentKit-Timestamp": sent.timestamp, "X-AgentKit-Signature": sent.signature}
    headers = {"Content-Type": "application/json", **more}
    headers.update({name: value for name, value in proof.items() if value is not None})
    async with client.post(NOTIFY, data=sent.body, headers=headers) as answer:
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        return answer.status, json.loads(await answer.read())


async def agents(client: TestClient) -> Any:
    async with client.get("/agents") as answer:
        return await answer.json()


GOOD = signed()
TIMES = [
    "", " ", " 1", "1 ", "-1", "+1750000000", "1e9", "1750000000.0", "1_750_000_000", "0x684fd380", "NaN",
    "\u0663", "\uff11\uff17", "1750000000000", "1" * 15, "1" * 16, "1" * 5000, "0", "now",
]  # fmt: skip
ALTERED = {
    "another body": attrs.evolve(GOOD, body=notice("eve")),
    "a body with a space more": attrs.evolve(GOOD, body=GOOD.body + b" "),
    "no body": attrs.evolve(GOOD, body=b""),
    "another timestamp": attrs.evolve(GOOD, timestamp=str(WHOLE_SECOND + 1)),
    "the same timestamp otherwise": attrs.evolve(GOOD, timestamp=f"0{WHOLE_SECOND}"),
    "another secret": signed(secret="other"),
    "the secret itself": attrs.evolve(GOOD, signature=SECRET),
    "no signature": attrs.evolve(GOOD, signature=None),
    "no timestamp": attrs.evolve(GOOD, timestamp=None),
    "neither": attrs.evolve(GOOD, timestamp=None, signature=None),
    "an empty signature": attrs.evolve(GOOD, signature=""),
    "a shorter signature": attrs.evolve(GOOD, signature=str(GOOD.signature)[:-1]),
    "a longer signature": attrs.evolve(GOOD, signature=f"{GOOD.signature}0"),
    "a signature with its method": attrs.evolve(GOOD, signature=f"sha256={GOOD.signature}"),
    "a signature that is not ASCII": attrs.evolve(GOOD, signature="\u00e9" * 64),
    "a signature of other digits": attrs.evolve(GOOD, signature="\uff11" * 64),
    "the body's signature alone": attrs.evolve(
        GOOD, signature=hmac.new(SECRET.encode(), GOOD.body, hashlib.sha256).hexdigest()
    ),
    "too old": signed(timestamp=WHOLE_SECOND - 301),
    "too far in the future": signed(timestamp=WHOLE_SECOND + 301),
    **{f"the timestamp {text[:20]!r} of {len(text)}": signed(timestamp=text) for text in TIMES},
}


@pytest.mark.parametrize("sent", ALTERED.values(), ids=ALTERED)
async def test_what_is_not_proven_changes_nothing(client: TestClient, sent: Sent) -> None:
    """Altered, missing, old, future and misspelt proofs are 401, and nothing is registered."""
    status, problem = await send(client, sent)
    assert (status, problem["error_code"]) == (401, "INVALID_SIGNATURE")
    assert (await agents(client))["count"] == 0
    assert (await send(client, GOOD))[0] == 200


async def test_a_notice_is_taken_once(client: TestClient) -> None:
    """A valid notice is taken; the same again is a replay, also where it would change nothing."""
    assert (await send(client, GOOD))[0] == 200
    before = await agents(client)
    for _ in range(2):
        status, problem = await send(client, GOOD)
        assert (status, problem["error_code"]) == (401, "SIGNATURE_REPLAYED")
    assert await agents(client) == before
    assert (await send(client, signed(timestamp=WHOLE_SECOND + 1)))[0] == 200
    assert await agents(client) == before


@pytest.mark.parametrize("offset", [-300, -299, 0, 299, 300])
async def test_a_notice_is_good_for_five_minutes_around_its_second(client: TestClient, offset: int) -> None:
    """Its timestamp is a whole second, and may be 300 of them away, whatever part of ours has passed."""
    sent = signed(timestamp=WHOLE_SECOND + offset)
    assert (await send(client, sent))[0] == 200
    assert (await send(client, sent))[0] == 401


async def test_a_signature_in_capitals_is_the_same_signature(client: TestClient) -> None:
    """Hex in capitals is taken, and neither spelling is good for a second use."""
    capitals = attrs.evolve(GOOD, signature=str(GOOD.signature).upper())
    assert (await send(client, capitals))[0] == 200
    for sent in (GOOD, capitals, attrs.evolve(GOOD, signature=f" {GOOD.signature} ")):
        assert (await send(client, sent))[0] == 401


async def test_a_replayed_withdrawal_withdraws_nothing(client: TestClient) -> None:
    """DEREGISTER is taken once too, with or without an agent to forget; one that came back stays."""
    gone = signed(notice(event="DEREGISTER"))
    early = signed(notice(event="DEREGISTER"), WHOLE_SECOND - 1)
    assert (await send(client, early))[0] == 200
    assert (await send(client, GOOD))[0] == 200
    assert (await send(client, early))[0] == 401
    assert (await send(client, gone))[0] == 200
    assert (await send(client, gone))[0] == 401
    assert (await send(client, GOOD))[0] == 401
    assert (await agents(client))["count"] == 0
    assert (await send(client, signed(timestamp=WHOLE_SECOND + 1)))[0] == 200
    assert (await send(client, gone))[0] == 401
    assert (await agents(client))["count"] == 1


@pytest.mark.parametrize("event", ["REGISTER", "DEREGISTER"])
@pytest.mark.parametrize("known", [False, True])
async def test_of_two_at_the_same_moment_one_is_taken(client: TestClient, event: str, known: bool) -> None:
    """However many bring one signature at once, exactly one is taken, be the agent known or not."""
    if known:
        assert (await send(client, signed(notice(version="0"), WHOLE_SECOND - 1)))[0] == 200
    sent = signed(notice(event=event))
    statuses = [status for status, _ in await asyncio.gather(*[send(client, sent) for _ in range(8)])]
    assert sorted(statuses) == [200] + [401] * 7
    assert (await agents(client))["count"] == (event == "REGISTER")


async def test_notices_of_one_agent_at_the_same_moment_are_all_taken(client: TestClient) -> None:
    """Different notices about one agent do not hinder each other."""
    notices = [signed(notice(version=str(n)), WHOLE_SECOND - n) for n in range(8)]
    assert {status for status, _ in await asyncio.gather(*[send(client, sent) for sent in notices])} == {200}
    assert (await agents(client))["count"] == 1


async def test_a_replay_is_refused_after_a_restart(tmp_path: Path) -> None:
    """Used signatures are in the database: a server started anew knows them, and what they did."""
    kept = settings(database=f"sqlite:///{tmp_path}/opscore.db")
    gone = signed(notice("bob", "DEREGISTER"))
    async with open_client(kept) as first:
        assert (await send(first, GOOD))[0] == 200
        assert (await send(first, gone))[0] == 200
        before = await agents(first)
    async with open_client(kept) as second:
        for sent in (GOOD, gone):
            status, problem = await send(second, sent)
            assert (status, problem["error_code"]) == (401, "SIGNATURE_REPLAYED")
        assert await agents(second) == before
        assert (await send(second, signed(timestamp=WHOLE_SECOND + 1)))[0] == 200


BROKEN = {
    "no JSON": (b"{", 400, "INVALID_JSON"),
    "nothing": (b"", 400, "INVALID_JSON"),
    "a list": (b"[]", 400, "VALIDATION_ERROR"),
    "an unknown event": (notice(event="UPDATE"), 400, "VALIDATION_ERROR"),
    "no agent": (b'{"event_type": "REGISTER"}', 400, "VALIDATION_ERROR"),
    "a bad id": (notice("a b"), 400, "VALIDATION_ERROR"),
    "a bad name": (notice(agentName=5), 400, "VALIDATION_ERROR"),
    "a forbidden network": (notice(contactEndpoint="http://169.254.169.254/"), 400, "VALIDATION_ERROR"),
    "too much": (notice(agentName="x" * 1_100_000), 413, "TOO_LARGE"),
}


@pytest.mark.parametrize(("body", "status", "code"), BROKEN.values(), ids=BROKEN)
async def test_a_proven_notice_that_makes_no_sense_is_refused(
    client: TestClient, body: bytes, status: int, code: str
) -> None:
    """What it says is wrong whoever says it; again it is as wrong, not a replay, and nothing is registered."""
    for _ in range(2):
        answered, problem = await send(client, signed(body))
        assert (answered, problem["error_code"]) == (status, code)
    assert (await agents(client))["count"] == 0


async def test_a_proof_is_asked_for_before_the_body_is_read_as_json(client: TestClient) -> None:
    """Who proves nothing learns nothing about bodies."""
    for body in (b"{", b"[]", notice("a b")):
        assert (await send(client, attrs.evolve(GOOD, body=body)))[0] == 401


async def test_a_key_is_no_signature_and_none_is_needed() -> None:
    """With a secret set the signature counts alone; the other routes need the key as ever."""
    async with open_client(settings(api_key="sk_first_admin_key")) as client:
        key = {"Authorization": "Bearer sk_first_admin_key"}
        wrong = {"Authorization": "Bearer wrong"}
        assert (await send(client, attrs.evolve(GOOD, signature=None), **key))[0] == 401
        assert (await send(client, GOOD, **wrong))[0] == 200
        async with client.get(NOTIFY, headers=wrong) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with client.get("/v1/opscore/agent/ada/state", headers=wrong) as answer:
            assert answer.status == 401


async def test_without_a_secret_the_key_is_needed_where_there_is_one() -> None:
    """A server without a secret asks for its key, and for none where it has none; signatures mean nothing to it."""
    async with open_client(settings(webhook_secret=None, api_key="sk_first_admin_key")) as client:
        assert (await send(client, GOOD, Authorization="Bearer wrong"))[0] == 401
        assert (await send(client, attrs.evolve(GOOD, signature="wrong")))[0] == 200
        async with client.post("/keys", json={"name": "reader", "scopes": ["read"]}) as answer:
            reader = (await answer.json())["key"]
        assert (await send(client, GOOD, Authorization=f"Bearer {reader}"))[0] == 403
    async with open_client(settings(webhook_secret=None)) as client:
        for _ in range(2):
            assert (await send(client, attrs.evolve(GOOD, timestamp=None, signature=None)))[0] == 200
        assert (await agents(client))["count"] == 1


async def test_the_secret_is_never_told(caplog: pytest.LogCaptureFixture) -> None:
    """Neither an answer nor a log line has the secret, whatever is asked."""
    caplog.set_level(logging.DEBUG)
    notices = [*ALTERED.values(), GOOD, GOOD, *[signed(body) for body, _, _ in BROKEN.values()]]
    async with open_client(settings()) as client:
        told = [json.dumps(await send(client, sent)) for sent in notices]
        for path in ("/agents", "/agents/ada", "/status", "/health", "/metrics", "/openapi.json", "/flows"):
            async with client.get(path) as answer:
                told.append(await answer.text())
        shown = repr(client.server.app) + caplog.text
    assert SECRET not in "".join(told) + shown
    assert caplog.records
