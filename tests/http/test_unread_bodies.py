"""Requests that are answered before their body has arrived: the client gets the answer, then the connection closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest
from seatweb.http import deadline
from seatweb.http.protocol import BoundedHttp

from tests.http.connections import answer_to_endless, connected, read_answer, send
from tests.support import Site, until

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
UNFINISHED = b"Content-Length: 60000\r\n\r\na"
TOO_LARGE = b"Content-Length: 10000000\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
EXPECT = b"Expect: 100-continue\r\n"

REFUSED_AT_ONCE = {
    "404": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + UNFINISHED,
    "404 chunked": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"ff\r\na",
    "404 to HEAD": b"HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\n" + UNFINISHED,
    "404 to HTTP/1.0": b"POST /nowhere HTTP/1.0\r\nHost: localhost\r\n" + UNFINISHED,
    "404 instead of 100": b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + EXPECT + b"Content-Length: 60000\r\n\r\n",
    "405": b"POST /health/live HTTP/1.1\r\nHost: localhost\r\n" + UNFINISHED,
    "413": LOGIN + TOO_LARGE,
    "413 instead of 100": LOGIN + EXPECT + TOO_LARGE,
    "415": b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n" + UNFINISHED,
    "431": b"POST /nowhere HTTP/1.1\r\n" + b"a: b\r\n" * 200,
}


@asynccontextmanager
async def connected_and_refused(site: Site, status: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Yield a connection on which the server has answered with this status, while the body has not arrived."""
    async with connected(site) as (reader, writer):
        writer.write(REFUSED_AT_ONCE[status])
        assert (await reader.read()).startswith(b"HTTP/1.1 " + status.encode())
        yield writer


async def test_an_answer_before_the_body_announces_the_close(site: Site) -> None:
    for name, request in REFUSED_AT_ONCE.items():
        async with connected(site) as (reader, writer):
            writer.write(request)
            answer = await reader.read()  # until the server closes its side
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + name[:3].encode()), name
            assert head.lower().count(b"\r\nconnection: close") == 1, name
            assert answer.count(b"HTTP/1.1 ") == 1, name
            assert bool(body) is ("HEAD" not in name), name


async def test_a_client_that_keeps_sending_is_disconnected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 0.1)
    for refused in ("404", "413", "431"):
        async with connected_and_refused(site, refused) as writer:
            with pytest.raises(ConnectionError):
                await send(writer, repeat(b"a"))


async def test_a_client_that_goes_silent_is_disconnected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 0.1)
    async with connected_and_refused(site, "404"):
        await until(lambda: site.connections == 0)


async def test_a_client_that_closes_after_the_answer_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 60)
    async with connected_and_refused(site, "404") as writer:
        writer.write_eof()
        await until(lambda: site.connections == 0)


async def test_a_flood_after_a_refusal_is_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 0.2)
    async with connected(site) as (_, writer):
        writer.write(LOGIN + b"Content-Length: 300000000\r\n\r\n")
        with pytest.raises(ConnectionError):  # long before the end, but after the system's buffers are full
            await send(writer, repeat(b"a" * 1_000_000, 300))


async def test_a_client_that_sends_everything_before_it_reads_gets_the_whole_answer(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1_000_000)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 404")
        assert await reader.read() == b""


async def test_a_body_that_never_arrives_is_answered_with_503_and_a_close(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "DEADLINE_SECONDS", 0.1)
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 0.1)
    async with connected(site) as (reader, writer):
        writer.write(LOGIN + b"Content-Length: 6000\r\n\r\na")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nconnection: close" in answer
        await until(lambda: site.connections == 0)


async def test_a_body_that_has_arrived_but_is_not_read_keeps_the_connection_open(site: Site) -> None:
    async with connected(site) as (reader, writer):
        for path, status in ((b"/nowhere", b"404"), (b"/health/live", b"405"), (b"/nowhere", b"404")):
            head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
            writer.write(head + b"a" * 5000)
            answer = await read_answer(reader)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert b"connection: close" not in answer.lower()


async def test_pipelined_requests_are_all_answered(site: Site) -> None:
    post = b"POST /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    async with connected(site) as (reader, writer):
        writer.write((GET + post) * 5)
        statuses = [(await read_answer(reader))[9:12] for _ in range(10)]
        assert statuses == [b"200", b"405"] * 5


@pytest.mark.parametrize("second", [b"not HTTP\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"])
async def test_a_bad_request_does_not_replace_the_answer_to_the_one_before(site: Site, second: bytes) -> None:
    async with connected(site) as (reader, writer):
        writer.write(GET + second)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_expects_100_continue_gets_it_when_its_body_is_read(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(LOGIN + EXPECT + b"Content-Length: 3\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"a=b")
        answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"connection: close" not in answer.lower()


async def test_the_body_of_an_upgrade_request_is_not_run_as_a_request(site: Site) -> None:
    head = b"POST /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: foo\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    async with connected(site) as (reader, writer):
        writer.write(head % len(GET))
        answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 405")
        assert b"connection: close" in answer.lower()
        writer.write(GET)
        assert await reader.read() == b""


async def test_endless_chunk_extensions_are_refused(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(LOGIN + CHUNKED + b"1;")
        assert (await answer_to_endless(reader, writer, repeat(b"a" * 1000))).startswith(b"HTTP/1.1 431")


async def test_a_body_in_chunks_of_one_byte_is_read(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(LOGIN + CHUNKED)
        await send(writer, repeat(b"1\r\na\r\n" * 1000, 15))
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403")


async def test_a_chunked_body_that_is_too_large_is_refused_before_it_ends(site: Site) -> None:
    async with connected(site) as (reader, writer):
        writer.write(LOGIN + CHUNKED + (b"1000\r\n" + b"a" * 4096 + b"\r\n") * 5)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()


async def test_a_server_that_stops_does_not_wait_for_refused_clients(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHttp, "linger_seconds", 60)
    async with connected_and_refused(site, "404"):
        assert site.connections == 1
        await asyncio.to_thread(site.stop)
        assert site.connections == 0
