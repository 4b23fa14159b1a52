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

from seatweb.api.problems import PROBLEM_JSON, REFUSED, problem
from seatweb.api.requests import ApiRequest, fingerprint, idempotency_key, signed_in
from seatweb.api.schemas import BookingOut, Cancelled, Move, NewBooking
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import BookingNotFound
from seatweb.booking.model import Booking
from seatweb.booking.requests import BookingRequest, BookingRequests
from seatweb.booking.window import BookingWindow
from seatweb.errors import InvalidInput, Message, SeatwebError
from seatweb.i18n.catalogue import text_of
from seatweb.storage.ids import LARGEST_ID, parse_id

Status = Annotated[
    Literal["confirmed", "cancelled", "all"], QueryParameter(description="Only bookings with this status.")
]
FromDate = Annotated[date | None, QueryParameter(description="The first day; today if left out.")]
ToDate = Annotated[date | None, QueryParameter(description="The last day.")]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, QueryParameter(description="Where to go on: from the Link header of the page before.")]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Makes it safe to ask again when no answer arrived: the first answer is given again "
        "(with `Idempotency-Replayed: true`), and nothing is done twice.",
    ),
]


class BookingController(Controller):
    """The user's own bookings."""

    path = "/bookings"
    tags = ["Bookings"]  # noqa: RUF012

    @post(
        "/",
        operation_id="book",
        responses={201: ResponseSpec(BookingOut, description="The booking.", generate_examples=False), **REFUSED},
    )
    async def book(
        self,
        request: ApiRequest,
        data: Annotated[NewBooking, Body(description="The seat, or `any`; and the day.")],
        booking_requests: NamedDependency[BookingRequests],  # the only dependency: for several, Litestar starts tasks
        key: Key = None,  # noqa: ARG002 - declared for the OpenAPI document, but read from the request
    ) -> Response[bytes]:
        """Book a seat, or any free one, for a day."""
        session = signed_in(request)
        _check_seat_or_any(data)
        wanted = BookingRequest(data.booking_date, None if data.any else int(data.seat_id or 0), data.section)
        if (sent_key := idempotency_key(request)) is not None:
            encode = partial(_status_and_body, request.scope["state"]["request_id"])
            once = await booking_requests.book_once(
                session.user, wanted, session.id, sent_key, await fingerprint(request), encode
            )
            return _response(once.answer.status, once.answer.body, replayed=once.replayed, refusal=once.refusal)
        booking = await booking_requests.book(session.user, wanted, session.id)
        return _response(201, _encode_booking(booking))

    @get("/", operation_id="list_bookings", responses=REFUSED)
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

    @patch("/{booking_id:str}", operation_id="move", responses=REFUSED)
    async def move(
        self,
        request: ApiRequest,
        booking_id: FromPath[str],
        data: Annotated[Move, Body(description="The seat to move to.")],
        bookings: NamedDependency[Bookings],
    ) -> BookingOut:
        """Move a booking to another seat on the same day."""
        session = signed_in(request)
        return BookingOut.of(await bookings.move(session.user, _id(booking_id), data.seat_id, session.id))

    @delete("/{booking_id:str}", operation_id="cancel", status_code=200, responses=REFUSED)
    async def cancel(
        self, request: ApiRequest, booking_id: FromPath[str], bookings: NamedDependency[Bookings]
    ) -> Cancelled:
        """Cancel a booking."""
        session = signed_in(request)
        booking = await bookings.cancel(session.user, _id(booking_id), session.id)
        return Cancelled(message="Booking cancelled successfully", booking=BookingOut.of(booking))


def _check_seat_or_any(data: NewBooking) -> None:
    """Refuse a request that has both `seat_id` and `any`, neither, or a section without `any`."""
    if data.any and data.seat_id is not UNSET:
        raise InvalidInput(fields={"seat_id": Message("field.seat_and_any")})
    if data.section is not None and not data.any:
        raise InvalidInput(fields={"section": Message("field.section_without_any")})
    if data.seat_id is UNSET and not data.any:
        raise InvalidInput(fields={"seat_id": Message("field.no_seat")})


def _status_and_body(request_id: str, outcome: Booking | SeatwebError) -> tuple[int, str]:
    if isinstance(outcome, Booking):
        return 201, _encode_booking(outcome)
    return outcome.status, problem(outcome.status, outcome.code, text_of(outcome), request_id).decode()


def _encode_booking(booking: Booking) -> str:
    return msgspec.json.encode(BookingOut.of(booking)).decode()


def _response(
    status: int, body: str, *, replayed: bool = False, refusal: SeatwebError | None = None
) -> Response[bytes]:
    headers = {"cache-control": "no-store"} | ({"idempotency-replayed": "true"} if replayed else {})
    if refusal and refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    media_type = "application/json" if status < 400 else PROBLEM_JSON
    return Response(body.encode(), status_code=status, media_type=media_type, headers=headers)


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
