"""Promise 11: what a user did can be undone, once, and only if nothing has changed since."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from seatweb.accounts.model import User
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import (
    AlreadyCancelled,
    BookingNotFound,
    CannotUndo,
    DayAlreadyBooked,
    OutsideBookingWindow,
    SeatClosed,
    SeatHeld,
    SeatTaken,
)
from seatweb.booking.model import Booking
from seatweb.booking.undo import Act, Undo
from seatweb.errors import SeatwebError, TooManyAttempts
from seatweb.limits.limits import Rules
from seatweb.settings import Limit
from seatweb.storage.database import Database

from tests.booking.test_bookings import make_users
from tests.domain import Process
from tests.support import Clock, within


@pytest.fixture
async def users(database: Database) -> list[User]:
    return await make_users(database, 3)


@pytest.fixture
def undo(process: Process) -> Undo:
    return process.undo


async def confirmed(bookings: Bookings, user: User) -> list[str]:
    return [booking.seat.label for booking in await bookings.upcoming(user)]


async def outcome(action: Awaitable[Booking]) -> str:
    try:
        return (await action).status
    except SeatwebError as error:
        return error.code


async def test_a_booking_a_move_and_a_cancellation_are_undone_with_an_audit_row_each(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock, connection: asyncpg.Connection
) -> None:
    ada = users[0]
    booking = await bookings.book(ada, 7, clock.today)
    moved = await bookings.move(ada, booking.id, 43)
    assert moved.moved_from == 7
    back = await undo.undo(ada, Act("moved", booking.id, 43, 7))
    assert (back.id, back.seat.label) == (booking.id, "A-07")
    await bookings.cancel(ada, booking.id)
    again = await undo.undo(ada, Act("cancelled", booking.id, 7))
    assert (again.seat.label, again.status) == ("A-07", "confirmed")
    assert (await undo.undo(ada, Act("booked", again.id, 7))).status == "cancelled"
    assert await confirmed(bookings, ada) == []
    rows = await connection.fetch("select action, booking_id, seat_id, from_seat_id from audit where day is not null")
    assert [tuple(row) for row in rows] == [
        ("book", booking.id, 7, None),
        ("move", booking.id, 43, 7),
        ("move", booking.id, 7, 43),
        ("cancel", booking.id, 7, None),
        ("book", again.id, 7, None),
        ("cancel", again.id, 7, None),
    ]


async def test_undoing_twice_does_not_do_it_again(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock, connection: asyncpg.Connection
) -> None:
    ada = users[0]
    booking = await bookings.book(ada, 7, clock.today)
    await bookings.move(ada, booking.id, 8)

    async def undo_twice(act: Act) -> Counter[Any]:
        before = await connection.fetchval("select count(*) from audit")
        found = Counter(await asyncio.gather(*(outcome(undo.undo(ada, act)) for _ in range(4))))
        assert await connection.fetchval("select count(*) from audit") == before + 1
        return found

    assert await undo_twice(Act("moved", booking.id, 8, 7)) == {"confirmed": 1, "cannot_undo": 3}
    await bookings.cancel(ada, booking.id)
    assert await undo_twice(Act("cancelled", booking.id, 7)) == {"confirmed": 1, "cannot_undo": 3}
    (second,) = await bookings.upcoming(ada)
    assert await undo_twice(Act("booked", second.id, 7)) == {"cancelled": 1, "cannot_undo": 3}


async def test_a_late_undo_never_touches_what_was_done_since(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock
) -> None:
    ada = users[0]
    first = await bookings.book(ada, 7, clock.today)
    await bookings.move(ada, first.id, 8)
    with pytest.raises(CannotUndo):
        await undo.undo(ada, Act("booked", first.id, 7))
    await bookings.move(ada, first.id, 9)
    with pytest.raises(CannotUndo):
        await undo.undo(ada, Act("moved", first.id, 8, 7))
    assert await confirmed(bookings, ada) == ["A-09"]

    await bookings.cancel(ada, first.id)
    with pytest.raises(CannotUndo):
        await undo.undo(ada, Act("moved", first.id, 9, 8))
    with pytest.raises(CannotUndo):
        await undo.undo(ada, Act("cancelled", first.id, 7))  # it was A-09 that was cancelled
    second = await bookings.book(ada, 20, clock.today)
    with pytest.raises(DayAlreadyBooked):
        await undo.undo(ada, Act("cancelled", first.id, 9))
    assert await confirmed(bookings, ada) == ["A-20"]
    # Undone and cancelled again: only the later cancellation can be undone.
    await bookings.cancel(ada, second.id)
    with pytest.raises(CannotUndo):
        await undo.undo(ada, Act("cancelled", first.id, 9))
    assert await confirmed(bookings, ada) == []
    await undo.undo(ada, Act("cancelled", second.id, 20))
    assert await confirmed(bookings, ada) == ["A-20"]


async def test_an_undo_is_refused_if_the_seat_is_taken_held_or_closed_and_changes_nothing(
    bookings: Bookings, undo: Undo, process: Process, users: list[User], clock: Clock, connection: asyncpg.Connection
) -> None:
    ada, _, eve = users
    moved = await bookings.book(ada, 7, clock.today)
    await bookings.move(ada, moved.id, 8)
    cancelled = await bookings.book(ada, 7, clock.ahead(1))
    await bookings.cancel(ada, cancelled.id)
    acts = [Act("moved", moved.id, 8, 7), Act("cancelled", cancelled.id, 7)]

    async def both_are_refused(error: type[SeatwebError]) -> None:
        for act in acts:
            with pytest.raises(error):
                await undo.undo(ada, act)
        assert await confirmed(bookings, ada) == ["A-08"]

    async def nothing_is_held() -> bool:
        return not any([await process.hold_store.active(day) for day in (clock.today, clock.ahead(1))])

    for day in (clock.today, clock.ahead(1)):
        await process.hold_store.take(day, 7, eve.id, None)
    await both_are_refused(SeatHeld)
    taken = [await bookings.book(eve, 7, day) for day in (clock.today, clock.ahead(1))]
    await within(30, nothing_is_held)  # her holds end after her bookings have been confirmed
    await both_are_refused(SeatTaken)
    for booking in taken:
        await bookings.cancel(eve, booking.id)
    await connection.execute("update seats set closed = true where id = 7")
    await both_are_refused(SeatClosed)
    await connection.execute("update seats set closed = false where id = 7")
    for act in acts:
        await undo.undo(ada, act)
    assert await confirmed(bookings, ada) == ["A-07", "A-07"]


async def test_nothing_is_undone_on_a_day_that_is_over(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock
) -> None:
    ada, grace, _ = users
    booked = await bookings.book(ada, 7, clock.today)
    cancelled = await bookings.book(grace, 8, clock.today)
    await bookings.cancel(grace, cancelled.id)
    clock.today += timedelta(days=1)
    for user, act in ((ada, Act("booked", booked.id, 7)), (grace, Act("cancelled", cancelled.id, 8))):
        with pytest.raises(OutsideBookingWindow):
            await undo.undo(user, act)


async def test_another_users_act_cannot_be_undone(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock
) -> None:
    ada, eve, _ = users
    booked = await bookings.book(ada, 7, clock.today)
    cancelled = await bookings.book(ada, 8, clock.ahead(1))
    await bookings.cancel(ada, cancelled.id)
    for act in (Act("booked", booked.id, 7), Act("moved", booked.id, 7, 8), Act("cancelled", cancelled.id, 8)):
        with pytest.raises(BookingNotFound):
            await undo.undo(eve, act)
    assert (await confirmed(bookings, ada), await confirmed(bookings, eve)) == (["A-07"], [])


async def test_the_last_booking_that_the_limit_allows_can_be_undone_and_undoing_is_limited_too(
    bookings: Bookings, undo: Undo, users: list[User], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookings._limits, "_rules", Rules(bookings=Limit(2, 600)))
    ada = users[0]
    booking = await bookings.book(ada, 7, clock.today)
    await bookings.move(ada, booking.id, 8)
    with pytest.raises(TooManyAttempts):
        await bookings.move(ada, booking.id, 9)
    booking = await undo.undo(ada, Act("moved", booking.id, 8, 7))
    await bookings.cancel(ada, booking.id)
    booking = await undo.undo(ada, Act("cancelled", booking.id, 7))
    await bookings.cancel(ada, booking.id)
    with pytest.raises(TooManyAttempts):  # or cancelling and undoing in turn would be without limit
        await undo.undo(ada, Act("cancelled", booking.id, 7))


async def test_cancelling_twice_says_that_it_is_cancelled(bookings: Bookings, users: list[User], clock: Clock) -> None:
    booking = await bookings.book(users[0], 7, clock.today)
    await bookings.cancel(users[0], booking.id)
    for action in (bookings.cancel(users[0], booking.id), bookings.move(users[0], booking.id, 8)):
        with pytest.raises(AlreadyCancelled):
            await action
    with pytest.raises(BookingNotFound) as refused:
        await bookings.cancel(users[1], booking.id)
    assert not isinstance(refused.value, AlreadyCancelled)


async def test_what_was_cancelled_a_moment_ago_is_known_until_the_day_is_booked_again(
    bookings: Bookings, users: list[User], clock: Clock, connection: asyncpg.Connection
) -> None:
    ada = users[0]
    first, second = [await bookings.book(ada, 7, clock.ahead(n)) for n in (1, 2)]
    for booking in (first, second):
        await bookings.cancel(ada, booking.id)

    async def shown(*kept: int) -> list[int]:
        return [found.booking.id for found in await bookings.just_cancelled(ada, 10, list(kept))]

    assert await shown() == [first.id, second.id]
    (found, _) = await bookings.just_cancelled(ada, 10, [])
    assert 0 < found.seconds_left <= 10
    await connection.execute(
        "update bookings set cancelled_at = cancelled_at - interval '10 s' where id = $1", first.id
    )
    assert await shown() == [second.id]
    assert await shown(first.id) == [first.id, second.id]
    await bookings.book(ada, 8, clock.ahead(2))
    assert await shown(first.id, second.id) == [first.id]
    assert await bookings.just_cancelled(users[1], 10, [first.id]) == []
    clock.today = clock.ahead(2)
    assert await shown(first.id) == []
