"""Discretion: which names and which parts of addresses are secrets, and texts without them.

What must not be shown is decided here, once: by the log for its lines, by the API for the endpoints of agents.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence
from urllib.parse import parse_qsl, quote_plus, unquote_plus, urlsplit

MASK = "***"

_RANDOM_FROM = 16
_NAMES = (
    "authorization", "api_key", "apikey", "token", "secret", "password", "passwd", "cookie", "signature",
    "credential", "credentials", "private_key", "access_key",
)  # fmt: skip
_IN_ADDRESSES = (*_NAMES, "key", "auth", "code", "sig", "pass", "pwd")
_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:(?=//))?(//)?[^/?#]*@")


@functools.lru_cache(1_024)
def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret: ``api_key``, ``X-Api-Key``, ``apiKey`` are, ``max_tokens`` is not."""
    return _names(name, _NAMES)


def _names(name: str, secrets: Sequence[str]) -> bool:
    words = f"_{_BETWEEN_WORDS.sub('_', name).lower()}_"
    return any(f"_{secret}_" in words for secret in secrets)


def secrets_in(address: str) -> Iterator[str]:
    """What may be secret in an address, as it stands there and decoded."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    user, at, _ = parts.netloc.rpartition("@")
    if at and (":" in user or _looks_random(user)):
        yield user
    if parts.password:
        yield parts.password
    for name, value in parse_qsl(parts.query, max_num_fields=100):
        if _names(name, _IN_ADDRESSES) or _looks_random(value):
            yield value
            if "%" in address:  # a spelling of the address's own
                yield from re.findall(rf"[?&]{re.escape(quote_plus(name))}=([^&#]+)", address)


def shown_address(address: Optional[str]) -> Optional[str]:
    """An address as it may be shown to whoever may read: without its user, and without the secrets in its query."""
    if address is None:
        return None
    before, mark, after = address.partition("?")
    before = _USER.sub(rf"\1\2{MASK}@", before)
    if not mark:
        return before
    query, hash_sign, fragment = after.partition("#")
    return f"{before}?{'&'.join(map(_shown_field, query.split('&')))}{hash_sign}{fragment}"


def _shown_field(field: str) -> str:
    name, equals, value = field.partition("=")
    if equals and (_names(unquote_plus(name), _IN_ADDRESSES) or _looks_random(unquote_plus(value))):
        return f"{name}={MASK}"
    return MASK if not equals and _looks_random(unquote_plus(name)) else field


def _looks_random(value: str) -> bool:
    return len(value) >= _RANDOM_FROM and bool(re.search("[0-9]", value) and re.search("[A-Za-z]", value))


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """Plain data with each of its texts masked, names included."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(name): masked(inner, mask) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner, mask) for inner in value]
    return value
