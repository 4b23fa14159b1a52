"""The API has no holds of its own, and respects those made on the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import asyncpg
import pytest
import redis
from seatweb.settings import Backends

from tests.api.conftest import Program, refused, running_programs, user_and_session
from tests.faults.support import hold
from tests.support import Clock, Site, Visitor, until

TODAY = "2026-11-23"


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def program(site: Site, visitor: Visitor) -> Program:
    """Return a program of this visitor."""
    return Program(site, *user_and_session(site, visitor))


@pytest.mark.parametrize("key", [None, "the-key-of-one-booking"])
async def test_booking_a_held_seat_is_refused_with_the_seconds_left(
    site: Site, clock: Clock, connection: asyncpg.Connection, key: str | None
) -> None:
    async with site.people(1, prefix="Zoltan") as (zoltan,), running_programs(site, 1) as (script,):
        await hold(zoltan, clock.today, 7)
        answer = await script.book(7, key=key)
        problem = refused(answer, 409, "seat_held")
        seconds = int(answer.headers["retry-after"])
        assert 85 < seconds <= 90
        assert str(seconds) in problem["detail"]
        assert "Zoltan" not in answer.text
        assert await connection.fetchval("select count(*) from bookings") == 0
        assert (await program(site, zoltan).book(7)).status_code == 201


async def test_a_move_to_a_held_seat_is_refused_and_keeps_the_first_seat(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,), running_programs(site, 1, "script") as (script,):
        await hold(ada, clock.today, 7)
        booking = (await script.book(8)).json()
        answer = await script.move(booking["id"], 7)
        refused(answer, 409, "seat_held")
        assert 85 < int(answer.headers["retry-after"]) <= 90
        assert (await script.get("/bookings")).json() == [booking]


async def test_a_held_seat_is_free_only_to_its_holder(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,), running_programs(site, 1, "script") as (script,):
        mine = program(site, ada)
        paths = ("/seats?section=A", "/seats", "/sections")
        before = {path: await script.get(path) for path in paths}
        mine_before = {path: await mine.get(path) for path in paths}
        token = await hold(ada, clock.today, 7)
        for path in paths:
            known = {"if-none-match": before[path].headers["etag"]}
            after = await script.get(path, headers=known)
            assert (after.status_code, after.headers["etag"] != known["if-none-match"]) == (200, True)
            assert after.json() != before[path].json()
            again = await script.get(path, headers={"if-none-match": after.headers["etag"]})
            assert again.status_code == 304
            unchanged = await mine.get(path, headers={"if-none-match": mine_before[path].headers["etag"]})
            assert unchanged.status_code == 304
        free = {seat["id"] for seat in (await script.get("/seats?section=A")).json()}
        assert free == {*range(1, 21)} - {7}
        availability = {seat["id"]: seat["is_available"] for seat in (await script.get("/seats?status=all")).json()}
        assert [seat_id for seat_id, available in availability.items() if not available] == [7]
        assert (await script.get("/sections")).json()[0] == {"section": "A", "seats": 20, "available": 19}
        assert (await script.get("/seats?section=B")).headers["etag"]
        await ada.post_htmx(f"/days/{TODAY}/seats/7/release", token=token)
        for path in paths:
            assert (await script.get(path)).headers["etag"] == before[path].headers["etag"]


async def test_a_hold_in_one_section_keeps_the_etag_of_another(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,), running_programs(site, 1, "script") as (script,):
        known = {"if-none-match": (await script.get("/seats?section=B")).headers["etag"]}
        await hold(ada, clock.today, 7)
        assert (await script.get("/seats?section=B", headers=known)).status_code == 304


async def test_any_books_no_seat_that_someone_else_holds(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,), running_programs(site, 2, "script") as (first, second):
        await connection.execute("update seats set closed = id not in (61, 62)")
        await hold(ada, clock.today, 61)
        assert (await first.post("/bookings", {"any": True, "section": "D"})).json()["seat_id"] == 62
        refused(await second.post("/bookings", {"any": True}), 409, "no_free_seat")
        refused(await second.post("/bookings", {"any": True, "section": "D"}), 409, "no_free_seat")
        assert (await program(site, ada).post("/bookings", {"any": True})).json()["seat_id"] == 61


async def test_booking_any_seat_through_the_api_ends_the_users_hold(
    site: Site, clock: Clock, store: redis.Redis
) -> None:
    async with site.people(1) as (ada,):
        mine = program(site, ada)
        for seat_id, key in ((7, None), (8, "a-key")):
            await hold(ada, clock.today, 7)
            booking = await mine.book(seat_id, key=key)
            assert booking.status_code == 201
            await until(lambda: store.keys("holds:*") == [])
            await mine.cancel(booking.json()["id"])


async def until_outbox_is_sent(site: Site, store: redis.Redis) -> None:
    """Wait until Redis has run all commands queued so far: book a held seat, and wait until its hold is gone."""
    async with site.people(1, prefix="last") as (last,):
        await hold(last, site.clock.today, 80)
        await last.book(site.clock.today, 80)
        await until(lambda: not store.hexists("holds:{2026-11-23}", "80"))


@pytest.mark.parametrize("key", [None, "the-key-of-one-booking"])
async def test_a_refused_booking_keeps_the_users_hold(
    site: Site, clock: Clock, store: redis.Redis, key: str | None
) -> None:
    async with site.people(1) as (ada,), running_programs(site, 1, "script") as (script,):
        await script.book(8)
        await hold(ada, clock.today, 7)
        refused(await program(site, ada).book(8, key=key), 409, "seat_taken")
        await until_outbox_is_sent(site, store)
        assert store.hkeys("holds:{2026-11-23}") == ["7"]


async def test_a_replayed_answer_keeps_a_later_hold(site: Site, clock: Clock, store: redis.Redis) -> None:
    async with site.people(1) as (ada,):
        mine = program(site, ada)
        first = await mine.book(8, key="a-key")
        await hold(ada, clock.today, 7)  # in order to move there
        again = await mine.book(8, key="a-key")
        assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
        await until_outbox_is_sent(site, store)
        assert store.hkeys("holds:{2026-11-23}") == ["7"]


async def test_programs_book_without_redis(start_site: Callable[..., Site], without_redis: Backends) -> None:
    site = start_site(with_backends=without_redis)
    async with running_programs(site, 2, "script") as (first, second):
        assert len((await first.get("/seats")).json()) == 80
        assert (await first.book(7)).status_code == 201
        refused(await second.book(7), 409, "seat_taken")
        assert len((await second.get("/seats")).json()) == 79
