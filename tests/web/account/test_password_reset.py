"""Forgotten passwords: an administrator or the operator makes a code, and the user sets a new password with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import date
from typing import TypeAlias

import asyncpg
import httpx
import pytest
from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.errors import CONSTRAINTS
from seatweb.accounts.model import Role
from seatweb.accounts.password_resets import ResetCodes
from seatweb.accounts.sessions import Sessions
from seatweb.disabled_accounts import DisabledAccounts
from seatweb.storage.database import Database

from tests.support import Site, Visitor, one, says, soup, within
from tests.web.account.test_second_factor import add_app
from tests.web.admin.test_people import make_admin
from tests.web.test_html import check_html

PAGE = "/login/reset"
MakeCode: TypeAlias = Callable[[str], Awaitable[str]]

OLD, NEW = "correct horse battery", "a staple for the battery"


async def reset(visitor: Visitor, code: str, username: str = "ada", new_password: str = NEW) -> httpx.Response:
    return await visitor.post(PAGE, username=username, code=code, new_password=new_password)


@pytest.fixture
async def make_code(site: Site) -> MakeCode:
    async def make(username: str) -> str:
        async with Database(site.backends.database_url, CONSTRAINTS, size=1) as database:
            user_id = await AccountAdministration(database, Sessions(database, days=1, idle_hours=1)).find(username)
            _, code = await ResetCodes(database).make(user_id)
        return code

    return make


@pytest.fixture
async def ada(site: Site) -> Visitor:
    visitor = site.visitor()
    await visitor.register("ada", OLD)
    return visitor


async def test_a_user_sets_a_new_password_with_an_administrators_code(
    site: Site, connection: asyncpg.Connection, ada: Visitor
) -> None:
    async with site.people(1, prefix="root") as (admin,):
        await make_admin(connection, admin)
        page = soup(await admin.get("/admin/people?name=ada"))
        action = str(one(page, "form[action$='/reset-code']")["action"])
        site.confirm(admin)
        answer = await admin.post(action)
        check_html(answer, "reset code")
        assert answer.headers["cache-control"] == "no-store"
        code = one(soup(answer), ".reset-code code").get_text()
        assert re.fullmatch("([A-Z2-7]{4}-){5}[A-Z2-7]{4}", code)
    forgetful = site.visitor()
    assert one(soup(await forgetful.get("/login")), f"a[href='{PAGE}']").get_text() == "Forgot your password?"
    check_html(await forgetful.get(PAGE), "a new password")
    done = await reset(forgetful, code.lower().replace("-", " "), username=" ADA ")
    assert done.status_code == 303
    assert done.headers["location"] == "/login"
    assert "Sign in with the new one" in says(await forgetful.get("/login"))

    async def is_signed_out() -> bool:
        return (await ada.get("/account")).status_code == 303

    await within(30, is_signed_out)
    assert (await site.visitor().login("ada", OLD)).status_code == 422
    assert (await site.visitor().login("ada", NEW)).status_code == 303
    assert (await reset(site.visitor(), code, new_password="another staple")).status_code == 422
    rows = await connection.fetch(
        "select action, user_id, actor_id from audit where action like 'password%' order by id"
    )
    assert admin.user
    ada_id = await connection.fetchval("select id from users where username = 'ada'")
    assert [tuple(row) for row in rows] == [
        ("password_reset_code", ada_id, admin.user.id),
        ("password_change", ada_id, None),
    ]


async def test_invalid_codes_get_the_same_refusal_and_change_nothing(
    site: Site, connection: asyncpg.Connection, ada: Visitor, make_code: MakeCode
) -> None:
    older = await make_code("ada")
    code = await make_code("ada")
    eve = site.visitor()
    await eve.register("eve")
    texts = set()
    wrong = ((older, "ada"), (code, "eve"), (code, "nobody"), ("", "ada"), ("é" * 2000, "ada"), (code[:-1], "ada"))
    for tried, username in wrong:
        answer = await reset(site.visitor(), tried, username=username)
        assert answer.status_code == 422
        texts.add(one(soup(answer), "#form-error").get_text(strip=True))
        assert not any(tag.get("value") for tag in soup(answer).select("input[type=password], #code"))
    assert len(texts) == 1
    await connection.execute("update password_resets set expires_at = now()")
    assert (await reset(site.visitor(), code)).status_code == 422
    await connection.execute("update password_resets set expires_at = now() + interval '1 minute'")
    await connection.execute("update users set disabled_at = now() where username = 'ada'")
    assert (await reset(site.visitor(), code)).status_code == 422
    await connection.execute("update users set disabled_at = null where username = 'ada'")
    assert (await reset(site.visitor(), code, new_password="")).status_code == 422
    assert (await site.visitor().login("ada", OLD)).status_code == 303
    assert (await reset(site.visitor(), code)).status_code == 303  # the code was valid all along


async def test_a_code_works_once_even_in_concurrent_requests(site: Site, ada: Visitor, make_code: MakeCode) -> None:
    code = await make_code("ada")
    visitors = [site.visitor() for _ in range(6)]
    for visitor in visitors:
        await visitor.get(PAGE)
    answers = await asyncio.gather(
        *(reset(visitor, code, new_password=f"{NEW} {number}") for number, visitor in enumerate(visitors))
    )
    assert sorted(answer.status_code for answer in answers) == [303] + [422] * 5


async def test_a_changed_password_or_a_deleted_account_invalidates_the_code(
    site: Site, connection: asyncpg.Connection, ada: Visitor, make_code: MakeCode
) -> None:
    code = await make_code("ada")
    assert (await ada.post("/account/password", password=OLD, new_password=NEW)).status_code == 303
    assert (await reset(site.visitor(), code, new_password="one more staple")).status_code == 422
    await make_code("ada")
    assert (await ada.post("/account/delete", password=NEW)).status_code == 303
    assert await connection.fetchval("select count(*) from password_resets") == 0


async def test_a_reset_keeps_the_second_factor(site: Site, ada: Visitor, make_code: MakeCode) -> None:
    await add_app(ada)
    assert (await reset(site.visitor(), await make_code("ada"))).status_code == 303
    answer = await site.visitor().login("ada", NEW)
    assert answer.headers["location"].startswith("/login/second")


@pytest.mark.usefixtures("short_retries")
async def test_guessing_codes_is_limited_by_address_and_does_not_lock_the_owner_out(
    start_site: Callable[..., Site], make_code: MakeCode
) -> None:
    site = start_site(
        SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ACCOUNT="2/hour",
        SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ADDRESS="3/hour",
        SEATWEB_TRUSTED_PROXIES="127.0.0.1",
    )
    ada = site.visitor(headers={"X-Forwarded-For": "192.0.2.1"})
    await ada.register("ada", OLD)
    guesser = site.visitor(headers={"X-Forwarded-For": "192.0.2.66"})
    code = await make_code("ada")
    assert [(await reset(guesser, "AAAA")).status_code for _ in range(4)] == [422, 422, 422, 429]
    refused = await reset(guesser, code)
    assert int(refused.headers["retry-after"]) > 3000
    assert "Try again" in one(soup(refused), ".form-error").get_text()
    assert (await ada.login("ada", OLD)).status_code == 303
    owner = site.visitor(headers={"X-Forwarded-For": "192.0.2.1"})
    assert (await reset(owner, code)).status_code == 303


async def test_making_a_code_requires_confirmation(site: Site, connection: asyncpg.Connection, ada: Visitor) -> None:
    boss = site.visitor()
    await boss.register("boss", OLD)
    await connection.execute("update users set role = 'admin' where username = 'boss'")
    await within(30, lambda: is_administrator(boss))
    action = str(one(soup(await boss.get("/admin/people?name=ada")), "form[action$='/reset-code']")["action"])
    asked = await boss.post(action)
    assert (asked.status_code, asked.headers["location"]) == (303, "/account/second-factor?for=people")
    assert await connection.fetchval("select count(*) from password_resets") == 0
    page = await boss.get(asked.headers["location"])
    check_html(page, "confirmation before a reset code")
    assert one(soup(page), "h1").get_text() == "Create a reset code"
    fields = {"password": OLD, "code": "", "for": "people"}
    assert (await boss.post("/account/second-factor/confirm", **{**fields, "password": "wrong"})).status_code == 422
    confirmed = await boss.post("/account/second-factor/confirm", **fields)
    assert confirmed.headers["location"] == "/admin/people"
    assert "Confirmed" in says(await boss.get("/admin/people"))
    assert (await boss.post(action)).status_code == 200


async def is_administrator(visitor: Visitor) -> bool:
    return (await visitor.get("/admin/people")).status_code == 200


def administration_of(database: Database) -> AccountAdministration:
    return AccountAdministration(database, Sessions(database, days=1, idle_hours=1))


async def grant_role(database: Database, user_id: int) -> None:
    assert await administration_of(database).change_role(user_id, Role.ADMIN)


async def revoke_role(database: Database, user_id: int) -> None:
    assert await administration_of(database).change_role(user_id, Role.USER)


async def disable_and_enable(database: Database, user_id: int) -> None:
    administration = administration_of(database)
    accounts = DisabledAccounts(database, administration, lambda _: None, lambda: date(2026, 11, 23))
    assert (await accounts.disable(user_id)).changed
    assert await administration.enable(user_id)


@pytest.mark.parametrize(
    ("name", "change"),
    [("root1", revoke_role), ("root1", disable_and_enable), ("ada", grant_role), ("ada", disable_and_enable)],
)
async def test_changing_the_role_or_state_of_its_maker_or_user_invalidates_a_code(
    site: Site,
    connection: asyncpg.Connection,
    ada: Visitor,
    name: str,
    change: Callable[[Database, int], Awaitable[None]],
) -> None:
    code = await code_by_administrator(site, connection)
    async with Database(site.backends.database_url, CONSTRAINTS, size=1) as database:
        user_id = await administration_of(database).find(name)
        await change(database, user_id)
        if change is revoke_role:
            await grant_role(database, user_id)  # the code stays invalid
    assert (await reset(site.visitor(), code)).status_code == 422
    assert (await site.visitor().login("ada", OLD)).status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        "update users set role = 'admin' where username = 'ada'",
        "update users set role = 'user' where username = 'root1'",
        "update users set disabled_at = now() where username = 'root1'",
    ],
)
async def test_roles_are_checked_again_when_a_code_is_used(
    site: Site, connection: asyncpg.Connection, ada: Visitor, change: str
) -> None:
    code = await code_by_administrator(site, connection)
    await connection.execute(change)  # directly, so that the code is not deleted
    assert (await reset(site.visitor(), code)).status_code == 422
    assert await connection.fetchval("select count(*) from password_resets") == 1


async def test_an_administrators_new_password_invalidates_codes_made_with_the_old_one(
    site: Site, connection: asyncpg.Connection, ada: Visitor, make_code: MakeCode
) -> None:
    code = await code_by_administrator(site, connection)
    own_code = await make_code("root1")  # by the operator
    assert (await reset(site.visitor(), own_code, username="root1")).status_code == 303
    assert (await reset(site.visitor(), code)).status_code == 422


async def test_the_operator_makes_codes_for_administrators_too(
    site: Site, connection: asyncpg.Connection, ada: Visitor, make_code: MakeCode
) -> None:
    await connection.execute("update users set role = 'admin' where username = 'ada'")
    assert (await reset(site.visitor(), await make_code("ada"))).status_code == 303


async def code_by_administrator(site: Site, connection: asyncpg.Connection) -> str:
    """Return a code for ada, made by the administrator root1."""
    async with site.people(1, prefix="root") as (admin,):
        await make_admin(connection, admin)
        site.confirm(admin)
        ada_id = await connection.fetchval("select id from users where username = 'ada'")
        answer = await admin.post(f"/admin/people/{ada_id}/reset-code")
        return one(soup(answer), ".reset-code code").get_text()


async def test_administrators_cannot_make_codes_for_administrators(site: Site, connection: asyncpg.Connection) -> None:
    async with site.people(2, prefix="root") as (admin, other):
        await make_admin(connection, admin)
        await make_admin(connection, other)
        site.confirm(admin)
        for visitor in (admin, other):
            assert visitor.user
            assert (await admin.post(f"/admin/people/{visitor.user.id}/reset-code")).status_code == 403
        assert not soup(await admin.get("/admin/people?name=root")).select("form[action$='/reset-code']")
        assert (await admin.post("/admin/people/999999/reset-code")).status_code == 404
    assert await connection.fetchval("select count(*) from password_resets") == 0
