"""Pages are for signed-in users only, unless their route says that it is for everyone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from litestar import get, post
from seatweb import app

from tests.support import Site, soup


@get("/new-page")
async def new_page() -> str:
    return "for signed-in users"


@post("/new-form", status_code=200)
async def new_form() -> str:
    return "for signed-in users"


async def test_a_new_page_requires_signing_in_by_default(
    start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, handler in (("documentation", new_page), ("missing", new_form)):
        monkeypatch.setattr(app, name, handler)
    site = start_site()
    async with site.people(1) as (ada,):
        visitor = site.visitor()
        assert (await visitor.get("/new-page")).headers["location"] == "/login?next=/new-page"
        assert (await visitor.post("/new-form")).headers["location"].startswith("/login?next=")
        assert (await ada.get("/new-page")).text == (await ada.post("/new-form")).text == "for signed-in users"


async def test_an_error_page_never_tells_a_signed_in_user_to_sign_in(site: Site) -> None:
    async with site.people(1) as (ada,):
        for path in ("/nowhere", "/logout", "/account/sessions"):
            page = soup(await ada.get(path))
            assert page.select_one(".fault"), path
            assert page.select(".top a[href^='/login'], .top a[href^='/register']") == [], path
    assert soup(await site.visitor().get("/nowhere")).select(".top a[href^='/login']")
