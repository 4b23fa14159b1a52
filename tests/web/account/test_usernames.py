"""Nobody registers a name that looks like someone else's, on the page or through the API; older names keep working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.errors import CONSTRAINTS
from seatweb.accounts.password_resets import ResetCodes
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.usernames import username_key, username_skeletons
from seatweb.server.migrate import migrate
from seatweb.storage.database import Database

from tests.api.conftest import refused
from tests.support import CHEAP, Site, Visitor, one, soup, together

PASSWORD = "correct horse battery"
BLANK = ["\U0001d159", "\U00016fe4", "\U00011a47", "\U0001bc9d"]
ALIKE = [("anna", "\u0430nna"), ("Nina", "\u039dina"), ("maria", "\u041c\u0410R\u0406\u0410"), ("user1", "userl")]


async def by_api(site: Site, username: str) -> httpx.Response:
    body = {"username": username, "password": PASSWORD}
    return await site.visitor().http.post("/auth/register", json=body)


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 422
    return one(soup(answer), "#username-error").get_text(strip=True)


async def names(connection: asyncpg.Connection) -> list[str]:
    return [row["username"] for row in await connection.fetch("select username from users order by id")]


async def add_users(connection: asyncpg.Connection, *usernames: str, password_hash: str = "none") -> None:
    """Insert accounts without skeletons, as older versions did."""
    await connection.executemany(
        "insert into users (username, username_key, password_hash) values ($1, $2, $3)",
        [(name, username_key(name), password_hash) for name in usernames],
    )


async def skeletons(connection: asyncpg.Connection) -> dict[str, set[str]]:
    rows = await connection.fetch(
        "select username, array_remove(array_agg(skeleton), null) as skeletons from users"
        " left join username_skeletons on user_id = users.id group by username"
    )
    return {row["username"]: set(row["skeletons"]) for row in rows}


async def test_a_blank_character_is_refused(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    await site.visitor().register("ada")
    for blank in BLANK:
        with subtests.test(ascii(blank)):
            error = error_of(await site.visitor().register(f"ada{blank}"))
            assert f"Remove character 4 (U+{ord(blank):04X})" in error
            problem = refused(await by_api(site, f"ada{blank}"), 422, "invalid_input", "username")
            assert problem["errors"] == [{"field": "username", "message": error}]
            assert await names(connection) == ["ada"]


async def test_short_names_and_names_with_joiners_can_be_registered(site: Site, connection: asyncpg.Connection) -> None:
    real = ["Ng", "Bo", "王伟", "王", "علی\u200cرضا", "ශ්\u200dරී"]
    for name in real:
        assert (await site.visitor().register(name)).status_code == 303, ascii(name)
    assert await names(connection) == real
    assert error_of(await site.visitor().register("A")) == "Use 2 to 50 characters."
    for name in ("علیرضا", "ශ්රී"):  # they look the same without a joiner, or almost
        assert (await site.visitor().register(name)).status_code == 422
        assert (await site.visitor().login(name)).status_code == 303


@pytest.mark.parametrize("pasted", ["\u200b", "\u200e", "\ufeff", "\u2060", "\u00ad", "\u202a"])
async def test_a_username_is_found_with_the_invisible_characters_that_were_pasted_with_it(
    site: Site, connection: asyncpg.Connection, pasted: str
) -> None:
    assert (await site.visitor().register(f"ada{pasted}")).status_code == 303
    assert await names(connection) == ["ada"]
    assert "taken" in error_of(await site.visitor().register(f"{pasted}ada"))
    for typed in (f"{pasted}ada", f"ada{pasted}", f"a{pasted}da "):
        assert (await site.visitor().login(typed)).status_code == 303
        body = {"username": typed, "password": PASSWORD}
        assert (await site.visitor().http.post("/auth/login", json=body)).status_code == 200
    async with Database(site.backends.database_url, CONSTRAINTS, size=1) as database:
        administration = AccountAdministration(database, Sessions(database, days=1, idle_hours=1))
        user_id = await administration.find(f"{pasted}ada")
        assert [found.user.id for found in await administration.accounts(f"{pasted}ad")] == [user_id]
        _, code = await ResetCodes(database).make(user_id)
    fields = {"username": f"ada{pasted}", "code": code, "new_password": "another battery"}
    assert (await site.visitor().post("/login/reset", **fields)).status_code == 303


async def test_a_name_that_looks_like_another_is_taken(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    for first, _ in ALIKE:
        await site.visitor().register(first)
    for first, again in ALIKE:
        with subtests.test(first):
            answer = await site.visitor().register(again)
            assert error_of(answer) == (
                "This username looks the same as one that is taken. Choose another, such as your full name."
            )
            assert one(soup(answer), "input[name=username]")["value"] == again
            problem = refused(await by_api(site, again), 409, "username_taken")
            assert problem["detail"] == "This username looks the same as one that is taken."
            assert (await site.visitor().login(again)).status_code == 422  # it is not another spelling of the name
    assert await names(connection) == [first for first, _ in ALIKE]
    assert await connection.fetchval("select count(*) from audit where action = 'register'") == len(ALIKE)


async def test_concurrent_registrations_of_lookalikes_create_one_account(
    site: Site, connection: asyncpg.Connection
) -> None:
    for number, (first, again) in enumerate(ALIKE):
        visitors = [site.visitor() for _ in range(4)]
        tried = [first, again, first.upper(), f"{again} "]
        answers = await together(*(visitor.register(name) for visitor, name in zip(visitors, tried, strict=True)))
        assert sorted(answer.status_code for answer in answers) == [303, 422, 422, 422]
        assert await connection.fetchval("select count(*) from users") == number + 1


async def test_names_that_differ_visibly_can_all_be_registered(site: Site) -> None:
    for name in ("Neil", "Nell", "José", "Jose", "王伟明", "王伟朋", "ada ❤\ufe0f", "ada"):
        assert (await site.visitor().register(name)).status_code == 303


@pytest.mark.parametrize("sign_in", ["page", "api"])
async def test_existing_accounts_with_names_refused_today_can_sign_in(
    site: Site, connection: asyncpg.Connection, sign_in: str
) -> None:
    odd = [f"ada{blank}" for blank in BLANK] + ["\u0430nna", "anna", "ada \U00010330"]
    await add_users(connection, *odd, password_hash=CHEAP.hash(PASSWORD))
    for name in odd:
        visitor = site.visitor()
        if sign_in == "page":
            assert (await visitor.login(name)).status_code == 303, ascii(name)
        else:
            body = {"username": name, "password": PASSWORD}
            token = (await visitor.http.post("/auth/login", json=body)).json()["access_token"]
            me = await visitor.http.get("/me", headers={"authorization": f"Bearer {token}"})
            assert me.json()["username"] == name


async def test_deleting_an_account_frees_its_name_and_lookalikes(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    await visitor.register("anna")
    assert (await site.visitor().register("\u0430nna")).status_code == 422
    assert (await visitor.post("/account/delete", password=PASSWORD)).status_code == 303
    assert await connection.fetchval("select count(*) from username_skeletons") == 0
    assert (await site.visitor().register("\u0430nna")).status_code == 303


async def test_older_accounts_get_skeletons_at_the_next_start(
    database_url: str, connection: asyncpg.Connection, start_site: Callable[..., Site]
) -> None:
    many = [f"person.{number}" for number in range(2500)]  # more than two batches
    await add_users(connection, "Anna", "\u0430nna", *many, "\U00010330\U00011a47da")
    await migrate(database_url)
    found = await skeletons(connection)
    assert found["Anna"] == set(username_skeletons("Anna"))
    assert found["\u0430nna"] == set()  # the older account has them
    assert all(found[name] for name in many)
    assert found["\U00010330\U00011a47da"]
    site = start_site()
    for name in ("\u0430nn\u0430", "person.l", "pers\u043en.2499"):
        assert (await site.visitor().register(name)).status_code == 422

    await connection.execute("delete from username_skeletons where user_id = 1")
    await connection.execute("update users set disabled_at = now(), deleted_at = now() where id = 1")
    await migrate(database_url)
    found = await skeletons(connection)
    assert found["\u0430nna"] == set(username_skeletons("\u0430nna"))
    assert found["Anna"] == set()  # deleted accounts have none


async def test_many_processes_add_skeletons_at_once(database_url: str, connection: asyncpg.Connection) -> None:
    await add_users(connection, *(f"person.{number}" for number in range(1200)), "PERS\u041eN.7", "Person.\u0417")
    await together(*(migrate(database_url) for _ in range(4)))
    found = await skeletons(connection)
    assert [name for name, known in found.items() if not known] == ["PERS\u041eN.7"]


async def test_users_can_register_while_skeletons_are_being_added(
    site: Site, database_url: str, connection: asyncpg.Connection
) -> None:
    await add_users(connection, *(f"person.{number}" for number in range(3000)))
    visitors: list[Visitor] = [site.visitor() for _ in range(8)]
    registrations: list[Any] = [visitor.register(f"pers\u043en.{2000 + n}") for n, visitor in enumerate(visitors)]
    _, *answers = await together(migrate(database_url), *registrations)
    assert {answer.status_code for answer in answers} <= {303, 422}
    owners = await connection.fetch("select skeleton from username_skeletons group by skeleton having count(*) > 1")
    assert owners == []
