"""Holds: short reservations of seats while their users decide.

A hold spares its user a lost race. It is not a lock around the booking: the database alone decides who
gets the seat.
"""

from __future__ import annotations

from datetime import date

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.errors import SeatNotFound, SeatTaken
from seatweb.booking.hold_store import GrantedHold, HoldStore
from seatweb.booking.seats import get_open_seat
from seatweb.booking.window import BookingWindow
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.ids import is_id
from seatweb.storage.statements import Statements


class Holds:
    """Holds seats for users and releases them."""

    def __init__(
        self, database: Database, hold_store: HoldStore, changes: Changes, window: BookingWindow, limits: Limits
    ) -> None:
        self._database = database
        self._hold_store = hold_store
        self._changes = changes
        self._window = window
        self._limits = limits

    async def hold(self, user: User, seat_id: int, day: date, token: str | None = None) -> GrantedHold | None:
        """Hold the seat for the user and release any other seat they hold that day.

        Return None and hold nothing if Redis is away, or if the user has already booked the seat.

        Raises:
            SeatHeld, SeatTaken, SeatClosed, SeatNotFound, OutsideBookingWindow: the seat is not held.
            TooManyAttempts: the user has taken too many holds.
        """
        self._window.check(day)
        if not is_id(seat_id):
            raise SeatNotFound
        await self._limits.hold(user.id)
        granted = await self._hold_store.take(day, seat_id, user.id, token)
        try:
            # Check after taking the hold: an earlier booking is seen here; a later one ends the hold or is refused.
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
            self._changes.signal(day)
        return granted

    async def release(self, user: User, seat_id: int, day: date, token: str) -> None:
        """Release the seat if the user still holds it with this token."""
        if await self._hold_store.release(day, seat_id, user.id, token):
            self._changes.signal(day)

    async def _give_back(self, user: User, seat_id: int, day: date, granted: GrantedHold | None) -> None:
        if granted:
            await self.release(user, seat_id, day, granted.token)


async def _find_sitter_of_open_seat(sql: Statements, seat_id: int, day: date) -> int | None:
    await get_open_seat(sql, seat_id)
    return await queries.find_sitter(sql, seat_id, day)
