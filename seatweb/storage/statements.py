"""Run the named statements of `sql/queries/` on one connection. A domain's `queries` module wraps them in types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

import aiosql
import aiosql.queries

from seatweb.storage import resources

if TYPE_CHECKING:
    import asyncpg


@cache
def load_statements() -> aiosql.queries.Queries:
    """Return the statements in `sql/queries/`."""
    statements: aiosql.queries.Queries = aiosql.from_path(resources.folder("sql") / "queries", "asyncpg")
    return statements


class Statements:
    """Runs the named statements on one connection; inside `Database.transaction`, in one transaction."""

    def __init__(
        self,
        connection: asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any],
        each: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        """Enter `each` with the connection around every statement."""
        self._connection = connection
        self._each = each
        self._statements = load_statements()

    async def all(self, name: str, /, **parameters: object) -> list[Mapping[str, Any]]:
        """Return all rows of a statement whose name has no suffix."""
        if self._each:
            async with self._each(self._connection):
                return [row async for row in getattr(self._statements, name)(self._connection, **parameters)]
        return [row async for row in getattr(self._statements, name)(self._connection, **parameters)]

    async def one(self, name: str, /, **parameters: object) -> Any:  # noqa: ANN401 - a row or a value
        """Return a statement's row (`^`), value (`$`) or status (`!`), as the suffix of its name says."""
        if self._each:
            async with self._each(self._connection):
                return await getattr(self._statements, name)(self._connection, **parameters)
        return await getattr(self._statements, name)(self._connection, **parameters)
