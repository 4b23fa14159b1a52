"""Requests repeated with an Idempotency-Key make one booking and get one answer, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import asyncpg
import httpx
import pytest
import redis
from seatweb.booking.hold_store import HoldStore
from seatweb.settings import Backends
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient

from tests.api.conftest import Program, Programs, blocked_backend, blocked_bookings, refused
from tests.support import NO_LIMITS, Clock, Site, together

KEY = "6f1f3f0e-8d0a-4f5e-9b53-0c5a3c2f7a11"


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    """Give a site without limits: these tests send more requests than any user would."""
    return start_site(**NO_LIMITS)


def assert_replayed(first: httpx.Response, second: httpx.Response) -> None:
    """Check that the second response is a replay of the first."""
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def only_first(answers: list[httpx.Response], status: int) -> httpx.Response:
    """Return the one answer that is not a replay; all others replay it, or were refused because it was in progress."""
    done = [answer for answer in answers if answer.status_code == status]
    assert len({answer.content for answer in done}) == 1
    for answer in answers:
        if answer not in done:
            refused(answer, 409, "request_in_progress")
            assert answer.headers["retry-after"] == "1"
    (first,) = (answer for answer in done if "idempotency-replayed" not in answer.headers)
    return first


async def counts(connection: asyncpg.Connection) -> tuple[int, int]:
    """Return the number of bookings and of idempotency keys."""
    bookings, keys = await connection.fetchrow(
        "select (select count(*) from bookings), (select count(*) from idempotency_keys)"
    ) or (0, 0)
    return bookings, keys


async def test_a_repeated_request_gets_the_first_answer(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        first = await ada.book(7, key=KEY)
        assert first.status_code == 201
        for _ in range(3):
            assert_replayed(first, await ada.book(7, key=KEY))
        assert await counts(connection) == (1, 1)
        assert await connection.fetchval("select count(*) from audit where action = 'book'") == 1


async def test_a_replay_after_cancelling_does_not_book_again(
    programs: Programs, connection: asyncpg.Connection
) -> None:
    async with programs(1) as (ada,):
        first = await ada.book(7, key=KEY)
        assert (await ada.cancel(first.json()["id"])).status_code == 200
        assert_replayed(first, await ada.book(7, key=KEY))
        assert (await ada.get("/bookings")).json() == []
        assert (await ada.book(7, key=f"{KEY}-2")).status_code == 201


async def test_a_refused_request_succeeds_once_its_reason_is_gone(
    programs: Programs, connection: asyncpg.Connection, backends: Backends, clock: Clock
) -> None:
    """As `/docs` says: wait for Retry-After, or until the seat is free, and repeat the request with the same key."""
    async with programs(2) as (ada, grace), RedisClient(backends.redis_url) as client:
        holds = HoldStore(client, RedisOutbox(client), seconds=90)
        held = await holds.take(clock.today, 7, grace.user.id)
        assert held
        refused(await ada.book(7, key=KEY), 409, "seat_held")
        with redis.Redis.from_url(backends.redis_url) as store:
            store.flushdb()  # the hold expires
        booked = await ada.book(7, key=KEY)
        assert booked.status_code == 201
        assert_replayed(booked, await ada.book(7, key=KEY))

        theirs = (await grace.book(8, booking_date="2026-11-24")).json()["id"]
        await connection.execute("update seats set closed = true where section_id = 1 and id <> 8")
        for key, content in (("seat", {"seat_id": 8}), ("any", {"any": True, "section": "A"})):
            request = {**content, "booking_date": "2026-11-24"}
            first = await ada.post("/bookings", request, key=key)
            refused(first, 409, "seat_taken" if key == "seat" else "no_free_seat")
        await grace.cancel(theirs)
        assert (await ada.post("/bookings", request, key=key)).status_code == 201
        assert await counts(connection) == (3, 2)


async def test_no_refusal_uses_up_its_key(programs: Programs, connection: asyncpg.Connection, clock: Clock) -> None:
    async with programs(1) as (ada,):
        await ada.book(7)
        for content, status, code in (
            ({"seat_id": 99999999999}, 404, "seat_not_found"),
            ({"any": True, "section": "Z", "booking_date": "2026-11-24"}, 404, "section_not_found"),
            ({"seat_id": 8}, 409, "day_already_booked"),
            ({"any": True}, 409, "day_already_booked"),
            ({"seat_id": 8, "booking_date": str(clock.ahead(91))}, 422, "outside_booking_window"),
        ):
            for _ in range(2):
                refused(await ada.post("/bookings", content, key=KEY), status, code)
        assert await counts(connection) == (1, 0)
        assert (await ada.book(8, booking_date="2026-11-24", key=KEY)).status_code == 201


async def test_a_refusal_that_an_older_version_kept_is_forgotten(
    programs: Programs, connection: asyncpg.Connection
) -> None:
    async with programs(1) as (ada,):
        await connection.execute(
            "insert into idempotency_keys values ($1, 'old', repeat('0', 64), 409, '{}'), ($1, 'done', $2, 201, '{}')",
            ada.user.id,
            "f" * 64,
        )
        assert (await ada.book(7, key="old")).status_code == 201
        replayed = await ada.book(8, key="done")  # the older version kept a hash, which cannot be compared
        assert (replayed.status_code, replayed.text) == (201, "{}")
        assert replayed.headers["idempotency-replayed"] == "true"


async def test_a_key_reused_for_another_request_is_refused(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        first = await ada.book(7, key=KEY)
        for other in (
            {"seat_id": 8},
            {"seat_id": 7, "booking_date": "2026-11-24"},
            {"any": True},
            {"any": True, "section": "A"},
        ):
            refused(await ada.post("/bookings", other, key=KEY), 422, "idempotency_key_reused")
        refused(await ada.move(first.json()["id"], 7, key=KEY), 422, "idempotency_key_reused")
        assert_replayed(first, await ada.book(7, key=KEY))
        assert await counts(connection) == (1, 1)


async def test_requests_that_ask_for_the_same_are_the_same_request(
    programs: Programs, connection: asyncpg.Connection, clock: Clock
) -> None:
    async with programs(1) as (ada,):
        first = await ada.book(7, key=KEY)
        for same in (
            {"seat_id": 7, "any": False},
            {"seat_id": 7, "booking_date": None},
            {"seat_id": 7, "booking_date": str(clock.today)},
            {"booking_date": str(clock.today), "any": False, "section": None, "seat_id": 7},
        ):
            assert_replayed(first, await ada.post("/bookings", same, key=KEY))
        clock.today = clock.ahead(1)  # the first response was lost shortly before midnight
        assert_replayed(first, await ada.book(7, key=KEY))
        refused(await ada.book(7, key=KEY, booking_date=str(clock.today)), 422, "idempotency_key_reused")
        assert await counts(connection) == (1, 1)


async def test_a_repeated_move_moves_once(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(2) as (ada, grace):
        booking = (await ada.book(7)).json()["id"]
        await grace.book(8)
        refused(await ada.move(booking, 8, key=KEY), 409, "seat_taken")
        only_first(await together(*(ada.move(booking, 9, key=KEY) for _ in range(10))), 200)
        assert (await ada.move(booking, 10)).status_code == 200
        replayed = await ada.move(booking, 9, key=KEY)
        assert replayed.headers["idempotency-replayed"] == "true"
        assert replayed.json()["seat_id"] == 9
        assert [found["seat_id"] for found in (await ada.get("/bookings")).json()] == [10]  # not moved back
        refused(await ada.move(booking, 11, key=KEY), 422, "idempotency_key_reused")
        assert await connection.fetchval("select count(*) from audit where action = 'move'") == 2


async def test_cancelling_again_gives_the_same_answer(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(2) as (ada, grace):
        booking = (await ada.book(7)).json()["id"]
        first = await ada.cancel(booking)
        for _ in range(2):
            again = await ada.cancel(booking)
            assert (again.status_code, again.content) == (200, first.content)
        refused(await grace.cancel(booking), 404, "booking_not_found")
        assert await connection.fetchval("select count(*) from audit where action = 'cancel'") == 1


async def test_a_request_formatted_differently_is_the_same_request(programs: Programs) -> None:
    async with programs(1) as (ada,):
        first = await ada.post("/bookings", {"seat_id": 7, "booking_date": "2026-11-24"}, key=KEY)
        for path, body in (
            ("/bookings/", b'{"seat_id":7,"booking_date":"2026-11-24"}'),
            ("/bookings", b'\n{ "booking_date" : "2026-11-24",\t"seat_id": 7 }\r\n'),
            ("/bookings", b'{"booking_date": "2026\\u002d11-24", "seat_id": 7}'),
        ):
            headers = {"content-type": "application/json; charset=utf-8", "idempotency-key": f'"{KEY}"'}
            assert_replayed(first, await ada.http.post(path, content=body, headers=headers))


async def test_users_can_use_the_same_key_independently(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(2) as (ada, grace):
        mine, theirs = await ada.book(7, key=KEY), await grace.book(8, key=KEY)
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert_replayed(mine, await ada.book(7, key=KEY))
        assert_replayed(theirs, await grace.book(8, key=KEY))
        refused(await grace.book(7, key=KEY), 422, "idempotency_key_reused")
        assert await counts(connection) == (2, 2)


@pytest.mark.parametrize("content", [{"seat_id": 7}, {"any": True}])
async def test_twenty_deliveries_at_once_make_one_booking(
    programs: Programs, connection: asyncpg.Connection, content: dict[str, object]
) -> None:
    async with programs(1) as (ada,):
        for turn in range(5):
            day = {"booking_date": f"2026-12-0{turn + 1}"}
            answers = await together(*(ada.post("/bookings", content | day, key=f"{KEY}-{turn}") for _ in range(20)))
            first = only_first(answers, 201)
            assert_replayed(first, await ada.post("/bookings", content | day, key=f"{KEY}-{turn}"))
            assert await counts(connection) == (turn + 1, turn + 1)


async def test_a_delivery_during_the_first_one_is_refused_as_in_progress(
    programs: Programs, connection: asyncpg.Connection, database_url: str
) -> None:
    async with programs(1) as (ada,):
        async with blocked_bookings(database_url):
            first = asyncio.create_task(ada.book(7, key=KEY))
            await blocked_backend(connection)
            second = await ada.book(7, key=KEY)
            refused(second, 409, "request_in_progress")
            assert second.headers["retry-after"] == "1"
            assert not first.done()
            assert (await ada.book(99999999999, key="another-key")).status_code == 404  # other keys do not wait
        assert (await first).status_code == 201
        assert_replayed(await first, await ada.book(7, key=KEY))
        assert await counts(connection) == (1, 1)


async def test_a_connection_lost_mid_booking_leaves_nothing_and_a_retry_works(
    programs: Programs, connection: asyncpg.Connection, database_url: str
) -> None:
    async with programs(1) as (ada,):
        for turn in range(3):
            async with blocked_bookings(database_url):
                first = asyncio.create_task(ada.book(7, key=KEY))
                await connection.execute("select pg_terminate_backend($1)", await blocked_backend(connection))
                answer = await first
                refused(answer, 503, "overloaded")
                assert int(answer.headers["retry-after"]) > 0
                assert await counts(connection) == (0, 0), turn
        booked = await ada.book(7, key=KEY)
        assert booked.status_code == 201
        assert_replayed(booked, await ada.book(7, key=KEY))
        assert await counts(connection) == (1, 1)


async def test_booking_and_answer_are_stored_in_one_transaction(
    programs: Programs, connection: asyncpg.Connection
) -> None:
    async with programs(1) as (ada,):
        answer = await ada.book(7, key=KEY)
        row = await connection.fetchrow(
            "select answers.created_at = bookings.created_at as at_once, answers.status, answers.body"
            " from idempotency_keys as answers cross join bookings"
        )
        assert row  # both have now(), the time when the transaction began
        assert (row["at_once"], row["status"], json.loads(row["body"])) == (True, 201, answer.json())
        await ada.cancel(answer.json()["id"])
        await connection.execute(
            "create function fail() returns trigger language plpgsql as $$ begin"
            " perform pg_terminate_backend(pg_backend_pid()); return new; end $$;"
            "create trigger fail before insert on idempotency_keys for each row execute function fail()"
        )
        refused(await ada.book(8, key=f"{KEY}-2"), 503, "overloaded")  # the answer cannot be stored: no booking
        assert await counts(connection) == (1, 1)
        assert (await ada.get("/bookings")).json() == []
        await connection.execute("drop trigger fail on idempotency_keys")
        assert (await ada.book(8, key=f"{KEY}-2")).status_code == 201


async def test_invalid_requests_do_not_use_up_the_key(programs: Programs, connection: asyncpg.Connection) -> None:
    """An invalid request has no answer to replay: the corrected request may have the same key."""
    async with programs(1) as (ada,):
        refused(await ada.post("/bookings", {"seat": 7}, key=KEY), 422, "invalid_input", "seat")
        refused(await ada.post("/bookings", {"seat_id": 7, "any": True}, key=KEY), 422, "invalid_input", "seat_id")
        assert await counts(connection) == (0, 0)
        assert (await ada.book(7, key=KEY)).status_code == 201


async def test_malformed_keys_are_refused(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        for key in (b"", b'""', b'"', b'"a" "b"', b"a b", b"a" * 256, b"\xc3\xa9", b"\xff", b"a\tb"):
            headers = [(b"idempotency-key", key)]
            answer = await ada.http.post("/bookings", json={"seat_id": 7}, headers=headers)
            if key == b'"':
                assert answer.status_code == 201  # a single quote is an ordinary character
                continue
            refused(answer, 422, "invalid_input", "Idempotency-Key")
        twice = [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
        refused(
            await ada.http.post("/bookings", json={"seat_id": 8}, headers=twice),
            422,
            "invalid_input",
            "Idempotency-Key",
        )
        for number, good in enumerate(("a", "a" * 255, "!~", "0")):
            assert (await ada.book(8, key=good, booking_date=f"2026-12-0{number + 1}")).status_code == 201
        assert await counts(connection) == (5, 5)


async def test_without_a_key_no_answer_is_stored(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        assert (await ada.book(7)).status_code == 201
        refused(await ada.book(7), 409, "day_already_booked")
        assert await counts(connection) == (1, 0)


async def book_with_twenty_keys(program: Program) -> list[httpx.Response]:
    return await together(*(program.book(7, key=f"key-{number}") for number in range(20)))


async def test_twenty_keys_at_once_make_one_booking(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        answers = await book_with_twenty_keys(ada)
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
        assert await counts(connection) == (1, 1)
        again = await book_with_twenty_keys(ada)
        assert [answer.status_code for answer in again] == [answer.status_code for answer in answers]
        assert await counts(connection) == (1, 1)
