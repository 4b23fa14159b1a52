"""The live map: two browsers side by side, and everything that can come between."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Guard
from tests.browser.test_journeys import DAY, announced, seat
from tests.support import Site, Visitor, run

SECOND = 1000  # within so many milliseconds others see a change
BROKEN = 5000  # or within so many, while something is broken
STREAM = re.compile(r"/days/[0-9-]+/live\?")
NETWORK = ("ERR_", "Failed to fetch", "htmx:error", "sse:error")  # what the browser itself writes about a cut network


def is_live(page: Page, **options: Any) -> None:
    expect(page.locator(".live[data-live=live]")).to_be_attached(**options)


def open_live(page: Page, path: str = DAY) -> None:
    page.goto(path)
    is_live(page)


def says_nothing(page: Page) -> None:
    expect(page.locator("#say-status p, #say-alert p")).to_have_count(0)


class KeptBack:
    """Keeps back what the page asks for, or the answers to it, until they are let through."""

    def __init__(self, page: Page, pattern: str, *, answered: bool = False) -> None:
        self._page = page
        self._answered = answered
        self._kept: list[Callable[[], None]] = []
        page.route(pattern, self._keep)

    def _keep(self, route: Route) -> None:
        if self._answered:
            answer = route.fetch()
            self._kept.append(lambda: route.fulfill(response=answer))
        else:
            self._kept.append(route.continue_)

    def wait(self) -> None:
        """Wait until there is something to let through."""
        while not self._kept:
            self._page.wait_for_timeout(20)

    def let_through(self) -> None:
        """Let the oldest go on its way."""
        self.wait()
        self._kept.pop(0)()


def cancel(page: Page) -> None:
    page.get_by_role("button", name="Cancel booking").click()
    announced(page, "is free again")


def test_another_browser_sees_choosing_booking_and_cancelling(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, grace = open_browser(), open_browser(viewport={"width": 1280, "height": 500})
    for page, name in ((ada, "ada"), (grace, "grace")):
        sign_in(page, name)
    open_live(ada)
    open_live(grace, f"{DAY}/seats/45")
    expect(grace.locator(".hold-now")).to_be_visible()
    seat(grace, "C-08", "free").focus()
    grace.evaluate("scrollTo(0, 200); document.activeElement.stillHere = true")
    generation = int(grace.locator("#section-A").get_attribute("data-generation") or "")
    scrolled = grace.evaluate("scrollY")

    seat(ada, "A-07", "free").click()
    expect(ada.locator(".hold-now")).to_be_visible()
    expect(seat(grace, "A-07", "being chosen")).to_be_attached(timeout=SECOND)
    expect(grace.locator("#section-A-count")).to_have_text("19 free")
    ada.get_by_role("button", name="Book A-07").click()
    expect(seat(ada, "A-07", "yours")).to_be_visible()
    expect(seat(grace, "A-07", "taken")).to_be_attached(timeout=SECOND)
    expect(grace.locator("#seat-7 .seat-initials")).to_be_attached()
    expect(grace.locator("#tally")).to_contain_text("79")
    cancel(ada)
    expect(seat(grace, "A-07", "free")).to_be_attached(timeout=SECOND)
    expect(grace.locator("#section-A-count")).to_have_text("20 free")

    # What she was doing went on.
    assert grace.evaluate("document.activeElement.id === 'seat-48' && document.activeElement.stillHere")
    assert grace.evaluate("scrollY") == scrolled
    expect(seat(grace, "C-08", "free")).to_have_attribute("tabindex", "0")
    expect(seat(grace, "C-05", "free")).to_have_attribute("aria-current", "true")
    expect(grace.get_by_role("button", name="Book C-05")).to_be_visible()
    expect(grace.locator(".hold-now")).to_be_visible()
    assert int(grace.locator("#section-A").get_attribute("data-generation") or "") >= generation + 2
    # It is nothing that she has to be told.
    says_nothing(grace)


def test_the_chosen_seat_is_taken_and_free_again(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, visitor = open_browser(), open_browser()
    sign_in(ada)
    open_live(visitor, f"{DAY}/seats/7")
    expect(visitor.get_by_role("link", name="Sign in to book A-07")).to_be_focused()
    open_live(ada, f"{DAY}/seats/7")
    announced(visitor, "A-07 is being chosen by someone else. A-06 is free.", "alert")
    expect(visitor.locator("#panel")).to_contain_text("Being chosen by someone else · up to 1:")
    # What can be done now is another thing, so it does not lie under the finger that was about to press.
    expect(visitor.locator("#panel-name")).to_be_focused()
    ada.get_by_role("button", name="Book A-07").click()
    expect(visitor.locator("#panel")).to_contain_text("Taken", timeout=SECOND)
    expect(visitor.get_by_role("link", name="See A-06")).to_be_visible()
    expect(visitor).to_have_url(re.compile("/seats/7$"))
    cancel(ada)
    announced(visitor, "A-07 is free again.")
    expect(visitor.get_by_role("link", name="Sign in to book A-07")).to_be_visible()


def test_a_user_whose_hold_moved_on_is_told_that_the_chosen_seat_is_gone(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any], book: Callable[[int], str]
) -> None:
    first = open_browser()
    sign_in(first)
    open_live(first, f"{DAY}/seats/7")
    expect(first.locator(".hold-now")).to_be_visible()
    second = first.context.new_page()
    second.goto(f"{DAY}/seats/60")
    expect(second.locator(".hold-now")).to_be_visible()
    name = book(7)
    announced(first, "A-07 was taken a moment ago. A-06 is free.", "alert")
    expect(first.locator("#panel")).to_contain_text(f"Taken by {name}")
    expect(first.locator("#hold")).to_have_count(0)
    first.get_by_role("button", name="Book A-06 instead").click()
    expect(seat(first, "A-06", "yours")).to_be_visible()


def test_two_tabs_of_one_user_agree(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    other = page.context.new_page()
    open_live(other, f"{DAY}/seats/45")
    seat(page, "A-07", "free").click()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    expect(seat(other, "A-07", "yours")).to_be_visible(timeout=SECOND)
    expect(other.locator("#ticket")).to_contain_text("A-07")
    expect(other.locator("#any")).to_have_count(0)
    expect(other.get_by_role("button", name="Move from A-07 to C-05")).to_be_visible()
    other.get_by_role("button", name="Move from A-07 to C-05").click()
    expect(page.locator("#ticket")).to_contain_text("C-05")
    expect(page.locator("#panel")).to_contain_text("Free")
    cancel(other)
    expect(page.locator("#ticket")).to_have_count(0)
    expect(page.locator("#any")).to_be_attached()


def test_signing_out_elsewhere_is_said_and_ends_the_stream(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if STREAM.search(request.url) else None)
    other = page.context.new_page()
    other.goto("/account")
    other.get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    announced(page, "You were signed out.", "alert")
    expect(page.locator(".live")).to_be_hidden()
    page.get_by_role("alert").get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile(r"/login\?next=(%2F|/)days"))
    assert asked == []


def test_the_stream_of_another_day_and_of_a_section(page: Page, site: Site, book: Callable[[int], str]) -> None:
    open_live(page)
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("24 November")).click()
    expect(page.locator("#live-2026-11-24[data-live=live]")).to_be_attached()

    async def tomorrow() -> None:
        async with site.people(1, prefix="tomorrow") as (visitor,):
            assert (await visitor.book(site.clock.ahead(1), 7)).status_code == 303

    book(8)
    run(tomorrow())
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=SECOND)
    expect(seat(page, "A-08", "free")).to_be_attached()
    page.goto(f"{DAY}?section=B")
    expect(page.locator("#live-2026-11-23-B[data-live=live]")).to_be_attached()
    book(27)
    expect(seat(page, "B-07", "taken")).to_be_attached(timeout=SECOND)
    expect(page.locator("#tally")).to_contain_text("19 seats free in B")
    expect(page.locator("#seat-27")).to_have_attribute("href", f"{DAY}/seats/27?section=B")
    says_nothing(page)


def test_after_a_cut_of_the_network_it_catches_up(page: Page, guard: Guard, book: Callable[[int], str]) -> None:
    guard.expected = NETWORK
    page.clock.install()
    open_live(page)
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=SECOND)
    tag: list[str | None] = []
    page.on(
        "request",
        lambda request: tag.append(request.headers.get("last-event-id")) if STREAM.search(request.url) else None,
    )
    page.context.set_offline(offline=True)
    expect(page.locator(".live")).to_have_attribute("data-live", "catching-up")
    book(8)
    book(60)
    page.clock.run_for(10_000)
    expect(seat(page, "A-08", "free")).to_be_attached()
    page.context.set_offline(offline=False)
    expect(seat(page, "A-08", "taken")).to_be_attached(timeout=SECOND)
    expect(seat(page, "C-20", "taken")).to_be_attached()
    is_live(page)
    assert re.search("A:[0-9]+.*h:", tag[-1] or "")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 503, "headers": {"Retry-After": "1"}, "body": "busy"},
        {"status": 429, "headers": {"Retry-After": "1"}, "body": "too many"},
        {"status": 502, "content_type": "text/html", "body": "<html><body>bad gateway</body></html>"},
        {"status": 200, "content_type": "text/html", "body": "<p id=map>Sign in to the airport's network</p>"},
        None,
    ],
    ids=["busy", "too many", "proxy", "captive portal", "network"],
)
def test_without_a_stream_it_looks_by_itself_and_tries_again(
    page: Page, guard: Guard, book: Callable[[int], str], answer: dict[str, Any] | None
) -> None:
    guard.expected = (*NETWORK, "status of 50")

    def refuse(route: Route) -> None:
        if answer:
            route.fulfill(**answer)
        else:
            route.abort("connectionfailed")

    page.route(STREAM, refuse)
    page.goto(f"{DAY}/seats/45")
    seat(page, "C-08", "free").focus()
    book(7)
    expect(page.locator(".live").get_by_text("Catching up")).to_be_visible()
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=BROKEN)
    expect(seat(page, "C-08", "free")).to_be_focused()
    says_nothing(page)
    page.unroute(STREAM)
    is_live(page, timeout=20_000)
    expect(page.locator(".live").get_by_text("Live", exact=True)).to_be_attached()
    book(8)
    expect(seat(page, "A-08", "taken")).to_be_attached(timeout=SECOND)


def test_a_stream_that_fell_silent_is_opened_anew(page: Page) -> None:
    page.clock.install()
    open_live(page)
    with page.expect_request(STREAM):
        page.clock.fast_forward(41_000)
    is_live(page)


def hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


def test_a_tab_in_the_background_pauses(page: Page, sign_in: Callable[..., Any], book: Callable[[int], str]) -> None:
    sign_in(page)
    open_live(page)
    other = page.context.new_page()
    open_live(other)
    hide(page, hidden=True)
    book(7)
    expect(seat(other, "A-07", "taken")).to_be_attached()
    seat(other, "C-05", "free").click()
    other.get_by_role("button", name="Book C-05").click()
    expect(seat(other, "C-05", "yours")).to_be_visible()
    expect(seat(page, "A-07", "free")).to_be_attached()
    hide(page, hidden=False)
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=SECOND)
    expect(page.locator("#ticket")).to_contain_text("C-05")
    is_live(page)


def test_a_page_of_today_goes_on_to_the_next_day(page: Page, site: Site) -> None:
    open_live(page, "/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("23 November")
    hide(page, hidden=True)
    site.clock.today = site.clock.ahead(1)
    hide(page, hidden=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 November", timeout=8000)
    is_live(page)


def test_an_answer_that_was_overtaken_does_not_stay(page: Page, book: Callable[[int], str]) -> None:
    """The answer to choosing a seat was made before a booking, and arrives after the news of it."""
    open_live(page)
    late = KeptBack(page, "**/seats/45", answered=True)
    seat(page, "C-05", "free").click()
    late.wait()
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached()
    with page.expect_request(STREAM):  # it asks for what that answer does not know
        late.let_through()
    expect(page.get_by_role("link", name="Sign in to book C-05")).to_be_visible()
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=SECOND)
    is_live(page)


def test_a_look_that_was_overtaken_does_not_lead_back(page: Page, guard: Guard) -> None:
    """Without a stream the page looks for itself; meanwhile its user goes to another day."""
    guard.expected = NETWORK
    page.route(STREAM, lambda route: route.abort("connectionfailed"))
    page.goto(DAY)
    late = KeptBack(page, f"**{DAY}", answered=True)
    late.wait()
    page.get_by_label("Go to").fill("2026-12-01")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 December")
    with page.expect_event("requestfinished", lambda request: request.url.endswith(DAY)):
        late.let_through()
    with page.expect_request("**/days/2026-12-01"):  # the next look
        pass
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 December")


def test_a_full_day_offers_no_seat_and_then_one_again(page: Page, site: Site, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    expect(page.get_by_role("button", name="Any free seat")).to_be_visible()

    async def fill() -> tuple[str, Visitor]:
        async with site.people(80, prefix="crowd") as visitors:
            for seat_id, visitor in enumerate(visitors, 1):
                assert (await visitor.book(site.clock.today, seat_id)).status_code == 303
            answer = await visitors[6].get("/my/bookings")
            path = re.search(r'action="(/my/bookings/\d+/cancel)"', answer.text)
            assert path
            return path[1], visitors[6]

    path, sitter = run(fill())
    expect(page.locator("#tally")).to_contain_text("Full")
    expect(page.get_by_role("button", name="Any free seat")).to_be_hidden()

    async def cancel_one() -> None:
        visitor = site.visitor(cookies=sitter.http.cookies)
        visitor.use_token(sitter.token)
        assert (await visitor.post(path)).status_code == 303

    run(cancel_one())
    expect(page.locator("#tally")).to_contain_text("1 seat free")
    page.get_by_role("button", name="Any free seat").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_the_date_field_in_use_is_left_alone(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    page.get_by_label("Go to").focus()
    page.keyboard.type("12012026")
    other = page.context.new_page()
    open_live(other, f"{DAY}/seats/7")
    other.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_attached()
    expect(page.get_by_label("Go to")).to_be_focused()
    expect(page.get_by_label("Go to")).to_have_value("2026-12-01")
    page.get_by_label("Go to").blur()
    expect(page.locator("#ticket")).to_contain_text("A-07")


def test_back_and_forward_keep_one_stream(page: Page, book: Callable[[int], str]) -> None:
    open_live(page)
    open_streams: set[Any] = set()
    context: BrowserContext = page.context

    def close(request: Any) -> None:
        open_streams.discard(request)

    context.on("request", lambda request: open_streams.add(request) if STREAM.search(request.url) else None)
    for event in ("requestfinished", "requestfailed"):
        context.on(event, close)
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("25 November")).click()
    expect(page.locator("#live-2026-11-25[data-live=live]")).to_be_attached()
    seat(page, "A-07", "free").click()
    expect(page.locator("#panel")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.locator("#live-2026-11-23[data-live=live]")).to_be_attached()
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=SECOND)
    assert len(open_streams) == 1


def test_the_sign_is_no_live_region_and_needs_scripts(open_browser: Callable[..., Page]) -> None:
    page = open_browser()
    open_live(page)
    sign = page.locator(".live")
    expect(sign.get_by_text("Live", exact=True)).to_be_visible()
    assert sign.evaluate("element => !element.closest('[role=status], [role=alert], [aria-live]')")
    without = open_browser(java_script_enabled=False)
    without.goto(f"{DAY}/seats/7")
    expect(without.locator(".live")).to_be_hidden()
