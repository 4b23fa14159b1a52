"""Promise 11 in a browser: stray clicks cancel nothing, and what a person did can be undone for ten seconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import axe_finds_nothing
from tests.browser.test_journeys import DAY, announced, register, seat, tab_to
from tests.support import Site, run

OFFER = "#say-status .undo p"
LEAVING = "offer => offer.getAnimations().find((one) => one.animationName === 'leave')"


def undo(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^Undo"))


def cancel(page: Page) -> Locator:
    return page.get_by_role("main").get_by_role("button", name=re.compile("^Cancel seat"))


def rows(page: Page) -> Locator:
    return page.locator("[aria-labelledby=upcoming-name] .line")


@pytest.fixture
def ada(page: Page, site: Site, sign_in: Callable[..., Any]) -> Page:
    """Return the page of a user who has booked A-01 today and on the two days after."""
    user = sign_in(page)

    async def book() -> None:
        connection = await asyncpg.connect(site.backends.database_url)
        for n in range(3):
            await connection.execute(
                "insert into bookings (day, seat_id, user_id) values ($1, 1, $2)", site.clock.ahead(n), user.id
            )
        await connection.close()

    run(book())
    return page


def press(control: Locator) -> None:
    """Press Enter on a control, once it heeds presses: what has just arrived ignores them for a moment."""
    expect(control).to_be_visible()
    expect(control.page.locator(".fresh")).to_have_count(0)
    control.press("Enter")


def ten_seconds_pass(page: Page, site: Site) -> None:
    async def age() -> None:
        connection = await asyncpg.connect(site.backends.database_url)
        await connection.execute("update bookings set cancelled_at = cancelled_at - interval '10 seconds'")
        await connection.close()

    run(age())
    page.clock.fast_forward(11_000)


def test_booking_moving_and_cancelling_on_the_map_are_undone_by_keyboard(
    page: Page, sign_in: Callable[..., Any]
) -> None:
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    press(page.get_by_role("button", name="Book A-07"))
    expect(page.locator("#panel-name")).to_be_focused()
    tab_to(page, undo(page), presses=4)
    page.keyboard.press("Enter")
    announced(page, "Undone: A-07 is free again.")
    expect(seat(page, "A-07", "free")).to_be_focused()
    expect(undo(page)).to_have_count(0)

    press(page.get_by_role("link", name="Seat A-07, free"))
    press(page.get_by_role("button", name="Book A-07"))
    expect(seat(page, "A-07", "yours")).to_be_visible()
    press(seat(page, "C-03", "free"))
    press(page.get_by_role("button", name="Move from A-07 to C-03"))
    expect(seat(page, "C-03", "yours")).to_be_visible()
    tab_to(page, undo(page), presses=4)
    page.keyboard.press("Enter")
    announced(page, "Undone: A-07 is yours again.")
    expect(seat(page, "A-07", "yours")).to_be_visible()
    expect(seat(page, "C-03", "free")).to_be_visible()
    expect(page.locator("#panel-name")).to_be_focused()

    press(page.get_by_role("button", name="Cancel booking"))
    expect(seat(page, "A-07", "free")).to_be_focused()
    tab_to(page, undo(page), presses=6)
    page.keyboard.press("Enter")
    announced(page, "Undone: A-07 is yours again.")
    expect(page.locator("#panel-name")).to_be_focused()
    expect(page).to_have_url(re.compile(DAY + "/seats/7$"))


def test_undo_is_offered_for_ten_seconds_and_as_long_as_it_is_in_use(
    page: Page, site: Site, sign_in: Callable[..., Any]
) -> None:
    animations = page.context.new_cdp_session(page)
    animations.send("Animation.enable")
    animations.send("Animation.setPlaybackRate", {"playbackRate": 0.1})  # a busy machine may need more than ten seconds
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    expect(undo(page)).to_be_visible()
    axe_finds_nothing(page, "a booking that can be undone")
    offer = page.locator(OFFER)
    page.emulate_media(reduced_motion="no-preference")

    def is_leaving(state: str) -> None:
        page.wait_for_function(
            f"state => ({LEAVING})(document.querySelector('{OFFER}')).playState === state", arg=state
        )

    is_leaving("running")
    assert offer.evaluate(f"offer => ({LEAVING})(offer).effect.getTiming().delay") == 10_000
    undo(page).hover()
    is_leaving("paused")
    page.mouse.move(640, 500)
    is_leaving("running")
    undo(page).focus()
    is_leaving("paused")
    undo(page).blur()
    is_leaving("running")
    # It stays while people look at other seats and days.
    page.get_by_role("link", name="Close seat A-07").click()
    expect(page.locator("#panel")).to_be_hidden()
    seat(page, "C-03", "free").click()
    expect(page.get_by_role("button", name="Move from A-07 to C-03")).to_be_visible()
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("25 November")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("25 November")
    undo(page).click()
    announced(page, "Undone: A-07 is free again.")
    expect(page).to_have_url(re.compile(DAY + "$"))
    expect(seat(page, "A-07", "free")).to_be_visible()

    seat(page, "A-08", "free").click()
    page.get_by_role("button", name="Book A-08").click()
    expect(undo(page)).to_be_visible()
    offer.evaluate(f"offer => ({LEAVING})(offer).finish()")
    expect(undo(page)).to_have_count(0)


def test_a_double_click_on_cancel_cancels_one_booking_which_stays_in_place(ada: Page, site: Site) -> None:
    ada.goto("/my/bookings")
    cancel(ada).nth(0).dblclick()
    expect(undo(ada)).to_be_visible()
    announced(ada, "Cancelled: A-01 is free again.")
    expect(rows(ada).nth(0)).to_contain_text("Cancelled")
    expect(cancel(ada)).to_have_count(2)
    # A slow second click, after the answer, where "Cancel" was.
    box = cancel(ada).nth(1).bounding_box()
    assert box
    cancel(ada).nth(1).click()
    expect(undo(ada)).to_have_count(2)
    ada.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(rows(ada).nth(1)).to_contain_text("View or move")
    expect(cancel(ada)).to_have_count(1)
    expect(ada).to_have_url(re.compile("/my/bookings$"))
    axe_finds_nothing(ada, "cancelled bookings that can be undone")
    undo(ada).nth(1).click()
    announced(ada, "Undone: A-01 is yours again.")
    expect(cancel(ada)).to_have_count(2)
    expect(undo(ada)).to_have_count(1)


def test_cancelling_and_undoing_in_the_list_by_keyboard_keeps_the_focus(ada: Page, site: Site) -> None:
    ada.clock.install()
    ada.goto("/my/bookings")
    sent: list[str] = []
    ada.on("request", lambda request: sent.append(f"{request.method} {request.url.rpartition('/')[2]}"))
    for _ in range(2):
        press(cancel(ada).nth(1))
        expect(rows(ada).nth(1)).to_be_focused()
        ada.keyboard.press("Enter")  # once too often
        ada.keyboard.press("Tab")
        expect(undo(ada)).to_be_focused()
        ten_seconds_pass(ada, site)  # but Undo is in use
        ada.keyboard.press("Enter")
        announced(ada, "Undone: A-01 is yours again.")
        expect(rows(ada).nth(1)).to_be_focused()
        expect(cancel(ada)).to_have_count(3)
    assert sent == ["POST cancel", "POST undo"] * 2  # the list was not renewed under the user's fingers
    press(cancel(ada).nth(1))
    expect(rows(ada).nth(1)).to_be_focused()
    ten_seconds_pass(ada, site)
    expect(rows(ada)).to_have_count(2)
    expect(rows(ada).nth(1)).to_be_focused()  # the next one
    press(cancel(ada).nth(1))
    expect(undo(ada)).to_be_visible()
    ten_seconds_pass(ada, site)
    expect(rows(ada)).to_have_count(1)
    expect(ada.get_by_role("heading", name="My bookings")).to_be_focused()
    expect(ada.locator("[aria-labelledby=past-name] .line").first).to_contain_text("Cancelled")


def test_undoing_without_scripts(open_browser: Callable[..., Page], sign_in: Callable[..., Any]) -> None:
    page = open_browser(java_script_enabled=False)
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    undo(page).click()
    announced(page, "Undone: A-07 is free again.")
    page.get_by_role("button", name="Any free seat").click()
    page.goto("/my/bookings")
    cancel(page).click()
    announced(page, "Cancelled: A-01 is free again.")
    undo(page).click()
    announced(page, "Undone: A-01 is yours again.")
    cancel(page).dblclick()
    announced(page, re.compile("Cancelled: A-01 is free again|already cancelled"))
    expect(undo(page)).to_be_visible()


@pytest.mark.parametrize("form", ["register", "login"])
def test_the_back_button_passes_over_a_form_that_is_done(page: Page, site: Site, form: str) -> None:
    if form == "login":
        run(register_over_http(site))
    page.goto("/docs")
    page.goto(DAY)
    seat(page, "A-07", "free").click()
    expect(page.locator("#panel")).to_be_visible()
    if form == "register":
        page.get_by_role("link", name="Register", exact=True).last.click()
        register(page)
    else:
        page.get_by_role("link", name="Sign in to book A-07").click()
        page.get_by_label("Username").fill("ada")
        page.get_by_label("Password", exact=True).fill("correct horse battery")
        page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    # The panel that led to the form is the page that followed it.
    page.evaluate("history.back()")
    expect(page).to_have_url(re.compile(DAY + "$"))
    expect(page.locator("#panel")).to_be_hidden()
    page.evaluate("history.back()")
    expect(page).to_have_url(re.compile("/docs$"))


def test_the_back_button_leads_to_the_map_from_which_any_free_seat_was_wanted(page: Page, site: Site) -> None:
    page.goto("/docs")
    page.goto(DAY)
    page.get_by_role("button", name="Book any free seat").click()
    page.get_by_role("main").get_by_role("link", name="Register").click()
    register(page)
    page.get_by_role("main").get_by_role("button", name="Book any free seat").click()
    expect(page.locator("#ticket")).to_be_visible()
    # "Book any free seat?" is done as well, and leads to the map. What it leads to is not what led to it.
    page.evaluate("history.back()")
    expect(page).to_have_url(re.compile(DAY + "$"))
    page.wait_for_function("document.readyState === 'complete' && navigation.currentEntry.index === 1")
    page.evaluate("history.back()")
    expect(page).to_have_url(re.compile("/docs$"))


async def register_over_http(site: Site) -> None:
    await site.visitor().register("ada")
