"""The load generator: keep-alive connections that send prepared requests one after another and check every answer.

It runs on uvloop, with a parser that knows only what uvicorn sends (a status line, headers, Content-Length). So on one
core it is several times faster than the fastest app measured here.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar, cast

import uvloop

from benchmarks import signals

T = TypeVar("T")

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
PATIENCE_SECONDS: Final = 10.0  # the app itself answers everything within 5 s
SHOWN_BYTES: Final = 600


class BenchmarkError(Exception):
    """A row cannot be measured, or the answers were wrong; the message says why."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Exchange(NamedTuple):
    """A request's bytes, and the acceptable answers: for each status, text that the answer must contain."""

    request: bytes
    answers: Mapping[bytes, bytes]


@dataclass(slots=True)
class Outcome:
    """The result of a run: times in seconds, `received` in bytes including headers."""

    seconds: float = 0.0
    last_at: float = 0.0  # when the last answer was complete, as `time.perf_counter`
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    received: int = 0

    @property
    def count(self) -> int:
        """Number of answers."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.seconds

    def percentile(self, percent: int) -> float:
        """Return this percentile of the latencies, in seconds."""
        return percentile(self.latencies, percent)


def percentile(values: Iterable[float], percent: int) -> float:
    """Return a percentile (1 to 99) of the values."""
    values = list(values)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def request(
    method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, content_type: str = "application/json"
) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method in {"POST", "PATCH"}:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(*loads: Coroutine[Any, Any, T]) -> list[T]:
    """Run loads concurrently, on a new event loop, without garbage collector pauses."""

    async def run_all() -> list[T]:
        signals.cancel_on_signal(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(load) for load in loads]
        return [task.result() for task in tasks]

    gc.collect()
    gc.disable()
    try:
        with signals.restored_handlers():
            return uvloop.run(run_all())
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    finally:
        gc.enable()


async def load(
    address: Address,
    exchanges: Iterable[Exchange],
    *,
    connections: int,
    seconds: float,
    pause: float = 0.0,
    rate: float | None = None,
) -> Outcome:
    """Send the requests in turn over `connections`, until they run out or the time is up; return the outcome.

    With a `pause`, each connection waits that many seconds between an answer and its next request. With a `rate`, they
    send that many requests per second together, at fixed times; latencies count from the time at which a request was
    due, so that a server that falls behind does not hide it.

    Raises:
        BenchmarkError: an answer was not one of those expected, or did not arrive.
    """
    client = _Client(iter(exchanges), pause, connections / rate if rate else 0.0)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds + PATIENCE_SECONDS):
            opened = [
                loop.create_connection(lambda: _Connection(client), address.host, address.port)
                for _ in range(connections)
            ]
            client.connections = [connection for _, connection in await asyncio.gather(*opened)]
            await client.go(seconds)
    except TimeoutError:
        raise BenchmarkError(f"no answer within {seconds + PATIENCE_SECONDS:.0f} s") from None
    except OSError as error:
        raise BenchmarkError(f"the connection failed: {error}") from None
    finally:
        for connection in client.connections:
            connection.close()
    if not client.outcome.count:
        raise BenchmarkError("there were no answers")
    return client.outcome


class _Client:
    """The state that the connections of one run share."""

    def __init__(self, exchanges: Iterator[Exchange], pause: float, interval: float) -> None:
        self.next_exchange: Callable[[], Exchange] = exchanges.__next__
        self.pause = pause
        self.interval = interval
        self.outcome = Outcome()
        self.connections: list[_Connection] = []
        self.deadline = 0.0
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def go(self, seconds: float) -> None:
        """Send requests, and return when every connection has its last answer."""
        started = time.perf_counter()
        self.deadline = started + seconds
        if self.interval:
            self._left = len(self.connections)
            for number, connection in enumerate(self.connections):
                connection.due = started + self.interval * number / len(self.connections)
                connection.send_when_due()
        else:
            self._left = sum(connection.send() for connection in self.connections)
        if self._left:
            await self._finished
        self.outcome.seconds = time.perf_counter() - started

    def connection_finished(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._finished.done():
            self._finished.set_result(None)

    def fail(self, why: str) -> None:
        if not self._finished.done():
            self._finished.set_exception(BenchmarkError(why))


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._outcome = client.outcome
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._sent_at = 0.0
        self.due = 0.0  # when to send the next request, as `time.perf_counter`
        self._chunks: list[bytes] = []
        self._missing = 0  # bytes of the body still to arrive; 0 while the head is incomplete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._client.fail(f"the server closed the connection instead of answering ({exc or 'no error'})")

    def close(self) -> None:
        self._exchange = None
        self._transport.abort()

    def send(self) -> bool:
        """Send the next request; return False if there is none."""
        try:
            self._exchange = self._client.next_exchange()
        except StopIteration:
            self._exchange = None
            return False
        self._transport.write(self._exchange.request)
        self._sent_at = self.due or time.perf_counter()
        return True

    def send_when_due(self) -> None:
        """Send the next request at its time."""
        asyncio.get_running_loop().call_later(max(0.0, self.due - time.perf_counter()), self._send_next)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        if self._missing:
            self._missing -= len(data)
            if self._missing <= 0:
                self._answered(b"".join(self._chunks))
            return
        if len(self._chunks) > 1:
            data = b"".join(self._chunks)
            self._chunks = [data]
        end = data.find(HEAD_END)
        if end < 0:
            return
        head = data[:end].lower()
        at = head.find(LENGTH)
        if at < 0:
            self._client.fail(f"an answer without Content-Length: {head[:SHOWN_BYTES]!r}")
            return
        self._missing = end + 4 + int(head[at + len(LENGTH) :].partition(b"\r")[0]) - len(data)
        if self._missing <= 0:
            self._answered(data)

    def _answered(self, answer: bytes) -> None:
        now = time.perf_counter()
        exchange, client, outcome = self._exchange, self._client, self._outcome
        if exchange is None:
            client.fail("an answer without a request")
            return
        status = answer[9:12]
        content = exchange.answers.get(status)
        if content is None or content not in answer:
            asked = exchange.request.partition(b"\r")[0].decode()
            head, _, body = answer.partition(HEAD_END)
            shown = head.partition(b"\r")[0] + b"\n" + body[:SHOWN_BYTES]
            client.fail(f"unexpected answer to {asked}: {shown.decode(errors='replace')}")
            return
        outcome.latencies.append(now - self._sent_at)
        outcome.last_at = now
        outcome.statuses[int(status)] += 1
        outcome.received += len(answer)
        self._chunks.clear()
        self._missing = 0
        if now >= client.deadline:
            self._finish()
        elif client.interval:
            self.due += client.interval
            self.send_when_due()
        elif client.pause:
            asyncio.get_running_loop().call_later(client.pause, self._send_next)
        else:
            self._send_next()

    def _send_next(self) -> None:
        with suppress(ConnectionError):
            if not self.send():
                self._finish()

    def _finish(self) -> None:
        self._exchange = None
        self._client.connection_finished()
