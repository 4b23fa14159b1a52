"""Sections and seats on a day."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated, Literal, TypeVar

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Response

from seatweb.api.problems import refusals
from seatweb.api.requests import ApiRequest, signed_in
from seatweb.api.schemas import SeatOut, SectionOut
from seatweb.bookings import Bookings
from seatweb.model import SectionView

T = TypeVar("T")

BookingDate = Annotated[date | None, QueryParameter(description="The day; today if left out.")]
SectionName = Annotated[str | None, QueryParameter(description="One section only.")]
Status = Annotated[
    Literal["free", "all"], QueryParameter(description="`free`: only seats that can be booked; `all`: every seat.")
]
NOT_MODIFIED = {304: ResponseSpec(None, description="Nothing changed since the ETag in If-None-Match.")}


class SeatController(Controller):
    """What there is to book. Every answer has an ETag: send it as If-None-Match to ask for changes only."""

    tags = ["Seats"]  # noqa: RUF012

    @get("/seats", operation_id="list_seats", responses={**NOT_MODIFIED, **refusals(401, 404, 422, 503)})
    async def seats(
        self,
        request: ApiRequest,
        bookings: NamedDependency[Bookings],
        booking_date: BookingDate = None,
        section: SectionName = None,
        status: Status = "free",
    ) -> Response[list[SeatOut]]:
        """List the free seats of a day, or all with `status=all`."""
        await signed_in(request)
        views = await bookings.section_views(booking_date or bookings.today(), section)
        seats = [SeatOut.of(seat) for view in views for seat in view.seats if status == "all" or seat.free]
        return _unless_known(request, seats, views, status)

    @get("/sections", operation_id="list_sections", responses={**NOT_MODIFIED, **refusals(401, 422, 503)})
    async def sections(
        self, request: ApiRequest, bookings: NamedDependency[Bookings], booking_date: BookingDate = None
    ) -> Response[list[SectionOut]]:
        """List the sections and how many seats each has left."""
        await signed_in(request)
        views = await bookings.section_views(booking_date or bookings.today())
        return _unless_known(request, [SectionOut.of(view) for view in views], views, "sections")


def _unless_known(request: ApiRequest, content: list[T], views: list[SectionView], kind: str) -> Response[list[T]]:
    """Return the content, or 304 when the client has it: the generations say whether anything changed."""
    state = [kind, *(f"{view.section.name}:{view.day}:{view.generation}" for view in views)]
    tag = f'"{hashlib.sha256("|".join(state).encode()).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "Authorization"}
    known = [value.strip().removeprefix("W/") for value in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(None, status_code=304, headers=headers)  # type: ignore[arg-type]
    return Response(content, headers=headers)
