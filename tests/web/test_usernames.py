"""Nobody registers a name with characters that show nothing, by the page or the API; older names go on working."""

from __future__ import annotations

import asyncpg
import httpx
import pytest
from seatweb import passwords
from seatweb.usernames import username_key

from tests.api.conftest import refused
from tests.support import Site, one, soup

PASSWORD = "correct horse battery"
BLANK = ["\U0001d159", "\U00016fe4", "\U00011a47", "\U0001bc9d"]


async def by_api(site: Site, username: str) -> httpx.Response:
    body = {"username": username, "password": PASSWORD}
    return await site.visitor().http.post("/auth/register", json=body)


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 422
    return one(soup(answer), "#username-error").get_text(strip=True)


async def names(connection: asyncpg.Connection) -> list[str]:
    return [row["username"] for row in await connection.fetch("select username from users order by id")]


async def add_users(connection: asyncpg.Connection, *usernames: str, password_hash: str = "none") -> None:
    """Add accounts as an older version did."""
    await connection.executemany(
        "insert into users (username, username_key, password_hash) values ($1, $2, $3)",
        [(name, username_key(name), password_hash) for name in usernames],
    )


@pytest.mark.parametrize("blank", BLANK)
async def test_a_blank_character_is_refused(site: Site, connection: asyncpg.Connection, blank: str) -> None:
    await site.visitor().register("ada")
    error = error_of(await site.visitor().register(f"ada{blank}"))
    assert f"Remove character 4 (U+{ord(blank):04X})" in error
    problem = refused(await by_api(site, f"ada{blank}"), 422, "invalid_input", "username")
    assert problem["errors"] == [{"field": "username", "message": error}]
    assert await names(connection) == ["ada"]


async def test_names_that_only_resemble_each_other_are_both_registered(site: Site) -> None:
    for name in ("Neil", "Nell", "José", "Jose", "王伟明", "王伟朋", "ada ❤\ufe0f", "ada"):
        assert (await site.visitor().register(name)).status_code == 303


@pytest.mark.parametrize("sign_in", ["page", "api"])
async def test_a_name_that_is_refused_today_still_signs_in(
    site: Site, connection: asyncpg.Connection, sign_in: str
) -> None:
    odd = [f"ada{blank}" for blank in BLANK] + ["\u0430nna", "anna", "ada \U00010330"]
    await add_users(connection, *odd, password_hash=passwords._hasher.hash(PASSWORD))
    for name in odd:
        visitor = site.visitor()
        if sign_in == "page":
            assert (await visitor.login(name)).status_code == 303, ascii(name)
        else:
            body = {"username": name, "password": PASSWORD}
            token = (await visitor.http.post("/auth/login", json=body)).json()["access_token"]
            me = await visitor.http.get("/me", headers={"authorization": f"Bearer {token}"})
            assert me.json()["username"] == name
