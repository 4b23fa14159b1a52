"""Holds: a short reservation of a seat while its user decides.

A hold saves its user a disappointment. It is never a lock around the booking: the database decides, whoever held what.
"""

from __future__ import annotations

from datetime import date

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.errors import SeatNotFound, SeatTaken
from seatweb.booking.hold_store import GrantedHold, HoldStore
from seatweb.booking.seats import open_seat
from seatweb.booking.window import BookingWindow
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.ids import is_id
from seatweb.storage.statements import Statements


class Holds:
    """Holding a seat and letting it go."""

    def __init__(
        self, database: Database, hold_store: HoldStore, changes: Changes, window: BookingWindow, limits: Limits
    ) -> None:
        self._database = database
        self._hold_store = hold_store
        self._changes = changes
        self._window = window
        self._limits = limits

    async def hold(self, user: User, seat_id: int, day: date, token: str | None = None) -> GrantedHold | None:
        """Hold the seat for the user while they decide, instead of any other of that day.

        Nothing is held, and None comes back, with Redis away, and where the seat is theirs already.

        Raises:
            SeatHeld, SeatTaken, SeatClosed, SeatNotFound, OutsideBookingWindow: the user holds nothing new.
            TooManyAttempts: the user took too many holds.
        """
        self._window.check(day)
        if not is_id(seat_id):
            raise SeatNotFound
        await self._limits.hold(user.id)
        granted = await self._hold_store.take(day, seat_id, user.id, token)
        try:
            # Asked after the hold was taken: a booking before it is seen here, one after it ends the hold or sees it.
            sitter = await self._database.run(_find_sitter_of_open_seat, seat_id, day)
            if sitter not in {None, user.id}:
                raise SeatTaken
        except BaseException:
            await self._give_back(user, seat_id, day, granted)
            raise
        if sitter is not None:
            await self._give_back(user, seat_id, day, granted)
            return None
        if granted:
            self._changes.tell(day)
        return granted

    async def release(self, user: User, seat_id: int, day: date, token: str) -> None:
        """Let the seat go, if the user still holds it under this token; never someone else's."""
        if await self._hold_store.release(day, seat_id, user.id, token):
            self._changes.tell(day)

    async def _give_back(self, user: User, seat_id: int, day: date, granted: GrantedHold | None) -> None:
        if granted:
            await self.release(user, seat_id, day, granted.token)


async def _find_sitter_of_open_seat(sql: Statements, seat_id: int, day: date) -> int | None:
    await open_seat(sql, seat_id)
    return await queries.find_sitter(sql, seat_id, day)
