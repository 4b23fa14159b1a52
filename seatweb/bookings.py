"""Book, cancel, move, and see: the rules and the transactions. The database decides, never the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from seatweb.database import Database, Transaction
from seatweb.errors import (
    BookingNotFound,
    DayAlreadyBooked,
    NoFreeSeat,
    OutsideBookingWindow,
    SeatClosed,
    SeatNotFound,
    SeatTaken,
    SectionNotFound,
)
from seatweb.model import Booking, Seat, SectionView, User
from seatweb.queries import Queries, SeatInSection
from seatweb.section_cache import SectionCache

DAYS_AHEAD: Final = 90
ENDED_SHOWN: Final = 50
LARGEST_ID: Final = 2**63 - 1  # a PostgreSQL bigint


class Bookings:
    """What people can do with seats; `today` returns the current day in the site's time zone."""

    def __init__(self, database: Database, cache: SectionCache, today: Callable[[], date]) -> None:
        self._database = database
        self._cache = cache
        self.today = today

    @property
    def last_day(self) -> date:
        """The last day that can be booked."""
        return self.today() + timedelta(days=DAYS_AHEAD)

    async def views(self, day: date) -> list[SectionView]:
        """Return every section as it is on the day, in the order of the map."""
        generations = await self._database.run(lambda queries: queries.read_generations(day))  # first: see the cache
        cached = self._bookable(day)  # other days are seldom looked at, and there is no end of them
        known = await self._cache.get(day, generations) if cached else {}
        missing = [section.id for section, _ in generations if section.id not in known]
        if missing:
            fresh = await self._database.run(lambda queries: queries.read_seats(missing, day))
            known |= fresh
            if cached:
                numbers = {section.id: generation for section, generation in generations}
                await self._cache.put(day, {(id_, numbers[id_]): seats for id_, seats in fresh.items()})
        return [
            SectionView(section=section, day=day, generation=generation, seats=known[section.id])
            for section, generation in generations
        ]

    async def book(self, user: User, seat_id: int, day: date, session_id: UUID | None = None) -> Booking:
        """Give the user the seat for the day and return the booking.

        Raises:
            SeatTaken, DayAlreadyBooked, SeatClosed, SeatNotFound, OutsideBookingWindow: nothing was changed.
            Overloaded: whether it was booked is not known; the user's bookings tell.
        """
        return await self._database.run(lambda queries: self.book_in(queries, user, seat_id, day, session_id))

    async def book_in(
        self, queries: Queries, user: User, seat_id: int, day: date, session_id: UUID | None = None
    ) -> Booking:
        """Do what `book` does, on a connection or in a transaction of the caller's."""
        self._check_day(day)
        _check_id(seat_id, SeatNotFound)
        sitter = await queries.find_sitter(seat_id, day)
        if sitter is not None:
            raise DayAlreadyBooked if sitter == user.id else SeatTaken
        booking = await queries.book_seat(seat_id, user.id, day, session_id)
        if booking is None:
            await _open_seat(queries, seat_id)
            raise SeatClosed  # it was opened just now
        return booking

    async def book_any(
        self, user: User, day: date, section: str | None = None, session_id: UUID | None = None
    ) -> Booking:
        """Give the user a free seat with room around it, in the section or in the emptiest one.

        Raises:
            NoFreeSeat, DayAlreadyBooked, SectionNotFound, OutsideBookingWindow: nothing was changed.
            Overloaded: whether it was booked is not known; the user's bookings tell.
        """
        return await self._database.transaction(
            lambda transaction: self.book_any_in(transaction, user, day, section, session_id)
        )

    async def book_any_in(
        self, transaction: Transaction, user: User, day: date, section: str | None, session_id: UUID | None = None
    ) -> Booking:
        """Do what `book_any` does, in a transaction of the caller's."""
        self._check_day(day)
        if await transaction.find_booking_of_day(user.id, day):
            raise DayAlreadyBooked
        candidates = await transaction.sections_by_free_seats(day)
        if section is not None:
            known = {found.name: found.id for found, _ in await transaction.read_generations(day)}
            if section not in known:
                raise SectionNotFound
            candidates = [section_id for section_id in candidates if section_id == known[section]]
        for section_id in candidates:
            # A section that filled up meanwhile is let go before the next is tried, so that no two wait for each other.
            with suppress(NoFreeSeat):
                async with transaction.savepoint():
                    await transaction.bump_generations([section_id], day)  # from here on nobody else books here
                    seat_id = await transaction.first_free_seat(section_id, day)
                    booking = seat_id and await transaction.book_seat(seat_id, user.id, day, session_id)
                    if not booking:
                        raise NoFreeSeat
                    return booking
        raise NoFreeSeat

    async def move(self, user: User, booking_id: int, seat_id: int, session_id: UUID | None = None) -> Booking:
        """Give the user's booking another seat in one step; the first seat is kept until the second is sure.

        Raises:
            BookingNotFound, SeatTaken, SeatClosed, SeatNotFound, OutsideBookingWindow: nothing was changed.
            Overloaded: whether it was moved is not known; the user's bookings tell.
        """
        _check_id(booking_id, BookingNotFound)
        _check_id(seat_id, SeatNotFound)

        async def work(queries: Queries) -> Booking:
            booking = await queries.lock_booking(booking_id, user.id)
            if booking is None:
                raise BookingNotFound
            self._check_day(booking.day)
            if booking.seat_id != seat_id:
                target = await _open_seat(queries, seat_id)
                source = await _known_seat(queries, booking.seat_id)
                await queries.bump_generations([source.section_id, target.section_id], booking.day)
                await queries.move_booking(booking, seat_id, session_id)
            return await _known_booking(queries, booking_id, user.id)

        return await self._database.transaction(work)

    async def move_of_day(self, user: User, day: date, seat_id: int, session_id: UUID | None = None) -> Booking:
        """Do what `move` does with the user's booking of a day."""
        self._check_day(day)
        booking = await self.of_day(user, day)
        if booking is None:
            raise BookingNotFound("You have no booking on this day that could be moved.")
        return await self.move(user, booking.id, seat_id, session_id)

    async def cancel(self, user: User, booking_id: int, session_id: UUID | None = None) -> Booking:
        """End the user's booking and return it as it now is.

        Raises:
            BookingNotFound: the user has no such booking, or it is cancelled already.
            OutsideBookingWindow: its day is over.
            Overloaded: whether it was cancelled is not known; the user's bookings tell.
        """
        _check_id(booking_id, BookingNotFound)

        async def work(queries: Queries) -> Booking:
            booking = await queries.lock_booking(booking_id, user.id)
            if booking is None:
                raise BookingNotFound
            if booking.day < self.today():
                raise OutsideBookingWindow("That day is over; its booking stays in your history.")
            seat = await _known_seat(queries, booking.seat_id)
            await queries.bump_generations([seat.section_id], booking.day)
            await queries.cancel_booking(booking_id, session_id)
            return await _known_booking(queries, booking_id, user.id)

        return await self._database.transaction(work)

    async def check_section(self, name: str) -> None:
        """Return when there is a section of this name.

        Raises:
            SectionNotFound: there is none.
        """
        if name not in await self._database.run(lambda queries: queries.list_sections()):
            raise SectionNotFound

    async def section_views(self, day: date, section: str | None = None) -> list[SectionView]:
        """Return the views of a day that can be booked: of one section, or of all.

        Raises:
            SectionNotFound, OutsideBookingWindow: there is nothing to show.
        """
        self._check_day(day)
        views = [view for view in await self.views(day) if section is None or view.section.name == section]
        if not views and section is not None:
            raise SectionNotFound
        return views

    async def page(
        self, user: User, first_day: date, last_day: date, status: str | None, after: tuple[date, int], rows: int
    ) -> list[Booking]:
        """Return the user's next bookings between the days, after the one with this day and id."""
        return await self._database.run(
            lambda queries: queries.list_bookings(user.id, first_day, last_day, status, after, rows)
        )

    async def of_day(self, user: User, day: date) -> Booking | None:
        """Return the user's confirmed booking on the day."""
        return await self._database.run(lambda queries: queries.find_booking_of_day(user.id, day))

    async def between(self, user: User, first_day: date, last_day: date) -> list[Booking]:
        """Return the user's confirmed bookings between the days, both included, soonest first."""
        return await self._database.run(lambda queries: queries.list_confirmed_bookings(user.id, first_day, last_day))

    async def coming(self, user: User) -> list[Booking]:
        """Return the user's confirmed bookings from today on, soonest first."""
        return await self.between(user, self.today(), date.max)

    async def ended(self, user: User) -> list[Booking]:
        """Return the user's latest bookings that are over or cancelled, latest first."""
        return await self._database.run(lambda queries: queries.list_ended_bookings(user.id, self.today(), ENDED_SHOWN))

    def _bookable(self, day: date) -> bool:
        return self.today() <= day <= self.last_day

    def _check_day(self, day: date) -> None:
        if day < self.today():
            raise OutsideBookingWindow("That day is over.")
        if day > self.last_day:
            raise OutsideBookingWindow(f"Seats can be booked {DAYS_AHEAD} days ahead, no further.")


def nearest_free(views: Sequence[SectionView], seat: Seat) -> Seat | None:
    """Return the free seat nearest to this one: in its own section by distance, else in the nearest section."""
    names = [view.section.name for view in views]
    home = names.index(seat.section) if seat.section in names else 0

    def distance(index: int, other: Seat) -> tuple[int, int, int, int]:
        if index != home:
            return (abs(index - home), 0, 0, other.id)
        rows = abs(other.row - seat.row)
        return (0, rows + abs(other.column - seat.column), rows, other.id)

    free = [
        (distance(index, view.seat), view.seat)
        for index, section in enumerate(views)
        for view in section.seats
        if view.free and view.seat.id != seat.id
    ]
    return min(free, key=lambda pair: pair[0])[1] if free else None


def _check_id(value: int, error: type[SeatNotFound | BookingNotFound]) -> None:
    if not 0 < value <= LARGEST_ID:
        raise error


async def _known_seat(queries: Queries, seat_id: int) -> SeatInSection:
    seat = await queries.find_seat(seat_id)
    if seat is None:
        raise SeatNotFound
    return seat


async def _open_seat(queries: Queries, seat_id: int) -> SeatInSection:
    found = await _known_seat(queries, seat_id)
    if found.seat.closed:
        raise SeatClosed
    return found


async def _known_booking(queries: Queries, booking_id: int, user_id: int) -> Booking:
    booking = await queries.find_booking(booking_id, user_id)
    if booking is None:
        raise BookingNotFound
    return booking
