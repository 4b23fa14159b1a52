"""A client that keeps thousands of live maps open and records when each receives a booking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from benchmarks.load import Address, BenchmarkError, Exchange, load, percentile

AT_A_TIME: Final = 100
OPEN_SECONDS: Final = 60.0
RECEIVE_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 1.5
TAIL_BYTES: Final = 64  # longer than the text to search for
LIVE: Final = b"data: live"
SHOWN_BYTES: Final = 300


class Heard(NamedTuple):
    """When the open maps received one booking, in seconds after the booking's answer."""

    first: float
    half: float
    last: float


@dataclass(slots=True)
class _Waiting:
    """A countdown of maps to wait for."""

    left: int
    done: asyncio.Future[None]

    def count_down(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class OpenMaps:
    """Open maps of one day, each a stream of server-sent events."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: list[_Stream] = []
        self.expected = b""  # the text that all maps wait for
        self.received_at: list[float] = []
        self.waiting: _Waiting | None = None

    async def open(self, requests: list[bytes]) -> None:
        """Open maps, and return when each has reported that it is live.

        Raises:
            BenchmarkError: one did not in time.
        """
        loop = asyncio.get_running_loop()
        left: Iterator[bytes] = iter(requests)

        async def open_next() -> None:
            for request in left:
                stream = _Stream(self, request)
                self._streams.append(stream)
                await loop.create_connection(lambda stream=stream: stream, *self._address)  # type: ignore[misc]
                await stream.live

        try:
            async with asyncio.timeout(OPEN_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(open_next())
        except TimeoutError:
            live = sum(stream.live.done() for stream in self._streams)
            raise BenchmarkError(f"only {live} of {len(requests)} maps were live after {OPEN_SECONDS:.0f} s") from None

    async def close(self) -> None:
        """Close all maps, and give the app time to notice."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        await asyncio.sleep(SETTLE_SECONDS)

    async def book_and_wait(self, request: bytes, seat_id: int) -> Heard:
        """Book a seat with the request, and return when the maps received it.

        Raises:
            BenchmarkError: not all of them did.
        """
        self.received_at.clear()
        self.waiting = _Waiting(len(self._streams), asyncio.get_running_loop().create_future())
        self.expected = f'#seat-{seat_id}"'.encode()
        for stream in self._streams:
            stream.expect()
        booking = Exchange(request, {b"201": b'"confirmed"'})
        outcome = await load(self._address, [booking], connections=1, seconds=RECEIVE_SECONDS)
        try:
            async with asyncio.timeout(RECEIVE_SECONDS):
                await self.waiting.done
        except TimeoutError:
            count = f"{len(self.received_at)} of {len(self._streams)}"
            raise BenchmarkError(f"only {count} maps received a booking within {RECEIVE_SECONDS:.0f} s") from None
        self.waiting = None
        after = [at - outcome.last_at for at in self.received_at]
        return Heard(first=min(after), half=percentile(after, 50), last=max(after))


class _Stream(asyncio.Protocol):
    """One open map."""

    def __init__(self, maps: OpenMaps, request: bytes) -> None:
        self._maps = maps
        self._request = request
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self._waiting = False
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        seen = self._tail + data
        if not self.live.done():
            self._tail = seen
            if b"\r\n\r\n" in seen and seen[9:12] != b"200":
                self._fail(f"a map was refused: {seen[:SHOWN_BYTES].decode(errors='replace')}")
            elif LIVE in seen:
                self.live.set_result(None)
                self._tail = b""
            return
        self._tail = seen[-TAIL_BYTES:]
        if self._waiting and self._maps.expected in seen:
            self._waiting = False
            self._maps.received_at.append(time.perf_counter())
            if self._maps.waiting:
                self._maps.waiting.count_down()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._fail(f"a map was closed by the server ({exc or 'no error'})")

    def expect(self) -> None:
        """Start waiting for the text that the maps expect."""
        self._waiting = True
        self._tail = b""

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport:
            transport.abort()
        if not self.live.cancel() and not self.live.cancelled():
            self.live.exception()  # retrieve it: nobody may be waiting for it any more

    def _fail(self, why: str) -> None:
        future = self._maps.waiting.done if self._maps.waiting else self.live
        if not future.done():
            future.set_exception(BenchmarkError(why))
