"""Book, move and cancel: the rules and the transactions. The database decides, never the cache.

Lock order: every transaction locks the user's account first, then generations in the order of day and section, then
other users' bookings, so that transactions cannot deadlock (docs/decisions/0001).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.day_views import DayViews
from seatweb.booking.early_refusal import EarlyRefusal, raise_if_taken
from seatweb.booking.errors import (
    BookingNotFound,
    DayAlreadyBooked,
    NoFreeSeat,
    OutsideBookingWindow,
    SeatClosed,
    SeatHeld,
    SeatNotFound,
    SectionNotFound,
)
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.model import Booking, CancelledBooking, Hold
from seatweb.booking.queries import LockedBooking
from seatweb.booking.seats import get_booking, get_open_seat, get_seat, lock_confirmed_booking
from seatweb.booking.window import BookingWindow
from seatweb.errors import Overloaded, SeatwebError
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.ids import is_id
from seatweb.storage.statements import Statements

ENDED_SHOWN: Final = 50

HoldsBySeat = Mapping[int, Hold]
"""The holds of a day, by seat id."""


class Outcome(Struct):
    """The result of the work inside `Bookings.changing`; set `changed` to False if it changed nothing."""

    changed: bool = True


class Bookings:
    """Books, moves, cancels and lists bookings."""

    def __init__(
        self,
        database: Database,
        views: DayViews,
        hold_store: HoldStore,
        changes: Changes,
        window: BookingWindow,
        limits: Limits,
    ) -> None:
        self._database = database
        self._views = views
        self._hold_store = hold_store
        self._changes = changes
        self._window = window
        self._limits = limits
        self._early_refusal = EarlyRefusal(database)

    # Book

    async def book(self, user: User, seat_id: int, day: date, session_id: UUID | None = None) -> Booking:
        """Book the seat for the user on the day, and return the booking.

        Raises:
            SeatTaken, SeatHeld, DayAlreadyBooked, SeatClosed, SeatNotFound, OutsideBookingWindow, TooManyAttempts:
                nothing was changed.
            Overloaded: it is unknown whether the seat was booked; the user's list of bookings shows it.
        """
        self._window.check(day)
        if not is_id(seat_id):
            raise SeatNotFound
        await self._early_refusal.check(user, seat_id, day)
        holds = await self.admit(user, day)
        async with self.changing(user, day):
            return await self._database.write(_book, user, seat_id, day, session_id, holds)

    async def book_any(
        self, user: User, day: date, section: str | None = None, session_id: UUID | None = None
    ) -> Booking:
        """Book the free seat with the most room around it, in the given section or else in the emptiest one.

        Raises:
            NoFreeSeat, DayAlreadyBooked, SectionNotFound, OutsideBookingWindow, TooManyAttempts: nothing was changed.
            Overloaded: it is unknown whether the seat was booked; the user's list of bookings shows it.
        """
        self._window.check(day)
        holds = await self.admit(user, day)
        # Refuse users who are too late before they queue for the section's lock.
        sections = await self._database.run(_check_any_free, user, day, section, holds)
        async with self.changing(user, day):
            return await self._database.write(_book_any, user, day, sections, session_id, holds)

    async def book_in(
        self, sql: Statements, user: User, seat_id: int, day: date, session_id: UUID | None, holds: HoldsBySeat
    ) -> Booking:
        """Do the same as `book` in the caller's transaction; the caller has called `admit` and entered `changing`."""
        self._window.check(day)
        if not is_id(seat_id):
            raise SeatNotFound
        raise_if_taken(user, await queries.find_sitter(sql, seat_id, day))
        return await _book(sql, user, seat_id, day, session_id, holds)

    async def book_any_in(
        self, sql: Statements, user: User, day: date, section: str | None, session_id: UUID | None, holds: HoldsBySeat
    ) -> Booking:
        """Do the same as `book_any`, under the conditions of `book_in`."""
        self._window.check(day)
        sections = await _check_any_free(sql, user, day, section, holds)
        return await _book_any(sql, user, day, sections, session_id, holds)

    # Move

    async def move(self, user: User, booking_id: int, seat_id: int, session_id: UUID | None = None) -> Booking:
        """Move the user's booking to another seat in one transaction; if it is refused, the first seat is kept.

        Raises:
            BookingNotFound, SeatTaken, SeatHeld, SeatClosed, SeatNotFound, OutsideBookingWindow, TooManyAttempts:
                nothing was changed.
            Overloaded: it is unknown whether the booking was moved; the user's list of bookings shows it.
        """
        day = await self.day_to_move(user, booking_id, seat_id)
        holds = await self.admit(user, day)

        async def work(sql: Statements) -> Booking:
            booking = await lock_confirmed_booking(sql, booking_id, user.id)
            return await self.move_in(sql, user, booking, seat_id, session_id, holds)

        async with self.changing(user, day):
            return await self._database.transaction(work)

    async def day_to_move(self, user: User, booking_id: int, seat_id: int) -> date:
        """Return the day of the booking that is to be moved.

        Raises:
            BookingNotFound: the user has no such booking.
            SeatNotFound: no seat can have this id.
        """
        if not is_id(seat_id):
            raise SeatNotFound
        return await self.day_of(user, booking_id)

    async def move_of_day(self, user: User, day: date, seat_id: int, session_id: UUID | None = None) -> Booking:
        """Do the same as `move` for the user's booking on the day."""
        self._window.check(day)
        booking = await self.of_day(user, day)
        if booking is None:
            raise BookingNotFound(reason="none_to_move")
        return await self.move(user, booking.id, seat_id, session_id)

    async def move_in(
        self,
        sql: Statements,
        user: User,
        booking: LockedBooking,
        seat_id: int,
        session_id: UUID | None,
        holds: HoldsBySeat,
    ) -> Booking:
        """Do the same as `move` for a locked, confirmed booking, under the conditions of `book_in`.

        The caller has called `day_to_move`, too.
        """
        self._window.check(booking.day)
        if booking.seat_id == seat_id:
            return await get_booking(sql, booking.id, user.id)
        target = await get_open_seat(sql, seat_id)
        _check_hold(holds, seat_id, user)
        source = await get_seat(sql, booking.seat_id)
        await queries.bump_generations(sql, [source.section_id, target.section_id], booking.day)
        await queries.move_booking(sql, booking, seat_id, session_id)
        return replace(await get_booking(sql, booking.id, user.id), moved_from=booking.seat_id)

    # Cancel

    async def cancel(self, user: User, booking_id: int, session_id: UUID | None = None) -> Booking:
        """Cancel the user's booking and return the cancelled booking.

        Raises:
            BookingNotFound: the user has no such booking.
            AlreadyCancelled: it is already cancelled.
            OutsideBookingWindow: its day is over.
            Overloaded: it is unknown whether the booking was cancelled; the user's list of bookings shows it.
        """

        async def work(sql: Statements) -> Booking:
            booking = await lock_confirmed_booking(sql, booking_id, user.id)
            return await self.cancel_in(sql, user, booking, session_id)

        async with self.changing(user, await self.day_of(user, booking_id)):
            return await self._database.transaction(work)

    async def cancel_in(self, sql: Statements, user: User, booking: LockedBooking, session_id: UUID | None) -> Booking:
        """Do the same as `cancel` for a locked, confirmed booking, in the caller's transaction."""
        if booking.day < self._window.today():
            raise OutsideBookingWindow(reason="booking_past")
        seat = await get_seat(sql, booking.seat_id)
        await queries.bump_generations(sql, [seat.section_id], booking.day)
        await queries.cancel_booking(sql, booking.id, session_id)
        return await get_booking(sql, booking.id, user.id)

    # List

    async def of_day(self, user: User, day: date) -> Booking | None:
        """Return the user's confirmed booking on the day."""
        return await self._database.run(queries.find_booking_of_day, user.id, day)

    async def upcoming(self, user: User) -> list[Booking]:
        """Return the user's confirmed bookings from today on, soonest first."""
        return await self._database.run(queries.list_confirmed_bookings, user.id, self._window.today(), date.max)

    async def between(self, user: User, first_day: date, last_day: date) -> list[Booking]:
        """Return the user's confirmed bookings between the days, inclusive, soonest first."""
        return await self._database.run(queries.list_confirmed_bookings, user.id, first_day, last_day)

    async def just_cancelled(self, user: User, seconds: int, kept: list[int]) -> list[CancelledBooking]:
        """Return the user's bookings that were cancelled less than `seconds` ago, or are among `kept`, soonest first.

        Left out are those of past days, and of days that the user has booked again since.
        """
        return await self._database.run(
            queries.list_just_cancelled_bookings, user.id, self._window.today(), seconds, kept
        )

    async def ended(self, user: User) -> list[Booking]:
        """Return the user's past and cancelled bookings, latest first; 50 at most."""
        return await self._database.run(queries.list_ended_bookings, user.id, self._window.today(), ENDED_SHOWN)

    async def page(
        self, user: User, first_day: date, last_day: date, status: str | None, after: tuple[date, int], rows: int
    ) -> list[Booking]:
        """Return up to `rows` bookings of the user between the days, inclusive, after the one with this day and id."""
        return await self._database.run(queries.list_bookings, user.id, first_day, last_day, status, after, rows)

    async def day_of(self, user: User, booking_id: int) -> date:
        """Return the day of one of the user's bookings, whatever its status.

        Raises:
            BookingNotFound: the user has no such booking.
        """
        if not is_id(booking_id):
            raise BookingNotFound
        return (await self._database.run(get_booking, booking_id, user.id)).day

    # Before and after

    async def admit(self, user: User, day: date) -> HoldsBySeat:
        """Count one booking or move against the user's limit, and return the holds of the day, by seat id.

        Raises:
            TooManyAttempts: the user has booked or moved too often.
        """
        # Concurrently, so that both share one round trip to Redis.
        _, holds = await asyncio.gather(self._limits.booking(user.id), self._hold_store.active(day))
        return holds

    @asynccontextmanager
    async def changing(self, user: User, day: date) -> AsyncIterator[Outcome]:
        """Once the work inside is done, signal that the day changed and end the user's holds on that day.

        A refusal changed nothing, so there is no signal. After any other error the outcome is unknown, so there is one.
        """
        outcome = Outcome()
        try:
            yield outcome
        except BaseException as error:
            if not isinstance(error, SeatwebError) or isinstance(error, Overloaded):
                self._changed(user, day)
            raise
        if outcome.changed:
            self._changed(user, day)

    def _changed(self, user: User, day: date) -> None:
        self._hold_store.end_soon(day, user.id)
        self._changes.signal(day)


async def _book(
    sql: Statements, user: User, seat_id: int, day: date, session_id: UUID | None, holds: HoldsBySeat
) -> Booking:
    _check_hold(holds, seat_id, user)
    booking = await queries.book_seat(sql, seat_id, user.id, day, session_id)
    if booking is None:
        await get_open_seat(sql, seat_id)
        raise SeatClosed  # it was closed when we tried, and has been opened since
    return booking


def _check_hold(holds: HoldsBySeat, seat_id: int, user: User) -> None:
    hold = holds.get(seat_id)
    if hold is not None and hold.user_id != user.id and hold.seconds_left:
        raise SeatHeld(seconds=hold.seconds_left)


async def _check_any_free(sql: Statements, user: User, day: date, section: str | None, holds: HoldsBySeat) -> list[int]:
    """Return the ids of the sections to search.

    Raises:
        SectionNotFound: there is no such section.
        DayAlreadyBooked: the user has a seat on that day.
        NoFreeSeat: none is free.
    """
    generations = await queries.read_generations(sql, [day])
    sections = [found.id for found, _ in generations[day] if section is None or found.name == section]
    if not sections and section is not None:
        raise SectionNotFound
    if await queries.find_booking_of_day(sql, user.id, day):
        raise DayAlreadyBooked
    if not await queries.any_free_seat(sql, sections, day, _held_by_others(holds, user)):
        raise NoFreeSeat
    return sections


async def _book_any(
    sql: Statements, user: User, day: date, sections: list[int], session_id: UUID | None, holds: HoldsBySeat
) -> Booking:
    booking_id = await queries.book_any_seat(sql, user.id, day, sections, _held_by_others(holds, user), session_id)
    if booking_id is None:
        raise NoFreeSeat
    return await get_booking(sql, booking_id, user.id)


def _held_by_others(holds: HoldsBySeat, user: User) -> list[int]:
    return [seat_id for seat_id, hold in holds.items() if hold.user_id != user.id]
