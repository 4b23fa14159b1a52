"""Let one booking of a seat at a time go to the database; the others in this process wait for its result.

This decides nothing: the database does. But users who are too late would otherwise occupy database connections that
users who want other seats need (docs/decisions/0016).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

from msgspec import Struct, field

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.errors import DayAlreadyBooked, SeatTaken
from seatweb.errors import Overloaded
from seatweb.storage.batching import Batcher
from seatweb.storage.caching import BoundedDict
from seatweb.storage.database import ACQUIRE_SECONDS, Database

TURN_SECONDS: Final = ACQUIRE_SECONDS  # waiting for a turn takes no longer than waiting for a connection
SEATS_KEPT: Final = 20_000

_Key = tuple[int, date]


class Turn(Struct):
    """A booking of a seat that is in progress in this process; others who want the seat wait until it is over."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    sitter: int | None = None
    """The id of the user who got the seat, set by the caller of `Turns.take`."""
    overloaded: bool = False


class Turns:
    """The bookings that are in progress in this process, by seat and day."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: BoundedDict[_Key, None] = BoundedDict(SEATS_KEPT)  # seats that someone tried to book recently
        self._turns: dict[_Key, Turn] = {}
        self._sitters = Batcher(self._find_sitters)

    @asynccontextmanager
    async def take(self, user: User, seat_id: int, day: date) -> AsyncIterator[Turn]:
        """Wait until no other booking of the seat is in progress, and check that the seat is still free.

        Raises:
            SeatTaken, DayAlreadyBooked: someone else, or the user, has the seat.
            Overloaded: the booking in progress found the database overloaded, or the wait took too long.
        """
        seat = (seat_id, day)
        if seat in self._wanted:  # refuse users who are too late before they queue for the section's lock
            await self._check_free(user, seat)
        if seat in self._turns:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    while (current := self._turns.get(seat)) is not None:
                        await current.over.wait()
                        if current.overloaded:
                            raise Overloaded
                        raise_if_taken(user, current.sitter)
                        await self._check_free(user, seat)
            except TimeoutError:
                raise Overloaded from None
        turn = self._turns[seat] = Turn()
        try:
            yield turn
        except Overloaded:
            turn.overloaded = True
            raise
        finally:
            del self._turns[seat]
            self._wanted[seat] = None
            turn.over.set()

    async def _check_free(self, user: User, seat: _Key) -> None:
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
