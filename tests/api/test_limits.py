"""Limits in the API: 429 with Retry-After, and the same request succeeds after that time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import asyncpg
import httpx
import pytest
import redis
from seatweb.settings import Backends

from tests.api.conftest import refused, responses, running_programs
from tests.support import Clock, Site, together


def assert_too_many(answer: httpx.Response, seconds: int) -> None:
    problem = refused(answer, 429, "too_many_attempts")
    assert 0 < int(answer.headers["retry-after"]) <= seconds
    assert problem["detail"].startswith("Too many attempts. Try again ")


@pytest.mark.usefixtures("short_retries")
@pytest.mark.parametrize("name", ["john", "nobody"])
async def test_failed_sign_ins_are_limited_and_existing_tokens_still_work(site: Site, name: str) -> None:
    async with httpx.AsyncClient(base_url=site.url, timeout=30) as http:
        john = {"username": "john", "password": "secret"}
        token = (await http.post("/auth/register", json=john)).json()["access_token"]
        wrong = {"username": name, "password": "wrong"}
        answers = await together(*(http.post("/auth/login", json=wrong) for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 30}
        for answer in (*answers, await http.post("/auth/login", json=wrong | {"password": "secret"})):
            if answer.status_code == 429:
                assert_too_many(answer, 3600)
        headers = {"authorization": f"Bearer {token}"}
        assert (await http.get("/me", headers=headers)).status_code == 200
        assert (await http.post("/bookings", json={"seat_id": 7}, headers=headers)).status_code == 201


async def test_registrations_are_limited(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_LIMIT_REGISTRATIONS="2/hour")
    async with httpx.AsyncClient(base_url=site.url) as http:
        for name in ("john", "john", "jane"):  # attempts to register a taken username count too
            answer = await http.post("/auth/register", json={"username": name, "password": "secret"})
        assert_too_many(answer, 3600)


async def test_bookings_and_moves_are_limited_and_work_after_the_wait(
    start_site: Callable[..., Site], clock: Clock, connection: asyncpg.Connection, redis_url: str
) -> None:
    site = start_site(SEATWEB_LIMIT_BOOKINGS="4/hour")
    async with running_programs(site, 2) as (ada, grace):
        days = [str(clock.ahead(n)) for n in range(10)]
        answers = await together(*(ada.book(7, booking_date=day, key=f"key-{day}") for day in days))
        assert Counter(answer.status_code for answer in answers) == {201: 4, 429: 6}
        for answer in answers:
            if answer.status_code == 429:
                assert_too_many(answer, 3600)
        assert await connection.fetchval("select count(*) from bookings") == 4
        assert (await grace.book(8)).status_code == 201
        # A 429 is not stored for the key: after its Retry-After, the same request books.
        for day in days:
            while (answer := await ada.book(7, booking_date=day, key=f"key-{day}")).status_code == 429:
                age_attempts(redis_url, int(answer.headers["retry-after"]))
            assert answer.status_code == 201
        assert await connection.fetchval("select count(*) from bookings where user_id = $1", ada.user.id) == 10
        booking = (await ada.get("/bookings")).json()[0]["id"]
        moves = await together(*(ada.move(booking, seat_id) for seat_id in range(10, 20)))
        assert 429 in Counter(answer.status_code for answer in moves)


def age_attempts(redis_url: str, seconds: int) -> None:
    """Make all counted attempts older by some seconds."""
    with redis.Redis.from_url(redis_url) as store:
        for key in store.keys("limit:*"):
            for place, at in enumerate(store.lrange(key, 0, -1)):
                store.lset(key, place, str(int(at) - 1000 * seconds))


async def test_requests_are_limited_per_user_and_per_address(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_LIMIT_REQUESTS="5/hour")
    async with running_programs(site, 2) as (ada, grace), httpx.AsyncClient(base_url=site.url) as http:
        answers = [await ada.get("/me") for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        for path in ("/me", "/seats", "/sections", "/bookings", "/me?x=1&x=2"):
            assert_too_many(await ada.get(path), 3600)
        assert_too_many(await ada.book(7), 3600)
        assert (await grace.get("/me")).status_code == 200
        strangers = [await http.get("/me", headers={"authorization": f"Bearer {n}"}) for n in range(6)]
        assert [answer.status_code for answer in strangers] == [401] * 5 + [429]
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/")).status_code == 200  # pages are not limited as API requests


async def test_requests_are_not_limited_by_default(site: Site) -> None:
    async with running_programs(site, 1) as (ada,):
        answers = await together(*(ada.get("/me") for _ in range(120)))
        assert {answer.status_code for answer in answers} == {200}


async def test_the_openapi_document_lists_the_limits(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        api = (await http.get("/openapi.json")).json()
    for path, methods in api["paths"].items():
        for operation in methods.values():
            answer = responses(api, operation).get("429")
            assert (answer is None) == path.startswith("/health"), path
            if answer:
                assert set(answer["content"]["application/problem+json"]["examples"]) == {"too_many_attempts"}
                assert "Retry-After" in answer["headers"]


async def test_limits_hold_without_redis(
    start_site: Callable[..., Site], without_redis: Backends, clock: Clock
) -> None:
    site = start_site(with_backends=without_redis, SEATWEB_LIMIT_BOOKINGS="8/hour", SEATWEB_WORKERS=2)
    async with running_programs(site, 1) as (ada,):
        answers = [await ada.book(7, booking_date=str(clock.ahead(n))) for n in range(10)]
        assert Counter(answer.status_code for answer in answers) == {201: 4, 429: 6}


async def test_replayed_answers_do_not_count_as_bookings(start_site: Callable[..., Site]) -> None:
    """A program on a bad connection may send the same request many times."""
    site = start_site(SEATWEB_LIMIT_BOOKINGS="2/hour")
    async with running_programs(site, 1) as (ada,):
        answers = await together(*(ada.book(7, key="one-booking") for _ in range(10)))
        assert {answer.status_code for answer in answers} <= {201, 409}  # 409: the first is still running
        answers = [await ada.book(7, key="one-booking") for _ in range(10)]
        assert {answer.status_code for answer in answers} == {201}
        assert {answer.headers["idempotency-replayed"] for answer in answers} == {"true"}
        assert (await ada.book(8, key="another")).status_code == 409  # refused (one seat per day), but it counts
        assert_too_many(await ada.book(9, key="a-third"), 3600)


async def test_a_booking_that_postgresql_rolled_back_and_ran_again_counts_once(
    start_site: Callable[..., Site], clock: Clock, connection: asyncpg.Connection
) -> None:
    site = start_site(SEATWEB_LIMIT_BOOKINGS="2/hour")
    await connection.execute(
        "create sequence tries;"
        "create function fail_twice() returns trigger language plpgsql as $$ begin"
        " if nextval('tries') <= 2 then raise exception 'once more' using errcode = 'serialization_failure'; end if;"
        " return new; end $$;"
        "create trigger fail_twice before insert on idempotency_keys for each row execute function fail_twice()"
    )
    async with running_programs(site, 1) as (ada,):
        assert (await ada.book(7, key="rolled-back-twice")).status_code == 201
        assert await connection.fetchval("select nextval('tries')") == 4
        assert (await ada.book(7, booking_date=str(clock.ahead(1)), key="the-second")).status_code == 201
        assert_too_many(await ada.book(7, booking_date=str(clock.ahead(2)), key="a-third"), 3600)
