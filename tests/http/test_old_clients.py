"""HTTP/1.0 clients, which know no chunks: what has no length ends with the connection (RFC 9112, section 6.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.http.connections import connected
from tests.support import Clock, Site

PATHS = {"a page": "/login", "a file": "/static/css/seatweb.css", "nothing": "/nowhere"}


@pytest.mark.parametrize("kept", [b"", b"Connection: keep-alive\r\n"])
async def test_a_stream_to_an_http_1_0_client_is_not_chunked_and_ends_with_the_connection(
    start_site: Callable[..., Site], clock: Clock, monkeypatch: pytest.MonkeyPatch, kept: bytes
) -> None:
    monkeypatch.setattr("seatweb.booking.live.HEARTBEAT_SECONDS", 0.1)
    site = start_site()
    async with connected(site) as (reader, writer):
        writer.write(f"GET /days/{clock.today}/live HTTP/1.0\r\nHost: localhost\r\n".encode() + kept + b"\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 ")
        assert b"transfer-encoding" not in head
        assert b"content-length" not in head
        assert head.count(b"\r\nconnection: close\r\n") == 1
        async with site.people(1) as (ada,):
            await ada.book(clock.today, 7)
        clock.today = clock.ahead(1)  # the stream ends with its day
        events = (await reader.read()).split(b"\n\n")
        assert events[-1] == b""
        assert b"event: status\ndata: live" in events
        assert all(event.startswith((b"event: ", b"id: ")) for event in events[:-1])


async def test_other_answers_to_http_1_0_clients_have_their_length(site: Site) -> None:
    for name, path in PATHS.items():
        for method in ("GET", "HEAD"):
            async with connected(site) as (reader, writer):
                writer.write(f"{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                head, _, body = (await reader.read()).lower().partition(b"\r\n\r\n")
                assert b"transfer-encoding" not in head, name
                assert bool(body) is (method == "GET"), name
                assert f"\r\ncontent-length: {len(body)}".encode() in head or method == "HEAD", name
