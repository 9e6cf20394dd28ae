"""Decides which addresses may be reached: public ones over https, loopback only if the API is there."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from clipspool.system.process import start_thread

if TYPE_CHECKING:
    from urllib3.util import Url

URL_LENGTH_MAX = 8192

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Listed although most are not global anyway: ipaddress's tables differ between patch levels of Python.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # shared address space, with the metadata service of one cloud
        "168.63.129.16/32",  # a public number, but a cloud's own host
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",  # Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_PORT_OF = {"https": 443, "http": 80}


class Forbidden(Exception):
    """An address that may not be reached, and why."""


class Unreachable(Exception):
    """No connection was made, so nothing was sent."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """An address of the right form whose host is not resolved yet."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query; begins with a slash."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: the key goes to one origin only."""
        return self.scheme, self.host, self.port


@lru_cache(maxsize=16)
def _parsed(url: str) -> Url:
    """Parse an address; cached, since each request checks the same one several times. Raises Forbidden."""
    # Here, since commands import this module for its classes alone, and urllib3 takes 30 ms.
    from urllib3.exceptions import LocationParseError  # noqa: PLC0415
    from urllib3.util import parse_url  # noqa: PLC0415

    try:
        return parse_url(url)
    except LocationParseError:
        raise Forbidden("the address is malformed") from None


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Checks every address we connect to, from the configuration and from the API alike."""

    allows_loopback: bool

    def target(self, url: str) -> Target:
        """Parse an address; raises Forbidden unless it is https (or loopback http) without userinfo."""
        if len(url) > URL_LENGTH_MAX or not url.isprintable() or any(letter in url for letter in ' \\"<>'):
            raise Forbidden("the address is malformed")
        parts = _parsed(url)
        scheme, host = parts.scheme or "", (parts.host or "").strip("[]").rstrip(".")
        if scheme not in _PORT_OF or not host:
            raise Forbidden("only https addresses are reached")
        if scheme == "http" and not self.allows_loopback:
            raise Forbidden("only https addresses are reached, this one is plain http")
        if parts.auth is not None or "@" in re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]:
            raise Forbidden("an address with a user name in it is not reached")
        return Target(scheme, host, parts.port or _PORT_OF[scheme], parts.request_uri)

    def admits(self, address: str, scheme: str) -> bool:
        """Whether a connection to this IP address may be made."""
        try:
            known = ipaddress.ip_address(address)
        except ValueError:  # an IPv6 address with a zone
            return False
        if self.allows_loopback and _is_loopback(known):
            return True
        return scheme == "https" and is_public(known)

    def look_up(self, target: Target, seconds: float) -> list[tuple[socket.AddressFamily, str]]:
        """Resolve a host once and return the addresses that may be reached, in the resolver's order.

        Connect to one of these, and do not resolve the name again. Raises Unreachable without an answer
        within `seconds`, Forbidden when no address may be reached.
        """
        found = resolve(target.host, target.port, seconds)
        admitted = [(family, address) for family, address in found if self.admits(address, target.scheme)]
        if not admitted:
            raise Forbidden(f"{target.host} is not a public address")
        return admitted


def guard_for(base_url: str) -> AddressGuard:
    """Make the guard for the API's address; raises ValueError when it is no address for an API.

    Loopback is allowed only when the address names it (127.0.0.0/8, ::1, localhost), never because a public
    name resolves to it.
    """
    try:
        target = AddressGuard(allows_loopback=True).target(base_url)
    except Forbidden as error:
        raise ValueError(f"base_url: {error}") from None
    if "?" in target.path or "#" in base_url:
        raise ValueError("base_url: an address without a query is needed")
    is_loopback = _is_loopback_name(target.host)
    if target.scheme == "http" and not is_loopback:
        raise ValueError("base_url: plain http is spoken on loopback only, use https")
    return AddressGuard(allows_loopback=is_loopback)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is an address of the public Internet; an IPv4 address wrapped in IPv6 counts as itself."""
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST and address.is_global


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_loopback_name(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return _is_loopback(ipaddress.ip_address(host))
    except ValueError:
        return False


def resolve(host: str, port: int, seconds: float) -> list[tuple[socket.AddressFamily, str]]:
    """Resolve a name in a thread that may be left behind: the resolver has no deadline of its own."""
    with suppress(ValueError):
        version = ipaddress.ip_address(host).version
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, host)]  # noqa: PLR2004
    found: list[tuple[socket.AddressFamily, str]] = []
    troubles: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append((family, str(where[0])))
        except (OSError, UnicodeError) as error:
            troubles.append(error)

    thread = start_thread(ask, "resolve")
    if thread is None:
        raise Unreachable("NETWORK.DNS", f"{host} cannot be resolved: the system refuses a thread for it")
    thread.join(seconds)
    if thread.is_alive():
        raise Unreachable("NETWORK.DNS", f"resolving {host} took longer than {seconds:g} s")
    if troubles or not found:
        raise Unreachable("NETWORK.DNS", f"the name {host} cannot be resolved")
    return list(dict.fromkeys(found))
