"""Stray input (a held key, a double click, a second tap) changes nothing; and the panel fits every window."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import DESKTOP, PHONE
from tests.browser.test_journeys import DAY, announced, heeds_presses, seat
from tests.support import Site, run

TOUCH = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
MORNING = datetime(2026, 11, 23, 9)  # noqa: DTZ001 - of the page's clock, in whatever zone
LANDSCAPE = {"width": 844, "height": 390}
SMALL_LANDSCAPE = {"width": 667, "height": 375}
ENLARGED = {"width": 320, "height": 256}  # 1280 x 1024 at 400 %
LAPTOP = {"width": 1366, "height": 650}
LOW = {"width": 1280, "height": 500}


class Still:
    """A page whose clock stands still: presses follow each other without delay, until the test lets a moment pass."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sent: list[str] = []  # the actions that the page asked for
        page.clock.install(time=MORNING)
        page.goto(DAY)
        page.clock.pause_at(MORNING + timedelta(minutes=1))
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        action = request.url.rpartition("/")[2]
        if request.method == "POST" and action not in {"hold", "release"}:
            self.sent.append(action)

    def pass_a_moment(self) -> None:
        self.page.clock.run_for(500)
        while self.page.locator(".fresh").count():  # something arrived meanwhile
            self.page.clock.run_for(500)

    def press(self, target: Locator, *, tap: bool = False) -> tuple[float, float]:
        """Press the middle of an element once, without waiting for it to heed that; return the point."""
        box = target.bounding_box()
        assert box
        point = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.press_at(point, tap=tap)
        return point

    def press_at(self, point: tuple[float, float], *, tap: bool = False) -> None:
        (self.page.touchscreen.tap if tap else self.page.mouse.click)(*point)


@pytest.fixture
def still(page: Page, sign_in: Callable[..., Any]) -> Still:
    sign_in(page)
    return Still(page)


def test_a_held_or_repeated_enter_books_and_cancels_nothing(
    page: Page, sign_in: Callable[..., Any], book: Callable[[int], str]
) -> None:
    sign_in(page)
    book(7)
    still = Still(page)
    expect(seat(page, "A-07", "taken")).to_be_attached()
    name = page.locator("#panel-name")

    # On a taken seat, the neighbour that the panel offers does not get the focus.
    seat(page, "A-07", "taken").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Book A-06 instead")).to_be_visible()
    expect(name).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(seat(page, "A-07", "taken")).to_be_focused()

    # On a free seat, its button gets the focus, and heeds a new press after a moment.
    still.pass_a_moment()
    for key in ("Enter", "Space"):
        seat(page, "A-08", "free").focus()
        page.keyboard.press(key)
        expect(page.get_by_role("button", name="Book A-08")).to_be_focused()
        page.keyboard.press(key)
        page.keyboard.down(key)
        still.pass_a_moment()
        page.keyboard.down(key)  # the key repeats while it is held
        page.keyboard.down(key)
        page.keyboard.up(key)
        expect(page.get_by_role("button", name="Book A-08")).to_be_focused()
        assert still.sent == [], key
        page.keyboard.press("Escape")
        expect(seat(page, "A-08", "free")).to_be_focused()
        still.pass_a_moment()

    # Arrow keys and Enter are heeded at once, and so is a press for a booking, once.
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Book A-09")).to_be_focused()
    still.pass_a_moment()
    page.keyboard.down("Enter")
    expect(seat(page, "A-09", "yours")).to_be_attached()
    for _ in range(3):
        page.keyboard.down("Enter")
    page.get_by_role("button", name="Cancel booking").focus()
    page.keyboard.down("Enter")
    still.pass_a_moment()
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.locator("#ticket")).to_contain_text("A-09")
    assert still.sent == ["book"]


def test_a_held_enter_does_not_go_on_from_the_sign_in_form_to_booking(page: Page, site: Site) -> None:
    async def register() -> None:
        await site.visitor().register("ada")

    run(register())
    page.goto(f"/login?next={DAY}/seats/7")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.keyboard.down("Enter")
    expect(page.get_by_role("heading", name="Seat A-07")).to_be_focused()
    heeds_presses(page)
    page.get_by_role("button", name="Book A-07").focus()
    page.keyboard.down("Enter")
    assert not page.evaluate("document.documentElement.classList.contains('sending')")
    page.keyboard.up("Enter")
    page.keyboard.press("Enter")
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_a_second_click_or_tap_books_moves_and_cancels_nothing(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    for name, options in (("ada", {}), ("grace", TOUCH)):
        page = open_browser(**options)
        sign_in(page, name)
        still = Still(page)
        tap = bool(options)

        # Wherever the panel comes from, a second press on the seat neither books nor closes the panel.
        low = page.locator("#seat-65")
        low.scroll_into_view_if_needed()
        still.pass_a_moment()
        point = still.press(low, tap=tap)
        book = page.get_by_role("button", name="Book D-05")
        expect(book).to_be_focused()
        still.press_at(point, tap=tap)
        still.press(book, tap=tap)
        expect(book).to_be_visible()
        assert still.sent == [], name
        still.pass_a_moment()
        still.press(book, tap=tap)
        expect(seat(page, "D-05", "yours")).to_be_attached()
        assert still.sent.pop() == "book"

        still.pass_a_moment()
        still.press(seat(page, "D-10", "free"), tap=tap)
        move = page.get_by_role("button", name="Move from D-05 to D-10")
        expect(move).to_be_focused()
        still.pass_a_moment()
        point = still.press(move, tap=tap)
        cancel = page.get_by_role("button", name="Cancel booking")
        expect(cancel).to_be_visible()
        still.press_at(point, tap=tap)
        still.press(cancel, tap=tap)
        expect(page.locator("#ticket")).to_contain_text("D-10")
        assert still.sent == ["move"], name

        still.pass_a_moment()
        still.press(cancel, tap=tap)
        announced(page, "D-10 is free again")
        assert still.sent == ["move", "cancel"], name


def test_a_second_tap_on_a_sheets_cross_does_not_choose_the_seat_under_it(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    page = open_browser(**TOUCH)
    sign_in(page)
    still = Still(page)
    seat(page, "A-02", "free").tap()
    expect(page.locator("#panel .hold-now")).to_be_visible()
    under = page.evaluate(
        """() => {
            const top = document.querySelector("#panel").getBoundingClientRect().top;
            const middles = [...document.querySelectorAll("a.seat")].map(seat => {
                const box = seat.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            });
            return middles.find(([, y]) => y > top && y < innerHeight);
        }"""
    )
    still.pass_a_moment()
    still.press(page.locator(".panel-close"), tap=True)
    expect(page.locator("#panel")).to_be_hidden()
    still.press_at(under, tap=True)
    still.pass_a_moment()
    expect(page.locator("a.seat[aria-current]")).to_have_count(0)
    still.press_at(under, tap=True)
    expect(page.locator("a.seat[aria-current]")).to_have_count(1)


def test_the_panel_closes_by_its_seat_the_map_around_it_and_escape(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    page.goto(DAY)
    panel = page.locator("#panel")
    ways: list[Callable[[], Any]] = [
        lambda: page.locator("#seat-7").click(),
        page.locator("#section-A .slab").first.click,
        lambda: page.keyboard.press("Escape"),
        lambda: page.locator(".panel-close").click(),
    ]
    for way in ways:
        seat(page, "A-07", "free").click()
        expect(panel.locator(".hold-now")).to_be_visible()
        heeds_presses(page)
        page.locator(".panel-day").click()  # not outside
        expect(panel).to_be_visible()
        way()
        expect(panel).to_be_hidden()
        expect(page).to_have_url(re.compile(DAY + "$"))
        heeds_presses(page)


def inside(box: Any, size: dict[str, int]) -> bool:
    return bool(
        box["y"] >= 0 and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]
    )


IS_ON_TOP = """element => {
    const box = element.getBoundingClientRect();
    return element.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""


def test_the_seat_and_its_action_are_in_view_at_every_size_and_cancel_stands_elsewhere(
    page: Page, sign_in: Callable[..., Any]
) -> None:
    sign_in(page)
    page.goto(f"{DAY}/seats/61")
    page.get_by_role("button", name="Book D-01").click()
    expect(page.locator("#ticket")).to_contain_text("D-01")
    here, there = ("D-01", 61), ("B-10", 30)
    for size in (PHONE, {"width": 320, "height": 640}, ENLARGED, SMALL_LANDSCAPE, LANDSCAPE, LOW, LAPTOP, DESKTOP):
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        page.goto(DAY)
        chosen = page.locator(f"#seat-{there[1]}")
        chosen.click()
        move = page.get_by_role("button", name=f"Move from {here[0]} to {there[0]}")
        expect(move).to_be_focused()
        heeds_presses(page)
        for element in (move, chosen):
            assert inside(element.bounding_box(), size), size
            assert element.evaluate(IS_ON_TOP), size
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        before = move.bounding_box()
        move.click()
        cancel = page.get_by_role("button", name="Cancel booking")
        heeds_presses(page)
        after = cancel.bounding_box()
        assert before
        assert after
        assert inside(after, size), size
        apart = after["y"] >= before["y"] + before["height"] or before["y"] >= after["y"] + after["height"]
        assert apart, size
        here, there = there, here


def test_the_tally_the_sections_and_the_legend_stay_beside_the_panel_on_a_desk(
    page: Page, sign_in: Callable[..., Any], site: Site
) -> None:
    sign_in(page)
    for size in (DESKTOP, LAPTOP):
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        page.goto(DAY)
        seat(page, "A-07", "free").click()
        expect(page.get_by_role("button", name="Book A-07")).to_be_focused()
        heeds_presses(page)
        beside = ("#tally", ".live", ".sections-nav a >> nth=0", ".sections-nav a >> nth=-1", ".legend li >> nth=0")
        for element in beside:
            assert inside(page.locator(element).bounding_box(), size), element
            assert page.locator(element).evaluate(IS_ON_TOP), element


def test_nothing_stays_as_under_a_pointer_after_a_touch(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    page = open_browser(**TOUCH)
    sign_in(page)
    page.goto(f"{DAY}/seats/7")
    button = page.get_by_role("button", name="Book A-07")
    element = button.element_handle()
    button.tap()
    cancel = page.get_by_role("button", name="Cancel booking")
    heeds_presses(page)
    expect(cancel).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert not element.evaluate("button => button.isConnected")  # a swap does not turn one button into another
    styles = []
    for path in (DAY, "/docs", "/account"):
        page.goto(path)
        styles += page.evaluate(
            """() => {
                const found = [];
                const walk = (rules, hovers) => {
                    for (const rule of rules) {
                        if (rule.selectorText?.includes(":hover") && !hovers) found.push(rule.selectorText);
                        walk(rule.cssRules ?? [], hovers || rule.media?.mediaText.includes("hover: hover"));
                    }
                };
                for (const sheet of document.styleSheets) walk(sheet.cssRules, false);
                return found;
            }"""
        )
    assert styles == []
