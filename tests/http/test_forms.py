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


async def test_a_multipart_form_is_refused(site: Site, subtests: pytest.Subtests) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for path in ("/login", "/register", "/logout", "/nowhere", "/admin/people/1/disable"):
        for charset in (b"idna", b"punycode", b"utf-8"):
            with subtests.test(path, charset=charset):
                answer = await site.visitor().http.post(path, content=PART % (charset, SLOW[:60_000]), headers=headers)
                assert answer.status_code == (404 if path == "/nowhere" else 415)


async def test_only_forms_are_read_as_forms(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    token = await visitor.csrf()
    body = f"_csrf_token={token}&username=ada&password=correct horse battery".encode()
    for content_type in (
        *("multipart/form-data; boundary=x", "text/plain", "application/json"),
        *("application/x-www-form-urlencoded-not", ""),
    ):
        headers = {"Content-Type": content_type}
        answer = await visitor.http.post("/register", content=body, headers=headers)
        assert answer.status_code == 415, content_type
        assert await connection.fetchval("select count(*) from users") == 0, content_type
    headers = {"Content-Type": "Application/X-WWW-Form-URLencoded ; charset=idna"}  # the charset is ignored
    assert (await visitor.http.post("/register", content=body, headers=headers)).status_code == 303


async def test_the_refusal_does_not_wait_for_the_body(site: Site) -> None:
    reader, writer = await asyncio.open_connection(*site.url.removeprefix("http://").split(":"))
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    writer.write(head + b"Content-Length: 60000\r\n\r\n")  # and nothing after it
    assert b" 415 " in await asyncio.wait_for(reader.readline(), 30)
    writer.close()


async def test_a_refused_form_gets_a_page_that_says_what_to_do(site: Site) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await site.visitor().http.post("/login", content=b"a", headers=headers)
    check_html(answer, "a refused form")
    assert one(soup(answer), "h1").get_text(strip=True) == "This form could not be read"
    partial = await site.visitor().http.post("/login", content=b"a", headers=headers | HTMX)
    assert partial.status_code == 415
    assert "reload it and try again" in says(partial)


async def test_an_ambiguous_or_far_too_long_form_is_refused(site: Site, connection: asyncpg.Connection) -> None:
    visitor = site.visitor()
    form = f"_csrf_token={await visitor.csrf()}&username=ada&password=".encode()
    too_long = "&".join(f"a{number}=" for number in range(50)).encode()
    for more in (too_long, b"a=%ff", b"%ff=a", b"username=eve", b"a=%00", b"a=%zz", b"a=%"):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await visitor.http.post("/register", content=form + b"correct horse battery&" + more, headers=headers)
        assert answer.status_code == 422, more
        assert await connection.fetchval("select count(*) from users") == 0, more
    assert (await visitor.http.post("/register", content=form + b"\xff", headers=headers)).status_code == 422
    assert await connection.fetchval("select count(*) from users") == 0


async def test_passwords_are_not_cached_with_forms(site: Site) -> None:
    visitor = site.visitor()
    await visitor.register("ada")
    from litestar._parsers import parse_url_encoded_form_data  # noqa: PLC0415 - the cache in question

    assert parse_url_encoded_form_data.cache_info().currsize == 0
