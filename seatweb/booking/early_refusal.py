"""Refuse users who are too late for a seat before their booking statement queues for the section's lock.

This decides nothing: the database does. But a booking that is refused in the end would meanwhile occupy a connection
that users who want other seats need (docs/decisions/0016).
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Final

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.errors import DayAlreadyBooked, SeatTaken
from seatweb.errors import Overloaded
from seatweb.storage.batching import Batcher
from seatweb.storage.caching import BoundedDict
from seatweb.storage.database import ACQUIRE_SECONDS, Database

SEATS_KEPT: Final = 20_000

_Key = tuple[int, date]


class EarlyRefusal:
    """Asks who has a seat that several users want; concurrent requests share one query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: BoundedDict[_Key, None] = BoundedDict(SEATS_KEPT)  # seats that someone tried to book recently
        self._sitters = Batcher(self._find_sitters)

    async def check(self, user: User, seat_id: int, day: date) -> None:
        """Check that the seat is free, if someone in this process has tried to book it before.

        Raises:
            SeatTaken, DayAlreadyBooked: someone else, or the user, has the seat.
            Overloaded: there was no answer in time.
        """
        seat = (seat_id, day)
        if seat not in self._wanted:
            self._wanted[seat] = None
            return
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                sitter = await self._sitters.get(seat)
        except TimeoutError:
            raise Overloaded from None
        raise_if_taken(user, sitter)

    async def _find_sitters(self, wanted: list[_Key]) -> list[int | None]:
        sitters = await self._database.run(queries.find_sitters, {*wanted})
        return [sitters.get(seat) for seat in wanted]


def raise_if_taken(user: User, sitter: int | None) -> None:
    """Check that nobody has the seat; `sitter` is the id of the user who has it.

    Raises:
        SeatTaken, DayAlreadyBooked: someone else, or the user, has it.
    """
    if sitter is not None:
        raise DayAlreadyBooked if sitter == user.id else SeatTaken
