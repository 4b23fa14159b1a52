"""Handlers of the map: show a day, and choose, hold, book or move to a seat."""

from __future__ import annotations

import re
from typing import Final

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import SeatNotFound, SectionNotFound
from seatweb.booking.holds import Holds
from seatweb.booking.window import BookingWindow
from seatweb.web.map.day_page import MapReader
from seatweb.web.map.place import Place
from seatweb.web.map.responses import MapResponses
from seatweb.web.map.sections import Sections, as_markup
from seatweb.web.rendering import Renderer
from seatweb.web.requests import (
    FOR_EVERYONE,
    PageRequest,
    changed_recently,
    read_day,
    read_form,
    read_id,
    session_of,
    signed_in,
)

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)


class DayController(Controller):
    """Pages and partials of the map."""

    @get("/", opt=FOR_EVERYONE)
    async def today(
        self, request: PageRequest, responses: NamedDependency[MapResponses], window: NamedDependency[BookingWindow]
    ) -> Response[str]:
        """Show today's map."""
        return await responses.show(request, await responses.place(request, window.today()))

    @get("/days/{day_text:str}", opt=FOR_EVERYONE)
    async def show_day(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Show the map of a day."""
        return await responses.show(request, await responses.place(request, read_day(day_text)))

    @get("/days/{day_text:str}/sections/{name:str}", opt=FOR_EVERYONE)
    async def show_section(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        reader: NamedDependency[MapReader],
        sections: NamedDependency[Sections],
        renderer: NamedDependency[Renderer],
        day_text: FromPath[str],
        name: FromPath[str],
    ) -> Response[str]:
        """Show one section of a map."""
        place = await responses.place(request, read_day(day_text))
        visible = await reader.read(session_of(request), place, fresh=changed_recently(request))
        shown = visible.view.shown(name)
        if not shown or visible.state == "beyond":
            raise SectionNotFound
        html = as_markup(sections.section(visible.view, shown[0], visible.place, visible.viewer))
        return renderer.respond(request, lambda _: html)

    @get("/days/{day_text:str}/seats/{seat_text:str}", opt=FOR_EVERYONE)
    async def show_seat(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Show the map with the panel of a seat open."""
        place = await responses.place(request, read_day(day_text), read_id(seat_text, SeatNotFound))
        return await responses.show(request, place, partial="map/partials/panel_result.html")

    @get(
        [
            "/days/{day_text:str}/seats/{seat_text:str}/book",
            "/days/{day_text:str}/seats/{seat_text:str}/move",
            "/days/{day_text:str}/seats/{seat_text:str}/hold",
            "/days/{day_text:str}/seats/{seat_text:str}/release",
        ],
        opt=FOR_EVERYONE,
    )
    async def redirect_to_seat(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        renderer: NamedDependency[Renderer],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Redirect to the seat, for visitors who reload the URL that a refused form left in the address bar."""
        place = await responses.place(request, read_day(day_text))
        return renderer.redirect(request, place.href(seat_id=read_id(seat_text, SeatNotFound)))

    @get("/days/{day_text:str}/any", opt=FOR_EVERYONE)
    async def confirm_any(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        reader: NamedDependency[MapReader],
        renderer: NamedDependency[Renderer],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Ask users who wanted any free seat before they signed in whether to book one; redirect others to the day."""
        place, session = await responses.place(request, read_day(day_text)), session_of(request)
        visible = await reader.read(session, place, fresh=changed_recently(request))
        if session is None or visible.state != "open" or visible.mine or not visible.tally.free_count:
            return renderer.redirect(request, place.href())
        return renderer.page(request, "map/book_any.html", place)

    @post("/days/{day_text:str}/seats/{seat_text:str}/hold", status_code=200)
    async def hold(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        holds: NamedDependency[Holds],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Hold a seat while its user decides."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        token = (await read_form(request)).get("token", "")
        place = await responses.place(request, read_day(day_text), seat_id)
        hold = holds.hold(session.user, seat_id, place.day, token if TOKEN.fullmatch(token) else None)
        return await responses.hold(request, place, hold)

    @post("/days/{day_text:str}/seats/{seat_text:str}/release", status_code=200)
    async def release(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        holds: NamedDependency[Holds],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Release a seat."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        token = (await read_form(request)).get("token", "")
        place = await responses.place(request, read_day(day_text))
        if TOKEN.fullmatch(token):
            await holds.release(session.user, seat_id, place.day, token)
        if "seatweb-quiet" in request.headers:
            return Response("", status_code=204, headers={"cache-control": "no-store"})
        return await responses.released(request, place, seat_id)

    @post("/days/{day_text:str}/seats/{seat_text:str}/book", status_code=200)
    async def book(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Book a seat."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        place = await responses.place(request, read_day(day_text), seat_id)
        booking = bookings.book(session.user, seat_id, place.day, session.id)
        return await responses.show_result(request, place, booking, "booked")

    @post("/days/{day_text:str}/seats/{seat_text:str}/move", status_code=200)
    async def move(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Move the user's booking for the day to a seat."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        place = await responses.place(request, read_day(day_text), seat_id)
        booking = bookings.move_of_day(session.user, place.day, seat_id, session.id)
        return await responses.show_result(request, place, booking, "moved")

    @post("/days/{day_text:str}/any", status_code=200)
    async def book_any(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Book any free seat, in one section or in any."""
        session = signed_in(request)
        section = (await read_form(request)).get("section")
        place: Place = await responses.place(request, read_day(day_text), section=section)
        booking = bookings.book_any(session.user, place.day, place.section, session.id)
        return await responses.show_result(request, place, booking, "booked")
