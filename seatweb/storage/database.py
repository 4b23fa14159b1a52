"""PostgreSQL: a pool of connections, and transactions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import asyncpg
import structlog

from seatweb.errors import Constraints, Overloaded
from seatweb.storage.driver_errors import DriverErrors, TryAgain
from seatweb.storage.migrations import CONNECT_SECONDS, is_migrated
from seatweb.storage.statements import Statements

T = TypeVar("T")
P = ParamSpec("P")

ACQUIRE_SECONDS: Final = 0.9  # who waits longer is told to come back
STATEMENT_SECONDS: Final = 3.0
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


class _Connection(asyncpg.Connection):
    """A connection of the pool."""

    def get_reset_query(self) -> str:
        """Return nothing: our statements leave nothing behind, and asking would be a second round trip for each use."""
        return ""


class Database:
    """A pool of connections: `run` reads, `write` changes something by one statement, `transaction` by several."""

    def __init__(self, url: str, constraints: Constraints, *, size: int) -> None:
        """Take at most `size` connections once it is opened (`async with`).

        `constraints` says which error a violation of each constraint of the schema is.
        """
        self._url = url
        self._size = size
        self._errors = DriverErrors(constraints)
        # Writers queue for a section and keep a connection meanwhile; a few are always left for who only reads.
        self._writers = asyncio.Semaphore(max(1, size - size // 4))
        # The pool's own queue is unfair: who comes while one is given back takes it before those who were waiting.
        self._connections = asyncio.Semaphore(size)

    async def __aenter__(self) -> Self:
        """Open the first connections."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=min(self._size, 10),  # the first rush need not wait for connections to be opened
            max_size=self._size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=SERVER_SETTINGS,
            connection_class=_Connection,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close all connections."""
        try:
            await asyncio.wait_for(self._pool.close(), 1)
        except TimeoutError:
            self._pool.terminate()

    async def run(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run `work` with these values on one connection and return what it returns; each statement commits by itself.

        Raises:
            Overloaded: no connection came free in time, or the server did not answer.
            SeatwebError: the rule that a constraint stands for, or what `work` raises.
        """
        return await self._attempts(lambda sql: work(sql, *values, **named), explicit=False)

    async def write(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Do what `run` does, for work that changes something: it leaves connections for those who read."""
        async with self._place(self._writers):
            return await self._attempts(lambda sql: work(sql, *values, **named), explicit=False)

    async def transaction(
        self, work: Callable[Concatenate[Statements, P], Awaitable[T]], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run `work` in one transaction and return what it returns, once that is committed.

        It may run again, up to three times, when the server asks for it (deadlock, serialization failure).

        Raises:
            Overloaded: no connection came free in time, or the server did not answer.
            SeatwebError: the rule that a constraint stands for, or what `work` raises; nothing is left behind.
        """
        async with self._place(self._writers):
            return await self._attempts(lambda sql: work(sql, *values, **named), explicit=True)

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

    async def _attempts(self, work: Callable[[Statements], Awaitable[T]], *, explicit: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._errors.translated():
                    async with self._connection() as connection:
                        sql = Statements(connection, self._errors)
                        if not explicit:
                            return await work(sql)
                        async with connection.transaction():
                            return await work(sql)
            except TryAgain:
                if attempt < ATTEMPTS:
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise Overloaded

    async def is_migrated(self) -> bool:
        """Return whether every migration of this version was applied.

        Raises:
            Overloaded: the database does not answer.
        """
        with self._errors.translated():
            async with self._connection() as connection:
                return await is_migrated(connection)
