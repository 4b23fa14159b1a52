"""A site under a path of its host, in a browser: everything works, and nothing outside of the path is requested."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Guard
from tests.browser.test_calendar import heading, open_calendar
from tests.browser.test_journeys import DAY, announced, heeds_presses, register, seat
from tests.browser.test_live import is_live
from tests.support import Site

BASE = "/tools/seats"


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site(SEATWEB_PUBLIC_URL=f"http://example.org{BASE}")


def test_a_visitor_registers_books_and_comes_back_under_the_path(
    open_browser: Callable[..., Page], site: Site, guard: Guard, book: Callable[[int], str]
) -> None:
    page = open_browser(base_url=f"{site.url}{BASE}/")
    requests: list[str] = []
    page.context.on("request", lambda request: requests.append(request.url))
    page.goto("")
    is_live(page)
    book(43)
    expect(seat(page, "C-03", "taken")).to_be_visible()  # the stream
    seat(page, "A-07", "free").click()
    expect(page).to_have_url(f"{site.url}{BASE}{DAY}/seats/7")
    page.get_by_role("link", name="Register", exact=True).last.click()
    register(page)
    expect(page).to_have_url(f"{site.url}{BASE}{DAY}/seats/7")
    expect(page.locator("#hold [role=timer]")).to_be_visible()  # a hold
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    heeds_presses(page)
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{site.url}{BASE}{DAY}")
    dialog = open_calendar(page)  # its files are loaded now
    page.keyboard.press("PageDown")
    expect(page.get_by_role("grid", name="December 2026")).to_be_visible()
    page.keyboard.press("PageUp")
    expect(page.get_by_role("grid", name="November 2026")).to_be_visible()
    dialog.locator("#month-2026-11-26").click()
    heading(page, "Thursday")
    expect(page).to_have_url(f"{site.url}{BASE}/days/2026-11-26")
    page.go_back()  # htmx restores the page
    expect(seat(page, "A-07", "yours")).to_be_visible()
    page.get_by_role("link", name="My bookings").click()
    page.get_by_role("button", name="Cancel").click()
    heeds_presses(page)
    page.get_by_role("main").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()

    page.goto("days/2026-11-26/seats/9")
    is_live(page)
    other = page.context.new_page()
    other.goto("account")
    other.get_by_role("navigation").get_by_role("button", name="Sign out").click()
    expect(other).to_have_url(f"{site.url}{BASE}/")
    announced(page, "You were signed out.", "alert")
    page.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile(f"{BASE}/login\\?next=%2Fdays%2F2026-11-26%2Fseats%2F9$"))
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.url}{BASE}/days/2026-11-26/seats/9")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.url}{BASE}/")
    assert [url for url in requests if not url.startswith(f"{site.url}{BASE}/")] == []
    assert guard.problems == []
