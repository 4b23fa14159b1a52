"""Requests repeated with an Idempotency-Key make one booking and get one answer, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import asyncpg
import httpx
import pytest

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


@pytest.mark.parametrize("any_seat", [False, True])
async def test_a_refusal_is_replayed_after_its_reason_is_gone(
    programs: Programs, connection: asyncpg.Connection, *, any_seat: bool
) -> None:
    async with programs(2) as (ada, grace):
        theirs = (await grace.book(7)).json()["id"]
        await connection.execute("update seats set closed = true where section_id = 1 and id <> 7")
        content = {"any": True, "section": "A"} if any_seat else {"seat_id": 7}
        first = await ada.post("/bookings", content, key=KEY)
        refused(first, 409, "no_free_seat" if any_seat else "seat_taken")
        await grace.cancel(theirs)
        assert_replayed(first, await ada.post("/bookings", content, key=KEY))  # still refused
        assert (await ada.post("/bookings", content, key=f"{KEY}-2")).status_code == 201


async def test_refusals_of_every_kind_are_replayed(programs: Programs, clock: Clock) -> None:
    async with programs(1) as (ada,):
        await ada.book(7)
        for number, (content, status, code) in enumerate(
            (
                ({"seat_id": 99999999999}, 404, "seat_not_found"),
                ({"any": True, "section": "Z", "booking_date": "2026-11-24"}, 404, "section_not_found"),
                ({"seat_id": 8}, 409, "day_already_booked"),
                ({"any": True}, 409, "day_already_booked"),
                ({"seat_id": 8, "booking_date": str(clock.ahead(91))}, 422, "outside_booking_window"),
            )
        ):
            first = await ada.post("/bookings", content, key=f"key-{number}")
            refused(first, status, code)
            assert_replayed(first, await ada.post("/bookings", content, key=f"key-{number}"))


async def test_a_key_reused_for_another_request_is_refused(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(1) as (ada,):
        first = await ada.book(7, key=KEY)
        for other in (
            {"seat_id": 8},
            {"seat_id": 7, "booking_date": "2026-11-24"},
            {"seat_id": 7, "booking_date": "2026-11-23"},  # another request, although it means the same today
            {"any": True},
        ):
            refused(await ada.post("/bookings", other, key=KEY), 422, "idempotency_key_reused")
        assert_replayed(first, await ada.book(7, key=KEY))
        assert await counts(connection) == (1, 1)


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
            booked = [answer for answer in answers if answer.status_code == 201]
            assert len({answer.content for answer in booked}) == 1
            assert len([answer for answer in booked if "idempotency-replayed" not in answer.headers]) == 1
            for answer in answers:
                if answer not in booked:
                    refused(answer, 409, "request_in_progress")
                    assert answer.headers["retry-after"] == "1"
            assert_replayed(
                next(answer for answer in booked if "idempotency-replayed" not in answer.headers),
                await ada.post("/bookings", content | day, key=f"{KEY}-{turn}"),
            )
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
        assert await counts(connection) == (1, 2)


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
        assert await counts(connection) == (1, 20)
        assert [answer.content for answer in await book_with_twenty_keys(ada)] == [answer.content for answer in answers]
