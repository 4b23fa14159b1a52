"""The map: see a day, choose a seat, book it, move to it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date
from typing import Final

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response
from msgspec.structs import replace

from seatweb.bookings import Bookings
from seatweb.errors import (
    BookingNotFound,
    DayAlreadyBooked,
    NoFreeSeat,
    OutsideBookingWindow,
    SeatClosed,
    SeatNotFound,
    SeatTaken,
    SeatwebError,
)
from seatweb.model import Booking
from seatweb.web.contexts import DayPage, Notice
from seatweb.web.maps import Place, day_page
from seatweb.web.rendering import Renderer, notice
from seatweb.web.requests import (
    PageRequest,
    query_value,
    read_day,
    read_form,
    read_id,
    session_of,
    signed_in,
    wants_partial,
)

# Why a booking or a move did not come about, where the map as it is says more than an error page.
REFUSALS: Final = (SeatTaken, SeatClosed, DayAlreadyBooked, NoFreeSeat, BookingNotFound, OutsideBookingWindow)


class DayController(Controller):
    """Pages and partials of the map."""

    @get("/")
    async def today(
        self, request: PageRequest, renderer: NamedDependency[Renderer], bookings: NamedDependency[Bookings]
    ) -> Response[str]:
        """Show today's map."""
        return await show(request, renderer, bookings, await _place(request, bookings, bookings.today()))

    @get("/days")
    async def choose(
        self, request: PageRequest, renderer: NamedDependency[Renderer], bookings: NamedDependency[Bookings]
    ) -> Response[str]:
        """Go to the day of the date field."""
        text = query_value(request, "day")
        day = read_day(text) if text else bookings.today()
        return renderer.redirect(request, (await _place(request, bookings, day)).href())

    @get("/days/{day_text:str}")
    async def see(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Show the map of a day."""
        return await show(request, renderer, bookings, await _place(request, bookings, read_day(day_text)))

    @get("/days/{day_text:str}/seats/{seat_text:str}")
    async def choose_seat(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Show the map with the panel of a seat open."""
        place = await _place(request, bookings, read_day(day_text), read_id(seat_text, SeatNotFound))
        return await show(request, renderer, bookings, place, partial="partials/panel_result.html")

    @get(["/days/{day_text:str}/seats/{seat_text:str}/book", "/days/{day_text:str}/seats/{seat_text:str}/move"])
    async def after_book(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Go to the seat, for those who open the address that a refused form left in the address bar."""
        place = await _place(request, bookings, read_day(day_text))
        return renderer.redirect(request, place.href(seat_id=read_id(seat_text, SeatNotFound)))

    @get("/days/{day_text:str}/any")
    async def after_any(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Go to the day, for the same reason."""
        return renderer.redirect(request, (await _place(request, bookings, read_day(day_text))).href())

    @post("/days/{day_text:str}/seats/{seat_text:str}/book", status_code=200)
    async def book(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Book a seat."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        place = await _place(request, bookings, read_day(day_text), seat_id)
        booking = bookings.book(session.user, seat_id, place.day, session.id)
        return await settle(request, renderer, bookings, place, booking, "booked")

    @post("/days/{day_text:str}/seats/{seat_text:str}/move", status_code=200)
    async def move(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
        seat_text: FromPath[str],
    ) -> Response[str]:
        """Move one's booking of the day to a seat."""
        session, seat_id = signed_in(request), read_id(seat_text, SeatNotFound)
        place = await _place(request, bookings, read_day(day_text), seat_id)
        booking = bookings.move_of_day(session.user, place.day, seat_id, session.id)
        return await settle(request, renderer, bookings, place, booking, "moved")

    @post("/days/{day_text:str}/any", status_code=200)
    async def book_any(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        day_text: FromPath[str],
    ) -> Response[str]:
        """Book any free seat, in a section or anywhere."""
        session = signed_in(request)
        section = (await read_form(request)).get("section")
        place = await _place(request, bookings, read_day(day_text), section=section)
        booking = bookings.book_any(session.user, place.day, place.section, session.id)
        return await settle(request, renderer, bookings, place, booking, "booked")


async def show(
    request: PageRequest,
    renderer: Renderer,
    bookings: Bookings,
    place: Place,
    *,
    partial: str = "partials/day_result.html",
    say: Notice | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[str]:
    """Return the map as it now is: the whole page, or for htmx the part that changes."""
    page = await day_page(bookings, session_of(request), place)
    if page.state == "beyond":
        status = OutsideBookingWindow.status
    template = partial if wants_partial(request) else "pages/day.html"
    return renderer.page(request, template, page, status=status, say=say, headers=headers)


async def settle(
    request: PageRequest,
    renderer: Renderer,
    bookings: Bookings,
    place: Place,
    action: Awaitable[Booking],
    done: str,
) -> Response[str]:
    """Await a booking or a move and show what came of it: the new map, or why not and the map as it is."""
    try:
        booking = await action
    except REFUSALS as error:
        page = await day_page(bookings, session_of(request), place, problem=error.text)
        if page.mine is None or page.mine.seat.id != place.seat_id or page.state != "open":
            return refuse(request, renderer, page, error)
        booking, done = page.mine, "booked"  # a second click on what is theirs already
    place = Place(place.day, place.section, booking.seat.id)
    href = place.href(seat_id=booking.seat.id)
    say = f"{done}.{booking.seat.label}"
    if not wants_partial(request):
        return renderer.redirect(request, href, say=say)
    return await show(request, renderer, bookings, place, say=notice(say), headers={"hx-push-url": href})


def refuse(request: PageRequest, renderer: Renderer, page: DayPage, error: SeatwebError) -> Response[str]:
    """Say why it was refused, with the seats as they are and the nearest free one."""
    text = error.text
    if isinstance(error, SeatTaken) and page.panel:
        nearest = page.panel.nearest
        offer = f"{nearest.label} is free." if nearest else "No other seat is free on this day."
        text = f"Seat {page.panel.seat.label} was booked a moment ago. {offer}"
        page = replace(page, panel=replace(page.panel, problem=text))
    template = "partials/day_result.html" if wants_partial(request) else "pages/day.html"
    return renderer.page(request, template, page, status=error.status, say=Notice(kind="alert", text=text))


async def _place(
    request: PageRequest, bookings: Bookings, day: date, seat_id: int | None = None, section: str | None = None
) -> Place:
    """Return the place that an address names, checked before anything is done there."""
    section = section or query_value(request, "section")
    if section is not None:
        await bookings.check_section(section)
    return Place(day, section, seat_id)
