"""The live map: two browsers side by side, and everything that can interrupt it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from playwright.sync_api import Page, Route, expect
from seatweb.booking.live import Live

from tests.browser.conftest import PATIENCE_MS, Guard
from tests.browser.test_journeys import DAY, announced, seat
from tests.support import Site, Visitor, run

CHANGE_MS = 1000  # others see a change within this time: measured only in tests that are marked `timing`
BROKEN_MS = 5000  # the same, while something is broken
POLL_MS = 4000  # without a stream, the page polls more often than this
LONGEST_MS = 45_000  # and it waits at most this long before it tries to open the stream again
TIMEOUT = "htmx:error: timeout"  # of a request that is under way while a test moves the page's clock forward
STREAM = re.compile(r"/days/[0-9-]+/live\?")
NETWORK = ("ERR_", "Failed to fetch", "htmx:error", "sse:error")  # what the console shows when the network is cut


def is_live(page: Page, **options: Any) -> None:
    expect(page.locator(".live[data-live=live]")).to_be_attached(**options)


def open_live(page: Page, path: str = DAY) -> None:
    page.goto(path)
    is_live(page)


def stays_silent(page: Page) -> None:
    expect(page.locator("#say-status p, #say-alert p")).to_have_count(0)


class KeptBack:
    """Delays the page's requests, or the responses to them, until the test lets them through."""

    def __init__(self, page: Page, pattern: str, *, responses: bool = False) -> None:
        self._page = page
        self._responses = responses
        self._delayed: list[Callable[[], None]] = []
        page.route(pattern, self._delay)

    def _delay(self, route: Route) -> None:
        if self._responses:
            response = route.fetch()
            self._delayed.append(lambda: route.fulfill(response=response))
        else:
            self._delayed.append(route.continue_)

    def wait(self) -> None:
        """Wait until something is delayed."""
        deadline = monotonic() + PATIENCE_MS / 1000
        while not self._delayed:
            assert monotonic() < deadline, "the page requested nothing"
            self._page.wait_for_timeout(20)

    def let_through(self) -> None:
        """Let the oldest request or response through."""
        self.wait()
        self._delayed.pop(0)()


class OpenStreams:
    """Counts the streams that the site has open."""

    def __init__(self) -> None:
        self.count = 0

    def becomes(self, count: int, page: Page) -> None:
        """Wait until so many are open."""
        deadline = monotonic() + PATIENCE_MS / 1000
        while self.count != count:
            assert monotonic() < deadline, f"{self.count} streams are open"
            page.wait_for_timeout(20)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> OpenStreams:
    open_streams, original = OpenStreams(), Live.join

    @asynccontextmanager
    async def join(live: Live, *args: Any) -> AsyncIterator[Any]:
        async with original(live, *args) as channels:
            open_streams.count += 1
            try:
                yield channels
            finally:
                open_streams.count -= 1

    monkeypatch.setattr(Live, "join", join)
    return open_streams


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
    expect(seat(grace, "A-07", "on hold")).to_be_attached()
    expect(grace.locator("#section-A-count")).to_have_text("19 free")
    ada.get_by_role("button", name="Book A-07").click()
    expect(seat(ada, "A-07", "yours")).to_be_visible()
    expect(seat(grace, "A-07", "taken")).to_be_attached()
    expect(grace.locator("#seat-7 .seat-initials")).to_be_attached()
    expect(grace.locator("#tally")).to_contain_text("79")
    cancel(ada)
    expect(seat(grace, "A-07", "free")).to_be_attached()
    expect(grace.locator("#section-A-count")).to_have_text("20 free")

    # Her focus, scroll position and open panel stay as they were.
    assert grace.evaluate("document.activeElement.id === 'seat-48' && document.activeElement.stillHere")
    assert grace.evaluate("scrollY") == scrolled
    expect(seat(grace, "C-08", "free")).to_have_attribute("tabindex", "0")
    expect(seat(grace, "C-05", "free")).to_have_attribute("aria-current", "true")
    expect(grace.get_by_role("button", name="Book C-05")).to_be_visible()
    expect(grace.locator(".hold-now")).to_be_visible()
    assert int(grace.locator("#section-A").get_attribute("data-generation") or "") >= generation + 2
    # Other people's changes are not announced.
    stays_silent(grace)


def test_an_open_panel_follows_its_seat_until_it_is_free_again(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, visitor = open_browser(), open_browser()
    sign_in(ada)
    open_live(visitor, f"{DAY}/seats/7")
    visitor.get_by_role("link", name="Sign in to book A-07").focus()
    open_live(ada, f"{DAY}/seats/7")
    announced(visitor, "A-07 is on hold for someone else. A-06 is free.", "alert")
    expect(visitor.locator("#panel")).to_contain_text("On hold for someone else · up to 1:")
    # The panel's action has changed, so it does not get the focus: someone may be about to press a key.
    expect(visitor.locator("#panel-name")).to_be_focused()
    ada.get_by_role("button", name="Book A-07").click()
    expect(visitor.locator("#panel")).to_contain_text("Taken")
    expect(visitor.get_by_role("link", name="See A-06")).to_be_visible()
    expect(visitor).to_have_url(re.compile("/seats/7$"))
    cancel(ada)
    announced(visitor, "A-07 is free again.")
    expect(visitor.get_by_role("link", name="Sign in to book A-07")).to_be_visible()


def test_a_user_whose_hold_moved_to_another_tab_is_told_that_the_first_seat_was_taken(
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
    announced(first, "A-07 was booked a moment ago. A-06 is free.", "alert")
    expect(first.locator("#panel")).to_contain_text(f"Taken by {name}")
    expect(first.locator("#hold")).to_have_count(0)
    first.get_by_role("button", name="Book A-06 instead").click()
    expect(seat(first, "A-06", "yours")).to_be_visible()


def test_two_tabs_of_one_user_stay_in_sync(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    other = page.context.new_page()
    open_live(other, f"{DAY}/seats/45")
    seat(page, "A-07", "free").click()
    page.get_by_role("button", name="Book A-07").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()
    expect(seat(other, "A-07", "yours")).to_be_visible()
    expect(other.locator("#ticket")).to_contain_text("A-07")
    expect(other.locator("#any")).to_have_count(0)
    expect(other.get_by_role("button", name="Move from A-07 to C-05")).to_be_visible()
    other.get_by_role("button", name="Move from A-07 to C-05").click()
    expect(page.locator("#ticket")).to_contain_text("C-05")
    expect(page.locator("#panel")).to_contain_text("Free")
    cancel(other)
    expect(page.locator("#ticket")).to_have_count(0)
    expect(page.locator("#any")).to_be_attached()


def test_signing_out_in_another_tab_is_announced_and_ends_the_stream(page: Page, sign_in: Callable[..., Any]) -> None:
    sign_in(page)
    open_live(page)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url) if STREAM.search(request.url) else None)
    other = page.context.new_page()
    other.goto("/account")
    other.get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    announced(page, "You were signed out.", "alert")
    expect(page.locator(".live")).to_be_hidden()
    page.get_by_role("alert").get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile(r"/login\?next=(%2F|/)days"))
    assert len(requested) == 1  # it asked once whether the browser has another session


def test_the_stream_follows_the_day_and_section_on_the_page(page: Page, site: Site, book: Callable[[int], str]) -> None:
    open_live(page)
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("24 November")).click()
    expect(page.locator("#live-2026-11-24[data-live=live]")).to_be_attached()

    async def book_tomorrow() -> None:
        async with site.people(1, prefix="tomorrow") as (visitor,):
            assert (await visitor.book(site.clock.ahead(1), 7)).status_code == 303

    book(8)
    run(book_tomorrow())
    expect(seat(page, "A-07", "taken")).to_be_attached()
    expect(seat(page, "A-08", "free")).to_be_attached()
    page.goto(f"{DAY}?section=B")
    expect(page.locator("#live-2026-11-23-B[data-live=live]")).to_be_attached()
    book(27)
    expect(seat(page, "B-07", "taken")).to_be_attached()
    expect(page.locator("#tally")).to_contain_text("19 seats free in B")
    expect(page.locator("#seat-27")).to_have_attribute("href", f"{DAY}/seats/27?section=B")
    stays_silent(page)


def test_the_map_catches_up_after_a_network_failure(page: Page, guard: Guard, book: Callable[[int], str]) -> None:
    guard.expected = NETWORK
    page.clock.install()
    open_live(page)
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached()
    first = page.locator(".live").get_attribute("data-tag") or ""
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if STREAM.search(request.url) else None)
    page.context.set_offline(offline=True)
    expect(page.locator(".live")).to_have_attribute("data-live", "catching-up")
    book(8)
    book(60)
    page.clock.run_for(10_000)
    expect(seat(page, "A-08", "free")).to_be_attached()
    page.context.set_offline(offline=False)
    expect(seat(page, "A-08", "taken")).to_be_attached()
    expect(seat(page, "C-20", "taken")).to_be_attached()
    is_live(page)
    since = parse_qs(urlsplit(streams[-1]).query)["since"][0]
    assert re.match("A:[0-9]+,.*h:", since)
    assert since != first  # it goes on after the last change that it received


OUTAGES: dict[str, dict[str, Any] | None] = {
    "busy": {"status": 503, "headers": {"Retry-After": "1"}, "body": "busy"},
    "too many": {"status": 429, "headers": {"Retry-After": "1"}, "body": "too many"},
    "proxy": {"status": 502, "content_type": "text/html", "body": "<html><body>bad gateway</body></html>"},
    "captive portal": {"status": 200, "content_type": "text/html", "body": "<p id=map>Sign in to the network</p>"},
    "no network": None,
}


def fail(route: Route, answer: dict[str, Any] | None) -> None:
    """Answer the request with this; None means that the connection fails."""
    if answer:
        route.fulfill(**answer)
    else:
        route.abort("connectionfailed")


def break_streams(page: Page, answer: dict[str, Any] | None) -> None:
    page.route(STREAM, partial(fail, answer=answer))


def test_without_a_stream_the_page_polls_and_retries(page: Page, guard: Guard, book: Callable[[int], str]) -> None:
    guard.expected = (*NETWORK, "status of 50")
    page.clock.install()
    for number, (name, answer) in enumerate(OUTAGES.items()):
        polled, streamed = f"A-{2 * number + 1:02}", f"A-{2 * number + 2:02}"
        break_streams(page, answer)
        page.goto(f"{DAY}/seats/45")
        seat(page, "C-08", "free").focus()
        book(2 * number + 1)
        expect(page.locator(".live").get_by_text("Catching up"), name).to_be_visible()
        page.clock.fast_forward(POLL_MS)
        expect(seat(page, polled, "taken"), name).to_be_attached()
        expect(seat(page, "C-08", "free"), name).to_be_focused()
        stays_silent(page)
        page.unroute(STREAM)
        page.clock.fast_forward(LONGEST_MS)
        is_live(page)
        expect(page.locator(".live").get_by_text("Live", exact=True), name).to_be_attached()
        book(2 * number + 2)
        expect(seat(page, streamed, "taken"), name).to_be_attached()


def test_a_silent_stream_is_reopened(page: Page) -> None:
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


def test_a_background_tab_pauses_and_catches_up(
    page: Page, sign_in: Callable[..., Any], book: Callable[[int], str]
) -> None:
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
    expect(seat(page, "A-07", "taken")).to_be_attached()
    expect(page.locator("#ticket")).to_contain_text("C-05")
    is_live(page)


def test_todays_page_moves_on_to_the_new_day(page: Page, site: Site) -> None:
    page.add_init_script("Math.random = () => 0")  # pages move on after 1 to 5 s, each at another time
    open_live(page, "/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("23 November")
    hide(page, hidden=True)
    site.clock.today = site.clock.ahead(1)
    hide(page, hidden=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 November")
    is_live(page)


def test_a_late_response_does_not_undo_a_newer_event(page: Page, book: Callable[[int], str]) -> None:
    """The response to choosing a seat is rendered before a booking, and arrives after the event about that booking."""
    open_live(page)
    delayed = KeptBack(page, "**/seats/45", responses=True)
    seat(page, "C-05", "free").click()
    delayed.wait()
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached()
    with page.expect_request(STREAM):  # the page fetches what that response lacks
        delayed.let_through()
    expect(page.get_by_role("link", name="Sign in to book C-05")).to_be_visible()
    expect(seat(page, "A-07", "taken")).to_be_attached()
    is_live(page)


def test_a_late_poll_does_not_lead_back_to_the_previous_day(page: Page, guard: Guard) -> None:
    """Without a stream the page polls; before the response arrives, its user goes to another day."""
    guard.expected = NETWORK
    break_streams(page, None)
    page.clock.install()
    page.goto(DAY)
    delayed = KeptBack(page, f"**{DAY}", responses=True)
    page.clock.fast_forward(POLL_MS)
    delayed.wait()
    page.locator("#weekday-2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 November")
    delayed.let_through()
    with page.expect_request("**/days/2026-11-24"):  # the next poll
        page.clock.fast_forward(POLL_MS)
    expect(page.get_by_role("heading", level=1)).to_contain_text("24 November")


# Books all seats but one, each for a user of its own.
FILL = """
with new_users as (
    insert into users (username, username_key, password_hash)
    select 'crowd' || id, 'crowd' || id, 'none' from seats where id <> $2 returning id, username
)
insert into bookings (day, seat_id, user_id) select $1, ltrim(username, 'crowd')::bigint, id from new_users
"""


def test_any_free_seat_is_offered_only_while_one_is_free(page: Page, site: Site, sign_in: Callable[..., Any]) -> None:
    async def fill() -> None:
        connection = await asyncpg.connect(site.backends.database_url)
        await connection.execute(FILL, site.clock.today, 7)
        await connection.close()

    run(fill())
    sign_in(page)
    open_live(page)
    expect(page.get_by_role("button", name="Book any free seat")).to_be_visible()

    async def book_last() -> tuple[str, Visitor]:
        async with site.people(1, prefix="last") as (visitor,):
            assert (await visitor.book(site.clock.today, 7)).status_code == 303
            answer = await visitor.get("/my/bookings")
            path = re.search(r'action="(/my/bookings/\d+/cancel)"', answer.text)
            assert path
            return path[1], visitor

    path, occupant = run(book_last())
    expect(page.locator("#tally")).to_contain_text("Full")
    expect(page.get_by_role("button", name="Book any free seat")).to_be_hidden()

    async def cancel_last() -> None:
        visitor = site.visitor(cookies=occupant.http.cookies)
        visitor.use_token(occupant.token)
        assert (await visitor.post(path)).status_code == 303

    run(cancel_last())
    expect(page.locator("#tally")).to_contain_text("1 seat free")
    page.get_by_role("button", name="Book any free seat").click()
    expect(seat(page, "A-07", "yours")).to_be_visible()


def test_going_back_leaves_a_single_stream_open(page: Page, streams: OpenStreams, book: Callable[[int], str]) -> None:
    open_live(page)
    page.get_by_role("navigation", name="Days of this week").get_by_role("link", name=re.compile("25 November")).click()
    expect(page.locator("#live-2026-11-25[data-live=live]")).to_be_attached()
    seat(page, "A-07", "free").click()
    expect(page.locator("#panel")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.locator("#live-2026-11-23[data-live=live]")).to_be_attached()
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached()
    streams.becomes(1, page)


def book_on(site: Site, days: int, seat_id: int) -> None:
    """Book a seat for a new user on a day that is so many days ahead."""

    async def work() -> None:
        async with site.people(1, prefix=f"planner-{days}-{seat_id}-") as (visitor,):
            assert (await visitor.book(site.clock.ahead(days), seat_id)).status_code == 303

    run(work())


def test_any_number_of_windows_is_live_with_one_stream(
    page: Page, site: Site, streams: OpenStreams, sign_in: Callable[..., Any], book: Callable[[int], str]
) -> None:
    """With HTTP/1.1, a browser opens six connections to a host. With a stream each, the seventh window did not load."""
    sign_in(page)
    paths = [DAY, DAY, "/", f"{DAY}/seats/45", f"{DAY}?section=A", "/days/2026-11-24", DAY]
    windows = [page, *(page.context.new_page() for _ in paths[1:])]
    for window, path in zip(windows, paths, strict=True):
        open_live(window, path)
    streams.becomes(1, page)

    def everyone_sees(label: str, seat_id: int, windows: list[Page]) -> None:
        book(seat_id)
        book_on(site, 1, seat_id + 20)
        for window in windows:
            tomorrow = window.url.endswith("24")
            expect(seat(window, label.replace("A", "B") if tomorrow else label, "taken")).to_be_attached()
            expect(seat(window, label, "free")).to_have_count(1 if tomorrow else 0)

    everyone_sees("A-07", 7, windows)
    leader, *others = windows
    leader.close()
    everyone_sees("A-08", 8, others)
    streams.becomes(1, others[0])

    # One window goes to another day; the others stay where they are, and live.
    moved = others[0]
    moved.get_by_role("navigation", name="Days of this week").get_by_role(
        "link", name=re.compile("25 November")
    ).click()
    expect(moved.locator("#live-2026-11-25[data-live=live]")).to_be_attached()
    book_on(site, 2, 50)
    expect(seat(moved, "C-10", "taken")).to_be_attached()
    everyone_sees("A-09", 9, others[1:])
    streams.becomes(1, moved)

    # What is done in one window is seen in the others.
    seat(others[1], "A-01", "free").click()
    others[1].get_by_role("button", name="Book A-01").click()
    for window in (others[2], others[-1]):
        expect(seat(window, "A-01", "yours")).to_be_attached()
        expect(window.locator("#ticket")).to_contain_text("A-01")

    others[2].goto("/account")
    others[2].get_by_role("main").get_by_role("button", name="Sign out", exact=True).click()
    for window in (*others[:2], *others[3:]):
        announced(window, "You were signed out.", "alert")
    is_live(others[2])  # which shows the map to a visitor now
    streams.becomes(1, moved)


def test_another_window_takes_over_from_one_that_stopped(
    page: Page, streams: OpenStreams, book: Callable[[int], str]
) -> None:
    open_live(page)
    other = page.context.new_page()
    open_live(other)
    streams.becomes(1, page)
    stopped = page.context.new_cdp_session(page)
    stopped.send("Debugger.enable")
    stopped.send("Debugger.pause")
    book(7)  # its event reaches the window that leads, which stops there
    expect(seat(other, "A-07", "taken")).to_be_attached()
    is_live(other)
    book(8)
    expect(seat(other, "A-08", "taken")).to_be_attached()
    stopped.send("Debugger.resume")
    expect(seat(page, "A-08", "taken")).to_be_attached()
    is_live(page)
    streams.becomes(1, page)
    book(9)
    for window in (page, other):
        expect(seat(window, "A-09", "taken")).to_be_attached()


def test_windows_of_another_session_receive_nothing_of_each_others_streams(
    page: Page, sign_in: Callable[..., Any], book: Callable[..., str]
) -> None:
    """One window stays open and unseen while its user signs out in another, where a visitor goes on."""
    sign_in(page)
    open_live(page)
    book(7, "Zoltan")
    expect(page.locator("#seat-7 .seat-initials")).to_have_text("ZO")
    hide(page, hidden=True)
    page.context.clear_cookies(name=re.compile("seatweb_(session|renewal)"))
    visitor = page.context.new_page()
    open_live(visitor)
    hide(page, hidden=False)
    announced(page, "You were signed out.", "alert")
    expect(page.locator(".live")).to_be_hidden()
    book(8, "Zora")
    expect(seat(visitor, "A-08", "taken")).to_be_attached()
    expect(visitor.locator(".seat-initials")).to_have_count(0)
    expect(seat(page, "A-08", "free")).to_be_attached()

    # The other way round: what a user sees is not for the window of a visitor.
    hide(visitor, hidden=True)
    sign_in(page, "grace")
    open_live(page)
    hide(visitor, hidden=False)
    announced(visitor, "You signed in after this page was opened.", "alert")
    book(9, "Zoe")
    expect(page.locator("#seat-9 .seat-initials")).to_have_text("ZO")
    expect(seat(visitor, "A-09", "free")).to_be_attached()
    visitor.get_by_role("link", name="Reload this page").click()
    expect(visitor.locator("#seat-9 .seat-initials")).to_have_text("ZO")
    is_live(visitor)


def test_without_a_channel_between_windows_the_page_polls(page: Page, book: Callable[[int], str]) -> None:
    page.add_init_script("delete window.BroadcastChannel")
    page.clock.install()
    page.goto(DAY)
    book(7)
    page.clock.fast_forward(POLL_MS)
    expect(seat(page, "A-07", "taken")).to_be_attached()


def test_the_live_indicator_is_not_a_live_region_and_needs_scripts(open_browser: Callable[..., Page]) -> None:
    page = open_browser()
    open_live(page)
    indicator = page.locator(".live")
    expect(indicator.get_by_text("Live", exact=True)).to_be_visible()
    assert indicator.evaluate("element => !element.closest('[role=status], [role=alert], [aria-live]')")
    without_scripts = open_browser(java_script_enabled=False)
    without_scripts.goto(f"{DAY}/seats/7")
    expect(without_scripts.locator(".live")).to_be_hidden()


@pytest.mark.timing
def test_another_browser_sees_each_change_within_a_second(
    open_browser: Callable[..., Page], sign_in: Callable[..., Any]
) -> None:
    ada, grace = open_browser(), open_browser()
    sign_in(ada)
    open_live(ada)
    open_live(grace)
    seat(ada, "A-07", "free").click()
    expect(seat(grace, "A-07", "on hold")).to_be_attached(timeout=CHANGE_MS)
    ada.get_by_role("button", name="Book A-07").click()
    expect(seat(grace, "A-07", "taken")).to_be_attached(timeout=CHANGE_MS)
    ada.get_by_role("button", name="Cancel booking").click()
    expect(seat(grace, "A-07", "free")).to_be_attached(timeout=CHANGE_MS)


@pytest.mark.timing
def test_without_a_stream_a_booking_is_seen_within_five_seconds(
    page: Page, guard: Guard, book: Callable[[int], str]
) -> None:
    guard.expected = NETWORK
    break_streams(page, None)
    page.goto(DAY)
    book(7)
    expect(seat(page, "A-07", "taken")).to_be_attached(timeout=BROKEN_MS)
