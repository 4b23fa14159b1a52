"""PostgreSQL: a connection pool, and transactions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import asyncpg
import structlog
from msgspec import Struct

from seatweb.errors import Constraints, Overloaded
from seatweb.server_urls import DatabaseUrl
from seatweb.storage.driver_errors import DriverErrors, TryAgain
from seatweb.storage.migrations import COMMAND, is_migrated
from seatweb.storage.statements import Statements

T = TypeVar("T")
P = ParamSpec("P")

ACQUIRE_SECONDS: Final = 0.9  # after that, a request is refused with 503
STATEMENT_SECONDS: Final = 3.0
ATTEMPTS: Final = 4  # the first, and three more after deadlocks or serialization failures

# The server's timeouts are shorter than the client's, so that no statement goes on running after the client gave up.
SERVER_SETTINGS: Final = {
    "statement_timeout": "2500",
    # A waiting statement occupies a connection. Longer than deadlock_timeout (1 s), so that deadlocks are detected.
    "lock_timeout": "1500",
    "idle_in_transaction_session_timeout": "5000",
    "jit": "off",
    "timezone": "UTC",
}
# Sent with the others when a connection begins; a session that does not have it is behind a connection pooler.
DIRECT: Final = "seatweb.direct"

log = structlog.get_logger(__name__)


class DatabaseState(Struct, frozen=True):
    """Whether the database is of use now."""

    writable: bool
    migrated: bool


class _Connection(asyncpg.Connection):
    """A connection of the pool."""

    def get_reset_query(self) -> str:
        """Return no query: our statements leave no session state, and a reset would cost a round trip per use."""
        return ""


class Database:
    """A connection pool: use `run` to read, `write` to change data in one statement, `transaction` for several."""

    def __init__(self, url: str, constraints: Constraints, *, size: int, application: str = COMMAND) -> None:
        """Open at most `size` connections, named `application`, when it is entered with `async with`.

        `constraints` maps the schema's constraints to the errors to raise when they are violated.
        """
        self._url = url
        self._size = size
        self._application = application
        self._errors = DriverErrors(constraints)
        self._limits = ""  # the statements that set SERVER_SETTINGS in a transaction, behind a connection pooler
        # Writers hold a connection while they queue for a section, so a quarter of the pool is reserved for readers.
        self._writers = asyncio.Semaphore(max(1, size - size // 4))
        # The pool's own queue is unfair: a newcomer can take a released connection before those already waiting.
        self._connections = asyncio.Semaphore(size)

    async def __aenter__(self) -> Self:
        """Open the first connections, and find out whether a connection pooler such as PgBouncer is in between."""
        try:
            self._pool = await self._open({**SERVER_SETTINGS, DIRECT: "yes"})
        except asyncpg.ProtocolViolationError:  # PgBouncer refuses settings that it does not know
            direct = False
        else:
            async with self._pool.acquire() as connection:
                direct = await connection.fetchval("select current_setting($1, true)", DIRECT) == "yes"
            if not direct:
                await self._pool.close()
        if not direct:
            log.info("DATABASE_URL points to a connection pooler, so statements are not prepared in advance")
            self._limits = "; ".join(f"set local {name} = '{value}'" for name, value in SERVER_SETTINGS.items())
            self._pool = await self._open({}, cached_statements=0)
        return self

    async def _open(self, settings: Mapping[str, str], *, cached_statements: int = 100) -> asyncpg.Pool[Any]:
        url = DatabaseUrl.parse(self._url)
        return await asyncpg.create_pool(
            url.dsn,
            min_size=min(self._size, 10),  # the first rush need not wait until connections are open
            max_size=self._size,
            timeout=url.connect_seconds,
            command_timeout=STATEMENT_SECONDS,
            server_settings={"application_name": self._application, **url.session, **settings},
            connection_class=_Connection,
            statement_cache_size=cached_statements,
        )

    async def __aexit__(self, *exception: object) -> None:
        """Close all connections."""
        try:
            await asyncio.wait_for(self._pool.close(), 1)
        except TimeoutError:
            self._pool.terminate()

    async def run(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run `work` with these values on one connection and return its result; each statement commits by itself.

        Raises:
            Overloaded: no connection became free in time, or the server did not answer.
            SeatwebError: a statement violated the constraint of this rule, or `work` raised it.
        """
        return await self._with_retries(lambda sql: work(sql, *values, **named), explicit=False)

    async def write(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Do the same as `run`, for work that changes data; some connections stay reserved for readers."""
        async with self._slot(self._writers):
            return await self._with_retries(lambda sql: work(sql, *values, **named), explicit=False)

    async def transaction(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run `work` in one transaction, commit it, and return the result of `work`.

        After a deadlock or a serialization failure `work` runs again, at most three times.

        Raises:
            Overloaded: no connection became free in time, or the server did not answer.
            SeatwebError: a statement violated the constraint of this rule, or `work` raised it; all is rolled back.
        """
        async with self._slot(self._writers):
            return await self._with_retries(lambda sql: work(sql, *values, **named), explicit=True)

    @asynccontextmanager
    async def _slot(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        """Take a slot from the semaphore, first come, first served; release it on exit."""
        if slots.locked():
            try:
                async with asyncio.timeout(ACQUIRE_SECONDS):
                    await slots.acquire()
            except TimeoutError:
                log.warning(
                    "no database connection became free in time",
                    waiting="writer" if slots is self._writers else "reader",
                )
                raise Overloaded from None
        else:
            await slots.acquire()  # does not wait
        try:
            yield
        finally:
            slots.release()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._slot(self._connections), self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            yield connection

    async def _with_retries(self, work: Callable[[Statements], Awaitable[T]], *, explicit: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._errors.translated():
                    async with self._connection() as connection:
                        if not explicit:
                            return await work(Statements(connection, self._each))
                        async with self._transaction(connection):
                            return await work(Statements(connection))
            except TryAgain:
                if attempt < ATTEMPTS:
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise Overloaded

    @property
    def _each(self) -> Callable[[Any], AbstractAsyncContextManager[None]] | None:
        """What to enter around each statement outside a transaction."""
        return self._transaction if self._limits else None

    @asynccontextmanager
    async def _transaction(self, connection: Any) -> AsyncIterator[None]:  # noqa: ANN401 - a pool's connection
        async with connection.transaction():
            if self._limits:  # a pooler may give each transaction another session
                await connection.execute(self._limits)
            yield

    async def state(self) -> DatabaseState:
        """Return whether the database can be written to, and whether every migration has been applied.

        Raises:
            Overloaded: the database did not answer.
        """
        with self._errors.translated():
            async with self._connection() as connection:
                writable = await connection.fetchval(
                    "select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'"
                )
                return DatabaseState(writable=writable, migrated=await is_migrated(connection))
