"""Take the screenshots in the README: `python docs/screenshots.py`.

Starts Seatweb in a temporary folder, creates users and bookings, and writes `docs/images/*.png`. Needs the development
dependencies and Chromium (`/usr/bin/chromium`, or from `playwright install chromium`).
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

IMAGES: Final = Path(__file__).parent / "images"
CHROMIUM: Final = "/usr/bin/chromium"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of short-lived test users
ME: Final = "ada.lovelace"
NEWCOMER: Final = "mae.jemison"
PEOPLE: Final = (
    "grace.hopper",
    "alan.turing",
    "hedy.lamarr",
    "edsger.dijkstra",
    "mary.jackson",
    "tim.bernerslee",
    "radia.perlman",
    "ken.thompson",
    "barbara.liskov",
    "john.mccarthy",
    "joan.clarke",
    "dorothy.vaughan",
    "niklaus.wirth",
    "adele.goldberg",
    "lynn.conway",
    "karen.jones",
    "sophie.wilson",
    "leslie.lamport",
    "frances.allen",
    "donald.knuth",
    "margaret.hamilton",
    "claude.shannon",
    "katherine.johnson",
    "dennis.ritchie",
    "evelyn.boyd",
    "anita.borg",
    "vint.cerf",
    "jean.sammet",
    "tony.hoare",
    "kathleen.booth",
    "rosa.peter",
    "alonzo.church",
    "emmy.noether",
    "kurt.goedel",
    "ida.rhodes",
)
MINE: Final = {0: "C-12", 1: "A-07", 3: "A-07", 8: "D-18"}  # days after the Monday of next week
SEAT: Final = re.compile(r'id="seat-(\d+)"[^>]*aria-label="Seat ([A-Z0-9]+-\d+), (\w+)')
TODAY: Final = re.compile(r'id="day"[^>]*data-day="([^"]+)"')
TOKEN: Final = re.compile(r'name="_csrf_token" value="([^"]+)"')


def main() -> None:
    """Take all screenshots."""
    IMAGES.mkdir(exist_ok=True)
    with running_seatweb() as address:
        today = date.fromisoformat(TODAY.search(httpx.get(address).text)[1])  # type: ignore[index]
        monday = today + timedelta(days=7 - today.weekday())
        day = monday + timedelta(days=1)
        fill(address, monday, day)
        with sync_playwright() as playwright:
            path = os.environ.get("SEATWEB_TEST_CHROMIUM") or (CHROMIUM if Path(CHROMIUM).exists() else None)
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            take(browser, address, day)
            browser.close()


@contextmanager
def running_seatweb() -> Iterator[str]:
    """Run Seatweb with a new data folder; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="seatweb-") as folder:
        settings = {"SEATWEB_DATA_DIR": folder, "SEATWEB_PORT": str(port), "SEATWEB_WORKERS": "1"}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SEATWEB_") and name not in {"DATABASE_URL", "REDIS_URL", "JWT_SECRET"}
        }
        process = subprocess.Popen([sys.executable, "-m", "seatweb", "serve"], env=inherited | settings)
        try:
            wait_until_ready(address, process)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the address answers.

    Raises:
        RuntimeError: it did not answer within a minute, or the process ended.
    """
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            httpx.get(address, timeout=2).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.25)
        else:
            return
    raise RuntimeError("Seatweb did not start")


def fill(address: str, monday: date, day: date) -> None:
    """Register users and book seats for them; the same users get the same seats in every run."""
    rng = random.Random(7)  # noqa: S311 - pictures, not secrets
    with person(address, NEWCOMER):
        pass
    with person(address, ME) as client:
        for days, label in MINE.items():
            book(client, monday + timedelta(days=days), label)
    labels = [
        label for label, (_, status) in seats(httpx.get(f"{address}/days/{day}").text).items() if status == "free"
    ]
    bookings = {"A": 10, "B": 7, "C": 14, "D": 4}  # per section
    chosen = [
        label
        for section, number in bookings.items()
        for label in rng.sample([label for label in labels if label.startswith(section)], number)
    ]
    for name, label in zip(rng.sample(PEOPLE, len(PEOPLE)), chosen, strict=True):
        with person(address, name) as client:
            book(client, day, label)


@contextmanager
def person(address: str, name: str) -> Iterator[httpx.Client]:
    """Register a user; yield a client that is signed in as them."""
    with httpx.Client(base_url=address, follow_redirects=True, timeout=20) as client:
        fields = {"username": name, "password": PASSWORD, "_csrf_token": token(client.get("/register").text)}
        client.post("/register", data=fields, headers={"origin": address}).raise_for_status()
        yield client


def book(client: httpx.Client, day: date, label: str) -> None:
    """Book a seat for the client's user."""
    page = client.get(f"/days/{day}").text
    seat_id, _ = seats(page)[label]
    path = f"/days/{day}/seats/{seat_id}/book"
    headers = {"origin": str(client.base_url).rstrip("/")}
    client.post(path, data={"_csrf_token": token(page)}, headers=headers).raise_for_status()


def seats(page: str) -> dict[str, tuple[str, str]]:
    """Return the id and status of every seat on a map, by label."""
    return {label: (seat_id, status) for seat_id, label, status in SEAT.findall(page)}


def token(page: str) -> str:
    """Return the CSRF token of this page's forms."""
    match = TOKEN.search(page)
    if match is None:
        raise RuntimeError("the page has no form")
    return match[1]


def take(browser: Browser, address: str, day: date) -> None:
    """Open the pages and take the screenshots: a newcomer selects a seat on her phone, and Ada sees it at her desk."""
    phone = signed_in(browser, address, NEWCOMER, width=390, height=844, touch=True).new_page()
    phone.goto(f"{address}/days/{day}")
    phone.tap(free_seat(phone, "A"))
    phone.wait_for_selector("#hold .hold-now")
    shoot(phone, None, "phone")

    context = signed_in(browser, address, ME, width=1280, height=1300)
    page = context.new_page()
    shoot(page, f"{address}/days/{day}", "day")
    page.set_viewport_size({"width": 1280, "height": 760})
    shoot(page, f"{address}/my/bookings", "my-bookings")

    dark = signed_in(browser, address, ME, width=1280, height=860, scheme="dark").new_page()
    dark.goto(f"{address}/days/{day}")
    dark.click(free_seat(dark, "B"))
    dark.wait_for_selector("#hold .hold-now")
    shoot(dark, None, "day-dark")


def free_seat(page: Page, section: str) -> str:
    """Return the selector of a free seat in the second row of a section."""
    seat = page.locator(f'#section-{section} a.seat[data-row="2"][data-status="free"]').nth(1)
    return f"#{seat.get_attribute('id')}"


def signed_in(
    browser: Browser, address: str, name: str, *, width: int, height: int, scheme: str = "light", touch: bool = False
) -> BrowserContext:
    """Return a browser context in which the user is signed in."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=2 if touch else 1.25,  # sharp, and under 200 KB
        has_touch=touch,
        is_mobile=touch,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.wait_for_url(f"{address}/")
    page.close()
    return context


def shoot(page: Page, address: str | None, name: str) -> None:
    """Take one screenshot of the page, with nothing focused or hovered."""
    if address:
        page.goto(address)
    if page.locator(".live").count():
        page.wait_for_selector(".live[data-live=live]", state="attached")
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.fonts.ready")
    page.wait_for_function("() => !document.querySelector('.fresh')")  # what just came is hollow for a moment
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    sys.stdout.write(f"docs/images/{name}.png\n")


if __name__ == "__main__":
    main()
