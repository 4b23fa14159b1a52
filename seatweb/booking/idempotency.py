"""Answer a request once, however often it is delivered (IETF draft "The Idempotency-Key HTTP Header Field")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from seatweb.booking import queries
from seatweb.booking.errors import IdempotencyKeyReused, RequestInProgress
from seatweb.booking.model import Booking
from seatweb.booking.queries import StoredAnswer
from seatweb.errors import Overloaded, SeatwebError
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


async def answer_once(
    database: Database,
    user_id: int,
    key: str,
    fingerprint: str,
    work: Callable[[Statements], Awaitable[Booking]],
    encode: Callable[[Booking | SeatwebError], tuple[int, str]],
) -> tuple[StoredAnswer, bool]:
    """Return the first answer to requests with this key, and whether it was given before.

    The answer is kept in the transaction of the work: either both are there or neither is. A refusal is an answer too,
    so a later delivery does not do what the first one was told it could not.

    Raises:
        IdempotencyKeyReused: the key came with another request before.
        RequestInProgress: another delivery is being answered now.
        Overloaded: there is no answer yet; asking again with the key settles it.
    """

    async def run(sql: Statements) -> tuple[StoredAnswer, bool]:
        if not await queries.try_idempotency_lock(sql, user_id, key):
            raise RequestInProgress(retry_after=1)
        known = await queries.find_answer(sql, user_id, key)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise IdempotencyKeyReused
            return known, True
        try:
            async with sql.savepoint():
                outcome: Booking | SeatwebError = await work(sql)
        except Overloaded:
            raise
        except SeatwebError as error:
            outcome = error
        status, body = encode(outcome)
        answer = StoredAnswer(fingerprint=fingerprint, status=status, body=body)
        await queries.keep_answer(sql, user_id, key, answer)
        return answer, False

    return await database.transaction(run)
