"""Seats and sections of a day, and ETags that change exactly when the seats do."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.api.conftest import Program, Programs, refused
from tests.support import Clock

DAY = "2026-11-23"
SEATS = [
    {"id": index + 1, "section": "ABCD"[index // 20], "seat_number": f"{index % 20 + 1:02}", "is_available": True}
    for index in range(80)
]


async def etag(program: Program, path: str) -> str:
    return str((await program.get(path)).headers["etag"])


@pytest.mark.parametrize("slash", ["", "/"])
async def test_free_seats_are_listed_and_counted(
    programs: Programs, connection: asyncpg.Connection, slash: str
) -> None:
    await connection.execute("update seats set closed = true where id = 3")
    async with programs(2) as (ada, grace):
        await ada.book(7)
        answer = await grace.get(f"/seats{slash}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.json() == [seat for seat in SEATS if seat["id"] not in {3, 7}]
        everything = (await grace.get(f"/seats{slash}?status=all")).json()
        assert everything == [{**seat, "is_available": seat["id"] not in {3, 7}} for seat in SEATS]
        assert (await ada.get(f"/seats{slash}?status=all")).json() == everything  # nor is the user's own seat available
        in_a = (await grace.get(f"/seats{slash}?section=A&status=free&booking_date={DAY}")).json()
        assert [seat["id"] for seat in in_a] == [number for number in range(1, 21) if number not in {3, 7}]
        assert (await grace.get(f"/seats{slash}?booking_date=2026-11-24")).json() == [
            seat for seat in SEATS if seat["id"] != 3
        ]
        counted = await grace.get(f"/sections{slash}")
        assert counted.json() == [
            {"section": name, "seats": 20, "available": 18 if name == "A" else 20} for name in "ABCD"
        ]


@pytest.mark.parametrize("path", ["/seats", "/sections"])
async def test_invalid_days_and_days_outside_the_window_are_refused(
    programs: Programs, clock: Clock, path: str
) -> None:
    async with programs(1) as (ada,):
        for day in (clock.ahead(-1), clock.ahead(91), "0001-01-01", "9999-12-31"):
            refused(await ada.get(f"{path}?booking_date={day}"), 422, "outside_booking_window")
        assert (await ada.get(f"{path}?booking_date={clock.ahead(90)}")).status_code == 200
        for day in ("tomorrow", "2026-02-30", "2026-11-23T00:00:00", "23.11.2026", "", "%00", "2026-11-23%20", "1e9"):
            refused(await ada.get(f"{path}?booking_date={day}"), 422, "invalid_input", "booking_date")
        refused(await ada.get(f"{path}?booking_date={DAY}&booking_date={DAY}"), 422, "invalid_input", "booking_date")


async def test_unknown_sections_and_statuses_are_refused(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for name in ("Z", "a", "", "A%00", "%ff", "%ed%a0%80", "A'--", "AA"):
            refused(await ada.get(f"/seats?section={name}"), 404, "section_not_found")
        for status in ("taken", "", "ALL", "all%00"):
            refused(await ada.get(f"/seats?status={status}"), 422, "invalid_input", "status")
        refused(await ada.get("/seats?section=A&section=B"), 422, "invalid_input", "section")
        refused(await ada.get("/seats?status=all&x=1&status=all&x=2"), 422, "invalid_input", "status", "x")


async def test_an_etag_changes_exactly_when_the_seats_do(
    programs: Programs, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with programs(2) as (ada, grace):
        paths = ("/seats", "/seats?status=all", "/seats?section=A", "/seats?section=C&status=all", "/sections")
        tomorrow = [f"{path}{'&' if '?' in path else '?'}booking_date={clock.ahead(1)}" for path in paths]
        everything = (*paths, *tomorrow)

        async def changed_by(action: Any) -> set[str]:
            before = {path: await etag(grace, path) for path in everything}
            await action
            after = {path: await etag(ada, path) for path in everything}  # ETags are the same for all users
            return {path for path in everything if before[path] != after[path]}

        in_a = {"/seats", "/seats?status=all", "/sections", "/seats?section=A"}
        in_c = {"/seats", "/seats?status=all", "/sections", "/seats?section=C&status=all"}
        assert await changed_by(ada.get("/seats")) == set()
        assert await changed_by(ada.book(7)) == in_a
        assert await changed_by(grace.book(7)) == set()  # refused
        assert await changed_by(ada.book(8)) == set()
        booking = (await ada.get("/bookings")).json()[0]["id"]
        assert await changed_by(ada.move(booking, 7)) == set()  # to its own seat
        assert await changed_by(ada.move(booking, 43)) == in_a | in_c
        assert await changed_by(ada.cancel(booking)) == in_c
        assert await changed_by(ada.cancel(booking)) == set()
        assert await changed_by(ada.book(43, booking_date=str(clock.ahead(1)))) == {
            path for path in tomorrow if "section=A" not in path
        }
        closed = connection.execute("update seats set closed = true where id = 9")
        assert await changed_by(closed) == {path for path in everything if "section=C" not in path}
        # Different responses never share an ETag.
        etags = [await etag(ada, path) for path in everything]
        assert len(set(etags)) == len(etags)


async def test_a_current_etag_is_answered_with_304(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for path in ("/seats", "/sections"):
            known = await etag(ada, path)
            for value in (
                known,
                f"W/{known}",
                f'"other", {known}',
                f'W/"other",{known} , "third"',
                "*",
            ):
                answer = await ada.get(path, headers={"if-none-match": value})
                assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", known), value
                assert "content-type" not in answer.headers
            for value in ('"other"', known.strip('"'), f"w/{known}", "", f'"{known}'):
                answer = await ada.get(path, headers={"if-none-match": value})
                assert (answer.status_code, answer.headers["etag"]) == (200, known), value
        before = await etag(ada, "/seats")
        await ada.book(7)
        assert (await ada.get("/seats", headers={"if-none-match": before})).status_code == 200
        # A refused request is not answered with 304.
        refused(await ada.get("/seats?section=Z", headers={"if-none-match": "*"}), 404, "section_not_found")


async def test_users_see_their_own_change_in_the_next_response(programs: Programs) -> None:
    """Promise 4, with the cache in use: each of thirty changes is in the next response."""
    async with programs(1) as (ada,):
        for _ in range(15):
            booking = (await ada.book(7)).json()["id"]
            assert 7 not in {seat["id"] for seat in (await ada.get("/seats")).json()}
            await ada.cancel(booking)
            assert 7 in {seat["id"] for seat in (await ada.get("/seats")).json()}


async def test_head_is_answered_like_get_without_a_body(programs: Programs) -> None:
    async with programs(1) as (ada,):
        for path in ("/seats", "/sections", "/bookings", "/me", "/health", "/health/live", "/openapi.json"):
            got, head = await ada.get(path), await ada.http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
            assert head.headers.get("etag") == got.headers.get("etag")
        assert (await ada.http.head("/seats?section=Z")).status_code == 404
