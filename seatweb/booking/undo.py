"""Undo a booking, a move or a cancellation, unless the booking has changed since (docs/decisions/0021)."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.bookings import Bookings, HoldsBySeat
from seatweb.booking.errors import AlreadyUndone, CannotUndo, DayAlreadyBooked
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.model import Booking
from seatweb.booking.queries import LockedBooking
from seatweb.booking.seats import lock_booking
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

UNDO_SECONDS: Final = 10
"""How long users are offered to undo what they did. There is no deadline for doing so: an undo names what it undoes."""

Did: TypeAlias = Literal["booked", "moved", "cancelled"]


class Act(Struct, frozen=True):
    """Something that a user did with a booking, and the state in which it left the booking."""

    did: Did
    booking_id: int
    seat_id: int
    """The seat that was booked, moved to, or given up."""
    from_seat_id: int | None = None
    """The seat before a move."""

    def __post_init__(self) -> None:
        """Check that a move, and nothing else, names the seat before it."""
        if (self.did == "moved") != (self.from_seat_id is not None):
            raise ValueError

    @property
    def seat_after_undo(self) -> int | None:
        """The id of the seat that the user has once this is undone."""
        return self.seat_id if self.did == "cancelled" else self.from_seat_id


class Undo:
    """Undoes what users did."""

    def __init__(self, database: Database, hold_store: HoldStore, limits: Limits, bookings: Bookings) -> None:
        self._database = database
        self._hold_store = hold_store
        self._limits = limits
        self._bookings = bookings

    async def undo(self, user: User, act: Act, session_id: UUID | None = None) -> Booking:
        """Undo the act in one transaction, and return the booking: cancelled, moved back, or the seat booked again.

        Raises:
            AlreadyUndone, CannotUndo, SeatTaken, SeatHeld, SeatClosed, DayAlreadyBooked, BookingNotFound,
                OutsideBookingWindow, TooManyAttempts: nothing was changed.
            Overloaded: it is unknown whether it was undone; asking again settles it.
        """
        day = await self._bookings.day_of(user, act.booking_id)
        holds: HoldsBySeat = {}
        if act.did != "booked":  # like a cancellation, this needs no seat and is not limited
            _, holds = await asyncio.gather(self._limits.undo(user.id), self._hold_store.active(day))
        async with self._bookings.changing(user, day):
            return await self._database.transaction(self._undo, user, act, session_id, holds)

    async def just_done(self, user: User, booking_id: int) -> Act | None:
        """Return how the user made or last moved their booking, if they are still offered to undo that."""
        change = await self._database.run(queries.find_last_change, user.id, booking_id, UNDO_SECONDS)
        if change is None:
            return None
        did: Did = "moved" if change.from_seat_id else "booked"
        return Act(did, booking_id, change.seat_id, change.from_seat_id)

    async def _undo(
        self, sql: Statements, user: User, act: Act, session_id: UUID | None, holds: HoldsBySeat
    ) -> Booking:
        booking = await lock_booking(sql, act.booking_id, user.id)
        if act.did == "cancelled":
            await _check_cancelled(sql, user, booking, act)
            return await self._bookings.book_in(sql, user, act.seat_id, booking.day, session_id, holds)
        _check_confirmed(booking, act)
        if act.from_seat_id is None:
            return await self._bookings.cancel_in(sql, user, booking, session_id)
        return await self._bookings.move_in(sql, user, booking, act.from_seat_id, session_id, holds)


def _check_confirmed(booking: LockedBooking, act: Act) -> None:
    seat_id = booking.seat_id if booking.status == "confirmed" else None
    if seat_id == act.seat_id:
        return
    raise AlreadyUndone if seat_id == act.seat_after_undo else CannotUndo


async def _check_cancelled(sql: Statements, user: User, booking: LockedBooking, act: Act) -> None:
    last = await queries.find_last_booking_of_day(sql, user.id, booking.day)
    if last and last.id != booking.id and last.status == "confirmed":
        raise AlreadyUndone if last.seat.id == act.seat_id else DayAlreadyBooked
    # If they booked the day again and cancelled that too, the later cancellation counts.
    if booking.status != "cancelled" or booking.seat_id != act.seat_id or (last and last.id != booking.id):
        raise CannotUndo
