"""The stream of a live map: server-sent events (HTML Standard, 9.2) for one browser looking at one day."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
from seatweb.web.map.day_page import MapReader, Seen
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections
from seatweb.web.requests import FOR_EVERYONE, PageNotFound, PageRequest, query_value, read_day, session_of

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
UPDATES_KEPT: Final = 64


class Streams:
    """Writes the events; those that many streams get are written once."""

    def __init__(self, reader: MapReader, sections: Sections) -> None:
        self._reader = reader
        self._sections = sections
        self._kept: BoundedDict[tuple[Place, bool, str, frozenset[int]], bytes] = BoundedDict(UPDATES_KEPT)

    def message(self, update: Update, place: Place, session: Session | None, *, own: bool) -> bytes:
        """Return the event of an update; `own` when something of the viewer's is in it."""
        key = (place, session is not None, update.view.tag, update.seats)
        if own or update.everything:
            return self._write(update, place, session)
        message = self._kept.get(key)
        if message is None:
            message = self._kept[key] = self._write(update, place, session)
        return message

    def _write(self, update: Update, place: Place, session: Session | None) -> bytes:
        now = self._reader.seen(session, place, update.view, {})
        data = "".join(self._partials(update, now))
        return event(data, id_=update.view.tag)

    def _partials(self, update: Update, now: Seen) -> Iterable[str]:
        view, viewer = update.view, now.viewer
        for part in view.shown(now.place.section):
            name = part.section.name
            if update.everything:
                yield _partial(f"section-{name}", self._sections.section(view, part, now.place, viewer))
                continue
            changed = sorted(seat.seat.id for seat in part.seats if seat.seat.id in update.seats)
            for seat_id in changed:
                yield _partial(f"seat-{seat_id}", self._sections.seat(view, seat_id, now.place, viewer))
            if changed:
                yield _partial(f"section-{name}-count", self._sections.count(view, part, viewer))
        if update.everything or update.seats:
            yield _partial("tally", self._sections.tally(now.tally))


@get("/days/{day_text:str}/live", media_type="text/event-stream", opt=FOR_EVERYONE)
async def live_map(
    request: PageRequest,
    window: NamedDependency[BookingWindow],
    reader: NamedDependency[MapReader],
    live: NamedDependency[Live],
    streams: NamedDependency[Streams],
    day_text: FromPath[str],
) -> ASGIApp:
    """Stream what changes on a day until the browser leaves, its session ends, or the process does.

    Raises:
        PageNotFound: the day cannot be booked, so nothing changes.
        SectionNotFound: the address names one that is not there.
        TooManyStreams, Overloaded: the browser asks again later.
    """
    day = read_day(day_text)
    if not window.includes(day):
        raise PageNotFound(reason="closed_day")
    place = Place(day, query_value(request, "section"))
    session = session_of(request)
    await reader.look(None, place)  # whether the section is there
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
        await channel.view()  # while it can still be refused
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if scope["state"].get("head"):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        stream = _Stream(streams, live, channel, place, session, channel.number_of(since))
        pump = asyncio.create_task(stream.run(send))
        try:
            while (await receive())["type"] != "http.disconnect":  # comes with the end of our answer, too
                pass
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


class _Stream:
    """One browser's stream."""

    __slots__ = ("_channel", "_live", "_mine", "_number", "_place", "_session", "_sign", "_streams", "_user_id")

    def __init__(
        self, streams: Streams, live: Live, channel: Channel, place: Place, session: Session | None, since: int | None
    ) -> None:
        self._streams = streams
        self._live = live
        self._channel = channel
        self._place = place
        self._session = session
        self._user_id = session.user.id if session else 0
        self._number = since
        self._mine: tuple[int | None, int | None] | None = None  # the seats that the viewer has and holds
        self._sign: tuple[str, int] | None = None

    async def run(self, send: Send) -> None:
        """Send events until there is nothing more to send."""
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
        """Return what is to be sent now, or nothing."""
        channel, messages = self._channel, []
        sign = (channel.state, channel.heartbeats)
        if sign != self._sign:
            self._sign = sign
            messages.append(event(channel.state, name="status"))
        if self._number != channel.number or self._mine is None:
            update = await channel.update(self._number)
            view = update.view
            mine = (view.seat_of.get(self._user_id), view.held_by.get(self._user_id))
            own = bool({*mine, *(self._mine or ())} & update.seats) or mine[1] is not None
            if update.everything or update.number != self._number:
                messages.append(self._streams.message(update, self._place, self._session, own=own))
            if self._session and (self._mine is None or mine[0] != self._mine[0]):
                messages.append(event(str(mine[0] or ""), name="mine"))
            self._number, self._mine = update.number, mine
        return b"".join(messages)


def event(data: str, *, name: str | None = None, id_: str | None = None) -> bytes:
    """Return one event of a stream; without data it only moves the id on."""
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
