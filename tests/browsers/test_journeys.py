"""What people do in Firefox and in WebKit: by mouse, by keyboard alone, side by side, and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browsers.conftest import DESKTOP, PHONE
from tests.browsers.drivers import WebKit
from tests.browsers.page import Page, button, field, in_main, link, says, seat
from tests.support import Site, run

DAY = "/days/2026-11-23"


def register(page: Page, username: str = "ada") -> None:
    page.fill(field("Username"), username)
    page.fill(field("Password"), "correct horse battery")
    page.click(in_main(button("Register")))


def book(page: Page, label: str) -> None:
    page.click(seat(label, "free"))
    page.click(button(f"Book {label}"))
    page.sees(seat(label, "yours"))


def is_live(page: Page) -> None:
    page.has(".live[data-live=live]")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_visitor_registers_books_cancels_and_signs_out(
    open_browser: Callable[..., Page], size: tuple[int, int]
) -> None:
    page = open_browser(size)
    page.open("/")
    page.click(seat("A-07", "free"))
    page.is_at(f"{DAY}/seats/7")
    page.click("//*[@id='panel']" + link("Register"))
    register(page)
    # Back at the seat that they chose before they had an account.
    page.is_at(f"{DAY}/seats/7")
    page.click(button("Book A-07"))
    page.sees(seat("A-07", "yours"))
    page.sees(says("A-07 is yours"))
    page.click(link("My bookings"))
    page.reads("main", "A-07")
    page.click(in_main(button("Cancel")))
    page.sees(says("A-07 is free again"))
    page.sees_no(in_main(button("Cancel")))
    page.open("/account")
    page.click(in_main(button("Sign out")))
    page.sees(says("signed out"))
    page.sees(link("Sign in"))


def test_moving_and_cancelling_on_the_map(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> None:
    page = open_browser()
    sign_in(page)
    page.open(DAY)
    page.run("window.stillHere = true")
    book(page, "A-07")
    page.click(seat("C-03", "free"))
    page.click(button("Move from A-07 to C-03"))
    page.sees(seat("C-03", "yours"))
    page.sees(seat("A-07", "free"))
    page.sees(says("C-03 is yours now"))
    page.is_at(f"{DAY}/seats/43")
    page.click(button("Cancel booking"))
    page.sees(seat("C-03", "free"))
    page.sees(says("C-03 is free again"))
    page.sees_no("#panel")
    assert page.run("return window.stillHere") is True  # the page was never reloaded


def test_two_users_see_each_other_choose_book_and_cancel(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, grace = open_browser(), open_browser()
    for page, name in ((ada, "ada"), (grace, "grace")):
        sign_in(page, name)
        page.open(DAY)
        is_live(page)
        page.run("window.stillHere = true")
    ada.click(seat("A-07", "free"))
    ada.reads(".hold-now", "Held for you")
    grace.sees(seat("A-07", "on hold"))
    ada.click(link("Close seat A-07"))  # releases it
    grace.sees(seat("A-07", "free"))
    book(ada, "A-07")
    grace.sees(seat("A-07", "taken"))
    grace.reads("#tally", "79")
    ada.click(button("Cancel booking"))
    grace.sees(seat("A-07", "free"))
    grace.reads("#tally", "80")
    assert grace.run("return window.stillHere") is True
    grace.sees_no(says(""))  # other people's changes are not announced


def test_any_number_of_windows_is_live_with_one_stream(open_browser: Callable[..., Page], site: Site) -> None:
    """With HTTP/1.1, a browser opens six connections to a host. With a stream each, the seventh window did not load."""

    async def book_for_someone(seat_id: int) -> None:
        async with site.people(1, prefix=f"someone-{seat_id}-") as (visitor,):
            assert (await visitor.book(site.clock.today, seat_id)).status_code == 303

    page = open_browser()
    for number in range(7):
        if number:
            page.driver.switch_to.new_window("window")
        page.open("/days/2026-11-24" if number == 3 else DAY)
        is_live(page)
    windows = page.driver.window_handles

    def everyone_sees(label: str, seat_id: int) -> None:
        run(book_for_someone(seat_id))
        for number, window in enumerate(windows):
            page.driver.switch_to.window(window)
            page.has(seat(label, "free" if number == 3 else "taken"))

    everyone_sees("A-07", 7)
    page.driver.switch_to.window(windows[0])
    page.open("/login")  # the first window read the stream; another one goes on
    windows = windows[1:3]
    everyone_sees("A-08", 8)


def test_leaving_the_page_releases_the_seat_and_going_back_holds_it_again(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, grace = open_browser(), open_browser()
    for page, name in ((ada, "ada"), (grace, "grace")):
        sign_in(page, name)
        page.open(DAY)
        is_live(page)
    ada.click(seat("A-07", "free"))
    grace.sees(seat("A-07", "on hold"))
    ada.click(link("My bookings"))
    ada.sees(link("Find a seat for today"))
    grace.sees(seat("A-07", "free"))
    ada.back()
    ada.sees(button("Book A-07"))
    is_live(ada)
    grace.sees(seat("A-07", "on hold"))
    ada.reads(".hold-now", "Held for you")
    ada.click(button("Book A-07"))
    grace.sees(seat("A-07", "taken"))


def test_a_map_from_the_back_forward_cache_catches_up(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, visitor = open_browser(), open_browser()
    sign_in(ada)
    ada.open(DAY)
    visitor.open(DAY)
    is_live(visitor)
    visitor.click(link("Register"))
    visitor.sees(field("Username"))
    book(ada, "A-07")
    visitor.back()
    visitor.sees(seat("A-07", "taken"))
    is_live(visitor)
    ada.click(button("Cancel booking"))
    visitor.sees(seat("A-07", "free"))


def test_the_back_button_goes_back_one_step(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> None:
    page = open_browser()
    sign_in(page)
    page.open(DAY)
    page.click(seat("A-07", "free"))
    page.sees(button("Book A-07"))
    page.click("//nav[@aria-label='Days of this week']//a[contains(., '25 November')]")
    page.reads("h1", "25 November")
    page.back()
    page.is_at(f"{DAY}/seats/7")
    page.sees(button("Book A-07"))
    page.reads("h1", "23 November")
    page.back()
    page.is_at(DAY)
    page.sees_no("#panel")


def test_the_whole_journey_by_keyboard_alone(open_browser: Callable[..., Page]) -> None:
    page = open_browser()
    page.open("/register")
    page.has_focus(field("Username"))
    page.press("ada")
    page.tab_to(field("Password"), presses=3)
    page.press("correct horse battery", Keys.ENTER)
    page.reads("h1", "23 November")

    # Tab moves between sections, arrow keys between seats.
    page.tab_to(seat("A-01", "free"))
    page.press(Keys.ARROW_RIGHT)
    page.has_focus(seat("A-02", "free"))
    page.press(Keys.ARROW_DOWN)
    page.has_focus(seat("A-07", "free"))
    page.press(Keys.END)
    page.has_focus(seat("A-10", "free"))
    page.press(Keys.HOME)
    page.has_focus(seat("A-06", "free"))
    page.press(Keys.ARROW_RIGHT, Keys.SPACE)
    page.has_focus(button("Book A-07"))
    page.press(Keys.ESCAPE)
    page.sees_no("#panel")
    page.has_focus(seat("A-07", "free"))
    page.sees_no(".fresh")  # what has just arrived ignores presses for a moment
    page.press(Keys.ENTER)
    page.has_focus(button("Book A-07"))
    page.sees_no(".fresh")
    page.press(Keys.ENTER)
    page.sees(seat("A-07", "yours"))
    page.sees(says("A-07 is yours"))
    page.has_focus("#panel-name")  # the focus stays where the user is looking
    # Shift+Tab back to the map: Tab leads through the browser's own buttons, where Firefox's driver loses track.
    page.tab_to(seat("C-01", "free"), back=True, presses=10)
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    page.has_focus(button("Move from A-07 to C-03"))
    page.sees_no(".fresh")
    page.press(Keys.ENTER)
    page.sees(says("C-03 is yours now"))
    page.tab_to(button("Cancel booking"), presses=6)
    page.press(Keys.ENTER)
    page.sees(says("C-03 is free again"))
    page.has_focus(seat("C-03", "free"))
    page.tab_to(link("My bookings"), back=True)
    page.press(Keys.ENTER)
    page.reads("h1", "My bookings")


def test_everything_works_without_javascript(open_browser: Callable[..., Page]) -> None:
    page = open_browser(javascript=False)
    page.open("/")
    page.click(link("Register"))
    register(page)
    page.sees_no(".live")
    book(page, "A-07")
    page.is_at(f"{DAY}/seats/7")
    page.sees(says("A-07 is yours"))
    page.click(seat("C-03", "free"))
    page.click(button("Move from A-07 to C-03"))
    page.sees(seat("C-03", "yours"))
    page.click(button("Cancel booking"))
    page.sees(seat("C-03", "free"))
    page.open("/days/2026-12-01")
    page.click(button("Book any free seat"))
    page.sees(says("A-01 is yours"))
    page.click(link("My bookings"))
    page.click(in_main(button("Cancel")))
    page.sees(says("A-01 is free again"))
    page.open("/account")
    page.click(in_main(button("Sign out")))
    page.click(link("Sign in"))
    page.fill(field("Username"), "ADA")
    page.fill(field("Password"), "wrong")
    page.click(in_main(button("Sign in")))
    page.reads("main", "Wrong username or password")
    assert page.sees(field("Username")).get_property("value") == "ADA"


def test_the_url_of_a_seat_scrolls_only_as_far_as_needed_to_show_it(
    open_browser: Callable[..., Page],
) -> None:
    """On the first page of a visit, scripts may run before the style sheet has loaded, as in WebKit."""
    desktop, phone = open_browser(DESKTOP), open_browser(PHONE)
    desktop.open(f"{DAY}/seats/7")
    is_live(desktop)
    assert desktop.run("return scrollY") == 0
    phone.open(f"{DAY}/seats/60")
    is_live(phone)
    seat_is_above_panel = """
        const [seat, panel] = ["#seat-60", "#panel"].map((one) => document.querySelector(one).getBoundingClientRect());
        return seat.top >= 0 && seat.bottom <= panel.top;
    """
    phone.wait(lambda: phone.run(seat_is_above_panel), "the seat is above the panel")


@pytest.mark.parametrize("path", ["/", f"{DAY}/seats/7", "/login", "/register", "/docs"])
def test_webkit_logs_no_problem(site: Site, screen: str, tmp_path: Path, path: str) -> None:
    """Firefox's console is checked after every journey; WebKit's can only be read without automation."""
    console = WebKit(tmp_path / "browser", screen).load(site.url + path)
    messages = [line for line in console.splitlines() if "CONSOLE" in line]
    # This build does not support web app manifests, so it does not know the policy's directive for them.
    assert [line for line in messages if "'manifest-src'" not in line] == []
