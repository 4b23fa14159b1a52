"""Fixtures: Firefox, WebKit, and people who use Seatweb in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from seatweb.accounts.model import User

from tests.browsers.drivers import Firefox, WebKit, display
from tests.browsers.page import Page
from tests.support import Site, run

PHONE, DESKTOP = (390, 844), (1280, 800)


@pytest.fixture(autouse=True)
def _patient(patient_with_redis: None) -> None:
    """Lengthen the timeouts for Redis: a site that starts beside a browser could lose Redis, and so holds, for 1 s."""


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the name of the X display on which WebKit opens its windows."""
    with display(tmp_path_factory.mktemp("display")) as name:
        yield name


@pytest.fixture(params=["firefox", "webkit"])
def browser(request: pytest.FixtureRequest) -> Callable[[Path], Firefox | WebKit]:
    """Return a function that takes a folder and returns a browser that keeps its files there."""
    if request.param == "firefox":
        return Firefox
    name = request.getfixturevalue("screen")
    return lambda folder: WebKit(folder, name)


@pytest.fixture
def open_browser(
    browser: Callable[[Path], Firefox | WebKit], site: Site, tmp_path: Path
) -> Iterator[Callable[..., Page]]:
    """Yield a function that starts one person's browser and returns its page; fail if a console shows a problem."""
    problems: list[str] = []
    with ExitStack() as stack:

        def open_one(size: tuple[int, int] = DESKTOP, *, javascript: bool = True) -> Page:
            one = browser(tmp_path / f"browser-{len(list(tmp_path.iterdir()))}")
            driver = stack.enter_context(one.open(javascript=javascript))
            stack.callback(lambda: problems.extend(one.problems(driver)))
            page = Page(driver, site.url)
            page.resize(*size)
            return page

        yield open_one
    assert problems == []


@pytest.fixture
def sign_in(site: Site) -> Callable[..., User]:
    """Return a function that creates an account and signs its user in on a page, without the forms."""

    def sign_in(page: Page, username: str = "ada") -> User:
        user, cookies = run(site.new_session(username))
        page.open("/login")  # a browser accepts cookies only for the site that it shows
        for name, value in cookies.items():
            page.driver.add_cookie({"name": name, "value": value, "path": "/", "httpOnly": True})
        return user

    return sign_in
