"""Request heads are limited in size and time, so that no client can block the others."""

from __future__ import annotations

from itertools import repeat

import pytest
from seatweb.http.protocol import LARGEST_HEAD, LONGEST_URL, MOST_HEADERS, BoundedHttp

from tests.http.connections import answer_to_endless, connected, read_answer
from tests.support import Site

START = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


async def answer_to(site: Site, request: bytes) -> bytes:
    async with connected(site) as (reader, writer):
        writer.write(request)
        return await read_answer(reader)


async def test_a_head_within_the_limits_is_accepted(site: Site) -> None:
    cookie = b"Cookie: " + b"x" * (LARGEST_HEAD - 100) + b"\r\n\r\n"
    assert (await answer_to(site, START + cookie)).startswith(b"HTTP/1.1 200")
    headers = b"a: b\r\n" * (MOST_HEADERS - 1) + b"\r\n"  # plus Host
    assert (await answer_to(site, START + headers)).startswith(b"HTTP/1.1 200")


async def test_a_body_in_the_same_packet_is_not_counted(site: Site) -> None:
    body = b"x" * LARGEST_HEAD
    head = b"POST /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert (await answer_to(site, head + body)).startswith(b"HTTP/1.1 405")


async def test_each_head_on_a_connection_is_counted_separately(site: Site) -> None:
    padding = b"X-Padding: " + b"x" * (LARGEST_HEAD // 3) + b"\r\n\r\n"
    async with connected(site) as (reader, writer):
        for _ in range(8):
            writer.write(START + padding)
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")


OVER_THE_LIMITS = {
    "a large header": (START + b"Cookie: " + b"x" * LARGEST_HEAD + b"\r\n\r\n", b"", b"431"),
    "a long URL": (b"GET /" + b"z" * LONGEST_URL + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", b"414"),
    "endless large headers": (START, b"X-Header: " + b"y" * 1000 + b"\r\n", b"431"),
    "endless small headers": (START, b"a: b\r\n", b"431"),
    "an endless value": (START + b"X-Endless: ", b"z" * 1000, b"431"),
    "an endless name": (START, b"z" * 1000, b"431"),
    "an endless URL": (b"GET /", b"z" * 1000, b"414"),
}


async def test_a_head_over_the_limits_is_refused(site: Site) -> None:
    for name, (begin, part, status) in OVER_THE_LIMITS.items():
        async with connected(site) as (reader, writer):
            writer.write(begin)
            answer = await answer_to_endless(reader, writer, repeat(part) if part else ())
        assert answer.startswith(b"HTTP/1.1 " + status), name
        assert b"\r\nconnection: close\r\n" in answer, name


async def test_a_later_head_on_the_same_connection_is_limited_too(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(START + b"\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
        writer.write(START + b"Cookie: " + b"x" * LARGEST_HEAD + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 431")


async def test_a_head_that_does_not_arrive_in_time_closes_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHttp, "head_seconds", 0.3)
    for sent in (b"", b"\r\n", b"GET /health/live HT", START):
        async with connected(site) as (reader, writer):
            writer.write(sent)
            assert await reader.read() == b"", sent


async def test_a_later_head_has_to_arrive_in_time_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(site) as (reader, writer):
        for _ in range(3):
            writer.write(START + b"\r\n")
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(BoundedHttp, "head_seconds", 0.1)
        writer.write(START)
        assert await reader.read() == b""


async def test_two_host_headers_are_refused(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(START + b"Host: y\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400")
    assert (await answer_to(site, START + b"\r\n")).startswith(b"HTTP/1.1 200")
