"""Error responses: each problem code once, and everything that can be wrong with a request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast

import asyncpg
import httpx
import pytest
from seatweb.accounts.errors import UserNotFound
from seatweb.api.openapi import document, problems
from seatweb.app import create_app
from seatweb.booking.errors import CannotUndo, TooManyStreams
from seatweb.booking.hold_store import HoldStore
from seatweb.errors import Forbidden, NotAllowed
from seatweb.settings import Backends, Settings
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient

from tests.api.conftest import (
    PROBLEM_JSON,
    Program,
    Programs,
    blocked_backend,
    blocked_bookings,
    refused,
    running_programs,
)
from tests.support import NO_TLS, Clock, Site, soup, until, without_layers

JOHN = {"username": "john", "password": "secret"}


@dataclass
class Scene:
    """What a story can use: two users' programs, the database, the servers, and a function that starts a site."""

    ada: Program
    grace: Program
    connection: asyncpg.Connection
    url: str
    backends: Backends
    start_site: Callable[..., Site]


async def seat_taken(scene: Scene) -> httpx.Response:
    await scene.grace.book(7)
    return await scene.ada.book(7)


async def seat_held(scene: Scene) -> httpx.Response:
    async with RedisClient(scene.backends.redis_url) as client:
        await HoldStore(client, RedisOutbox(client), seconds=90).take(date(2026, 11, 23), 7, scene.grace.user.id)
    return await scene.ada.book(7)


async def day_already_booked(scene: Scene) -> httpx.Response:
    await scene.ada.book(7)
    return await scene.ada.book(8)


async def seat_closed(scene: Scene) -> httpx.Response:
    await scene.connection.execute("update seats set closed = true where id = 7")
    return await scene.ada.book(7)


async def no_free_seat(scene: Scene) -> httpx.Response:
    await scene.connection.execute("update seats set closed = true")
    return await scene.ada.post("/bookings", {"any": True})


async def username_taken(scene: Scene) -> httpx.Response:
    return await scene.ada.post("/auth/register", {**JOHN, "username": scene.ada.user.username})


SECRET: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


async def sign_in_with_app(scene: Scene, code: str | None = None) -> httpx.Response:
    """Sign in as john, who has an authenticator app."""
    await scene.ada.post("/auth/register", JOHN)
    await scene.connection.execute(
        "insert into totp_secrets (user_id, secret, confirmed_at)"
        " select id, $1, now() from users where username = 'john' on conflict do nothing",
        SECRET,
    )
    return await scene.ada.post("/auth/login", JOHN | ({"code": code} if code else {}))


async def request_in_progress(scene: Scene) -> httpx.Response:
    async with blocked_bookings(scene.url):
        first = asyncio.create_task(scene.ada.book(7, key="key"))
        await blocked_backend(scene.connection)
        answer = await scene.ada.book(7, key="key")
    assert (await first).status_code == 201
    return answer


async def idempotency_key_reused(scene: Scene) -> httpx.Response:
    await scene.ada.book(7, key="key")
    return await scene.ada.book(8, key="key")


async def overloaded(scene: Scene) -> httpx.Response:
    async with blocked_bookings(scene.url):
        booking = asyncio.create_task(scene.ada.book(7))
        await scene.connection.execute("select pg_terminate_backend($1)", await blocked_backend(scene.connection))
        return await booking


async def too_many_attempts(scene: Scene) -> httpx.Response:
    for _ in range(10):
        await scene.ada.post("/auth/login", JOHN)
    return await scene.ada.post("/auth/login", JOHN)


async def second_factor_missing(scene: Scene) -> httpx.Response:
    site = scene.start_site(SEATWEB_SECOND_FACTOR="everyone")
    async with httpx.AsyncClient(base_url=site.url) as http:
        return await http.post("/auth/register", json=JOHN)


async def internal_error(scene: Scene) -> httpx.Response:
    await scene.connection.execute("alter table seats rename to chairs")
    return await scene.ada.get("/seats")


async def malformed_request(scene: Scene) -> httpx.Response:
    """Call the app directly, since uvicorn refuses such a request itself; another server may pass it on."""
    app = create_app(Settings.model_validate({}), scene.backends)
    headers = {"content-length": "many", "content-type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app)), base_url="http://localhost") as http:
        return await http.post("/auth/login", content=b"{}", headers=headers)


def request(method: str, path: str, **options: object) -> Callable[[Scene], Awaitable[httpx.Response]]:
    return lambda scene: scene.ada.http.request(method, path, **options)  # type: ignore[arg-type]


JSON: Final = {"content-type": "application/json"}
STORIES: Final[dict[str, tuple[int, Callable[[Scene], Awaitable[httpx.Response]]]]] = {
    "malformed_json": (400, request("POST", "/bookings", content=b"{", headers=JSON)),
    "malformed_request": (400, malformed_request),
    "bad_credentials": (401, request("POST", "/auth/login", json=JOHN)),
    "second_factor_needed": (401, sign_in_with_app),
    "bad_code": (401, lambda scene: sign_in_with_app(scene, "12345")),
    "too_many_attempts": (429, too_many_attempts),
    "second_factor_missing": (403, second_factor_missing),
    "not_signed_in": (401, request("GET", "/me", headers={"authorization": "Bearer none"})),
    "booking_not_found": (404, request("DELETE", "/bookings/1")),
    "not_found": (404, request("GET", "/bookings/1/seat")),
    "seat_not_found": (404, request("POST", "/bookings", json={"seat_id": 99999999999})),
    "section_not_found": (404, request("GET", "/seats?section=Z")),
    "method_not_allowed": (405, request("PUT", "/bookings", json={})),
    "day_already_booked": (409, day_already_booked),
    "no_free_seat": (409, no_free_seat),
    "request_in_progress": (409, request_in_progress),
    "seat_closed": (409, seat_closed),
    "seat_held": (409, seat_held),
    "seat_taken": (409, seat_taken),
    "username_taken": (409, username_taken),
    "too_large": (413, request("POST", "/bookings", content=b" " * 70_000, headers=JSON)),
    "unsupported_media_type": (415, request("POST", "/bookings", data={"seat_id": "1"})),
    "idempotency_key_reused": (422, idempotency_key_reused),
    "invalid_input": (422, request("POST", "/bookings", json={})),
    "outside_booking_window": (422, request("GET", "/seats?booking_date=2026-11-22")),
    "internal_error": (500, internal_error),
    "overloaded": (503, overloaded),
}


@pytest.mark.usefixtures("short_retries")
@pytest.mark.parametrize("code", STORIES)
async def test_every_code_is_returned_as_a_problem(
    programs: Programs,
    connection: asyncpg.Connection,
    database_url: str,
    backends: Backends,
    start_site: Callable[..., Site],
    code: str,
) -> None:
    status, story = STORIES[code]
    async with programs(2) as (ada, grace):
        answer = await story(Scene(ada, grace, connection, database_url, backends, start_site))
    problem = refused(answer, status, code, *({"seat_id"} if code == "invalid_input" else ()))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert problems()[code].status == status
    assert ("www-authenticate" in answer.headers) is (status == 401)
    assert ("retry-after" in answer.headers) is (
        code in {"overloaded", "request_in_progress", "seat_held", "too_many_attempts"}
    )
    assert ("allow" in answer.headers) is (status == 405)


async def test_every_code_is_tested_and_documented(site: Site) -> None:
    """The codes in STORIES, in the source and in the OpenAPI document are the same."""
    of_pages = {error.code for error in (CannotUndo, Forbidden, NotAllowed, TooManyStreams, UserNotFound)}
    in_code = set(problems()) - of_pages
    assert set(STORIES) == in_code
    async with httpx.AsyncClient(base_url=site.url) as http:
        api = (await http.get("/openapi.json")).json()
    documented = {
        code
        for path in api["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        for code in answer.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
    }
    everywhere = {"not_found", "method_not_allowed", "internal_error"}  # these do not belong to an operation
    assert documented | everywhere == in_code
    assert {problem["code"] for problem in api["x-problems"]} >= in_code


# Paths and methods


async def test_methods_that_a_path_does_not_support_are_refused(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for path, allowed in {
            "/auth/register": {"POST"},
            "/auth/login": {"POST"},
            "/me": {"GET"},
            "/seats": {"GET"},
            "/sections": {"GET"},
            "/bookings": {"GET", "POST"},
            "/bookings/1": {"PATCH", "DELETE"},
            "/health": {"GET"},
            "/health/live": {"GET"},
            "/openapi.json": {"GET"},
        }.items():
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
                for slash in ("", "/"):
                    if method in allowed:
                        continue
                    answer = await ada.http.request(method, path + slash)
                    refused(answer, 405, "method_not_allowed")
                    named = {name.strip() for name in answer.headers["allow"].split(",")}
                    assert named - {"OPTIONS", "HEAD"} == allowed, (method, path)


async def test_unknown_paths_are_not_found(programs: Programs, site: Site) -> None:
    async with programs(1) as (ada,):
        for path in (
            "/auth",
            "/auth/nothing",
            "/me/too",
            "/seats/1",
            "/sections/A",
            "/bookings/1/seat",
            "/health/dead",
            "/openapi.yaml",
            "/bookings/1/%00",
            "/seats/%ff",
        ):
            for method in ("GET", "POST", "DELETE"):
                refused(await ada.http.request(method, path), 404, "not_found")
        for path in ("/nothing", "/seatsandmore", "/mee", "/book"):
            page = await ada.get(path)
            assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert soup(page).select("main")


# Bodies


BODIES = {"/auth/register": "POST", "/auth/login": "POST", "/bookings": "POST", "/bookings/1": "PATCH"}


async def test_malformed_json_is_refused(programs: Programs, subtests: pytest.Subtests) -> None:
    async with programs(1) as (ada,):
        for path, method in BODIES.items():
            with subtests.test(path):
                for body in (
                    b"",
                    b"{",
                    b"}",
                    b'{"seat_id": }',
                    b"{'seat_id': 1}",
                    b'{"seat_id": 1,}',
                    b'{"seat_id": 1} x',
                    b'{"seat_id": 01}',
                    b'{"seat_id": NaN}',
                    b'{"seat_id": 1e400}',
                    b'{"username": "\xff"}',
                    b'{"username": "\\ud800"}',
                    b'{"username": "\\udc00\\ud800"}',
                    b'{"username": "a\nb"}',
                    b"\xef\xbb\xbf{}",
                    '{"seat_id": 1}'.encode("utf-16"),
                    b"[" * 8_000 + b"]" * 8_000,
                    b'{"a":' * 2_700 + b"1" + b"}" * 2_700,
                    b"[" * 16_000,
                ):
                    refused(await ada.http.request(method, path, content=body, headers=JSON), 400, "malformed_json")
                for body in (b"[]", b'"x"', b"1", b"null", b"true", b'[{"seat_id": 1}]'):
                    refused(
                        await ada.http.request(method, path, content=body, headers=JSON), 422, "invalid_input", "body"
                    )


async def test_bodies_that_are_not_json_or_too_large_are_refused(programs: Programs, subtests: pytest.Subtests) -> None:
    async with programs(1) as (ada,):
        for path, method in BODIES.items():
            with subtests.test(path):
                for kind in (
                    "",
                    "text/plain",
                    "application/x-www-form-urlencoded",
                    "application/json-patch+json",
                    "json",
                    "*/*",
                ):
                    headers = {"content-type": kind} if kind else {}
                    answer = await ada.http.request(method, path, content=b'{"seat_id": 1}', headers=headers)
                    refused(answer, 415, "unsupported_media_type")
                for kind in ("APPLICATION/JSON", "application/json;charset=UTF-8", 'application/json ; profile="x"'):
                    answer = await ada.http.request(method, path, content=b"{", headers={"content-type": kind})
                    refused(answer, 400, "malformed_json")
                large = json.dumps({"username": "x" * 70_000}).encode()
                refused(await ada.http.request(method, path, content=large, headers=JSON), 413, "too_large")

                async def in_pieces() -> AsyncIterator[bytes]:
                    for _ in range(70):
                        yield b" " * 1000

                refused(await ada.http.request(method, path, content=in_pieces(), headers=JSON), 413, "too_large")
                assert (await ada.get("/me")).status_code == 200


async def test_invalid_fields_are_named(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        for method, path, content, field in (
            ("POST", "/auth/register", {**JOHN, "email": "x"}, "email"),
            ("POST", "/auth/register", {**JOHN, "Username": "x"}, "Username"),
            ("POST", "/auth/register", {"password": "x"}, "username"),
            ("POST", "/auth/register", {"username": "john"}, "password"),
            ("POST", "/auth/register", {**JOHN, "username": 1}, "username"),
            ("POST", "/auth/register", {**JOHN, "password": None}, "password"),
            ("POST", "/auth/register", {**JOHN, "username": "jo\0hn"}, "username"),
            ("POST", "/auth/register", {**JOHN, "password": "secr\0et"}, "password"),
            ("POST", "/auth/login", {**JOHN, "username": ["john"]}, "username"),
            ("POST", "/auth/login", {**JOHN, "remember": True}, "remember"),
            ("POST", "/bookings", {}, "seat_id"),
            ("POST", "/bookings", {"seat_id": "1"}, "seat_id"),
            ("POST", "/bookings", {"seat_id": None}, "seat_id"),
            ("POST", "/bookings", {"seat_id": 1.5}, "seat_id"),
            ("POST", "/bookings", {"seat_id": True}, "seat_id"),
            ("POST", "/bookings", {"seat_id": [1]}, "seat_id"),
            ("POST", "/bookings", {"seat_id": {"id": 1}}, "seat_id"),
            ("POST", "/bookings", {"seat_id": 1, "user_id": 2}, "user_id"),
            ("POST", "/bookings", {"seat_id": 1, "status": "confirmed"}, "status"),
            ("POST", "/bookings", {"seat_id": 1, "any": True}, "seat_id"),
            ("POST", "/bookings", {"seat_id": 1, "section": "A"}, "section"),
            ("POST", "/bookings", {"any": False}, "seat_id"),
            ("POST", "/bookings", {"any": "yes"}, "any"),
            ("POST", "/bookings", {"any": True, "section": 1}, "section"),
            ("POST", "/bookings", {"any": True, "section": "A\0"}, "section"),
            ("POST", "/bookings", {"seat_id": 1, "booking_date": "tomorrow"}, "booking_date"),
            ("POST", "/bookings", {"seat_id": 1, "booking_date": "2026-02-30"}, "booking_date"),
            ("POST", "/bookings", {"seat_id": 1, "booking_date": "2026-11-23T00:00:00Z"}, "booking_date"),
            ("POST", "/bookings", {"seat_id": 1, "booking_date": 20261123}, "booking_date"),
            ("POST", "/bookings", {"seat_id": 1, "booking_date": ""}, "booking_date"),
            ("PATCH", "/bookings/1", {}, "seat_id"),
            ("PATCH", "/bookings/1", {"seat_id": None}, "seat_id"),
            ("PATCH", "/bookings/1", {"seat_id": 1, "booking_date": "2026-11-24"}, "booking_date"),
            ("POST", "/bookings", {"seat_id": 1, "x" * 60: 1}, "x" * 60),
            ("POST", "/bookings", {"seat_id": 1, "Ünïcode 💺": 1}, "Ünïcode 💺"),
            ("POST", "/bookings", {"seat_id": 1, "": 1}, ""),
            ("POST", "/bookings", {"seat_id": 1, "a`b": 1}, "a`b"),
            ("POST", "/bookings", {"seat_id": 1, "x" * 3000: 1}, "x" * 3000),
        ):
            answer = await ada.http.request(method, path, json=content)
            assert answer.status_code == 422, (path, content, answer.text)
            refused(answer, 422, "invalid_input", field)
        assert await connection.fetchval("select count(*) from users") == 1
        assert await connection.fetchval("select count(*) from bookings") == 0


async def test_duplicate_fields_are_refused(programs: Programs, connection: asyncpg.Connection) -> None:
    """Parsers may understand such a body differently (RFC 8259, section 4), so it is refused."""
    async with programs(1) as (ada,):
        for body in (
            b'{"seat_id": 1, "seat_id": 2}',
            b'{"seat_id": 1, "seat\\u005fid": 1}',
            b'{"any": true, "section": "A", "section": "B"}',
        ):
            field = "section" if b"section" in body else "seat_id"
            answer = await ada.http.post("/bookings", content=body, headers=JSON)
            refused(answer, 422, "invalid_input", field)
        assert await connection.fetchval("select count(*) from bookings") == 0


async def test_duplicate_parameters_are_refused(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for path in ("/me", "/seats", "/sections", "/bookings"):
            refused(await ada.get(f"{path}?x=1&x=2&y=1&%78=1"), 422, "invalid_input", "x")
        refused(await ada.http.post("/bookings?a=1&a=1", json={"seat_id": 1}), 422, "invalid_input", "a")
        # Finding duplicates stays fast with many names.
        began = time.monotonic()
        await ada.get("/me?" + "&".join(f"{number:x}" for number in range(900)))
        body = json.dumps({f"{number:x}": 1 for number in range(1_500)}).encode()
        answer = await ada.http.post("/bookings", content=body, headers=JSON)
        assert (answer.status_code, len(answer.json()["errors"])) == (422, 1_500)
        assert time.monotonic() - began < 2


async def test_an_unexpected_error_reveals_nothing(programs: Programs, connection: asyncpg.Connection) -> None:
    await connection.execute("alter table generations rename to numbers")
    async with programs(1) as (ada,):
        for answer in (await ada.book(7), await ada.book(7, key="key"), await ada.get("/seats")):
            problem = refused(answer, 500, "internal_error")
            assert "errors" not in problem
            assert "relation" not in answer.text


# CORS


ORIGIN = "https://intranet.example.org"


async def test_cors_allows_no_origin_by_default(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for method, path in (("GET", "/seats"), ("OPTIONS", "/bookings"), ("GET", "/nothing"), ("GET", "/health")):
            headers = {"origin": ORIGIN, "access-control-request-method": "POST"}
            answer = await ada.http.request(method, path, headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_cors_allows_only_the_configured_origins(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_CORS_ORIGINS=f"{ORIGIN}, https://other.example.org")
    async with running_programs(site, 1) as (ada,):
        for origin in (ORIGIN, "https://other.example.org"):
            answer = await ada.get("/seats", headers={"origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()
            exposed = answer.headers["access-control-expose-headers"].lower()
            assert {"etag", "link", "retry-after", "x-request-id"} <= set(exposed.replace(" ", "").split(","))
            for method, path in (("POST", "/bookings"), ("PATCH", "/bookings/1"), ("DELETE", "/bookings/1")):
                wanted = "authorization, content-type, idempotency-key"
                preflight = await ada.http.options(
                    path,
                    headers={
                        "origin": origin,
                        "access-control-request-method": method,
                        "access-control-request-headers": wanted,
                    },
                )
                assert preflight.status_code in {200, 204}
                assert preflight.headers["access-control-allow-origin"] == origin
                assert method in preflight.headers["access-control-allow-methods"]
                allowed = preflight.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
                assert set(wanted.split(", ")) <= set(allowed)
                assert "access-control-allow-credentials" not in preflight.headers
        refusal = await ada.get("/seats?section=Z", headers={"origin": ORIGIN})
        refused(refusal, 404, "section_not_found")
        assert refusal.headers["access-control-allow-origin"] == ORIGIN  # so that the page can read the problem
        for origin in (f"{ORIGIN}.evil.example", "https://evil.example", "null", ORIGIN.replace("https", "http"), "*"):
            answer = await ada.get("/seats", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") not in {origin, "*"}
            preflight = await ada.http.options(
                "/bookings", headers={"origin": origin, "access-control-request-method": "POST"}
            )
            assert preflight.headers.get("access-control-allow-origin") not in {origin, "*"}


def test_the_openapi_document_is_built_without_a_server(backends: Backends, clock: Clock) -> None:
    app = create_app(Settings.model_validate({}), backends)
    assert document(without_layers(app))["openapi"].startswith("3.1")


async def test_requests_are_authenticated_before_they_are_validated(site: Site) -> None:
    """ApiGuard without a token learn nothing about what a valid request is."""
    async with httpx.AsyncClient(base_url=site.url, verify=NO_TLS) as http:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            path = {"GET": "/bookings?limit=x&limit=y", "POST": "/bookings"}.get(method, "/bookings/x")
            for content in (b"{", b'{"seat_id": "x"}', b"[]", b'{"any": true}'):
                refused(await http.request(method, path, content=content), 401, "not_signed_in")


@pytest.mark.parametrize(("path", "kind"), [("/auth/login", "json"), ("/login", "x-www-form-urlencoded")])
async def test_a_client_that_disconnects_mid_request_is_not_logged_as_an_error(
    site: Site, capsys: pytest.CaptureFixture[str], path: str, kind: str
) -> None:
    capsys.readouterr()
    _, writer = await asyncio.open_connection(*site.socket.getsockname())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\nContent-Length: 99\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    assert (await site.visitor().get("/health/live")).status_code == 200  # by now the server has read the head
    writer.close()
    lines: list[str] = []

    def is_logged() -> bool:
        lines.append(capsys.readouterr().err)
        return f'"path":"{path}"' in "".join(lines)

    await until(is_logged)
    assert '"status":400' in "".join(lines)
    assert '"level":"error"' not in "".join(lines)
