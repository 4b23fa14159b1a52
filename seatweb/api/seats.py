"""List the sections and seats of a day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal, TypeVar

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Response

from seatweb.accounts.model import User
from seatweb.api.problems import REFUSED
from seatweb.api.requests import ApiRequest, signed_in
from seatweb.api.schemas import SeatOut, SectionOut
from seatweb.booking.day_views import DayViews
from seatweb.booking.errors import SectionNotFound
from seatweb.booking.model import DayView, SectionView
from seatweb.booking.window import BookingWindow

T = TypeVar("T")

BookingDate = Annotated[date | None, QueryParameter(description="The day. Defaults to today.")]
SectionName = Annotated[str | None, QueryParameter(description="Only the seats of this section.")]
Status = Annotated[
    Literal["free", "all"], QueryParameter(description="`free` for the seats that you can book, `all` for every seat.")
]
NOT_MODIFIED = {304: ResponseSpec(None, description="Nothing has changed since the ETag in If-None-Match.")}


class SeatController(Controller):
    """Sections and seats; a request with a current ETag in If-None-Match is answered with 304."""

    tags = ["Seats"]  # noqa: RUF012

    @get("/seats", operation_id="listSeats", responses=NOT_MODIFIED | REFUSED)
    async def seats(
        self,
        request: ApiRequest,
        views: NamedDependency[DayViews],
        window: NamedDependency[BookingWindow],
        booking_date: BookingDate = None,
        section: SectionName = None,
        status: Status = "free",
    ) -> Response[list[SeatOut]]:
        """Return the free seats of a day, or all seats with `status=all`."""
        user = signed_in(request).user
        view = await views.bookable_day(booking_date or window.today())
        shown = view.shown(section)
        if not shown and section is not None:
            raise SectionNotFound
        all_seats = [SeatOut.of(seat, view.status_of(seat, user.id)) for part in shown for seat in part.seats]
        seats = [seat for seat in all_seats if status == "all" or seat.is_available]
        return _unless_unchanged(request, seats, view, shown, user)

    @get("/sections", operation_id="listSections", responses=NOT_MODIFIED | REFUSED)
    async def sections(
        self,
        request: ApiRequest,
        views: NamedDependency[DayViews],
        window: NamedDependency[BookingWindow],
        booking_date: BookingDate = None,
    ) -> Response[list[SectionOut]]:
        """Return the sections and how many free seats each has."""
        user = signed_in(request).user
        view = await views.bookable_day(booking_date or window.today())
        sections = [SectionOut.of(section, view.free_count(section, user.id)) for section in view.sections]
        return _unless_unchanged(request, sections, view, view.sections, user)


def _unless_unchanged(
    request: ApiRequest, content: list[T], view: DayView, shown: Iterable[SectionView], user: User
) -> Response[list[T]]:
    """Return the content, or 304 if the client already has it; the ETag covers the generations and others' holds."""
    held_by_others = {id_ for id_, hold in view.holds.items() if hold.user_id != user.id}
    state = [request.url.path, request.url.query, str(view.day)]
    for section in shown:
        held = [seat.seat.id for seat in section.seats if seat.seat.id in held_by_others]
        state.append(f"{section.section.name}:{section.generation}:{held}")
    tag = f'"{hashlib.sha256("|".join(state).encode()).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "Authorization"}
    known = [value.strip().removeprefix("W/") for value in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(None, status_code=304, headers=headers)  # type: ignore[arg-type]
    return Response(content, headers=headers)
