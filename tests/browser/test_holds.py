"""Holds: opening a seat's panel holds it for a while, others see it on hold, and leaving releases it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import DESKTOP, PHONE, axe_finds_nothing
from tests.browser.conftest import FIGTREE, Guard, without_figtree
from tests.browser.test_journeys import DAY, announced, heeds_presses, seat, tab_to
from tests.browser.test_live import (
    NETWORK,
    POLL_MS,
    STREAM,
    TIMEOUT,
    KeptBack,
    break_streams,
    cancel,
    fail,
    is_live,
    open_live,
    stays_silent,
)
from tests.support import Site

TOUCH = {"has_touch": True, "is_mobile": True}


def has_hold(page: Page) -> None:
    expect(page.locator("#hold .hold-now")).to_be_visible()


@pytest.fixture
def ada(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> Page:
    """Return a signed-in user's page with a live map."""
    page = open_browser()
    sign_in(page, "ada")
    open_live(page)
    return page


@pytest.fixture
def grace(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> Page:
    """Return another user's page with a live map."""
    page = open_browser()
    sign_in(page, "grace")
    open_live(page)
    return page


def seconds_left(page: Page) -> int:
    """Return the seconds that the page shows as left of its user's hold."""
    minutes, seconds = page.locator("#hold .clock").inner_text().split(":")
    return 60 * int(minutes) + int(seconds)


def test_choosing_a_seat_holds_it_and_counts_down(page: Page, sign_in: Callable[..., Any]) -> None:
    page.clock.install()
    sign_in(page)
    open_live(page)
    seat(page, "A-07", "free").click()
    has_hold(page)
    book = page.get_by_role("button", name="Book A-07")
    expect(book).to_be_focused()
    clock = page.get_by_role("timer")
    expect(clock).to_have_text(re.compile(r"^Held for you · (1:30|1:[0-2]\d|0:\d\d)$"))
    before = seconds_left(page)
    page.clock.fast_forward(10_000)
    expect(clock).not_to_contain_text(f"{before // 60}:{before % 60:02}")
    assert seconds_left(page) <= before - 10
    stays_silent(page)
    expect(seat(page, "A-07", "free")).to_be_attached()  # for her it is free: she may book it
    book.click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    expect(page.locator("#hold")).to_have_count(0)


def test_a_hold_announces_its_end_once_and_can_be_renewed(
    page: Page, guard: Guard, sign_in: Callable[..., Any]
) -> None:
    guard.expected = (TIMEOUT,)
    page.clock.install()
    sign_in(page)
    open_live(page, f"{DAY}/seats/7")
    has_hold(page)
    page.clock.fast_forward(1000 * (seconds_left(page) - 50))
    stays_silent(page)
    page.clock.fast_forward(1000 * (seconds_left(page) - 15))
    announced(page, "20 seconds left to book A-07.")
    page.clock.fast_forward(20_000)
    expect(page.locator("#hold")).to_contain_text("Your hold has ended. Anyone can book this seat now, including you.")
    expect(page.get_by_role("timer")).to_be_hidden()
    expect(page.get_by_role("button", name="Book A-07")).to_be_enabled()
    page.get_by_role("button", name="Hold again").click()
    has_hold(page)
    expect(page.get_by_role("timer")).to_contain_text(re.compile(r"1:(30|[0-2]\d)"))


@pytest.mark.parametrize(
    ("options", "sizes"), [({}, [DESKTOP]), (TOUCH, [PHONE, {"width": 320, "height": 640}])], ids=["desktop", "phones"]
)
def test_nothing_moves_when_a_hold_starts_or_ends(
    open_browser: Callable[..., Page],
    guard: Guard,
    sign_in: Callable[..., Any],
    options: dict[str, Any],
    sizes: list[dict[str, int]],
) -> None:
    guard.expected = (TIMEOUT,)
    page = open_browser(**options, reduced_motion="reduce")
    page.clock.install()
    sign_in(page)
    delayed = KeptBack(page, "**/hold")
    without_figtree(page)
    for font, size in [("stand-in", size) for size in sizes] + [("figtree", size) for size in sizes]:
        if font == "figtree":
            page.unroute(FIGTREE)
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        page.goto(f"{DAY}/seats/7")
        book, panel = page.get_by_role("button", name="Book A-07"), page.locator("#panel")
        delayed.wait()
        page.evaluate("document.fonts.ready.then(() => null)")
        heeds_presses(page)
        assert page.evaluate("[...document.fonts].some(one => one.status === 'loaded')") is (font == "figtree")
        before = book.bounding_box(), panel.bounding_box()
        delayed.let_through()
        has_hold(page)
        assert (book.bounding_box(), panel.bounding_box()) == before, f"{font}, {size}"
        page.clock.fast_forward(91_000)
        expect(page.get_by_role("button", name="Hold again")).to_be_visible()
        assert (book.bounding_box(), panel.bounding_box()) == before, f"{font}, {size}"


def close(page: Page) -> None:
    page.get_by_role("link", name="Close seat A-07").click()
    expect(page.locator("#panel")).to_be_hidden()


def escape(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(seat(page, "A-07", "free")).to_be_focused()


def release(page: Page) -> None:
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#panel")).to_be_hidden()
    expect(page).to_have_url(re.compile(DAY + "$"))
    expect(seat(page, "A-07", "free")).to_be_focused()
    announced(page, "A-07 is released.")


def open_other_day(page: Page) -> None:
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("25 November")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("25 November")


def choose_other(page: Page) -> None:
    seat(page, "D-01", "free").click()
    expect(page.locator("#hold[data-address$='/61'] .hold-now")).to_be_visible()


def choose_taken(page: Page) -> None:
    seat(page, "D-20", "taken").click()
    expect(page.locator("#panel")).to_contain_text("Taken")


def go_back(page: Page) -> None:
    page.go_back()
    expect(page.locator("#panel")).to_be_hidden()


def open_other_page(page: Page) -> None:
    page.get_by_role("link", name="My bookings").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("My bookings")


def close_tab(page: Page) -> None:
    page.close(run_before_unload=True)


LEAVING = [close, escape, release, open_other_day, choose_other, choose_taken, go_back, open_other_page, close_tab]


def test_leaving_the_panel_releases_the_seat(ada: Page, grace: Page, book: Callable[[int], str]) -> None:
    book(80)
    for leave in LEAVING:
        open_live(ada)
        seat(ada, "A-07", "free").click()
        has_hold(ada)
        expect(seat(grace, "A-07", "on hold"), leave.__name__).to_be_attached()
        leave(ada)
        expect(seat(grace, "A-07", "free"), leave.__name__).to_be_attached()
        held = 1 if leave is choose_other else 0
        expect(grace.locator("[data-status=held]:not(.seat-sample)"), leave.__name__).to_have_count(held)
        stays_silent(grace)


def test_returning_from_the_back_forward_cache_holds_the_seat_again(ada: Page, grace: Page) -> None:
    seat(ada, "A-07", "free").click()
    has_hold(ada)
    expect(seat(grace, "A-07", "on hold")).to_be_attached()
    ada.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(seat(grace, "A-07", "free")).to_be_attached()
    ada.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(seat(grace, "A-07", "on hold")).to_be_attached()
    has_hold(ada)
    is_live(ada)


def test_going_back_in_the_history_holds_the_seat_again(ada: Page, grace: Page) -> None:
    seat(ada, "A-07", "free").click()
    has_hold(ada)
    ada.get_by_role("link", name="My bookings").click()
    expect(seat(grace, "A-07", "free")).to_be_attached()
    ada.go_back()
    has_hold(ada)
    expect(seat(grace, "A-07", "on hold")).to_be_attached()


def test_a_seat_held_by_someone_else_shows_the_time_left_and_another_seat(ada: Page, grace: Page) -> None:
    seat(ada, "A-07", "free").click()
    has_hold(ada)
    seat(grace, "A-07", "on hold").click()
    expect(grace.locator("#panel")).to_contain_text(re.compile(r"On hold for someone else · up to 1:[0-9]{2}"))
    first = grace.locator("#panel .clock").inner_text()
    expect(grace.locator("#panel .clock")).not_to_have_text(first)
    expect(grace.get_by_role("button", name="Book A-06 instead")).to_be_visible()
    expect(grace.get_by_role("heading", name="Seat A-07")).to_be_focused()
    expect(grace.locator("#hold")).to_have_count(0)
    close(ada)
    announced(grace, "A-07 is free again.")
    expect(grace.get_by_role("button", name="Book A-07")).to_be_visible()
    # Grace did not choose it again, so she does not hold it.
    expect(grace.locator("#hold")).to_have_count(0)
    expect(seat(ada, "A-07", "free")).to_be_attached()
    grace.get_by_role("button", name="Book A-07").click()
    expect(seat(ada, "A-07", "taken")).to_be_attached()


def test_a_user_who_loses_the_race_for_a_hold_is_told_at_once(ada: Page, grace: Page, guard: Guard) -> None:
    guard.expected = NETWORK
    grace.route(STREAM, lambda route: route.abort())
    grace.reload()
    delayed = KeptBack(grace, "**/hold")
    seat(grace, "A-07", "free").click()
    expect(grace.get_by_role("button", name="Book A-07")).to_be_visible()
    delayed.wait()
    seat(ada, "A-07", "free").click()
    has_hold(ada)
    delayed.let_through()
    expect(grace.get_by_role("button", name="Book A-06 instead")).to_be_visible()
    expect(grace.get_by_role("heading", name="Seat A-07")).to_be_focused()
    expect(grace.get_by_role("alert")).to_contain_text("A-07")
    expect(seat(grace, "A-07", "on hold")).to_be_attached()
    has_hold(ada)


def test_booking_does_not_wait_for_the_hold(ada: Page) -> None:
    delayed = KeptBack(ada, "**/hold")
    seat(ada, "A-07", "free").click()
    delayed.wait()
    ada.get_by_role("button", name="Book A-07").click()
    expect(seat(ada, "A-07", "yours")).to_be_visible()
    announced(ada, "A-07 is yours")
    expect(ada.locator("#hold")).to_have_count(0)


def test_booking_works_when_the_hold_fails(ada: Page, guard: Guard) -> None:
    guard.expected = (*NETWORK, "status of 50")
    answers: list[dict[str, Any] | None] = [{"status": 503, "body": "busy"}, {"status": 502, "body": "<html>"}, None]
    for answer in answers:
        ada.unroute_all()
        ada.route("**/hold", partial(fail, answer=answer))
        with ada.expect_event("requestfinished" if answer else "requestfailed", lambda one: "/hold" in one.url):
            seat(ada, "A-07", "free").click()
        expect(ada.get_by_role("button", name="Book A-07")).to_be_focused()
        expect(ada.locator("#say-alert p")).to_have_count(0)
        ada.get_by_role("button", name="Book A-07").click()
        expect(seat(ada, "A-07", "yours")).to_be_visible()
        cancel(ada)
        open_live(ada)  # without the notice that offers Undo


def test_a_hold_that_arrives_after_its_panel_was_closed_is_released(ada: Page, grace: Page) -> None:
    delayed = KeptBack(ada, "**/hold", responses=True)
    seat(ada, "A-07", "free").click()
    expect(seat(grace, "A-07", "on hold")).to_be_attached()
    close(ada)
    delayed.let_through()
    expect(seat(grace, "A-07", "free")).to_be_attached()


def test_choosing_several_seats_quickly_holds_only_the_last(ada: Page, grace: Page) -> None:
    for number in (6, 7, 8, 9):
        ada.locator(f"#seat-{number}").click()
    expect(ada.locator("#hold[data-address$='/9'] .hold-now")).to_be_visible()
    expect(grace.locator(".map [data-status=held]")).to_have_count(1)
    expect(seat(grace, "A-09", "on hold")).to_be_attached()


def test_polling_does_not_restart_the_hold(ada: Page, guard: Guard, book: Callable[[int], str]) -> None:
    """Without a stream, the page polls every four seconds."""
    guard.expected = NETWORK
    break_streams(ada, None)
    ada.clock.install()
    ada.goto(DAY)
    seat(ada, "A-07", "free").click()
    has_hold(ada)
    token = ada.locator("#hold").get_attribute("data-token")
    book(8)
    ada.clock.fast_forward(POLL_MS)
    expect(seat(ada, "A-08", "taken")).to_be_attached()
    assert ada.locator("#hold").get_attribute("data-token") == token
    expect(ada.get_by_role("timer")).to_contain_text(re.compile("1:[0-2]|0:"))
    expect(ada.get_by_role("button", name="Book A-07")).to_be_focused()
    stays_silent(ada)


def test_choosing_a_seat_to_move_to_holds_it(ada: Page, grace: Page) -> None:
    seat(ada, "A-07", "free").click()
    ada.get_by_role("button", name="Book A-07").click()
    expect(seat(ada, "A-07", "yours")).to_be_visible()
    seat(ada, "C-05", "free").click()
    has_hold(ada)
    expect(seat(grace, "C-05", "on hold")).to_be_attached()
    ada.get_by_role("button", name="Move from A-07 to C-05").click()
    expect(seat(grace, "C-05", "taken")).to_be_attached()
    expect(seat(grace, "A-07", "free")).to_be_attached()


def test_holding_releasing_and_booking_by_keyboard_alone(ada: Page, grace: Page) -> None:
    tab_to(ada, seat(ada, "A-01", "free"))
    ada.keyboard.press("ArrowRight")
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("button", name="Book A-02")).to_be_focused()
    has_hold(ada)
    tab_to(ada, ada.get_by_role("button", name="Release seat A-02"), presses=3)
    heeds_presses(ada)
    ada.keyboard.press("Enter")
    announced(ada, "A-02 is released.")
    expect(seat(ada, "A-02", "free")).to_be_focused()
    expect(seat(grace, "A-02", "free")).to_be_attached()
    ada.keyboard.press("ArrowRight")
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("button", name="Book A-03")).to_be_focused()
    heeds_presses(ada)
    ada.keyboard.press("Enter")
    expect(seat(ada, "A-03", "yours")).to_be_visible()
    expect(seat(grace, "A-03", "taken")).to_be_attached()
    announced(ada, "A-03 is yours")


def test_without_scripts_no_hold_is_shown(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> None:
    page = open_browser(java_script_enabled=False)
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    expect(page.locator("#hold")).to_be_hidden()
    assert page.locator("#panel").get_by_role("button").count() == 1
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_choosing_a_seat_after_the_session_ended_says_so(ada: Page, guard: Guard, site: Site) -> None:
    guard.expected = NETWORK
    ada.route(STREAM, lambda route: route.abort())
    ada.goto(DAY)
    delayed = KeptBack(ada, "**/seats/7", responses=True)
    seat(ada, "A-07", "free").click()
    delayed.wait()
    ada.context.clear_cookies(name=re.compile("seatweb_(session|renewal)"))
    delayed.let_through()
    announced(ada, "You were signed out.", "alert")
    expect(ada).to_have_url(re.compile("/seats/7$"))


def test_axe_finds_nothing_while_a_seat_is_held(
    open_browser: Callable[..., Page], guard: Guard, sign_in: Callable[..., Any]
) -> None:
    guard.expected = (TIMEOUT,)
    page = open_browser(reduced_motion="reduce")
    other = open_browser(reduced_motion="reduce")
    page.clock.install()
    sign_in(page, "ada")
    sign_in(other, "grace")
    open_live(page, f"{DAY}/seats/7")
    has_hold(page)
    open_live(other, f"{DAY}/seats/7")
    expect(other.locator("#panel")).to_contain_text("On hold")
    axe_finds_nothing(other)
    has_hold(page)
    axe_finds_nothing(page)
    page.clock.fast_forward(91_000)
    expect(page.get_by_role("button", name="Hold again")).to_be_visible()
    axe_finds_nothing(page)
