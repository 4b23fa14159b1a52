"""Promise 11 on the pages: what a user did can be undone, from the message and in "My bookings"."""

from __future__ import annotations

import re
from datetime import timedelta

import asyncpg
import httpx
import pytest
from bs4 import BeautifulSoup, Tag

from tests.support import HTMX, Clock, Site, Visitor, one, says, seats, soup

DAY = "2026-11-23"
LATER = "update bookings set cancelled_at = cancelled_at - interval '10 seconds'"
# The audit trail cannot be changed, so the tests' superuser turns off its triggers.
TEN_SECONDS_LATER = """
set session_replication_role = replica;
update audit set at = at - interval '10 seconds';
set session_replication_role = origin
"""


def sent(form: Tag) -> dict[str, str]:
    """Return the fields that the form sends, without the CSRF token."""
    return {str(field["name"]): str(field["value"]) for field in form.select("input") if field["name"] != "_csrf_token"}


async def press(visitor: Visitor, form: Tag, *, htmx: bool = False) -> httpx.Response:
    """Send the form as it stands, and follow the redirect."""
    answer = await (visitor.post_htmx if htmx else visitor.post)(str(form["action"]), **sent(form))
    if answer.status_code == 303:
        return await visitor.get(answer.headers["location"])
    return answer


def offered(answer: httpx.Response) -> Tag:
    """Return the form in the message that offers to undo what was done."""
    form = one(soup(answer), "#say-status form.undo")
    assert one(form, "button").get_text(strip=True) == "Undo"
    return form


def rows(page: BeautifulSoup, section: str = "upcoming") -> list[str]:
    """Return the text of each row of a section of "My bookings", without what only screen readers get."""
    for hidden in page.select(".visually-hidden"):
        hidden.clear()
    return [row.get_text(" ", strip=True) for row in page.select(f"[aria-labelledby={section}-name] .line")]


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_a_booking_a_move_and_a_cancellation_can_be_undone_from_the_message(
    site: Site, clock: Clock, *, htmx: bool
) -> None:
    async with site.people(1) as (ada,):

        async def act(path: str) -> httpx.Response:
            answer = await (ada.post_htmx if htmx else ada.post)(path, back="day")
            return answer if htmx else await ada.get(answer.headers["location"])

        async def undone(done: httpx.Response, words: str, after: dict[str, str]) -> None:
            form = offered(done)
            assert form["hx-target"] == "#day"
            for expected in (words, "This has already been undone."):
                again = await press(ada, form, htmx=htmx)
                assert (again.status_code, says(again)) == (200, expected)
                assert {label: seats(again)[label] for label in after} == after
                assert soup(again).select(".undo") == []
            open_seat = [label for label, status in after.items() if status == "mine"]
            panel = one(soup(again), "#panel")
            assert [panel["data-label"]] == open_seat if open_seat else panel.has_attr("hidden")

        await undone(await act(f"/days/{DAY}/seats/7/book?section=A"), "Undone: A-07 is free again.", {"A-07": "free"})
        await act(f"/days/{DAY}/seats/7/book?section=A")
        moved = await act(f"/days/{DAY}/seats/8/move?section=A")
        await undone(moved, "Undone: A-07 is yours again.", {"A-07": "mine", "A-08": "free"})
        panel = soup(await ada.get(f"/days/{DAY}/seats/7?section=A"))
        cancel = str(one(panel, "#panel form[action*='/cancel']")["action"])
        cancelled = await act(cancel)
        assert set(seats(cancelled)) == {f"A-{n:02}" for n in range(1, 21)}  # the section is still the only one shown
        await undone(cancelled, "Undone: A-07 is yours again.", {"A-07": "mine"})
        assert rows(soup(await ada.get("/my/bookings"))) == ["Today Monday 23 November A-07 View or move Cancel"]


async def test_booking_any_seat_and_booking_it_twice_can_be_undone(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        offered(await ada.post_htmx(f"/days/{DAY}/any"))
        for _ in range(2):
            booked = await ada.book(clock.ahead(1), 7)
        await press(ada, offered(await ada.get(booked.headers["location"])))
        assert (await ada.statuses(clock.ahead(1)))["A-07"] == "free"


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_repeating_what_was_done_a_moment_ago_keeps_the_offer_to_undo_it(
    site: Site, clock: Clock, connection: asyncpg.Connection, *, htmx: bool
) -> None:
    async with site.people(1) as (ada,):

        async def act(path: str) -> httpx.Response:
            answer = await (ada.post_htmx if htmx else ada.post)(f"/days/{DAY}/seats/{path}")
            return answer if htmx else await ada.get(answer.headers["location"])

        booked = offered(await act("7/book"))
        for path in ("7/book", "7/move"):  # from a second window, which may show an older state
            again = await act(path)
            assert (says(again), sent(offered(again))) == ("A-07 is yours. Undo", sent(booked))
        moved = offered(await act("8/move"))
        for path in ("8/move", "8/book"):
            again = await act(path)
            assert (says(again), sent(offered(again))) == ("Moved: A-08 is yours now. Undo", sent(moved))
        assert seats(await press(ada, moved, htmx=htmx))["A-07"] == "mine"
        await act("8/move")

        await connection.execute(TEN_SECONDS_LATER)
        for path in ("8/book", "8/move"):  # undoing would cancel, or move, what the user may have had for long
            again = await act(path)
            assert (again.status_code, says(again)) == (200, "You already have A-08.")
            assert soup(again).select(".undo") == []
            assert one(soup(again), "#panel")["data-label"] == "A-08"
        assert await connection.fetchval("select count(*) from audit where action = 'move'") == 3


async def test_the_offer_is_made_once_and_to_nobody_else(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        booked = await ada.book(clock.today, 7)
        cancel = one(soup(await ada.get(booked.headers["location"])), "#panel form[action*='/cancel']")
        cancelled = await ada.post(str(cancel["action"]), back="day")
        assert cancelled.headers["location"] == f"/days/{DAY}"
        offered(await ada.get(f"/days/{DAY}"))
        for visitor in (ada, grace, site.visitor(), ada):
            for path in (f"/days/{DAY}", "/", f"/days/{DAY}/seats/7"):
                page = soup(await visitor.get(path))
                assert one(page, "#say-status").get_text(strip=True) == ""
                assert page.select(".undo") == []


async def test_an_offer_that_another_page_shows_leads_back_to_the_map(site: Site, clock: Clock) -> None:
    async with site.people(1) as (ada,):
        await ada.book(clock.today, 7)  # and the answer is lost
        form = offered(await ada.get("/account"))
        assert form.get("hx-post") is None  # there is no map to swap
        page = await press(ada, form)
        assert says(page) == "Undone: A-07 is free again."
        assert seats(page)["A-07"] == "free"


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_an_undo_that_comes_too_late_says_so_and_what_is_left(site: Site, clock: Clock, *, htmx: bool) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 7)
        moved = offered(await ada.post_htmx(f"/days/{DAY}/seats/43/move"))
        await grace.book(clock.today, 7)
        late = await press(ada, moved, htmx=htmx)
        assert late.status_code == 409
        assert says(late) == "Seat A-07 was booked a moment ago. You still have C-03."
        assert (seats(late)["A-07"], seats(late)["C-03"]) == ("taken", "mine")
        booking = str(moved["action"]).split("/")[3]
        cancelled = offered(await ada.post_htmx(f"/my/bookings/{booking}/cancel", back="day"))
        await grace.post(f"/days/{DAY}/seats/43/move")
        late = await press(ada, cancelled, htmx=htmx)
        assert late.status_code == 409
        assert says(late) == "Seat C-03 was booked a moment ago. C-02 is free."
        assert one(soup(late), f"#panel form[action='/days/{DAY}/seats/42/book']")
        changed = await press(ada, moved, htmx=htmx)
        assert (changed.status_code, says(changed)) == (
            409,
            "This booking has changed since then, so nothing was undone.",
        )
        assert ("<html" in late.text) is not htmx
        if not htmx:  # reloading the address that this left in the browser
            assert (await ada.get(str(moved["action"]))).headers["location"] == "/my/bookings"


async def test_a_cancelled_row_stays_in_place_while_undo_is_offered(
    site: Site, clock: Clock, connection: asyncpg.Connection
) -> None:
    async with site.people(1) as (ada,):
        for n in (1, 2, 3):
            await ada.book(clock.ahead(n), n)

        def cancel(page: BeautifulSoup, number: int) -> Tag:
            return page.select("#my_bookings form[action$='/cancel']")[number]

        await ada.get("/my/bookings")
        page = soup(await ada.get("/my/bookings"))
        first = soup(await press(ada, cancel(page, 0), htmx=True))
        assert one(first, "#say-status").get_text(strip=True) == "Cancelled: A-01 is free again."
        assert one(first, ".line[autofocus]")["id"] == one(first, ".line[data-seconds]")["id"]
        cancelled = "Tomorrow Tuesday 24 November A-01 Undo Cancelled"
        second_row, third_row = (
            "In 2 days Wednesday 25 November A-02 View or move Cancel",
            "In 3 days Thursday 26 November A-03 View or move Cancel",
        )
        assert rows(first) == [cancelled, second_row, third_row]
        assert rows(first, "past") == []
        assert rows(soup(await ada.get("/my/bookings"))) == [cancelled, second_row, third_row]
        # Ten seconds later, the answer to this page keeps the row, or those below would move up under the pointer.
        await connection.execute(LATER)
        second = soup(await press(ada, cancel(first, 0), htmx=True))
        assert rows(second) == [cancelled, "In 2 days Wednesday 25 November A-02 Undo Cancelled", third_row]
        fresh = soup(await ada.get("/my/bookings", headers=HTMX))
        assert rows(fresh) == ["In 2 days Wednesday 25 November A-02 Undo Cancelled", third_row]
        assert rows(fresh, "past") == ["Tue 24 November A-01 Cancelled"]
        assert fresh.select("#announcement") == []

        undone = await press(ada, one(second, "form.undo[id^=undo]:has(input[value='2'])"), htmx=True)
        assert says(undone) == "Undone: A-02 is yours again."
        assert rows(soup(undone)) == [cancelled, second_row, third_row]
        page = soup(await press(ada, one(second, "form.undo[id^=undo]:has(input[value='2'])")))
        assert one(page, "#say-status").get_text(strip=True) == "This has already been undone."
        assert [name.get_text() for name in page.select("h2")] == ["Upcoming", "Past and cancelled"]


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_an_undo_in_the_list_that_comes_too_late_says_so(site: Site, clock: Clock, *, htmx: bool) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 7)
        page = soup(await ada.get("/my/bookings"))
        undo = one(soup(await press(ada, one(page, "form[action$='/cancel']"))), "#my_bookings form.undo")
        await grace.post(f"/days/{DAY}/seats/7/hold")
        held = await press(ada, undo, htmx=htmx)
        assert held.status_code == 409
        assert re.search(r"is on hold for someone else .* The booking stays cancelled\.$", says(held))
        await grace.book(clock.today, 7)
        late = await press(ada, undo, htmx=htmx)
        assert late.status_code == 409
        assert says(late) == "That seat was booked a moment ago. The booking stays cancelled."
        await ada.book(clock.today, 8)
        other = await press(ada, undo, htmx=htmx)
        assert (other.status_code, says(other).split(" is yours.")[-1].strip()) == (
            409,
            "You already have a seat on this day.",
        )
        assert rows(soup(other)) == ["Today Monday 23 November A-08 View or move Cancel"]


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_cancelling_on_a_page_from_yesterday_is_refused_with_the_fresh_list(
    site: Site, clock: Clock, *, htmx: bool
) -> None:
    async with site.people(1) as (ada,):
        for n in (0, 1):
            await ada.book(clock.ahead(n), 7)
        await ada.get("/")
        cancel = soup(await ada.get("/my/bookings")).select("form[action$='/cancel']")[0]
        clock.today += timedelta(days=1)
        answer = await press(ada, cancel, htmx=htmx)
        assert answer.status_code == 422
        assert says(answer) == "That day is over, so its booking stays as it is."
        assert rows(soup(answer)) == ["Today Tuesday 24 November A-07 View or move Cancel"]
        assert rows(soup(answer), "past") == ["Mon 23 November A-07"]
        on_map = await ada.post(str(cancel["action"]), back="day")
        assert on_map.status_code == 422
        assert one(soup(on_map), "#day")["data-state"] == "past"


@pytest.mark.parametrize("htmx", [False, True], ids=["without scripts", "htmx"])
async def test_cancelling_twice_says_that_it_is_cancelled(site: Site, clock: Clock, *, htmx: bool) -> None:
    async with site.people(2) as (ada, eve):
        await ada.book(clock.today, 7)
        page = soup(await ada.get("/my/bookings"))
        cancel = one(page, "form[action$='/cancel']")
        await press(ada, cancel, htmx=htmx)
        again = await press(ada, cancel, htmx=htmx)
        assert (again.status_code, says(again)) == (200, "This booking is already cancelled.")
        assert one(soup(again), "#my_bookings form.undo")
        assert (await press(eve, cancel, htmx=htmx)).status_code == 404


async def test_nobody_undoes_what_another_user_did(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(2) as (ada, eve):
        booked = offered(await ada.post_htmx(f"/days/{DAY}/seats/7/book"))
        for post in (eve.post, eve.post_htmx):
            for did, seat, extra in (("booked", "7", {}), ("moved", "7", {"from": "8"}), ("cancelled", "7", {})):
                answer = await post(str(booked["action"]), did=did, seat=seat, **extra)
                assert answer.status_code == 404
                assert "A-07" not in answer.text
        assert await connection.fetchval("select status from bookings") == "confirmed"


async def test_malformed_undos_are_refused(site: Site, clock: Clock, connection: asyncpg.Connection) -> None:
    async with site.people(1) as (ada,):
        action = str(offered(await ada.post_htmx(f"/days/{DAY}/seats/7/book"))["action"])
        fields: dict[str, str]
        for fields in (
            {},
            {"did": "booked"},
            {"did": "booked", "seat": "x"},
            {"did": "booked", "seat": "7", "from": "8"},
            {"did": "moved", "seat": "7"},
            {"did": "moved", "seat": "7", "from": ""},
            {"did": "undone", "seat": "7"},
            {"did": "booked", "seat": "7" * 20},
        ):
            assert (await ada.post(action, **fields)).status_code == 422, fields
        for notice in (
            "booked.A-07.0.7",
            "booked.A-07.1.7.8",
            "moved.A-07.1.7",
            "undone_booked.A-07.1.7",
            "booked.A-07.1",
        ):
            ada.http.cookies.set(site.our_cookies.notice_cookie, notice)
            assert soup(await ada.get(f"/days/{DAY}")).select(".undo") == [], notice
        assert await connection.fetchval("select status from bookings") == "confirmed"
