"""The request and response bodies of the JSON API. Names and shapes match an API that clients already use."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from seatweb.accounts.model import User
from seatweb.booking.model import Booking, SeatView, SectionView, Status

SeatId = Annotated[int, Meta(description="The seat's `id`, from `GET /seats`.", examples=[1])]
Day = Annotated[date, Meta(description="A day in the site's time zone.", examples=["2026-11-23"])]
SectionName = Annotated[str, Meta(description="The section's name.", examples=["A"])]
SeatNumber = Annotated[str, Meta(description="The number on the seat, unique within its section.", examples=["07"])]
Moment = Annotated[datetime, Meta(description="A time in UTC.", examples=["2026-11-20T08:15:04.105721Z"])]
UserId = Annotated[int, Meta(description="The user's id.", examples=[7])]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """A username and a password."""

    username: Annotated[
        str, Meta(description="Up to 50 characters. Upper and lower case count as the same.", examples=["john"])
    ]
    password: Annotated[
        str, Meta(description="8 to 128 characters; a demo site accepts shorter passwords.", examples=["secret"])
    ]


class SignInCredentials(Credentials, frozen=True, forbid_unknown_fields=True):
    """A username, a password and, if the account uses two-step sign-in, a code."""

    code: Annotated[
        str | None,
        Meta(description="A code from the authenticator app, or a recovery code.", examples=["492039"]),
    ] = None


class Token(Struct, frozen=True):
    """The token that signing in returns; clients send it as `Authorization: Bearer …`."""

    access_token: Annotated[str, Meta(description="The token. Treat it as opaque: its format may change.")]
    token_type: Annotated[Literal["bearer"], Meta(description="How to send it: `Authorization: Bearer …`.")]
    expires_in: Annotated[int, Meta(description="The maximum lifetime of the token, in seconds.")]
    idle_expires_in: Annotated[int, Meta(description="The token ends earlier if it is not used for this many seconds.")]


class SiteOut(Struct, frozen=True):
    """The site, and the days that can be booked."""

    name: Annotated[str, Meta(description="The site's name.", examples=["Seatweb"])]
    time_zone: Annotated[str, Meta(description="The site's time zone (IANA).", examples=["Europe/Berlin"])]
    today: Annotated[date, Meta(description="Today at the site: the first day that can be booked.")]
    last_day: Annotated[date, Meta(description="The last day that can be booked, 90 days ahead.")]


class UserOut(Struct, frozen=True):
    """The signed-in user."""

    id: UserId
    username: Annotated[
        str, Meta(description="The username, as the user wrote it when they registered.", examples=["john"])
    ]
    created_at: Moment

    @classmethod
    def of(cls, user: User) -> UserOut:
        """Return the API's representation of a user."""
        return cls(id=user.id, username=user.username, created_at=user.created_at)


class SectionOut(Struct, frozen=True):
    """A section on a day."""

    section: SectionName
    seats: Annotated[int, Meta(description="How many seats the section has.")]
    available: Annotated[int, Meta(description="How many of them you can book.")]

    @classmethod
    def of(cls, view: SectionView, available: int) -> SectionOut:
        """Return the API's representation of a section."""
        return cls(section=view.section.name, seats=len(view.seats), available=available)


class SeatOut(Struct, frozen=True):
    """A seat on a day."""

    id: SeatId
    section: SectionName
    seat_number: SeatNumber
    is_available: Annotated[
        bool,
        Meta(description="Whether you can book it: it is neither taken, nor closed, nor on hold for someone else."),
    ]

    @classmethod
    def of(cls, view: SeatView, status: Status) -> SeatOut:
        """Return the API's representation of a seat."""
        seat = view.seat
        return cls(id=seat.id, section=seat.section, seat_number=seat.number, is_available=status is Status.FREE)


class SeatDetails(Struct, frozen=True):
    """Where a booked seat is."""

    section: SectionName
    seat_number: SeatNumber


class BookingOut(Struct, frozen=True):
    """A booking."""

    id: Annotated[
        int, Meta(description="The booking's id. It stays the same when the booking is moved.", examples=[4211])
    ]
    seat_id: SeatId
    user_id: UserId
    booking_date: Day
    created_at: Moment
    status: Annotated[Literal["confirmed", "cancelled"], Meta(description="`cancelled` once it has been cancelled.")]
    seat_details: Annotated[SeatDetails, Meta(description="Where the seat is.")]

    @classmethod
    def of(cls, booking: Booking) -> BookingOut:
        """Return the API's representation of a booking."""
        return cls(
            id=booking.id,
            seat_id=booking.seat.id,
            user_id=booking.user_id,
            booking_date=booking.day,
            created_at=booking.created_at,
            status="confirmed" if booking.status == "confirmed" else "cancelled",
            seat_details=SeatDetails(section=booking.seat.section, seat_number=booking.seat.number),
        )


class NewBooking(Struct, frozen=True, forbid_unknown_fields=True):
    """The seat to book, or `any` to let the database choose one."""

    seat_id: SeatId | UnsetType = UNSET
    any: Annotated[bool, Meta(description="`true` to book any free seat, instead of `seat_id`.")] = False
    section: Annotated[
        str | None,
        Meta(description="With `any`: only a seat in this section. Defaults to any section.", examples=["A"]),
    ] = None
    booking_date: Annotated[
        date | None,
        Meta(description="The day, from today to 90 days ahead. Defaults to today.", examples=["2026-11-23"]),
    ] = None


class Move(Struct, frozen=True, forbid_unknown_fields=True):
    """The seat to move to."""

    seat_id: SeatId


class Cancelled(Struct, frozen=True):
    """The response to a cancellation."""

    message: Annotated[str, Meta(description="A message for people.", examples=["Booking cancelled successfully"])]
    booking: Annotated[BookingOut, Meta(description="The booking, as it is now.")]


class FieldError(Struct, frozen=True):
    """What is wrong with one field."""

    field: Annotated[
        str,
        Meta(
            description="The name of the field or parameter; `body` if it is the whole body.", examples=["booking_date"]
        ),
    ]
    message: Annotated[str, Meta(description="What is wrong with it.")]


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why a request was refused (RFC 9457); `code` is stable, `title` and `detail` are for people."""

    type: Annotated[
        str,
        Meta(description="Where the problem is explained, relative to the site's URL.", examples=["/docs#seat_taken"]),
    ]
    title: Annotated[str, Meta(description="The name of the status.", examples=["Conflict"])]
    status: Annotated[int, Meta(description="The status of the response.", examples=[409])]
    detail: Annotated[str, Meta(description="What went wrong, for people. The wording may change.")]
    code: Annotated[
        str,
        Meta(
            description="What went wrong, for programs. The meaning of a code never changes; new codes may be added.",
            examples=["seat_taken"],
        ),
    ]
    request_id: Annotated[str, Meta(description="Identifies this request in the site's log.")]
    errors: Annotated[
        list[FieldError] | UnsetType, Meta(description="With `invalid_input`: what is wrong with each field.")
    ] = UNSET
