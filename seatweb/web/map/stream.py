"""The stream of a live map: server-sent events (HTML Standard, 9.2) for one browser that shows one day."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from functools import partial
from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send
from markupsafe import Markup

from seatweb.accounts.model import Session
from seatweb.booking.live import Channel, Live, Update
from seatweb.booking.window import BookingWindow
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import MapReader, VisibleDay
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections, as_markup
from seatweb.web.map.week_strip import WeekStrip
from seatweb.web.requests import FOR_EVERYONE, PageNotFound, PageRequest, query_value, read_day, session_of

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # else nginx buffers events
]
UPDATES_KEPT: Final = 64


class Streams:
    """Renders the events of updates; an event that many streams send is rendered once."""

    def __init__(self, reader: MapReader, sections: Sections, week_strip: WeekStrip) -> None:
        self._reader = reader
        self._sections = sections
        self._week_strip = week_strip
        self._kept: BoundedDict[tuple[Place, bool, str, frozenset[int]], bytes] = BoundedDict(UPDATES_KEPT)

    def message(self, update: Update, place: Place, session: Session | None, *, personal: bool) -> bytes:
        """Return the event for an update; `personal` if this viewer sees it differently from others."""
        key = (place, session is not None, update.view.tag, update.seats)
        if personal or update.everything:
            return self._render(update, place, session)
        message = self._kept.get(key)
        if message is None:
            message = self._kept[key] = self._render(update, place, session)
        return message

    def _render(self, update: Update, place: Place, session: Session | None) -> bytes:
        visible = self._reader.visible(session, place, update.view)
        data = "".join(self._partials(update, visible))
        return event(data, id_=update.view.tag)

    def _partials(self, update: Update, visible: VisibleDay) -> Iterable[str]:
        view, viewer = update.view, visible.viewer
        for part in view.shown(visible.place.section):
            name = part.section.name
            if update.everything:
                yield _partial(f"section-{name}", as_markup(self._sections.section(view, part, visible.place, viewer)))
                continue
            changed = sorted(seat.seat.id for seat in part.seats if seat.seat.id in update.seats)
            for seat_id in changed:
                yield _partial(f"seat-{seat_id}", self._sections.seat(view, seat_id, visible.place, viewer))
            if changed:
                yield _partial(f"section-{name}-count", self._sections.count(view, part, viewer))
        if update.everything or update.seats:
            yield _partial("tally", as_markup([self._sections.tally(visible.tally)]))
            if seats := visible.free_seats(view.day):
                yield _partial(f"free-{view.day}", self._week_strip.count(view.day, seats))


@get("/days/{day_text:str}/live", media_type="text/event-stream", opt=FOR_EVERYONE)
async def live_map(
    request: PageRequest,
    window: NamedDependency[BookingWindow],
    reader: NamedDependency[MapReader],
    live: NamedDependency[Live],
    streams: NamedDependency[Streams],
    day_text: FromPath[str],
) -> ASGIApp:
    """Stream the changes of a day until the browser disconnects, the session ends, or the process stops.

    Raises:
        PageNotFound: the day cannot be booked, so nothing on it changes.
        SectionNotFound: there is no such section.
        TooManyStreams, Overloaded: the browser tries again later.
    """
    day = read_day(day_text)
    if not window.includes(day):
        raise PageNotFound(reason="closed_day")
    place = Place(day, query_value(request, "section"))
    session = session_of(request)
    await reader.read(None, place)  # checks that the section exists
    since = request.headers.get("last-event-id") or query_value(request, "since") or ""
    return partial(_stream, live, streams, place, session, since)


async def _stream(
    live: Live,
    streams: Streams,
    place: Place,
    session: Session | None,
    since: str,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    async with live.join(place.day, session) as channel:
        await channel.view()  # raises Overloaded before the response starts
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if scope["state"].get("head"):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        stream = _Stream(streams, live, channel, place, session, channel.number_of(since))
        sending = asyncio.create_task(stream.run(send))
        try:
            while (await receive())["type"] != "http.disconnect":  # also received when our response ends
                pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


class _Stream:
    """One browser's stream."""

    __slots__ = (
        "_channel",
        "_live",
        "_mine",
        "_number",
        "_place",
        "_session",
        "_status",
        "_streams",
        "_today",
        "_user_id",
    )

    def __init__(
        self, streams: Streams, live: Live, channel: Channel, place: Place, session: Session | None, number: int | None
    ) -> None:
        self._streams = streams
        self._live = live
        self._channel = channel
        self._place = place
        self._session = session
        self._user_id = session.user.id if session else 0
        self._number = number  # of the last update that was sent
        self._mine: tuple[int | None, int | None] | None = None  # the viewer's seats, booked and held, by id
        self._status: tuple[str, int] | None = None
        self._today: date | None = None

    async def run(self, send: Send) -> None:
        """Send events until the stream ends."""
        try:
            while not self._live.closing and not self._channel.over:
                if self._live.has_ended(self._session):
                    await _send(send, event("signed-out", name="bye"))
                    return
                if message := await self._next():
                    await _send(send, message)
                else:
                    await self._channel.wait_for_news()
        finally:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes:
        """Return the events to send now; empty if there are none."""
        channel, messages = self._channel, []
        status = (channel.state, channel.heartbeats)
        if status != self._status:
            self._status = status
            messages.append(event(channel.state, name="status"))
        if channel.today != self._today:  # after midnight, the page's words for the days are wrong
            self._today = channel.today
            messages.append(event(str(self._today), name="today"))
        if self._number != channel.number or self._mine is None:
            update = await channel.update(self._number)
            view = update.view
            mine = (view.seat_of.get(self._user_id), view.held_by.get(self._user_id))
            personal = bool({*mine, *(self._mine or ())} & update.seats) or mine[1] is not None
            if update.everything or update.number != self._number:
                messages.append(self._streams.message(update, self._place, self._session, personal=personal))
            if self._session and (self._mine is None or mine[0] != self._mine[0]):
                messages.append(event(str(mine[0] or ""), name="mine"))
            self._number, self._mine = update.number, mine
        return b"".join(messages)


def event(data: str, *, name: str | None = None, id_: str | None = None) -> bytes:
    """Return one event; without data and name, it only updates the browser's last event id."""
    lines = [f"id: {id_}"] if id_ else []
    if name:
        lines.append(f"event: {name}")
    if data or name:
        lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


async def _send(send: Send, message: bytes) -> None:
    await send({"type": "http.response.body", "body": message, "more_body": True})


def _partial(target: str, html: Markup) -> str:
    return f'<hx-partial hx-target="#{target}" hx-swap="outerMorph">{html}</hx-partial>'
