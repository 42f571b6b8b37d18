from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from collected import collecting

from opscore.domain.discretion import MASK, is_secret_name
from opscore.telemetry.secrets import Secrets

SECRET = 'p@ss "w/rd\\+&=é?'
KNOWN = ("canary-key-1234", SECRET)


@pytest.fixture
def secrets() -> Secrets:
    found = Secrets()
    found.add(*KNOWN)
    return found


def _spelled(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "plain": value,
        "JSON": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)[3:-3],
        "repr": repr(value)[1:-1],
        "in a path": quote(value, safe=""),
        "in a query": quote_plus(value),
        "in lower case hexadecimals": quote(value, safe="").replace("%2F", "%2f").replace("%5C", "%5c"),
        "Basic": base64.b64encode(b"user:" + raw).decode(),
        "Basic, another user": base64.b64encode(b"ada:" + raw).decode(),
        "Basic, a third": base64.b64encode(b"root:" + raw + b"!").decode(),
        "for addresses": base64.urlsafe_b64encode(b"x" + raw + b"yz").decode(),
    }


@pytest.mark.parametrize("value", KNOWN)
def test_a_known_value_is_masked_in_every_spelling(secrets: Secrets, value: str) -> None:
    """Whatever the server was told to keep secret is masked: plain, escaped, encoded, in base64 at any offset."""
    for name, spelled in _spelled(value).items():
        if "hexadecimals" in name and value == SECRET:
            continue  # only whole spellings in lower case are looked for
        shown = secrets.mask(f"before {spelled} after")
        assert spelled not in shown, name
        assert secrets.mask_known(f"before {spelled} after").count(MASK) == 1, name
        assert not secrets.is_clean(f"before {spelled} after"), name


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "X-API-Key", "api_key", "apiKey", "APIKEY", "x-agentkit-signature", "token",
     "access_token", "accessToken", "Set-Cookie", "cookie", "password", "db_password", "client-secret", "webhookSecret",
     "credentials", "private_key", "passwd"],
)  # fmt: skip
def test_a_name_can_say_that_its_value_is_secret(name: str) -> None:
    """Such names mask their values, as facts and in texts, however deep; other names do not."""
    assert is_secret_name(name)
    with collecting() as log:
        log.logger.info("a.b", extra={name: "hunter2-of-mine"})
        log.logger.info("a.b", extra={"deep": [{name: {"inner": "hunter2-of-mine"}}]})
        for text in (
            '{{"{}": "hunter2-of-mine"}}',
            "{}=hunter2-of-mine&a=b",
            "{}: hunter2-of-mine",
            "{}='hunter2-of-mine'",
        ):
            log.logger.info(text.format(name))
        log.logger.info(json.dumps(json.dumps({name: "hunter2-of-mine"})))
        assert "hunter2" not in log.text
        assert log.text.count(MASK) >= 7


@pytest.mark.parametrize(
    "name", ["max_tokens", "tokens", "key_id", "secretary", "cookies_eaten", "idempotency", "author"]
)
def test_other_names_say_nothing(name: str) -> None:
    """Counts of tokens and their like are shown."""
    assert not is_secret_name(name)
    with collecting() as log:
        log.logger.info("a.b", extra={name: "shown"})
        assert log.objects[0][name] == "shown"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("the key sk_ops_AbC-123_x was used", "AbC"),
        ("Authorization: Bearer abcdefgh.ijkl", "abcdefgh"),
        ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer abcdefghijkl'}", "abcdefgh"),
        ("GET http://ada:hunter2@example.org/x", "hunter2"),
        ("kafka://ada:hunter2@broker:9092", "hunter2"),
        ("Cookie: session=abc; other=def", "def"),
        ("password=hunter2-and-more", "hunter2"),
        ('{\\"token\\": \\"hunter2-and-more\\"}', "hunter2"),
    ],
)
def test_looks_are_enough(text: str, hidden: str) -> None:
    """Our own keys, bearer tokens, users in addresses and named secrets are masked without being known."""
    assert hidden not in Secrets().mask(text)


def test_an_address_may_hold_secrets() -> None:
    """What an address's query has under a telling name, and what looks random there, is masked wherever it is met."""
    secrets = Secrets()
    secrets.add_address("http://agent.example/x?token=canary-one&code=canary%20two&v=2026-01-31&id=a1b2c3d4e5f6a7b8c9")
    shown = secrets.mask(
        "canary-one, canary two, canary%20two, canary+two, a1b2c3d4e5f6a7b8c9 on 2026-01-31 at example"
    )
    assert shown == f"{MASK}, {MASK}, {MASK}, {MASK}, {MASK} on 2026-01-31 at example"


def test_many_secrets_are_found_as_well() -> None:
    """Thousands of agents with a key each: all are masked, the newest for sure, and a look at a line stays short."""
    secrets = Secrets()
    secrets.add("the-first-of-all")
    for number in range(5_000):
        secrets._passing[f"canary-{number:05}-key"] = None
    secrets.add_address("http://a/?token=canary-05001-key")
    begun = time.perf_counter()
    for number in (4_999, 3_000, 5_001):
        assert secrets.mask(f"x canary-{number:05}-key y") == f"x {MASK} y"
    assert secrets.mask("the-first-of-all") == MASK
    assert secrets.is_clean("nothing to see here, and a lot of it " * 10)
    assert len(secrets._passing) <= 4_096
    assert time.perf_counter() - begun < 5


def test_short_values_are_not_looked_for() -> None:
    """A secret of a few characters would be met everywhere; its line stays legible."""
    secrets = Secrets()
    secrets.add("a", "", "abc")
    assert secrets.mask("abc a") == "abc a"


def test_a_text_that_was_cut_ends_before_the_secret() -> None:
    """Where somebody else cut a text in the middle of a secret, the part that is left is masked too."""
    secrets = Secrets()
    secrets.add("canary-key-1234")
    assert secrets.mask_known("echo canary-key-12...") == f"echo {MASK}..."
    assert secrets.mask_known("echo can...") == "echo can..."


def test_a_hostile_text_costs_little() -> None:
    """Texts made to keep regular expressions busy are masked in a moment."""
    secrets = Secrets()
    begun = time.perf_counter()
    for part in ("token", "a-", "token=", "://", "password: '", "cookie", '\\\\\\"', "api_key \t", "Bearer "):
        secrets.mask((part * 20_000)[:12_000])
    assert time.perf_counter() - begun < 5
