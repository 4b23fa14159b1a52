"""The operator's commands, run as a user would type them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from seatweb.booking.changes import CHANNEL
from seatweb.settings import Backends

from tests.support import Site

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(backends: Backends) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("SEATWEB_")}
    return known | {"DATABASE_URL": backends.database_url, "JWT_SECRET": backends.jwt_secret, "PYTHONPATH": str(ROOT)}


def seatweb(environment: dict[str, str], *arguments: str, code: int = 0) -> list[str]:
    """Run the command and return the lines that it prints: to standard error if it should fail."""
    done = subprocess.run(
        [sys.executable, "-m", "seatweb", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return (done.stdout if code == 0 else done.stderr).splitlines()


async def test_an_administrator_is_granted_and_revoked(
    site: Site, environment: dict[str, str], connection: asyncpg.Connection
) -> None:
    ada = site.visitor()
    await ada.register("Ada Lovelace")
    assert (await ada.get("/admin/people")).status_code == 403
    assert seatweb(environment, "admin", "list") == []
    assert seatweb(environment, "admin", "grant", "ada lovelace", "ada lovelace") == [
        "ada lovelace is now an administrator and must sign in again.",
        "ada lovelace is already an administrator.",
    ]
    assert seatweb(environment, "admin", "list") == ["Ada Lovelace"]
    await ada.login("Ada Lovelace")
    assert (await ada.get("/admin/people")).status_code == 200
    assert seatweb(environment, "admin", "revoke", "Ada Lovelace", "Ada Lovelace") == [
        "Ada Lovelace is no longer an administrator and must sign in again.",
        "Ada Lovelace is not an administrator.",
    ]
    await ada.login("Ada Lovelace")
    assert (await ada.get("/admin/people")).status_code == 403
    rows = await connection.fetch("select action, actor_id from audit where action in ('grant', 'revoke') order by id")
    assert [tuple(row) for row in rows] == [("grant", None), ("revoke", None)]


async def test_an_account_is_disabled_and_enabled_again(site: Site, environment: dict[str, str]) -> None:
    ada = site.visitor()
    await ada.register("ada")
    assert seatweb(environment, "user", "disable", "ada", "ada") == [
        "ada is now disabled and signed out everywhere.",
        "ada is already disabled.",
    ]
    assert (await site.visitor().login("ada")).status_code == 422
    assert seatweb(environment, "user", "enable", "ada", "ada") == [
        "ada is enabled again and can sign in.",
        "ada is not disabled.",
    ]
    assert (await site.visitor().login("ada")).status_code == 303


async def test_disabling_an_account_cancels_its_upcoming_bookings_unless_they_are_kept(
    site: Site, environment: dict[str, str], connection: asyncpg.Connection
) -> None:
    tomorrow = datetime.now(site.settings.zone).date() + timedelta(days=1)  # the command has the real clock
    site.clock.today = tomorrow
    ada, bob = site.visitor(), site.visitor()
    for visitor, name, seat_id in ((ada, "ada", 7), (bob, "bob", 8)):
        await visitor.register(name)
        await visitor.book(tomorrow, seat_id)
        await visitor.book(tomorrow + timedelta(days=1), seat_id)
    channel = redis.asyncio.from_url(site.backends.redis_url).pubsub(ignore_subscribe_messages=True)
    await channel.subscribe(CHANNEL)
    operator = environment | {"REDIS_URL": site.backends.redis_url}
    assert seatweb(operator, "user", "disable", "ada", "ada") == [
        "ada is now disabled and signed out everywhere.",
        "Cancelled 2 upcoming bookings.",
        "ada is already disabled.",
    ]
    signal = f"operator {tomorrow} {tomorrow + timedelta(days=1)}".encode()
    async with asyncio.timeout(30):
        async for message in channel.listen():
            if message["data"] == signal:
                break
    await channel.aclose()  # type: ignore[no-untyped-call]
    assert seatweb(operator, "user", "disable", "--keep-bookings", "bob") == [
        "bob is now disabled and signed out everywhere.",
        "Kept 2 upcoming bookings.",
    ]
    assert seatweb(operator, "user", "disable", "bob") == ["bob is already disabled.", "Cancelled 2 upcoming bookings."]
    rows = await connection.fetch("select distinct status from bookings")
    assert [row["status"] for row in rows] == ["cancelled"]
    query = "select count(*) from audit where action = 'cancel' and session_id is null and actor_id is null"
    assert await connection.fetchval(query) == 4


async def test_a_user_resets_a_forgotten_password_with_a_code(site: Site, environment: dict[str, str]) -> None:
    await site.visitor().register("ada")
    line, validity = seatweb(environment, "user", "reset", "ada")
    code = line.rpartition(" ")[2].removesuffix(".")
    assert validity.startswith("It works once, for ")
    answer = await site.visitor().post("/login/reset", username="ada", code=code, new_password="a new one of mine")
    assert answer.status_code == 303
    assert (await site.visitor().login("ada", "a new one of mine")).status_code == 303


def test_a_command_that_cannot_run_says_why_in_one_line(environment: dict[str, str], empty_database_url: str) -> None:
    assert seatweb(environment, "admin", "grant", "nobody", code=1) == [
        "seatweb: there is no account 'nobody'; register it on the site first"
    ]
    elsewhere = environment | {"DATABASE_URL": empty_database_url}
    assert seatweb(elsewhere, "prune", code=1) == [
        "seatweb: the database schema is not up to date; run: seatweb migrate"
    ]
    assert len(seatweb(environment | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "prune", code=1)) == 1


async def test_prune_deletes_only_old_data(
    site: Site, environment: dict[str, str], connection: asyncpg.Connection
) -> None:
    async with site.people(3) as (ada, _, _):
        assert ada.user
        await ada.book(site.clock.today, 7)
        user_id = ada.user.id
        await connection.execute(
            "insert into bookings (day, seat_id, user_id) values"
            " (current_date - 366, 1, $1), (current_date - 364, 1, $1), (current_date - 400, 1, $1)",
            user_id,
        )
        await connection.execute(
            "insert into sessions (user_id, expires_at, ended_at) values"
            " ($1, now() + interval '1 day', now() - interval '31 days'),"
            " ($1, now() - interval '31 days', null), ($1, now() - interval '29 days', null)",
            user_id,
        )
        await connection.execute(
            "insert into idempotency_keys (user_id, key, fingerprint, status, body, created_at) values"
            " ($1, 'old', 'x', 201, '', now() - interval '8 days'), ($1, 'new', 'x', 201, '', now())",
            user_id,
        )
        await connection.execute(
            "insert into failed_sign_ins values ('over', array[now()], now()),"
            " ('counts', array[now()], now() + interval '1 minute')"
        )
        audited = await connection.fetchval("select count(*) from audit")
        lines = seatweb(environment, "prune")
        assert lines == [
            "Deleted sessions: 2.",
            "Deleted idempotency keys: 1.",
            "Deleted bookings: 2.",
            "Deleted counters of failed sign-ins: 1.",
        ]
        assert await connection.fetchval("select count(*) from bookings") == 2
        assert await connection.fetchval("select count(*) from sessions") == 4
        assert await connection.fetchval("select key from idempotency_keys") == "new"
        assert await connection.fetchval("select key from failed_sign_ins") == b"counts"
        assert await connection.fetchval("select count(*) from audit") == audited
        assert (await ada.get("/account")).status_code == 200
        assert seatweb(environment, "prune")[2] == "Deleted bookings: 0."
