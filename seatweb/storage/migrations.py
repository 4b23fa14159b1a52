"""Migrate the database schema, and check whether it is up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, Final

import asyncpg
import structlog
from pogo_core.util import migrate as pogo
from pogo_core.util.sql import get_applied_migrations

from seatweb.server_urls import DatabaseUrl
from seatweb.storage import resources
from seatweb.storage.statements import Statements

OLDEST_SERVER: Final = 15
COMMAND: Final = "seatweb command"  # the name of the sessions that migrate, check or administer
OWN_REDIS: Final = (
    "seatweb own-redis"  # begins the name of the sessions of a server that shares its Redis with no other
)
MIGRATION_SECONDS: Final = 120.0
MIGRATION_LOCK: Final = 0x5EA7_0EB  # an arbitrary number that no other application on the server uses
UPKEEP_LOCK: Final = MIGRATION_LOCK + 1
LEFT_BEHIND_SECONDS: Final = 30.0  # a server asks something twice a second
# A session that has been idle for longer was left behind, by a host that lost its power or by a connection pooler.
OTHER_SERVERS: Final = """
select distinct application_name, coalesce(host(client_addr), 'this machine')
from pg_stat_activity
where
    datname = current_database()
    and application_name <> $1
    and (application_name = 'seatweb' or starts_with(application_name, $2))
    and not coalesce(state = 'idle' and state_change < clock_timestamp() - make_interval(secs => $3), false)
"""
NO_TRANSACTIONS: Final = (
    "the connection pooler in DATABASE_URL allows no transactions; set pool_mode to transaction or session in PgBouncer"
)

log = structlog.get_logger(__name__)


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
        async with asyncio.timeout(MIGRATION_SECONDS), _lock(url, MIGRATION_LOCK):
            await pogo.apply(connection, resources.folder("sql") / "migrations", schema_name="public")
            await connection.execute((resources.folder("sql") / "seeds" / "first_run.sql").read_text())
        with suppress(_Locked):
            async with _lock(url, UPKEEP_LOCK, wait=False):
                await upkeep(Statements(connection))
    except TimeoutError:
        raise DatabaseUnusable("the migrations did not finish in time; is another process migrating?") from None
    except DatabaseUnusable:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        if "statement pooling" in str(cause):
            raise DatabaseUnusable(NO_TRANSACTIONS) from None
        raise DatabaseUnusable(f"the migrations failed: {type(cause).__name__}: {_one_line(cause)}") from error
    finally:
        await _close(connection)


class _Locked(Exception):
    """Another process has the lock."""


@asynccontextmanager
async def _lock(url: str, number: int, *, wait: bool = True) -> AsyncIterator[None]:
    """Hold the advisory lock, on a connection of its own.

    The lock belongs to a transaction: behind a connection pooler, a lock of the session would stay behind.

    Raises:
        _Locked: another process has it, and `wait` is false.
    """
    connection = await _connect(url)
    try:
        while True:
            async with connection.transaction():
                if await connection.fetchval("select pg_try_advisory_xact_lock($1)", number):
                    await connection.execute("set local idle_in_transaction_session_timeout = 0")
                    yield
                    return
            if not wait:
                raise _Locked
            await asyncio.sleep(0.05)
    finally:
        await _close(connection)


async def _close(connection: asyncpg.Connection[Any]) -> None:
    try:
        await connection.close(timeout=0.5)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def without_other_servers(url: str, application: str) -> AsyncIterator[None]:
    """Check that no other server uses the database, unless both use a Redis that they can share.

    The session with this server's name stays until the end, so that of two servers that start at once, one sees the
    other.

    Raises:
        DatabaseUnusable: the database cannot be reached; or there is one, and this server has a Redis of its own.
    """
    connection = await _connect(url, application)
    try:
        try:
            others = await connection.fetch(OTHER_SERVERS, application, OWN_REDIS, LEFT_BEHIND_SECONDS)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseUnusable(f"PostgreSQL cannot be used: {_one_line(error)}") from None
        own = application.startswith(OWN_REDIS)
        for name, where in others:
            if own:
                raise DatabaseUnusable(
                    f"another Seatweb (at {where}) uses this database, and this one has no REDIS_URL: they would share "
                    "no holds, limits or signals; set REDIS_URL to one Redis for all of them"
                )
            if name.startswith(OWN_REDIS):
                log.warning("another Seatweb on this database has no REDIS_URL; set it to the same Redis", other=where)
        yield
    finally:
        await _close(connection)


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
        await _close(connection)


# Why a connection failed, by the type of the error: the first that fits. A ValueError may show a part of the URL.
REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (asyncpg.InvalidPasswordError, "PostgreSQL at {hosts} refused the password of user {user!r}"),
    (asyncpg.InvalidAuthorizationSpecificationError, "PostgreSQL at {hosts} refused the connection: {error}"),
    (asyncpg.InvalidCatalogNameError, "PostgreSQL at {hosts} has no database {name!r}; create it first"),
    (asyncpg.ProtocolViolationError, "the connection pooler at {hosts} refuses what DATABASE_URL asks for: {error}"),
    (asyncpg.TargetServerAttributeNotMatched, "none of {hosts} is what target_session_attrs asks for"),
    (TimeoutError, "PostgreSQL at {hosts} did not answer within {seconds} s"),
    (asyncpg.exceptions.ClientConfigurationError, "DATABASE_URL cannot be used: {error}"),
    (ValueError, "DATABASE_URL cannot be used; see docs/settings.md"),
    (Exception, "PostgreSQL at {hosts} cannot be used: {error}"),
)


async def _connect(url: str, application: str = COMMAND) -> asyncpg.Connection[Any]:
    try:
        parsed = DatabaseUrl.parse(url)
    except ValueError as error:
        raise DatabaseUnusable(f"DATABASE_URL cannot be used: {error}") from None
    try:
        return await asyncpg.connect(
            parsed.dsn,
            timeout=parsed.connect_seconds,
            server_settings={"application_name": application, **parsed.session},
            statement_cache_size=0,  # behind a connection pooler, a prepared statement may be in another session
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        reason = next(reason for kind, reason in REASONS if isinstance(error, kind))
        values = {"hosts": parsed.hosts, "user": parsed.user, "name": parsed.name, "seconds": parsed.connect_seconds}
        raise DatabaseUnusable(reason.format(error=_one_line(error), **values)) from None


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
