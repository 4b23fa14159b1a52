"""The rules that can be broken: one small tree, each with a stable code and an HTTP status.

None of them holds words for people: those are in `seatweb.i18n`, by the key of an error's message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar, TypeAlias

from msgspec import Struct

Parameter: TypeAlias = int | str | datetime
"""What stands in a text in the place of a name in braces."""


class Message(Struct, frozen=True):
    """Something to tell a person, in whatever language: which text it is, and what to fill in there."""

    key: str
    parameters: Mapping[str, Parameter] = {}


class SeatwebError(Exception):
    """Something went wrong that we know how to explain."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    reason: str = ""
    """Which of the texts of its code explains it; empty for the general one."""

    def __init__(self, *, reason: str = "", retry_after: int | None = None, **parameters: Parameter) -> None:
        self.reason = reason or self.reason
        self.retry_after = retry_after  # seconds
        # For logs: the parameters are left out, for they may be personal.
        super().__init__(f"{self.code}.{self.reason}" if self.reason else self.code)
        self.message = Message(str(self), parameters)


class InvalidInput(SeatwebError):
    """What was sent cannot be used; `fields` says why, by field name."""

    code = "invalid_input"
    status = 422

    def __init__(
        self, *, reason: str = "", fields: Mapping[str, Message] | None = None, **parameters: Parameter
    ) -> None:
        super().__init__(reason=reason, retry_after=None, **parameters)
        self.fields = fields or {}


class NotSignedIn(SeatwebError):
    """Only signed-in users may do this."""

    code = "not_signed_in"
    status = 401


class NotAllowed(SeatwebError):
    """The user may not do this."""

    code = "not_allowed"
    status = 403


class Forbidden(SeatwebError):
    """The request did not come from one of our own pages."""

    code = "forbidden"
    status = 403


class TooManyAttempts(SeatwebError):
    """As many were made as may be in that time; the next can be made after the seconds in `Retry-After`."""

    code = "too_many_attempts"
    status = 429

    def __init__(
        self, *, reason: str = "", retry_after: int, until: datetime | None = None, **parameters: Parameter
    ) -> None:
        """`until` is when they are over, in the time zone of who reads it; without a reason, the text tells it."""
        if until and not reason:
            reason, parameters = "until", {**parameters, "seconds": retry_after, "until": until}
        super().__init__(reason=reason, retry_after=retry_after, **parameters)


class Overloaded(SeatwebError):
    """There is more to do than can be done in time; trying again soon will work."""

    code = "overloaded"
    status = 503

    def __init__(self, *, reason: str = "", retry_after: int = 2) -> None:
        super().__init__(reason=reason, retry_after=retry_after)


Constraints: TypeAlias = Mapping[str, Callable[[], SeatwebError]]
"""The error that a violation of each constraint of the schema is, by the name of the constraint."""
