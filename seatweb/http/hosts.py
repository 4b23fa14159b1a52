"""Check `Host` headers, so that another site whose name resolves to this server (DNS rebinding) can do nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import structlog

from seatweb.storage.caching import BoundedDict

HOSTS_KEPT: Final = 64
HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII)

log = structlog.get_logger("seatweb.requests")


class Hosts:
    """The accepted hosts: the public URL's, those that the operator lists, `localhost`, and any IP address.

    IP addresses are safe: DNS rebinding needs a name.
    """

    def __init__(self, public_url: str | None, names: Iterable[str]) -> None:
        own = urlsplit(public_url).hostname if public_url else None
        self._names = {name.lower() for name in [*names, own, "localhost"] if name}
        self._known: BoundedDict[bytes, HTTPStatus | None] = BoundedDict(HOSTS_KEPT)
        self._warned = False

    def problem(self, sent: list[bytes]) -> HTTPStatus | None:
        """Return the status to refuse a request with these `Host` headers with; None if they are acceptable.

        400 if the host is ambiguous or malformed, 421 if it is not ours (RFC 9110, section 15.5.20).
        """
        if len(sent) > 1:
            return HTTPStatus.BAD_REQUEST
        if not sent or not sent[0]:
            return None  # HTTP/1.0; browsers always send one
        host = sent[0]
        if host not in self._known:
            self._known[host] = self._find_problem(host.decode("latin-1"))
        return self._known[host]

    def _find_problem(self, host: str) -> HTTPStatus | None:
        match = HOST.fullmatch(host)
        if match is None or int(match[2] or 0) > 65535:
            return HTTPStatus.BAD_REQUEST
        name = match[1].lower().removesuffix(".")
        if name in self._names or name.endswith(".localhost") or is_address(name.strip("[]")):
            return None
        if not self._warned:
            self._warned = True
            log.warning(
                "unknown host refused; if it is yours, set SEATWEB_PUBLIC_URL or add it to SEATWEB_HOSTS",
                host=name,
            )
        return HTTPStatus.MISDIRECTED_REQUEST


def is_address(name: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
