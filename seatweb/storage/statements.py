"""The named statements of `sql/queries/` on one connection: what the typed queries are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiosql.queries
    import asyncpg


class Statements:
    """The statements on one connection."""

    def __init__(
        self,
        connection: asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any],
        statements: aiosql.queries.Queries,
    ) -> None:
        self._connection = connection
        self._statements = statements

    async def _all(self, name: str, /, **parameters: object) -> list[Mapping[str, Any]]:
        return [row async for row in getattr(self._statements, name)(self._connection, **parameters)]

    async def _one(self, name: str, /, **parameters: object) -> Any:  # noqa: ANN401 - a row or a value
        return await getattr(self._statements, name)(self._connection, **parameters)
