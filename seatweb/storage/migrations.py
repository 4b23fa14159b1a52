"""Migrate the database schema, and check whether it is up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from pogo_core.util import migrate as pogo
from pogo_core.util.sql import get_applied_migrations

from seatweb.storage import resources
from seatweb.storage.statements import Statements

OLDEST_SERVER: Final = 15
CONNECT_SECONDS: Final = 5.0
MIGRATION_SECONDS: Final = 120.0
MIGRATION_LOCK: Final = 0x5EA7_0EB  # an arbitrary number that no other application on the server uses
UPKEEP_LOCK: Final = MIGRATION_LOCK + 1


class DatabaseUnusable(Exception):
    """The database cannot be used; the message says in one line what is wrong, without the password."""


async def migrate(url: str, upkeep: Callable[[Statements], Awaitable[None]]) -> None:
    """Apply the missing migrations, fill an empty database with the first-run sections, then run `upkeep`.

    `upkeep` fills in what the migrations' SQL cannot compute. It may take minutes, so one process at a time runs it,
    and the others do not wait for it.

    Safe when several processes start at once: they poll an advisory lock (a statement that waits for the lock would
    deadlock with concurrent index builds).

    Raises:
        DatabaseUnusable: the database cannot be reached, is too old, or refused a migration.
    """
    connection = await _connect(url)
    try:
        if connection.get_server_version().major < OLDEST_SERVER:
            version = connection.get_server_version()
            raise DatabaseUnusable(f"PostgreSQL {OLDEST_SERVER} or newer is needed; this server is {version.major}")
        async with asyncio.timeout(MIGRATION_SECONDS):
            while not await connection.fetchval("select pg_try_advisory_lock($1)", MIGRATION_LOCK):
                await asyncio.sleep(0.05)
            await pogo.apply(connection, resources.folder("sql") / "migrations", schema_name="public")
            await connection.execute((resources.folder("sql") / "seeds" / "first_run.sql").read_text())
        await connection.execute("select pg_advisory_unlock($1)", MIGRATION_LOCK)
        if await connection.fetchval("select pg_try_advisory_lock($1)", UPKEEP_LOCK):
            await upkeep(Statements(connection))
    except TimeoutError:
        raise DatabaseUnusable("the migrations did not finish in time; is another process migrating?") from None
    except DatabaseUnusable:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise DatabaseUnusable(f"the migrations failed: {type(cause).__name__}: {_one_line(cause)}") from error
    finally:
        try:
            await connection.close(timeout=0.5)  # this releases the advisory locks
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


async def check_schema(url: str) -> None:
    """Check that the database can be reached and that its schema is up to date.

    Raises:
        DatabaseUnusable: it cannot be reached, or a migration is missing.
    """
    connection = await _connect(url)
    try:
        if not await is_migrated(connection):
            raise DatabaseUnusable("the database schema is not up to date; run: seatweb migrate")
    finally:
        await connection.close(timeout=1)


async def _connect(url: str) -> asyncpg.Connection[Any]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    user = parts.username or options.get("user")
    try:
        where = f"{parts.hostname or options.get('host', 'localhost')}:{parts.port or 5432}"
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except asyncpg.InvalidPasswordError:
        raise DatabaseUnusable(f"PostgreSQL at {where} refused the password of user {user!r}") from None
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise DatabaseUnusable(f"PostgreSQL at {where} refused the connection: {_one_line(error)}") from None
    except asyncpg.InvalidCatalogNameError:
        name = parts.path.lstrip("/") or user
        raise DatabaseUnusable(f"PostgreSQL at {where} has no database {name!r}; create it first") from None
    except TimeoutError:
        raise DatabaseUnusable(f"PostgreSQL at {where} did not answer within {CONNECT_SECONDS:.0f} s") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseUnusable(f"DATABASE_URL cannot be used: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def is_migrated(connection: Any) -> bool:  # noqa: ANN401 - a pool's connection or a plain one
    """Return whether every migration of this version has been applied."""
    try:
        return _migrations() <= await get_applied_migrations(connection, schema_name="public")
    except asyncpg.UndefinedTableError:
        return False


@cache
def _migrations() -> frozenset[str]:
    """Return the names of the migrations that this version comes with."""
    return frozenset(path.stem for path in (resources.folder("sql") / "migrations").glob("*.sql"))
