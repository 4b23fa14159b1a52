"""Only Seatweb's own cookies are read from a request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from litestar.connection import ASGIConnection
from seatweb.http.cookies import Cookies, with_own_cookies
from seatweb.http.tokens import Tokens
from seatweb.settings import Settings

from tests.faults.support import at
from tests.support import Site

HOST = (b"host", b"localhost")


def read(*cookies: bytes) -> dict[str, str]:
    """Return the cookies that the framework parses after filtering."""
    headers = with_own_cookies([HOST, *((b"cookie", one) for one in cookies)])
    assert [header for header in headers if header[0] != b"cookie"] == [HOST]
    scope = {"type": "http", "headers": headers}
    return ASGIConnection(scope).cookies  # type: ignore[arg-type]


def test_own_cookies_are_found_in_any_position() -> None:
    ours = {
        "seatweb_session": "a.b-c_d",
        "__Host-seatweb_csrf": "0" * 64,
        "__Secure-seatweb_changed": "1",
        "seatweb_notice": "booked.A-07",
    }
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
        b"__Http-seatweb_session=a",
        b"=seatweb_session=a",
        b";;;=;=",
        b"\xff=\xff",
    ],
)
def test_other_cookies_are_removed(theirs: bytes) -> None:
    headers = with_own_cookies([HOST, (b"cookie", theirs)])
    assert headers == [HOST]
    assert read(theirs + b"; seatweb_csrf=1") == {"seatweb_csrf": "1"}


async def test_sites_on_two_ports_of_one_host_share_no_cookies(start_site: Callable[..., Site]) -> None:
    """Browsers send a host's cookies to all of its ports."""
    first, second = start_site(SEATWEB_PORT=8001), start_site(SEATWEB_PORT=8002)
    async with first.people(1) as (ada,):
        assert (await ada.get("/account")).status_code == 200
        at(second, ada)
        assert (await ada.get("/account")).status_code == 303
        assert (await ada.get("/")).status_code == 200
        assert {"seatweb_session_8001", "seatweb_csrf_8001", "seatweb_csrf_8002"} <= {*ada.http.cookies}
        at(first, ada)
        assert (await ada.get("/account")).status_code == 200
        assert (await ada.book(first.clock.today, 7)).status_code == 303


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "seatweb_session"),
        ({"SEATWEB_PORT": "8000"}, "seatweb_session"),
        ({"SEATWEB_PORT": "9000"}, "seatweb_session_9000"),
        ({"SEATWEB_PUBLIC_URL": "http://seats.example.org"}, "seatweb_session"),
        ({"SEATWEB_PUBLIC_URL": "http://seats.example.org:8080", "SEATWEB_PORT": "9000"}, "seatweb_session_8080"),
        ({"SEATWEB_PUBLIC_URL": "https://seats.example.org", "SEATWEB_PORT": "9000"}, "__Host-seatweb_session"),
        ({"SEATWEB_PUBLIC_URL": "https://seats.example.org:8443"}, "__Host-seatweb_session_8443"),
        # Replicas behind a proxy have different ports and must understand each other's cookies.
        ({"DATABASE_URL": "postgresql://db/x", "JWT_SECRET": "0123456789abcdef" * 3, "SEATWEB_PORT": "9000"},
         "seatweb_session"),
    ],
)  # fmt: skip
def test_cookies_are_named_after_the_port_that_people_use(environment: dict[str, str], name: str) -> None:
    settings = Settings.from_environment(environment)
    cookies = Cookies(Tokens(["x" * 32]), secure=settings.secure_cookies, port=settings.cookie_port)
    assert cookies.session_cookie == name
    assert read(f"{name}=1".encode()) == {name: "1"}
