"""One booking of a seat at a time in this process: of all who want the same seat at once, one can have it.

This decides nothing: the database does. But those who come too late would keep connections to the database that
people who want other seats need (docs/decisions/0016).
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

TURN_SECONDS: Final = ACQUIRE_SECONDS  # for a seat's other bookings nobody waits longer than for a connection
SEATS_KEPT: Final = 20_000

_Key = tuple[int, date]


class Turn(Struct):
    """A booking of a seat that goes on in this process; others who want the seat wait for its end."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    sitter: int | None = None
    """The id of the user who got the seat by it."""
    overloaded: bool = False


class Turns:
    """The turns of every seat and day."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: BoundedDict[_Key, None] = BoundedDict(SEATS_KEPT)  # those that someone wanted here lately
        self._turns: dict[_Key, Turn] = {}
        self._sitters = Batcher(self._find_sitters)

    @asynccontextmanager
    async def take(self, user: User, seat_id: int, day: date) -> AsyncIterator[Turn]:
        """Wait while another booking of the seat goes on in this process, and look whether it got the seat.

        Raises:
            SeatTaken, DayAlreadyBooked: somebody else, or the user themself, has the seat.
            Overloaded: so it was for the one who went first, or this takes too long.
        """
        seat = (seat_id, day)
        if seat in self._wanted:  # latecomers are refused before they queue behind the winners of the section
            await self._check_free(user, seat)
        if seat in self._turns:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    while (first := self._turns.get(seat)) is not None:
                        await first.over.wait()
                        if first.overloaded:
                            raise Overloaded
                        refuse_late(user, first.sitter)
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
        refuse_late(user, sitter)

    async def _find_sitters(self, wanted: list[_Key]) -> list[int | None]:
        sitters = await self._database.run(queries.find_sitters, {*wanted})
        return [sitters.get(seat) for seat in wanted]


def refuse_late(user: User, sitter: int | None) -> None:
    """Return when nobody has the seat.

    Raises:
        SeatTaken, DayAlreadyBooked: somebody else, or the user themself, has it.
    """
    if sitter is not None:
        raise DayAlreadyBooked if sitter == user.id else SeatTaken
