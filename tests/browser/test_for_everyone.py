"""Accessibility and weight of all pages: axe, target sizes, reflow, bytes; light and dark, small and large."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from itertools import product
from typing import Any

import asyncpg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.axe import DESKTOP, PHONE, axe_finds_nothing
from tests.browser.conftest import Guard, without_figtree
from tests.support import Site, run

DAY = "/days/2026-11-23"

PAGES = {
    "map": "/",
    "one section": f"{DAY}?section=B",
    "free seat": f"{DAY}/seats/8",
    "taken seat": f"{DAY}/seats/9",
    "too far ahead": "/days/2027-06-01",
    "past": "/days/2026-11-02",
    "calendar": "/calendar/2026-11?day=2026-11-24",
    "login": "/login",
    "register": "/register",
    "forgotten password": "/login/reset",
    "not found": "/nowhere",
    "documentation": "/docs",
}
SIGNED_IN_PAGES = {
    "map": "/",
    "free seat": f"{DAY}/seats/8",
    "my seat": f"{DAY}/seats/7",
    "taken seat": f"{DAY}/seats/9",
    "calendar": "/calendar/2027-02?section=B",
    "my bookings": "/my/bookings",
    "account": "/account",
    "password": "/account/password",
    "delete the account": "/account/delete",
    "second factor": "/account/second-factor",
    "another day": "/days/2026-11-24/seats/8",
}


def execute(site: Site, statement: str, *arguments: object) -> None:
    """Change the database as its operator could."""

    async def work() -> None:
        connection = await asyncpg.connect(site.backends.database_url)
        await connection.execute(statement, *arguments)
        await connection.close()

    run(work())


@pytest.fixture
def open_busy_site(
    site: Site, sign_in: Callable[..., Any], book: Callable[[int], str], open_browser: Callable[..., Page]
) -> Any:
    """Return a function that opens a browser on a site with some seats taken."""
    book(9)
    book(44)

    def open_one(*, signed_in: bool, **options: Any) -> Page:
        page = open_browser(**options)
        if signed_in:
            sign_in(page, f"ada-{options['color_scheme']}-{options['viewport']['width']}-")
            page.goto(f"{DAY}/seats/7")
            button = page.get_by_role("button", name="Book A-07")
            if button.count():
                button.click()
                page.get_by_role("link", name="Seat A-07, yours").wait_for()
        return page

    return open_one


@pytest.mark.parametrize("signed_in", [False, True], ids=["visitor", "user"])
def test_axe_finds_nothing_on_any_page(open_busy_site: Any, guard: Guard, *, signed_in: bool) -> None:
    page = open_busy_site(signed_in=signed_in, viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    for name, path in (SIGNED_IN_PAGES if signed_in else PAGES).items():
        page.goto(path)
        axe_finds_nothing(page, name)


SMALL = "display: block; min-width: 0; min-height: 0; padding: 0; font-size: 6px"
FAULTS = [
    ("color-contrast", "main h1 { color: #999 }"),
    ("color-contrast", "@media (min-width: 1280px) and (prefers-color-scheme: dark) { main h1 { color: #444 } }"),
    ("color-contrast", "@media (max-width: 390px) { main h1 { color: #444 } }"),
    ("target-size", f"@media (max-width: 390px) {{ header ul {{ gap: 0 }} header li a {{ {SMALL} }} }}"),
]


def test_axe_would_find_a_fault_in_each_look(page: Page) -> None:
    page.goto("/login")
    for rule, style in FAULTS:
        page.evaluate(
            """style => {
                const sheet = new CSSStyleSheet();
                sheet.replaceSync(style);
                document.adoptedStyleSheets = [sheet];
            }""",
            style,
        )
        with pytest.raises(AssertionError, match=rule):
            axe_finds_nothing(page)
    page.evaluate("document.adoptedStyleSheets = []")
    axe_finds_nothing(page)


def test_axe_finds_nothing_on_pages_for_administrators(
    site: Site, sign_in: Callable[..., Any], book: Callable[[int], str], open_browser: Callable[..., Page]
) -> None:
    book(9)
    book(44)
    page = open_browser(reduced_motion="reduce")
    admin = sign_in(page)

    execute(site, "update users set role = 'admin' where id = $1", admin.id)
    execute(site, "update users set disabled_at = now() where username like 'someone-1-%'")
    page.goto("/admin/people")
    page.get_by_role("heading", name="People").wait_for()
    assert page.get_by_text("Disabled").count() == 1
    axe_finds_nothing(page)
    page.get_by_role("button", name="Reset code for someone-0-").click()
    page.get_by_role("heading", name="Reset code").wait_for()
    axe_finds_nothing(page)


def test_axe_finds_nothing_when_a_rate_limit_is_reached(browser: Browser, start_site: Any) -> None:
    site = start_site(SEATWEB_LIMIT_REGISTRATIONS="1/hour", SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ACCOUNT="1/hour")
    page = browser.new_page(base_url=site.url, reduced_motion="reduce")

    def send(path: str, name: str) -> None:
        page.context.clear_cookies()
        page.goto(path)
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password", exact=True).fill(f"a wrong password for {path}")
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.locator("main button[type=submit]").first.click()

    try:
        for path, names in (("/register", ("ada", "grace")), ("/login", ("ada", "ada"))):
            for name in names:
                send(path, name)
            page.get_by_text("Too many attempts. Try again at").wait_for()
            axe_finds_nothing(page)
    finally:
        page.context.close()


def test_the_chosen_seat_has_enough_contrast_under_the_pointer(open_busy_site: Any) -> None:
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    page.goto("/")
    for status, scheme in product(("free", "taken", "mine"), ("light", "dark")):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        chosen = page.locator(f"a.seat[data-status={status}]").first
        if chosen.get_attribute("aria-current") is None:
            chosen.click()
        page.locator(f"#panel[data-status={status}]").wait_for()
        chosen.hover()
        # axe skips the element under the pointer, so the contrast (WCAG 2, 1.4.3) is computed here.
        contrast = chosen.evaluate(
            """element => {
                const parse = colour => colour.match(/[0-9.]+/g).map(Number);
                const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
                    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
                let behind = element;
                while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
                const tones = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
                    .map(colour => luminance(parse(colour))).sort((a, b) => b - a);
                return (tones[0] + 0.05) / (tones[1] + 0.05);
            }"""
        )
        assert contrast >= 4.5, f"{status}, {scheme}"


def test_a_taken_seat_shows_its_sitter_to_pointer_and_keyboard(open_busy_site: Any, book: Callable[..., str]) -> None:
    name = book(60, "grace.hopper-")
    for signed_in in (False, True):
        page = open_busy_site(signed_in=signed_in, viewport=DESKTOP, color_scheme="light")
        page.goto(DAY)
        tip = page.locator(".tip")
        taken, free = page.locator("#seat-60"), page.locator("#seat-57")
        taken.hover()
        if not signed_in:
            free.hover()
            expect(tip).to_have_count(0)
            continue
        expect(tip).to_have_text(name)
        tip.hover()  # is still there while the pointer is on it
        expect(tip).to_have_text(name)
        page.keyboard.press("Escape")
        expect(tip).to_have_count(0)
        free.hover()
        taken.hover()
        expect(tip).to_have_text(name)
        free.hover()
        expect(tip).to_have_count(0)

        page.locator("#seat-59").focus()
        page.keyboard.press("ArrowRight")
        expect(taken).to_be_focused()
        expect(tip).to_have_text(name)
        page.keyboard.press("ArrowLeft")
        expect(tip).to_have_count(0)


@pytest.mark.parametrize("width", [320, 1280])
def test_a_long_name_stays_in_its_panel(open_busy_site: Any, book: Callable[..., str], width: int) -> None:
    book(60, "M" * 49)
    page = open_busy_site(signed_in=True, viewport={"width": width, "height": 800}, color_scheme="light")
    page.goto(f"{DAY}/seats/60")
    assert page.evaluate(OVERFLOW) <= 0
    panel = page.locator("#panel").bounding_box()
    close = page.locator(".panel-close").bounding_box()
    assert close["x"] + close["width"] <= panel["x"] + panel["width"] + 12 <= width + 12


def test_axe_finds_nothing_in_a_refused_form(page: Page) -> None:
    for path in ("/register", "/login"):
        page.goto(path)
        page.locator("main form").first.evaluate("form => { form.noValidate = true; form.submit() }")
        page.locator("main [aria-invalid=true]").first.wait_for()
        axe_finds_nothing(page)


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ENLARGED = """percent => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`html { font-size: ${percent}% !important }`);
    document.adoptedStyleSheets = [sheet];
}"""
BROKEN_WORDS = """() => [
    ...document.querySelectorAll('h1, h2, .ticket-seat, .line-seat, .line-day, .panel-words'),
].flatMap(heading => {
    const texts = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT), broken = [], range = document.createRange();
    for (let text; text = texts.nextNode();) {
        if (text.parentElement.closest('bdi, .visually-hidden')) continue;
        for (const { 0: word, index } of text.data.matchAll(/[^\\s-]+-?/g)) {
            range.setStart(text, index);
            range.setEnd(text, index + word.length);
            if (range.getClientRects().length > 1) broken.push(word);
        }
    }
    return broken;
})"""
OVERLAPS = """groups => groups.flatMap(selectors => {
    const boxes = selectors.flatMap(selector => [...document.querySelectorAll(selector)])
        .map(element => [element.className || element.textContent.trim(), element.getBoundingClientRect()])
        .filter(([, box]) => box.width > 1 && box.height > 1);
    return boxes.flatMap(([name, a], index) => boxes.slice(index + 1)
        .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
        .map(([other]) => `${name} and ${other}`));
})"""
# A seat's name that breaks elsewhere than at its hyphen, or is wider than its place.
CUT_OFF = """() => [...document.querySelectorAll('.ticket-seat, .line-seat, .panel-name, .seat-number, .section-name')]
    .filter(element => element.scrollWidth > Math.max(1, element.parentElement.clientWidth)
        || element.getClientRects().length > 2)
    .map(element => element.className)"""
CROWDED = """() => [...document.querySelectorAll('.line-day, .panel-words')]
    .filter(element => element.scrollWidth > element.clientWidth).map(element => element.textContent.trim())"""
APART = [[".brand", ".top-nav a"], [".day-name", ".steps", ".weekday"], [".panel-name", ".panel-close"]]


@pytest.mark.parametrize(("font", "widths"), [("figtree", (320, 390, 768, 1280, 2560)), ("stand-in", (320,))])
def test_no_page_scrolls_sideways(open_busy_site: Any, font: str, widths: tuple[int, ...]) -> None:
    """On phones not even with text of twice the size; nor does a word break, or one thing cover another."""
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light")
    if font == "stand-in":
        without_figtree(page)
    sizes = [*product(widths, (100,)), *product((320, 390), (125, 150, 200))]
    for name, path in (SIGNED_IN_PAGES | {"documentation": "/docs", "not found": "/nowhere"}).items():
        page.goto(path)
        for width, percent in sizes if font == "figtree" else product(widths, (100,)):
            page.set_viewport_size({"width": width, "height": 800})
            page.evaluate(ENLARGED, percent)
            where = f"{name}, {width} px, {percent} %"
            assert page.evaluate(OVERFLOW) <= 0, where
            assert page.evaluate(BROKEN_WORDS) == [], where
            assert page.evaluate(OVERLAPS, APART) == [], where


def test_dates_have_room_on_the_narrowest_phones(open_busy_site: Any, site: Site) -> None:
    """They break only after the weekday; and with text of twice the size, nothing beside them breaks or covers them."""
    page = open_busy_site(signed_in=True, viewport={"width": 320, "height": 640}, color_scheme="light")
    execute(
        site,
        "insert into bookings (user_id, seat_id, day) select user_id, 8, '2026-09-30' from bookings where seat_id = 7",
    )
    # The day of the seat's panel, the upcoming booking, and the past one.
    for path, count in ((f"{DAY}/seats/7", 1), ("/my/bookings", 2)):
        page.goto(path)
        page.evaluate(ENLARGED, 200)
        assert page.evaluate(BROKEN_WORDS) == [], path
        assert page.evaluate(CROWDED) == [], path
        page.evaluate(ENLARGED, 100)
        lines = page.evaluate(
            """() => [...document.querySelectorAll('.panel-day, .line-day time')].map(element => {
                const date = element.lastChild, range = document.createRange();
                range.selectNodeContents(date);
                return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size;
            })"""
        )
        assert lines == [1] * count, path


# How many pixels of two pictures differ by more than the rounding of an edge, which varies from page to page.
DIFFERENT_PIXELS = """async pictures => {
    const [one, other] = await Promise.all(pictures.map(async picture => {
        const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
        const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height);
    }));
    if (one.width !== other.width || one.height !== other.height) return Infinity;
    const differs = new Set();
    one.data.forEach((value, n) => Math.abs(value - other.data[n]) > 32 && differs.add(n >> 2));
    return differs.size;
}"""


def test_the_header_looks_the_same_on_all_pages(
    site: Site, sign_in: Callable[..., Any], open_browser: Callable[..., Page]
) -> None:
    """The style sheet of one kind of page does not change what all pages share."""
    page = open_browser()
    execute(site, "update users set role = 'admin' where id = $1", sign_in(page).id)
    without_figtree(page)  # which may come too late for one of them
    others = {"people": "/admin/people", "documentation": "/docs", "not found": "/nowhere"}
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        pictures = {}
        for name, path in (SIGNED_IN_PAGES | others).items():
            page.goto(path)
            # The mark of the current page is meant to differ.
            page.evaluate(
                "for (const link of document.querySelectorAll('.top [aria-current]')) link.ariaCurrent = null"
            )
            pictures[name] = b64encode(page.locator("header.top").screenshot()).decode()
        page.goto("about:blank")
        for name, picture in pictures.items():
            assert page.evaluate(DIFFERENT_PIXELS, [pictures["map"], picture]) == 0, f"{name}, {width} px"


@pytest.mark.parametrize(("options", "sizes", "minimum"), [
    ({"has_touch": True, "is_mobile": True}, ({"width": 320, "height": 700}, PHONE), 44),
    ({}, (DESKTOP,), 24),
], ids=["touch", "mouse"])  # fmt: skip
def test_targets_are_large_enough(
    open_busy_site: Any, options: dict[str, Any], sizes: tuple[Any, ...], minimum: int
) -> None:
    page = open_busy_site(signed_in=True, color_scheme="light", viewport=sizes[0], **options)
    for name, path in SIGNED_IN_PAGES.items():
        page.goto(path)
        for size in sizes:
            page.set_viewport_size(size)
            small = page.evaluate(
                """minimum => [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter(element => {
                    const box = element.getBoundingClientRect();
                    const inText = element.closest('p') && getComputedStyle(element).display === 'inline';
                    const hidden = element.closest('.skip, .visually-hidden') || box.bottom < 0 || box.width <= 1;
                    return box.width && !inText && !hidden && (box.width < minimum - 0.5 || box.height < minimum - 0.5);
                }).map(element => `${element.tagName} ${element.className} ${element.textContent.trim().slice(0, 20)} `
                    + JSON.stringify(element.getBoundingClientRect()))""",
                minimum,
            )
            assert small == [], f"{name}, {size['width']} px"


SLOW_NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 40_000, "uploadThroughput": 40_000}  # ms, B/s


@pytest.mark.parametrize(
    ("slowdown", "network", "signed_in"),
    [(1, None, False), (1, None, True), (8, None, False), (1, SLOW_NETWORK, False)],
    ids=["fast", "signed in", "slow phone", "slow network"],
)
def test_the_first_page_is_small_and_does_not_shift(
    open_browser: Callable[..., Page],
    sign_in: Callable[..., Any],
    slowdown: int,
    network: dict[str, Any] | None,
    *,
    signed_in: bool,
) -> None:
    page = open_browser(viewport=PHONE)
    if signed_in:
        sign_in(page)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    if network:
        devtools.send("Network.emulateNetworkConditions", network)
    bytes_received: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: bytes_received.append(event["encodedDataLength"]))
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(one => window.shift += one.value))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page.goto("/", wait_until="load")
    page.evaluate("document.fonts.ready")
    page.locator(".live[data-live=live]").wait_for()  # the stream never ends, so the network is never idle
    assert page.evaluate("window.shift") == pytest.approx(0, abs=0.001)
    assert sum(bytes_received) <= 60_000


def test_status_is_shown_without_colour(open_busy_site: Any, site: Site) -> None:
    """In black and white, and without its text, each status has a shape of its own."""
    execute(site, "update seats set closed = true where id = 3")
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    for forced in ("active", "none"):
        page.emulate_media(forced_colors="active" if forced == "active" else "none")
        page.goto("/")
        page.evaluate(
            """() => {
                const sheet = new CSSStyleSheet();
                sheet.replaceSync(`
                    a.seat { filter: grayscale(1) contrast(100) }
                    a.seat > *, a.seat::before { visibility: hidden }
                `);
                document.adoptedStyleSheets = [sheet];
                document.querySelector("#seat-4").dataset.status = "held";
            }"""
        )
        shapes = {}
        for seat_id, status in {1: "free", 3: "closed", 4: "held", 7: "mine", 9: "taken"}.items():
            seat = page.locator(f"#seat-{seat_id}")
            expect(seat).to_have_attribute("data-status", status)
            shapes[status] = seat.screenshot()
        for one, other in product(shapes, shapes):
            assert one == other or shapes[one] != shapes[other], f"{one} and {other}, forced colours {forced}"


def test_a_day_is_printed_on_one_page_with_its_year(open_busy_site: Any) -> None:
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="dark")
    for path in (DAY, f"{DAY}/seats/7"):
        page.goto(path)
        page.emulate_media(media="print")
        for paper in ("A4", "Letter"):
            printed = page.pdf(format=paper, margin=dict.fromkeys(("top", "right", "bottom", "left"), "12mm"))
            assert len(re.findall(rb"/Type /Page\b", printed)) == 1, (path, paper)
        expect(page.locator(".legend")).to_be_visible()
        year = page.locator(".day-date").evaluate("date => getComputedStyle(date, '::after').content")
        assert year == '" 2026"'


def test_skip_to_the_map_leads_to_the_first_seat(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the map")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#seat-1")).to_be_focused()


def test_messages_cover_neither_the_header_nor_the_panel(open_busy_site: Any, guard: Guard) -> None:
    guard.expected = ("net::ERR_INTERNET_DISCONNECTED", "htmx:error")
    page = open_busy_site(signed_in=True, viewport=PHONE, color_scheme="light", reduced_motion="reduce")
    sizes = ((320, 640), (390, 844), (768, 1024), (960, 700), (1280, 800))
    for path in ("/", f"{DAY}/seats/8", f"{DAY}/seats/9"):
        page.goto(path)
        page.context.set_offline(True)
        message = page.locator("#say-alert > p")
        message.wait_for()
        for width, height in sizes:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            apart = [["#say-alert > p", other] for other in (".brand", ".top-nav a", "#panel")]
            assert page.evaluate(OVERLAPS, apart) == [], f"{path}, {width} px"
            box = message.bounding_box()
            assert box["x"] >= 0
            assert box["y"] > 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
        page.context.set_offline(False)


def test_a_wide_section_and_long_names_leave_the_others_as_they_are(site: Site, open_busy_site: Any) -> None:
    execute(site, "update sections set name = 'LIBRARY1' where name = 'D'")
    execute(
        site,
        "update seats set number = '01' || number, grid_row = (id - 61) / 10 + 1, grid_column = (id - 61) % 10 + 1"
        " where id between 61 and 80",
    )
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light")
    page.goto(f"{DAY}/seats/64")
    boxes = {name: page.locator(f"#section-{name}").bounding_box() for name in ("A", "B", "C", "LIBRARY1")}
    assert boxes["A"]["y"] == boxes["B"]["y"]
    assert boxes["LIBRARY1"]["x"] == boxes["A"]["x"]
    assert boxes["LIBRARY1"]["width"] > boxes["A"]["width"] * 1.5
    page.get_by_role("button", name="Move from A-07 to LIBRARY1-0104").click()
    page.get_by_role("link", name="Seat LIBRARY1-0104, yours").wait_for()
    for path in (f"{DAY}/seats/64", DAY, "/my/bookings"):
        page.goto(path)
        for width in (320, 390, 768, 960, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(OVERFLOW) <= 0, (path, width)
            assert page.evaluate(BROKEN_WORDS) == [], (path, width)
            assert page.evaluate(CUT_OFF) == [], (path, width)
