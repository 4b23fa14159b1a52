"""Changing the password, and the rules for new passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import product

import asyncpg
import pytest
from argon2 import PasswordHasher
from seatweb.accounts.passwords import HASHER

from tests.support import Site, Visitor, one, says, soup, until_blocked, within

OLD, NEW = "correct horse battery", "a staple for the battery"


async def change(visitor: Visitor, password: str = OLD, new_password: str = NEW) -> int:
    answer = await visitor.post("/account/password", password=password, new_password=new_password)
    return answer.status_code


async def test_a_new_password_ends_every_other_session(site: Site, connection: asyncpg.Connection) -> None:
    here, there = site.visitor(), site.visitor()
    await here.register("ada")
    await there.login("ada")
    async with site.people(1, prefix="eve") as (eve,):
        assert await change(here) == 303
        assert "Your password has been changed" in says(await here.get("/account"))

        async def is_signed_out() -> bool:
            return (await there.get("/account")).status_code == 303

        await within(30, is_signed_out)
        assert (await eve.get("/account")).status_code == 200
    assert (await site.visitor().login("ada", OLD)).status_code == 422
    assert (await site.visitor().login("ada", NEW)).status_code == 303
    actions = [row["action"] for row in await connection.fetch("select action from audit order by id")]
    assert actions.count("password_change") == 1


async def by_form(visitor: Visitor, username: str) -> bool:
    return (await visitor.login(username, OLD)).status_code == 303


async def by_api(visitor: Visitor, username: str) -> bool:
    credentials = {"username": username, "password": OLD}
    return (await visitor.http.post("/auth/login", json=credentials)).status_code == 200


async def test_signing_in_while_the_password_changes_starts_no_session(
    site: Site, connection: asyncpg.Connection, database_url: str, subtests: pytest.Subtests
) -> None:
    cases = product((by_form, by_api), ("set password_hash = 'another'", "set disabled_at = now()"))
    for number, (sign_in, change) in enumerate(cases):
        with subtests.test(sign_in=sign_in.__name__, change=change):
            name = f"ada{number}"
            await site.visitor().register(name)
            thief = site.visitor()
            await thief.csrf()
            async with connection.transaction():
                await connection.execute(f"update users {change} where username = $1", name)
                signing_in = asyncio.ensure_future(sign_in(thief, name))
                await until_blocked(database_url, signing_in)  # after the password was verified
            assert not await signing_in
            assert await connection.fetchval("select count(*) from sessions") == number + 1  # from registering


async def test_invalid_input_is_explained_beside_its_field_and_changes_nothing(
    site: Site, connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    here, there = site.visitor(), site.visitor()
    await here.register("ada")
    await there.login("ada")
    for password, new_password, field in (
        ("wrong", NEW, "password"),
        ("", NEW, "password"),
        (OLD, "", "new_password"),
        (OLD, OLD, "new_password"),
        (OLD, "x" * 129, "new_password"),
    ):
        with subtests.test(password=password, new_password=new_password):
            answer = await here.post("/account/password", password=password, new_password=new_password)
            assert answer.status_code == 422
            wrong = one(soup(answer), f"input[name={field}]")
            assert wrong["aria-invalid"] == "true"
            assert not any(tag.get("value") for tag in soup(answer).select("input[type=password]"))
            assert (await there.get("/account")).status_code == 200
            assert await connection.fetchval("select count(*) from audit where action = 'password_change'") == 0


async def test_changing_the_password_requires_signing_in(site: Site) -> None:
    visitor = site.visitor()
    assert (await visitor.get("/account/password")).headers["location"] == "/login?next=/account/password"
    assert (await visitor.post("/account/password", password=OLD, new_password=NEW)).status_code == 303


async def test_in_production_passwords_that_are_easy_to_guess_are_refused(
    start_site: Callable[..., Site], connection: asyncpg.Connection, subtests: pytest.Subtests
) -> None:
    # DATABASE_URL puts the site in production; the servers are still those of the test.
    site = start_site(
        DATABASE_URL="postgresql://db/seatweb",
        JWT_SECRET="k7Qd0vJr1mZp8sXw4tYb6nEh3uGf9aLc",
        SEATWEB_SITE_NAME="Reading Room",
    )
    for password in (
        *("password1", "PassWord1", "qwertyuiop", "Grace Hopper", "xGrace Hopper1"),
        *("Seatweb1", "12seatweb", "ReadingRoom1"),
    ):
        with subtests.test(password):
            answer = await site.visitor().register("Grace Hopper", password)
            assert answer.status_code == 422
            assert one(soup(answer), "#password-error").get_text(strip=True)
            assert await connection.fetchval("select count(*) from users") == 0
    assert (await site.visitor().register("Grace Hopper", "Grace Hopper drinks tea")).status_code == 303


async def test_in_demo_mode_any_password_is_accepted(site: Site) -> None:
    assert (await site.visitor().register("john", "secret")).status_code == 303


async def test_an_outdated_hash_is_replaced_at_sign_in(
    start_site: Callable[..., Site], connection: asyncpg.Connection
) -> None:
    site = start_site(with_hasher=HASHER)
    await site.visitor().register("ada")
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(OLD)
    await connection.execute("update users set password_hash = $1", old)
    assert (await site.visitor().login("ada", "wrong")).status_code == 422
    assert await connection.fetchval("select password_hash from users") == old
    assert (await site.visitor().login("ada")).status_code == 303
    assert "m=47104" in await connection.fetchval("select password_hash from users")
    assert (await site.visitor().login("ada")).status_code == 303
