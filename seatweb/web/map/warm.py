"""Answers the most asked pages from what the process knows, before the framework sees the request.

The map of a day is asked for more often than all else together, and mostly by people about whom everything is known:
whose session was looked up half a second ago, on a day that was looked at a quarter of a second ago. Such a request
needs no waiting at all, so it is answered here: with the same functions that the controllers call, from the same
memories, which are empty where anything may have changed. Whatever is not known, or is asked in another way, goes on
to the controllers.
"""

from __future__ import annotations

import re
import zlib
from datetime import date
from typing import Final

import brotli
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.accounts.sessions import Sessions
from seatweb.booking.window import BookingWindow
from seatweb.errors import SeatwebError
from seatweb.http.identity import Identities, Identity
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import MapReader
from seatweb.web.map.frames import DayPages
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections
from seatweb.web.rendering import BROTLI_QUALITY, PAGE_HEADERS
from seatweb.web.requests import read_day

PATH: Final = re.compile(r"/(?:days/([0-9-]{10})(?:/sections/([A-Z][A-Z0-9]{0,7}))?)?", re.ASCII)
QUERY: Final = re.compile(rb"(?:section=([A-Z][A-Z0-9]{0,7}))?", re.ASCII)
ADDRESSES_KEPT: Final = 1024
SMALLEST_COMPRESSED: Final = 500  # bytes
HEADERS: Final = [(name.encode(), value.encode()) for name, value in PAGE_HEADERS.items()]


class _Asked(Struct, frozen=True):
    """What an address asks for: a day (today if None), or one section of it."""

    day: date | None
    section: str | None
    """Only this one is shown."""
    fragment: str | None
    path: str


class WarmPages:
    """Answers `/`, `/days/{day}` and `/days/{day}/sections/{name}` where nothing has to be asked for."""

    def __init__(
        self,
        app: ASGIApp,
        identities: Identities,
        sessions: Sessions,
        window: BookingWindow,
        reader: MapReader,
        sections: Sections,
        day_pages: DayPages,
    ) -> None:
        self._app = app
        self._identities = identities
        self._sessions = sessions
        self._window = window
        self._reader = reader
        self._sections = sections
        self._day_pages = day_pages
        self._asked: BoundedDict[tuple[str, bytes], _Asked] = BoundedDict(ADDRESSES_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == ScopeType.HTTP and scope["method"] == "GET":
            asked = self._read(scope["path"], scope["query_string"])
            if asked is not None and (answer := self._answer(scope, asked)):
                headers, body = answer
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": body, "more_body": False})
                return
        await self._app(scope, receive, send)

    def _read(self, path: str, query: bytes) -> _Asked | None:
        key = (path, query)
        if key in self._asked:
            return self._asked[key]
        asked = _read(path, query)
        if asked is not None:
            self._asked[key] = asked
        return asked

    def _answer(self, scope: Scope, asked: _Asked) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        cookies, codings = b"", b""
        for name, value in scope["headers"]:
            if name == b"cookie":
                cookies = value
            elif name == b"accept-encoding":
                codings = value
            elif name == b"hx-request" and asked.fragment is None:
                return None
        identity = self._identities.of_header(cookies)
        if identity is None:
            return None
        body = self._body(asked, identity)
        if body is None:
            return None
        headers = [*HEADERS, (b"content-type", b"text/html; charset=utf-8")]
        if len(body) >= SMALLEST_COMPRESSED:
            if b"br" in codings:
                body = brotli.compress(body, quality=BROTLI_QUALITY)
                headers.append((b"content-encoding", b"br"))
            elif b"gzip" in codings:
                body = _gzipped(body)
                headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        return headers, body

    def _body(self, asked: _Asked, identity: Identity) -> bytes | None:
        session: Session | None = None
        if identity.claims:
            session = self._sessions.peek(identity.claims.session_id, identity.claims.user_id)
            if session is None:
                return None
        place = Place(asked.day or self._window.today(), asked.section)
        try:
            seen = self._reader.peek(session, place)
        except SeatwebError:
            return None  # the controller says it better
        if seen is None or seen.state != "open":
            return None
        if asked.fragment is None:
            return self._day_pages.render(seen, asked.path, identity.csrf_secret)
        for section in seen.view.shown(asked.fragment):
            return self._sections.section(seen.view, section, place, seen.viewer).encode()
        return None


def _read(path: str, query: bytes) -> _Asked | None:
    """Return what a canonical address asks for."""
    where, filtered = PATH.fullmatch(path), QUERY.fullmatch(query)
    if where is None or filtered is None:
        return None
    day, fragment = where.groups()
    section = filtered[1].decode() if filtered[1] else None
    if day is None and section:
        return None
    try:
        return _Asked(
            read_day(day) if day else None, section, fragment, path + (f"?section={section}" if section else "")
        )
    except SeatwebError:
        return None


def _gzipped(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, wbits=31)  # 31: with gzip's header and sum
    return compressor.compress(body) + compressor.flush()
