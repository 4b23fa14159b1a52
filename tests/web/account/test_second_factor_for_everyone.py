"""A site can require a second factor of everyone: until a user has one, their session can only add it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pyotp
import pytest
from seatweb.accounts.model import Session, User
from seatweb.http.tokens import API_AUDIENCE

from tests.support import Site, Visitor, one, says, soup
from tests.web.account.test_second_factor import PAGE, PASSWORD, add_app, is_signed_in
from tests.web.test_html import check_html

Start = Callable[..., Site]


@pytest.fixture
def strict(start_site: Start) -> Site:
    """Start a site that requires a second factor of everyone."""
    return start_site(SEATWEB_SECOND_FACTOR="everyone")


async def enrolling(site: Site, name: str = "ada") -> Visitor:
    """Return a user who has just registered and has no second factor yet."""
    visitor = site.visitor()
    answer = await visitor.post("/register", username=name, password=PASSWORD, next="/my/bookings")
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    return visitor


async def add_app_unconfirmed(visitor: Visitor) -> httpx.Response:
    """Add an app without confirming again, since the password was entered a moment ago."""
    assert (await visitor.post(f"{PAGE}/app")).headers["location"] == f"{PAGE}/app"
    key = one(soup(await visitor.get(f"{PAGE}/app")), ".enrol-key code").get_text().replace(" ", "")
    answer = await visitor.post(f"{PAGE}/app/code", code=pyotp.TOTP(key).now())
    assert answer.status_code == 200
    return answer


async def test_a_password_alone_only_allows_adding_a_second_factor(
    strict: Site, connection: asyncpg.Connection
) -> None:
    ada = await enrolling(strict)
    page = await ada.get(PAGE)
    check_html(page, "enrolling")
    assert "This site requires two-step sign-in" in soup(page).get_text()
    assert soup(page).select(f"form[action='{PAGE}/app']")  # the password was entered a moment ago
    day = f"/days/{strict.clock.today}"
    for path in ("/account", "/account/password", "/account/delete", "/account/data", "/my/bookings", "/admin/people"):
        assert (await ada.get(path)).headers["location"] == f"/login?next={path}"
    for path in (f"{day}/seats/7/book", f"{day}/any", "/account/sessions/all/end"):
        assert (await ada.post(path)).headers["location"].startswith("/login?next="), path
    assert (await ada.get("/login?next=/my/bookings")).headers["location"] == PAGE
    assert (await ada.get("/register")).headers["location"] == PAGE
    for _ in range(5):  # also from the cache
        seen = await ada.get(day)
        assert seen.status_code == 200
        assert "Account: ada" not in seen.text
        assert soup(seen).select("a[href^='/login']")
    assert not await connection.fetchval("select count(*) from bookings")
    assert not await connection.fetchval("select count(*) from sessions where ended_at is not null")
    (leave,) = soup(await ada.get(PAGE)).select("main form[action='/logout']")  # there is none in the small header
    assert leave.get_text(strip=True) == "Not now, sign out"
    assert (await ada.post("/logout")).status_code == 303
    assert await connection.fetchval("select count(*) from sessions where ended_at is not null") == 1


async def test_users_continue_to_what_they_wanted_once_they_have_a_second_factor(strict: Site) -> None:
    ada = await enrolling(strict)  # for "My bookings"
    codes = await add_app_unconfirmed(ada)
    assert one(soup(codes), ".codes-done .button-primary")["href"] == "/my/bookings"
    again = await ada.post(f"{PAGE}/recovery-codes")
    assert one(soup(again), ".codes-done .button-primary")["href"] == PAGE


async def test_adding_a_second_factor_starts_a_new_session(strict: Site, connection: asyncpg.Connection) -> None:
    ada = await enrolling(strict)
    thief = strict.visitor(cookies=dict(ada.http.cookies))
    other = strict.visitor()
    assert (await other.post("/login", username="ada", password=PASSWORD)).headers["location"] == PAGE
    answer = await add_app_unconfirmed(ada)
    check_html(answer, "recovery codes")
    assert len(soup(answer).select(".codes code")) == 10
    assert await is_signed_in(ada)
    assert (await ada.get(PAGE)).status_code == 200
    assert (await ada.book(strict.clock.today, 7)).status_code == 303
    assert await connection.fetchval("select count(*) from bookings") == 1
    for visitor in (thief, other):
        assert not await is_signed_in(visitor)
        assert (await visitor.get(PAGE)).headers["location"] == f"/login?next={PAGE}"
        assert (await visitor.get("/login")).status_code == 200  # enrolling is over, so they must sign in
    assert await connection.fetchval("select count(*) from sessions where ended_at is null") == 1
    again = await other.post("/login", username="ada", password=PASSWORD)
    assert again.headers["location"].startswith("/login/second")


async def test_a_factor_added_elsewhere_ends_enrolling_sessions(strict: Site, connection: asyncpg.Connection) -> None:
    """Whoever knows only the password and signed in before there was a second factor cannot add their own."""
    ada = await enrolling(strict)
    await connection.execute(
        "insert into totp_secrets (user_id, secret, confirmed_at, last_step)"
        " select id, 'JBSWY3DPEHPK3PXP', now(), 0 from users"
    )
    for path in (PAGE, f"{PAGE}/app"):
        assert (await ada.get(path)).headers["location"] == f"/login?next={path}"
    for path in ("app", "recovery-codes", "passkeys/options", "app/remove"):
        assert (await ada.post(f"{PAGE}/{path}")).headers["location"].startswith("/login")
    assert (await ada.get("/login")).status_code == 200


async def test_signing_in_again_ends_the_previous_session(strict: Site, connection: asyncpg.Connection) -> None:
    ada = await enrolling(strict)
    assert (await ada.post("/login", username="ada", password=PASSWORD)).headers["location"] == PAGE
    rows = await connection.fetch("select ended_at is null as counts, enrolling from sessions order by created_at")
    assert [tuple(row) for row in rows] == [(False, True), (True, True)]
    assert (await ada.get(PAGE)).status_code == 200


async def test_the_last_factor_cannot_be_removed(strict: Site, connection: asyncpg.Connection) -> None:
    ada = await enrolling(strict)
    await add_app_unconfirmed(ada)
    assert not soup(await ada.get(PAGE)).select("form[action$=remove]")
    answer = await ada.post(f"{PAGE}/app/remove")
    assert answer.status_code == 403
    assert one(soup(answer), "h1").get_text() == "Not allowed"
    assert "add another passkey or an authenticator app" in soup(answer).get_text()
    assert await connection.fetchval("select count(*) from totp_secrets") == 1
    assert await connection.fetchval("select count(*) from recovery_codes") == 10


async def test_a_site_can_start_and_stop_requiring_a_second_factor(
    start_site: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatweb.accounts.sessions.MARKED_AT_ONCE", 1)  # each session in a statement of its own
    before = start_site()
    ada, grace = before.visitor(), before.visitor()
    for visitor, name in ((ada, "ada"), (grace, "grace")):
        await visitor.register(name, PASSWORD)
        await visitor.get("/")  # shows the welcome
    await add_app(grace)
    requiring = start_site(SEATWEB_SECOND_FACTOR="everyone")
    ada_now, grace_now = (requiring.visitor(cookies=dict(visitor.http.cookies)) for visitor in (ada, grace))
    assert await is_signed_in(grace_now)
    assert not await is_signed_in(ada_now)
    page = await ada_now.get(PAGE)
    assert page.status_code == 200
    assert soup(page).select(".confirm-form")  # she has not entered her password recently
    assert (await ada_now.post(f"{PAGE}/app")).headers["location"] == PAGE
    assert "Confirm it's you" in says(await ada_now.get(PAGE))
    later = start_site()
    assert await is_signed_in(later.visitor(cookies=dict(ada.http.cookies)))


async def test_programs_get_no_token_for_a_password_alone(strict: Site) -> None:
    ada = await enrolling(strict)
    async with httpx.AsyncClient(base_url=strict.url) as http:
        for path, name in (("/auth/login", "ada"), ("/auth/register", "grace")):
            answer = await http.post(path, json={"username": name, "password": PASSWORD})
            assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_missing")
        wrong = await http.post("/auth/login", json={"username": "ada", "password": "wrong"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "bad_credentials")

        async def status_of_me() -> int:
            claims = strict.tokens.read(ada.http.cookies[strict.our_cookies.session_cookie])
            assert claims
            now = datetime.now(UTC)
            session = Session(
                id=claims.session_id,
                user=User(id=claims.user_id, username="ada", created_at=now),
                expires_at=now + timedelta(hours=1),
            )
            token = strict.tokens.issue(session, API_AUDIENCE)
            return (await http.get("/me", headers={"authorization": f"Bearer {token}"})).status_code

        assert await status_of_me() == 401
        await add_app_unconfirmed(ada)
        assert await status_of_me() == 200
