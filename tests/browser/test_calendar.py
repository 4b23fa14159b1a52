"""The calendar over the map, and the way to other days, with a mouse, by touch and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import DESKTOP, PHONE, axe_finds_nothing
from tests.browser.conftest import Guard
from tests.browser.test_journeys import DAY
from tests.browser.test_live import open_live
from tests.support import Site


def focused(page: Page, day: str) -> None:
    expect(page.locator(f"#month-{day}")).to_be_focused()


def open_calendar(page: Page) -> Any:
    page.get_by_role("link", name="Calendar").click()
    dialog = page.get_by_role("dialog", name="Choose a day")
    expect(dialog).to_be_visible()
    return dialog


def heading(page: Page, text: str) -> None:
    """Expect the day's heading, with the focus on it."""
    expect(page.get_by_role("heading", level=1)).to_contain_text(text)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_day_is_chosen_in_the_calendar_by_keyboard_alone(page: Page) -> None:
    page.goto(f"{DAY}?section=B")
    page.get_by_role("link", name="Calendar").focus()
    page.keyboard.press("Enter")
    focused(page, "2026-11-23")
    expect(page.get_by_role("grid", name="November 2026")).to_be_visible()
    expect(page.get_by_role("gridcell", selected=True)).to_contain_text("23")
    for key, day in [
        ("ArrowRight", "2026-11-24"), ("ArrowUp", "2026-11-17"), ("Home", "2026-11-16"), ("End", "2026-11-22"),
        ("ArrowLeft", "2026-11-21"), ("ArrowDown", "2026-11-28"), ("ArrowDown", "2026-12-05"),
        ("ArrowLeft", "2026-12-04"), ("PageUp", "2026-11-04"), ("PageDown", "2026-12-04"), ("End", "2026-12-06"),
        ("Shift+PageUp", "2025-12-06"), ("Shift+PageDown", "2026-12-06"), ("Shift+PageDown", "2027-02-28"),
        ("ArrowRight", "2027-02-28"), ("PageUp", "2027-01-28"), ("ArrowDown", "2027-02-04"), ("Home", "2027-02-01"),
        ("ArrowLeft", "2027-01-31"), ("PageDown", "2027-02-28"),
    ]:  # fmt: skip
        page.keyboard.press(key)
        focused(page, day)
    page.keyboard.press("Enter")  # 28 February cannot be booked yet
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.locator(".month-day[tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Calendar")).to_be_focused()
    expect(page).to_have_url(re.compile(rf"{DAY}\?section=B$"))
    page.keyboard.press("Enter")
    focused(page, "2026-11-23")  # it opens at the day on the map
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    heading(page, "30 November")
    expect(page).to_have_url(re.compile(r"/days/2026-11-30\?section=B$"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Previous week")).to_be_focused()


def test_a_day_is_chosen_in_the_calendar_with_a_mouse(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    expect(page.locator("#ticket")).to_contain_text("A-07")
    dialog = open_calendar(page)
    expect(
        dialog.get_by_role("link", name="23 November, today, shown on the map, your seat: A-07, 79 free")
    ).to_be_visible()
    page.mouse.click(10, 790)
    expect(dialog).to_be_hidden()
    expect(page.locator("#panel[data-seat-id='7']")).to_be_visible()
    open_calendar(page).get_by_role("button", name="Close the calendar").click()
    expect(dialog).to_be_hidden()
    dialog = open_calendar(page)
    page.keyboard.press("Escape")  # closes the calendar only
    expect(dialog).to_be_hidden()
    expect(page.locator("#panel[data-seat-id='7']")).to_be_visible()
    dialog = open_calendar(page)
    for month in ("December 2026", "January 2027", "February 2027"):
        dialog.get_by_role("link", name="Next month").click()
        expect(dialog.get_by_role("heading", name=month)).to_be_visible()
    expect(dialog.get_by_role("link", name="Next month")).to_have_count(0)
    expect(dialog.locator(":focus")).to_be_visible()  # where the arrow went, the focus did not fall out of the dialog
    dialog.get_by_role("link", name="22 February, can be booked from 24 Nov").click(force=True)
    expect(dialog).to_be_visible()
    dialog.get_by_role("link", name="Sunday 21 February, 80 free").click()
    heading(page, "21 February")
    expect(page.locator("#panel")).to_be_hidden()
    dialog = open_calendar(page)
    expect(dialog.get_by_role("heading", name="February 2027")).to_be_visible()
    dialog.get_by_role("link", name="Today", exact=True).click()
    heading(page, "23 November")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_contain_text("21 February")


def test_the_week_leads_to_other_days_and_follows_the_live_map(page: Page, book: Callable[[int], str]) -> None:
    open_live(page)
    expect(page.locator("#weekday-1")).to_have_text(re.compile("80 free"))
    book(7)
    expect(page.locator("#weekday-1")).to_have_text(re.compile("79 free"))
    page.locator("#weekday-4").focus()
    page.keyboard.press("Enter")
    heading(page, "26 November")
    page.get_by_role("link", name="Next week").focus()
    for day in ("3 December", "10 December"):
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text(day)
        expect(page.get_by_role("link", name="Next week")).to_be_focused()  # to press it again
    page.get_by_role("link", name="Today", exact=True).focus()
    page.keyboard.press("Enter")
    heading(page, "23 November")  # the link is gone


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (
            "/",
            "#weekday-1[aria-current] .weekday-name >> text=Today",
            "#weekday-2[aria-current] .weekday-name >> text=Today",
        ),
        ("/days/2026-11-23", "#weekday-1 .weekday-name >> text=Today", "#weekday-2 .weekday-name >> text=Today"),
        (
            "/days/2026-11-25/seats/7",
            "#weekday-1 .weekday-name >> text=Today",
            "#weekday-2 .weekday-name >> text=Today",
        ),
        ("/calendar/2026-11", "#month-2026-11-23[aria-current]", "#month-2026-11-24[aria-current]"),
        ("/my/bookings", ".line >> text=Tomorrow", ".line >> text=Today"),
    ],
)
def test_every_page_calls_the_new_day_today_after_midnight(
    page: Page, site: Site, sign_in: Callable[..., Any], guard: Guard, path: str, before: str, after: str
) -> None:
    guard.expected = ("htmx:error: timeout",)  # a map that is not live may ask just when the clock jumps
    sign_in(page)
    page.goto("/days/2026-11-24/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    expect(page.locator("#ticket")).to_contain_text("A-07")
    page.clock.install(time=datetime(2026, 11, 23, 21, tzinfo=UTC))
    page.goto(path)
    expect(page.locator(before)).to_be_visible()
    # The computer sleeps over midnight. Its clock is a few minutes fast: the site's day is not over when it asks first.
    with page.expect_response(lambda response: "hx-request" in response.request.headers):
        page.clock.fast_forward("03:01:00")
    expect(page.locator(".htmx-request")).to_have_count(0)
    site.clock.today = site.clock.ahead(1)
    page.clock.fast_forward("01:00")
    expect(page.locator(after)).to_be_visible()
    expect(page.locator(before)).to_have_count(0)
    expect(page).to_have_url(site.url + path)


def test_the_calendar_opens_as_a_page_if_it_cannot_be_loaded(page: Page, guard: Guard) -> None:
    guard.expected = ("ERR_FAILED",)
    page.route("**/calendar.js?*", lambda route: route.abort())
    page.goto(DAY)
    page.get_by_role("link", name="Calendar").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Choose a day")
    page.unroute("**/calendar.js?*")
    page.reload()
    page.get_by_role("link", name="Tuesday 24 November, 80 free").focus()
    for key, day in [("PageDown", "2026-12-24"), ("ArrowUp", "2026-12-17")]:
        page.keyboard.press(key)
        focused(page, day)
    expect(page).to_have_url(re.compile("/calendar/2026-12"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/days/2026-12-17$"))


def test_a_month_that_does_not_arrive_is_reported(page: Page, guard: Guard) -> None:
    guard.expected = ("ERR_", "Failed to fetch", "htmx:error")
    page.goto(DAY)
    dialog = open_calendar(page)
    page.route("**/calendar/2026-12?*", lambda route: route.abort())
    focused(page, "2026-11-23")
    page.keyboard.press("PageDown")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("alert")).to_contain_text("No response")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 320, "height": 700}, {"width": 844, "height": 390}])
def test_the_calendar_fits_every_screen(open_browser: Callable[..., Page], size: Any) -> None:
    touch = {} if size is DESKTOP else {"has_touch": True, "is_mobile": True}
    page = open_browser(viewport=size, **touch)
    page.goto(DAY)
    dialog = open_calendar(page)
    focused(page, "2026-11-23")
    dialog.evaluate("box => Promise.all(box.getAnimations().map((rise) => rise.finished))")
    box = dialog.bounding_box()
    assert 0 <= box["x"] <= size["width"] - box["width"]
    assert 0 <= box["y"] <= size["height"] - box["height"]
    assert dialog.evaluate("box => box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight + 1")
    minimum = 24 if size is DESKTOP else 44
    small = dialog.evaluate(
        """(dialog, minimum) => [...dialog.querySelectorAll("a, button")].filter((target) => {
            const { width, height } = target.getBoundingClientRect();
            return width < minimum - 0.5 || height < minimum - 0.5;
        }).map((target) => target.outerHTML)""",
        minimum,
    )
    assert small == []
    if size is DESKTOP:
        axe_finds_nothing(page)
