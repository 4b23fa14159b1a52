"""Security headers are on every response of every route, for every kind of visitor and every status."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from litestar.routes import HTTPRoute
from seatweb.app import create_app
from seatweb.settings import Backends, Settings

from tests.support import HTMX, Site, Visitor, soup, without_layers

HTTPS = "https://seats.example.org"
VALUES = {
    "day_text": "2026-11-23", "day": "2026-11-23", "seat_id": "8", "seat_text": "8", "booking_id": "1",
    "booking_text": "1", "name": "A", "section": "A", "path": "nowhere/at/all", "file_path": "icons/favicon.svg",
}  # fmt: skip
JSON = {"content-type": "application/json"}
# Responses that shared caches may store, since they are the same for everyone.
PUBLIC = ("/static/", "/favicon.ico", "/robots.txt", "/.well-known/security.txt", "/openapi.json")


@dataclass(frozen=True)
class Asked:
    """A request and its sender."""

    method: str
    path: str
    headers: dict[str, str]


def routes(settings: Settings, backends: Backends) -> list[HTTPRoute]:
    """Return the route table of the app."""
    app = without_layers(create_app(settings, backends))
    return [route for route in app.routes if isinstance(route, HTTPRoute)]


def address(route: HTTPRoute) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: VALUES.get(match[1], "1"), route.path_format)


def requests(found: list[HTTPRoute]) -> Iterator[Asked]:
    for route in found:
        path = address(route)
        for method in sorted(route.methods | {"GET", "POST", "TRACE"} - {"HEAD"}):  # also unsupported methods: 405
            yield Asked(method, path, {})
            yield Asked(method, path, HTMX)
            if method in {"POST", "PATCH"}:
                yield Asked(method, path, JSON)


def extra_requests() -> Iterator[Asked]:
    yield Asked("GET", "/nowhere", {})
    yield Asked("GET", "/nowhere", HTMX)
    yield Asked("DELETE", "/nowhere", {})
    yield Asked("GET", "/auth/nowhere", {})
    yield Asked("GET", "/static/nowhere.js", {})
    yield Asked("GET", "/static/css/seatweb.css", {"accept-encoding": "br"})
    yield Asked("GET", "/static/js/seatweb.js", {"accept-encoding": "identity"})
    yield Asked("GET", "/days/2026-13-45", {})
    yield Asked("GET", "/days/2030-01-01/seats/1", {})
    yield Asked("GET", "/days/2026-11-23/live", {})  # a stream
    yield Asked("GET", "/", {"host": "a:b"})  # an invalid host


def check(asked: Asked, answer: httpx.Response, *, https: bool) -> None:
    where, headers = f"{asked.method} {asked.path} {answer.status_code}", answer.headers
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split("; ")}
    assert len(headers.get_list("content-security-policy")) == 1, where
    assert "unsafe" not in headers["content-security-policy"], where
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"], where
    assert headers["x-content-type-options"] == "nosniff", where
    assert headers["cross-origin-resource-policy"] == "same-origin", where
    assert headers["x-request-id"], where
    if https:
        assert headers["strict-transport-security"] == "max-age=63072000; includeSubDomains", where
    else:
        assert "strict-transport-security" not in headers, where  # browsers ignore it over http
    kind = headers.get("content-type", "").partition(";")[0]
    if int(headers.get("content-length", "0")):
        assert kind, where
    if kind.startswith("text/"):
        assert "charset=utf-8" in headers["content-type"] or asked.path.startswith("/static/"), where
    cache_control = headers["cache-control"]
    if not asked.path.startswith(PUBLIC) or answer.status_code >= 400:
        assert "no-store" in cache_control or cache_control == "private, no-cache", where
    if kind == "text/html" or answer.status_code in {301, 302, 303, 307}:
        assert "no-store" in cache_control, where
    # The policy's 'self' must allow only static/ as a source of scripts and styles: nothing else has such a type.
    assert asked.path.startswith("/static/") or not re.search("script|css|wasm", kind), where
    if kind != "text/html":
        assert policy["sandbox"] == [], where
        return
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == ["'self'"], where
    assert policy["object-src"] == policy["base-uri"] == ["'none'"], where
    assert policy["require-trusted-types-for"] == ["'script'"], where
    assert policy["trusted-types"] == ["seatweb"], where
    assert headers["referrer-policy"] == "same-origin", where
    assert headers["cross-origin-opener-policy"] == "same-origin", where
    assert headers["cross-origin-embedder-policy"] == "require-corp", where
    assert {"camera=()", "geolocation=()", "payment=()"} <= set(headers["permissions-policy"].split(", ")), where


async def ask(visitor: Visitor, asked: Asked, body: bytes) -> httpx.Response:
    """Return the response; of a stream, only its head."""
    request = visitor.http.build_request(asked.method, asked.path, headers=asked.headers, content=body)
    answer = await visitor.http.send(request, stream=True)
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        await answer.aread()
    await answer.aclose()
    return answer


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
async def test_every_response_of_every_route_has_security_headers(
    start_site: Callable[..., Site], backends: Backends, *, https: bool
) -> None:
    settings = {"SEATWEB_SECURITY_CONTACT": "mailto:security@example.org"}
    if https:
        settings["SEATWEB_PUBLIC_URL"] = HTTPS
    site = start_site(**settings)
    found = routes(site.settings, backends)
    assert len(found) > 25
    statuses: set[int] = set()
    nobody = site.visitor()
    rng = random.Random(os.environ["SEATWEB_TEST_SEED"])  # noqa: S311 - no secret
    async with site.people(1) as (ada,):
        for asked in [*requests(found), *extra_requests()]:
            senders = [(nobody, b""), (ada, b"")]
            if asked.method in {"POST", "PATCH", "PUT"}:
                senders.append((ada, b"x" * 70_000))
            # HTTPS and htmx change little, so with them one sender will do, another one every day.
            for visitor, body in [rng.choice(senders)] if https or asked.headers is HTMX else senders:
                answer = await ask(visitor, asked, body)
                check(asked, answer, https=https)
                statuses.add(answer.status_code)
    assert {200, 303, 401, 403, 404, 405, 415} <= statuses  # all kinds of responses occurred
    assert https or 413 in statuses


async def test_every_cookie_is_bound_to_the_host(start_site: Callable[..., Site]) -> None:
    visitor = start_site(SEATWEB_PUBLIC_URL=HTTPS).visitor()
    jar: dict[str, str] = {}  # sent by hand: the client sends Secure cookies over https only

    async def ask_with_cookies(path: str, form: dict[str, str] | None = None) -> httpx.Response:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        answer = await visitor.http.request("POST" if form else "GET", path, data=form, headers=headers)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            attributes = {part.strip().lower() for part in line.split(";")[1:]}
            assert name.startswith("__Host-seatweb_"), line
            assert {"secure", "httponly", "path=/", "samesite=lax"} <= attributes, line
            assert not any(attribute.startswith("domain") for attribute in attributes), line
            others = [other for key, other in answer.headers.multi_items() if key != "set-cookie"]
            assert len(value) < 16 or not any(value in other for other in others), line
            jar[name] = value
        return answer

    account = {"username": "ada", "password": "correct horse battery"}
    for path, fields in (("/register", account), ("/days/2026-11-23/any", {}), ("/logout", {}), ("/login", account)):
        page = soup(await ask_with_cookies("/register" if path in {"/register", "/login"} else "/"))
        token = str(page.select("input[name=_csrf_token]")[0]["value"])
        answer = await ask_with_cookies(path, {"_csrf_token": token, **fields})
        assert answer.status_code == 303, path
    assert {"__Host-seatweb_csrf", "__Host-seatweb_session", "__Host-seatweb_notice", "__Host-seatweb_changed"} <= set(
        jar
    )


async def raw(site: Site, request: bytes) -> bytes:
    """Return the server's answer to raw bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.socket.getsockname()[1])
    writer.write(request)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


async def test_a_request_with_ambiguous_framing_is_refused(site: Site) -> None:
    hidden = b"GET /account HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lines in (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked" % (5 + len(hidden)),
        b"Content-Length: 5\r\nContent-Length: %d" % (5 + len(hidden)),
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding : chunked",
        b"Content-Length: +5",
    ):
        answer = await raw(site, b"POST /login HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n\r\n0\r\n\r\n" + hidden)
        assert answer.count(b"HTTP/1.1 ") == 1, lines  # the smuggled request was not answered
        assert answer.startswith(b"HTTP/1.1 400"), lines


async def test_trace_and_connect_are_not_answered(site: Site) -> None:
    for method in ("TRACE", "CONNECT", "TRACK"):
        answer = await site.visitor().http.request(method, "/account", headers={"X-Secret": "echoed-value"})
        assert answer.status_code in {400, 405}, method
        assert "echoed-value" not in answer.text, method


async def test_a_new_site_has_no_default_accounts(connection: asyncpg.Connection) -> None:
    assert await connection.fetchval("select count(*) from seats") == 80
    assert await connection.fetchval("select count(*) from users") == 0


async def test_hsts_can_exclude_subdomains(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=HTTPS, SEATWEB_HSTS_SUBDOMAINS=False)
    assert (await site.visitor().get("/")).headers["strict-transport-security"] == "max-age=63072000"


async def test_robots_txt_lets_crawlers_index_only_todays_map(site: Site) -> None:
    answer = await site.visitor().get("/robots.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert lines[0] == "User-agent: *"
    assert {"Allow: /$", "Allow: /docs", "Disallow: /"} <= set(lines)
    for path in ("/my", "/account", "/login", "/days"):
        assert not any(line.startswith(f"Allow: {path}") for line in lines)


async def test_security_txt_names_the_contact(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_SECURITY_CONTACT="mailto:security@example.org", SEATWEB_PUBLIC_URL=HTTPS)
    answer = await site.visitor().get("/.well-known/security.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"  # RFC 9116, section 3
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert list(fields) == ["Contact", "Expires", "Canonical", "Preferred-Languages"]
    assert fields["Contact"] == "mailto:security@example.org"
    assert fields["Canonical"] == f"{HTTPS}/.well-known/security.txt"
    left = datetime.fromisoformat(fields["Expires"]) - datetime.now(UTC)
    assert timedelta(days=30) < left < timedelta(days=366)


async def test_without_a_contact_there_is_no_security_txt(site: Site) -> None:
    answer = await site.visitor().get("/.well-known/security.txt")
    assert answer.status_code == 404
    assert "Contact:" not in answer.text
