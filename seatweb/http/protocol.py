"""uvicorn's HTTP protocol with limits on request heads and trailers, and on bodies that arrive after their answer.

It also sends no chunks to HTTP/1.0 clients, which do not know them.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

Refusal: TypeAlias = tuple[int, bytes]

LARGEST_HEAD: Final = 16 * 1024  # bytes of URL, headers and trailers; browsers send 1 to 2 KB
LONGEST_URL: Final = 4 * 1024  # bytes; ours have a few hundred, and Python decodes %-escapes slowly
MOST_HEADERS: Final = 100
SMALLEST_CHUNK: Final = len(b"1\r\nx\r\n")  # bytes on the wire for a chunk that holds one byte

BAD_REQUEST: Final[Refusal] = (400, b"Invalid HTTP request received.")
URL_TOO_LONG: Final[Refusal] = (414, b"The URL is too long.")
HEADERS_TOO_LARGE: Final[Refusal] = (431, b"The request headers are too large.")  # RFC 6585


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads that are too large or too slow, drops trailers, and closes connections whose body is not needed."""

    head_seconds: ClassVar[float] = 10.0
    linger_seconds: ClassVar[float] = 2.0
    linger_bytes: ClassVar[int] = 128 * 1024

    _timer: TimerHandle | None = None  # closes the connection
    _reading_head = True  # False while reading the body and the trailers
    _in_message = False  # part of a request has arrived, but not all of it
    _discarding = False  # incoming bytes are no longer parsed
    _lingering = False  # nothing more is sent either
    _received = 0  # bytes in this head or body, leaving out the packet in which it began
    _body = 0  # bytes of the body without its framing
    _counted = 0  # bytes of the URL, the headers and the trailers
    _headers = 0  # headers and trailers
    _refusal = BAD_REQUEST

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._answer_transport: Any = SimpleNamespace(
            write=transport.write, is_closing=transport.is_closing, close=self._close
        )
        self._start_timer(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection once its answer is complete; do not linger."""
        if self._lingering:
            self.transport.abort()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse incoming bytes, or discard them if the connection is being closed."""
        self._received += len(data)
        if self._discarding:
            if self._received > self.linger_bytes:
                self.flow.pause_reading()  # closing now would reset the connection, and the answer could be lost
            return
        if self._reading_head and self._timer is None:
            self._start_timer(self.head_seconds, self.transport.close)
        super().data_received(data)
        # The parser does not report incomplete headers or chunk extensions, so count the raw bytes as well.
        if self._received > LARGEST_HEAD + SMALLEST_CHUNK * self._body and not self._discarding:
            self._refuse(HEADERS_TOO_LARGE)

    # Called by the parser

    def on_message_begin(self) -> None:
        """Start counting the head of a request."""
        self._in_message = True
        self._counted = self._headers = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL."""
        self._count(len(url), URL_TOO_LONG, LONGEST_URL)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; drop a trailer, which uvicorn would merge into the headers (RFC 9110, section 6.5.1)."""
        self._headers += 1
        self._count(len(name) + len(value) + len(b": \r\n"), HEADERS_TOO_LARGE)
        if self._reading_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request; what follows is its body."""
        super().on_headers_complete()
        self._reading_head = False
        self._received = self._body = 0
        self._stop_timer()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self._reading_head, self._in_message = True, False
        self._received = self._body = 0

    def _count(self, size: int, refusal: Refusal, most: int = LARGEST_HEAD) -> None:
        self._counted += size
        if self._counted > most or self._headers > MOST_HEADERS:
            self._refusal = refusal
            raise ValueError(refusal[1])  # stops the parser; uvicorn then calls send_400_response

    # Called by uvicorn to answer

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Run the app for one request; if it answers before the body has arrived, close the connection afterwards."""
        is_old = cycle.scope["http_version"] == "1.0"
        ends_with_connection = False

        async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def send_or_close(message: ASGISendEvent) -> None:
                nonlocal ends_with_connection
                if cycle.more_body:
                    cycle.keep_alive = False
                if is_old and message["type"] == "http.response.start":
                    ends_with_connection = not any(name.lower() == b"content-length" for name, _ in message["headers"])
                    if ends_with_connection:
                        cycle.chunked_encoding = False
                elif ends_with_connection and message["type"] == "http.response.body":
                    cycle.expected_content_length = len(message["body"])  # uvicorn compares the two
                await send(message)

            await app(scope, receive, send_or_close)

        cycle.transport = self._answer_transport
        super()._start_asgi_task(cycle, answer)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Refuse a request that the parser rejected."""
        self._refuse(self._refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Send the refusal and close the connection, unless another answer is due first: then close after that one."""
        self._discard()
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if self._reading_head or self.pipeline or cycle.response_started:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # the app's own answer to this request is dropped
            cycle.message_event.set()
        status, text = refusal
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", text]))
        self._close()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore the upgrade, and close the connection: the parser skips the body, so it would read it as a request."""
        self._discard()
        self.cycle.keep_alive = False

    # Closing

    def _close(self) -> None:
        """Close the connection; if the client may still be sending, wait for it to close its side first.

        Closing with unread data makes the system reset the connection, and the client may lose the answer (RFC 9112,
        section 9.6).
        """
        if self._lingering or self.transport.is_closing():
            return
        if not (self._in_message or self._discarding):
            self.transport.close()
            return
        self._discard()
        self._lingering = True
        self.pipeline.clear()
        self.transport.write_eof()
        self.flow.resume_reading()
        self._start_timer(self.linger_seconds, self.transport.abort)

    def _discard(self) -> None:
        self._stop_timer()
        self._discarding = True
        self._received = 0

    def _start_timer(self, seconds: float, close: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, close)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
