"""Answers the most requested pages from this process's caches, before the framework sees the request.

The map of a day is requested more often than everything else together, and usually the caches have all that it needs:
the session, until it changes, and the day, for a quarter of a second. Such a request has nothing to wait for.
It is answered here, by the functions that the controllers call and from the caches that they use, which drop whatever
may have changed. If only the day is missing, because it has just changed, the request waits until it has been read. All
other requests go on to the controllers (docs/decisions/0007).
"""

from __future__ import annotations

import asyncio
import re
from datetime import date
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from seatweb.accounts.model import Session
from seatweb.accounts.sessions import Sessions
from seatweb.booking.window import BookingWindow
from seatweb.errors import SeatwebError
from seatweb.http.compression import accepted_encoding
from seatweb.http.identity import Identities
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import MapReader, VisibleDay
from seatweb.web.map.frames import DayPages
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections
from seatweb.web.pieces import Pieces, gzipped, plain
from seatweb.web.rendering import PAGE_HEADERS
from seatweb.web.requests import read_day

PATH: Final = re.compile(r"/(?:days/([0-9-]{10})(?:/sections/([A-Z][A-Z0-9]{0,7}))?)?", re.ASCII)
QUERY: Final = re.compile(rb"(?:section=([A-Z][A-Z0-9]{0,7}))?", re.ASCII)
URLS_KEPT: Final = 1024
PATIENCE_SECONDS: Final = 0.3  # reading a day takes milliseconds; if it does not, the controllers know what to do
HEADERS: Final = [
    *((name.encode(), value.encode()) for name, value in PAGE_HEADERS.items()),
    (b"content-type", b"text/html; charset=utf-8"),
]
GZIP_HEADERS: Final = [*HEADERS, (b"content-encoding", b"gzip")]
GZIP_ONLY: Final = ("gzip",)  # the only encoding in which compressed pieces can be joined


class _Asked(Struct, frozen=True):
    """What a URL requests: a day (None: today), or one section of it."""

    day: date | None
    section: str | None
    """The only section that the page shows; None for all."""
    fragment: str | None
    """The section that is requested as a fragment; None for a page."""
    path: str


class _Request(Struct, frozen=True):
    """A request for which the caches know all but, perhaps, the day."""

    target: _Asked
    place: Place
    csrf_secret: str
    session: Session | None
    zipped: bool


class WarmPages:
    """Middleware that answers `/`, `/days/{day}` and `/days/{day}/sections/{name}` if the caches have everything."""

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
        self._targets: BoundedDict[tuple[str, bytes], _Asked] = BoundedDict(URLS_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == ScopeType.HTTP and scope["method"] == "GET":
            request = self._request(scope)
            if request is not None:
                visible = self._peek(request) or await self._read(request)
                pieces = self._pieces(request, visible, scope) if visible else None
                if pieces:
                    headers, body = (GZIP_HEADERS, gzipped(pieces)) if request.zipped else (HEADERS, plain(pieces))
                    headers = [*headers, (b"content-length", str(len(body)).encode())]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    await send({"type": "http.response.body", "body": body, "more_body": False})
                    return
        await self._app(scope, receive, send)

    def _target(self, path: str, query: bytes) -> _Asked | None:
        key = (path, query)
        if key in self._targets:
            return self._targets[key]
        target = _parse(path, query)
        if target is not None:
            self._targets[key] = target
        return target

    def _request(self, scope: Scope) -> _Request | None:
        """Return who asks for what; None if the controllers must find out."""
        target = self._target(scope["path"], scope["query_string"])
        if target is None:
            return None
        cookies, encodings = b"", b""
        for name, value in scope["headers"]:
            if name == b"cookie":
                cookies = value
            elif name == b"accept-encoding":
                encodings = value
            elif name == b"hx-request" and target.fragment is None:
                return None
        zipped = accepted_encoding(encodings, GZIP_ONLY) is not None
        if not zipped and accepted_encoding(encodings):
            return None  # the controllers' responses are compressed in other ways, too
        identity = self._identities.of_header(cookies)
        if identity is None:
            return None
        session: Session | None = None
        if identity.claims:
            session = self._sessions.peek(identity.claims.session_id, identity.claims.user_id)
            if session is None:
                return None
        place = Place(target.day or self._window.today(), target.section)
        return _Request(target, place, identity.csrf_secret, session, zipped)

    def _peek(self, request: _Request) -> VisibleDay | None:
        """Return what is requested if the caches have it."""
        peek = self._reader.peek if request.target.fragment is None else self._reader.peek_section
        try:
            return peek(request.session, request.place)
        except SeatwebError:
            return None  # the controller responds with the error

    async def _read(self, request: _Request) -> VisibleDay | None:
        """Return what is requested once it has been read, which all who wait for it share: it has just changed."""
        if not self._window.includes(request.place.day):
            return None
        read = self._reader.read if request.target.fragment is None else self._reader.read_section
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await read(request.session, request.place)
        except (SeatwebError, TimeoutError):
            return None

    def _pieces(self, request: _Request, visible: VisibleDay, scope: Scope) -> Pieces | None:
        if visible.state != "open":
            return None
        if request.target.fragment is None:
            return self._day_pages.render(visible, request.target.path, request.csrf_secret, scope)
        for section in visible.view.shown(request.target.fragment):
            return self._sections.section(visible.view, section, request.place, visible.viewer)
        return None


def _parse(path: str, query: bytes) -> _Asked | None:
    """Return what a URL requests; None if it is one that only the controllers handle."""
    path_match, query_match = PATH.fullmatch(path), QUERY.fullmatch(query)
    if path_match is None or query_match is None:
        return None
    day, fragment = path_match.groups()
    section = query_match[1].decode() if query_match[1] else None
    if day is None and section:
        return None
    try:
        return _Asked(
            read_day(day) if day else None, section, fragment, path + (f"?section={section}" if section else "")
        )
    except SeatwebError:
        return None
