"""The free seats of many days at once, for the calendar.

A count is at most 0.9 s old, and the same for all viewers. Unlike those in the week above the map, it includes seats
that are on hold. Whoever holds a seat can book it, so to leave held seats out, every viewer would need a count of their
own, and every day a read from Redis. People look months ahead here, a hold is short, and the map of the day shows it.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from msgspec import Struct

from seatweb.booking import queries
from seatweb.booking.errors import SectionNotFound
from seatweb.booking.model import FreeSeats
from seatweb.booking.window import BookingWindow
from seatweb.storage.caching import TimedCache
from seatweb.storage.database import Database

MEMORY_SECONDS: Final = 0.9  # others see a change within a second
COUNTS_KEPT: Final = 256


class Days(Struct, frozen=True):
    """The days from the first to the last, in one section or in all (None)."""

    first: date
    last: date
    section: str | None


class FreeCounts:
    """Counts the free seats of each day, with one query for all days and all viewers."""

    def __init__(self, database: Database, window: BookingWindow) -> None:
        self._database = database
        self._window = window
        self._counts = TimedCache(self._count, seconds=MEMORY_SECONDS, entries=COUNTS_KEPT)

    async def get(self, days: Days, *, fresh: bool = False) -> dict[date, FreeSeats]:
        """Return the free seats of those days that can be booked; with `fresh`, counted after this call.

        Raises:
            SectionNotFound: there is no such section.
        """
        return await self._counts.get(self._clamped(days), fresh=fresh)

    def _clamped(self, days: Days) -> Days:
        """Return those days that can be booked, or today if there are none, to check that the section exists."""
        first, last = max(days.first, self._window.today()), min(days.last, self._window.last_day)
        if first > last:
            first = last = self._window.today()
        return Days(first, last, days.section)

    async def _count(self, days: Days) -> dict[date, FreeSeats]:
        counts = await self._database.run(queries.count_free_seats, days.first, days.last, days.section)
        if not counts:
            raise SectionNotFound
        return counts
