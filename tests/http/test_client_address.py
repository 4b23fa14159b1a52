"""The client's address: trusted proxies may report it, and nobody else can forge it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from seatweb.http.client_address import Proxies
from structlog.testing import capture_logs

PROXY, INNER, CLIENT = "10.0.0.5", "10.0.1.9", "203.0.113.7"
TRUSTED = [ipaddress.ip_network(name) for name in (PROXY, "10.0.1.0/24", "2001:db8:1::/64")]


def seen(peer: str | None, *headers: str | bytes, proxies: Proxies | None = None) -> str:
    scope: dict[str, Any] = {
        "client": (peer, 4711) if peer is not None else None,
        "headers": [
            (b"host", b"seats.example.org"),
            *((b"x-forwarded-for", one.encode() if isinstance(one, str) else one) for one in headers),
            (b"forwarded", b"for=198.51.100.99"),
            (b"x-real-ip", b"198.51.100.99"),
        ],
    }
    return (proxies or Proxies(TRUSTED)).client_address(scope)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        # No proxy, or one that is not trusted: the peer, whatever the header says.
        (CLIENT, [], CLIENT),
        (CLIENT, ["198.51.100.1"], CLIENT),
        (CLIENT, [PROXY], CLIENT),
        (CLIENT, ["198.51.100.1, 10.0.0.5"], CLIENT),
        ("10.0.0.6", [CLIENT], "10.0.0.6"),
        ("2001:db8:2::1", [CLIENT], "2001:db8:2::1"),
        # One trusted proxy.
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, ["198.51.100.1, " + CLIENT], CLIENT),  # the left one is forged
        (PROXY, [f"  {CLIENT}  "], CLIENT),
        (PROXY, [f"{CLIENT}:51234"], CLIENT),
        (PROXY, [f'"{CLIENT}"'], CLIENT),
        (f"::ffff:{PROXY}", [CLIENT], CLIENT),
        (PROXY, [f"::ffff:{CLIENT}"], CLIENT),
        # Several trusted proxies.
        (PROXY, [f"{CLIENT}, {INNER}"], CLIENT),
        (PROXY, [f"198.51.100.1,{CLIENT},{INNER},10.0.1.10"], CLIENT),
        (PROXY, ["198.51.100.1", CLIENT, INNER], CLIENT),  # one header line each
        (PROXY, [INNER], INNER),  # a proxy itself sends the request
        (PROXY, [f"10.0.1.10, {INNER}"], "10.0.1.10"),
        # IPv6.
        ("2001:db8:1::5", ["2001:db8:9::7"], "2001:db8:9::7"),
        (PROXY, ["2001:DB8:9:0:0:0:0:7"], "2001:db8:9::7"),
        (PROXY, ["[2001:db8:9::7]:443"], "2001:db8:9::7"),
        (PROXY, ["[2001:db8:9::7]"], "2001:db8:9::7"),
        ("fe80::1%eth0", [CLIENT], "fe80::1"),
        # Reading stops at a malformed entry.
        (PROXY, ["unknown"], PROXY),
        (PROXY, ["_hidden, unknown"], PROXY),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),
        (PROXY, [f"{CLIENT}, unknown, {INNER}"], INNER),
        (PROXY, [f"unknown, {CLIENT}"], CLIENT),
        (PROXY, [""], PROXY),
        (PROXY, [",,,"], PROXY),
        (PROXY, [f"{CLIENT},"], PROXY),
        (PROXY, ["203.0.113.7.8"], PROXY),
        (PROXY, ["203.0.113.256"], PROXY),
        (PROXY, ["3405803783"], PROXY),
        (PROXY, ["203.0.113.7/32"], PROXY),
        (PROXY, ["٢٠٣.0.113.7"], PROXY),
        (PROXY, [b"\xff\xfe\x00"], PROXY),
        (PROXY, ["9" * 100_000], PROXY),
        (PROXY, ["1.1.1.1, " * 20_000 + CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, " + ", ".join([INNER] * 50)], INNER),  # more hops than are read
        # A unix socket that is not trusted.
        (None, [], ""),
        (None, [CLIENT], ""),
        ("", [CLIENT], ""),
        ("testclient", [CLIENT], "testclient"),
    ],
)
def test_the_client_address_is_the_last_one_before_the_trusted_proxies(
    peer: str | None, headers: list[str | bytes], expected: str
) -> None:
    assert seen(peer, *headers) == expected
    proxies = Proxies(TRUSTED)
    assert [seen(peer, *headers, proxies=proxies) for _ in range(2)] == [expected] * 2


def test_a_unix_socket_is_trusted_only_if_configured() -> None:
    proxies = Proxies([], unix=True)
    assert seen(None, CLIENT, proxies=proxies) == CLIENT
    assert seen(None, f"198.51.100.1, {CLIENT}", proxies=proxies) == CLIENT
    assert seen(None, proxies=proxies) == ""
    assert seen(None, "unknown", proxies=proxies) == ""
    assert seen(PROXY, CLIENT, proxies=proxies) == PROXY
    assert seen("not an address", CLIENT, proxies=proxies) == "not an address"


@settings(max_examples=200, deadline=None)
@given(
    peer=st.sampled_from([PROXY, CLIENT, None, "", "::1"]),
    header=st.one_of(st.binary(max_size=200), st.text('0123456789abcdef.:,[]%" ', max_size=80).map(str.encode)),
)
def test_arbitrary_headers_never_raise(peer: str | None, header: bytes) -> None:
    found = seen(peer, header)
    assert found == (peer or "") or ipaddress.ip_address(found)
    if peer != PROXY:
        assert found == (peer or "")


def test_the_cache_of_addresses_is_bounded() -> None:
    proxies = Proxies(TRUSTED)
    for number in range(3000):
        seen(PROXY, f"{number // 256}.{number % 256}.1.1, " * (number % 40) + CLIENT, proxies=proxies)
    assert len(proxies._known) <= 1024
    assert max(len(given) for _, given in proxies._known) <= 256


@pytest.mark.parametrize(("peer", "warnings"), [("10.9.9.9", 1), ("127.0.0.1", 1), (None, 1), ("8.8.8.8", 0)])
def test_the_operator_is_warned_once_about_an_untrusted_proxy(
    monkeypatch: pytest.MonkeyPatch, peer: str | None, warnings: int
) -> None:
    """Headers from strangers must not fill the log."""
    # The module's logger may be cached with the configuration of a site that an earlier test started.
    monkeypatch.setattr("seatweb.http.client_address.log", structlog.get_logger())
    proxies = Proxies(TRUSTED)
    with capture_logs() as lines:
        for number in range(3):
            seen(peer, f"203.0.113.{number}", proxies=proxies)
            seen(PROXY, CLIENT, proxies=proxies)
    assert len(lines) == warnings
    assert all("SEATWEB_TRUSTED_PROXIES" in line["event"] for line in lines)
