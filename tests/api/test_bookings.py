"""Book, list, move and cancel: response shapes, quirks of the original API, and races."""

from __future__ import annotations

import base64
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tests.api.conftest import Program, Programs, refused
from tests.support import Clock, together

DAY = "2026-11-23"


def codes(answers: list[httpx.Response]) -> Counter[tuple[int, str]]:
    return Counter((answer.status_code, answer.json().get("code", "")) for answer in answers)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_booking_is_made_listed_moved_and_cancelled(
    programs: Programs, connection: asyncpg.Connection, slash: str
) -> None:
    async with programs(1) as (ada,):
        booked = await ada.post(f"/bookings{slash}", {"seat_id": 7})
        assert (booked.status_code, booked.headers["content-type"]) == (201, "application/json")
        assert booked.headers["cache-control"] == "no-store"
        booking = booked.json()
        assert datetime.fromisoformat(booking["created_at"]).tzinfo is not None
        assert booking == {
            "id": booking["id"],
            "seat_id": 7,
            "user_id": ada.user.id,
            "booking_date": DAY,
            "created_at": booking["created_at"],
            "status": "confirmed",
            "seat_details": {"section": "A", "seat_number": "07"},
        }
        listed = await ada.get(f"/bookings{slash}")
        assert (listed.json(), listed.headers["cache-control"]) == ([booking], "private, no-store")
        assert "link" not in listed.headers

        moved = await ada.http.patch(f"/bookings/{booking['id']}{slash}", json={"seat_id": 43})
        booking |= {"seat_id": 43, "seat_details": {"section": "C", "seat_number": "03"}}
        assert (moved.status_code, moved.json()) == (200, booking)

        cancelled = await ada.http.delete(f"/bookings/{booking['id']}{slash}")
        booking |= {"status": "cancelled"}
        assert (cancelled.status_code, cancelled.json()) == (
            200,
            {"message": "Booking cancelled successfully", "booking": booking},
        )
        assert (await ada.get(f"/bookings{slash}")).json() == []
        assert (await ada.get(f"/bookings{slash}?status=cancelled")).json() == [booking]
        actions = await connection.fetch("select action, session_id from audit order by id")
        assert [(row["action"], row["session_id"]) for row in actions] == [
            (action, ada.session.id) for action in ("book", "move", "cancel")
        ]


# Quirks of the original API


async def test_a_cancelled_booking_cannot_be_moved(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for _ in range(3):  # on the same day: book, cancel, book again
            booking = (await ada.book(7)).json()["id"]
            assert (await ada.cancel(booking)).status_code == 200
            refused(await ada.move(booking, 8), 404, "booking_not_found")


async def test_a_user_who_books_two_seats_at_once_gets_one(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(20) as people:
        for number, program in enumerate(people):
            answers = await together(program.book(2 * number + 1), program.book(2 * number + 2))
            assert codes(answers) == {(201, ""): 1, (409, "day_already_booked"): 1}
        assert await connection.fetchval("select count(*) from bookings") == 20


async def test_one_of_fifty_users_gets_the_seat(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(50) as people:
        answers = await together(*(program.book(7) for program in people))
        assert codes(answers) == {(201, ""): 1, (409, "seat_taken"): 49}
        assert await connection.fetchval("select count(*) from bookings") == 1


UNKNOWN_SEATS = (99999999999, 81, 0, -1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30)


async def test_unknown_seats_and_bookings_are_not_found(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for seat_id in UNKNOWN_SEATS:
            for key in (None, f"a-key{seat_id}"):
                refused(await ada.book(seat_id, key=key), 404, "seat_not_found")
        booking = (await ada.book(7)).json()["id"]
        for seat_id in UNKNOWN_SEATS:
            refused(await ada.move(booking, seat_id), 404, "seat_not_found")
        for unknown_id in (
            99999999999,
            2**63,
            "0",
            "-1",
            "x",
            "1.0",
            "+1",
            "%00",
            "%F0%9F%92%BA",
            "1" * 400,
            f"0x{booking}",
        ):
            refused(await ada.cancel(unknown_id), 404, "booking_not_found")
            refused(await ada.move(unknown_id, 8), 404, "booking_not_found")
        assert [found["id"] for found in (await ada.get("/bookings")).json()] == [booking]


async def test_closed_seats_and_days_outside_the_window_are_refused(
    programs: Programs, connection: asyncpg.Connection, clock: Clock
) -> None:
    await connection.execute("update seats set closed = true where id in (3, 80)")
    async with programs(1) as (ada,):
        refused(await ada.book(3), 409, "seat_closed")
        for day in (clock.ahead(-1), clock.ahead(91), date.min, date.max):
            refused(await ada.book(7, booking_date=str(day)), 422, "outside_booking_window")
            refused(await ada.post("/bookings", {"any": True, "booking_date": str(day)}), 422, "outside_booking_window")
        last = await ada.book(7, booking_date=str(clock.ahead(90)))
        assert (last.status_code, last.json()["booking_date"]) == (201, str(clock.ahead(90)))
        booking = (await ada.book(7, booking_date=None)).json()
        assert booking["booking_date"] == DAY
        refused(await ada.move(booking["id"], 3), 409, "seat_closed")
        clock.today += timedelta(days=1)
        refused(await ada.cancel(booking["id"]), 422, "outside_booking_window")
        refused(await ada.move(booking["id"], 8), 422, "outside_booking_window")


async def test_any_books_a_free_seat(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(23) as people:
        ada, grace, *others = people
        assert (await ada.post("/bookings", {"any": True})).json()["seat_id"] == 1
        refused(await ada.post("/bookings", {"any": True}), 409, "day_already_booked")
        in_c = await grace.post("/bookings", {"any": True, "section": "C"})
        assert in_c.json()["seat_details"] == {"section": "C", "seat_number": "01"}
        refused(await others[0].post("/bookings", {"any": True, "section": "Z"}), 404, "section_not_found")
        answers = await together(*(program.post("/bookings", {"any": True, "section": "D"}) for program in others))
        assert codes(answers) == {(201, ""): 20, (409, "no_free_seat"): 1}
        assert await connection.fetchval("select count(*) from bookings") == 22


async def test_a_booking_moves_to_free_seats_only(programs: Programs, connection: asyncpg.Connection) -> None:
    async with programs(2) as (ada, grace):
        mine, theirs = (await ada.book(7)).json(), (await grace.book(8)).json()
        assert (await ada.move(mine["id"], 7)).json() == mine  # to its own seat
        refused(await ada.move(mine["id"], 8), 409, "seat_taken")
        refused(await ada.move(theirs["id"], 9), 404, "booking_not_found")
        assert [booking["seat_id"] for booking in (await ada.get("/bookings")).json()] == [7]
        assert (await ada.move(mine["id"], 9)).json()["id"] == mine["id"]
        assert (await grace.move(theirs["id"], 7)).status_code == 200


@pytest.mark.parametrize(("first", "second"), [(7, 8), (7, 43)])
async def test_two_users_who_swap_seats_are_always_refused(programs: Programs, first: int, second: int) -> None:
    async with programs(2) as (ada, grace):
        mine, theirs = (await ada.book(first)).json()["id"], (await grace.book(second)).json()["id"]
        for _ in range(15):
            answers = await together(ada.move(mine, second), grace.move(theirs, first))
            assert codes(answers) == {(409, "seat_taken"): 2}


async def test_mixed_concurrent_requests_succeed_or_conflict(
    programs: Programs, connection: asyncpg.Connection
) -> None:
    """Users book, move, cancel and list seats at the same time: no request fails with 5xx, and none is left booked."""
    async with programs(8) as people:

        async def busy(program: Program, number: int) -> list[int]:
            found = []
            for turn in range(6):
                answer = await program.post("/bookings", {"any": True} if turn % 2 else {"seat_id": 1 + number % 5})
                found.append(answer.status_code)
                if answer.status_code == 201:
                    booking = answer.json()["id"]
                    moves = (program.move(booking, seat) for seat in (1 + (number + turn) % 6, 41 + turn))
                    found += [answer.status_code for answer in await together(*moves, program.get("/seats"))]
                    found.append((await program.cancel(booking)).status_code)
            return found

        statuses = [status for one in await together(*map(busy, people, range(8))) for status in one]
        assert set(statuses) <= {200, 201, 409}
        assert await connection.fetchval("select count(*) from bookings where status = 'confirmed'") == 0


# Listing


async def insert_history(connection: asyncpg.Connection, program: Program, first: date, days: int) -> None:
    """Insert one confirmed and two cancelled bookings of the program's user on each day."""
    await connection.execute(
        """
        insert into bookings (day, seat_id, user_id, status, cancelled_at)
        select $2::date + n, 1 + ($1 + n) % 80, $1, status, case status when 'cancelled' then now() end
        from generate_series(0, $3 - 1) as n, unnest(array['cancelled', 'confirmed', 'cancelled']) as status
        """,
        program.user.id,
        first,
        days,
    )


async def pages(program: Program, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages by following the Link headers."""
    found = []
    next_path: str | None = path
    while next_path:
        answer = await program.get(next_path)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        assert set(answer.links) <= {"next"}
        next_path = answer.links["next"]["url"] if answer.links else None
    return found


async def test_the_pages_list_every_booking_once(
    programs: Programs, connection: asyncpg.Connection, clock: Clock
) -> None:
    async with programs(2) as (ada, grace):
        await insert_history(connection, ada, clock.today, 30)
        await insert_history(connection, grace, clock.today, 30)
        rows = await connection.fetch("select id from bookings where user_id = $1 order by day, id", ada.user.id)
        for limit in (1, 7, 30, 89, 90, 91, 200):
            found = await pages(ada, f"/bookings?status=all&limit={limit}")
            sizes = [len(page) for page in found]
            assert sizes == [limit] * (90 // limit) + ([90 % limit] if 90 % limit else [])
            assert [booking["id"] for page in found for booking in page] == [row["id"] for row in rows], limit


async def test_bookings_are_filtered_by_day_and_status(
    programs: Programs, connection: asyncpg.Connection, clock: Clock
) -> None:
    async with programs(1) as (ada,):
        await insert_history(connection, ada, clock.ahead(-10), 20)

        async def listed(query: str) -> list[tuple[str, str]]:
            found = await pages(ada, f"/bookings?limit=3&{query}")
            return [(booking["booking_date"], booking["status"]) for page in found for booking in page]

        def expected(first: int, last: int, *statuses: str) -> list[tuple[str, str]]:
            return [(str(clock.ahead(n)), status) for n in range(first, last + 1) for status in statuses]

        all_three = ("cancelled", "confirmed", "cancelled")
        assert await listed("") == expected(0, 9, "confirmed")
        assert await listed("status=confirmed") == expected(0, 9, "confirmed")
        assert await listed("status=cancelled") == expected(0, 9, "cancelled", "cancelled")
        assert await listed("status=all") == expected(0, 9, *all_three)
        assert await listed("from_date=2026-11-13&status=all") == expected(-10, 9, *all_three)
        assert await listed("from_date=0001-01-01&to_date=9999-12-31") == expected(-10, 9, "confirmed")
        assert await listed("to_date=2026-11-25&status=all") == expected(0, 2, *all_three)
        assert await listed("from_date=2026-11-20&to_date=2026-11-21") == expected(-3, -2, "confirmed")
        assert await listed("from_date=2026-11-24&to_date=2026-11-23") == []


async def test_bookings_added_while_paging_cause_no_gaps_or_duplicates(
    programs: Programs, connection: asyncpg.Connection, clock: Clock
) -> None:
    """Bookings from before are listed exactly once, wherever others are added; no booking is listed twice."""
    async with programs(1) as (ada,):
        await insert_history(connection, ada, clock.ahead(10), 10)
        existing = {row["id"] for row in await connection.fetch("select id from bookings")}
        seen: list[int] = []
        path: str | None = "/bookings?status=all&limit=4"
        added = iter([*range(9), *range(20, 40)])
        while path:
            answer = await ada.get(path)
            seen += [booking["id"] for booking in answer.json()]
            path = answer.links["next"]["url"] if answer.links else None
            day = next(added, None)
            if day is not None:
                assert (await ada.book(7, booking_date=str(clock.ahead(day)))).status_code == 201
        assert len(seen) == len(set(seen))
        assert existing <= set(seen)


def cursor(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode().rstrip("=")


async def test_invalid_cursors_and_filters_are_refused(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for value in (
            "",
            "x",
            "!!!!",
            "%00",
            "%FF",
            "a" * 3000,
            cursor(""),
            cursor("|"),
            cursor(DAY),
            cursor(f"{DAY}|"),
            cursor(f"{DAY}|x"),
            cursor(f"{DAY}|-1"),
            cursor(f"{DAY}|{2**63}"),
            cursor(f"{DAY}|{'9' * 2000}"),
            cursor("2026-02-30|1"),
            cursor("|1"),
            cursor(f"{DAY}|1|1"),
            cursor(f"{DAY}|\u0661"),
            cursor(b"\xff\xfe"),
        ):
            refused(await ada.get(f"/bookings?cursor={value}"), 422, "invalid_input", "cursor")
        for name, values in {
            "limit": ("0", "201", "-1", "x", "1.5", "", "%00", "9" * 30),
            "status": ("free", "", "ALL"),
            "from_date": ("", "x", "2026-13-01", "2026-11-23T00:00:00Z", "%00"),
            "to_date": ("", "x", "2026-02-29"),
        }.items():
            for value in values:
                refused(await ada.get(f"/bookings?{name}={value}"), 422, "invalid_input", name)
        refused(
            await ada.get("/bookings?limit=1&status=all&limit=2&status=all"), 422, "invalid_input", "limit", "status"
        )
