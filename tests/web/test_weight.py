"""What a first visit costs: files that are compressed already stay as they are, and a page loads only what it uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.support import Site, Visitor, soup

STATIC = Path(__file__).parents[2] / "static"
MOST = 60_000  # bytes, compressed, without the heads of the answers

EVERYWHERE = ["seatweb.js"]  # the site of the tests has an IP address, so no passkeys
MY_BOOKINGS = ["trusted-types.js", *EVERYWHERE, "undo.js", "htmx.min.js"]
MAP = ["trusted-types.js", *EVERYWHERE, "live.js", "htmx.min.js"]
MY_MAP = ["trusted-types.js", *EVERYWHERE, "hold.js", "live.js", "sitter.js", "htmx.min.js"]

VISITORS = {
    "/": MAP,
    "/days/2026-11-23/seats/8": MAP,
    "/login": EVERYWHERE,
    "/login/reset": EVERYWHERE,
    "/register": EVERYWHERE,
    "/docs": EVERYWHERE,
    "/nowhere": EVERYWHERE,
}
USERS = {
    "/": MY_MAP,
    "/days/2026-11-23/seats/8": MY_MAP,
    "/my/bookings": MY_BOOKINGS,
    "/account": EVERYWHERE,
    "/account/password": EVERYWHERE,
    "/account/delete": EVERYWHERE,
    "/account/second-factor": EVERYWHERE,
}


def scripts(page: BeautifulSoup) -> list[str]:
    return [Path(str(script["src"]).partition("?")[0]).name for script in page.select("script")]


async def size(visitor: Visitor, path: str) -> int:
    """Return how many bytes a browser receives for this file or page."""
    async with visitor.http.stream("GET", path, headers={"accept-encoding": "gzip, deflate, br"}) as answer:
        return sum([len(part) async for part in answer.aiter_raw()])


@pytest.mark.parametrize("pages", [VISITORS, USERS], ids=["visitor", "user"])
async def test_a_page_loads_only_the_scripts_that_it_uses_and_weighs_little(
    site: Site, pages: dict[str, list[str]]
) -> None:
    async with site.people(1) as (ada,):
        visitor = site.visitor() if pages is VISITORS else ada
        for path, expected in pages.items():
            page = soup(await visitor.get(path))
            assert scripts(page) == expected, path
            loaded = page.select("script[src], link[rel=stylesheet], link[rel=preload]")
            files = [str(element.get("src") or element["href"]) for element in loaded]
            assert sum([await size(visitor, each) for each in [path, *files]]) <= MOST, path


async def test_files_that_are_compressed_already_are_sent_as_they_are(site: Site) -> None:
    visitor = site.visitor()
    for path in STATIC.rglob("*.*"):
        if path.suffix not in {".png", ".woff2"}:
            continue
        for accepted in ("gzip, deflate, br", "gzip"):
            url = f"/static/{path.relative_to(STATIC).as_posix()}"
            answer = await visitor.get(url, headers={"accept-encoding": accepted})
            assert "content-encoding" not in answer.headers, url
            assert answer.content == path.read_bytes()
