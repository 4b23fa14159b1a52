"""Responses that show the map: as it is, after a change, or with the reason for a refusal."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date
from typing import Final

from litestar.response import Response
from msgspec.structs import replace

from seatweb.booking.day_views import DayViews
from seatweb.booking.errors import (
    BookingNotFound,
    CannotUndo,
    DayAlreadyBooked,
    NoFreeSeat,
    OutsideBookingWindow,
    SeatClosed,
    SeatHeld,
    SeatTaken,
    SectionNotFound,
)
from seatweb.booking.hold_store import GrantedHold
from seatweb.booking.model import Booking, OwnBooking, Status
from seatweb.booking.undo import Act, Did, Undo
from seatweb.errors import Message, SeatwebError, TooManyAttempts
from seatweb.i18n.catalogue import text_of
from seatweb.web.map.contexts import DayPage, HoldBox, Panel
from seatweb.web.map.day_page import MapReader, day_page
from seatweb.web.map.frames import DayPages
from seatweb.web.map.place import Place
from seatweb.web.map.sections import Sections
from seatweb.web.map.week_strip import WeekStrip
from seatweb.web.notices import parse_notice, undo_notice
from seatweb.web.pieces import plain
from seatweb.web.rendering import Renderer
from seatweb.web.requests import (
    PageRequest,
    changed_recently,
    path_of,
    query_value,
    session_of,
    signed_in,
    wants_partial,
)
from seatweb.web.shell import Notice

# Refusals that are answered with the current map: it says more than an error page.
REFUSALS: Final = (
    SeatTaken,
    SeatHeld,
    SeatClosed,
    DayAlreadyBooked,
    NoFreeSeat,
    BookingNotFound,
    CannotUndo,
    OutsideBookingWindow,
)


class MapResponses:
    """Creates the responses to requests about the map."""

    def __init__(
        self,
        views: DayViews,
        reader: MapReader,
        renderer: Renderer,
        sections: Sections,
        week_strip: WeekStrip,
        day_pages: DayPages,
        undo: Undo,
    ) -> None:
        self._views = views
        self._reader = reader
        self._renderer = renderer
        self._sections = sections
        self._week_strip = week_strip
        self._day_pages = day_pages
        self._undo = undo

    async def place(
        self,
        request: PageRequest,
        day: date,
        seat_id: int | None = None,
        section: str | None = None,
    ) -> Place:
        """Return a place whose section exists: the one passed, else the one in the URL's query, else none.

        Raises:
            SectionNotFound: there is no such section.
        """
        section = section or query_value(request, "section")
        if section is not None and not (await self._views.day(day)).shown(section):
            raise SectionNotFound
        return Place(day, section, seat_id)

    async def show(
        self,
        request: PageRequest,
        place: Place,
        *,
        partial: str = "map/partials/day_result.html",
        notice: Notice | None = None,
        headers: dict[str, str] | None = None,
        changed: bool = False,
    ) -> Response[str]:
        """Show the map as it is now: the whole page, or for htmx the `partial`."""
        visible = await self._reader.read(session_of(request), place, fresh=changed_recently(request))
        whole = not wants_partial(request)
        has_notice = bool(notice or self._renderer.pending_notice(request))
        path = path_of(request)
        cacheable = place.seat_id is None and visible.state == "open" and not has_notice and path in {"/", place.href()}
        if whole and cacheable:
            return self._renderer.respond(
                request, lambda secret: plain(self._day_pages.render(visible, path, secret, request.scope)).decode()
            )
        return self._renderer.page(
            request,
            "map/day.html" if whole else partial,
            day_page(self._sections, self._week_strip, visible),
            status=OutsideBookingWindow.status if visible.state == "beyond" else 200,
            notice=notice,
            headers=headers,
            changed=changed,
        )

    async def show_result(
        self, request: PageRequest, place: Place, action: Awaitable[Booking], did: Did
    ) -> Response[str]:
        """Await a booking or move, and show the new map with a notice, or the current map with the refusal."""
        booked: Booking | OwnBooking
        act = None
        try:
            booked = await action
            if did == "booked" or booked.moved_from:
                act = Act(did, booked.id, booked.seat.id, booked.moved_from)
        except (*REFUSALS, TooManyAttempts) as error:
            page = await self._page(request, place, problem=text_of(error))
            if page.mine is None or page.mine.seat.id != place.seat_id or page.state != "open":
                return self.refuse(request, page, error)
            booked = page.mine
        # They had the seat before. A moment before, after a double click: then that can still be undone.
        act = act or await self._undo.just_done(signed_in(request).user, booked.id)
        notice = undo_notice(act, booked) if act else f"already_yours.{booked.seat.label}"
        return await self.done(request, Place(place.day, place.section, booked.seat.id), notice)

    async def done(self, request: PageRequest, place: Place, notice: str) -> Response[str]:
        """Show the new map with a notice, after the user has changed something."""
        href = place.href(seat_id=place.seat_id)
        if not wants_partial(request):
            return self._renderer.redirect(request, href, notice=notice, changed=True)
        headers = {"hx-push-url": href}
        return await self.show(request, place, notice=parse_notice(notice), headers=headers, changed=True)

    async def hold(self, request: PageRequest, place: Place, action: Awaitable[GrantedHold | None]) -> Response[str]:
        """Await a hold, and show how long it lasts, or the current map with the refusal."""
        try:
            granted = await action
        except REFUSALS as error:
            return await self.refuse_at(request, place, error)
        if not wants_partial(request):
            return self._renderer.redirect(request, place.href(seat_id=place.seat_id))
        box = HoldBox(
            day=place.day,
            seat=(await self._views.day(place.day)).seats[place.seat_id or 0].seat,
            place_query=place.query,
            token=granted.token if granted else None,
            seconds=granted.seconds if granted else 0,
        )
        return self._renderer.page(request, "map/partials/hold.html", box)

    async def released(self, request: PageRequest, place: Place, seat_id: int) -> Response[str]:
        """Show the map without a panel, and a notice that the seat is released."""
        entry = (await self._views.day(place.day)).seats.get(seat_id)
        notice = f"released.{entry.seat.label}" if entry else None
        if not wants_partial(request):
            return self._renderer.redirect(request, place.href(), notice=notice)
        headers = {"hx-push-url": place.href()}
        return await self.show(request, place, notice=parse_notice(notice) if notice else None, headers=headers)

    def refuse(self, request: PageRequest, page: DayPage, error: SeatwebError) -> Response[str]:
        """Show the current map, the reason for a refusal, and the nearest free seat."""
        text = text_of(error)
        if isinstance(error, SeatTaken | SeatHeld) and page.panel:
            text = _lost_race(page.panel, error)
            page = replace(page, panel=replace(page.panel, problem=text))
        template = "map/partials/day_result.html" if wants_partial(request) else "map/day.html"
        headers = {"hx-retarget": "#day", "hx-reswap": "outerMorph"}  # whatever the form swaps
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        notice = Notice(kind="alert", text=text)
        return self._renderer.page(request, template, page, status=error.status, notice=notice, headers=headers)

    async def refuse_at(self, request: PageRequest, place: Place, error: SeatwebError) -> Response[str]:
        """Show the current map of a place, and the reason for a refusal."""
        return self.refuse(request, await self._page(request, place, problem=text_of(error)), error)

    async def _page(self, request: PageRequest, place: Place, *, problem: str | None = None) -> DayPage:
        """Return the page from a fresh view of the day."""
        visible = await self._reader.read(session_of(request), place, fresh=True)
        return day_page(self._sections, self._week_strip, visible, problem=problem)


def _lost_race(panel: Panel, error: SeatTaken | SeatHeld) -> str:
    """Return a text that says that someone else was faster, and which seat is free instead."""
    seat = panel.seat.label
    why = Message("lost_race.taken" if isinstance(error, SeatTaken) else "lost_race.held", {"seat": seat})
    if panel.status is Status.FREE:
        offer = Message("lost_race.free_again")
    elif panel.mine:
        offer = Message("lost_race.still_yours", {"seat": panel.mine.seat.label})
    elif panel.nearest:
        offer = Message("lost_race.nearest", {"seat": panel.nearest.label})
    else:
        offer = Message("lost_race.none_free")
    return f"{text_of(why)} {text_of(offer)}"
