"""Registering, signing in, valid and invalid tokens, and the health checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import httpx
import jwt
import pyotp
import pytest
from seatweb.accounts.model import Session
from seatweb.http.tokens import ALGORITHM, API_AUDIENCE, ISSUER, PAGES_AUDIENCE, key_id
from seatweb.settings import Backends
from seatweb.storage import database

from tests.api.conftest import Program, Programs, Wire, refused, running_programs, user_and_session
from tests.conftest import SECRET
from tests.support import Clock, Site, promised, until_definite, within

JOHN = {"username": "john", "password": "secret"}


@pytest.fixture
def http(site: Site) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=site.url, timeout=30)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_registering_and_signing_in_return_working_tokens(http: httpx.AsyncClient, slash: str) -> None:
    """As in the original API, a short password works too (in demo mode)."""
    registered = await http.post(f"/auth/register{slash}", json=JOHN)
    signed_in = await http.post(f"/auth/login{slash}", json={**JOHN, "username": " JOHN "})
    for answer, status in ((registered, 201), (signed_in, 200)):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        token = answer.json()
        assert set(token) == {"access_token", "token_type", "expires_in", "idle_expires_in"}
        assert token["token_type"] == "bearer"
        assert token["expires_in"] == pytest.approx(14 * 86400, abs=60)
        assert token["idle_expires_in"] == 72 * 3600
        me = await http.get(f"/me{slash}", headers=bearer(token["access_token"]))
        assert me.status_code == 200
        assert set(me.json()) == {"id", "username", "created_at"}
        assert me.json()["username"] == "john"
        assert datetime.fromisoformat(me.json()["created_at"]).tzinfo is not None
    assert registered.json()["access_token"] != signed_in.json()["access_token"]


async def test_a_short_password_is_refused_with_a_reason_in_production(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PASSWORD_MIN_LENGTH=8)
    async with httpx.AsyncClient(base_url=site.url) as http:
        problem = refused(await http.post("/auth/register", json=JOHN), 422, "invalid_input", "password")
        assert problem["errors"] == [{"field": "password", "message": "Use at least 8 characters."}]
        assert (await http.post("/auth/register", json={**JOHN, "password": "8 is  ok"})).status_code == 201


async def test_invalid_usernames_and_passwords_are_refused(
    http: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for username, password, *fields in (
        ("", "secret", "username"),
        ("j", "secret", "username"),
        ("j" * 51, "secret", "username"),
        ("jo\0hn", "secret", "username"),
        ("jo\ue000hn", "secret", "username"),
        ("\t...", "secret", "username"),
        ("john", "", "password"),
        ("john", "s" * 129, "password"),
        ("j", "", "username", "password"),
    ):
        refused(
            await http.post("/auth/register", json={"username": username, "password": password}),
            422,
            "invalid_input",
            *fields,
        )
    assert await connection.fetchval("select count(*) from users") == 0


async def test_taken_usernames_and_wrong_passwords_are_refused(
    http: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await http.post("/auth/register", json=JOHN)
    for name in ("john", "JOHN", " john ", "ｊｏｈｎ"):  # fullwidth letters count as the same
        refused(await http.post("/auth/register", json={**JOHN, "username": name}), 409, "username_taken")
    for wrong in ({"password": "Secret"}, {"username": "nobody"}, {"username": ""}, {"password": "x" * 5000}):
        answer = await http.post("/auth/login", json={**JOHN, **wrong})
        refused(answer, 401, "bad_credentials")
        assert answer.headers["www-authenticate"] == "Bearer"  # RFC 9110, section 15.5.2, requires it with 401
    await connection.execute("update users set disabled_at = now()")
    refused(await http.post("/auth/login", json=JOHN), 401, "bad_credentials")


async def test_signing_in_needs_password_and_second_factor_together(
    http: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await http.post("/auth/register", json=JOHN)
    ignored = await http.post("/auth/login", json={**JOHN, "code": "123456"})  # no second factor yet
    assert ignored.status_code == 200
    app = pyotp.TOTP(pyotp.random_base32())
    await connection.execute(
        "insert into totp_secrets (user_id, secret, confirmed_at) select id, $1, now() from users", app.secret
    )
    sessions = await connection.fetchval("select count(*) from sessions")
    for without in ({}, {"code": None}, {"code": ""}):
        needed = await http.post("/auth/login", json={**JOHN, **without})
        refused(needed, 401, "second_factor_needed")
    # Without the password, nobody learns that there is a second factor or uses up its attempts.
    for code in (None, "12345", app.now()):
        answer = await http.post("/auth/login", json={**JOHN, "password": "wrong", "code": code})
        refused(answer, 401, "bad_credentials")
    assert await connection.fetchval("select count(*) from code_tries") == 0
    refused(await http.post("/auth/login", json={**JOHN, "code": "12345"}), 401, "bad_code")
    refused(await http.post("/auth/login", json={**JOHN, "code": 123456}), 422, "invalid_input", "code")
    assert await connection.fetchval("select count(*) from sessions") == sessions
    answer = await http.post("/auth/login", json={**JOHN, "code": (code := app.now())})
    assert (await http.get("/me", headers=bearer(answer.json()["access_token"]))).status_code == 200
    refused(await http.post("/auth/login", json={**JOHN, "code": code}), 401, "bad_code")


def forged(claims: dict[str, Any], secret: str = SECRET, algorithm: str = ALGORITHM) -> str:
    key = "" if algorithm == "none" else secret
    return jwt.encode(claims, key, algorithm, headers={"kid": key_id(SECRET)})


@pytest.mark.filterwarnings("ignore:The HMAC key")  # too short for HS512, which is refused anyway
async def test_invalid_tokens_are_refused(site: Site, http: httpx.AsyncClient, connection: asyncpg.Connection) -> None:
    async with running_programs(site, 1) as (ada,):
        now = datetime.now(UTC)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": API_AUDIENCE,
            "sub": str(ada.user.id),
            "sid": str(ada.session.id),
            "iat": now,
            "exp": now + timedelta(hours=1),
        }
        assert (await http.get("/me", headers=bearer(forged(claims)))).status_code == 200  # the tokens below vary it
        unknown = "0" * 8 + str(ada.session.id)[8:]
        tokens = {
            "never ends": forged({name: claims[name] for name in claims if name != "exp"}),
            "another secret": forged(claims, "x" * 40),
            "another secret, and expired": forged({**claims, "exp": now - timedelta(days=1)}, "x" * 40),
            "another secret, and no session": forged({**claims, "sid": unknown}, "x" * 40),
            "no signature": forged(claims, algorithm="none"),
            "another algorithm": forged(claims, algorithm="HS512"),
            "for the pages": forged({**claims, "aud": PAGES_AUDIENCE}),
            "for both": forged({**claims, "aud": [API_AUDIENCE, PAGES_AUDIENCE]}),
            "for nobody": forged({name: claims[name] for name in claims if name != "aud"}),
            "of another issuer": forged({**claims, "iss": "elsewhere"}),
            "no session": forged({**claims, "sid": "1"}),
            "no user": forged({**claims, "sub": "ada"}),
            "changed": ada.token[:-10] + "A" * 10,
            "cut": ada.token[:-1],
            "malformed": "a.b.c",
            "too long": "a" * 5000,
        }
        refusals = set()
        for name, token in tokens.items():
            answer = await http.get("/me", headers=bearer(token))
            assert answer.status_code == 401, name
            problem = refused(answer, 401, "not_signed_in")
            if name != "too long":
                refusals.add((problem["detail"], answer.headers["www-authenticate"]))
        # Nobody can tell a forged token from another: why it is refused stays our secret.
        assert refusals == {
            (
                "This token is not valid. Sign in to get one.",
                'Bearer error="invalid_token", error_description="The token is not valid"',
            )
        }
        for value, challenge in (
            ("", "Bearer"),
            (ada.token, "Bearer"),
            (f"Basic {ada.token}", "Bearer"),
            ("Bearer", 'Bearer error="invalid_token", error_description="The header is malformed"'),
            (
                f"Bearer {ada.token} {ada.token}",
                'Bearer error="invalid_token", error_description="The header is malformed"',
            ),
            (f"Bearer  {ada.token}x", 'Bearer error="invalid_token", error_description="The header is malformed"'),
        ):
            answer = await http.get("/me", headers={"authorization": value})
            refused(answer, 401, "not_signed_in")
            assert answer.headers["www-authenticate"] == challenge
        assert (await http.get("/me", headers={"authorization": f"bearer {ada.token}"})).status_code == 200


async def test_a_program_learns_that_its_token_has_ended(
    site: Site, http: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    async with running_programs(site, 2) as (ada, grace):
        for program, end in (
            (ada, "update sessions set expires_at = now() where user_id = $1"),
            (grace, "update users set disabled_at = now() where id = $1"),
        ):
            assert (await program.get("/me")).status_code == 200
            await connection.execute(end, program.user.id)
            await within(30, partial(is_refused, program))
            answer = await program.get("/me")
            refused(answer, 401, "token_ended")
            assert answer.headers["www-authenticate"] == (
                'Bearer error="invalid_token", error_description="The session has ended"'
            )
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        expired = site.tokens.issue(Session(id=ada.session.id, user=ada.user, expires_at=an_hour_ago), API_AUDIENCE)
        answer = await http.get("/me", headers=bearer(expired))
        problem = refused(answer, 401, "token_ended")
        assert problem["detail"] == "This token has expired. Sign in again to get a new one."
        assert answer.headers["www-authenticate"] == (
            'Bearer error="invalid_token", error_description="The token has expired"'
        )


async def test_signing_out_ends_only_the_token_that_was_sent(http: httpx.AsyncClient) -> None:
    first = (await http.post("/auth/register", json=JOHN)).json()["access_token"]
    second = (await http.post("/auth/login", json=JOHN)).json()["access_token"]
    answer = await http.post("/auth/logout", headers=bearer(first))
    assert (answer.status_code, answer.content) == (204, b"")
    refused(await http.get("/me", headers=bearer(first)), 401, "token_ended")
    refused(await http.post("/auth/logout", headers=bearer(first)), 401, "token_ended")
    assert (await http.get("/me", headers=bearer(second))).status_code == 200


async def test_oauth_clients_sign_in_with_a_form(http: httpx.AsyncClient) -> None:
    """As in the original API, which took OAuth 2.0's password grant."""
    await http.post("/auth/register", json=JOHN)
    oauth = {"grant_type": "password", "scope": "", "client_id": "", "client_secret": ""}
    for form in (JOHN, JOHN | oauth, JOHN | {"code": ""}):
        token = (await http.post("/auth/login", data=form)).json()["access_token"]
        assert (await http.get("/me", headers=bearer(token))).json()["username"] == "john"
    refused(await http.post("/auth/login", data=JOHN | {"password": "wrong"}), 401, "bad_credentials")
    refused(await http.post("/auth/login", data=JOHN | {"remember": "me"}), 422, "invalid_input", "remember")
    refused(await http.post("/auth/login", data={"username": "john"}), 422, "invalid_input", "password")
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"username=%zz", b"username=\xff", b"&".join(b"a=%d" % n for n in range(60))):
        refused(await http.post("/auth/login", content=body, headers=form), 422, "invalid_input")
    twice = b"username=john&username=jane&password=secret"
    refused(await http.post("/auth/login", content=twice, headers=form), 422, "invalid_input", "username")
    # Another website's page can send forms without asking first, so browsers have to send JSON.
    origin = {"origin": "https://evil.example"}
    refused(await http.post("/auth/login", data=JOHN, headers=origin), 415, "unsupported_media_type")


async def test_programs_learn_what_day_it_is_at_the_site(start_site: Callable[..., Site], clock: Clock) -> None:
    site = start_site(SEATWEB_TIME_ZONE="Asia/Tokyo", SEATWEB_SITE_NAME="Reading room")
    async with httpx.AsyncClient(base_url=site.url) as http:
        answer = await http.get("/site")
        assert answer.json() == {
            "name": "Reading room",
            "time_zone": "Asia/Tokyo",
            "today": str(clock.today),
            "last_day": str(clock.ahead(90)),
        }
        assert answer.headers["cache-control"] == "no-store"


async def is_refused(program: Program) -> bool:
    return (await program.get("/me")).status_code == 401


async def test_every_operation_but_the_public_ones_needs_a_token(http: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/me"),
        ("GET", "/seats"),
        ("GET", "/sections"),
        ("GET", "/bookings"),
        ("POST", "/bookings"),
        ("PATCH", "/bookings/1"),
        ("DELETE", "/bookings/1"),
        ("POST", "/auth/logout"),
    ):
        for slash in ("", "/"):
            answer = await http.request(
                method, path + slash, json={"seat_id": 1} if method in {"POST", "PATCH"} else None
            )
            refused(answer, 401, "not_signed_in")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_cookies_are_for_the_pages_and_tokens_for_the_api(site: Site, http: httpx.AsyncClient) -> None:
    async with site.people(1) as (ada,):
        cookie = ada.http.cookies[site.our_cookies.session_cookie]
        token = site.tokens.issue(user_and_session(site, ada)[1], API_AUDIENCE)
        assert (await ada.get("/my/bookings")).status_code == 200
        refused(await ada.get("/me"), 401, "not_signed_in")
        refused(await ada.http.post("/bookings", json={"seat_id": 1}), 401, "not_signed_in")
        refused(await http.get("/me", headers=bearer(cookie)), 401, "not_signed_in")
        for headers in (bearer(token), bearer(cookie), {"cookie": f"{site.our_cookies.session_cookie}={token}"}):
            page = await http.get("/my/bookings", headers=headers)
            assert (page.status_code, page.headers["location"]) == (303, "/login?next=/my/bookings")
        # With both, the token counts and the cookie is ignored.
        assert (await ada.get("/me", headers=bearer(token))).status_code == 200


async def test_signing_out_on_the_pages_ends_only_that_session(site: Site, http: httpx.AsyncClient) -> None:
    await http.post("/auth/register", json=JOHN)
    token = (await http.post("/auth/login", json=JOHN)).json()["access_token"]
    john = site.visitor()
    await john.login("john", "secret")
    cookie = site.tokens.read(john.http.cookies[site.our_cookies.session_cookie])
    me = (await http.get("/me", headers=bearer(token))).json()
    assert cookie
    assert cookie.user_id == me["id"]
    copied = f"{site.our_cookies.session_cookie}={john.http.cookies[site.our_cookies.session_cookie]}"
    assert (await john.post("/logout")).status_code == 303
    assert (await http.get("/me", headers=bearer(token))).status_code == 200
    assert (await http.get("/my/bookings", headers={"cookie": copied})).status_code == 303


async def test_a_token_ends_with_its_session(site: Site) -> None:
    async with site.people(1) as (ada,):
        program = Program(site, *user_and_session(site, ada))
        assert (await program.get("/me")).status_code == 200
        await ada.post("/logout")
        refused(await program.get("/me"), 401, "token_ended")
        refused(await program.book(1), 401, "token_ended")


async def test_nobody_sees_or_changes_another_users_bookings(programs: Programs) -> None:
    async with programs(2) as (ada, grace):
        mine = (await ada.book(7)).json()["id"]
        refused(await grace.cancel(mine), 404, "booking_not_found")
        refused(await grace.move(mine, 8), 404, "booking_not_found")
        assert (await grace.get("/bookings?status=all")).json() == []
        assert "person1" not in (await grace.get("/seats?status=all")).text
        assert [booking["id"] for booking in (await ada.get("/bookings")).json()] == [mine]


# Health

HEALTHY = {"status": "ok", "postgresql": "ok", "redis": "ok", "migrations": "ok"}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_health_is_ok_while_everything_works(http: httpx.AsyncClient, slash: str) -> None:
    for path, content in (("/health", HEALTHY), ("/health/live", {"status": "ok"})):
        answer = await http.get(path + slash)
        assert (answer.status_code, answer.json()) == (200, content)
        assert answer.headers["cache-control"] == "no-store"


async def test_health_is_degraded_without_redis_and_everything_works(
    start_site: Callable[..., Site], without_redis: Backends
) -> None:
    site = start_site(with_backends=without_redis)
    async with running_programs(site, 1) as (ada,):
        health = await ada.get("/health")
        assert (health.status_code, health.json()) == (
            200,
            {**HEALTHY, "status": "degraded", "redis": "unavailable", "reason": "Redis does not answer"},
        )
        assert (await ada.book(7)).status_code == 201
        assert len((await ada.get("/seats")).json()) == 79
        booking = (await ada.get("/bookings")).json()[0]["id"]
        assert (await ada.move(booking, 8)).status_code == 200
        assert (await ada.cancel(booking)).status_code == 200
        assert [section["available"] for section in (await ada.get("/sections")).json()] == [20] * 4


async def until_healthy(program: Program) -> None:
    async with asyncio.timeout(30):
        while (await program.get("/health")).json() != HEALTHY:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("trouble", ["cut", "blocked"])
@promised(5)
async def test_health_is_unavailable_without_postgresql(
    start_site: Callable[..., Site],
    wired_backends: Backends,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    seconds: float,
) -> None:
    if seconds > 5:
        monkeypatch.setattr(database, "STATEMENT_SECONDS", 1)
    site = await asyncio.to_thread(start_site, with_backends=wired_backends)
    async with running_programs(site, 1) as (ada,):
        await until_healthy(ada)
        wire.cut() if trouble == "cut" else wire.block()
        async with asyncio.timeout(seconds):
            health, live, me = await asyncio.gather(ada.get("/health"), ada.get("/health/live"), ada.get("/me"))
        async with asyncio.timeout(30):  # the cached state may be a second old
            while health.status_code == 200:
                health = await ada.get("/health")
        assert health.status_code == 503
        assert health.json() == {
            **HEALTHY,
            "status": "unavailable",
            "postgresql": "unavailable",
            "migrations": "unknown",
            "reason": "PostgreSQL does not answer",
        }
        assert int(health.headers["retry-after"]) > 0
        assert (live.status_code, live.json()) == (200, {"status": "ok"})
        refused(me, 503, "overloaded")
        assert int(me.headers["retry-after"]) > 0
        await wire.mend()
        await until_healthy(ada)
        assert (await until_definite(lambda: ada.book(7))).status_code == 201


async def test_health_is_unavailable_while_migrations_are_pending(
    http: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute("delete from _pogo_migration where migration_id like '0002%'")
    answer = await http.get("/health")
    assert (answer.status_code, answer.json()) == (
        503,
        {**HEALTHY, "status": "unavailable", "migrations": "pending", "reason": "the schema is not up to date"},
    )
    assert int(answer.headers["retry-after"]) > 0


async def test_liveness_needs_neither_postgresql_nor_redis(
    start_site: Callable[..., Site], wired_backends: Backends, wire: Wire
) -> None:
    """PostgreSQL does not answer and Redis is away, and no call to either has timed out yet."""
    backends = Backends(
        database_url=wired_backends.database_url,
        redis_url="redis://127.0.0.1:1/0",
        jwt_secret=wired_backends.jwt_secret,
    )
    site = await asyncio.to_thread(start_site, with_backends=backends)  # the proxy runs in this thread
    wire.block()
    async with httpx.AsyncClient(base_url=site.url) as http:
        async with asyncio.timeout(30):
            for _ in range(20):
                assert (await http.get("/health/live")).status_code == 200
    wire.cut()
