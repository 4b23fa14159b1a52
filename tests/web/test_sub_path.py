"""Seatweb under a path of its host, behind a proxy that passes the path on or removes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import asyncpg
import httpx
import pytest
from bs4 import BeautifulSoup
from seatweb.storage import resources
from seatweb.web.sub_path import ATTRIBUTES

from tests.support import HTMX, NO_TLS, Clock, Site, Visitor, one, seats, soup
from tests.web.admin.test_people import make_admin
from tests.web.test_html import DAY, PATHS

BASE = "/seats"  # also the path of an operation of the API, which is thus at /seats/seats
PUBLIC_URL = f"https://example.org{BASE}"
MORE_PATHS = {
    "a part of the map": f"{DAY}/sections/A",
    "the second factor, asked for": "/account/second-factor?for=password",
    "an app": "/account/second-factor/app",
    "a forgotten password": "/login/reset",
    "people": "/admin/people?name=person",
    "disable": "/admin/people/2/disable",
    "cancel bookings": "/admin/people/2/bookings/cancel",
}


class RemovingProxy(httpx.AsyncHTTPTransport):
    """A proxy that removes the path, as nginx does for `proxy_pass http://127.0.0.1:8000/`."""

    headers: tuple[tuple[str, str], ...] = ()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, at, query = request.url.raw_path.partition(b"?")
        assert path == BASE.encode() or path.startswith(BASE.encode() + b"/"), f"outside of the path: {request.url}"
        url = request.url.copy_with(raw_path=(path.removeprefix(BASE.encode()) or b"/") + at + query)
        headers = [*request.headers.raw, *((name.encode(), value.encode()) for name, value in self.headers)]
        return await super().handle_async_request(
            httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
        )


class SayingProxy(RemovingProxy):
    """A proxy that removes the path and says so, as Traefik does."""

    headers = (("x-forwarded-prefix", BASE),)


class Guest(Visitor):
    """A visitor who knows only the address of the first page, and follows links and forms from there."""

    page: BeautifulSoup
    where: str

    async def follow(self, address: str) -> httpx.Response:
        return await self._arrive(await self.http.get(urljoin(self.where, address)))

    async def send(self, action: str, **fields: str) -> httpx.Response:
        """Send the form with this action, as it is on the page, with more fields; follow the redirect."""
        (form, *_) = [form for form in self.page.select("form[action]") if re.search(action, str(form["action"]))]
        hidden = {str(field["name"]): str(field["value"]) for field in form.select("input[type=hidden]")}
        address = urljoin(self.where, str(form["action"]))
        return await self._arrive(await self.http.post(address, data=hidden | fields))

    async def _arrive(self, answer: httpx.Response) -> httpx.Response:
        while answer.is_redirect:
            answer = await self.http.get(urljoin(str(answer.url), answer.headers["location"]))
        assert answer.url.path.startswith(BASE), f"outside of the path: {answer.url}"
        self.where = str(answer.url)
        self.page = soup(answer)
        return answer

    def link(self, words: str) -> str:
        (link, *_) = [link for link in self.page.select("a[href]") if words in link.get_text(" ", strip=True)]
        return str(link["href"])


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    """Return a site under a path; without TLS, since `Secure` cookies would not be sent to it."""
    return start_site(SEATWEB_PUBLIC_URL=PUBLIC_URL.replace("https", "http"))


@pytest.fixture(params=[httpx.AsyncHTTPTransport, RemovingProxy, SayingProxy], ids=["passes on", "removes", "says so"])
def guest(request: pytest.FixtureRequest, site: Site) -> Guest:
    """Return a visitor behind each kind of proxy."""
    guest = Guest(site.url + BASE, transport=request.param(verify=NO_TLS))
    guest.where = site.url + BASE + "/"
    return guest


def go_under(site: Site, *visitors: Visitor) -> None:
    """Make the visitors' paths begin with the site's."""
    for visitor in visitors:
        visitor.http.base_url = httpx.URL(site.url + BASE)


def check_addresses(answer: httpx.Response, name: str) -> int:
    """Check that every address on the page begins with the site's path; return how many there are."""
    found = 0
    for element in soup(answer).select("*"):
        for attribute, value in element.attrs.items():
            # `next` stays inside: the server adds the path when it redirects there.
            if not isinstance(value, str) or not value.startswith("/") or element.get("name") == "next":
                continue
            assert value.startswith(BASE + "/"), f"{name}: <{element.name} {attribute}={value!r}>"
            assert not value.startswith(f"{BASE}{BASE}/"), f"{name}: <{element.name} {attribute}={value!r}>"
            found += 1
    for header in ("location", "hx-redirect", "hx-push-url"):
        address = answer.headers.get(header, BASE)
        assert address.startswith(BASE) or address == "false", f"{name}: {header}: {address}"
    return found


@pytest.mark.parametrize("who", ["visitor", "user", "administrator"])
async def test_every_address_on_every_page_begins_with_the_path(
    site: Site, clock: Clock, connection: asyncpg.Connection, who: str
) -> None:
    async with site.people(3) as (ada, grace, admin):
        await make_admin(connection, admin)
        visitor = {"visitor": site.visitor(), "user": ada, "administrator": admin}[who]
        go_under(site, ada, grace, admin, visitor)
        await ada.book(clock.today, 7)
        await grace.book(clock.today, 43)
        await admin.book(clock.today, 1)
        site.confirm(admin)
        for name, path in [*(PATHS | MORE_PATHS).items(), ("again, warm", "/"), ("again, warm", DAY)]:
            answer = await visitor.get(path)
            assert check_addresses(answer, name) or answer.status_code == 303, name
            check_addresses(await visitor.get(path, headers=HTMX), f"{name} for htmx")


async def test_every_address_in_an_answer_to_a_form_begins_with_the_path(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        go_under(site, ada, grace)
        await grace.book(clock.today, 43)
        for post in (ada.post, ada.post_htmx):
            for path in (f"{DAY}/seats/43/book", f"{DAY}/seats/7/book", f"{DAY}/seats/8/move", f"{DAY}/seats/9/hold"):
                check_addresses(await post(path), path)
            check_addresses(await post("/account/password", password="wrong", new_password="x"), "a password")
            check_addresses(await post("/admin/people/1/disable"), "refused")
        listed = soup(await ada.get("/my/bookings"))
        action = str(one(listed, "form[action$='/cancel']")["action"]).removeprefix(BASE)
        check_addresses(await ada.post_htmx(action), "cancelled")
        check_addresses(await ada.get("/my/bookings"), "Undo in the list")
        check_addresses(await ada.http.post("/logout", headers=HTMX), "expired")


def test_no_template_has_an_address_in_an_attribute_that_stays_without_the_path() -> None:
    templates = resources.folder("templates")
    for file in templates.rglob("*.html"):
        for attribute in re.findall(r'([\w:-]+)="/', file.read_text(encoding="utf-8")):
            assert attribute in ATTRIBUTES.split("|"), f"{file.name}: {attribute}"


async def test_a_guest_registers_books_cancels_takes_it_back_and_signs_out(guest: Guest, clock: Clock) -> None:
    await guest.follow("")
    await guest.follow(str(one(guest.page, "#seat-7")["href"]))
    await guest.follow(guest.link("Register"))
    await guest.send(r"/register$", username="ada", password="correct horse battery")
    assert guest.where.endswith(f"{BASE}{DAY}/seats/7")  # back at the seat
    await guest.send("/book")
    answer = await guest.follow("")
    assert seats(answer)["A-07"] == "mine"
    await guest.follow(guest.link("My bookings"))
    assert "A-07" in one(guest.page, "main").get_text()
    await guest.send("/cancel$")
    await guest.send("/undo")
    await guest.follow(str(one(guest.page, ".brand")["href"]))
    assert seats(await guest.follow(""))["A-07"] == "mine"
    await guest.follow(str(one(guest.page, "#calendar-link")["href"]))
    assert guest.page.select("td a[href]")
    await guest.follow(str(one(guest.page, f'[data-day="{clock.ahead(1)}"]')["href"]))
    assert guest.where.endswith(f"/days/{clock.ahead(1)}")
    await guest.send("/logout$")
    assert urlsplit(guest.where).path == BASE + "/"
    await guest.follow("account")  # asks to sign in, and leads back
    await guest.send("/login$", username="ada", password="correct horse battery")
    assert urlsplit(guest.where).path == BASE + "/account"
    await guest.follow(guest.link("API documentation"))
    assert f"{PUBLIC_URL.replace('https', 'http')}/auth/login" in guest.page.get_text()
