"""Book, cancel, move, and see: the rules and the transactions. The database decides, never the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct, field

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.changes import Changes
from seatweb.booking.errors import (
    BookingNotFound,
    DayAlreadyBooked,
    NoFreeSeat,
    OutsideBookingWindow,
    SeatClosed,
    SeatHeld,
    SeatNotFound,
    SeatTaken,
    SectionNotFound,
)
from seatweb.booking.holds import Reservation, Reservations
from seatweb.booking.model import Booking, DayView, Hold, Seat, Section, SectionView, Status
from seatweb.booking.queries import SeatInSection, SectionSeats
from seatweb.booking.section_cache import SectionCache
from seatweb.errors import Overloaded, SeatwebError
from seatweb.limits.limits import Limits
from seatweb.storage.batching import Together
from seatweb.storage.caching import Kept, Memory
from seatweb.storage.database import ACQUIRE_SECONDS, Database
from seatweb.storage.statements import Statements

DAYS_AHEAD: Final = 90
ENDED_SHOWN: Final = 50
LARGEST_ID: Final = 2**63 - 1  # a PostgreSQL bigint
MEMORY_SECONDS: Final = 0.25
TURN_SECONDS: Final = ACQUIRE_SECONDS  # for a seat's other bookings nobody waits longer than for a connection
SEATS_KEPT: Final = 20_000
SECTION_VIEWS_KEPT: Final = 512  # of all sections and days, in each process


class Change(Struct):
    """What is done inside `Bookings.changing`; set `made` to False when it turned out to be nothing."""

    made: bool = True


class Turn(Struct):
    """One booking of a seat that goes on in this process, for those who want the seat as well and wait for its end."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    sitter: int | None = None
    """The id of the user who got the seat by it."""
    overloaded: bool = False


class Bookings:
    """What people can do with seats; `today` returns the current day in the site's time zone.

    `names` says whether those who are signed in see who has which seat.
    """

    def __init__(
        self,
        database: Database,
        cache: SectionCache,
        reservations: Reservations,
        changes: Changes,
        today: Callable[[], date],
        limits: Limits,
        *,
        names: bool = True,
    ) -> None:
        self._database = database
        self._cache = cache
        self._reservations = reservations
        self._changes = changes
        self.today = today
        self.names = names
        self._limits = limits
        self._wanted: Kept[tuple[date, int], None] = Kept(SEATS_KEPT)  # those that someone wanted here lately
        self._turns: dict[tuple[date, int], Turn] = {}
        self._sitters = Together(self._find_sitters)
        self._sections: Kept[tuple[int, date], SectionView] = Kept(SECTION_VIEWS_KEPT)
        self._days = Memory(self._read_day, seconds=MEMORY_SECONDS, entries=2 * DAYS_AHEAD)
        self._weeks = Memory(self._read_week, seconds=MEMORY_SECONDS, entries=10_000)
        changes.listen(self._day_changed)

    @property
    def last_day(self) -> date:
        """The last day that can be booked."""
        return self.today() + timedelta(days=DAYS_AHEAD)

    def can_be_booked(self, day: date) -> bool:
        """Return whether the day is neither over nor too far ahead."""
        return self.today() <= day <= self.last_day

    # Views. What is kept in the process is a quarter of a second old at most, and never older than a change made here;
    # whoever made a change elsewhere asks for a fresh one.

    async def view(self, day: date, *, fresh: bool = False) -> DayView:
        """Return what the day looks like."""
        if self.can_be_booked(day):  # other days are seldom looked at, and there is no end of them
            return await self._days.get(day, fresh=fresh)
        return await self._read_day(day)

    def peek(self, day: date) -> DayView | None:
        """Return what the day looks like if it is known without asking anyone."""
        return self._days.peek(day)

    async def week(self, user: User, day: date, *, fresh: bool = False) -> dict[date, Booking]:
        """Return the user's confirmed bookings in the week of the day, by day."""
        return await self._weeks.get((user.id, monday_of(day)), fresh=fresh)

    def peek_week(self, user: User, day: date) -> dict[date, Booking] | None:
        """Return the user's bookings in the week of the day if they are known without asking anyone."""
        return self._weeks.peek((user.id, monday_of(day)))

    async def _read_day(self, day: date) -> DayView:
        generations = await self._database.run(queries.read_generations, day)  # first: see the cache
        kept = self.can_be_booked(day)
        holds = await self._reservations.active(day) if kept else {}
        views = {
            section.id: view
            for section, generation in generations
            if (view := self._sections.get((section.id, day))) and view.generation == generation
        }
        unknown = [pair for pair in generations if pair[0].id not in views]
        if unknown:
            views |= await self._read_sections(day, unknown, kept=kept)
        return DayView(day=day, sections=tuple(views[section.id] for section, _ in generations), holds=holds)

    async def _read_sections(
        self, day: date, wanted: list[tuple[Section, int]], *, kept: bool
    ) -> dict[int, SectionView]:
        """Return sections at these generations, or newer ones, from Redis or from the database."""
        cached = await self._cache.get(day, wanted) if kept else {}
        found = {
            section.id: SectionSeats(generation=generation, seats=cached[section.id])
            for section, generation in wanted
            if section.id in cached
        }
        missing = [section.id for section, _ in wanted if section.id not in found]
        if missing:
            built = await self._database.run(queries.read_seats, missing, day)
            found |= built
            if kept:
                await self._cache.put(day, {(id_, new.generation): new.seats for id_, new in built.items()})
        views = {}
        for section, generation in wanted:
            new = found.get(section.id) or SectionSeats(generation=generation, seats=())
            views[section.id] = SectionView(section=section, day=day, generation=new.generation, seats=new.seats)
            if kept:
                self._sections[section.id, day] = views[section.id]
        return views

    async def _read_week(self, key: tuple[int, date]) -> dict[date, Booking]:
        user_id, monday = key
        sunday = monday + min(timedelta(days=6), date.max - monday)  # the calendar's last week has five days
        found = await self._database.run(queries.list_confirmed_bookings, user_id, monday, sunday)
        return {booking.day: booking for booking in found}

    def _day_changed(self, day: date | None) -> None:
        for known in [day] if day else [self.today() + timedelta(days=n) for n in range(DAYS_AHEAD + 1)]:
            self._days.forget(known)

    @asynccontextmanager
    async def changing(self, user: User, day: date) -> AsyncIterator[Change]:
        """Tell everyone about what is done inside, once it is done; whatever the user holds that day ends with it.

        Nobody is told of a refusal: it changed nothing. Without an answer it is not known, so everyone looks.
        """
        change = Change()
        try:
            yield change
        except BaseException as error:
            if not isinstance(error, SeatwebError) or isinstance(error, Overloaded):
                self._changed(user, day)
            raise
        if change.made:
            self._changed(user, day)

    def _changed(self, user: User, day: date) -> None:
        self._weeks.forget((user.id, monday_of(day)))
        self._changes.tell(day, self._reservations.ending(day, user.id))

    # Holds

    async def holds(self, day: date) -> dict[int, Hold]:
        """Return who is choosing which seat now, by seat id; nobody with Redis away."""
        return await self._reservations.active(day)

    async def hold(self, user: User, seat_id: int, day: date, token: str | None = None) -> Reservation | None:
        """Hold the seat for the user while they decide, instead of any other of that day.

        Nothing is held, and None comes back, with Redis away, and where the seat is theirs already.

        Raises:
            SeatHeld, SeatTaken, SeatClosed, SeatNotFound, OutsideBookingWindow: the user holds nothing new.
            TooManyAttempts: the user took too many holds.
        """
        self._check_day(day)
        _check_id(seat_id, SeatNotFound)
        await self._limits.hold(user.id)
        reservation = await self._reservations.hold(day, seat_id, user.id, token)
        try:
            # Asked after the hold was taken: a booking before it is seen here, one after it ends the hold or sees it.
            sitter = await self._database.run(lambda sql: self._can_be_held(sql, seat_id, day))
            if sitter not in {None, user.id}:
                raise SeatTaken
        except BaseException:
            await self._let_go(user, seat_id, day, reservation)
            raise
        if sitter is not None:
            await self._let_go(user, seat_id, day, reservation)
            return None
        if reservation:
            self._changes.tell(day)
        return reservation

    async def _let_go(self, user: User, seat_id: int, day: date, reservation: Reservation | None) -> None:
        if reservation:
            await self.release(user, seat_id, day, reservation.token)

    async def release(self, user: User, seat_id: int, day: date, token: str) -> None:
        """Let the seat go, if the user still holds it under this token; never someone else's."""
        if await self._reservations.release(day, seat_id, user.id, token):
            self._changes.tell(day)

    @staticmethod
    async def _can_be_held(sql: Statements, seat_id: int, day: date) -> int | None:
        await _open_seat(sql, seat_id)
        return await queries.find_sitter(sql, seat_id, day)

    # Bookings

    async def admit(self, user: User, day: date) -> dict[int, Hold]:
        """Count what the user is about to book or to move, and return who is choosing which seat now, by seat id.

        Raises:
            TooManyAttempts: the user booked or moved too often.
        """
        return self._reservations.read(await self._limits.booking(user.id, self._reservations.asking(day)))

    async def book(self, user: User, seat_id: int, day: date, session_id: UUID | None = None) -> Booking:
        """Give the user the seat for the day and return the booking.

        Raises:
            SeatTaken, SeatHeld, DayAlreadyBooked, SeatClosed, SeatNotFound, OutsideBookingWindow, TooManyAttempts:
                nothing was changed.
            Overloaded: whether it was booked is not known; the user's bookings tell.
        """
        self._check_day(day)
        _check_id(seat_id, SeatNotFound)
        if (day, seat_id) in self._wanted:  # who comes too late learns it before they queue behind the winners
            await self._check_free(user, seat_id, day)
        async with self._turn(user, seat_id, day) as turn:
            holds = await self.admit(user, day)
            self._wanted[day, seat_id] = None
            async with self.changing(user, day):
                booking = await self._database.write(lambda sql: self._book(sql, user, seat_id, day, session_id, holds))
            turn.sitter = user.id
            return booking

    async def _check_free(self, user: User, seat_id: int, day: date) -> None:
        """Refuse who comes too late.

        Raises:
            SeatTaken, DayAlreadyBooked: somebody else, or the user themself, has the seat.
            Overloaded: that is not known in time.
        """
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                sitter = await self._sitters.get((seat_id, day))
        except TimeoutError:
            raise Overloaded from None
        _refuse_late(user, sitter)

    async def _find_sitters(self, wanted: list[tuple[int, date]]) -> list[int | None]:
        sitters = await self._database.run(queries.find_sitters, {*wanted})
        return [sitters.get(seat) for seat in wanted]

    @asynccontextmanager
    async def _turn(self, user: User, seat_id: int, day: date) -> AsyncIterator[Turn]:
        """Wait while another booking of the seat goes on in this process, and look whether it got the seat.

        This decides nothing: the database does. But of all who want a seat in the same moment one can have it, and the
        others would keep places in the database that those who want other seats need.

        Raises:
            SeatTaken, DayAlreadyBooked: somebody else, or the user themself, got it meanwhile.
            Overloaded: so it was for the one who went first, or this takes too long.
        """
        seat = (day, seat_id)
        if seat in self._turns:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    while (first := self._turns.get(seat)) is not None:
                        await first.over.wait()
                        if first.overloaded:
                            raise Overloaded
                        _refuse_late(user, first.sitter)
                        await self._check_free(user, seat_id, day)
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
            turn.over.set()

    async def book_in(
        self,
        sql: Statements,
        user: User,
        seat_id: int,
        day: date,
        session_id: UUID | None,
        holds: Mapping[int, Hold],
    ) -> Booking:
        """Do what `book` does, in a transaction of the caller's, who does it inside `changing`."""
        self._check_day(day)
        _check_id(seat_id, SeatNotFound)
        _refuse_late(user, await queries.find_sitter(sql, seat_id, day))
        return await self._book(sql, user, seat_id, day, session_id, holds)

    async def _book(
        self,
        sql: Statements,
        user: User,
        seat_id: int,
        day: date,
        session_id: UUID | None,
        holds: Mapping[int, Hold],
    ) -> Booking:
        _check_hold(holds, seat_id, user)
        booking = await queries.book_seat(sql, seat_id, user.id, day, session_id)
        if booking is None:
            await _open_seat(sql, seat_id)
            raise SeatClosed  # it was opened just now
        return booking

    async def book_any(
        self, user: User, day: date, section: str | None = None, session_id: UUID | None = None
    ) -> Booking:
        """Give the user a free seat with room around it, in the section or in the emptiest one.

        Raises:
            NoFreeSeat, DayAlreadyBooked, SectionNotFound, OutsideBookingWindow, TooManyAttempts: nothing was changed.
            Overloaded: whether it was booked is not known; the user's bookings tell.
        """
        self._check_day(day)
        holds = await self.admit(user, day)
        # Who comes too late learns it before they queue behind the winners.
        sections = await self._database.run(lambda sql: _check_any_free(sql, user, day, section, holds))
        async with self.changing(user, day):
            return await self._database.write(lambda sql: _book_any(sql, user, day, sections, session_id, holds))

    async def book_any_in(
        self,
        sql: Statements,
        user: User,
        day: date,
        section: str | None,
        session_id: UUID | None,
        holds: Mapping[int, Hold],
    ) -> Booking:
        """Do what `book_any` does, in a transaction of the caller's, who does it inside `changing`."""
        self._check_day(day)
        sections = await _check_any_free(sql, user, day, section, holds)
        return await _book_any(sql, user, day, sections, session_id, holds)

    async def move(self, user: User, booking_id: int, seat_id: int, session_id: UUID | None = None) -> Booking:
        """Give the user's booking another seat in one step; the first seat is kept until the second is sure.

        Raises:
            BookingNotFound, SeatTaken, SeatHeld, SeatClosed, SeatNotFound, OutsideBookingWindow, TooManyAttempts:
                nothing was changed.
            Overloaded: whether it was moved is not known; the user's bookings tell.
        """
        _check_id(booking_id, BookingNotFound)
        _check_id(seat_id, SeatNotFound)

        day = await self._day_of(user, booking_id)
        holds = await self.admit(user, day)

        async def work(sql: Statements) -> Booking:
            booking = await queries.lock_booking(sql, booking_id, user.id)
            if booking is None:
                raise BookingNotFound
            self._check_day(booking.day)
            if booking.seat_id != seat_id:
                target = await _open_seat(sql, seat_id)
                _check_hold(holds, seat_id, user)
                source = await _known_seat(sql, booking.seat_id)
                await queries.bump_generations(sql, [source.section_id, target.section_id], booking.day)
                await queries.move_booking(sql, booking, seat_id, session_id)
            return await _known_booking(sql, booking_id, user.id)

        async with self.changing(user, day):
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

        async def work(sql: Statements) -> Booking:
            booking = await queries.lock_booking(sql, booking_id, user.id)
            if booking is None:
                raise BookingNotFound
            if booking.day < self.today():
                raise OutsideBookingWindow("That day is over; its booking stays in your history.")
            seat = await _known_seat(sql, booking.seat_id)
            await queries.bump_generations(sql, [seat.section_id], booking.day)
            await queries.cancel_booking(sql, booking_id, session_id)
            return await _known_booking(sql, booking_id, user.id)

        day = await self._day_of(user, booking_id)
        async with self.changing(user, day):
            return await self._database.transaction(work)

    async def _day_of(self, user: User, booking_id: int) -> date:
        return (await self._database.run(lambda sql: _known_booking(sql, booking_id, user.id))).day

    async def bookable(self, day: date) -> DayView:
        """Return what a day that can be booked looks like now, after everything that was done before this call.

        Raises:
            OutsideBookingWindow: it cannot be booked.
        """
        self._check_day(day)
        return await self.view(day, fresh=True)

    async def page(
        self, user: User, first_day: date, last_day: date, status: str | None, after: tuple[date, int], rows: int
    ) -> list[Booking]:
        """Return the user's next bookings between the days, after the one with this day and id."""
        return await self._database.run(queries.list_bookings, user.id, first_day, last_day, status, after, rows)

    async def of_day(self, user: User, day: date) -> Booking | None:
        """Return the user's confirmed booking on the day."""
        return await self._database.run(queries.find_booking_of_day, user.id, day)

    async def coming(self, user: User) -> list[Booking]:
        """Return the user's confirmed bookings from today on, soonest first."""
        return await self._database.run(queries.list_confirmed_bookings, user.id, self.today(), date.max)

    async def ended(self, user: User) -> list[Booking]:
        """Return the user's latest bookings that are over or cancelled, latest first."""
        return await self._database.run(queries.list_ended_bookings, user.id, self.today(), ENDED_SHOWN)

    def _check_day(self, day: date) -> None:
        if day < self.today():
            raise OutsideBookingWindow("That day is over.")
        if day > self.last_day:
            raise OutsideBookingWindow(f"Seats can be booked {DAYS_AHEAD} days ahead, no further.")


def nearest_free(view: DayView, seat: Seat, user_id: int | None) -> Seat | None:
    """Return the nearest seat that the user can book: in the same section by distance, else in the nearest section."""
    names = [section.section.name for section in view.sections]
    home = names.index(seat.section) if seat.section in names else 0

    def distance(index: int, other: Seat) -> tuple[int, int, int, int]:
        if index != home:
            return (abs(index - home), 0, 0, other.id)
        rows = abs(other.row - seat.row)
        return (0, rows + abs(other.column - seat.column), rows, other.id)

    free = [
        (distance(index, other.seat), other.seat)
        for index, section in enumerate(view.sections)
        for other in section.seats
        if other.seat.id != seat.id and view.status_of(other, user_id) is Status.FREE
    ]
    return min(free, key=lambda pair: pair[0])[1] if free else None


def monday_of(day: date) -> date:
    """Return the first day of the day's week."""
    return day - timedelta(days=day.weekday())


def _refuse_late(user: User, sitter: int | None) -> None:
    """Refuse who comes too late before they queue behind the winners of the section."""
    if sitter is not None:
        raise DayAlreadyBooked if sitter == user.id else SeatTaken


async def _check_any_free(
    sql: Statements, user: User, day: date, section: str | None, holds: Mapping[int, Hold]
) -> list[int]:
    """Return the ids of the sections to look in; refuse who has a seat already, and everyone when none is free."""
    generations = await queries.read_generations(sql, day)
    sections = [found.id for found, _ in generations if section is None or found.name == section]
    if not sections and section is not None:
        raise SectionNotFound
    if await queries.find_booking_of_day(sql, user.id, day):
        raise DayAlreadyBooked
    if not await queries.any_free_seat(sql, sections, day, _held_by_others(holds, user)):
        raise NoFreeSeat
    return sections


async def _book_any(
    sql: Statements,
    user: User,
    day: date,
    sections: list[int],
    session_id: UUID | None,
    holds: Mapping[int, Hold],
) -> Booking:
    booking_id = await queries.book_any_seat(sql, user.id, day, sections, _held_by_others(holds, user), session_id)
    if booking_id is None:
        raise NoFreeSeat
    return await _known_booking(sql, booking_id, user.id)


def _held_by_others(holds: Mapping[int, Hold], user: User) -> list[int]:
    return [seat_id for seat_id, hold in holds.items() if hold.user_id != user.id]


def _check_hold(holds: Mapping[int, Hold], seat_id: int, user: User) -> None:
    hold = holds.get(seat_id)
    if hold is not None and hold.user_id != user.id and hold.seconds_left:
        raise SeatHeld(seconds=hold.seconds_left)


def _check_id(value: int, error: type[SeatNotFound | BookingNotFound]) -> None:
    if not 0 < value <= LARGEST_ID:
        raise error


async def _known_seat(sql: Statements, seat_id: int) -> SeatInSection:
    seat = await queries.find_seat(sql, seat_id)
    if seat is None:
        raise SeatNotFound
    return seat


async def _open_seat(sql: Statements, seat_id: int) -> SeatInSection:
    found = await _known_seat(sql, seat_id)
    if found.seat.closed:
        raise SeatClosed
    return found


async def _known_booking(sql: Statements, booking_id: int, user_id: int) -> Booking:
    booking = await queries.find_booking(sql, booking_id, user_id)
    if booking is None:
        raise BookingNotFound
    return booking
