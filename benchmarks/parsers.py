"""How long the worst input from an anonymous client blocks the event loop: `python -m benchmarks.parsers`.

The app runs in this process and is called as the server calls it. Each request has the maximum accepted length and is
filled with input that is slow for some parser. The figure is the CPU time of the event loop's thread, without the
threads that hash passwords. The last column is the ratio to the time for half the length: 2 means linear, 4 quadratic.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, redirect_stderr, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

import httptools
from litestar._parsers import parse_cookie_string, parse_query_string
from litestar.types import ASGIApp
from msgspec import Struct
from seatweb.accounts.passkeys import LONGEST_ANSWER
from seatweb.app import LARGEST_BODY, create_app
from seatweb.http.protocol import LARGEST_HEAD, LONGEST_URL
from seatweb.server.embedded import running_backends
from seatweb.server.migrate import migrate
from seatweb.settings import Settings

from benchmarks import people
from benchmarks.servers import SECRET

RUNS: Final = 5  # of each input; the fastest counts, since the others were disturbed by other processes
HEAD: Final = LARGEST_HEAD - 1000  # bytes for one value, next to the headers that browsers send
BODY: Final = LARGEST_BODY - 200
SLOW: Final = (
    "a", " ", ";", ",", '"', '\\"', "=", "a=", "a=b;", "a,", "/", "//", "/a", ".", "-", "9", "%", "%41", "%C3%A9", "(",
    "&", "a&", "a=&", "[", "{", '{"a":', '"a":1,', "1,", "1e9,", "\\u0041", "<", "é", "\u0301", "☃", "0.", "::", "x.y.",
    "\t", "W/",
)  # fmt: skip
# The framework's caches, cleared before each run: an attacker sends different input each time.
CACHE_CLEARS: Final = (parse_cookie_string.cache_clear, parse_query_string.cache_clear, urlsplit.cache_clear)  # type: ignore[attr-defined]
Header: TypeAlias = tuple[bytes, bytes]


class Request(Struct, frozen=True):
    """A request as the server passes it to the app."""

    method: str = "GET"
    path: str = "/login"
    query: bytes = b""
    headers: tuple[Header, ...] = ()
    body: bytes = b""

    async def ask(self, app: ASGIApp) -> int:
        """Send the request to the app, and return the answer's status."""
        host = [] if any(name == b"host" for name, _ in self.headers) else [(b"host", b"localhost")]
        length = [(b"content-length", b"%d" % len(self.body))] if self.body else []
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000), "scheme": "http", "root_path": "",
            "method": self.method, "path": self.path, "raw_path": quote(self.path).encode(),
            "query_string": self.query, "headers": [*host, *length, *self.headers], "state": {},
        }  # fmt: skip
        statuses = []

        async def receive() -> Any:  # noqa: ANN401 - an ASGI message
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Any) -> None:  # noqa: ANN401
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app(scope, receive, send)
        return int(statuses[0])


class Row(Struct, frozen=True):
    """A parser, the maximum length of its input, and how to create slow input of a given length."""

    name: str
    size: int
    requests: Callable[[int], Iterable[Request]]


def filled(size: int) -> list[str]:
    """Return each slow text, repeated to at most `size` bytes."""
    return [(unit * size)[: size // len(unit.encode()) * len(unit)] for unit in SLOW]


def by_header(name: str, prefix: str = "", path: str = "/login") -> Callable[[int], Iterable[Request]]:
    """Return a function that creates requests with this header, whose value starts with `prefix`."""

    def requests(size: int) -> Iterable[Request]:
        for text in filled(size):
            yield Request(path=path, headers=((name.encode(), (prefix + text).encode()),))

    return requests


def rows(token: str, cookies: bytes) -> list[Row]:  # noqa: C901 - a list of small functions
    """Return all parsers that a request passes before its sender is authenticated."""
    form, json = (b"content-type", b"application/x-www-form-urlencoded"), (b"content-type", b"application/json")
    html = (b"cookie", cookies)

    def paths(size: int) -> Iterable[Request]:
        for text in filled(size):
            for prefix in ("/", "/days/", "/static/", "/bookings/"):
                yield Request(path=prefix + text)

    def queries(size: int) -> Iterable[Request]:
        for text in filled(size):
            for path, prefix in (("/login", b""), ("/login", b"next=/"), ("/", b"section="), ("/seats", b"section=")):
                yield Request(path=path, query=prefix + quote(text, safe="%&=;+,/").encode()[:size])

    def forms(size: int) -> Iterable[Request]:
        for text in filled(size):
            for name in ("", "username=", "password=x&username=", "username=ada&password=", "next=/", "_csrf_token="):
                body = f"_csrf_token={token}&{name}".encode() + text.encode()
                yield Request("POST", "/login", headers=(form, html), body=body)
            body = f"_csrf_token={token}&username=ada&new_password=a&code=".encode() + text.encode()
            yield Request("POST", "/login/reset", headers=(form, html), body=body)
        yield Request(
            "POST", "/login", headers=((b"content-type", b"multipart/form-data; boundary=x"),), body=b"-" * size
        )

    def passkeys(size: int) -> Iterable[Request]:
        for text in filled(size):
            body = f"_csrf_token={token}&credential=".encode() + quote(text).encode()
            yield Request("POST", "/login/passkey", headers=(form, html), body=body[: size + 200])

    def json_bodies(size: int) -> Iterable[Request]:
        twice = ",".join(f'"a{number}":0' for number in range(size // 10))
        for text in (*filled(size), "{" + twice + "}", '{"username":{' + twice + "}}"):
            for prefix in ("", '{"username":', '{"username":"', '{"username":"a","password":"'):
                yield Request("POST", "/auth/login", headers=(json,), body=(prefix + text).encode())
                end = '"}' if prefix.endswith('"') else "}"
                yield Request("POST", "/auth/login", headers=(json,), body=(prefix + text + end).encode())

    def tokens(size: int) -> Iterable[Request]:
        for text in filled(size * 3 // 4):
            token = base64.urlsafe_b64encode(text.encode()).rstrip(b"=") + b".YQ.YQ"
            yield Request(headers=((b"cookie", b"seatweb_session=" + token),))
            yield Request(path="/me", headers=((b"authorization", b"Bearer " + token),))

    def headers(size: int) -> Iterable[Request]:
        for name in (
            "accept", "accept-encoding", "accept-language", "content-type", "if-none-match", "origin", "referer",
            "sec-fetch-site", "user-agent", "x-forwarded-for", "idempotency-key", "last-event-id", "hx-request",
        ):  # fmt: skip
            yield from by_header(name)(size)

    return [
        Row("path, router, log line", LONGEST_URL, paths),
        Row("query", LONGEST_URL, queries),
        Row("`Host`", HEAD, by_header("host")),
        Row("`Cookie`, others' cookies", HEAD, by_header("cookie", 'a="')),
        Row("`Cookie`, ours", HEAD, by_header("cookie", "seatweb_csrf=")),
        Row("JWT, in a cookie or as a bearer token", HEAD, tokens),
        Row("each of 13 other headers, such as `Origin`", HEAD, headers),
        Row("`Range` of a static file", HEAD, by_header("range", "bytes=", "/static/css/seatweb.css")),
        Row("form: fields, username, password, code", BODY, forms),
        Row("form: passkey (JSON, base64)", BODY, passkeys),
        Row("JSON", BODY, json_bodies),
    ]


async def loop_seconds(app: ASGIApp, request: Request) -> float:
    """Return the CPU seconds that the event loop's thread spends on a request, in the fastest run."""
    best = float("inf")
    for _ in range(RUNS):
        for clear in CACHE_CLEARS:
            clear()
        started = time.thread_time()
        await request.ask(app)
        best = min(best, time.thread_time() - started)
    return best


def head_seconds(size: int) -> float:
    """Return how long the server's own parser takes for a request head, at worst."""
    worst = 0.0
    for text in (*filled(size), "a:\r\n" * (size // 4), "a" * (size // 2) + ": " + "b" * (size // 2)):
        head = b"GET / HTTP/1.1\r\n" + (text if ":" in text else f"a: {text}").encode() + b"\r\n\r\n"
        worst = max(worst, _seconds(partial(_read_head, head), httptools.HttpParserError))
    return worst


def _read_head(head: bytes) -> None:
    httptools.HttpRequestParser(_Taker()).feed_data(head)


class _Taker:
    """Receives the parser's callbacks, as uvicorn does."""

    def __init__(self) -> None:
        self.headers: list[Header] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def cbor_seconds(size: int) -> float:
    """Return the worst time to parse a passkey's attestation: in a thread, and only signed-in users can send one."""
    from webauthn.helpers.parse_cbor import parse_cbor  # noqa: PLC0415

    big = b"\xc2\x5a" + struct.pack(">I", size) + b"\x91" * size
    mail = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * (size // 8)
    worst = 0.0
    for data in (big, b"\xc4\x82\x1a\x7f\xff\xff\xff" + big, b"\xd8\x24\x79" + struct.pack(">H", len(mail)) + mail,
                 b"\x81" * size, b"\xd8\x23\x79" + struct.pack(">H", size) + b"(" * size):  # fmt: skip
        worst = max(worst, _seconds(partial(parse_cbor, data), Exception))  # most of it is not valid CBOR
    return worst


def _seconds(parse: Callable[[], object], refusal: type[Exception]) -> float:
    """Return a parser's time in the fastest run, whether it accepts the input or not."""
    best = float("inf")
    for _ in range(RUNS):
        started = time.thread_time()
        with suppress(refusal):
            parse()
        best = min(best, time.thread_time() - started)
    return best


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """Run the lifespan of the app."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    for step in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{step}"})
        message = await from_app.get()
        if not message["type"].endswith("complete"):
            raise RuntimeError(message)
        if step == "startup":
            yield
    await running


async def measure(settings: Settings, backends: Any) -> None:  # noqa: ANN401
    """Print a row for each parser."""
    await migrate(backends.database_url)
    app = create_app(settings, backends)
    secret = people.CSRF_SECRET
    cookies = f"{people.OUR_COOKIES.csrf_cookie}={secret}".encode()
    async with started(app):  # the log is discarded, but writing it is part of the work
        baseline = await _worst(app, [Request(), Request("POST"), Request(path="/seats")])
        print(f"| any request | | {baseline * 1000:.1f} | |")
        for row in rows(people.CSRF.token(secret), cookies):
            whole, half = [await _worst(app, row.requests(size)) for size in (row.size, row.size // 2)]
            _print(row.name, row.size, whole, half)
    _print("head of a request (httptools)", LARGEST_HEAD, head_seconds(LARGEST_HEAD), head_seconds(LARGEST_HEAD // 2))
    cbor = LONGEST_ANSWER * 3 // 4
    _print("passkey to add (CBOR), in a thread", LONGEST_ANSWER, cbor_seconds(cbor), cbor_seconds(cbor // 2))


def _print(name: str, size: int, whole: float, half: float) -> None:
    print(f"| {name} | {size:,} | {whole * 1000:.1f} | {whole / half:.1f} |", flush=True)


async def _worst(app: ASGIApp, requests: Iterable[Request]) -> float:
    return max([await loop_seconds(app, request) for request in requests])


def main() -> None:
    """Measure with a new PostgreSQL and Redis."""
    with tempfile.TemporaryDirectory(prefix="seatweb-parsers-") as folder:
        environment = {"SEATWEB_DATA_DIR": folder, "JWT_SECRET": SECRET, "SEATWEB_LOG_FORMAT": "json"}
        limits = dict.fromkeys(("SIGN_IN_FAILURES_PER_ACCOUNT", "SIGN_IN_FAILURES_PER_ADDRESS", "REQUESTS"), "off")
        environment |= {f"SEATWEB_LIMIT_{name}": value for name, value in limits.items()}
        environment |= {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
        settings = Settings.from_environment(environment)
        print("| parser | max. bytes | ms | ratio to half the length |\n|---|---|---|---|")
        with running_backends(settings) as backends, Path(os.devnull).open("w") as devnull, redirect_stderr(devnull):
            asyncio.run(measure(settings, backends))


if __name__ == "__main__":
    main()
