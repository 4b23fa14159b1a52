"""The rules that can be broken: one small tree, each with a stable code, an HTTP status and words for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import ClassVar, TypeAlias


class SeatwebError(Exception):
    """Something went wrong that we know how to explain."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    message: ClassVar[str] = "Something went wrong."

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        self.text = message or self.message
        self.retry_after = retry_after  # seconds
        super().__init__(self.text)


class InvalidInput(SeatwebError):
    """What was sent cannot be used; `fields` says why, by field name."""

    code = "invalid_input"
    status = 422
    message = "Some of what you sent cannot be used."

    def __init__(self, message: str | None = None, *, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


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


Constraints: TypeAlias = Mapping[str, Callable[[], SeatwebError]]
"""The error that a violation of each constraint of the schema is, by the name of the constraint."""
