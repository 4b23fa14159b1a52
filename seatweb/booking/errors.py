"""The errors of booking, moving and holding seats. The OpenAPI document shows their docstrings to clients."""

from __future__ import annotations

from seatweb.errors import Constraints, NotSignedIn, SeatwebError


class SeatTaken(SeatwebError):
    """Someone else has booked this seat for this day."""

    code = "seat_taken"
    status = 409


class SeatHeld(SeatwebError):
    """Someone else has this seat on hold, for the seconds in `Retry-After` at most."""

    code = "seat_held"
    status = 409

    def __init__(self, *, seconds: int) -> None:
        super().__init__(reason="seconds_left", retry_after=seconds, seconds=seconds)


class DayAlreadyBooked(SeatwebError):
    """The user already has a seat on this day."""

    code = "day_already_booked"
    status = 409


class SeatClosed(SeatwebError):
    """The seat is closed: nobody can book it."""

    code = "seat_closed"
    status = 409


class NoFreeSeat(SeatwebError):
    """Every seat in the section, or on the whole site, is taken, on hold or closed."""

    code = "no_free_seat"
    status = 409


class SeatNotFound(SeatwebError):
    """There is no such seat."""

    code = "seat_not_found"
    status = 404


class SectionNotFound(SeatwebError):
    """There is no such section."""

    code = "section_not_found"
    status = 404


class BookingNotFound(SeatwebError):
    """The user has no confirmed booking with this id. Other users' bookings are not found either."""

    code = "booking_not_found"
    status = 404


class AlreadyCancelled(BookingNotFound):
    """The user has cancelled this booking before."""

    reason = "already_cancelled"


class CannotUndo(SeatwebError):
    """The booking has changed since the user did what they want to undo."""

    code = "cannot_undo"
    status = 409


class AlreadyUndone(CannotUndo):
    """It is undone."""

    reason = "already"


class OutsideBookingWindow(SeatwebError):
    """The day is in the past, or too far ahead."""

    code = "outside_booking_window"
    status = 422


class IdempotencyKeyReused(SeatwebError):
    """The user has sent this `Idempotency-Key` before, with a different request."""

    code = "idempotency_key_reused"
    status = 422


class RequestInProgress(SeatwebError):
    """A request with the same `Idempotency-Key` is still running."""

    code = "request_in_progress"
    status = 409


class TooManyStreams(SeatwebError):
    """The user has the live map open in too many places, or too many people do."""

    code = "too_many_streams"
    status = 429

    def __init__(self) -> None:
        super().__init__(retry_after=5)


CONSTRAINTS: Constraints = {
    "bookings_day_seat_key": SeatTaken,
    "bookings_user_day_key": DayAlreadyBooked,
    "bookings_user_counts": NotSignedIn,
}
"""The error that a violation of each constraint of the booking tables raises."""
