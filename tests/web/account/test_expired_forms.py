"""An expired form does nothing, but nothing that was typed is lost; a wrong address is named as the cause."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest

from tests.support import Site, one, soup
from tests.web.test_html import check_html

PASSWORD = "correct horse battery"
SEAT = "/days/2026-11-27/seats/1"


@pytest.mark.parametrize("cookies", ["kept", "cleared"])
@pytest.mark.parametrize("path", ["/login", "/register", "/login/reset"])
async def test_an_expired_form_is_shown_again_with_what_was_typed(
    site: Site, connection: asyncpg.Connection, path: str, cookies: str
) -> None:
    await site.visitor().register("ada")
    visitor = site.visitor()
    await visitor.get(path)
    if cookies == "cleared":
        visitor.http.cookies.clear()
    fields = {"username": "Bob", "password": PASSWORD, "new_password": PASSWORD, "code": "ABCD", "next": SEAT}
    answer = await visitor.http.post(path, data={"_csrf_token": "0" * 96, **fields})
    assert answer.status_code == 403
    check_html(answer, path)
    page = soup(answer)
    assert one(page, ".form-error").get_text() == "This page had expired. Enter your password and try again."
    assert one(page, "input[name=username]")["value"] == "Bob"
    assert PASSWORD not in answer.text
    assert await connection.fetchval("select count(*) from users") == 1
    if path == "/login/reset":
        return
    assert one(page, "input[name=next]")["value"] == SEAT
    form = {str(field["name"]): str(field["value"]) for field in page.select(f"form[action='{path}'] input")}
    name = "ada" if path == "/login" else "Bob"
    done = await visitor.http.post(path, data={**form, "username": name, "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, SEAT)


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/account/password", "/account/password"),
        ("/account/delete", "/account/delete"),
        ("/account/second-factor/confirm", "/account/second-factor"),
        ("/my/bookings/1/cancel", "/my/bookings"),
        (f"{SEAT}/book", SEAT),
        ("/days/2026-11-27/any", "/days/2026-11-27/any"),
    ],
)
async def test_other_expired_forms_lead_back_to_their_page(site: Site, path: str, back: str) -> None:
    async with site.people(1) as (ada,):
        answer = await ada.http.post(path, data={"_csrf_token": "0" * 96})
        assert answer.status_code == 403
        page = soup(answer)
        assert one(page, "h1").get_text() == "This page has expired"
        assert one(page, ".fault-links .button-primary")["href"] == back


async def test_plain_http_is_named_as_the_cause_if_the_site_is_on_https(
    start_site: Callable[..., Site], capfd: pytest.CaptureFixture[str]
) -> None:
    host = "seats.example.org"
    site = start_site(SEATWEB_PUBLIC_URL=f"https://{host}")
    for path in ("/login", "/register"):
        headers = {"host": host, "origin": f"http://{host}"}
        answer = await site.visitor().http.post(path, data={"username": "ada"}, headers=headers)
        assert answer.status_code == 403
        assert f"This site works over HTTPS only. Open https://{host} and try again." in answer.text
    log = "".join(capfd.readouterr())
    assert "not_https" in log
    assert log.count("SEATWEB_PUBLIC_URL begins with https") == 1


async def test_a_proxy_that_hides_the_host_is_named_as_the_cause(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    visitor = site.visitor()
    headers = {"origin": "https://seats.example.org", "sec-fetch-site": "same-origin"}
    fields = {"_csrf_token": await visitor.csrf(), "username": "ada", "password": PASSWORD}
    answer = await visitor.http.post("/register", data=fields, headers=headers)
    assert answer.status_code == 403
    text = one(soup(answer), ".fault-text").get_text()
    assert "sent from seats.example.org" in text
    assert "SEATWEB_PUBLIC_URL" in text
    assert "have the proxy forward Host" in "".join(capfd.readouterr())


async def test_a_form_from_another_site_is_refused_without_a_hint(site: Site) -> None:
    visitor = site.visitor()
    fields = {"_csrf_token": await visitor.csrf(), "username": "ada", "password": PASSWORD}
    answer = await visitor.http.post("/register", data=fields, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "The form was sent from another site." in answer.text
    assert not soup(answer).select("input[name=username]")
