"""Only Seatweb's own cookies are read from a request."""

from __future__ import annotations

import pytest
from litestar.connection import ASGIConnection
from seatweb.http.cookies import with_own_cookies

HOST = (b"host", b"localhost")


def read(*cookies: bytes) -> dict[str, str]:
    """Return the cookies that the framework parses after filtering."""
    headers = with_own_cookies([HOST, *((b"cookie", one) for one in cookies)])
    assert [header for header in headers if header[0] != b"cookie"] == [HOST]
    scope = {"type": "http", "headers": headers}
    return ASGIConnection(scope).cookies  # type: ignore[arg-type]


def test_own_cookies_are_found_in_any_position() -> None:
    ours = {"seatweb_session": "a.b-c_d", "__Host-seatweb_csrf": "0" * 64, "seatweb_notice": "booked.A-07"}
    sent = [f"{name}={value}".encode() for name, value in ours.items()]
    assert read(b"; ".join(sent)) == ours
    assert read(b"a=b; " + b";".join(sent) + b"; c=d") == ours
    assert read(*sent, b"theirs=1") == ours
    assert read() == {}


@pytest.mark.parametrize(
    "theirs",
    [
        b'a="' + b'\\"' * 7000 + b'"',  # unquoting it would take seconds
        b'seatweb_session="' + b'\\"' * 7000 + b'"',
        b"seatweb_session=%41",
        b'seatweb_session="a"',
        b"seatweb_session=a b",
        b"seatweb_session",
        b"Seatweb_session=a",
        b"xseatweb_session=a",
        b"__Secure-seatweb_session=a",
        b"=seatweb_session=a",
        b";;;=;=",
        b"\xff=\xff",
    ],
)
def test_other_cookies_are_removed(theirs: bytes) -> None:
    headers = with_own_cookies([HOST, (b"cookie", theirs)])
    assert headers == [HOST]
    assert read(theirs + b"; seatweb_csrf=1") == {"seatweb_csrf": "1"}
