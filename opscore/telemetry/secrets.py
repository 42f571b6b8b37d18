"""Secrets: what is one by its value, its name or its looks, and how it is masked before anything leaves the process.

By value: whatever the server was told to keep secret, in each spelling that it is likely to be met in. By name: the
value under ``password``, ``X-API-Key`` and their like, in structured facts and in running text. By looks: our own
keys, bearer tokens, the user in an address.

All of it is linear in the text. A text in which nothing hints at a secret costs a few look-ups of short words.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from typing import Any, Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus

import orjson

from opscore.domain.discretion import MASK, is_secret_name, secrets_in

SHORTEST = 6
"""Values below so many characters are not looked for: they would be met everywhere."""
LONGEST_SPELLING = 4_000
"""No spelling of a secret that is looked for is longer."""

_MOST_PASSING = 4_096
_FEW = 96
_CUT = "..."

_HINTS = (
    "sk_ops_", "bearer", "basic", "authorization", "key", "token", "secret", "passw", "cookie", "signature",
    "credential", "://",
)  # fmt: skip
_NAMED = r"authorization|(?:api|access|private)[-_ ]?key|token|secret|passw(?:or)?d|signature|credentials?|cookie"
_THEN = r"(?:\\{0,3}[\"'])?\s{0,3}[:=]\s{0,3}"
_BARE = r"[^\s\"'\\&,;<>(){}\[\]]{6,}"
_LOOKS = (
    (re.compile(r"sk_ops_[A-Za-z0-9_-]+"), "sk_ops_***"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(rf"\b(cookie{_THEN})(?!\*\*\*)[^\"'\\\r\n]{{3,}}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(rf"((?:{_NAMED}){_THEN})(\\{{0,3}}[\"'])(?!\*\*\*).{{1,500}}?\2", re.IGNORECASE), rf"\1\2{MASK}\2"),
    (re.compile(rf"((?:{_NAMED}){_THEN})(?!Bearer|Basic|\*\*\*){_BARE}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(://)[^\s/?#@\"'<>\\]{1,500}@"), rf"\1{MASK}@"),
)  # fmt: skip


class Secrets:
    """What must not leave the process."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._passing: OrderedDict[str, None] = OrderedDict()
        self._spellings: Sequence[str] = ()
        self._by_head: Mapping[str, Sequence[str]] = {}

    def add(self, *values: str) -> None:
        """Never show these."""
        new = {value for value in values if len(value) >= SHORTEST} - self._lasting
        if new:
            self._lasting |= new
            self._learn()

    def add_address(self, address: str) -> None:
        """Never show what looks like a key in an address: its user, and the secrets in its query.

        The newest few thousand are kept, for anybody may have an address tested.
        """
        new = {value for value in secrets_in(address) if len(value) >= SHORTEST and _is_unicode(value)}
        if not new - self._passing.keys() - self._lasting:
            return
        self._passing.update(dict.fromkeys(new))
        while len(self._passing) > _MOST_PASSING:
            self._passing.popitem(last=False)
        self._learn()

    def _learn(self) -> None:
        known = {spelling for value in (*self._lasting, *self._passing) for spelling in _spellings(value)}
        found = sorted(known, key=len, reverse=True)  # the longest first, for one may be in another
        by_head: dict[str, list[str]] = {}
        for spelling in found:
            by_head.setdefault(spelling[:SHORTEST], []).append(spelling)
        self._by_head = by_head
        self._spellings = found  # at once: another thread may be reading

    def mask(self, text: str) -> str:
        """The text without anything that is a secret by its value or by its looks."""
        text = self.mask_known(text)
        if self._is_hinted(text):
            for pattern, instead in _LOOKS:
                text = pattern.sub(instead, text)
        return text

    def mask_known(self, text: str) -> str:
        """The text without the secrets that are known by their value."""
        for spelling in self._met(text):
            text = text.replace(spelling, MASK)
        return self._without_tail(text) if text.endswith(_CUT) else text

    def _without_tail(self, text: str) -> str:
        """A text that was cut, without the beginning of a secret that the cut went through."""
        kept = text[: -len(_CUT)]
        for spelling in self._spellings:
            for size in range(min(len(spelling), len(kept)) - 1, SHORTEST - 1, -1):
                if kept.endswith(spelling[:size]):
                    return f"{kept[:-size]}{MASK}{_CUT}"
        return text

    def is_clean(self, text: str) -> bool:
        """Whether :meth:`mask` would leave a text as it is, for all that a quick look shows."""
        if self._is_hinted(text):
            return False
        if len(self._spellings) > _FEW:
            return not any(True for _ in self._met(text))
        for spelling in self._spellings:  # noqa: SIM110 - this is looked at for every line: a generator costs
            if spelling in text:
                return False
        return True

    def masked(self, value: Any) -> Any:
        """Plain data without secrets: in its texts, in its keys, and under names that say so."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {
                self.mask(name): MASK if is_secret_name(name) and _is_there(inner) else self.masked(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.masked(inner) for inner in value]
        return value

    def _is_hinted(self, text: str) -> bool:
        low = text.lower()
        for hint in _HINTS:  # noqa: SIM110 - as above
            if hint in low:
                return True
        return False

    def _met(self, text: str) -> Iterator[str]:
        if len(self._spellings) <= _FEW:
            yield from (spelling for spelling in self._spellings if spelling in text)
            return
        by_head = self._by_head
        heads = {text[start : start + SHORTEST] for start in range(len(text) - SHORTEST + 1)}
        met = [spelling for head in heads & by_head.keys() for spelling in by_head[head] if spelling in text]
        yield from sorted(met, key=len, reverse=True)


def _is_there(value: Any) -> bool:
    return value is not None and not isinstance(value, bool)


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _spellings(value: str) -> Iterator[str]:
    """A value as it may stand in other text: plain, in JSON, in JSON in JSON, in addresses, in base64."""
    found = {value, _in_json(value), _in_json(_in_json(value)), repr(value)[1:-1], quote(value, safe=""), quote(value)}
    found |= {quote_plus(value), re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(value, safe=""))}
    for spelling in (*found, *_in_base64(value)):
        if SHORTEST <= len(spelling) <= LONGEST_SPELLING:
            yield spelling


def _in_json(value: str) -> str:
    return orjson.dumps(value).decode()[1:-1]


def _in_base64(value: str) -> Iterator[str]:
    """The part of its base64 that no neighbour has a bit in, for each of the three places it may have."""
    raw = value.encode()
    for before, first in ((0, 0), (1, 2), (2, 3)):
        size = (before + len(raw)) * 8 // 6  # characters that are made of the value's own bits alone
        padded = b"\0" * before + raw
        yield base64.b64encode(padded).decode()[first:size]
        yield base64.urlsafe_b64encode(padded).decode()[first:size]
