"""uvicorn's HTTP, with bounds on the head of a request: how large it may be, and how long it may take to arrive."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD: Final = 64 * 1024  # bytes; browsers send one or two thousand
HEAD_SECONDS: Final = 10.0


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 to a head that is too large, and closes a connection whose head is too slow."""

    _timer: TimerHandle | None = None
    _reading_head = True
    _received = 0  # bytes that came while a head was awaited and is not whole yet
    _head = 0  # bytes of it that were read

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for a first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head grew too large."""
        if self._reading_head and self._timer is None:
            self._expect_head()
        if self._reading_head:
            self._received += len(data)
        super().data_received(data)  # it sets the count back when the head is whole
        if self._received > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on to the body, which has bounds of its own."""
        self._reading_head = False
        self._received = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next."""
        self._reading_head = True
        super().on_message_complete()

    def _count(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > LARGEST_HEAD:
            raise ValueError("the head is too large")  # the parser takes it for a bad request

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
