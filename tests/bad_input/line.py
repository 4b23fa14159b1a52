"""A connection that sends raw bytes, which no HTTP client would."""

from __future__ import annotations

import gzip
import socket
from contextlib import suppress
from typing import NamedTuple

import brotli
import httptools
import httpx

from tests.bad_input.requests import Attempt

SECONDS = 60
DECOMPRESS = {"br": brotli.decompress, "gzip": gzip.decompress}


class Answer(NamedTuple):
    """An answer from the site."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def from_server(self) -> bool:
        """Whether the server refused the request before the app saw it."""
        return self.status in {400, 414, 431} and "x-request-id" not in self.headers


class _Reader:
    """Collects the first final answer, skipping 1xx ones."""

    def __init__(self, *, bodiless: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._bodiless = bodiless
        self.answer: Answer | None = None
        self.begun = False

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = [], b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.begun = self._parser.get_status_code() >= 200
        is_stream = (b"content-type", b"text/event-stream; charset=utf-8") in self._headers
        if self.begun and (self._bodiless or is_stream):
            self.end()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self.begun:
            self.end()

    def end(self) -> None:
        if self.answer is None:
            headers = httpx.Headers(self._headers)
            coding = headers.get("content-encoding")
            body = DECOMPRESS[coding](self._body) if coding and self._body else self._body
            self.answer = Answer(self._parser.get_status_code(), headers, body)


class Line:
    """Sends attempts one after the other."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, attempt: Attempt) -> Answer | None:
        """Send the attempt and return the answer; None if there was none."""
        reused = self._socket is not None
        answer = self._ask(attempt)
        if answer is None and reused and not attempt.disconnects:
            answer = self._ask(attempt)  # the server had closed the reused connection
        return answer

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def _ask(self, attempt: Attempt) -> Answer | None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=SECONDS)
        line, reader = self._socket, _Reader(bodiless=attempt.bodiless)
        keep = False
        try:
            line.sendall(attempt.sent)
            if attempt.disconnects:
                line.shutdown(socket.SHUT_WR)
            while reader.answer is None and (data := line.recv(262_144)):
                reader.feed(data)
            if reader.answer is None and reader.begun:
                reader.end()  # the answer ends when the connection closes
            headers = reader.answer.headers if reader.answer else httpx.Headers()
            closing = headers.get("connection") == "close" or "event-stream" in headers.get("content-type", "")
            keep = reader.answer is not None and not (closing or attempt.last or attempt.bodiless)
        except ConnectionError:
            with suppress(OSError):
                while reader.answer is None and (data := line.recv(262_144)):
                    reader.feed(data)
        finally:
            if not keep:
                self.close()
        return reader.answer
