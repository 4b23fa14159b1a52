"""Every page is valid HTML, as a full page and as a partial for htmx."""

from __future__ import annotations

from collections import Counter

import html5lib
import httpx
import pytest

from tests.support import HTMX, Clock, Site, soup

DAY = "/days/2026-11-23"
PATHS = {
    "today": "/",
    "a section": f"{DAY}?section=A",
    "a free seat": f"{DAY}/seats/8",
    "my seat": f"{DAY}/seats/7",
    "a taken seat": f"{DAY}/seats/43",
    "a closed seat": f"{DAY}/seats/80",
    "another day": "/days/2026-11-30/seats/1",
    "a past day": "/days/2026-11-20",
    "too far ahead": "/days/2027-06-01",
    "the calendar": "/calendar/2026-11?day=2026-11-24&section=A",
    "a month too far ahead": "/calendar/2027-02",
    "my bookings": "/my/bookings",
    "account": "/account",
    "password": "/account/password",
    "delete the account": "/account/delete",
    "second factor": "/account/second-factor",
    "login": "/login?next=/days/2026-11-23%3Fa%3D%22%3E",
    "login to book a seat": f"/login?next={DAY}/seats/8",
    "register": "/register",
    "book any free seat": "/days/2026-11-25/any",
    "documentation": "/docs",
    "an unknown path": "/nowhere%3Cscript%3E",
}


def check_html(answer: httpx.Response, name: str) -> None:
    parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
    if "<html" in answer.text:
        parser.parse(answer.text)
    else:
        parser.parseFragment(answer.text)
    errors = [(position, code) for position, code, _ in parser.errors]
    assert errors == [], f"{name}: {errors}"
    page = soup(answer)
    ids = Counter(str(element["id"]) for element in page.select("[id]"))
    assert [id_ for id_, count in ids.items() if count > 1] == [], name
    if "<html" not in answer.text:
        return  # a partial may refer to elements of the page
    for attribute in ("for", "aria-labelledby", "aria-describedby", "aria-controls"):
        for element in page.select(f"[{attribute}]"):
            for reference in str(element[attribute]).split():
                assert reference in ids, f"{name}: {attribute}={reference}"
    assert len(page.select("h1")) == 1, name
    assert len(page.select("main")) == 1, name
    assert str(page.html and page.html["lang"]) == "en"


@pytest.mark.parametrize("signed_in", [False, True], ids=["visitor", "user"])
async def test_every_page_is_valid(site: Site, clock: Clock, connection: object, *, signed_in: bool) -> None:
    async with site.people(2, prefix="<b>\"&'ada") as (ada, grace):
        await ada.book(clock.today, 7)
        await grace.book(clock.today, 43)
        await connection.execute("update seats set closed = true where id = 80")  # type: ignore[attr-defined]
        visitor = ada if signed_in else site.visitor()
        for name, path in PATHS.items():
            answer = await visitor.get(path)
            if answer.status_code != 303:
                check_html(answer, name)
            assert "<s>" not in answer.text
            partial = await visitor.get(path, headers=HTMX)
            if partial.text:
                check_html(partial, f"{name} for htmx")


async def test_every_answer_to_a_form_is_valid(site: Site, clock: Clock) -> None:
    async with site.people(2) as (ada, grace):
        await grace.book(clock.today, 43)
        for post in (ada.post, ada.post_htmx):
            check_html(await post(f"{DAY}/seats/43/book"), "a lost race")
            check_html(await post(f"{DAY}/seats/999/book"), "no such seat")
            check_html(await post("/days/2030-01-01/any"), "too far ahead")
        check_html(await ada.post_htmx(f"{DAY}/seats/7/book"), "booked")
        check_html(await ada.post_htmx(f"{DAY}/seats/8/move"), "moved")
        (action,) = [str(form["action"]) for form in soup(await ada.get("/my/bookings")).select("main form")]
        check_html(await ada.post_htmx(action), "cancelled in the list")
        check_html(await ada.get("/my/bookings"), "a list with Undo")
        check_html(await ada.post(action.replace("cancel", "undo"), did="booked", seat="9"), "a refused undo")
        check_html(await ada.post("/register", username='"><script>', password=""), "a refused form")
        check_html(await ada.post("/login", username='"><script>', password="x"), "a refused sign-in")
