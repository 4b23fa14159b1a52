"""When the database cannot be used, one line says why, without the password."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from seatweb.booking import queries as booking_queries
from seatweb.errors import Overloaded
from seatweb.server.embedded import running_backends
from seatweb.server.migrate import migrate
from seatweb.settings import Settings
from seatweb.storage import migrations
from seatweb.storage.database import Database
from seatweb.storage.migrations import OWN_REDIS, DatabaseUnusable, without_other_servers

from tests.conftest import SECRET
from tests.support import run


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, _redis_database: str) -> Iterator[str]:
    """Yield a URL without a password for user `keeper`, of a server that asks that user for one."""
    settings = Settings.model_validate(
        {
            "SEATWEB_DATA_DIR": tmp_path_factory.mktemp("guarded") / "data",
            "JWT_SECRET": SecretStr(SECRET),
            "REDIS_URL": SecretStr(_redis_database),
        }
    )
    with running_backends(settings) as backends:
        run(_guard(backends.database_url))
        yield backends.database_url.replace("user=seatweb", "user=keeper")


async def _guard(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("create role keeper login password 'right'")
    add_rule(Path(await connection.fetchval("show hba_file")), "local all keeper scram-sha-256")
    loaded = await connection.fetchval("select pg_conf_load_time()")
    await connection.execute("select pg_reload_conf()")
    async with asyncio.timeout(30):
        while await connection.fetchval("select pg_conf_load_time()") == loaded:
            await asyncio.sleep(0.01)
    await connection.close()


def add_rule(hba: Path, rule: str) -> None:
    hba.write_text(f"{rule}\n{hba.read_text()}")


async def test_a_wrong_password_and_a_missing_permission_are_reported(guarded: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"refused the password of user 'keeper'") as wrong:
        await migrate(f"{guarded}&password=wrong-word")
    assert "wrong-word" not in str(wrong.value)
    assert "\n" not in str(wrong.value)
    with pytest.raises(DatabaseUnusable, match=r"the migrations failed: .*permission denied"):
        await migrate(f"{guarded}&password=right")


async def test_an_unknown_user_and_an_unknown_database_are_reported(guarded: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"refused the connection: .*nobody-here"):
        await migrate(guarded.replace("user=keeper", "user=nobody-here"))
    with pytest.raises(DatabaseUnusable, match=r"has no database 'nowhere'"):
        await migrate(guarded.replace("user=keeper", "user=seatweb").replace("/seatweb?", "/nowhere?"))


async def test_a_server_that_is_too_old_is_reported(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 999)
    with pytest.raises(DatabaseUnusable, match=r"PostgreSQL 999 or newer is needed; this server is \d+"):
        await migrate(empty_database_url)


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:1/x", "postgresql://u:p@127.0.0.1:notaport/x"])
async def test_an_unreachable_or_malformed_url_is_reported(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"cannot be used: |did not answer"):
        await migrate(url)


async def test_a_migration_waits_for_another_and_gives_up_in_time(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "MIGRATION_SECONDS", 0.3)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("select pg_advisory_lock($1)", migrations.MIGRATION_LOCK)
    with pytest.raises(DatabaseUnusable, match="did not finish in time"):
        await migrate(empty_database_url)
    await connection.close()


async def test_a_rolled_back_transaction_is_retried_three_times(database_url: str) -> None:
    tries = 0

    async def work(_: object) -> None:
        nonlocal tries
        tries += 1
        raise asyncpg.SerializationError

    async with Database(database_url, {}, size=1) as db:
        with pytest.raises(Overloaded):
            await db.transaction(work)
        assert tries == 4


async def test_a_deadlock_is_resolved_by_a_retry(database_url: str) -> None:
    """Two transactions really wait for each other; PostgreSQL rolls one back, and it runs again."""
    setup = await asyncpg.connect(database_url)
    await setup.execute("create table pair (id int primary key, n int); insert into pair values (1, 0), (2, 0)")
    both_hold_one = asyncio.Barrier(2)
    first_time = {1: True, 2: True}

    async with Database(database_url, {}, size=2) as db:

        async def add(mine: int, other: int) -> None:
            async def work(queries: object) -> None:
                connection = queries._connection  # type: ignore[attr-defined]
                await connection.execute("update pair set n = n + 1 where id = $1", mine)
                if first_time[mine]:
                    first_time[mine] = False
                    await both_hold_one.wait()
                await connection.execute("update pair set n = n + 1 where id = $1", other)

            await db.transaction(work)

        async with asyncio.timeout(60):
            await asyncio.gather(add(1, 2), add(2, 1))
    assert [row["n"] for row in await setup.fetch("select n from pair order by id")] == [2, 2]
    await setup.close()


async def test_connections_are_given_out_first_come_first_served(database_url: str) -> None:
    """A newcomer does not take a released connection before those already waiting."""
    size = 2
    asked = itertools.count()
    given: list[int] = []

    async with Database(database_url, {}, size=size) as db:

        async def again_and_again() -> None:
            for _ in range(30):
                number = next(asked)

                async def ask(sql: Any, number: int = number) -> None:
                    given.append(number)
                    await booking_queries.find_sitter(sql, 1, date(2026, 11, 23))

                await db.run(ask)

        await asyncio.gather(*(again_and_again() for _ in range(20)))
    assert len(given) == 20 * 30
    # Check only the order in which connections were given out, not how long each was used.
    assert max(abs(number - place) for place, number in enumerate(given)) <= size


async def test_sessions_that_another_server_left_behind_do_not_keep_a_server_from_starting(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await asyncpg.connect(database_url, server_settings={"application_name": f"{OWN_REDIS} before"})
    await left.fetchval("select 1")
    with pytest.raises(DatabaseUnusable, match="another Seatweb"):
        async with without_other_servers(database_url, f"{OWN_REDIS} now"):
            pass
    monkeypatch.setattr(migrations, "LEFT_BEHIND_SECONDS", 0.0)
    async with without_other_servers(database_url, f"{OWN_REDIS} now"):
        pass
    await left.close()
