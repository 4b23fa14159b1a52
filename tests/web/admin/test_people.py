"""What visitors, users, disabled users and administrators may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.errors import CONSTRAINTS
from seatweb.accounts.model import Role
from seatweb.accounts.sessions import Sessions
from seatweb.app import create_app
from seatweb.storage.database import Database

from tests.support import Site, Visitor, one, promised, says, seats, soup, within, without_layers
from tests.web.test_html import check_html

PARAMETERS = {
    "day_text": "2026-11-23", "name": "A", "seat_text": "7", "booking_text": "1", "session_text": "1" * 32,
    "user_text": "1", "path": "nowhere", "booking_id": "1", "passkey_text": "1", "file_path": "css/seatweb.css",
}  # fmt: skip
# Routes for everyone, signed in or not.
PUBLIC = {
    "GET /", "GET /login", "POST /login", "GET /register", "POST /register", "POST /logout", "POST /auth/login",
    "POST /auth/register", "GET /docs", "GET /openapi.json", "GET /health", "GET /health/live", "GET /{path}",
    "GET /site", "GET /static/{file_path}", "GET /favicon.ico", "GET /robots.txt", "GET /.well-known/security.txt",
    "GET /openapi", "GET /openapi/openapi.json", "GET /calendar/{month_text}",
    "GET /openapi/{path}",
}  # fmt: skip
API = ("/me", "/seats", "/sections", "/bookings", "/auth")


def routes(app: Any) -> list[tuple[str, str]]:
    """Return the method and path of every route."""
    found = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in without_layers(app).routes
        for method in getattr(route, "methods", [])
        if method not in {"HEAD", "OPTIONS"}
    }
    return sorted(pair for pair in found if not (pair[0] != "GET" and pair[1] == "/{path}"))


def test_an_empty_path_parameter_does_not_reach_another_route(site: Site) -> None:
    """The router treats two slashes as one: a change of one thing must not become a change of all."""
    known = routes(create_app(site.settings, site.backends))
    for method, path in known:
        shorter = re.sub(r"/+", "/", re.sub(r"\{\w+\}", "", path))
        assert path == shorter or (method, shorter) not in known or method == "GET", (method, path)


async def make_admin(connection: asyncpg.Connection, visitor: Visitor) -> Visitor:
    assert visitor.user
    await connection.execute("update users set role = 'admin' where id = $1", visitor.user.id)
    return visitor


async def test_every_route_checks_who_may_use_it(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(3) as (ada, disabled, admin):
        await make_admin(connection, admin)
        await ada.book(site.clock.today, 7)
        assert disabled.user
        await connection.execute("update users set disabled_at = now() where id = $1", disabled.user.id)
        visitor = site.visitor()

        async def is_signed_out() -> bool:
            return (await disabled.get("/account")).status_code == 303

        await within(30, is_signed_out)
        checked = 0
        for method, path in routes(create_app(site.settings, site.backends)):
            if f"{method} {path}" in PUBLIC or (method == "GET" and path.startswith("/days")):
                continue
            if path.startswith("/login/"):  # routes for signing in
                continue
            address = re.sub(r"\{(\w+)\}", lambda match: PARAMETERS[match[1]], path)
            for person in (visitor, disabled):
                answer = await send(person, method, address)
                if path.startswith(API):
                    assert answer.status_code == 401, (method, path)
                else:
                    assert answer.status_code == 303, (method, path)
                    assert answer.headers["location"].startswith("/login"), (method, path)
            if path.startswith("/admin"):
                assert (await send(ada, method, address)).status_code == 403, (method, path)
            checked += 1
        assert checked >= 20
        for person in (disabled, visitor):
            assert (await send(person, "POST", "/days/2026-11-23/seats/8/book")).status_code == 303
        rows = await connection.fetch("select user_id from bookings")
        assert [row["user_id"] for row in rows] == [ada.user.id if ada.user else None]
        assert await connection.fetchval("select count(*) from users where disabled_at is not null") == 1
        assert (await admin.get("/admin/people")).status_code == 200


async def send(visitor: Visitor, method: str, path: str) -> httpx.Response:
    if method == "GET":
        return await visitor.get(path)
    if path.startswith(API):
        return await visitor.http.request(method, path, json={"seat_id": 8} if method != "DELETE" else None)
    return await visitor.post(path)


async def test_an_administrator_disables_and_enables_an_account(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(1, prefix="root") as (admin,):
        await make_admin(connection, admin)
        eve = site.visitor()
        await eve.register("Eve Example")
        page = soup(await admin.get("/admin/people?name=EVE"))
        assert [row.get_text() for row in page.select(".person-name b")] == ["Eve Example"]
        asked = await admin.get(str(one(page, "a[href*='/disable']")["href"]))
        check_html(asked, "disable an account")
        assert one(soup(asked), "h1").get_text() == "Disable Eve Example?"
        assert (await eve.get("/account")).status_code == 200  # so far, nothing has happened
        form = one(soup(asked), "form[action$='/disable']")
        action = str(form["action"])
        answer = await admin.post(action, name=str(one(form, "input[name=name]")["value"]))
        assert (answer.status_code, answer.headers["location"].partition("&")[0]) == (303, "/admin/people?name=EVE")
        listed = await admin.get(answer.headers["location"])
        check_html(listed, "people")
        assert says(listed) == "Eve Example is disabled. Undo : enable Eve Example"

        async def is_signed_out() -> bool:
            return (await eve.get("/account")).status_code == 303

        await within(30, is_signed_out)
        assert (await eve.login("Eve Example")).status_code == 422
        assert "Disabled" in one(soup(await admin.get("/admin/people?name=eve")), ".person-name").get_text()
        undo = one(soup(listed), ".done form")
        assert undo["action"] == action.replace("disable", "enable")
        answer = await admin.post(str(undo["action"]), name="EVE")
        assert says(await admin.get(answer.headers["location"])) == "Eve Example is enabled again."
        assert (await eve.login("Eve Example")).status_code == 303
        assert admin.user
        own_account = f"/admin/people/{admin.user.id}/disable"
        assert (await admin.post(own_account)).status_code == 403
        assert (await admin.get("/account")).status_code == 200
    rows = await connection.fetch("select action, actor_id from audit where actor_id is not null order by id")
    assert [tuple(row) for row in rows] == [("disable", admin.user.id), ("enable", admin.user.id)]


async def test_disabling_an_account_cancels_its_bookings_and_shows_the_seats_as_free(
    site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(3) as (admin, ada, grace):
        await make_admin(connection, admin)
        assert admin.user
        assert ada.user
        days = [site.clock.today, site.clock.ahead(3)]
        for day in days:
            await ada.book(day, 7)
        page = soup(await admin.get(f"/admin/people/{ada.user.id}/disable"))
        assert "2 upcoming bookings will be cancelled" in one(page, "main").get_text(" ", strip=True)
        answer = await admin.post(f"/admin/people/{ada.user.id}/disable")
        listed = await admin.get(answer.headers["location"])
        assert "is disabled, and 2 upcoming bookings were cancelled." in says(listed)
        for day in days:
            assert (await grace.statuses(day))["A-07"] == "free"
        rows = await connection.fetch("select actor_id, session_id from audit where action = 'cancel'")
        assert [tuple(map(str, row)) for row in rows] == [(str(admin.user.id), admin.session_id)] * 2
        answer = await admin.post(f"/admin/people/{ada.user.id}/enable", cancelled="2")
        enabled = says(await admin.get(answer.headers["location"]))
        assert "is enabled again. Bookings that were cancelled stay cancelled." in enabled


async def test_bookings_of_a_disabled_account_can_be_kept_and_cancelled_later(
    site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(3) as (admin, ada, grace):
        await make_admin(connection, admin)
        assert ada.user
        person = f"/admin/people/{ada.user.id}"
        await ada.book(site.clock.today, 7)
        await grace.book(site.clock.today, 8)
        assert (await admin.post(f"{person}/bookings/cancel")).status_code == 403  # the account is not disabled
        answer = await admin.post(f"{person}/disable", keep_bookings="yes")
        assert "is disabled. 1 upcoming booking was kept." in says(await admin.get(answer.headers["location"]))
        assert (await grace.statuses(site.clock.today))["A-07"] == "taken"
        link = one(soup(await admin.get("/admin/people")), "a[href*='/bookings/cancel']")
        asked = await admin.get(str(link["href"]))
        check_html(asked, "cancel bookings")
        answer = await admin.post(f"{person}/bookings/cancel")
        listed = await admin.get(answer.headers["location"])
        assert says(listed).startswith("1 upcoming booking was cancelled.")
        assert (await grace.statuses(site.clock.today))["A-07"] == "free"
        assert not soup(listed).select("a[href*='/bookings/cancel']")
        assert await connection.fetchval("select count(*) from bookings where status = 'confirmed'") == 1


async def test_dates_are_in_the_sites_time_zone(
    start_site: Callable[..., Site], connection: asyncpg.Connection
) -> None:
    site = start_site(SEATWEB_TIME_ZONE="America/Los_Angeles")
    async with site.people(1) as (admin,):
        await make_admin(connection, admin)
        await connection.execute("update users set created_at = '2026-11-27T05:33:00Z'")
        for path in ("/account", "/admin/people"):
            assert "26 November 2026" in (await admin.get(path)).text, path


async def test_search_takes_special_characters_literally(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(2, prefix="eve") as (admin, _):
        await make_admin(connection, admin)
        for name in ("%", "_", "\\", "e%", "'", "\u0301"):
            answer = await admin.http.get("/admin/people", params={"name": name})
            assert answer.status_code == 200, name
            assert not soup(answer).select(".person-name b"), name


async def test_the_list_of_accounts_is_paginated(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(120) as people:
        admin = await make_admin(connection, people[0])
        seen: list[str] = []
        path = "/admin/people"
        while path:
            page = soup(await admin.get(path))
            seen += [row.get_text() for row in page.select(".person-name b")]
            next_page = page.select(".account-more a[href*='after=']")
            path = str(next_page[0]["href"]) if next_page else ""
        assert len(seen) == len(set(seen)) == 120


@promised(1)
async def test_a_revoked_role_ends(site: Site, connection: asyncpg.Connection, seconds: float) -> None:
    async with site.people(1) as (ada,):
        await make_admin(connection, ada)
        assert (await ada.get("/admin/people")).status_code == 200
        assert ada.user
        async with Database(site.backends.database_url, CONSTRAINTS, size=1) as database:  # as another process would
            administration = AccountAdministration(database, Sessions(database, days=1, idle_hours=1))
            assert await administration.change_role(ada.user.id, Role.USER)

        async def is_refused() -> bool:
            return (await ada.get("/admin/people")).status_code != 200

        await within(seconds, is_refused)


async def test_a_disabled_account_cannot_book_even_while_its_session_is_cached(
    site: Site, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        assert (await ada.get("/account")).status_code == 200  # caches the session for a moment
        await connection.execute("update users set disabled_at = now()")
        for path in ("/days/2026-11-23/seats/7/book", "/days/2026-11-23/any"):
            answer = await ada.post(path)
            assert answer.headers["location"].startswith("/login")
        assert await connection.fetchval("select count(*) from bookings") == 0


async def test_a_site_can_require_a_second_factor_of_administrators(
    start_site: Callable[..., Site], connection: asyncpg.Connection
) -> None:
    site = start_site(SEATWEB_SECOND_FACTOR="administrators")
    async with site.people(2) as (admin, other):
        await make_admin(connection, admin)
        assert admin.user
        assert other.user
        for path in ("/admin/people", f"/admin/people/{other.user.id}/disable"):
            answer = await (admin.get(path) if path.endswith("people") else admin.post(path))
            assert answer.status_code == 403
            assert "two-step sign-in" in answer.text
        await connection.execute(
            "insert into totp_secrets (user_id, secret, confirmed_at) values ($1, 'JBSWY3DPEHPK3PXP', now())",
            admin.user.id,
        )
        assert (await admin.get("/admin/people")).status_code == 200
        assert (await other.get("/admin/people")).status_code == 403


# Names


async def test_a_site_can_hide_names(start_site: Callable[..., Site], connection: asyncpg.Connection) -> None:
    site = start_site(SEATWEB_NAMES="nobody")
    async with site.people(2, prefix="Zoe.") as (ada, eve):
        await ada.book(site.clock.today, 7)
        for visitor in (eve, site.visitor()):
            for path in ("/", "/days/2026-11-23/seats/7", "/days/2026-11-23/sections/A"):
                answer = await visitor.get(path)
                assert ada.user
                assert ada.user.username not in answer.text
                assert not soup(answer).select(".seat-initials")
            assert seats(await visitor.get("/"))["A-07"] == "taken"
        assert (await ada.statuses(site.clock.today))["A-07"] == "mine"
