"""Handle booking requests, at most once per idempotency key (IETF draft "The Idempotency-Key HTTP Header Field")."""

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


class BookingRequest(Struct, frozen=True):
    """What a request asks to book: a seat, or any free one if `seat_id` is None (in `section`, if one is given)."""

    day: date | None
    """None means today."""
    seat_id: int | None
    section: str | None = None


class IdempotentAnswer(Struct, frozen=True):
    """The answer to a request with an idempotency key."""

    answer: StoredAnswer
    refusal: SeatwebError | None = None
    """Why this request booked nothing; None if it did, or if the answer is a replay."""
    replayed: bool = False


class BookingRequests:
    """Books what requests ask for, at most once per idempotency key."""

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
        self,
        user: User,
        request: BookingRequest,
        session_id: UUID | None,
        key: str,
        fingerprint: str,
        encode: Callable[[Booking | SeatwebError], tuple[int, str]],
    ) -> IdempotentAnswer:
        """Book and return the answer, or replay the first answer to this key; `encode` returns its status and body.

        The answer is stored in the transaction of the booking, so neither exists without the other. Refusals are stored
        too: a retry never books what the first request was refused. Replays do not count against the user's limit.

        Raises:
            IdempotencyKeyReused: the key was used with another request before.
            RequestInProgress: another request with this key is being answered now.
            TooManyAttempts: the user has booked or moved too often.
            Overloaded: the outcome is unknown; a retry with the same key settles it.
        """
        if stored := await self._database.run(_find_answer, user.id, key, fingerprint):
            return IdempotentAnswer(stored, replayed=True)
        day = request.day or self._window.today()
        holds = await self._bookings.admit(user, day)

        async def book(sql: Statements) -> Booking:
            if request.seat_id is None:
                return await self._bookings.book_any_in(sql, user, day, request.section, session_id, holds)
            return await self._bookings.book_in(sql, user, request.seat_id, day, session_id, holds)

        async def answer(sql: Statements) -> IdempotentAnswer:
            if not await queries.try_idempotency_lock(sql, user.id, key):
                raise RequestInProgress(retry_after=1)
            if stored := await _find_answer(sql, user.id, key, fingerprint):
                return IdempotentAnswer(stored, replayed=True)
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
            await queries.store_answer(sql, user.id, key, stored)
            return IdempotentAnswer(stored, refusal)

        async with self._bookings.changing(user, day) as outcome:
            answered = await self._database.transaction(answer)
            outcome.changed = not answered.replayed and answered.refusal is None
        return answered


async def _find_answer(sql: Statements, user_id: int, key: str, fingerprint: str) -> StoredAnswer | None:
    stored = await queries.find_answer(sql, user_id, key)
    if stored is not None and stored.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return stored
