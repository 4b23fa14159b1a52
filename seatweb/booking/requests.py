"""What requests ask to book, once for each key (IETF draft "The Idempotency-Key HTTP Header Field")."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import User
from seatweb.booking import queries
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import IdempotencyKeyReused, RequestInProgress
from seatweb.booking.model import Booking
from seatweb.booking.queries import StoredAnswer
from seatweb.booking.window import BookingWindow
from seatweb.errors import Overloaded, SeatwebError
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


class Wish(Struct, frozen=True):
    """What a request wants to book: a seat, or any free one if `seat_id` is None (in a section, if one is named)."""

    day: date | None
    """Today if None."""
    seat_id: int | None
    section: str | None = None


class OnceAnswered(Struct, frozen=True):
    """The first answer to requests with a key."""

    answer: StoredAnswer
    refusal: SeatwebError | None = None
    """Why nothing was booked just now; None when it was, or when the answer is repeated."""
    repeated: bool = False


class BookingRequests:
    """Books what requests ask for, once for each key that a client chose."""

    def __init__(self, database: Database, bookings: Bookings, window: BookingWindow) -> None:
        self._database = database
        self._bookings = bookings
        self._window = window

    async def book(self, user: User, wish: Wish, session_id: UUID | None) -> Booking:
        """Book what the request wants, and return the booking.

        Raises:
            SeatwebError: as `Bookings.book` or `Bookings.book_any` does.
        """
        day = wish.day or self._window.today()
        if wish.seat_id is None:
            return await self._bookings.book_any(user, day, wish.section, session_id)
        return await self._bookings.book(user, wish.seat_id, day, session_id)

    async def book_once(
        self,
        user: User,
        wish: Wish,
        session_id: UUID | None,
        key: str,
        fingerprint: str,
        encode: Callable[[Booking | SeatwebError], tuple[int, str]],
    ) -> OnceAnswered:
        """Return the first answer to requests with this key; `encode` gives its status and body.

        The answer is kept in the transaction of the booking: either both are there or neither is. A refusal is an
        answer too, so a later delivery does not do what the first one was told it could not. Repeated answers do not
        count as bookings.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            RequestInProgress: another delivery is being answered now.
            TooManyAttempts: the user booked or moved too often.
            Overloaded: there is no answer yet; asking again with the key settles it.
        """
        if known := await self._database.run(_find_answer, user.id, key, fingerprint):
            return OnceAnswered(known, repeated=True)
        day = wish.day or self._window.today()
        holds = await self._bookings.admit(user, day)

        async def book(sql: Statements) -> Booking:
            if wish.seat_id is None:
                return await self._bookings.book_any_in(sql, user, day, wish.section, session_id, holds)
            return await self._bookings.book_in(sql, user, wish.seat_id, day, session_id, holds)

        async def answer(sql: Statements) -> OnceAnswered:
            if not await queries.try_idempotency_lock(sql, user.id, key):
                raise RequestInProgress(retry_after=1)
            if known := await _find_answer(sql, user.id, key, fingerprint):
                return OnceAnswered(known, repeated=True)
            refusal = None
            try:
                async with sql.savepoint():
                    outcome: Booking | SeatwebError = await book(sql)
            except Overloaded:
                raise
            except SeatwebError as error:
                outcome = refusal = error
            status, body = encode(outcome)
            stored = StoredAnswer(fingerprint=fingerprint, status=status, body=body)
            await queries.keep_answer(sql, user.id, key, stored)
            return OnceAnswered(stored, refusal)

        async with self._bookings.changing(user, day) as outcome:
            answered = await self._database.transaction(answer)
            outcome.changed = not answered.repeated and answered.refusal is None
        return answered


async def _find_answer(sql: Statements, user_id: int, key: str, fingerprint: str) -> StoredAnswer | None:
    known = await queries.find_answer(sql, user_id, key)
    if known is not None and known.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return known
