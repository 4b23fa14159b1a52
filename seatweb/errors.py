"""The rules that can be broken: one small tree, each with a stable code, an HTTP status and words for a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import ClassVar


class SeatwebError(Exception):
    """Something went wrong that we know how to explain."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    message: ClassVar[str] = "Something went wrong."

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        self.text = message or self.message
        self.retry_after = retry_after  # seconds
        super().__init__(self.text)


class SeatTaken(SeatwebError):
    """Someone else has this seat on this day."""

    code = "seat_taken"
    status = 409
    message = "That seat was booked a moment ago."


class SeatHeld(SeatwebError):
    """Someone else is choosing this seat; it is theirs for `seconds` more, unless they let it go."""

    code = "seat_held"
    status = 409
    message = "Someone else is choosing that seat just now."

    def __init__(self, *, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(
            f"Someone else is choosing that seat just now; it is held for {seconds} more seconds.", retry_after=seconds
        )


class DayAlreadyBooked(SeatwebError):
    """The user has another seat on this day."""

    code = "day_already_booked"
    status = 409
    message = "You already have a seat on this day."


class SeatClosed(SeatwebError):
    """The seat cannot be booked by anyone."""

    code = "seat_closed"
    status = 409
    message = "This seat is closed."


class NoFreeSeat(SeatwebError):
    """Every seat asked for is taken or closed."""

    code = "no_free_seat"
    status = 409
    message = "No seat is free any more."


class SeatNotFound(SeatwebError):
    """There is no such seat."""

    code = "seat_not_found"
    status = 404
    message = "There is no such seat."


class SectionNotFound(SeatwebError):
    """There is no such section."""

    code = "section_not_found"
    status = 404
    message = "There is no such section."


class BookingNotFound(SeatwebError):
    """The user has no such confirmed booking; another's looks the same."""

    code = "booking_not_found"
    status = 404
    message = "You have no such booking."


class OutsideBookingWindow(SeatwebError):
    """The day is past, or too far ahead."""

    code = "outside_booking_window"
    status = 422
    message = "That day cannot be booked."


class InvalidInput(SeatwebError):
    """What was sent cannot be used; `fields` says why, by field name."""

    code = "invalid_input"
    status = 422
    message = "Some of what you sent cannot be used."

    def __init__(self, message: str | None = None, *, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class UsernameTaken(SeatwebError):
    """Someone has this username already, or one that looks the same."""

    code = "username_taken"
    status = 409
    message = "That username is taken."

    def __init__(self, *, looks_alike: bool = False) -> None:
        self.looks_alike = looks_alike
        super().__init__("That username looks the same as one that is taken." if looks_alike else None)


class BadCredentials(SeatwebError):
    """Username and password do not belong together, or the account is disabled."""

    code = "bad_credentials"
    status = 401
    message = "That username and password do not go together."


class SecondFactorNeeded(SeatwebError):
    """The password is right; the account also wants a code of its second factor."""

    code = "second_factor_needed"
    status = 401
    message = "This account has a second factor. Send a code of it as well."


class SecondFactorMissing(SeatwebError):
    """The site asks everyone for a second factor, which programs cannot add."""

    code = "second_factor_missing"
    status = 403
    message = "Everyone needs a second factor here. Sign in on the site's pages and add one first."


class BadCode(SeatwebError):
    """The code of the second factor is not right, too old, or was used before."""

    code = "bad_code"
    status = 401
    message = "That code is not right, or was used already. Wait for the next one, and try again."


class NotSignedIn(SeatwebError):
    """Only signed-in users may do this."""

    code = "not_signed_in"
    status = 401
    message = "Sign in to go on."


class NotAllowed(SeatwebError):
    """The user may not do this."""

    code = "not_allowed"
    status = 403
    message = "Only administrators of this site may do that."


class LastFactor(NotAllowed):
    """The site asks everyone for a second factor, and this is the user's last one."""

    message = "You need a second factor here. Add another one before you remove this."


class UserNotFound(SeatwebError):
    """There is no such account."""

    code = "user_not_found"
    status = 404
    message = "There is no such account."


class IdempotencyKeyReused(SeatwebError):
    """The key was sent before with another request."""

    code = "idempotency_key_reused"
    status = 422
    message = "This Idempotency-Key was sent before with another request."


class RequestInProgress(SeatwebError):
    """A request with the same key is being answered now."""

    code = "request_in_progress"
    status = 409
    message = "A request with this Idempotency-Key is being answered. Ask again in a moment."


class Forbidden(SeatwebError):
    """The request did not come from one of our own pages."""

    code = "forbidden"
    status = 403
    message = "This form was open for too long, or was not sent from our pages."


class TooManyAttempts(SeatwebError):
    """As many were made as may be in that time; the next can be made after the seconds in `Retry-After`."""

    code = "too_many_attempts"
    status = 429
    message = "Too many attempts."

    def __init__(self, message: str | None = None, *, retry_after: int, until: datetime | None = None) -> None:
        """`until` is when they are over, in the time zone of who reads it; it is told where there is no message."""
        told = f"{self.message} Try again {_spoken(retry_after, until)}." if until else None
        super().__init__(message or told, retry_after=retry_after)


class TooManyStreams(SeatwebError):
    """This user, or everyone together, watches the live map in as many places as this process can serve."""

    code = "too_many_streams"
    status = 429
    message = "The live map is open in too many places."

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class Overloaded(SeatwebError):
    """There is more to do than can be done in time; trying again soon will work."""

    code = "overloaded"
    status = 503
    message = "Too much is going on just now."

    def __init__(self, message: str | None = None, *, retry_after: int = 2) -> None:
        super().__init__(message, retry_after=retry_after)


def _spoken(seconds: int, until: datetime) -> str:
    """Return when that is, never sooner than it is: by the clock and in minutes or hours, if it is not a moment."""
    if seconds < 60:
        return f"in {seconds} second{'' if seconds == 1 else 's'}"
    day = "" if (until - timedelta(seconds=seconds)).date() == until.date() else " tomorrow"
    at = until + timedelta(seconds=(-until.second) % 60 if until.second else 60 * bool(until.microsecond))
    count, unit = (ceil(seconds / 60), "minute") if seconds < 2 * 3600 else (ceil(seconds / 3600), "hour")
    return f"at {at:%H:%M}{day}, in {count} {unit}{'' if count == 1 else 's'}"
