"""One's own bookings: coming and past, and cancelling."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response

from seatweb.bookings import Bookings
from seatweb.errors import BookingNotFound, OutsideBookingWindow
from seatweb.model import Booking, Session
from seatweb.web.contexts import BookingRow, MyBookingsPage
from seatweb.web.days import refuse, show
from seatweb.web.maps import Place, day_page
from seatweb.web.rendering import Renderer, notice
from seatweb.web.requests import PageRequest, query_value, read_day, read_form, read_id, signed_in, wants_partial


class MyBookingsController(Controller):
    """The list, and cancelling from it or from the map."""

    @get("/my/bookings")
    async def see(
        self, request: PageRequest, renderer: NamedDependency[Renderer], bookings: NamedDependency[Bookings]
    ) -> Response[str]:
        """Show the user's bookings."""
        page = await my_bookings_page(bookings, signed_in(request))
        return renderer.page(request, "pages/my_bookings.html", page)

    @post("/my/bookings/{booking_text:str}/cancel", status_code=200)
    async def cancel(
        self,
        request: PageRequest,
        renderer: NamedDependency[Renderer],
        bookings: NamedDependency[Bookings],
        booking_text: FromPath[str],
    ) -> Response[str]:
        """Cancel a booking; the form's `back` says whether the map or the list follows."""
        session, fields = signed_in(request), await read_form(request)
        on_map = fields.get("back") == "day"
        section = query_value(request, "section")
        if section is not None:
            await bookings.check_section(section)
        try:
            booking = await bookings.cancel(session.user, read_id(booking_text, BookingNotFound), session.id)
        except (BookingNotFound, OutsideBookingWindow) as error:
            if not (on_map and wants_partial(request)):
                raise
            page = await day_page(bookings, session, Place(read_day(fields.get("day", "")), section))
            return refuse(request, renderer, page, error)
        say = f"cancelled.{booking.seat.label}"
        place = Place(booking.day, section)
        if not wants_partial(request):
            return renderer.redirect(request, place.href() if on_map else "/my/bookings", say=say)
        if on_map:
            headers = {"hx-push-url": place.href()}
            return await show(request, renderer, bookings, place, say=notice(say), headers=headers)
        page_of_bookings = await my_bookings_page(bookings, session)
        return renderer.page(request, "partials/my_bookings_result.html", page_of_bookings, say=notice(say))


async def my_bookings_page(bookings: Bookings, session: Session) -> MyBookingsPage:
    """Return the user's bookings for the page."""
    return MyBookingsPage(
        today=bookings.today(),
        coming=[_row(booking) for booking in await bookings.coming(session.user)],
        past=[_row(booking) for booking in await bookings.ended(session.user)],
    )


def _row(booking: Booking) -> BookingRow:
    return BookingRow(booking=booking, href=Place(booking.day).href(seat_id=booking.seat.id))
