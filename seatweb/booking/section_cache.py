"""Section views in Redis: a copy that saves work, never one that decides.

A view is kept under the generation that was read in the same statement as its seats, and looked for under a generation
that was read from PostgreSQL first. So a change in between makes the key unused, never wrong, and nothing has to be
deleted (docs/decisions/0002).
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
    """The section views of a day, by section id and generation; with Redis away, every view is a miss."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[SeatView, ...]).decode

    async def get(self, day: date, generations: Iterable[tuple[Section, int]]) -> dict[int, tuple[SeatView, ...]]:
        """Return the seats of those sections that are known at exactly these generations, by section id."""
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
        """Keep the seats of sections by (section id, generation), for five minutes at most."""
        values = {_key(day, *where): self._encode(seats) for where, seats in views.items()}
        try:
            await self._redis.set_many(values, VIEW_SECONDS)
        except RedisAway:
            return


def _key(day: date, section_id: int, generation: int) -> str:
    # One hash tag for the whole day, so that a cluster can answer one MGET for all its sections.
    return f"view:{{{day.isoformat()}}}:{section_id}:{generation}"
