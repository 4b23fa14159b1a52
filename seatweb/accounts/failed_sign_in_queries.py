"""The SQL of failed sign-ins (`sql/queries/failed_sign_ins.sql`), typed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from seatweb.settings import Limit
from seatweb.storage.statements import Statements


class Counter(Struct, frozen=True):
    """What counts the attempts with one account or from one address, and how many it may hold."""

    kind: str
    key: bytes
    """A keyed hash of whose attempts these are."""
    limit: Limit


class Full(Struct, frozen=True):
    """Why an attempt cannot be counted: the seconds until it can, and whether that depends on others in progress."""

    seconds: float
    in_progress: bool


async def find_full_counter(sql: Statements, counters: Sequence[Counter], in_progress: float) -> Full | None:
    """Return what is known of those counters that are full; attempts may be in progress for so many seconds."""
    row = await sql.one("find_full_counter", **_columns(counters), in_progress=in_progress)
    return row and Full(**row)


async def count_attempt(sql: Statements, counters: Sequence[Counter]) -> dict[bytes, datetime]:
    """Count an attempt by the counters that are not full, in this order; return their keys, with its time."""
    return {row["key"]: row["counted_at"] for row in await sql.all("count_attempt", **_columns(counters))}


def _columns(counters: Sequence[Counter]) -> dict[str, list[bytes] | list[int]]:
    return {
        "keys": [counter.key for counter in counters],
        "most": [counter.limit.count for counter in counters],
        "seconds": [counter.limit.seconds for counter in counters],
    }


async def give_attempt_back(sql: Statements, key: bytes, counted_at: datetime) -> None:
    """Count the attempt no more by the counter with this key."""
    await sql.one("give_attempt_back", key=key, counted_at=counted_at)


async def prune_failed_sign_ins(sql: Statements, rows: int) -> int:
    """Forget counters that hold nothing that counts."""
    return int(await sql.one("prune_failed_sign_ins", rows=rows))
