"""Requests as the fuzzer changes them, before they become bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from tests.bad_input.forms import Base, Form
from tests.bad_input.values import BOUNDARY

TOKEN: Final = b"_csrf_token"
Pairs = list[tuple[bytes, bytes]]


class Route(NamedTuple):
    """A method and path of the app, and the parameters that it reads."""

    method: str
    path: str
    program: bool
    """Whether it belongs to the JSON API."""
    query: tuple[str, ...]
    form: Form

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def fields(self) -> list[str]:
        return [*self.form.bases[0].fields]

    @property
    def has_body(self) -> bool:
        return self.method in {"POST", "PATCH", "PUT"}


class Person(NamedTuple):
    """A sender's credentials, in a browser or a program."""

    cookies: tuple[bytes, ...] = ()
    token: bytes = b""
    """The CSRF token for forms."""
    bearer: bytes = b""


class Attempt(NamedTuple):
    """Bytes to send, and how they were changed."""

    sent: bytes
    twists: str
    disconnects: bool = False
    """Whether the client disconnects before the request is complete, so that no answer is needed."""
    last: bool = False
    """Whether the connection cannot be reused."""
    bodiless: bool = False
    """Whether the answer has no body."""


class Draft:
    """A request under construction."""

    def __init__(self, route: Route, base: Base, person: Person, host: bytes) -> None:
        self.method = route.method.encode()
        self.path = {name: quote_from_bytes(value, safe="/").encode() for name, value in base.path.items()}
        self.query: list[bytes] = []
        self.fields = [(name.encode(), value) for name, value in base.fields.items() if value is not None]
        self.headers: Pairs = [(b"Host", host)]
        if route.program and person.bearer:
            self.headers.append((b"Authorization", b"Bearer " + person.bearer))
        if route.has_body and not route.program:
            self.fields.append((TOKEN, person.token))
        self.cookies = [*person.cookies]
        self.encoding = "json" if route.program else "form"
        self.body: tuple[bytes | None, bytes] | None = None
        """A complete body with its content type; replaces the fields."""
        self.wire: Callable[[bytes, Pairs, bytes], bytes] = well_formed
        self.disconnects = self.last = False
        self._route = route

    def set_field(self, name: bytes, value: bytes) -> None:
        """Set a field."""
        self.fields = [pair for pair in self.fields if pair[0] != name] + [(name, value)]

    def set_header(self, name: bytes, value: bytes | None) -> None:
        """Set a header, or remove it."""
        self.headers = [pair for pair in self.headers if pair[0] != name]
        if value is not None:
            self.headers.append((name, value))

    def render(self) -> bytes:
        """Return the bytes to send."""
        target = self._route.path.encode()
        for name, value in self.path.items():
            target = target.replace(b"{%s}" % name.encode(), value)
        if self.query:
            target += b"?" + b"&".join(self.query)
        headers = [*self.headers]
        if self.cookies:
            headers.append((b"Cookie", b"; ".join(self.cookies)))
        with_body = self._route.has_body or self.body is not None
        kind, body = self._content() if with_body else (None, b"")
        given = {name for name, _ in headers}
        if kind is not None and b"Content-Type" not in given:
            headers.append((b"Content-Type", kind))
        framed = given & {b"Content-Length", b"Transfer-Encoding"}
        if with_body and not framed:
            headers.append((b"Content-Length", b"%d" % len(body)))
        self.disconnects = self.disconnects or bool(framed)  # its end is ambiguous
        self.last = self.last or bool(framed or given & {b"Upgrade", b"Expect"})
        return self.wire(b"%s %s" % (self.method, target), headers, body)

    def _content(self) -> tuple[bytes | None, bytes]:
        if self.body is None:
            return self._encoded()
        kind, body = self.body
        if not self._route.program:
            body = body.replace(b"{fields}", urlencoded(self.fields))
            body = body.replace(b"{parts}", multipart(self.fields) + b"--%s--\r\n" % BOUNDARY)
            body = body.replace(b"{open}", multipart(self.fields))
        return kind, body

    def _encoded(self) -> tuple[bytes, bytes]:
        match self.encoding:
            case "json":
                members = (
                    json.dumps(name.decode(errors="replace")).encode() + b": " + value for name, value in self.fields
                )
                return b"application/json", b"{" + b", ".join(members) + b"}"
            case "multipart":
                return b"multipart/form-data; boundary=" + BOUNDARY, multipart(self.fields) + b"--%s--\r\n" % BOUNDARY
            case "raw":
                return b"application/x-www-form-urlencoded", b"&".join(b"%s=%s" % pair for pair in self.fields)
            case _:
                return b"application/x-www-form-urlencoded", urlencoded(self.fields)


@lru_cache(1024)
def quoted(value: bytes) -> bytes:
    """Return the value percent-encoded, for URLs and forms."""
    return quote_from_bytes(value, safe="").encode()


def urlencoded(fields: Pairs) -> bytes:
    return b"&".join(b"%s=%s" % (quoted(name), quoted(value)) for name, value in fields)


def multipart(fields: Pairs) -> bytes:
    part = b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(part % (BOUNDARY, name, value) for name, value in fields)


def well_formed(line: bytes, headers: Pairs, body: bytes) -> bytes:
    """Return a valid HTTP/1.1 request; line breaks in header values become spaces."""
    lines = [b"%s: %s" % (name, value.replace(b"\r", b" ").replace(b"\n", b" ")) for name, value in headers]
    return b"\r\n".join([line + b" HTTP/1.1", *lines, b"", body])
