"""What of an address is secret, and how addresses are shown."""

from __future__ import annotations

from typing import Optional

import pytest

from opscore.domain.discretion import masked, secrets_in, shown_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (None, None),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://h/execute?v=2&mode=fast", "http://h/execute?v=2&mode=fast"),
        ("http://h/x?token=abc&v=2", "http://h/x?token=***&v=2"),
        ("http://h/x?v=2&X-Api-Key=abc#part", "http://h/x?v=2&X-Api-Key=***#part"),
        ("http://h/x?%74oken=abc", "http://h/x?%74oken=***"),
        ("http://h/x?v=aB3dE5gH7jK9mN1pQ", "http://h/x?v=***"),
        ("http://h/x?aB3dE5gH7jK9mN1pQ", "http://h/x?***"),
        ("http://h/x?flag&=&a=b=c", "http://h/x?flag&=&a=b=c"),
        ("kafka://user:pass@broker:9092/topic", "kafka://***@broker:9092/topic"),
        ("https://user@h/?key=1", "https://***@h/?key=***"),
        ("user:p@ss@h", "***@h"),
        ("http://h/a@b?c=d@e", "http://h/a@b?c=d@e"),
        ("no address at all", "no address at all"),
    ],
)
def test_addresses_are_shown_without_their_secrets(address: Optional[str], shown: Optional[str]) -> None:
    """The user and what looks like a key in the query are masked, the rest stays as it is; again it is the same."""
    assert shown_address(address) == shown
    assert shown_address(shown) == shown


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("kafka://user:pass@broker:9092", ["user:pass", "pass"]),
        ("https://aB3dE5gH7jK9mN1pQ@h/", ["aB3dE5gH7jK9mN1pQ"]),
        ("https://user@h/", []),
        ("http://h/?token=a%2Fb&v=1", ["a/b", "a%2Fb"]),
        ("http://[", []),
    ],
)
def test_secrets_are_found_in_addresses(address: str, secrets: list[str]) -> None:
    """A user with a password, a user that looks like a key, and secrets of the query, in each of their spellings."""
    assert list(secrets_in(address)) == secrets


def test_all_texts_of_plain_data_are_masked() -> None:
    """Names and values at any depth are given to the mask, and nothing else is changed."""
    given = {"kk": ["kk", 1, None, {"a": "bkk"}], "n": 2.5}
    assert masked(given, lambda text: text.replace("kk", "*")) == {"*": ["*", 1, None, {"a": "b*"}], "n": 2.5}
