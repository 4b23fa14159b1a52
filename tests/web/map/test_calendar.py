"""Other days: the week above the map, and the calendar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from bs4 import Tag
from seatweb.storage.statements import Statements

from tests.support import HTMX, Clock, Site, one, soup

CALENDAR = "/calendar/2026-11"
BAD_MONTHS = (
    "2026-13", "2026-00", "0000-01", "2026-1", "202611", "2026-11-23", "next", "２０２６-11", "%00",
    "2026-11?section=Z", "2026-11?day=soon", "2020-01?section=Z",
)  # fmt: skip


def days(response: httpx.Response | str) -> dict[str, str]:
    """Return the accessible name of each day in the calendar, by date."""
    return {str(day["data-day"]): _name(day) for day in soup(response).select(".month-day")}


def week(response: httpx.Response) -> list[str]:
    """Return the accessible name of each day of the week above the map, without its date."""
    return [_name(day).partition(", ")[2] for day in soup(response).select(".weekday")]


def href(response: httpx.Response, id_: str) -> str:
    return str(one(soup(response), f"#{id_}")["href"])


def _name(link: Tag) -> str:
    for element in link.select("[aria-hidden=true]"):
        element.decompose()
    return " ".join(link.get_text().split())


async def fill(connection: asyncpg.Connection, day: date, section: str = "") -> None:
    """Book every free seat of the section, or of all, for users of their own."""
    await connection.execute(
        """
        with free as (
            select seats.id, row_number() over () as n from seats join sections on sections.id = seats.section_id
            where $2 in ('', sections.name) and not exists (
                select from bookings where seat_id = seats.id and day = $1 and status = 'confirmed'
            )
        ), sitters as (
            insert into users (username, username_key, password_hash)
            select $3 || n, $3 || n, 'none' from free returning id, username
        )
        insert into bookings (day, seat_id, user_id)
        select $1, free.id, sitters.id from free join sitters on username = $3 || n
        """,
        day,
        section,
        f"sitter {day} {section} ",
    )


async def test_the_calendar_tells_which_days_are_free_and_why_others_are_not(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 8)
        clock.today += timedelta(days=1)  # now 24 November
        await ada.book(clock.ahead(1), 7)
        await fill(connection, clock.ahead(2))
        shown = days(await ada.get(f"{CALENDAR}?day=2026-11-27"))
        assert len(shown) == 30
        assert shown["2026-11-22"] == "Sunday 22 November, Over"
        assert shown["2026-11-23"] == "Monday 23 November, your seat: A-08, Over"
        assert shown["2026-11-24"] == "Tuesday 24 November, today, 80 free"
        assert shown["2026-11-25"] == "Wednesday 25 November, your seat: A-07, 79 free"
        assert shown["2026-11-26"] == "Thursday 26 November, Full"
        assert shown["2026-11-27"] == "Friday 27 November, shown on the map, 80 free"
        february = await ada.get("/calendar/2027-02")
        assert days(february)["2027-02-22"] == "Monday 22 February, 80 free"
        assert days(february)["2027-02-23"] == "Tuesday 23 February, can be booked from 25 Nov"
        assert "href" not in one(soup(february), "#month-2027-02-23").attrs
        assert soup(february).select("#month-next") == []  # no day of March can be booked
        visitors = days(await site.visitor().get(CALENDAR))
        assert visitors["2026-11-25"] == "Wednesday 25 November, 79 free"


async def test_the_calendar_of_a_section_counts_its_seats_and_leads_back_to_it(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    await fill(connection, clock.ahead(1), "B")
    await connection.execute("update seats set closed = true where section_id = 3 or number = '20'")
    visitor = site.visitor()
    page = await visitor.get(href(await visitor.get("/days/2026-11-23?section=B"), "calendar-link"))
    assert days(page)["2026-11-23"].endswith("19 free")
    assert days(page)["2026-11-24"].endswith("Full")
    assert "Free seats in section B" in page.text
    assert href(page, "month-2026-11-25") == "/days/2026-11-25?section=B"
    december = await visitor.get(href(page, "month-next"))
    assert one(soup(december), "#calendar")["data-month"] == "2026-12"
    assert one(soup(december), ".calendar-back")["href"] == "/days/2026-11-23?section=B"
    assert soup(december).select("[data-shown]") == []
    swapped = await visitor.get(href(page, "month-next"), headers=HTMX)
    assert "<html" not in swapped.text
    assert days(swapped) == days(december)
    assert days(await visitor.get(f"{CALENDAR}?section=C"))["2026-11-25"] == "Wednesday 25 November, Closed"
    assert days(await visitor.get(CALENDAR))["2026-11-24"] == "Tuesday 24 November, 38 free"


async def test_months_that_do_not_exist_are_not_found(site: Site, subtests: pytest.Subtests) -> None:
    for month in BAD_MONTHS:
        with subtests.test(month):
            assert (await site.visitor().get(f"/calendar/{month}")).status_code == 404
    for month in ("0001-01", "9999-12"):
        assert len(days(await site.visitor().get(f"/calendar/{month}"))) == 31


async def test_who_books_sees_it_in_the_calendar_and_the_week_at_once(site: Site, clock: Clock) -> None:
    """Although the counts are remembered for a moment, the same for everyone."""
    async with site.people(2) as (ada, grace):
        for viewer in (grace, ada):
            assert days(await viewer.get(CALENDAR))["2026-11-25"].endswith("80 free")
            assert week(await viewer.get("/"))[2] == "80 free"
        await ada.book(clock.ahead(2), 7)
        assert days(await ada.get(CALENDAR))["2026-11-25"] == "Wednesday 25 November, your seat: A-07, 79 free"
        assert week(await ada.get("/"))[2] == "your seat is A-07, 79 free"


@pytest.mark.parametrize("path", [f"{CALENDAR}?section=A", "/calendar/2027-01", "/calendar/2020-01?section=A"])
async def test_a_month_takes_two_queries(site: Site, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    sent: list[str] = []

    def watch(run: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(sql: Statements, name: str, /, **parameters: object) -> Any:
            sent.append(name)
            return await run(sql, name, **parameters)

        return watched

    async with site.people(1) as (ada,):
        assert (await ada.get("/account")).status_code == 200  # from now on, its session is remembered for 0.9 s
        monkeypatch.setattr(Statements, "all", watch(Statements.all))
        monkeypatch.setattr(Statements, "one", watch(Statements.one))
        assert len(days(await ada.get(path))) >= 30
    assert [name for name in sent if "session" not in name] == ["count_free_seats", "list_confirmed_bookings"]


async def test_the_week_shows_the_free_seats_of_each_day(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.ahead(2), 7)
        await fill(connection, clock.ahead(3))
        clock.today += timedelta(days=1)  # now 24 November
        expected = ["Over", "today, 80 free", "your seat is A-07, 79 free", "Full", *["80 free"] * 3]
        assert week(await ada.get("/")) == expected
        assert week(await ada.get("/")) == expected  # from the process's memory
        assert week(await grace.get("/days/2026-11-26"))[2:4] == ["79 free", "Full"]
        assert week(await grace.get("/days/2026-11-26?section=A"))[2:5] == ["19 free", "Full", "20 free"]
        await grace.book(clock.today, 8)
        assert week(await ada.get("/"))[1] == "today, 79 free"
        last = week(await ada.get("/days/2027-02-22"))
        assert last == ["80 free", *[f"can be booked from {n} November" for n in range(25, 31)]]


async def test_the_arrows_lead_to_the_same_weekday_of_other_weeks(site: Site) -> None:
    visitor = site.visitor()
    page = await visitor.get("/days/2026-11-25?section=B")
    assert href(page, "step-next") == "/days/2026-12-02?section=B"
    assert href(page, "step-today") == "/days/2026-11-23?section=B"
    past = await visitor.get(href(page, "step-previous"))
    links = [str(link["href"]) for link in soup(past).select(".weekday")]
    assert links == [f"/days/2026-11-{n}?section=B" for n in range(16, 23)]  # past days, one by one
    assert href(past, "step-next") == "/days/2026-11-25?section=B"
    older = await visitor.get(href(past, "step-previous"))
    assert href(older, "step-next") == "/days/2026-11-18?section=B"  # the next week, though it is past too
    # The last day that can be booked is Sunday 21 February.
    assert href(await visitor.get("/days/2027-02-14"), "step-next") == "/days/2027-02-21"
    for path in ("/days/2027-02-15", "/days/2027-02-21", "/days/2027-06-01"):
        assert soup(await visitor.get(path)).select("#step-next") == [], path
    assert soup(await visitor.get("/")).select("#step-today") == []
    assert soup(await visitor.get("/days/0001-01-07")).select("#step-previous") == []


async def test_the_last_week_leads_to_its_last_bookable_day(site: Site, clock: Clock) -> None:
    clock.today += timedelta(days=2)  # the last day is a Tuesday
    page = await site.visitor().get("/days/2027-02-19")
    assert href(page, "step-next") == "/days/2027-02-23"


@pytest.mark.parametrize(
    ("zone", "today", "midnight"),
    [
        ("UTC", "2026-11-23", "2026-11-24T00:00Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-25T23:00Z"),  # summer time ends: the day has 25 hours
        ("America/Santiago", "2026-09-05", "2026-09-06T04:00Z"),  # summer time begins: the next day has no 00:00
    ],
)
async def test_pages_know_when_their_today_ends_in_the_sites_time_zone(
    start_site: Callable[..., Site], clock: Clock, zone: str, today: str, midnight: str
) -> None:
    clock.today = date.fromisoformat(today)
    async with start_site(SEATWEB_TIME_ZONE=zone).people(1) as (ada,):
        for path in ("/", f"/days/{clock.ahead(1)}", "/my/bookings", f"/calendar/{today[:7]}"):
            for options in ({}, {"headers": HTMX}):
                ends = int(str(one(soup(await ada.get(path, **options)), "[data-midnight]")["data-midnight"]))
                assert datetime.fromtimestamp(ends / 1000, UTC) == datetime.fromisoformat(midnight), path


async def test_a_page_that_is_still_in_memory_calls_the_new_day_today_after_midnight(site: Site, clock: Clock) -> None:
    tomorrow = clock.ahead(1)
    async with site.people(1) as (ada,):

        async def words_of_tomorrow() -> str:
            page = soup(await ada.get(f"/days/{tomorrow}"))
            return one(page, f"#weekday-{tomorrow.isoweekday()} .weekday-name").get_text()

        assert [await words_of_tomorrow() for _ in range(3)] == ["Tue"] * 3  # from memory, after the first
        clock.today = tomorrow
        assert await words_of_tomorrow() == "Today"
