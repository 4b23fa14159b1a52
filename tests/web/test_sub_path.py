"""Seatweb under a path of its host, behind a proxy that passes the path on or removes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import asyncpg
import httpx
import pytest
from bs4 import BeautifulSoup
from seatweb.storage import resources
from seatweb.web.account.passkey_forms import relying_party
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


PROXIES = pytest.mark.parametrize(
    "proxy", [httpx.AsyncHTTPTransport, RemovingProxy, SayingProxy], ids=["passes on", "removes", "says so"]
)


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


def go_under(site: Site, *visitors: Visitor) -> None:
    """Make the visitors' paths begin with the site's."""
    for visitor in visitors:
        visitor.http.base_url = httpx.URL(site.url + BASE)


def check_addresses(answer: httpx.Response, name: str) -> int:
    """Check that every address on the page begins with the site's path; return how many there are."""
    assert answer.status_code < 500, name
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


@PROXIES
async def test_a_guest_registers_books_cancels_takes_it_back_and_signs_out(
    site: Site, clock: Clock, proxy: type[httpx.AsyncHTTPTransport]
) -> None:
    guest = Guest(site.url + BASE, transport=proxy(verify=NO_TLS))
    guest.where = f"{site.url}{BASE}/"
    await guest.follow("")
    await guest.follow(str(one(guest.page, "#seat-7")["href"]))
    await guest.follow(guest.link("Register"))
    await guest.send(r"/register$", username="ada", password="correct horse battery")
    assert guest.where.endswith(f"{BASE}{DAY}/seats/7")  # back at the seat
    await guest.send("/book")
    assert seats(await guest.follow(""))["A-07"] == "mine"
    await guest.follow(guest.link("My bookings"))
    assert "A-07" in one(guest.page, "main").get_text()
    await guest.send("/cancel$")
    await guest.send("/undo")
    assert seats(await guest.follow(str(one(guest.page, ".brand")["href"])))["A-07"] == "mine"
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


@PROXIES
async def test_programs_book_and_follow_links(site: Site, proxy: type[httpx.AsyncHTTPTransport]) -> None:
    async with httpx.AsyncClient(transport=proxy(verify=NO_TLS)) as http:
        document = (await http.get(f"{site.url}{BASE}/openapi.json")).json()
        (server,) = document["servers"]
        root = urljoin(site.url, server["url"])
        assert root == site.url + BASE
        account = {"username": "ada", "password": "correct horse battery"}
        await http.post(f"{root}/auth/register", json=account)
        token = (await http.post(f"{root}/auth/login", json=account)).json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        days = [str(site.clock.ahead(days)) for days in range(3)]
        for day in days:
            assert (await http.post(f"{root}/bookings", json={"any": True, "booking_date": day})).status_code == 201
        answer = await http.get(f"{root}/bookings", params={"limit": 1})
        listed = answer.json()
        while "next" in answer.links:
            answer = await http.get(urljoin(str(answer.url), answer.links["next"]["url"]))
            listed += answer.json()
        assert [booking["booking_date"] for booking in listed] == days
        problem = (await http.get(f"{root}/bookings", params={"limit": 0})).json()
        assert problem["type"].startswith(f"{BASE}/docs#")
        assert f'"{problem["type"]}"' in json.dumps(document)
        assert '"/docs#' not in json.dumps(document)


async def test_an_address_of_ours_may_be_the_same_as_the_path(site: Site) -> None:
    """Under `/seats`, the list of seats is at `/seats/seats`; a proxy that removes the path has to say so."""
    async with site.people(1) as (ada,):
        for path, headers in [(f"{BASE}/seats", {}), ("/seats", {"x-forwarded-prefix": BASE})]:
            answer = await ada.get(path, headers=headers)
            assert answer.json()["code"] == "not_signed_in"  # the API's answer, not the map
        for path in (BASE, f"{BASE}/", "/"):
            assert len(seats(await ada.get(path))) == 80
        assert (await ada.get(f"{BASE}x")).status_code == 404
        assert (await ada.get(f"{BASE}{BASE}/docs")).status_code == 404


async def test_what_checks_the_health_needs_no_path(site: Site) -> None:
    for path in ("/health", "/health/live", f"{BASE}/health"):
        assert (await site.visitor().get(path)).status_code == 200


async def test_a_site_above_the_path_signs_nobody_out(site: Site, start_site: Callable[..., Site]) -> None:
    """Browsers also send the cookies of shorter paths, after those of longer ones."""
    above = start_site()
    async with site.people(1) as (ada,), above.people(1, "other") as (other,):
        cookies = "; ".join(f"{name}={value}" for person in (ada, other) for name, value in person.http.cookies.items())
        assert ada.user
        for _ in range(2):  # cold and warm
            page = await site.visitor().get(f"{BASE}/", headers={"Cookie": cookies})
            assert str(one(soup(page), "body")["data-username"]) == ada.user.username


async def test_cookies_go_to_this_path_only(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=PUBLIC_URL)
    answer = await site.visitor().get(f"{BASE}/login")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Secure-seatweb_csrf=")
    assert {"Path=/seats", "Secure", "HttpOnly"} <= {*cookie.split("; ")}
    assert "Domain" not in cookie
    # The subdomains of a host that is not ours are not ours either.
    assert "includeSubDomains" not in answer.headers["strict-transport-security"]
    async with site.people(1) as (ada,):
        go_under(site, ada)
        assert (await ada.get("/account")).status_code == 200
        left = await ada.post("/logout")
        assert left.headers["location"] == f"{BASE}/"
        for cookie in left.headers.get_list("set-cookie"):
            assert "Path=/seats" in cookie


@pytest.mark.parametrize(
    ("origin", "status"), [("https://example.org", 303), ("https://other.example", 403), ("null", 403)]
)
async def test_forms_must_come_from_the_host_of_the_site(
    start_site: Callable[..., Site], origin: str, status: int
) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=PUBLIC_URL)
    async with site.people(1) as (ada,):
        go_under(site, ada)
        ada.http.headers["origin"] = origin
        assert (await ada.book(site.clock.today, 7)).status_code == status


async def test_a_passkey_belongs_to_the_host(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=PUBLIC_URL)
    party = relying_party(site.settings.origin, "example.org", "Seatweb")
    assert party
    assert (party.id, party.origin) == ("example.org", "https://example.org")


async def test_files_for_others_have_the_path(start_site: Callable[..., Site]) -> None:
    site = start_site(SEATWEB_PUBLIC_URL=PUBLIC_URL, SEATWEB_SECURITY_CONTACT="mailto:security@example.org")
    visitor = site.visitor()
    go_under(site, visitor)
    page = soup(await visitor.get("/"))
    assert str(one(page, 'meta[property="og:image"]')["content"]).startswith(f"{PUBLIC_URL}/static/icons/card.png")
    manifest = await visitor.http.get(urljoin(site.url, str(one(page, "link[rel=manifest]")["href"])))
    content = manifest.json()
    start, scope, *others = [
        urljoin(str(manifest.url), address)
        for address in (
            content["start_url"],
            content["scope"],
            *(item[key] for key, name in (("src", "icons"), ("url", "shortcuts")) for item in content[name]),
        )
    ]
    assert start == scope == f"{site.url}{BASE}/"
    for address in others:
        assert address.startswith(scope)
        assert (await visitor.http.get(address)).status_code in {200, 303}
    assert {f"Allow: {BASE}/$", f"Disallow: {BASE}/"} <= {*(await visitor.get("/robots.txt")).text.splitlines()}
    # Valid only at the root of the host (RFC 9116, section 3), to which the proxy passes it.
    contact = (await visitor.http.get(f"{site.url}/.well-known/security.txt")).text
    assert "Canonical: https://example.org/.well-known/security.txt" in contact
