"""PostgreSQL: the pool, transactions, and what its refusals mean. The only importer of asyncpg and aiosql."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import aiosql
import aiosql.queries
import asyncpg
import structlog
from pogo_core.util import migrate as pogo
from pogo_core.util.sql import get_applied_migrations

from seatweb.accounts.errors import UsernameTaken
from seatweb.accounts.queries import Queries
from seatweb.accounts.usernames import username_skeletons
from seatweb.booking.errors import DayAlreadyBooked, SeatTaken
from seatweb.errors import InvalidInput, NotSignedIn, Overloaded, SeatwebError
from seatweb.storage import resources

T = TypeVar("T")

RULES: Final[dict[str, Callable[[], SeatwebError]]] = {
    "bookings_day_seat_key": SeatTaken,
    "bookings_user_day_key": DayAlreadyBooked,
    "users_username_key": UsernameTaken,
    "username_skeletons_key": partial(UsernameTaken, looks_alike=True),
    "bookings_user_counts": NotSignedIn,
}
OLDEST_SERVER: Final = 15
MIGRATION_LOCK: Final = 0x5EA7_0EB  # any number that nothing else on the server uses
ACQUIRE_SECONDS: Final = 0.9  # who waits longer is told to come back
STATEMENT_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 5.0
SKELETON_LOCK: Final = MIGRATION_LOCK + 1
SKELETONS_AT_ONCE: Final = 2000  # accounts, so that none is locked for long
MIGRATION_SECONDS: Final = 120.0
ATTEMPTS: Final = 4  # the first, and three more after deadlocks or serialization failures

# The server gives up before the client does, so that a statement never runs on unseen.
SERVER_SETTINGS: Final = {
    "application_name": "seatweb",
    "statement_timeout": "2500",
    # Who waits holds a connection that others need. Longer than deadlock_timeout (1 s): a deadlock is seen first.
    "lock_timeout": "1500",
    "idle_in_transaction_session_timeout": "5000",
    "jit": "off",
    "timezone": "UTC",
}

log = structlog.get_logger(__name__)


class DatabaseUnusable(Exception):
    """The database cannot be used; the message says in one line what is wrong, without the password."""


def load_statements() -> aiosql.queries.Queries:
    """Return the statements of `sql/queries/`."""
    statements: aiosql.queries.Queries = aiosql.from_path(resources.folder("sql") / "queries", "asyncpg")
    return statements


class Transaction(Queries):
    """The queries inside a transaction."""

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what is done inside if it fails, and only that.

        Raises:
            SeatwebError: the rule that a constraint stands for.
        """
        with _translated():
            async with self._connection.transaction():
                yield


class _Connection(asyncpg.Connection):
    """A connection of the pool."""

    def get_reset_query(self) -> str:
        """Return nothing: our statements leave nothing behind, and asking would be a second round trip for each use."""
        return ""


class Database:
    """A pool of connections: `run` reads, `write` changes something by one statement, `transaction` by several."""

    def __init__(self, pool: asyncpg.Pool[Any], statements: aiosql.queries.Queries, size: int) -> None:
        self._pool = pool
        self._statements = statements
        # Writers queue for a section and keep a connection meanwhile; a few are always left for who only reads.
        self._writers = asyncio.Semaphore(max(1, size - size // 4))
        # The pool's own queue is unfair: who comes while one is given back takes it before those who were waiting.
        self._connections = asyncio.Semaphore(size)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, size: int) -> AsyncIterator[Self]:
        """Yield a database with at most `size` connections, and close them at the end."""
        pool = asyncpg.create_pool(
            url,
            min_size=min(size, 10),  # the first rush need not wait for connections to be opened
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=SERVER_SETTINGS,
            connection_class=_Connection,
        )
        try:
            yield cls(await pool, load_statements(), size)
        finally:
            try:
                await asyncio.wait_for(pool.close(), 1)
            except TimeoutError:
                pool.terminate()

    async def run(self, work: Callable[[Queries], Awaitable[T]]) -> T:
        """Run `work` on one connection, each statement committing by itself, and return what it returns.

        Raises:
            Overloaded: no connection came free in time, or the server did not answer.
            SeatwebError: the rule that a constraint stands for, or what `work` raises.
        """
        return await self._attempts(work, explicit=False)

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do what `run` does, for work that changes something: it leaves connections for those who read."""
        async with self._place(self._writers):
            return await self._attempts(work, explicit=False)

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction and return what it returns, once that is committed.

        It may run again, up to three times, when the server asks for it (deadlock, serialization failure).

        Raises:
            Overloaded: no connection came free in time, or the server did not answer.
            SeatwebError: the rule that a constraint stands for, or what `work` raises; nothing is left behind.
        """
        async with self._place(self._writers):
            return await self._attempts(work, explicit=True)

    @asynccontextmanager
    async def _place(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        """Give one of the places, in the order in which they were asked for."""
        if places.locked():
            try:
                async with asyncio.timeout(ACQUIRE_SECONDS):
                    await places.acquire()
            except TimeoutError:
                log.warning("too much at once", what="changes" if places is self._writers else "questions")
                raise Overloaded from None
        else:
            await places.acquire()  # at once
        try:
            yield
        finally:
            places.release()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._place(self._connections), self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            yield connection

    async def _attempts(self, work: Callable[[Transaction], Awaitable[T]], *, explicit: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with _translated():
                    async with self._connection() as connection:
                        queries = Transaction(connection, self._statements)
                        if not explicit:
                            return await work(queries)
                        async with connection.transaction():
                            return await work(queries)
            except _TryAgain:
                if attempt < ATTEMPTS:
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise Overloaded

    async def is_migrated(self) -> bool:
        """Return whether every migration of this version was applied.

        Raises:
            Overloaded: the database does not answer.
        """
        with _translated():
            async with self._connection() as connection:
                return await _is_migrated(connection)


async def _is_migrated(connection: Any) -> bool:  # noqa: ANN401 - of the pool, or by itself
    try:
        return _migrations() <= await get_applied_migrations(connection, schema_name="public")
    except asyncpg.UndefinedTableError:
        return False


@cache
def _migrations() -> frozenset[str]:
    """Return the names of the migrations that this version comes with."""
    return frozenset(path.stem for path in (resources.folder("sql") / "migrations").glob("*.sql"))


class _TryAgain(Exception):
    """The server undid the transaction and asks to run it again."""


class _translated:  # noqa: N801 - used as a statement
    """Turn the driver's exceptions into the domain's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case asyncpg.IntegrityConstraintViolationError() if error.constraint_name in RULES:
                rule = RULES[error.constraint_name]
                raise rule() from error
            case asyncpg.DeadlockDetectedError() | asyncpg.SerializationError():
                raise _TryAgain from error
            case asyncpg.DataError():
                raise InvalidInput from error
            case (
                TimeoutError()
                | OSError()
                | asyncpg.QueryCanceledError()
                | asyncpg.PostgresConnectionError()
                | asyncpg.InsufficientResourcesError()
                | asyncpg.OperatorInterventionError()
                | asyncpg.InterfaceError()
                | asyncpg.InternalClientError()  # the server ended the connection in the middle of something
                | asyncpg.ReadOnlySQLTransactionError()  # a standby, until the failover is over
                | asyncpg.LockNotAvailableError()
                | asyncpg.InvalidCatalogNameError()  # the database is being restored
            ):
                log.warning("database did not answer", error=type(error).__name__)
                raise Overloaded from error
            case _:
                return


async def migrate(url: str) -> None:
    """Bring the schema and the usernames' skeletons up to date, and give an empty database the sections of a first run.

    Safe when several processes start at once: they wait for each other by an advisory lock that is polled (waiting
    inside a statement would deadlock with concurrent index builds).

    Raises:
        DatabaseUnusable: it cannot be reached, is too old, or refused a migration.
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
        # By one process at a time, which may take minutes; the others need not wait for it.
        if await connection.fetchval("select pg_try_advisory_lock($1)", SKELETON_LOCK):
            await _put_missing_skeletons(Queries(connection, load_statements()))
    except TimeoutError:
        raise DatabaseUnusable("the migrations did not end in time; is another process migrating?") from None
    except DatabaseUnusable:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise DatabaseUnusable(f"the migrations failed: {type(cause).__name__}: {_one_line(cause)}") from error
    finally:
        try:
            await connection.close(timeout=0.5)  # ends the advisory locks with it
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


async def _put_missing_skeletons(queries: Queries) -> None:
    """Give every account that has no skeleton its own, unless an older account has them.

    Each batch commits by itself, so that a process that is stopped in the middle goes on at its next start. Every
    start also finds the accounts that an older version registered meanwhile, and those whose look-alike was deleted.
    """
    last_id = 0
    while names := await queries.find_names_without_skeletons(last_id, SKELETONS_AT_ONCE):
        last_id = names[-1][0]
        await queries.put_skeletons(
            [(user_id, skeleton) for user_id, name in names for skeleton in username_skeletons(name)]
        )


async def check_schema(url: str) -> None:
    """Return when the database can be reached and has the schema of this version.

    Raises:
        DatabaseUnusable: it cannot, or has not.
    """
    connection = await _connect(url)
    try:
        if not await _is_migrated(connection):
            raise DatabaseUnusable("the database is not that of this version; run: seatweb migrate")
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
        raise DatabaseUnusable(f"PostgreSQL at {where} refused to let us in: {_one_line(error)}") from None
    except asyncpg.InvalidCatalogNameError:
        name = parts.path.lstrip("/") or user
        raise DatabaseUnusable(f"PostgreSQL at {where} has no database {name!r}; create it first") from None
    except TimeoutError:
        raise DatabaseUnusable(f"PostgreSQL at {where} did not answer within {CONNECT_SECONDS:.0f} s") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseUnusable(f"DATABASE_URL cannot be used: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
