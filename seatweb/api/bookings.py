"""Book seats, and list, move and cancel bookings."""

from __future__ import annotations

import base64
from datetime import date
from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, FromPath, HeaderParameter, QueryParameter
from litestar.response import Response
from msgspec import UNSET

from seatweb.api.problems import REFUSED
from seatweb.api.requests import ApiRequest, idempotency_key, signed_in
from seatweb.api.schemas import BookingOut, Cancelled, Move, NewBooking
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import BookingNotFound
from seatweb.booking.model import Booking
from seatweb.booking.requests import BookingRequest, BookingRequests, IdempotentAnswer
from seatweb.booking.window import BookingWindow
from seatweb.errors import InvalidInput, Message
from seatweb.storage.ids import LARGEST_ID, parse_id

Status = Annotated[
    Literal["confirmed", "cancelled", "all"], QueryParameter(description="Only bookings with this status.")
]
FromDate = Annotated[date | None, QueryParameter(description="The first day. Defaults to today.")]
ToDate = Annotated[date | None, QueryParameter(description="The last day. Defaults to no limit.")]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="The maximum number of bookings to return.")]
Cursor = Annotated[str | None, QueryParameter(description="Where the page starts. Use the URL in the `Link` header.")]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Makes it safe to repeat the request. 1 to 255 printable ASCII characters without spaces, such as "
        "a UUID. See “Repeating requests” on `/docs`.",
    ),
]


class BookingController(Controller):
    """The user's own bookings."""

    path = "/bookings"
    tags = ["Bookings"]  # noqa: RUF012

    @post(
        "/",
        operation_id="createBooking",
        responses={201: ResponseSpec(BookingOut, description="The booking.", generate_examples=False), **REFUSED},
    )
    async def book(
        self,
        request: ApiRequest,
        data: Annotated[NewBooking, Body(description="The seat, or `any`, and the day.")],
        booking_requests: NamedDependency[BookingRequests],  # the only dependency: for several, Litestar starts tasks
        key: Key = None,  # noqa: ARG002 - declared for the OpenAPI document, but read from the request
    ) -> Response[bytes]:
        """Book a seat, or any free one, for a day."""
        session = signed_in(request)
        _check_seat_or_any(data)
        wanted = BookingRequest(data.booking_date, None if data.any else int(data.seat_id or 0), data.section)
        if (sent_key := idempotency_key(request)) is not None:
            encode = partial(_encode, 201)
            return _response(await booking_requests.book_once(session.user, wanted, session.id, sent_key, encode))
        booking = await booking_requests.book(session.user, wanted, session.id)
        return _response(IdempotentAnswer(*_encode(201, booking)))

    @get("/", operation_id="listBookings", responses=REFUSED)
    async def mine(
        self,
        request: ApiRequest,
        bookings: NamedDependency[Bookings],
        window: NamedDependency[BookingWindow],
        from_date: FromDate = None,
        to_date: ToDate = None,
        status: Status = "confirmed",
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[list[BookingOut]]:
        """Return a page of the user's bookings, ordered by day; the Link header has the URL of the next page."""
        session = signed_in(request)
        wanted_status = None if status == "all" else status
        first, last = from_date or window.today(), to_date or date.max
        found = await bookings.page(session.user, first, last, wanted_status, _decode_cursor(cursor), limit + 1)
        headers = {"cache-control": "private, no-store"}
        if len(found) > limit:
            parameters = {"from_date": str(first), "to_date": str(last), "status": status, "limit": str(limit)}
            query = urlencode({**parameters, "cursor": _encode_cursor(found[limit - 1])})
            headers["link"] = f'</bookings?{query}>; rel="next"'
        return Response([BookingOut.of(booking) for booking in found[:limit]], headers=headers)

    @patch(
        "/{booking_id:str}",
        operation_id="moveBooking",
        responses={200: ResponseSpec(BookingOut, description="The booking.", generate_examples=False), **REFUSED},
    )
    async def move(
        self,
        request: ApiRequest,
        booking_id: FromPath[str],
        data: Annotated[Move, Body(description="The seat to move to.")],
        bookings: NamedDependency[Bookings],
        booking_requests: NamedDependency[BookingRequests],
        key: Key = None,  # noqa: ARG002 - as in `book`
    ) -> Response[bytes]:
        """Move a booking to another seat on the same day."""
        session = signed_in(request)
        user, id_, seat_id = session.user, _id(booking_id), data.seat_id
        if (sent_key := idempotency_key(request)) is not None:
            encode = partial(_encode, 200)
            return _response(await booking_requests.move_once(user, id_, seat_id, session.id, sent_key, encode))
        booking = await bookings.move(user, id_, seat_id, session.id)
        return _response(IdempotentAnswer(*_encode(200, booking)))

    @delete("/{booking_id:str}", operation_id="cancelBooking", status_code=200, responses=REFUSED)
    async def cancel(
        self, request: ApiRequest, booking_id: FromPath[str], booking_requests: NamedDependency[BookingRequests]
    ) -> Cancelled:
        """Cancel a booking."""
        session = signed_in(request)
        booking = await booking_requests.cancel(session.user, _id(booking_id), session.id)
        return Cancelled(message="Booking cancelled successfully", booking=BookingOut.of(booking))


def _check_seat_or_any(data: NewBooking) -> None:
    """Refuse a request that has both `seat_id` and `any`, neither, or a section without `any`."""
    if data.any and data.seat_id is not UNSET:
        raise InvalidInput(fields={"seat_id": Message("field.seat_and_any")})
    if data.section is not None and not data.any:
        raise InvalidInput(fields={"section": Message("field.section_without_any")})
    if data.seat_id is UNSET and not data.any:
        raise InvalidInput(fields={"seat_id": Message("field.no_seat")})


def _encode(status: int, booking: Booking) -> tuple[int, str]:
    return status, msgspec.json.encode(BookingOut.of(booking)).decode()


def _response(answer: IdempotentAnswer) -> Response[bytes]:
    headers = {"cache-control": "no-store"} | ({"idempotency-replayed": "true"} if answer.replayed else {})
    return Response(answer.body.encode(), status_code=answer.status, media_type="application/json", headers=headers)


def _id(text: str) -> int:
    booking_id = parse_id(text)
    if booking_id is None:
        raise BookingNotFound
    return booking_id


def _encode_cursor(booking: Booking) -> str:
    return base64.urlsafe_b64encode(f"{booking.day}|{booking.id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str | None) -> tuple[date, int]:
    if cursor is None:
        return date.min, 0
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        day, _, booking_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").partition("|")
        after = date.fromisoformat(day), int(booking_id)
    except (ValueError, UnicodeError):
        raise InvalidInput(fields={"cursor": Message("field.bad_cursor")}) from None
    if not 0 <= after[1] <= LARGEST_ID:
        raise InvalidInput(fields={"cursor": Message("field.bad_cursor")})
    return after
