"""Only requests for the site's own hosts are answered, which prevents DNS rebinding."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg

from tests.support import Site, Visitor

EVIL = "evil.example:8000"


async def status(visitor: Visitor, host: str, path: str = "/login") -> int:
    return (await visitor.get(path, headers={"Host": host})).status_code


async def test_a_request_for_a_foreign_host_can_neither_read_nor_register(
    site: Site, connection: asyncpg.Connection
) -> None:
    visitor = site.visitor()
    token = await visitor.csrf()
    for path in ("/", "/login", "/docs", "/openapi.json", "/seats", "/static/css/seatweb.css", "/live", "/nowhere"):
        answer = await visitor.get(path, headers={"Host": EVIL})
        assert answer.status_code == 421, path
        assert "SEATWEB_HOSTS" in answer.text
        assert "content-security-policy" in answer.headers
    form = {"_csrf_token": token, "username": "ada", "password": "correct horse battery"}
    headers = {"Host": EVIL, "Origin": f"http://{EVIL}"}
    assert (await visitor.http.post("/register", data=form, headers=headers)).status_code == 421
    credentials = {"username": "ada", "password": "correct horse battery"}
    assert (await visitor.http.post("/auth/register", json=credentials, headers=headers)).status_code == 421
    assert await connection.fetchval("select count(*) from users") == 0


async def test_localhost_and_ip_addresses_are_always_accepted(site: Site) -> None:
    for host in (
        *("localhost", "LOCALHOST:1", "localhost.", "a.localhost:8000"),
        *("127.0.0.1:8000", "[::1]:8000", "10.0.0.5"),
    ):
        assert await status(site.visitor(), host) == 200, host


async def test_lookalike_hosts_are_refused(site: Site) -> None:
    for host in (
        *("localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example"),
        *("1.2.3", "0x7f000001", "2130706433"),
    ):
        assert await status(site.visitor(), host) == 421, host


async def test_the_public_host_and_the_listed_names_are_accepted(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL="http://seats.example.org", SEATWEB_HOSTS="desks.example.org, Library")
    for host in ("seats.example.org", "Seats.Example.org:8000", "desks.example.org", "library", "localhost"):
        assert await status(site.visitor(), host) == 200, host
    for host in ("example.org", "a.seats.example.org", EVIL):
        assert await status(site.visitor(), host) == 421, host


async def test_health_probes_may_use_any_host(site: Site) -> None:
    for path in ("/health", "/health/live"):
        assert await status(site.visitor(), "seatweb.internal", path) == 200
    assert await status(site.visitor(), "seatweb.internal", "/healthy") == 421
