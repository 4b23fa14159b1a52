"""The SQL of failed sign-ins (`sql/queries/failed_sign_ins.sql`), typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from seatweb.settings import Limit
from seatweb.storage.statements import Statements


class Counter(Struct, frozen=True):
    """A counter of attempts, for one account or one address, and its limit."""

    kind: str
    key: bytes
    """A keyed hash of the account or address."""
    limit: Limit


class FullCounter(Struct, frozen=True):
    """How long counters stay full, in seconds, and whether the end of attempts in progress may free them sooner."""

    seconds: float
    in_progress: bool


async def find_full_counter(sql: Statements, counters: Sequence[Counter], in_progress: float) -> FullCounter | None:
    """Return how long counters stay full; None if none is. Attempts may be in progress for `in_progress` seconds."""
    row = await sql.one("find_full_counter", **_columns(counters), in_progress=in_progress)
    return row and FullCounter(**row)


async def count_attempt(sql: Statements, counters: Sequence[Counter]) -> dict[bytes, datetime]:
    """Add an attempt to each counter that is not full, in this order; return their keys and the attempt's time."""
    return {row["key"]: row["counted_at"] for row in await sql.all("count_attempt", **_columns(counters))}


def _columns(counters: Sequence[Counter]) -> dict[str, list[bytes] | list[int]]:
    return {
        "keys": [counter.key for counter in counters],
        "most": [counter.limit.count for counter in counters],
        "seconds": [counter.limit.seconds for counter in counters],
    }


async def give_attempt_back(sql: Statements, key: bytes, counted_at: datetime) -> None:
    """Remove the attempt from the counter with this key."""
    await sql.one("give_attempt_back", key=key, counted_at=counted_at)


async def prune_failed_sign_ins(sql: Statements, rows: int) -> int:
    """Delete up to `rows` counters whose attempts have all expired; return how many were deleted."""
    return int(await sql.one("prune_failed_sign_ins", rows=rows))
