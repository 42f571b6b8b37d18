"""Which addresses agents may have: the guard against calls into link-local and metadata networks.

An address is judged twice. :meth:`AddressGuard.check_endpoint` reads an endpoint when it is registered, and says at
once what could never be called. :meth:`AddressGuard.socket_factory` judges the address of every socket just before it
is made: only there is it known where a name leads *now*, so names, rebinding and redirects are covered, whatever the
spelling.

The list is explicit. The flags of :mod:`ipaddress` answer other questions: ``is_global`` lets NAT64 and
site-local addresses through, ``is_private`` covers the loopback and private networks that agents live in.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from typing import Any, Iterator, Sequence, Union
from urllib.parse import unquote

import yarl

from opscore.domain.errors import Invalid

MAX_ENDPOINT = 2_000
"""Characters an endpoint may have."""

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_FORBIDDEN: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this host": on Linux it reaches loopback under another name
        "100.100.100.200/32",  # metadata: Alibaba Cloud
        "168.63.129.16/32",  # metadata: Azure
        "169.254.0.0/16",  # link-local, and the metadata of nearly every cloud
        "192.0.0.192/32",  # metadata: Oracle Cloud
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",  # unspecified
        "64:ff9b:1::/48",  # local-use NAT64 (RFC 8215): where it leads cannot be read from it
        "fd00:ec2::/32",  # metadata: Amazon
        "fd20:ce::254/128",  # metadata: Google Cloud
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated but still routed by some
        "ff00::/8",  # multicast
    )
)
_LOOPBACK_6 = ipaddress.IPv6Address("::1")
_LOW_32_BITS = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible (RFC 4291)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
    )
)
"""IPv6 networks whose addresses carry an IPv4 address in their last 32 bits."""

_AUTHORITY = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_HOST_NAME = re.compile(r"(?!.{254})[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")


class ForbiddenAddress(OSError):
    """Agents may not live at this address; no socket was made."""

    def __init__(self) -> None:
        # The text is the same for all addresses: aiohappyeyeballs joins errors with unequal texts into a plain OSError.
        super().__init__(errno.EACCES, "the address is in a forbidden network")


class AddressGuard:
    """Says which addresses may be called.

    Args:
        networks: The only networks (CIDR) that agents may live in; empty: any but the ones that are always forbidden.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in networks)

    def check_endpoint(self, endpoint: Any) -> yarl.URL:
        """Read an endpoint.

        Returns:
            The endpoint as a URL with a host.

        Raises:
            Invalid: It is no http(s) address, carries a user or a fragment, or names a forbidden network.
        """
        if not isinstance(endpoint, str) or not endpoint:
            raise _invalid("An endpoint such as http://127.0.0.1:9000 is needed.")
        if len(endpoint) > MAX_ENDPOINT:
            raise _invalid(f"The endpoint is longer than {MAX_ENDPOINT} characters.")
        authority = _AUTHORITY.match(endpoint)
        if authority is None or _NOT_IN_URLS.search(endpoint):
            raise _invalid(
                "The endpoint must be an address such as http://127.0.0.1:9000, with http or https and a host."
            )
        if "@" in authority[1]:
            raise _invalid("The endpoint must not carry a user name or password.")
        if "#" in endpoint:
            raise _invalid("The endpoint must not have a fragment (#).")
        url = _parsed(endpoint)
        self._check_host(url.host or "", url.raw_host or "")
        return url

    def _check_host(self, host: str, raw_host: str) -> None:
        address = _address(unquote(host))
        if address is None:
            if not _HOST_NAME.fullmatch(raw_host):
                raise _invalid("The endpoint's host is neither a host name nor an IP address.")
        elif not self.allows(address):
            raise _invalid("The endpoint is in a network that agents may not live in.")

    def allows(self, address: Address) -> bool:
        """Whether agents may live at this address."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # the same endpoint, spelled for an IPv6 socket
        if any(_is_forbidden(meant) for meant in (address, *_embedded(address))):
            return False
        return not self._networks or any(address in network for network in self._networks)

    def socket_factory(self, addr_info: Any) -> socket.socket:
        """Make the socket for one resolved address: the ``socket_factory`` of aiohttp's ``TCPConnector``.

        Whoever connects it makes it non-blocking and sets its options; so do aiohappyeyeballs and aiohttp.

        Raises:
            ForbiddenAddress: Agents may not live there.
        """
        family, kind, protocol, _, where = addr_info
        address = _address(str(where[0]))
        if address is None or not self.allows(address):
            raise ForbiddenAddress
        return socket.socket(family=family, type=kind, proto=protocol)


def _invalid(text: str) -> Invalid:
    return Invalid(text, details={"endpoint": [text]})


def _parsed(endpoint: str) -> yarl.URL:
    try:
        url = yarl.URL(endpoint)
        port = url.port
    except ValueError:  # UnicodeError is one too
        raise _invalid("The endpoint's host or port cannot be read.") from None
    if not port or url.host is None:
        raise _invalid("The endpoint's host or port cannot be read.")
    return url


def _address(host: str) -> Union[Address, None]:
    """The IP address that a host is, in any spelling the operating system takes for one; None for names."""
    literal = host.partition("%")[0] if ":" in host else host.rstrip(".")
    try:
        return ipaddress.ip_address(literal)
    except ValueError:
        pass
    try:
        # Decimal, octal, hexadecimal and shortened forms: what getaddrinfo() reads with the same function.
        return ipaddress.IPv4Address(socket.inet_aton(literal))
    except (OSError, ValueError):
        return None


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses that packets to this IPv6 address may end at."""
    if isinstance(address, ipaddress.IPv4Address) or address == _LOOPBACK_6:
        return
    if any(address in network for network in _LOW_32_BITS):
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _is_forbidden(address: Address) -> bool:
    return any(address in network for network in _FORBIDDEN)
