"""What people do, in a real browser: with a mouse, with the keyboard alone, and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.axe import PHONE
from tests.browser.conftest import Guard
from tests.support import Site

DAY = "/days/2026-11-23"


def seat(page: Page, label: str, status: str) -> Any:
    """Return a seat of the map while it has this status; of a taken seat, the name may say by whom."""
    by = "( by .+)?" if status == "taken" else ""
    return page.get_by_role("link", name=re.compile(f"^Seat {label}, {status}{by}$"))


def register(page: Page, username: str = "ada") -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("main").get_by_role("button", name="Register").click()


def announced(page: Page, text: str | re.Pattern[str], role: Any = "status") -> None:
    said = page.get_by_role(role).locator("p").filter(has_text=text)
    if role == "status":
        expect(said).to_be_attached()  # it fades after eight seconds, and a busy machine may need longer to look
    else:
        expect(said).to_be_visible()


def heeds_presses(page: Page) -> None:
    """Wait until everything on the page heeds presses: what has just arrived ignores them for a moment."""
    expect(page.locator(".fresh")).to_have_count(0)


@pytest.mark.parametrize(
    "options", [{}, {"viewport": PHONE, "has_touch": True, "is_mobile": True}], ids=["desktop", "phone"]
)
def test_a_visitor_registers_books_cancels_and_signs_out(
    open_browser: Callable[..., Page], options: dict[str, Any]
) -> None:
    page = open_browser(**options)
    page.goto("/")
    seat(page, "A-07", "free").click()
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))
    page.get_by_role("link", name="Register", exact=True).last.click()
    register(page)
    # Back at the seat that they chose before they had an account.
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    announced(page, "A-07 is yours")

    page.get_by_role("link", name="My bookings").click()
    expect(page.get_by_role("main")).to_contain_text("A-07")
    page.get_by_role("main").get_by_role("button", name=re.compile("^Cancel")).click()
    announced(page, "A-07 is free again")
    expect(page.get_by_role("main").get_by_role("button", name=re.compile("^Cancel"))).to_have_count(0)
    page.goto("/account")
    page.get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    announced(page, "signed out")
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()


def test_on_a_phone_an_announcement_does_not_block_the_links_under_it(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    page = open_browser(viewport=PHONE, reduced_motion="reduce")  # so the announcement does not fade
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    expect(page.get_by_role("status").locator("p").filter(has_text="A-07 is yours")).to_be_visible()
    link = page.get_by_role("link", name="My bookings")
    heeds_presses(page)
    assert link.evaluate(
        """link => {
            link.scrollIntoView();
            const box = link.getBoundingClientRect();
            return link.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
        }"""
    )


def test_moving_and_cancelling_on_the_map(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(DAY)
    seat(page, "A-07", "free").click()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    seat(page, "C-03", "free").click()
    page.get_by_role("button", name="Move from A-07 to C-03").click()
    expect(seat(page, "C-03", "yours")).to_be_visible()
    expect(seat(page, "A-07", "free")).to_be_visible()
    announced(page, "C-03 is yours now")
    expect(page).to_have_url(re.compile("/seats/43$"))
    expect(page).to_have_title(re.compile("C-03"))
    page.get_by_role("button", name="Cancel booking").click()
    expect(seat(page, "C-03", "free")).to_be_visible()
    announced(page, "C-03 is free again")
    expect(page.locator("#panel")).to_be_hidden()


def test_booking_swaps_in_place_without_reloading_the_page(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(DAY)
    page.evaluate("window.stillHere = true")
    seat(page, "A-07", "free").click()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("24 November")).click()
    expect(page).to_have_url(re.compile("/days/2026-11-24$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 November")
    expect(page).to_have_title(re.compile("24 November"))
    assert page.evaluate("window.stillHere") is True


def test_the_back_button_goes_back_one_step(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(DAY)
    seat(page, "A-07", "free").click()
    expect(page.get_by_role("button", name="Book A-07")).to_be_visible()
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("25 November")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("25 November")
    page.go_back()
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))
    expect(page.get_by_role("button", name="Book A-07")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("23 November")
    page.go_back()
    expect(page).to_have_url(re.compile(DAY + "$"))
    expect(page.locator("#panel")).to_be_hidden()
    page.go_forward()
    expect(page.get_by_role("button", name="Book A-07")).to_be_visible()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def block_holds_and_streams(page: Page) -> None:
    """Refuse holds and live streams, as if Redis were down and the network bad."""
    page.route(re.compile(r"/hold$|/live\?"), lambda route: route.fulfill(status=503, body="away"))


def test_the_loser_of_a_race_is_offered_the_nearest_free_seat(
    open_browser: Callable[..., Page], guard: Guard, sign_in: Callable[..., Any]
) -> None:
    guard.expected = ("status of 503",)
    ada, grace = open_browser(), open_browser()
    for page, name in ((ada, "ada"), (grace, "grace")):
        sign_in(page, name)
        block_holds_and_streams(page)
        page.goto(f"{DAY}/seats/7")
        expect(page.get_by_role("button", name="Book A-07")).to_be_visible()
    grace.get_by_role("button", name="Book A-07").click()
    expect(seat(grace, "A-07", "yours")).to_be_visible()
    ada.get_by_role("button", name="Book A-07").click()
    announced(ada, "Seat A-07 was booked a moment ago. A-06 is free.", "alert")
    expect(seat(ada, "A-07", "taken")).to_be_visible()
    expect(ada.locator("#panel")).to_contain_text("grace1")
    expect(ada.get_by_role("heading", name="Seat A-07")).to_be_focused()
    ada.get_by_role("button", name="Book A-06 instead").press("Enter")
    expect(seat(ada, "A-06", "yours")).to_be_visible()


def test_any_free_seat_books_one_in_the_shown_section(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(DAY + "?section=B")
    page.get_by_role("button", name="Book any free seat").click()
    expect(seat(page, "B-01", "yours")).to_be_visible()
    expect(page).to_have_url(re.compile(re.escape("/seats/21?section=B") + "$"))
    expect(page.get_by_role("button", name="Book any free seat")).to_have_count(0)


def test_everything_works_without_scripts(open_browser: Callable[..., Page]) -> None:
    page = open_browser(java_script_enabled=False)
    page.goto("/")
    page.get_by_role("link", name="Register", exact=True).first.click()
    register(page, "ada")
    seat(page, "A-07", "free").click()
    page.get_by_role("button", name="Book A-07").click()
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))
    expect(seat(page, "A-07", "yours")).to_be_visible()
    announced(page, "A-07 is yours")
    seat(page, "C-03", "free").click()
    page.get_by_role("button", name="Move from A-07 to C-03").click()
    expect(seat(page, "C-03", "yours")).to_be_visible()
    page.get_by_role("button", name="Cancel booking").click()
    expect(seat(page, "C-03", "free")).to_be_visible()
    page.get_by_role("link", name="Calendar").click()
    page.get_by_role("link", name="Next month").click()
    page.get_by_role("link", name="Tuesday 1 December, 80 free").click()
    expect(page).to_have_url(re.compile("/days/2026-12-01$"))
    page.get_by_role("button", name="Book any free seat").click()
    announced(page, "A-01 is yours")
    page.get_by_role("link", name="My bookings").click()
    page.get_by_role("main").get_by_role("button", name=re.compile("^Cancel")).click()
    announced(page, "A-01 is free again")
    page.goto("/account")
    page.get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("link", name="Sign in", exact=True).click()
    page.get_by_label("Username").fill("ADA")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("main")).to_contain_text("Wrong username or password")
    expect(page.get_by_label("Username")).to_have_value("ADA")


def test_a_visitor_who_chose_a_seat_finds_it_held_after_registering(page: Page) -> None:
    page.goto(DAY)
    seat(page, "A-07", "free").click()
    page.locator("#panel").get_by_role("link", name="Register").click()
    expect(page.get_by_text("Register to book A-07 on")).to_be_visible()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("main").get_by_role("button", name="Register").click()
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))
    announced(page, "you can book A-07 now")
    expect(page.locator("#panel .clock")).to_be_visible()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_the_loser_of_a_race_is_offered_a_seat_without_scripts(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any], book: Callable[[int], str]
) -> None:
    page = open_browser(java_script_enabled=False)
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    book(7)
    page.get_by_role("button", name="Book A-07").click()
    announced(page, "Seat A-07 was booked a moment ago. A-06 is free.", "alert")
    page.get_by_role("button", name="Book A-06 instead").click()
    expect(seat(page, "A-06", "yours")).to_be_visible()


def tab_to(page: Page, target: Any, key: str = "Tab", presses: int = 40) -> None:
    """Press a key until the target has the focus."""
    for _ in range(presses):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{presses} presses of {key} do not reach {target}")


def test_the_whole_journey_by_keyboard_alone(page: Page) -> None:
    page.goto("/register")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("ada")
    tab_to(page, page.get_by_label("Password", exact=True), presses=3)
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("23 November")

    # Tab moves between sections, arrow keys between seats.
    tab_to(page, seat(page, "A-01", "free"))
    page.keyboard.press("ArrowRight")
    expect(seat(page, "A-02", "free")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(seat(page, "A-07", "free")).to_be_focused()
    page.keyboard.press("End")
    expect(seat(page, "A-10", "free")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Book A-07")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(seat(page, "A-07", "free")).to_be_focused()
    heeds_presses(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Book A-07")).to_be_focused()
    heeds_presses(page)
    page.keyboard.press("Enter")
    expect(seat(page, "A-07", "yours")).to_be_visible()
    announced(page, "A-07 is yours")
    # The focus stays in the panel, where the user is looking.
    assert page.evaluate("document.querySelector('#panel').contains(document.activeElement)")
    tab_to(page, page.get_by_role("button", name="Cancel booking"), presses=6)
    page.keyboard.press("Enter")
    announced(page, "A-07 is free again")
    expect(seat(page, "A-07", "free")).to_be_focused()
    tab_to(page, page.get_by_role("link", name="My bookings"), key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("My bookings")


def test_arrow_keys_continue_into_the_next_section(page: Page) -> None:
    page.goto(DAY)
    seat(page, "A-05", "free").focus()
    page.keyboard.press("ArrowRight")
    expect(seat(page, "B-01", "free")).to_be_focused()
    seat(page, "A-18", "free").focus()
    page.keyboard.press("ArrowDown")
    expect(seat(page, "C-03", "free")).to_be_focused()


def test_a_double_click_books_once_and_shows_that_it_is_busy(
    page: Page, site: Site, sign_in: Callable[..., Any]
) -> None:
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    sent: list[str] = []
    delayed: list[Route] = []

    def delay(route: Route) -> None:
        sent.append(route.request.url)
        delayed.append(route)

    page.route("**/book", delay)
    button = page.get_by_role("button", name=re.compile("Book A-07|Booking"))
    button.dblclick()
    expect(page.locator("#panel [aria-busy=true], #panel .htmx-request, #panel button:disabled").first).to_be_visible()
    for route in delayed:
        route.continue_()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    assert len(sent) == 1


def test_a_failed_connection_is_reported_and_booking_can_be_retried(
    page: Page, guard: Guard, sign_in: Callable[..., Any]
) -> None:
    guard.expected = ("ERR_", "Failed to fetch", "htmx:error")
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.route("**/book", lambda route: route.abort("connectionfailed"))
    page.get_by_role("button", name="Book A-07").click()
    announced(page, re.compile("connection|answer", re.IGNORECASE), "alert")
    page.unroute("**/book")
    expect(page.get_by_role("button", name="Book A-07")).to_be_enabled()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


PROXIES = [
    (502, "<html><body>bad gateway</body></html>", "text/html"),
    (504, "timeout", "text/plain"),
    (200, "<p>Sign in to the airport's network</p>", "text/html"),
]


def test_a_response_from_a_proxy_does_not_replace_the_map(
    page: Page, guard: Guard, sign_in: Callable[..., Any]
) -> None:
    guard.expected = ("status of 502", "status of 504")
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    for status, body, kind in PROXIES:
        page.route("**/book", partial(Route.fulfill, status=status, body=body, content_type=kind))
        page.get_by_role("button", name="Book A-07").click()
        expect(page.get_by_role("alert").locator("p"), body).to_be_visible()
        expect(seat(page, "A-07", "free"), body).to_be_visible()
        page.get_by_role("button", name="Close this message").click()
        expect(page.get_by_role("alert"), body).to_be_empty()
        page.unroute("**/book")
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_choosing_a_seat_that_was_just_taken_shows_it_as_taken(
    page: Page, guard: Guard, sign_in: Callable[..., Any], book: Callable[..., str]
) -> None:
    guard.expected = ("status of 503",)
    sign_in(page)
    block_holds_and_streams(page)
    page.goto(DAY)
    book(7)
    seat(page, "A-07", "free").click()
    expect(page.get_by_role("button", name="Book A-06 instead")).to_be_visible()
    expect(page.get_by_role("heading", name="Seat A-07")).to_be_focused()
    expect(seat(page, "A-07", "taken")).to_be_visible()


def test_coming_back_online_is_announced_with_a_new_map(page: Page, guard: Guard, book: Callable[..., str]) -> None:
    # The network may go down during the stream's first request.
    guard.expected = ("ERR_INTERNET_DISCONNECTED", "Failed to fetch")
    page.goto(DAY)
    page.context.set_offline(offline=True)
    announced(page, re.compile("offline", re.IGNORECASE), "alert")
    book(7)
    page.context.set_offline(offline=False)
    announced(page, "You are back online.")
    expect(seat(page, "A-07", "taken")).to_be_visible()


def test_booking_after_the_session_ended_leads_to_the_sign_in_page(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.context.clear_cookies(name=re.compile("seatweb_(session|renewal)"))
    page.get_by_role("button", name="Book A-07").click()
    expect(page).to_have_url(re.compile(r"/login\?next=/days/2026-11-23/seats/7$"))


def test_the_password_can_be_shown(page: Page) -> None:
    page.goto("/login")
    field = page.get_by_label("Password", exact=True)
    field.fill("secret words")
    expect(field).to_have_attribute("type", "password")
    page.get_by_role("button", name=re.compile("Show")).click()
    expect(field).to_have_attribute("type", "text")
    expect(field).to_have_attribute("autocomplete", "current-password")
