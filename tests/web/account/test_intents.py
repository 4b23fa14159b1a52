"""What a visitor wanted to book is not lost while they sign in or register."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support import Site, Visitor, one, says, soup
from tests.web.account.test_second_factor import PASSWORD, add_app
from tests.web.test_html import check_html

SEAT = "/days/2026-11-27/seats/1"
ANY = "/days/2026-11-27/any"


async def location(visitor: Visitor, path: str, **fields: str) -> str:
    """Send a form and return where the browser is sent to."""
    answer = await visitor.post(path, **fields)
    assert answer.status_code == 303
    return answer.headers["location"]


async def lead(visitor: Visitor, path: str) -> str:
    """Return what the page says above its form."""
    answer = await visitor.get(path)
    check_html(answer, path)
    return " ".join(one(soup(answer), ".form-lead").get_text(" ", strip=True).split()).replace(" .", ".")


async def test_a_chosen_seat_is_offered_after_signing_in(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    sign_in = str(one(soup(await visitor.get(SEAT)), ".panel-actions a.button")["href"])
    assert await lead(visitor, sign_in) == "Sign in to book A-01 on Friday 27 November."
    register = str(one(soup(await visitor.get(sign_in)), "main a[href^='/register']")["href"])
    assert await lead(visitor, register) == "Register to book A-01 on Friday 27 November."
    refused = await visitor.post("/register", username="", password=PASSWORD, next=SEAT)
    assert "A-01" in one(soup(refused), ".form-lead").get_text()  # it stays, whatever goes wrong

    assert await location(visitor, "/register", username="ada", password=PASSWORD, next=SEAT) == SEAT
    page = await visitor.get(SEAT)
    assert says(page) == "Welcome. Your account is ready, and you can book A-01 now."
    assert one(soup(page), "#panel .button-primary").get_text() == "Book A-01"
    again = site.visitor()
    assert await location(again, "/login", username="ada", password=PASSWORD, next=SEAT) == SEAT
    assert says(await again.get(SEAT)) == "You are signed in. You can book A-01 now."
    assert await connection.fetchval("select count(*) from bookings") == 0


async def test_a_seat_that_was_taken_meanwhile_is_named_and_the_nearest_one_is_offered(site: Site) -> None:
    async with site.people(1) as (grace,):
        await site.visitor().register("ada")
        visitor = site.visitor()
        assert "A-01" in await lead(visitor, f"/login?next={SEAT}")
        await grace.book(site.clock.ahead(4), 1)
        await location(visitor, "/login", username="ada", password=PASSWORD, next=SEAT)
        page = await visitor.get(SEAT)
        assert says(page) == "You are signed in, but A-01 is no longer free."
        assert one(soup(page), "#panel .button-primary").get_text() == "Book A-02 instead"
        assert not soup(await site.visitor().get(f"/login?next={SEAT}")).select(".form-lead")


@pytest.mark.parametrize("section", ["", "B"])
async def test_any_free_seat_is_booked_only_after_asking(
    site: Site, connection: asyncpg.Connection, section: str
) -> None:
    visitor = site.visitor()
    fields = {"section": section} if section else {}
    next_path = ANY + (f"?section={section}" if section else "")
    sign_in = await location(visitor, ANY, **fields)
    where = f" in section {section}" if section else ""
    assert await lead(visitor, sign_in) == f"Sign in to book any free seat{where} on Friday 27 November."
    kept = str(one(soup(await visitor.get(sign_in)), "input[name=next]")["value"])
    assert kept == next_path
    assert await location(visitor, "/register", username="ada", password=PASSWORD, next=kept) == next_path

    asked = await visitor.get(next_path)
    check_html(asked, "book any free seat")
    assert one(soup(asked), "h1").get_text() == "Book any free seat?"
    assert await connection.fetchval("select count(*) from bookings") == 0
    form = one(soup(asked), "main form")
    sent = {str(field["name"]): str(field["value"]) for field in form.select("input") if field["name"] != "_csrf_token"}
    assert await location(visitor, str(form["action"]), **sent) != ANY
    seat = await connection.fetchval(
        "select sections.name from bookings join seats on seats.id = seat_id"
        " join sections on sections.id = section_id where status = 'confirmed'"
    )
    assert seat == (section or seat)
    assert (await visitor.get(next_path)).status_code == 303  # they have a seat on that day now


async def test_the_second_step_still_says_what_for(site: Site) -> None:
    ada = site.visitor()
    await ada.register("ada")
    await add_app(ada)
    visitor = site.visitor()
    step = await location(visitor, "/login", username="ada", password=PASSWORD, next=SEAT)
    assert await lead(visitor, step) == ("Your password is correct. One more step to book A-01 on Friday 27 November.")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/account", "/days/2026-11-27", "/days/2020-01-01/seats/1", "/days/2030-01-01/any", "/days/x/any"),
        *("/days/2026-11-27/seats/999999", "/days/2026-11-27/seats/0", "/days/2026-11-27/any?section=ZZ"),
        *("//evil.example/days/2026-11-27/seats/1", "https://evil.example/days/2026-11-27/any"),
    ],
)
async def test_other_pages_promise_no_seat(site: Site, path: str) -> None:
    answer = await site.visitor().http.get("/login", params={"next": path})
    assert answer.status_code == 200
    assert not soup(answer).select(".form-lead")
