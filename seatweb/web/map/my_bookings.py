"""The user's own bookings: the list, cancelling one, and undoing what they did with one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Response
from msgspec import Struct

from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import (
    AlreadyCancelled,
    AlreadyUndone,
    BookingNotFound,
    CannotUndo,
    OutsideBookingWindow,
    SeatClosed,
    SeatHeld,
    SeatTaken,
)
from seatweb.booking.model import Booking
from seatweb.booking.undo import UNDO_SECONDS, Act, Undo
from seatweb.booking.window import BookingWindow
from seatweb.errors import InvalidInput, Message, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import text_of
from seatweb.storage.ids import parse_id
from seatweb.web.map.contexts import BookingRow, MyBookingsPage
from seatweb.web.map.place import Place
from seatweb.web.map.responses import REFUSALS, MapResponses
from seatweb.web.notices import parse_act, parse_notice, undo_notice
from seatweb.web.rendering import Renderer
from seatweb.web.requests import PageRequest, read_form, read_id, signed_in, wants_partial
from seatweb.web.shell import Notice

PATH: Final = "/my/bookings"


class BookingList:
    """Creates the responses that show the list."""

    def __init__(self, bookings: Bookings, window: BookingWindow, renderer: Renderer) -> None:
        self._bookings = bookings
        self._window = window
        self._renderer = renderer

    async def show(
        self,
        request: PageRequest,
        *,
        kept: Sequence[int] = (),
        chosen: int | None = None,
        notice: Notice | None = None,
        status: int = 200,
        changed: bool = False,
    ) -> Response[str]:
        """Show the list as it is now: the whole page, or for htmx the part that it swaps.

        Bookings that were cancelled a moment ago stay in place, and so do those in `kept`: no row may move up under a
        pointer that is about to click.
        """
        user = signed_in(request).user
        cancelled = await self._bookings.just_cancelled(user, UNDO_SECONDS, [*kept])
        in_place = {found.booking.id for found in cancelled}
        rows = [_row(booking) for booking in await self._bookings.upcoming(user)]
        rows += [
            _row(
                found.booking,
                undo=Act("cancelled", found.booking.id, found.booking.seat.id),
                seconds_left=found.seconds_left,
            )
            for found in cancelled
        ]
        page = MyBookingsPage(
            today=self._window.today(),
            upcoming=sorted(rows, key=lambda row: row.booking.day),
            kept="-".join(str(found.booking.id) for found in cancelled),
            chosen=chosen,
            past=[_row(booking) for booking in await self._bookings.ended(user) if booking.id not in in_place],
        )
        template = "map/partials/my_bookings_result.html" if wants_partial(request) else "map/my_bookings.html"
        return self._renderer.page(request, template, page, status=status, notice=notice, changed=changed)

    async def done(
        self, request: PageRequest, notice: str, *, kept: Sequence[int], chosen: int | None = None
    ) -> Response[str]:
        """Show the new list with a notice, after the user has changed something."""
        if not wants_partial(request):
            return self._renderer.redirect(request, PATH, notice=notice, changed=True)
        return await self.show(request, kept=kept, chosen=chosen, notice=parse_notice(notice), changed=True)

    async def refuse(self, request: PageRequest, error: SeatwebError, text: str, kept: Sequence[int]) -> Response[str]:
        """Show the current list, and the reason for a refusal."""
        return await self.show(request, kept=kept, notice=Notice(kind="alert", text=text), status=error.status)


class _Origin(Struct, frozen=True):
    """Where the user pressed the button: on the map or in the list; this is also where the answer leads."""

    on_map: bool
    section: str | None
    kept: list[int]
    """The cancelled bookings that the list showed in place."""


class MyBookingsController(Controller):
    """Shows the list, and cancels bookings and undoes what was done with them, from the list or the map."""

    @get(PATH)
    async def show(self, request: PageRequest, booking_list: NamedDependency[BookingList]) -> Response[str]:
        """Show the user's bookings."""
        return await booking_list.show(request)

    @get([PATH + "/{booking_text:str}/cancel", PATH + "/{booking_text:str}/undo"])
    async def redirect_to_list(
        self, request: PageRequest, renderer: NamedDependency[Renderer], booking_text: FromPath[str]
    ) -> Response[str]:
        """Redirect to the list, for users who reload the URL that a refused form left in the address bar."""
        read_id(booking_text, BookingNotFound)
        return renderer.redirect(request, PATH)

    @post(PATH + "/{booking_text:str}/cancel", status_code=200)
    async def cancel(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        booking_list: NamedDependency[BookingList],
        window: NamedDependency[BookingWindow],
        booking_text: FromPath[str],
    ) -> Response[str]:
        """Cancel a booking; the form's field `back` says whether the map or the list follows."""
        session, booking_id = signed_in(request), read_id(booking_text, BookingNotFound)
        origin = await _origin(request, responses, window.today())
        try:
            booking = await bookings.cancel(session.user, booking_id, session.id)
        except (AlreadyCancelled, OutsideBookingWindow) as error:
            place = Place(await bookings.day_of(session.user, booking_id), origin.section)
            if isinstance(error, OutsideBookingWindow):
                if origin.on_map:
                    return await responses.refuse_at(request, place, error)
                return await booking_list.refuse(request, error, text_of(error), origin.kept)
            if origin.on_map:
                return await responses.done(request, place, "already_cancelled")
            return await booking_list.done(request, "already_cancelled", kept=origin.kept, chosen=booking_id)
        if origin.on_map:
            notice = undo_notice(Act("cancelled", booking.id, booking.seat.id), booking)
            return await responses.done(request, Place(booking.day, origin.section), notice)
        # Its row offers to undo it.
        notice = f"cancelled.{booking.seat.label}"
        return await booking_list.done(request, notice, kept=origin.kept, chosen=booking.id)

    @post(PATH + "/{booking_text:str}/undo", status_code=200)
    async def undo(
        self,
        request: PageRequest,
        responses: NamedDependency[MapResponses],
        bookings: NamedDependency[Bookings],
        booking_list: NamedDependency[BookingList],
        undo: NamedDependency[Undo],
        window: NamedDependency[BookingWindow],
        booking_text: FromPath[str],
    ) -> Response[str]:
        """Undo a booking, a move or a cancellation; the form says which, and what must still be true."""
        session, fields = signed_in(request), await read_form(request)
        booking_id = read_id(booking_text, BookingNotFound)
        origin = await _origin(request, responses, window.today())
        act = parse_act(fields.get("did", ""), str(booking_id), fields.get("seat", ""), fields.get("from"))
        if act is None:
            raise InvalidInput(reason="unreadable_form")
        day = await bookings.day_of(session.user, booking_id)
        place = Place(day, origin.section, act.seat_after_undo)
        try:
            booking = await undo.undo(session.user, act, session.id)
        except AlreadyUndone:
            if origin.on_map:
                return await responses.done(request, place, "already_undone")
            return await booking_list.done(request, "already_undone", kept=origin.kept)
        except (*REFUSALS, TooManyAttempts) as error:
            if origin.on_map:
                seat_id = None if isinstance(error, CannotUndo) else place.seat_id
                return await responses.refuse_at(request, Place(day, origin.section, seat_id), error)
            text = text_of(error)
            if isinstance(error, SeatTaken | SeatHeld | SeatClosed):
                text = text_of(Message("undo.stays_cancelled", {"why": text}))
            return await booking_list.refuse(request, error, text, origin.kept)
        notice = f"undone_{act.did}.{booking.seat.label}"
        if origin.on_map:
            return await responses.done(request, place, notice)
        return await booking_list.done(request, notice, kept=origin.kept, chosen=booking.id)


async def _origin(request: PageRequest, responses: MapResponses, today: date) -> _Origin:
    fields = await read_form(request)
    kept = [id_ for text in fields.get("kept", "").split("-") if (id_ := parse_id(text))]
    section = (await responses.place(request, today)).section
    return _Origin(on_map=fields.get("back") == "day", section=section, kept=kept)


def _row(booking: Booking, undo: Act | None = None, seconds_left: int = 0) -> BookingRow:
    href = Place(booking.day).href(seat_id=booking.seat.id)
    return BookingRow(booking=booking, href=href, undo=undo, seconds_left=seconds_left)
