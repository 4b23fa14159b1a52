"""Section views cached in Redis. They save work; no decision relies on them.

A view is stored under the generation that was read in the same statement as its seats. A reader first reads the current
generation from PostgreSQL, then looks the view up under it. So a change in between leaves an unused key, never a wrong
one, and nothing has to be deleted (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import msgspec

from seatweb.booking.model import SeatView, Section
from seatweb.storage.redis import RedisAway, RedisClient

VIEW_SECONDS: Final = 300


class SectionCache:
    """Caches the seats of sections by day, section id and generation; while Redis is away, every lookup is a miss."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[SeatView, ...]).decode

    async def get(self, day: date, generations: Iterable[tuple[Section, int]]) -> dict[int, tuple[SeatView, ...]]:
        """Return the seats of the sections that are cached at exactly these generations, by section id."""
        wanted = list(generations)
        if not wanted:
            return {}
        try:
            found = await self._redis.get_many(_key(day, section.id, generation) for section, generation in wanted)
            return {
                section.id: self._decode(value)
                for (section, _), value in zip(wanted, found, strict=True)
                if value is not None
            }
        except (RedisAway, msgspec.MsgspecError):
            return {}

    async def put(self, day: date, views: Mapping[tuple[int, int], tuple[SeatView, ...]]) -> None:
        """Cache the seats of sections, given by (section id, generation), for five minutes."""
        values = {_key(day, *version): self._encode(seats) for version, seats in views.items()}
        try:
            await self._redis.set_many(values, VIEW_SECONDS)
        except RedisAway:
            return


def _key(day: date, section_id: int, generation: int) -> str:
    # One hash tag per day, so that in Redis Cluster one MGET can read all sections of a day.
    return f"view:{{{day.isoformat()}}}:{section_id}:{generation}"
