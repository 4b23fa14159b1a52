"""Find a client's IP address: the connection's peer, or what trusted proxies report in X-Forwarded-For."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, TypeAlias

import structlog
from msgspec import Struct

from seatweb.storage.caching import BoundedDict

Network: TypeAlias = IPv4Network | IPv6Network

STATE_KEY: Final = "client_address"
HEADER: Final = b"x-forwarded-for"
HOPS_AT_MOST: Final = 32
ADDRESSES_KEPT: Final = 1024
LONGEST_KEPT: Final = 256  # bytes of the header; results for longer ones are not cached
# An address as proxies write it: bare or with a port; an IPv6 address with a port needs brackets.
WRITTEN: Final = re.compile(
    r'"?(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+)(?::\d{1,5})?|([0-9A-Fa-f:.]+))"?', re.ASCII
)

log = structlog.get_logger("seatweb.requests")


def address_of(connection: Any) -> str:  # noqa: ANN401 - any of the framework's requests and connections
    """Return the IP address of the client that sent the request; empty if it has none."""
    found: str = connection.scope["state"].get(STATE_KEY, "")
    return found


def network_of(address: str) -> str:
    """Return the network that one client controls: the /64 of an IPv6 address, or the IPv4 address itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))


class Client(Struct, frozen=True):
    """Where a request came from."""

    address: str = ""
    device: str = ""
    """The User-Agent header, at most 300 characters."""


NOWHERE: Final = Client()
"""The client of the operator's own commands."""


def client_of(connection: Any) -> Client:  # noqa: ANN401 - any of the framework's requests and connections
    """Return where a request came from."""
    return Client(address=address_of(connection)[:64], device=connection.headers.get("user-agent", "")[:300])


class Proxies:
    """The trusted proxies: those in `networks` and, if `unix`, any peer of a unix socket."""

    def __init__(self, networks: Iterable[Network], *, unix: bool = False) -> None:
        self._networks = tuple(networks)
        self._unix = unix
        self._known: BoundedDict[tuple[str | None, bytes], str] = BoundedDict(ADDRESSES_KEPT)
        self._warned = False

    def client_address(self, scope: Mapping[str, Any]) -> str:
        """Return the IP address of the client that sent the request; empty if it has none.

        X-Forwarded-For is read from right to left, starting with what the nearest proxy wrote, up to the first address
        that is not a trusted proxy: anything further left may be forged.
        """
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        given = b",".join([value for name, value in scope["headers"] if name == HEADER])
        if len(given) > LONGEST_KEPT:
            return self._find(peer, given)
        known = self._known.get((peer, given))
        if known is None:
            known = self._known[peer, given] = self._find(peer, given)
        return known

    def _find(self, peer: str | None, given: bytes) -> str:
        address = _parse(peer or "")
        if not self._is_trusted(peer, address):
            if given:
                self._warn(peer, address)
            return str(address or peer or "")
        for written in reversed(given.decode("latin-1").rsplit(",", HOPS_AT_MOST)[-HOPS_AT_MOST:]):
            hop = _parse(written.strip())
            if hop is None:
                break  # whatever is further left cannot be trusted
            address = hop
            if not self._is_trusted(written, hop):
                break
        return str(address or peer or "")

    def _is_trusted(self, peer: str | None, address: IPv4Address | IPv6Address | None) -> bool:
        if address is None:
            return self._unix and not peer
        return any(address in network for network in self._networks)

    def _warn(self, peer: str | None, address: IPv4Address | IPv6Address | None) -> None:
        """Warn the operator once about a proxy that is not trusted: all its visitors share one client's limits."""
        if not self._warned and (address is None or address.is_private or address.is_loopback):
            self._warned = True
            log.warning(
                "X-Forwarded-For ignored: if this peer is your proxy, add it to SEATWEB_TRUSTED_PROXIES",
                peer=peer or "unix",
            )


def _parse(written: str) -> IPv4Address | IPv6Address | None:
    match = WRITTEN.fullmatch(written.partition("%")[0])
    if match is None:
        return None
    try:
        found = ipaddress.ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
