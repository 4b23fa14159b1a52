"""Seatweb works behind PgBouncer: in session and transaction mode by itself, and in statement mode it says why not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from seatweb.errors import Overloaded
from seatweb.server.migrate import migrate
from seatweb.settings import Backends
from seatweb.storage import database as module
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

from tests.conftest import SECRET
from tests.faults import pooler
from tests.faults.test_serve import Seatweb
from tests.support import Clock, Site, together, until_definite

pytestmark = pytest.mark.skipif(
    not pooler.PROGRAM, reason="PgBouncer is not installed; on Debian or Ubuntu: apt-get install pgbouncer"
)
# As an operator may configure PgBouncer: not at all, or so that it drops the settings that programs send.
PLAIN = ""
LENIENT = (
    "ignore_startup_parameters = statement_timeout, lock_timeout, idle_in_transaction_session_timeout, jit, "
    "extra_float_digits, search_path, seatweb.direct"
)
MODES = [("session", PLAIN, 40), ("session", LENIENT, 40), ("transaction", PLAIN, 4), ("transaction", LENIENT, 4)]
DAY = date(2026, 11, 23)
PEOPLE = 40

Pooled = Callable[..., Any]


@pytest.fixture
def pooled(tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def start(url: str, mode: str, more: str = PLAIN, size: int = 4) -> Iterator[str]:
        with pooler.running_pooler(url, tmp_path, mode=mode, size=size, more=more) as found:
            yield found

    return start


@pytest.mark.parametrize(("mode", "more", "size"), MODES)
async def test_forty_people_at_once_book_behind_a_pooler(
    pooled: Pooled,
    start_site: Callable[..., Site],
    backends: Backends,
    connection: asyncpg.Connection[Any],
    clock: Clock,
    patient: None,
    mode: str,
    more: str,
    size: int,
) -> None:
    with pooled(backends.database_url, mode, more, size) as url:
        site = start_site(
            with_backends=Backends(database_url=url, redis_url=backends.redis_url, jwt_secret=SECRET),
            SEATWEB_LIMIT_BOOKINGS="off",
        )
        site.backends = backends  # only the site itself goes through PgBouncer
        async with site.people(PEOPLE) as people:

            async def visit(number: int) -> list[int]:
                person = people[number]
                ask = [
                    partial(person.get, f"/days/{clock.ahead(number % 3)}"),
                    partial(person.book, clock.ahead(1), number % 20 + 1),
                    partial(person.get, "/my/bookings"),
                    partial(person.book, clock.ahead(2), number + 1),
                    partial(person.get, "/"),
                ]
                return [(await until_definite(each)).status_code for each in ask]

            answers = await together(*map(visit, range(PEOPLE)))
            assert {status for each in answers for status in each} <= {200, 303, 409}
            taken = await connection.fetch("select day, count(*), count(distinct seat_id) from bookings group by day")
            assert {tuple(row) for row in taken} == {(clock.ahead(1), 20, 20), (clock.ahead(2), PEOPLE, PEOPLE)}
            health = (await people[0].get("/health")).json()
            assert health["status"] == "ok"
        site.stop()


@pytest.mark.parametrize(("mode", "more", "size"), MODES)
async def test_time_limits_hold_behind_a_pooler(
    pooled: Pooled,
    database_url: str,
    connection: asyncpg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    more: str,
    size: int,
) -> None:
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 60)  # the driver's own limit must not be what ends the wait
    monkeypatch.setitem(module.SERVER_SETTINGS, "lock_timeout", "200")

    async def limits(sql: Statements) -> list[str]:
        return [
            await sql._connection.fetchval("select current_setting($1)", name)
            for name in ("statement_timeout", "idle_in_transaction_session_timeout", "jit", "TimeZone")
        ]

    async def find(sql: Statements) -> object:
        return await sql.one("find_user_id", username_key="ada")

    with pooled(database_url, mode, more, size) as url:
        async with Database(url, {}, size=2) as db:
            assert await db.transaction(limits) == ["2500ms", "5s", "off", "UTC"]
            assert await db.run(find) is None
            async with asyncio.timeout(30), connection.transaction():
                await connection.execute("lock table users in access exclusive mode")
                for ask in (db.run, db.write, db.transaction):
                    with pytest.raises(Overloaded):
                        await ask(find)
            assert await db.run(find) is None
        other = await asyncpg.connect(url, statement_cache_size=0)  # it may get the same session as Seatweb had
        assert await other.fetchval("select current_setting('statement_timeout')") == "0"
        await other.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_several_first_starts_migrate_once_behind_a_pooler(
    pooled: Pooled, empty_database_url: str, mode: str
) -> None:
    with pooled(empty_database_url, mode, size=10) as url:
        await asyncio.gather(*(migrate(url) for _ in range(4)))
        connection = await asyncpg.connect(empty_database_url)
        assert await connection.fetchval("select count(*) from seats") == 80
        locks = "select count(*) from pg_locks where locktype = 'advisory' and database = "
        locks += "(select oid from pg_database where datname = current_database())"
        assert await connection.fetchval(locks) == 0  # none stays behind in PgBouncer's connections
        await connection.close()


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_pooler_without_transactions_is_refused_in_one_line(
    pooled: Pooled, used: Path, redis_url: str, empty_database_url: str, command: str
) -> None:
    with (
        pooled(empty_database_url, "statement") as url,
        Seatweb(used, command, DATABASE_URL=url, REDIS_URL=redis_url, JWT_SECRET=SECRET) as site,
    ):
        assert site.refused() == (
            "seatweb: the connection pooler in DATABASE_URL allows no transactions; "
            "set pool_mode to transaction or session in PgBouncer\n"
        )


def test_serve_runs_behind_a_pooler_and_names_what_it_refuses(
    pooled: Pooled, used: Path, redis_url: str, empty_database_url: str
) -> None:
    with pooled(empty_database_url, "transaction") as url:
        given = {"REDIS_URL": redis_url, "JWT_SECRET": SECRET, "SEATWEB_DATABASE_POOL": "5"}
        with Seatweb(used, DATABASE_URL=url, **given) as site:
            site.ready()
            assert site.get("/health").json()["status"] == "ok"
            assert site.get("/").status_code == 200
            site.ends(by=site.terminate)
        with Seatweb(used, DATABASE_URL=f"{url}?options=-c%20jit%3Doff", **given) as site:
            said = site.refused()
            assert re.fullmatch(r"seatweb: the connection pooler at \S+ refuses what DATABASE_URL asks for: .*\n", said)
