"""Races over HTTP with real commits: promises 1, 3 and 8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import asyncpg
import httpx
import pytest

from tests.support import NO_LIMITS, Clock, Site, one, says, soup, together, until_definite


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    """Start a site without limits, since no person does as much in a minute as these tests."""
    return start_site(**NO_LIMITS)


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_one_of_100_users_gets_the_seat(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(100) as people:
        answers = await together(
            *(until_definite(partial(visitor.book, clock.today, 7)) for visitor in people), at_a_time=40
        )
        assert statuses(answers) == {303: 1, 409: 99}
        assert await connection.fetchval("select count(*) from bookings") == 1
        assert await connection.fetchval("select generation from generations") == 1


async def test_a_user_who_wants_five_seats_gets_one(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        seats = (1, 2, 25, 47, 80)
        clicks = [partial(ada.book, clock.today, seat) for _ in range(10) for seat in seats]
        answers = await together(*map(until_definite, clicks))
        assert set(statuses(answers)) <= {303, 409}
        booked = {answer.headers["location"] for answer in answers if answer.status_code == 303}
        assert len(booked) == 1  # booking one's own seat again is no error
        assert await connection.fetchval("select count(*) from bookings") == 1
        assert await connection.fetchval("select count(*) from audit where action = 'book'") == 1


@pytest.mark.parametrize(("first", "second"), [(7, 8), (7, 43)])
async def test_two_users_who_want_each_others_seats_do_not_deadlock(
    site: Site, clock: Clock, connection: asyncpg.Connection, first: int, second: int
) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, first)
        await grace.book(clock.today, second)
        for _ in range(15):
            answers = await together(
                ada.post(f"/days/{clock.today}/seats/{second}/move"),
                grace.post(f"/days/{clock.today}/seats/{first}/move"),
            )
            assert statuses(answers) == {409: 2}
        rows = await connection.fetch("select seat_id from bookings where status = 'confirmed' order by user_id")
        assert [row["seat_id"] for row in rows] == [first, second]


async def test_twenty_users_move_at_once(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    """Each of twenty users wants the next user's seat, and the last a free one: a chain of moves."""
    async with site.people(20) as people:
        await together(*(visitor.book(clock.today, seat) for seat, visitor in enumerate(people, 1)))
        answers = await together(
            *(visitor.post(f"/days/{clock.today}/seats/{seat + 1}/move") for seat, visitor in enumerate(people, 1))
        )
        assert set(statuses(answers)) <= {303, 409}
        assert statuses(answers)[303] >= 1
        assert (
            await connection.fetchval("select count(distinct seat_id) from bookings where status = 'confirmed'") == 20
        )


async def test_a_user_cancels_and_books_the_day_again(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        for seat in (7, 7, 43, 7):
            assert (await ada.book(clock.today, seat)).status_code == 303
            cancel = one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")
            assert (await ada.post(str(cancel["action"]))).status_code == 303
            await ada.post(str(cancel["action"]))
            assert "This booking is already cancelled." in says(await ada.get("/my/bookings"))
        rows = await connection.fetch("select status, count(*) from bookings group by status")
        assert [tuple(row) for row in rows] == [("cancelled", 4)]


async def test_concurrent_cancellations_cancel_once(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        action = str(one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")["action"])
        answers = await together(*(ada.post(action) for _ in range(8)))
        assert statuses(answers) == {303: 8}
        assert await connection.fetchval("select count(*) from audit where action = 'cancel'") == 1


async def test_a_rush_for_free_seats_books_each_once(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(100) as people:
        answers = await together(
            *(until_definite(partial(visitor.post, f"/days/{clock.today}/any")) for visitor in people)
        )
        assert statuses(answers) == {303: 80, 409: 20}
        assert (
            await connection.fetchval("select count(distinct seat_id) from bookings where status = 'confirmed'") == 80
        )


async def test_every_user_sees_only_their_own_seat_as_theirs(site: Site, clock: Clock) -> None:
    """Promise 8, with fifteen users at once."""
    async with site.people(15) as people:
        await together(*(visitor.book(clock.today, seat) for seat, visitor in enumerate(people, 1)))
        views = await together(*(visitor.statuses(clock.today) for visitor in people))
        for number, view in enumerate(views, 1):
            mine = [label for label, status in view.items() if status == "mine"]
            assert mine == [f"{'AB'[(number - 1) // 20]}-{(number - 1) % 20 + 1:02}"]
