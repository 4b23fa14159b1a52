"""Requests that violate HTTP/1.1 (RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tests.bad_input.requests import Pairs, well_formed

Wire: TypeAlias = Callable[[bytes, Pairs, bytes], bytes]


def _with(name: bytes, value: bytes) -> Wire:
    return lambda line, headers, body: well_formed(line, [*headers, (name, value)], body)


def _of_length(more: int) -> Wire:
    """Return a wire format whose Content-Length is `more` bytes too large."""

    def send(line: bytes, headers: Pairs, body: bytes) -> bytes:
        others = [pair for pair in headers if pair[0] != b"Content-Length"]
        return well_formed(line, [*others, (b"Content-Length", b"%d" % max(0, len(body) + more))], body)

    return send


def _chunked(*chunks: bytes) -> Wire:
    """Return a wire format with these chunks; %x and %s stand for the body's length and the body."""

    def send(line: bytes, headers: Pairs, body: bytes) -> bytes:
        others = [pair for pair in headers if pair[0] != b"Content-Length"]
        content = b"".join(chunks).replace(b"%x", b"%x" % len(body)).replace(b"%s", body)
        return well_formed(line, [*others, (b"Transfer-Encoding", b"chunked")], content)

    return send


def _replaced(what: bytes, by: bytes) -> Wire:
    return lambda line, headers, body: well_formed(line, headers, body).replace(what, by, 1)


def _before(text: bytes) -> Wire:
    return lambda line, headers, body: text + well_formed(line, headers, body)


def _cut_at(part: int) -> Wire:
    return lambda line, headers, body: (whole := well_formed(line, headers, body))[: len(whole) * part // 10]


WIRES: Final[dict[str, Wire]] = {
    "disconnects before the body ends": _of_length(50),
    "disconnects in the middle of a chunk": _chunked(b"fff\r\n%s"),
    "disconnects before the last chunk": _chunked(b"%x\r\n%s\r\n"),
    "disconnects at 3/10": _cut_at(3),
    "disconnects at 9/10": _cut_at(9),
    "disconnects at once": lambda *_: b"",
    "a shorter length": _of_length(-5),
    "no length": _of_length(-(10**9)),
    "chunked": _chunked(b"%x\r\n%s\r\n0\r\n\r\n"),
    "an invalid chunk": _chunked(b"zz\r\n%s\r\n0\r\n\r\n"),
    "a chunk of -1": _chunked(b"-1\r\n%s\r\n0\r\n\r\n"),
    "a huge chunk": _chunked(b"f" * 40 + b"\r\n%s\r\n0\r\n\r\n"),
    "chunk extensions": _chunked(b"%x;a=" + b"b" * 3000 + b"\r\n%s\r\n0\r\n\r\n"),
    "trailers": _chunked(b"%x\r\n%s\r\n0\r\nHost: bad-input.example\r\nCookie: a=b\r\n\r\n"),
    "two lengths": _with(b"Content-Length", b"3"),
    "length and chunks": _with(b"Transfer-Encoding", b"chunked"),
    "two hosts": _with(b"Host", b"bad-input.example"),
    "HTTP/1.0": _replaced(b" HTTP/1.1", b" HTTP/1.0"),
    "HTTP/9.9": _replaced(b" HTTP/1.1", b" HTTP/9.9"),
    "HTTP/0.9": _replaced(b" HTTP/1.1", b""),
    "no protocol": _replaced(b"HTTP/1.1", b"BAD"),
    "HTTP/2": _before(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "an absolute address": _replaced(b" /", b" http://bad-input.example/"),
    "no slash": _replaced(b" /", b" "),
    "a fragment": _replaced(b" HTTP/1.1", b"#a HTTP/1.1"),
    "line feeds only": lambda line, headers, body: well_formed(line, headers, body).replace(b"\r\n", b"\n"),
    "empty lines before": _before(b"\r\n\r\n\r\n"),
    "a NUL before": _before(b"\0"),
    "TLS": _before(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    "a header without a name": _with(b"", b"a"),
    "a header with a space": _with(b"A b", b"a"),
    "a header with NUL": _with(b"A\0", b"a"),
    "a folded header": _replaced(b"\r\n", b"\r\nA: a\r\n b\r\n"),
    "a header of 60 kB": _with(b"A", b"a" * 60_000),
    "two thousand headers": lambda line, headers, body: well_formed(line, [*headers, *[(b"A", b"a")] * 2000], body),
    "a header that is no text": _with(b"\xff\xfe", b"\xff"),
}
