"""The stream of live maps: server-sent events (HTML Standard, 9.2) for one browser, whatever days its windows show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final
from urllib.parse import quote

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send
from markupsafe import Markup

from seatweb.accounts.model import Session
from seatweb.accounts.sessions import Sessions
from seatweb.booking.errors import SectionNotFound
from seatweb.booking.live import Channel, Live, State, Update
from seatweb.booking.window import BookingWindow
from seatweb.errors import InvalidInput
from seatweb.storage.caching import BoundedDict
from seatweb.web.map.day_page import MapReader, VisibleDay
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections, as_markup
from seatweb.web.map.week_strip import WeekStrip
from seatweb.web.requests import (
    FOR_EVERYONE,
    PageNotFound,
    PageRequest,
    query_value,
    query_values,
    read_day,
    session_of,
)

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # else nginx buffers events
]
VIEWER: Final = b"seatweb-viewer"  # the header that names the user whose stream it is: empty for visitors
UPDATES_KEPT: Final = 64
MOST_MAPS: Final = 8  # in one stream; the windows beyond ask for their maps themselves


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
        return event(data, id_=map_id(place, update.view.tag))

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
    sessions: NamedDependency[Sessions],
    streams: NamedDependency[Streams],
    day_text: FromPath[str],
) -> ASGIApp:
    """Stream the changes of a map until the browser disconnects, the session ends, or the process stops.

    With `also`, which may be repeated, the stream carries the maps of the browser's other windows too (`map_id`).

    Raises:
        PageNotFound: the day cannot be booked, so nothing on it changes.
        SectionNotFound: there is no such section.
        InvalidInput: it asks for too many maps.
        TooManyStreams, Overloaded: the browser tries again later.
    """
    day = read_day(day_text)
    if not window.includes(day):
        raise PageNotFound(reason="closed_day")
    place = Place(day, query_value(request, "section"))
    tags = {place: {query_value(request, "since") or ""}}
    for other, tag in map(read_map_id, query_values(request, "also")):
        tags.setdefault(other, set()).add(tag)
    if len(tags) > MOST_MAPS:
        raise InvalidInput(reason="bad_address", name="'also'")
    await reader.read(None, place)  # checks that the section exists
    over = [other for other in tags if not await _exists(other, window, reader)]
    for other in over:  # the other windows go on
        del tags[other]
    return partial(_stream, live, sessions, streams, session_of(request), tags, over)


async def _exists(place: Place, window: BookingWindow, reader: MapReader) -> bool:
    try:
        return window.includes(place.day) and bool(await reader.read(None, place))
    except SectionNotFound:
        return False


async def _stream(
    live: Live,
    sessions: Sessions,
    streams: Streams,
    session: Session | None,
    tags: dict[Place, set[str]],
    over: list[Place],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    async with live.join([place.day for place in tags], session) as channels:
        if session and not await sessions.find(session.id, session.user.id):
            live.end_sessions({session.id})  # it ended after the request was checked and before anyone watched it
        for channel in channels.values():
            await channel.view()  # raises Overloaded before the response starts
        viewer = (VIEWER, quote(session.user.username if session else "").encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, viewer]})
        if scope["state"].get("head"):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        for place in over:
            await _send(send, event(map_id(place), name="over"))
        maps = [_Map(place, channels[place.day], _oldest(channels[place.day], since)) for place, since in tags.items()]
        sending = asyncio.create_task(_Stream(streams, live, session, maps).run(send))
        try:
            while (await receive())["type"] != "http.disconnect":  # also received when our response ends
                pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _oldest(channel: Channel, tags: Iterable[str]) -> int | None:
    """Return the number of the oldest of these states; None if one is not known any more."""
    numbers = [channel.number_of(tag) for tag in tags]
    known = [number for number in numbers if number is not None]
    return min(known) if len(known) == len(numbers) else None


class _Map:
    """A map that a stream carries."""

    __slots__ = ("channel", "mine", "number", "place")

    def __init__(self, place: Place, channel: Channel, number: int | None) -> None:
        self.place = place
        self.channel = channel
        self.number = number  # of the last update that was sent
        self.mine: tuple[int | None, int | None] | None = None  # the viewer's seats, booked and held, by id


class _Stream:
    """One browser's stream."""

    __slots__ = ("_live", "_maps", "_session", "_status", "_streams", "_user_id")

    def __init__(self, streams: Streams, live: Live, session: Session | None, maps: list[_Map]) -> None:
        self._streams = streams
        self._live = live
        self._session = session
        self._user_id = session.user.id if session else 0
        self._maps = maps
        self._status: tuple[State, int] | None = None

    async def run(self, send: Send) -> None:
        """Send events until the stream ends, which it does when one of its days is over."""
        try:
            if len(self._maps) == 1:
                await self._follow(self._maps[0], send)
                return
            tasks = [asyncio.create_task(self._follow(map_, send)) for map_ in self._maps]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, map_: _Map, send: Send) -> None:
        while not self._live.closing and not map_.channel.over:
            if self._live.has_ended(self._session):
                await _send(send, event("signed-out", name="bye"))
                return
            if message := await self._next(map_):
                await _send(send, message)
            else:
                await map_.channel.wait_for_news()

    async def _next(self, map_: _Map) -> bytes:
        """Return the events to send now; empty if there are none."""
        channel, messages = map_.channel, []
        status = (self._state, self._maps[0].channel.heartbeats)
        if status != self._status:
            self._status = status
            messages.append(event(self._state, name="status"))
        if map_.number != channel.number or map_.mine is None:
            update = await channel.update(map_.number)
            view = update.view
            mine = (view.seat_of.get(self._user_id), view.held_by.get(self._user_id))
            personal = bool({*mine, *(map_.mine or ())} & update.seats) or mine[1] is not None
            if update.everything or update.number != map_.number:
                messages.append(self._streams.message(update, map_.place, self._session, personal=personal))
            if self._session and (map_.mine is None or mine[0] != map_.mine[0]):
                messages.append(event(f"{map_.place.day} {mine[0] or ''}", name="mine"))
            map_.number, map_.mine = update.number, mine
        return b"".join(messages)

    @property
    def _state(self) -> State:
        return "live" if all(map_.channel.state == "live" for map_ in self._maps) else "catching-up"


def map_id(place: Place, tag: str = "") -> str:
    """Return the name of a map in one of its states, such as `2026-11-23/B/A:25,h:0`; `B` is missing on a whole day."""
    return f"{place.day}/{place.section or ''}/{tag}"


def read_map_id(text: str) -> tuple[Place, str]:
    """Return the map and the state that `map_id` named.

    Raises:
        PageNotFound: there is no such day.
    """
    day, _, rest = text.partition("/")
    section, _, tag = rest.partition("/")
    return Place(read_day(day), section or None), tag


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
