"""The schema: the migrations match schema.sql, and PostgreSQL accepts every query."""

from __future__ import annotations

import asyncio
import re

import aiosql.queries
import asyncpg
import pytest
from seatweb.server.migrate import migrate
from seatweb.storage import resources
from seatweb.storage.migrations import DatabaseUnusable
from seatweb.storage.statements import load_statements

CATALOG = """
select 'column', table_name || '.' || column_name,
    concat_ws(' ', data_type, is_nullable, column_default, is_identity, is_generated)
from information_schema.columns where table_schema = 'public'
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
union all
select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
union all
select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'view', viewname, definition from pg_views where schemaname = 'public'
union all
select 'function', proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
"""


async def catalog(url: str) -> set[tuple[str, ...]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(CATALOG)
        return {tuple(map(str, row)) for row in rows if "pogo" not in f"{row[1]} {row[2]}"}
    finally:
        await connection.close()


async def test_the_migrations_produce_the_schema_file(database_url: str, empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute((resources.folder("sql") / "schema.sql").read_text())
    await connection.close()
    assert await catalog(database_url) == await catalog(empty_database_url)


async def test_rolling_back_all_migrations_leaves_an_empty_database(empty_database_url: str) -> None:
    from pogo_core.util import migrate as pogo  # noqa: PLC0415 - only here

    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await pogo.rollback(connection, resources.folder("sql") / "migrations", schema_name="public")
    await connection.close()
    assert await catalog(empty_database_url) == set()


async def test_four_concurrent_migrations_of_an_empty_database_run_once(empty_database_url: str) -> None:
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    connection = await asyncpg.connect(empty_database_url)
    rows = await connection.fetch(
        "select name, count(*), min(number), max(number) from sections join seats on section_id = sections.id"
        " group by name order by name"
    )
    await connection.close()
    assert [tuple(row) for row in rows] == [(name, 20, "01", "20") for name in "ABCD"]


async def test_the_first_run_seats_have_the_ids_and_numbers_that_clients_rely_on(
    connection: asyncpg.Connection,
) -> None:
    rows = await connection.fetch(
        "select seats.id, name, number from seats join sections on sections.id = section_id order by seats.id"
    )
    assert [tuple(row) for row in rows] == [
        (20 * section + place, name, f"{place:02}") for section, name in enumerate("ABCD") for place in range(1, 21)
    ]


def test_every_query_has_a_unique_name_and_a_comment() -> None:
    names: list[str] = []
    for path in sorted((resources.folder("sql") / "queries").glob("*.sql")):
        text = path.read_text()
        names += re.findall(r"^-- name: (\w+)", text, re.MULTILINE)
        undocumented = re.findall(r"^-- name: (\w+)[^\n]*\n(?!-- )", text, re.MULTILINE)
        assert undocumented == [], path.name
    assert len(names) == len(set(names))


def statement_names() -> list[str]:
    return [name for name in load_statements().available_queries if not name.endswith("_cursor")]


@pytest.mark.parametrize("name", statement_names())
async def test_postgresql_can_prepare_every_query(connection: asyncpg.Connection, name: str) -> None:
    statements: aiosql.queries.Queries = load_statements()
    await connection.prepare(getattr(statements, name).sql)


async def test_an_unusable_database_is_reported_in_one_line(empty_database_url: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"has no database 'nowhere'") as missing:
        await migrate(re.sub(r"/test_\w+", "/nowhere", empty_database_url))
    assert "\n" not in str(missing.value)
    with pytest.raises(DatabaseUnusable, match=r"cannot be used|refused|did not answer"):
        await migrate("postgresql://someone:secret-password@127.0.0.1:1/seatweb")
