"""Races over HTTP that really commit: promises 1 and 3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import asyncpg
import httpx
import pytest

from tests.support import NO_LIMITS, Clock, Site, one, soup, together, until_definite


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    """Give a Seatweb that takes whatever comes: so much in a minute no one does."""
    return start_site(**NO_LIMITS)


def codes(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_three_hundred_want_one_seat(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(300) as people:
        answers = await together(
            *(until_definite(partial(visitor.book, clock.today, 7)) for visitor in people), at_a_time=40
        )
        assert codes(answers) == {303: 1, 409: 299}
        assert await connection.fetchval("select count(*) from bookings") == 1
        assert await connection.fetchval("select generation from generations") == 1


async def test_one_user_wants_five_seats_ten_times(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        seats = (1, 2, 25, 47, 80)
        clicks = [partial(ada.book, clock.today, seat) for _ in range(10) for seat in seats]
        answers = await together(*map(until_definite, clicks))
        assert set(codes(answers)) <= {303, 409}
        booked = {answer.headers["location"] for answer in answers if answer.status_code == 303}
        assert len(booked) == 1  # a repeated click on the seat that is theirs is no error
        assert await connection.fetchval("select count(*) from bookings") == 1
        assert await connection.fetchval("select count(*) from audit where action = 'book'") == 1


@pytest.mark.parametrize(("first", "second"), [(7, 8), (7, 43)])
async def test_two_users_swap_a_hundred_times(
    site: Site, clock: Clock, connection: asyncpg.Connection, first: int, second: int
) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, first)
        await grace.book(clock.today, second)
        for _ in range(100):
            answers = await together(
                ada.post(f"/days/{clock.today}/seats/{second}/move"),
                grace.post(f"/days/{clock.today}/seats/{first}/move"),
            )
            assert codes(answers) == {409: 2}
        rows = await connection.fetch("select seat_id from bookings where status = 'confirmed' order by user_id")
        assert [row["seat_id"] for row in rows] == [first, second]


async def test_everyone_moves_at_once(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    """Forty people on forty seats all want the seat of the next one, and the last a free one: a chain of moves."""
    async with site.people(40) as people:
        await together(*(visitor.book(clock.today, seat) for seat, visitor in enumerate(people, 1)))
        answers = await together(
            *(visitor.post(f"/days/{clock.today}/seats/{seat + 1}/move") for seat, visitor in enumerate(people, 1))
        )
        assert set(codes(answers)) <= {303, 409}
        assert codes(answers)[303] >= 1
        assert (
            await connection.fetchval("select count(distinct seat_id) from bookings where status = 'confirmed'") == 40
        )


async def test_cancel_and_book_again_on_one_day(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        for seat in (7, 7, 43, 7):
            assert (await ada.book(clock.today, seat)).status_code == 303
            cancel = one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")
            assert (await ada.post(str(cancel["action"]))).status_code == 303
            assert (await ada.post(str(cancel["action"]))).status_code == 404
        rows = await connection.fetch("select status, count(*) from bookings group by status")
        assert [tuple(row) for row in rows] == [("cancelled", 4)]


async def test_cancelling_twice_at_once_frees_the_seat_once(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)
        action = str(one(soup(await ada.get("/my/bookings")), "form[action$='/cancel']")["action"])
        answers = await together(*(ada.post(action) for _ in range(8)))
        assert codes(answers) == {303: 1, 404: 7}
        assert await connection.fetchval("select count(*) from audit where action = 'cancel'") == 1


async def test_a_flash_sale_sells_every_seat_once(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(160) as people:
        answers = await together(
            *(until_definite(partial(visitor.post, f"/days/{clock.today}/any")) for visitor in people)
        )
        assert codes(answers) == {303: 80, 409: 80}
        assert (
            await connection.fetchval("select count(distinct seat_id) from bookings where status = 'confirmed'") == 80
        )


async def test_the_signed_in_are_told_apart(site: Site, clock: Clock) -> None:
    """Promise 8: among many at once, everyone sees their own seat and nobody else's as theirs."""
    async with site.people(40) as people:
        await together(*(visitor.book(clock.today, seat) for seat, visitor in enumerate(people, 1)))
        views = await together(*(visitor.statuses(clock.today) for visitor in people))
        for number, view in enumerate(views, 1):
            mine = [label for label, status in view.items() if status == "mine"]
            assert mine == [f"{'AB'[(number - 1) // 20]}-{(number - 1) % 20 + 1:02}"]
