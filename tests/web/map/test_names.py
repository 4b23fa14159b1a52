"""Who has which seat: told to signed-in users only, while the day is not over, in writing and to screen readers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup

from tests.support import HTMX, Clock, Site, one, soup

DAY = "/days/2026-11-23"


def described(page: BeautifulSoup, seat_id: int) -> tuple[object, object]:
    """Return the accessible name of a seat, and the name in its tooltip."""
    seat = one(page, f"#seat-{seat_id}")
    return seat["aria-label"], seat.get("data-sitter")


@pytest.mark.parametrize("names", ["signed-in", "nobody"])
async def test_a_taken_seat_says_by_whom_to_those_who_may_know(
    start_site: Callable[..., Site], clock: Clock, names: str
) -> None:
    site = start_site(SEATWEB_NAMES=names)
    async with site.people(1, prefix="alan.smith") as (alan,), site.people(1, prefix="grace") as (grace,):
        await alan.book(clock.today, 7)
        by_name = ("Seat A-07, taken by alan.smith1", "alan.smith1")
        for path in ("/", f"{DAY}?section=A", f"{DAY}/seats/7", f"{DAY}/seats/8"):
            for _ in range(2):  # the second time from the caches
                for_visitors = await site.visitor().get(path)
                assert described(soup(for_visitors), 7) == ("Seat A-07, taken", None)
                assert "alan" not in for_visitors.text
                for_grace = await grace.get(path)
                assert described(soup(for_grace), 7) == (
                    by_name if names == "signed-in" else ("Seat A-07, taken", None)
                )
                assert ("alan" in for_grace.text) is (names == "signed-in")
                assert described(soup(await alan.get(path)), 7) == ("Seat A-07, yours", None)

        clock.today = clock.ahead(1)
        for person in (grace, site.visitor()):
            over = await person.get(DAY)
            assert described(soup(over), 7) == ("Seat A-07, taken", None)
            assert "alan" not in over.text


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ("signed-in", "People who are signed in can see it when you book a seat."),
        ("nobody", "Only you and administrators can see it."),
    ],
)
async def test_the_registration_form_says_who_can_see_the_username(
    start_site: Callable[..., Site], names: str, hint: str
) -> None:
    visitor = start_site(SEATWEB_NAMES=names).visitor()
    for answer in (await visitor.get("/register"), await visitor.post("/register", username="")):
        field = one(soup(answer), "#username")
        assert hint in [one(soup(answer), f"#{id_}").get_text() for id_ in str(field["aria-describedby"]).split()]


async def test_the_seats_of_a_day_that_is_over_are_not_free(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        await ada.book(clock.today, 7)
        for path in (DAY, f"{DAY}/seats/8"):
            assert described(soup(await grace.get(path)), 8)[0] == "Seat A-08, free"  # and remembered
        clock.today = clock.ahead(1)
        for person in (ada, grace, site.visitor()):
            page = soup(await person.get(DAY))
            assert described(page, 8)[0] == "Seat A-08, not booked"
            assert not page.select("a.seat[aria-label*=free]")
            for seat_id in (7, 8):
                panel = one(soup(await person.get(f"{DAY}/seats/{seat_id}", headers=HTMX)), "#panel")
                assert "This day is over." in panel.get_text()
                assert "free" not in panel.get_text().lower()
        yesterday = one(soup(await grace.get("/")), f"a[href='{DAY}'].weekday")
        assert yesterday.get_text().startswith("Monday 23 November, ")
        assert one(yesterday, ".weekday-free").get_text() == "Over"
        legend = one(soup(await grace.get(DAY)), ".legend").get_text(" ", strip=True)
        assert legend.startswith("Not booked Taken")


async def test_a_name_from_right_to_left_keeps_our_words_in_order(site: Site, clock: Clock) -> None:
    async with site.people(2, prefix="דנה.כהן-hr") as (dana, other):
        await dana.book(clock.today, 7)
        paths = (
            "/",
            f"{DAY}/seats/7",
            "/my/bookings",
            "/account",
            "/account/password",
            "/account/second-factor",
            "/docs",
        )
        for path in paths:
            for person in (dana, other):
                page = soup(await person.get(path))
                texts = one(page, "body").find_all(string=lambda text: "דנה" in text)
                assert texts, path
                for text in texts:
                    assert text.find_parent("bdi"), (path, text.parent)
