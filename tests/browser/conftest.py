"""Fixtures: Chromium, and people who use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from seatweb.accounts.model import User

from tests.support import Site, run

ARGUMENTS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PATIENCE_MS = 30_000  # for everything that a page does: a busy machine may need seconds for what usually takes a moment
expect.set_options(timeout=PATIENCE_MS)
# Logs policy violations to the console, where they fail the test (see Guard).
LISTEN = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`POLICY ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Yield Chromium: the system's, if the Makefile found one."""
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        path = os.environ.get("SEATWEB_TEST_CHROMIUM") or None
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS + as_root)
        yield browser
        browser.close()


class Guard:
    """Records what no page may do: request another host, violate the content security policy, fail in a script."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.problems: list[str] = []
        self.expected: tuple[str, ...] = ()

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(LISTEN)
        context.on("request", self._request)
        context.on("console", lambda message: self._note(message.type, message.text))
        context.on("weberror", lambda error: self._note("error", str(error.error)))

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.site.url, "data:", "blob:")):
            self.problems.append(f"request to {request.url}")

    def _note(self, kind: str, text: str) -> None:
        # A refusal (409, 422, …) is a normal response, but Chromium logs it to the console as an error.
        refusal = "Failed to load resource: the server responded with a status of 4" in text
        if kind in {"error", "warning"} and not refusal and not any(part in text for part in self.expected):
            self.problems.append(f"{kind}: {text}")


FIGTREE = "**/*.woff2*"


def without_figtree(page: Page) -> None:
    """Answer requests for the font with 404: the page uses its stand-in, as it does until the font arrives."""
    page.route(FIGTREE, lambda route: route.fulfill(status=404))


@pytest.fixture
def guard(site: Site) -> Iterator[Guard]:
    """Yield a guard over all pages of the test, and fail the test if the guard recorded a problem."""
    guard = Guard(site)
    yield guard
    assert guard.problems == []


@pytest.fixture
def open_browser(browser: Browser, site: Site, guard: Guard) -> Iterator[Callable[..., Page]]:
    """Yield a function that opens a separate browser (a context) and returns its first page."""
    with ExitStack() as stack:

        def open_one(**options: Any) -> Page:
            options = {"viewport": {"width": 1280, "height": 800}, "base_url": site.url, **options}
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            guard.watch(context)
            return context.new_page()

        yield open_one


@pytest.fixture(autouse=True)
def _patient(patient_with_redis: None) -> None:
    """Lengthen the timeouts for Redis: a site that starts beside a browser could lose Redis, and so holds, for 1 s."""


@pytest.fixture
def page(open_browser: Callable[..., Page]) -> Page:
    """Return a visitor's page on a desktop."""
    return open_browser()


@pytest.fixture
def sign_in(site: Site) -> Callable[..., User]:
    """Return a function that creates an account and signs its user in on a page, without the forms."""

    def sign_in(page: Page, username: str = "ada") -> User:
        user, cookies = run(site.new_session(username))
        page.context.add_cookies(
            [{"name": name, "value": value, "url": site.url, "httpOnly": True} for name, value in cookies.items()]
        )
        return user

    return sign_in


@pytest.fixture
def book(site: Site) -> Callable[..., str]:
    """Return a function that books a seat today for a new user, and returns the user's name."""
    count = iter(range(1000))

    def book(seat_id: int, name: str | None = None) -> str:
        async def work() -> str:
            async with site.people(1, prefix=name or f"someone-{next(count)}-") as (visitor,):
                answer = await visitor.book(site.clock.today, seat_id)
                assert answer.status_code == 303
                assert visitor.user
                return visitor.user.username

        return run(work())

    return book
