"""Fields after a chunked body (trailers, RFC 9112, section 7.1.2) never become headers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat

from tests.http.connections import answer_to_endless, connected, read_answer
from tests.support import Site

CHUNKED = b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\n"


async def test_a_trailer_does_not_become_a_header_of_this_or_the_next_request(site: Site) -> None:
    async with connected(site) as (reader, writer):
        for _ in range(3):
            # A second Host header would be answered with 400.
            writer.write(GET + CHUNKED + b"0\r\nHost: other\r\n\r\n")
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
            writer.write(GET + b"Host: localhost\r\n\r\n")
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")


async def test_a_token_in_a_trailer_does_not_authenticate(site: Site) -> None:
    ada = {"username": "ada", "password": "correct horse battery"}
    async with site.visitor().http as http:
        assert (await http.post("/auth/register", json=ada)).status_code == 201
        token: str = (await http.post("/auth/login", json=ada)).json()["access_token"]
    authorization = b"Authorization: Bearer " + token.encode() + b"\r\n"
    async with connected(site) as (reader, writer):
        writer.write(b"GET /me HTTP/1.1\r\n" + authorization + b"Host: localhost\r\n\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /me HTTP/1.1\r\n" + CHUNKED + b"0\r\n" + authorization + b"\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 401")


async def test_an_address_in_a_trailer_does_not_evade_rate_limits(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_TRUSTED_PROXIES="127.0.0.1", SEATWEB_LIMIT_REQUESTS="1/hour")
    async with connected(site) as (reader, writer):
        for status, address in ((b"401", b"192.0.2.1"), (b"429", b"192.0.2.2")):
            writer.write(b"GET /me HTTP/1.1\r\n" + CHUNKED + b"0\r\nX-Forwarded-For: " + address + b"\r\n\r\n")
            assert (await read_answer(reader))[9:12] == status


async def test_endless_trailers_are_refused(site: Site) -> None:
    for name, begin, part in (
        ("many trailers", b"", b"a: b\r\n"),
        ("an endless value", b"a: ", b"b" * 1000),
        ("an endless name", b"", b"a" * 1000),
    ):
        async with connected(site) as (reader, writer):
            # The form is answered only when it is complete.
            form = b"Content-Type: application/x-www-form-urlencoded\r\n"
            writer.write(b"POST /login HTTP/1.1\r\n" + form + CHUNKED + b"3\r\na=b\r\n0\r\n" + begin)
            answer = await answer_to_endless(reader, writer, repeat(part))
            assert answer.startswith(b"HTTP/1.1 431"), name
            assert b"connection: close" in answer, name
