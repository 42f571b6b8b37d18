from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opscore.domain.documents import decode_json, decode_yaml, encode_json
from opscore.domain.errors import InvalidDocument

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), below)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_encoded_is_decoded_again(value: Any) -> None:
    """All plain data survives the way through JSON text."""
    assert decode_json(encode_json(value)) == value


@given(st.lists(st.tuples(st.sampled_from(["a", "b", ":", "a:b"]), st.integers(0, 9)), max_size=5))
def test_repeated_keys_are_always_found(pairs: list[tuple[str, int]]) -> None:
    """The fast check for repeated keys agrees with counting them."""
    text = "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in pairs) + "}"
    if len({key for key, _ in pairs}) == len(pairs):
        assert decode_json(text) == dict(pairs)
    else:
        with pytest.raises(InvalidDocument, match="twice"):
            decode_json(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Neither decoder ever raises anything but its own error."""
    for decode in (decode_json, decode_yaml):
        try:
            decode(raw)
        except InvalidDocument:
            continue


def test_depth_is_bounded_at_64() -> None:
    """64 levels are read and 65 are not."""
    decode_json("[" * 64 + "]" * 64)
    with pytest.raises(InvalidDocument, match="64"):
        decode_json("[" * 65 + "]" * 65)


def test_yaml_is_read_as_its_core_schema() -> None:
    """Words and dates stay text; numbers, truth values and null are read."""
    text = "{a: no, b: 2024-01-31, c: 0x1f, d: 0o17, e: 1e3, f: true, g: ~, h: '5', i: -7}"
    assert decode_yaml(text) == {
        "a": "no", "b": "2024-01-31", "c": 31, "d": 15, "e": 1000.0, "f": True, "g": None, "h": "5", "i": -7,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a: &x 1", "a: *x", "a: !!str 1", "a: 1\na: 2", "1: 2", "a: 9223372036854775808"])
def test_yaml_refuses_sharing_tags_and_repeats(text: str) -> None:
    """Anchors, aliases, tags, repeated or odd keys and large numbers are refused with their place."""
    with pytest.raises(InvalidDocument, match=r"line 1|line 2|alias"):
        decode_yaml(text)
