"""Databases for tests: a template, one database per worker that is reset before each test, and new ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
from seatweb.server.migrate import migrate

from tests.support import run

TEMPLATE = "seatweb_template"
MOST_GROWTH = 4 * 1024 * 1024  # bytes; when a database has grown by more, a new copy is cheaper than deleting rows

# A fingerprint of the schema: it changes when a test creates, alters or drops anything, or sets an option.
FINGERPRINT = """
select concat_ws(' ',
    (select string_agg(format('%s %s', oid, xmin), ',' order by oid) from pg_class
        where relnamespace = 'public'::regnamespace),
    (select string_agg(format('%s %s %s', attrelid, attnum, a.xmin), ',' order by attrelid, attnum)
        from pg_attribute a join pg_class c on c.oid = attrelid where relnamespace = 'public'::regnamespace),
    (select string_agg(format('%s %s', oid, xmin), ',' order by oid) from pg_constraint
        where connamespace = 'public'::regnamespace),
    (select string_agg(format('%s %s', oid, xmin), ',' order by oid) from pg_proc
        where pronamespace = 'public'::regnamespace),
    (select string_agg(format('%s %s', t.oid, t.xmin), ',' order by t.oid)
        from pg_trigger t join pg_class c on c.oid = tgrelid where relnamespace = 'public'::regnamespace),
    (select string_agg(format('%s %s', oid, xmin), ',' order by oid) from pg_namespace),
    (select string_agg(format('%s %s', setrole, setconfig), ',') from pg_db_role_setting
        where setdatabase = (select oid from pg_database where datname = current_database())))
"""
# Ends every other connection, and waits until its locks and LISTENs are gone as well.
EVICT = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> $1"


class Keeper:
    """Keeps one database, and resets it to the schema and rows of the template before each test."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._name = f"test_{uuid4().hex}"
        self.url = with_database(server, self._name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection[Any] | None = None
        self._fingerprint = self._restore_sql = ""
        self._size = 0

    def reset(self) -> str:
        """Reset the database to the template, and return its URL."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(60)
        return self.url

    def close(self) -> None:
        """Drop the database."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _reset(self) -> None:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # a test may have ended our connection
            if self._connection and await self._restore(self._connection):
                return
        await self._drop()
        async with connected(self._server) as connection:
            await connection.execute(f"create database {self._name} template {TEMPLATE}")
        await self._record()

    async def _restore(self, connection: asyncpg.Connection[Any]) -> bool:
        """Restore every row; return False if the schema changed or the database grew too much."""
        await connection.execute("set default_transaction_read_only = off")
        await connection.fetch(EVICT, connection.get_server_pid())
        found = await connection.fetchrow(f"select ({FINGERPRINT}), pg_database_size(current_database())")
        assert found
        if found[0] != self._fingerprint or found[1] > self._size + MOST_GROWTH:
            return False
        await connection.execute(self._restore_sql)
        return True

    async def _drop(self) -> None:
        if self._connection:
            self._connection.terminate()
            self._connection = None
        async with connected(self._server) as connection:
            await connection.execute(f"drop database if exists {self._name} with (force)")

    async def _record(self) -> None:
        """Record the schema and size of the new database, and build the statements that restore its rows."""
        connection = self._connection = await asyncpg.connect(self.url)
        self._fingerprint, self._size = (
            await connection.fetchval(FINGERPRINT),
            await connection.fetchval("select pg_database_size(current_database())"),
        )
        tables = await connection.fetch(
            "select quote_ident(relname) from pg_class"
            " where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname"
        )
        delete, insert = [], []
        for (name,) in tables:
            rows = await connection.fetchval(f"select json_agg(r) from {name} r")  # noqa: S608
            delete.append(f"delete from {name};")  # noqa: S608
            if rows:
                text = await connection.fetchval("select quote_literal($1::text)", rows)
                insert.append(
                    f"insert into {name} overriding system value"  # noqa: S608
                    f" select * from json_populate_recordset(null::{name}, {text});"
                )
        sequences = await connection.fetch(
            "select format('%I', sequencename), start_value, last_value from pg_sequences where schemaname = 'public'"
        )
        counters = [f"select setval('{name}', {last or start}, {bool(last)});" for name, start, last in sequences]
        # In the replica role, triggers (such as the one that protects the audit trail) and foreign keys are off.
        parts = ["begin; set local session_replication_role = replica;", *delete, *insert, *counters]
        self._restore_sql = "\n".join([*parts, "select pg_stat_reset(); commit;"])


@contextmanager
def new_database(server: str, template: str | None) -> Iterator[str]:
    """Yield the URL of a new database on the server: a copy of the template, or an empty one."""
    name = f"test_{uuid4().hex}"
    run(_execute(server, f"create database {name}" + (f" template {template}" if template else "")))
    try:
        yield with_database(server, name)
    finally:
        run(_execute(server, f"drop database {name} with (force)"))


async def create_template(server: str, *, owned: bool) -> None:
    """Create the template of all test databases; on an `owned` server, writes need not survive a power cut."""
    async with connected(server) as connection:
        if owned:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                await connection.execute(f"alter system set {name} = off")
            await connection.execute("select pg_reload_conf()")
        await connection.execute(f"drop database if exists {TEMPLATE}")
        await connection.execute(f"create database {TEMPLATE}")
    await migrate(with_database(server, TEMPLATE))


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    head, _, query = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Yield a connection, and close it afterwards."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statement)
