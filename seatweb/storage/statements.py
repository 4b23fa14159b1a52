"""The named statements of `sql/queries/`, run on one connection. A domain's `queries` module gives them types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import aiosql
import aiosql.queries

from seatweb.storage import resources

if TYPE_CHECKING:
    import asyncpg

    from seatweb.storage.driver_errors import DriverErrors


@cache
def load_statements() -> aiosql.queries.Queries:
    """Return the statements of `sql/queries/`."""
    statements: aiosql.queries.Queries = aiosql.from_path(resources.folder("sql") / "queries", "asyncpg")
    return statements


class Statements:
    """The statements on one connection; inside `Database.transaction`, in one transaction."""

    def __init__(
        self, connection: asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any], errors: DriverErrors
    ) -> None:
        self._connection = connection
        self._errors = errors
        self._statements = load_statements()

    async def all(self, name: str, /, **parameters: object) -> list[Mapping[str, Any]]:
        """Return all rows of a statement that ends with no mark."""
        return [row async for row in getattr(self._statements, name)(self._connection, **parameters)]

    async def one(self, name: str, /, **parameters: object) -> Any:  # noqa: ANN401 - a row or a value
        """Return the row (`^`), the value (`$`) or the status (`!`) of a statement, as its mark says."""
        return await getattr(self._statements, name)(self._connection, **parameters)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what is done inside if it fails, and only that.

        Raises:
            SeatwebError: the rule that a constraint stands for.
        """
        with self._errors.translated():
            async with self._connection.transaction():
                yield
