"""Only URL-encoded forms are parsed, as our pages send them; a client cannot choose another decoder."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.support import HTMX, Site, one, says, soup
from tests.web.test_html import check_html

# A part with a charset that Python decodes in quadratic time.
SLOW = b"xn--" + ("\u0301\u0316" * 30_000).encode("punycode")
PART = (
    b'--x\r\nContent-Disposition: form-data; name="username"\r\nContent-Type: text/plain; charset=%s\r\n\r\n%s\r\n--x--'
)


@pytest.mark.parametrize("charset", [b"idna", b"punycode", b"utf-8"])
@pytest.mark.parametrize("path", ["/login", "/register", "/logout", "/nowhere", "/admin/people/1/disable"])
async def test_a_multipart_form_is_refused(site: Site, path: str, charset: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await site.visitor().http.post(path, content=PART % (charset, SLOW[:60_000]), headers=headers)
    assert answer.status_code == (404 if path == "/nowhere" else 415)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", "text/plain", "application/json", "application/x-www-form-urlencoded-not", ""],
)
async def test_only_forms_are_read_as_forms(site: Site, connection: asyncpg.Connection, content_type: str) -> None:
    visitor = site.visitor()
    token = await visitor.csrf()
    body = f"_csrf_token={token}&username=ada&password=correct horse battery".encode()
    headers = {"Content-Type": content_type}
    assert (await visitor.http.post("/register", content=body, headers=headers)).status_code == 415
    assert await connection.fetchval("select count(*) from users") == 0
    headers = {"Content-Type": "Application/X-WWW-Form-URLencoded ; charset=idna"}  # the charset is ignored
    assert (await visitor.http.post("/register", content=body, headers=headers)).status_code == 303


async def test_the_refusal_does_not_wait_for_the_body(site: Site) -> None:
    reader, writer = await asyncio.open_connection(*site.url.removeprefix("http://").split(":"))
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    writer.write(head + b"Content-Length: 60000\r\n\r\n")  # and nothing after it
    assert b" 415 " in await asyncio.wait_for(reader.readline(), 20)
    writer.close()


async def test_a_refused_form_gets_a_page_that_says_what_to_do(site: Site) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await site.visitor().http.post("/login", content=b"a", headers=headers)
    check_html(answer, "a refused form")
    assert one(soup(answer), "h1").get_text(strip=True) == "This form cannot be read"
    partial = await site.visitor().http.post("/login", content=b"a", headers=headers | HTMX)
    assert partial.status_code == 415
    assert "reload it and try again" in says(partial)


@pytest.mark.parametrize(
    "more", ["&".join(f"a{number}=" for number in range(50)), "a=%ff", "%ff=a", "username=eve", "a=%00", "a=%zz", "a=%"]
)
async def test_an_ambiguous_or_far_too_long_form_is_refused(
    site: Site, connection: asyncpg.Connection, more: str
) -> None:
    visitor = site.visitor()
    token = await visitor.csrf()
    body = f"_csrf_token={token}&username=ada&password=correct horse battery&{more}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await visitor.http.post("/register", content=body.encode(), headers=headers)).status_code == 422
    not_utf8 = f"_csrf_token={token}&username=ada&password=".encode() + b"\xff"
    assert (await visitor.http.post("/register", content=not_utf8, headers=headers)).status_code == 422
    assert await connection.fetchval("select count(*) from users") == 0


async def test_passwords_are_not_cached_with_forms(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    from litestar._parsers import parse_url_encoded_form_data  # noqa: PLC0415 - the cache in question

    assert parse_url_encoded_form_data.cache_info().currsize == 0
