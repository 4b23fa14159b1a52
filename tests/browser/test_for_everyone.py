"""Accessibility and weight of all pages: axe, target sizes, reflow, bytes; light and dark, small and large."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import asyncpg
import pytest
from playwright.sync_api import Browser, Page

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
    "my bookings": "/my/bookings",
    "account": "/account",
    "password": "/account/password",
    "delete the account": "/account/delete",
    "second factor": "/account/second-factor",
    "another day": "/days/2026-11-24/seats/8",
}


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

    async def make_admin() -> None:
        connection = await asyncpg.connect(site.backends.database_url)
        await connection.execute("update users set role = 'admin' where id = $1", admin.id)
        await connection.execute("update users set disabled_at = now() where username like 'someone-1-%'")
        await connection.close()

    run(make_admin())
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


@pytest.mark.parametrize("width", [320, 1280])
def test_a_long_name_stays_in_its_panel(open_busy_site: Any, book: Callable[..., str], width: int) -> None:
    book(60, "M" * 49)
    page = open_busy_site(signed_in=True, viewport={"width": width, "height": 800}, color_scheme="light")
    page.goto(f"{DAY}/seats/60")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    panel = page.locator("#panel").bounding_box()
    close = page.locator(".panel-close").bounding_box()
    assert close["x"] + close["width"] <= panel["x"] + panel["width"] + 12 <= width + 12


def test_axe_finds_nothing_in_a_refused_form(page: Page) -> None:
    for path in ("/register", "/login"):
        page.goto(path)
        page.locator("main form").first.evaluate("form => { form.noValidate = true; form.submit() }")
        page.locator("main [aria-invalid=true]").first.wait_for()
        axe_finds_nothing(page)


@pytest.mark.parametrize(("font", "widths"), [("figtree", (320, 390, 768, 1280, 2560)), ("stand-in", (320,))])
def test_no_page_scrolls_sideways(open_busy_site: Any, font: str, widths: tuple[int, ...]) -> None:
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light")
    if font == "stand-in":
        without_figtree(page)
    for name, path in SIGNED_IN_PAGES.items():
        page.goto(path)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name}, {width} px"


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
    ("slowdown", "network"), [(1, None), (8, None), (1, SLOW_NETWORK)], ids=["fast", "slow phone", "slow network"]
)
def test_the_first_page_is_small_and_does_not_shift(
    open_browser: Callable[..., Page], site: Site, slowdown: int, network: dict[str, Any] | None
) -> None:
    page = open_browser(viewport=PHONE)
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


def test_status_is_shown_without_colour(open_busy_site: Any) -> None:
    """Each status has its own shape, so it can be told from the others even if all colours are the same."""
    page = open_busy_site(signed_in=True, viewport=DESKTOP, color_scheme="light", forced_colors="active")
    page.goto("/")
    shapes = {}
    for status in ("free", "mine", "taken"):
        element = page.locator(f"a.seat[data-status={status}]").first
        shapes[status] = element.inner_text().strip() + element.evaluate(
            "e => [getComputedStyle(e).borderStyle, getComputedStyle(e, '::before').content,"
            " getComputedStyle(e, '::after').content, getComputedStyle(e).borderWidth, e.querySelectorAll('*').length,"
            " getComputedStyle(e).backgroundImage].join()"
        ).replace("seat", "")
    assert len(set(shapes.values())) == 3
