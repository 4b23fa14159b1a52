"""Only known database errors become refusals: a mistake in Seatweb's own code is neither the user's nor an overload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from seatweb.errors import InvalidInput, Overloaded
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, {}, size=1) as db:
        yield db


async def fetch(sql: Statements, statement: str, *parameters: object) -> object:
    return await sql._connection.fetchval(statement, *parameters)


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("select $1::int", ["seven"]),  # of the wrong type
        ("select $1::bigint", [2**70]),
        ("select $1::date", ["2026-11-23"]),
        ("select $1::int", []),  # missing
        ("select 1 / 0", []),
        ("select 'x'::int", []),
        ("select nothing", []),
    ],
)
async def test_a_mistake_in_a_query_is_raised_as_it_is(
    db: Database, statement: str, parameters: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await db.run(fetch, statement, *parameters)
    assert "unavailable" not in capfd.readouterr().err
    assert (await db.state()).migrated  # the connection is still good


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
async def test_text_that_postgresql_cannot_store_is_refused_as_input(db: Database, text: str) -> None:
    with pytest.raises(InvalidInput):
        await db.run(fetch, "select $1::text", text)


async def test_a_connection_that_is_lost_or_closed_is_an_overload(
    db: Database, connection: asyncpg.Connection[Any]
) -> None:
    async def end_and_go_on(sql: Statements) -> object:
        own = await sql._connection.fetchval("select pg_backend_pid()")
        await connection.execute("select pg_terminate_backend($1, 5000)", own)
        with suppress(asyncpg.PostgresError, OSError):  # the first query may notice it as the server's last message
            await fetch(sql, "select 1")
        return await fetch(sql, "select 1")

    with pytest.raises(Overloaded):
        await db.run(end_and_go_on)
    assert await db.run(fetch, "select 1") == 1  # on a new connection
