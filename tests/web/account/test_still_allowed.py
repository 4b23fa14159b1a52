"""Passwords, sessions and roles that were valid when they were checked must still be valid when a request acts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from itertools import product
from typing import TypeAlias

import asyncpg
import httpx
import pyotp
import pytest

from tests.support import Site, Visitor, one, soup, until_blocked
from tests.web.account.test_password_reset import PAGE as RESET
from tests.web.account.test_password_reset import MakeCode, make_code  # noqa: F401 - a fixture
from tests.web.account.test_second_factor import PAGE as FACTORS
from tests.web.account.test_second_factor import add_app, confirm
from tests.web.admin.test_people import make_admin

OLD, NEW, OTHER = "correct horse battery", "a staple for the battery", "one more staple"
SESSIONS_END = "update sessions set ended_at = now()"
PASSWORD_CHANGES = "update users set password_hash = 'another'"
DISABLED = "update users set disabled_at = now()"

Answer: TypeAlias = httpx.Response


async def answer_with_change_between(
    connection: asyncpg.Connection, database_url: str, action: Awaitable[Answer], change: str
) -> Answer:
    """Return the answer to a request whose checks run before the change, and which acts after it."""
    async with connection.transaction():
        await connection.execute("select from users for update")
        acting = asyncio.ensure_future(action)
        await until_blocked(database_url, acting)
        await connection.execute(change)
    return await acting


@pytest.fixture
async def ada(site: Site) -> Visitor:
    visitor = site.visitor()
    await visitor.register("ada", OLD)
    return visitor


def change_password(visitor: Visitor) -> Awaitable[Answer]:
    return visitor.post("/account/password", password=OLD, new_password=NEW)


def delete_account(visitor: Visitor) -> Awaitable[Answer]:
    return visitor.post("/account/delete", password=OLD)


async def test_the_old_password_does_nothing_once_it_is_replaced_or_the_session_has_ended(
    site: Site, connection: asyncpg.Connection, database_url: str, subtests: pytest.Subtests
) -> None:
    cases = product((change_password, delete_account), ((SESSIONS_END, 303), (PASSWORD_CHANGES, 422)))
    for number, (act, (change, status)) in enumerate(cases):
        with subtests.test(act=act.__name__, change=change):
            ada = site.visitor()
            await ada.register(f"ada{number}", OLD)
            await ada.csrf()
            answer = await answer_with_change_between(connection, database_url, act(ada), change)
            assert answer.status_code == status
            if status == 303:
                assert answer.headers["location"].startswith("/login")
            else:
                assert "changed a moment ago" in one(soup(answer), "#password-error").get_text()
            actions = {row["action"] for row in await connection.fetch("select action from audit")}
            assert not actions & {"password_change", "delete_account"}
            assert await connection.fetchval("select count(*) from users where deleted_at is not null") == 0


async def test_a_thief_with_the_old_password_cannot_override_a_reset(
    site: Site,
    connection: asyncpg.Connection,
    ada: Visitor,
    make_code: MakeCode,  # noqa: F811
) -> None:
    for delay in (0, 0.02, 0.05):
        await connection.execute("update sessions set ended_at = null")
        thief, owner, code = ada, site.visitor(), await make_code("ada")
        await thief.csrf()
        await owner.csrf()

        async def reset(delay: float = delay, owner: Visitor = owner, code: str = code) -> Answer:
            await asyncio.sleep(delay)
            return await owner.post(RESET, username="ada", code=code, new_password=OTHER)

        thiefs_answer, owners_answer = await asyncio.gather(change_password(thief), reset())
        logins = {password: await site.visitor().login("ada", password) for password in (NEW, OTHER)}
        working = [password for password, answer in logins.items() if answer.status_code == 303]
        assert working == [OTHER if owners_answer.status_code == 303 else NEW]  # only the acknowledged change counts
        assert (owners_answer.status_code, thiefs_answer.headers.get("location")) != (303, "/account")
        again = await site.visitor().post(RESET, username="ada", code=await make_code("ada"), new_password=OLD)
        assert again.status_code == 303


async def test_of_two_password_changes_at_once_one_is_refused(
    site: Site, connection: asyncpg.Connection, ada: Visitor
) -> None:
    await ada.csrf()
    answers = await asyncio.gather(
        *(ada.post("/account/password", password=OLD, new_password=new) for new in (NEW, OTHER))
    )
    assert sorted(answer.status_code for answer in answers) == [303, 422]
    new = (NEW, OTHER)[[answer.status_code for answer in answers].index(303)]
    assert (await site.visitor().login("ada", new)).status_code == 303
    rows = await connection.fetch("select from audit where action = 'password_change'")
    assert len(rows) == 1


# The second factor


async def begin_app(visitor: Visitor) -> Awaitable[Answer]:
    await confirm(visitor)
    return visitor.post(f"{FACTORS}/app")


async def confirm_app(visitor: Visitor) -> Awaitable[Answer]:
    await confirm(visitor)
    await visitor.post(f"{FACTORS}/app")
    key = one(soup(await visitor.get(f"{FACTORS}/app")), ".enrol-key code").get_text().replace(" ", "")
    return visitor.post(f"{FACTORS}/app/code", code=pyotp.TOTP(key).at(int(time.time())))


async def remove_app(visitor: Visitor) -> Awaitable[Answer]:
    await add_app(visitor)
    return visitor.post(f"{FACTORS}/app/remove")


async def make_codes(visitor: Visitor) -> Awaitable[Answer]:
    await add_app(visitor)
    return visitor.post(f"{FACTORS}/recovery-codes")


async def test_an_ended_session_cannot_change_the_second_factor(
    site: Site, connection: asyncpg.Connection, database_url: str, subtests: pytest.Subtests
) -> None:
    async def rows() -> list[list[asyncpg.Record]]:
        tables = ("totp_secrets", "recovery_codes", "audit")
        return [await connection.fetch(f"select * from {name} order by 1, 2") for name in tables]  # noqa: S608

    cases = product((begin_app, confirm_app, remove_app, make_codes), (SESSIONS_END, DISABLED))
    for number, (prepare, change) in enumerate(cases):
        with subtests.test(prepare=prepare.__name__, change=change):
            ada = site.visitor()
            await ada.register(f"ada{number}", OLD)
            action = await prepare(ada)
            before = await rows()
            answer = await answer_with_change_between(connection, database_url, action, change)
            assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login")
            assert await rows() == before


# Administrators


async def test_an_administrator_who_lost_the_role_or_the_session_changes_nothing(
    site: Site, connection: asyncpg.Connection, database_url: str, subtests: pytest.Subtests
) -> None:
    changes = (("update users set role = 'user'", 403), (SESSIONS_END, 303), (DISABLED, 303))
    for number, (action, (change, status)) in enumerate(product(("disable", "enable", "reset-code"), changes)):
        async with site.people(2, prefix=f"root{number}-") as (admin, other):
            with subtests.test(action, change=change):
                await make_admin(connection, admin)
                site.confirm(admin)
                assert other.user
                acting = admin.post(f"/admin/people/{other.user.id}/{action}")
                answer = await answer_with_change_between(connection, database_url, acting, change)
                assert answer.status_code == status
                assert await connection.fetchval("select count(*) from password_resets") == 0
                assert await connection.fetchval("select count(*) from audit where actor_id is not null") == 0
