"""The user's own bookings: the list, and cancelling one."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.accounts.model import Session
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import BookingNotFound, OutsideBookingWindow
from seatweb.booking.model import Booking
from seatweb.booking.window import BookingWindow
from seatweb.web.map.contexts import BookingRow, MyBookingsPage
from seatweb.web.map.place import Place
from seatweb.web.map.responses import MapResponses
from seatweb.web.notices import parse_notice
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, read_day, read_form, read_id, signed_in, wants_partial


class MyBookingsController(Controller):
    """Shows the list, and cancels bookings from the list or the map."""

    @get("/my/bookings")
    async def show(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        window: NamedDependency[BookingWindow],
    ) -> Response[str]:
        """Show the user's bookings."""
        page = await my_bookings_page(bookings, window, signed_in(request))
        return renderer.page(request, "map/my_bookings.html", page)

    @post("/my/bookings/{booking_text:str}/cancel", status_code=200)
    async def cancel(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        window: NamedDependency[BookingWindow],
        booking_text: FromPath[str],
    ) -> Response[str]:
        """Cancel a booking; the form's field `back` says whether the map or the list follows."""
        session, fields = signed_in(request), await read_form(request)
        on_map = fields.get("back") == "day"
        section = (await responses.place(request, window.today())).section
        try:
            booking = await bookings.cancel(session.user, read_id(booking_text, BookingNotFound), session.id)
        except (BookingNotFound, OutsideBookingWindow) as error:
            if not (on_map and wants_partial(request)):
                raise
            return await responses.refuse_at(request, Place(read_day(fields.get("day", "")), section), error)
        notice = f"cancelled.{booking.seat.label}"
        place = Place(booking.day, section)
        if not wants_partial(request):
            return renderer.redirect(request, place.href() if on_map else "/my/bookings", notice=notice, changed=True)
        if on_map:
            headers = {"hx-push-url": place.href()}
            return await responses.show(request, place, notice=parse_notice(notice), headers=headers, changed=True)
        page = await my_bookings_page(bookings, window, session)
        template = "map/partials/my_bookings_result.html"
        return renderer.page(request, template, page, notice=parse_notice(notice), changed=True)


async def my_bookings_page(bookings: Bookings, window: BookingWindow, session: Session) -> MyBookingsPage:
    """Return the page with the user's bookings."""
    return MyBookingsPage(
        today=window.today(),
        coming=[_row(booking) for booking in await bookings.upcoming(session.user)],
        past=[_row(booking) for booking in await bookings.ended(session.user)],
    )


def _row(booking: Booking) -> BookingRow:
    return BookingRow(booking=booking, href=Place(booking.day).href(seat_id=booking.seat.id))
