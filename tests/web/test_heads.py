"""The head of a request has bounds: one client cannot hold up the others with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from seatweb import http_protocol
from seatweb.http_protocol import LARGEST_HEAD

from tests.support import Site

START = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def wire(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*site.socket.getsockname())
    yield reader, writer
    writer.close()


async def ask(site: Site, *parts: bytes) -> bytes:
    """Return what comes back until the connection ends, or the body of an answer has come."""
    async with wire(site) as (reader, writer), asyncio.timeout(10):
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read(1000)
        except ConnectionError:
            return b""


async def test_a_head_of_usual_size_is_read(site: Site) -> None:
    cookie = b"Cookie: " + b"x" * (LARGEST_HEAD - 1000) + b"\r\n\r\n"
    assert (await ask(site, START + cookie)).startswith(b"HTTP/1.1 200")


async def test_a_body_that_comes_with_its_head_is_none_of_it(site: Site) -> None:
    body = b"x" * LARGEST_HEAD
    head = b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert (await ask(site, head + body)).startswith(b"HTTP/1.1 405")


async def test_the_heads_of_one_connection_are_not_added_up(site: Site) -> None:
    padding = b"X-Padding: " + b"x" * (LARGEST_HEAD // 3) + b"\r\n\r\n"
    async with wire(site) as (reader, writer), asyncio.timeout(10):
        for _ in range(8):
            writer.write(START + padding)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")


@pytest.mark.parametrize(
    "parts",
    [
        [START + b"Cookie: " + b"x" * LARGEST_HEAD + b"\r\n\r\n"],
        [START, *[b"X-Header: " + b"y" * 1000 + b"\r\n"] * 80],
        [START, b"X-Endless: ", *[b"z" * 8000] * 20],
        [b"GET /", *[b"z" * 8000] * 20],
        [START + b"\r\n" + START + b"Cookie: " + b"x" * LARGEST_HEAD + b"\r\n\r\n"],
    ],
    ids=["one header", "many headers", "an endless header", "an endless address", "the second request"],
)
async def test_a_head_that_is_too_large_is_refused(site: Site, parts: list[bytes]) -> None:
    async with wire(site) as (reader, writer), asyncio.timeout(10):
        answer = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            while more := await reader.read(10_000):
                answer += more
        except ConnectionError:
            pass  # it ended while more was being sent
    assert not answer or b"HTTP/1.1 400" in answer
    assert (await site.visitor().get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET /health/live HT", START], ids=["nothing", "a line", "a part", "most"]
)
async def test_a_head_that_does_not_come_ends_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    async with wire(site) as (reader, writer), asyncio.timeout(10):
        writer.write(sent)
        assert await reader.read(100) == b""


async def test_a_second_head_has_its_time_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.5)
    async with wire(site) as (reader, writer), asyncio.timeout(10):
        for _ in range(3):
            writer.write(START + b"\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")
        writer.write(START)
        assert await reader.read(100) == b""


async def test_two_hosts_are_none(site: Site) -> None:
    assert (await ask(site, START + b"Host: y\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert (await ask(site, START + b"\r\n")).startswith(b"HTTP/1.1 200")
