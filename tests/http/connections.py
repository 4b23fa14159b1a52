"""Raw connections to a site, for requests that no HTTP client would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.support import Site

SECONDS = 60


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection, for a minute at most."""
    reader, writer = await asyncio.open_connection(*site.socket.getsockname())
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.transport.abort()


async def send(writer: asyncio.StreamWriter, parts: Iterable[bytes]) -> None:
    """Send the parts one after the other.

    Raises:
        ConnectionError: the server has closed the connection.
    """
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)  # drain does not yield while the buffer is nearly empty


async def answer_to_endless(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: Iterable[bytes]
) -> bytes:
    """Send the parts until the server closes its side; return everything that it sent."""
    sending = asyncio.create_task(send(writer, parts))
    try:
        return await reader.read()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return one answer that has a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)
