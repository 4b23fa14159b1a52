"""Handle booking requests, at most once per idempotency key (IETF draft "The Idempotency-Key HTTP Header Field")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.bookings import Bookings, HoldsBySeat
from seatweb.booking.errors import AlreadyCancelled, IdempotencyKeyReused, RequestInProgress
from seatweb.booking.model import Booking
from seatweb.booking.queries import StoredAnswer
from seatweb.booking.seats import get_booking, lock_confirmed_booking
from seatweb.booking.window import BookingWindow
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

Encode: TypeAlias = Callable[[Booking], tuple[int, str]]
"""Returns the status and the body of the answer that says that a booking was made or moved."""


class BookingRequest(Struct, frozen=True):
    """What a request asks to book: a seat, or any free one if `seat_id` is None (in `section`, if one is given)."""

    day: date | None
    """None means today."""
    seat_id: int | None
    section: str | None = None


class IdempotentAnswer(Struct, frozen=True):
    """The answer to a request with an idempotency key."""

    status: int
    body: str
    replayed: bool = False


class _Meaning(Struct, frozen=True, omit_defaults=True):
    """What a request with an idempotency key asks for; stored with its answer, to recognise the same request."""

    seat_id: int | None
    section: str | None = None
    day: date | None = None
    day_named: bool = False
    """Whether the request named the day; if not, `day` is the day on which it arrived."""
    moved: int | None = None
    """The booking to move, whatever its day; None if the request is to book."""

    def same_as(self, stored: str) -> bool:
        """Return whether the stored request asked for the same, however the two are written."""
        try:
            first = msgspec.json.decode(stored, type=_Meaning)
        except msgspec.DecodeError:  # stored by an older version, as a hash: the key alone decides
            return True
        repeated = msgspec.structs.replace(self, day=first.day, day_named=first.day_named)
        # Without a day, a request that is repeated after midnight still means the day before.
        return repeated == first and (self.day == first.day or not (self.day_named or first.day_named))


class BookingRequests:
    """Does what requests ask for; at most once per idempotency key, if they have one."""

    def __init__(self, database: Database, bookings: Bookings, window: BookingWindow) -> None:
        self._database = database
        self._bookings = bookings
        self._window = window

    async def book(self, user: User, request: BookingRequest, session_id: UUID | None) -> Booking:
        """Book what the request asks for, and return the booking.

        Raises:
            SeatwebError: as `Bookings.book` or `Bookings.book_any` does.
        """
        day = request.day or self._window.today()
        if request.seat_id is None:
            return await self._bookings.book_any(user, day, request.section, session_id)
        return await self._bookings.book(user, request.seat_id, day, session_id)

    async def book_once(
        self, user: User, request: BookingRequest, session_id: UUID | None, key: str, encode: Encode
    ) -> IdempotentAnswer:
        """Book and return the answer, or return the answer that the key's first booking got.

        Raises:
            IdempotencyKeyReused: the key was used for something else before.
            RequestInProgress: another request with this key is being answered now.
            SeatwebError: as `book` does; nothing is stored, so that the same request may succeed later.
        """
        day = request.day or self._window.today()
        seat_id, section = request.seat_id, request.section
        meaning = _Meaning(seat_id=seat_id, section=section, day=day, day_named=request.day is not None)
        if replayed := await self._replay(user, key, meaning):
            return replayed

        async def book(sql: Statements, holds: HoldsBySeat) -> Booking:
            if seat_id is None:
                return await self._bookings.book_any_in(sql, user, day, section, session_id, holds)
            return await self._bookings.book_in(sql, user, seat_id, day, session_id, holds)

        return await self._once(user, key, meaning, day, book, encode)

    async def move_once(
        self, user: User, booking_id: int, seat_id: int, session_id: UUID | None, key: str, encode: Encode
    ) -> IdempotentAnswer:
        """Move the booking and return the answer, or return the answer that the key's first move got.

        Raises:
            SeatwebError: as `book_once` and `Bookings.move` do.
        """
        meaning = _Meaning(seat_id=seat_id, moved=booking_id)
        if replayed := await self._replay(user, key, meaning):
            return replayed
        day = await self._bookings.day_to_move(user, booking_id, seat_id)

        async def move(sql: Statements, holds: HoldsBySeat) -> Booking:
            booking = await lock_confirmed_booking(sql, booking_id, user.id)
            return await self._bookings.move_in(sql, user, booking, seat_id, session_id, holds)

        return await self._once(user, key, meaning, day, move, encode)

    async def cancel(self, user: User, booking_id: int, session_id: UUID | None) -> Booking:
        """Cancel the booking and return it; a repeated request returns it too.

        Raises:
            SeatwebError: as `Bookings.cancel` does, except for a booking that is cancelled already.
        """
        try:
            return await self._bookings.cancel(user, booking_id, session_id)
        except AlreadyCancelled:
            return await self._database.run(get_booking, booking_id, user.id)

    async def _replay(self, user: User, key: str, meaning: _Meaning) -> IdempotentAnswer | None:
        return await self._database.run(_find_answer, user, key, meaning)

    async def _once(
        self,
        user: User,
        key: str,
        meaning: _Meaning,
        day: date,
        work: Callable[[Statements, HoldsBySeat], Awaitable[Booking]],
        encode: Encode,
    ) -> IdempotentAnswer:
        """Do the work and store its answer in one transaction, so that neither exists without the other."""
        holds: HoldsBySeat | None = None

        async def answer(sql: Statements) -> IdempotentAnswer:
            if not await queries.try_idempotency_lock(sql, user.id, key):
                raise RequestInProgress(retry_after=1)
            if replayed := await _find_answer(sql, user, key, meaning):
                return replayed
            nonlocal holds
            if holds is None:  # count a request here, so not if it is repeated, and once if its transaction runs again
                holds = await self._bookings.admit(user, day)
            status, body = encode(await work(sql, holds))
            fingerprint = msgspec.json.encode(meaning).decode()
            stored = StoredAnswer(fingerprint=fingerprint, status=status, body=body)
            await queries.store_answer(sql, user.id, key, stored)
            return IdempotentAnswer(status, body)

        async with self._bookings.changing(user, day) as outcome:
            answered = await self._database.transaction(answer)
            outcome.changed = not answered.replayed
        return answered


async def _find_answer(sql: Statements, user: User, key: str, meaning: _Meaning) -> IdempotentAnswer | None:
    stored = await queries.find_answer(sql, user.id, key)
    if stored is None:
        return None
    if not meaning.same_as(stored.fingerprint):
        raise IdempotencyKeyReused
    return IdempotentAnswer(stored.status, stored.body, replayed=True)
