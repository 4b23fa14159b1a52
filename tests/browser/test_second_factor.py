"""Passkeys in Chromium, with its virtual authenticator, and the accessibility of the second-factor pages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.browser.axe import DESKTOP, PHONE, axe_finds_nothing
from tests.browser.conftest import Guard
from tests.support import Site

PAGE = "/account/second-factor"
PASSWORD = "correct horse battery"


class Device:
    """Chromium's virtual authenticator, controlled over the DevTools protocol."""

    def __init__(self, page: Page) -> None:
        self.cdp: CDPSession = page.context.new_cdp_session(page)
        self.cdp.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self.id = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    @property
    def passkeys(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})[
            "credentials"
        ]
        return found

    def verify_user(self, *, success: bool) -> None:
        """Make user verification, such as a fingerprint, succeed or fail from now on."""
        self.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": success})


@pytest.fixture
def guard(site: Site) -> Iterator[Guard]:
    """Yield a guard over pages that are opened at `localhost`, where passkeys work."""
    site.url = site.url.replace("127.0.0.1", "localhost")
    guard = Guard(site)
    yield guard
    assert guard.problems == []


@pytest.fixture
def ada(page: Page) -> Page:
    """Return the page of a user who has just registered."""
    page.goto("/register")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/")
    return page


def confirm(page: Page) -> None:
    page.goto(PAGE)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("You can make changes for 10 minutes").wait_for()


def add_passkey(page: Page, name: str = "My laptop") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add a passkey").click()


def next_code(app: pyotp.TOTP) -> str:
    """Return the code of the next time step: it is accepted already, and not used up by adding the app."""
    return app.at(int(time.time()) + 30)


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are signed out").wait_for()


def test_a_passkey_is_added_and_signs_in_without_a_password(ada: Page) -> None:
    device = Device(ada)
    ada.goto("/account")
    ada.get_by_role("link", name="Turn on").click()
    confirm(ada)
    add_passkey(ada)
    expect(ada.locator(".codes li")).to_have_count(10)
    with ada.expect_download() as download:
        ada.get_by_role("link", name="Download").click()
    kept = Path(download.value.path()).read_text().splitlines()
    assert kept == ["Seatweb: recovery codes of ada", "", *ada.locator(".codes li").all_inner_texts()]
    ada.get_by_role("link", name="I've saved them").click()
    expect(ada.locator(".factor-name")).to_have_text("My laptop")
    (passkey,) = device.passkeys
    assert passkey["isResidentCredential"]
    assert passkey["rpId"] == "localhost"
    sign_out(ada)
    ada.goto("/login?next=/my/bookings")
    ada.get_by_role("button", name="Sign in with a passkey").click()
    ada.wait_for_url("**/my/bookings")
    expect(ada.get_by_role("link", name="Account: ada")).to_be_visible()
    assert device.passkeys[0]["signCount"] > passkey["signCount"]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_required_passkey_is_added_right_after_registering(
    browser: Browser, start_site: Callable[..., Site], viewport: Any
) -> None:
    site = start_site(SEATWEB_SECOND_FACTOR="everyone")
    context = browser.new_context(base_url=site.url.replace("127.0.0.1", "localhost"), viewport=viewport)
    guard = Guard(site)
    guard.site.url = site.url.replace("127.0.0.1", "localhost")
    guard.watch(context)
    page = context.new_page()
    Device(page)
    page.goto(f"/register?next=/days/{site.clock.today}/seats/7")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    page.get_by_text("This site requires two-step sign-in").wait_for()
    axe_finds_nothing(page)
    page.get_by_role("link", name="Seatweb").first.click()  # leaving the page does not sign in
    page.get_by_role("link", name="Sign in").first.click()
    page.get_by_text("This site requires two-step sign-in").wait_for()
    add_passkey(page)
    expect(page.locator(".codes li")).to_have_count(10)
    page.get_by_role("link", name="I've saved them").click()
    page.wait_for_url("**/seats/7")  # what she wanted
    page.goto("/account/second-factor")
    expect(page.locator(".factor-name")).to_have_text("My laptop")
    expect(page.get_by_role("button", name="Remove My laptop")).to_have_count(0)
    page.goto(f"/days/{site.clock.today}/seats/7")
    page.get_by_role("button", name="Book A-07").click()
    page.get_by_role("link", name="Seat A-07, yours").wait_for()
    context.close()
    assert guard.problems == []


def test_a_passkey_completes_a_sign_in_and_confirms_changes(ada: Page) -> None:
    Device(ada)
    confirm(ada)
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    sign_out(ada)
    ada.goto("/login?next=/account")
    ada.get_by_label("Username").fill("ada")
    ada.get_by_label("Password", exact=True).fill(PASSWORD)
    ada.get_by_role("button", name="Sign in", exact=True).click()
    ada.get_by_role("heading", name="Confirm it's you").wait_for()
    ada.get_by_role("button", name="Use a passkey").click()
    ada.get_by_role("link", name="On", exact=True).click()
    # The earlier confirmation counted for the earlier session only.
    ada.get_by_role("button", name="Use a passkey").click()
    ada.get_by_role("button", name="Remove My laptop").click()
    expect(ada.get_by_text("Passkey removed")).to_be_visible()
    expect(ada.get_by_text("Off.")).to_be_visible()


def test_a_passkey_confirms_the_user_before_the_account_is_deleted(ada: Page) -> None:
    Device(ada)
    confirm(ada)
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    ada.context.clear_cookies(name=re.compile("confirmed"))
    ada.goto("/account")
    ada.get_by_role("link", name="Delete").click()
    ada.get_by_role("heading", name="Confirm it's you").wait_for()
    axe_finds_nothing(ada)
    ada.get_by_role("button", name="Use a passkey").click()
    ada.wait_for_url("**/account/delete")
    ada.get_by_label("Password", exact=True).fill(PASSWORD)
    ada.get_by_role("button", name="Delete account").click()
    expect(ada.get_by_text("Your account has been deleted")).to_be_visible()


def test_a_second_passkey_on_the_same_device_is_refused_with_a_message(ada: Page) -> None:
    device = Device(ada)
    confirm(ada)
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    add_passkey(ada, "Again")
    expect(ada.get_by_role("alert").filter(has_text="already added a passkey on this device")).to_be_visible()
    expect(ada.get_by_role("button", name="Add a passkey")).not_to_have_attribute("aria-busy", "true")
    assert len(device.passkeys) == 1


def test_a_failed_user_verification_does_not_sign_in(ada: Page) -> None:
    device = Device(ada)
    confirm(ada)
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    sign_out(ada)
    device.verify_user(success=False)
    ada.goto("/login")
    button = ada.get_by_role("button", name="Sign in with a passkey")
    button.click()
    expect(ada.get_by_role("alert").filter(has_text="cancelled or timed out")).to_be_visible()
    device.verify_user(success=True)
    button.click()
    expect(ada.get_by_role("link", name="Account: ada")).to_be_visible()


def test_signing_in_with_a_removed_passkey_says_that_it_is_unknown(ada: Page) -> None:
    Device(ada)
    confirm(ada)
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    ada.get_by_role("button", name="Remove My laptop").click()
    ada.get_by_text("Passkey removed").wait_for()
    sign_out(ada)
    ada.goto("/login")
    ada.get_by_role("button", name="Sign in with a passkey").click()
    expect(ada.get_by_role("alert").filter(has_text="not registered on this site")).to_be_visible()


def test_passkeys_work_in_browsers_without_webauthn_json(ada: Page) -> None:
    """In browsers from before 2024 or 2025, our own script converts the JSON."""
    Device(ada)
    ada.add_init_script(
        "delete PublicKeyCredential.parseCreationOptionsFromJSON;"
        "delete PublicKeyCredential.parseRequestOptionsFromJSON;"
        "delete PublicKeyCredential.prototype.toJSON;"
    )
    confirm(ada)
    assert not ada.evaluate("'toJSON' in PublicKeyCredential.prototype")
    add_passkey(ada)
    ada.get_by_role("link", name="I've saved them").click()
    sign_out(ada)
    ada.goto("/login")
    ada.get_by_role("button", name="Sign in with a passkey").click()
    expect(ada.get_by_role("link", name="Account: ada")).to_be_visible()


def test_an_app_is_added_and_used_by_keyboard_alone(ada: Page) -> None:
    confirm(ada)
    ada.get_by_role("button", name="Add an app").press("Enter")
    app = pyotp.TOTP(ada.locator(".enrol-key code").inner_text().replace(" ", ""))
    ada.get_by_role("textbox", name="Code").fill(app.now())
    ada.keyboard.press("Enter")
    expect(ada.locator(".codes li")).to_have_count(10)
    sign_out(ada)
    ada.goto("/login")
    expect(ada.get_by_role("textbox", name="Username")).to_be_focused()
    ada.keyboard.type("ada")
    ada.keyboard.press("Tab")
    ada.keyboard.type(PASSWORD)
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("textbox", name="Code")).to_be_focused()
    ada.keyboard.type(next_code(app))
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("link", name="Account: ada")).to_be_visible()


def test_without_scripts_no_passkey_button_is_shown(open_browser: Callable[..., Page]) -> None:
    page = open_browser(java_script_enabled=False)
    page.goto("/login")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("passkey"))).to_have_count(0)


def test_a_browser_that_cannot_use_passkeys_says_so(ada: Page) -> None:
    ada.add_init_script("delete window.PublicKeyCredential")
    ada.goto(PAGE)
    expect(ada.get_by_text("This browser doesn't support passkeys.")).to_be_visible()
    confirm(ada)
    expect(ada.get_by_text("This browser doesn't support passkeys.")).to_be_visible()
    expect(ada.get_by_role("button", name="Add a passkey")).to_be_hidden()


# Accessibility


def walk(page: Page) -> Iterator[str]:
    """Go through the second-factor pages, and yield a name for each."""
    yield "off"
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("Wrong password").wait_for()
    yield "a wrong password"
    confirm(page)
    yield "confirmed"
    page.get_by_role("button", name="Add an app").click()
    page.get_by_role("heading", name="Add an authenticator app").wait_for()
    secret = page.locator(".enrol-key code").inner_text().replace(" ", "")
    yield "a new app"
    page.get_by_role("textbox", name="Code").fill("12345")
    page.get_by_role("button", name="Add app").click()
    page.get_by_text("Wrong code").wait_for()
    yield "a wrong first code"
    page.get_by_role("textbox", name="Code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Add app").click()
    page.locator(".codes").wait_for()
    yield "recovery codes"
    page.get_by_role("link", name="I've saved them").click()
    add_passkey(page)
    page.locator(".factor-name").get_by_text("My laptop").wait_for()
    yield "on"
    page.context.clear_cookies(name="seatweb_confirmed")
    page.reload()
    yield "on, to be confirmed"
    page.goto("/account")
    yield "account"
    page.get_by_role("button", name="Sign out").first.click()
    page.goto("/login")
    page.get_by_role("button", name="Sign in with a passkey").wait_for()
    yield "login"
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Confirm it's you").wait_for()
    yield "second step"
    page.get_by_role("textbox", name="Code").fill("123")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("Wrong code").wait_for()
    yield "a wrong code"


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_on_any_step(open_browser: Callable[..., Page], viewport: Any) -> None:
    touch = {"has_touch": True, "is_mobile": True} if viewport is PHONE else {}
    page = open_browser(viewport=viewport, color_scheme="light", reduced_motion="reduce", **touch)
    page.goto("/register?next=/account/second-factor")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    page.wait_for_url(f"**{PAGE}")
    Device(page)
    minimum = 44 if touch else 24
    for name in walk(page):
        if not touch:  # axe looks at a narrow page as well
            axe_finds_nothing(page, name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        small = page.evaluate(
            """minimum => [...document.querySelectorAll('main a, main button, main input:not([type=hidden])')]
                .filter(element => {
                    const box = element.getBoundingClientRect();
                    const inText = element.closest('p') && getComputedStyle(element).display === 'inline';
                    const hidden = box.width <= 1 || element.matches('.visually-hidden');
                    return !hidden && !inText && (box.width < minimum - 0.5 || box.height < minimum - 0.5);
                }).map(element => element.outerHTML)""",
            minimum,
        )
        assert small == [], name
