"""The base of the domain's errors: each error has a stable code and an HTTP status.

Errors contain no text for people: that is in `seatweb.i18n`, by the key of an error's message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar, TypeAlias

from msgspec import Struct

Parameter: TypeAlias = int | str | datetime
"""A value for a placeholder in a text."""


class Message(Struct, frozen=True):
    """A message in no particular language: the key of its text, and the values of its placeholders."""

    key: str
    parameters: Mapping[str, Parameter] = {}


class SeatwebError(Exception):
    """An error that Seatweb can explain to the user."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    reason: str = ""
    """Which of the code's texts explains it; empty for the general one."""

    def __init__(self, *, reason: str = "", retry_after: int | None = None, **parameters: Parameter) -> None:
        self.reason = reason or self.reason
        self.retry_after = retry_after  # seconds
        # For logs: without the parameters, which may be personal data.
        super().__init__(f"{self.code}.{self.reason}" if self.reason else self.code)
        self.message = Message(str(self), parameters)


class InvalidInput(SeatwebError):
    """The input is not valid; `fields` says why, by field name."""

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
    """The user, or the IP address, has reached a limit. Try again after the seconds in `Retry-After`."""

    code = "too_many_attempts"
    status = 429

    def __init__(
        self, *, reason: str = "", retry_after: int, until: datetime | None = None, **parameters: Parameter
    ) -> None:
        """`until` is when to try again, in the reader's time zone; without a reason, the text says so."""
        if until and not reason:
            reason, parameters = "until", {**parameters, "seconds": retry_after, "until": until}
        super().__init__(reason=reason, retry_after=retry_after, **parameters)


class Overloaded(SeatwebError):
    """The site is busy, or a server that it needs does not respond. Try again soon."""

    code = "overloaded"
    status = 503

    def __init__(self, *, reason: str = "", retry_after: int = 2) -> None:
        super().__init__(reason=reason, retry_after=retry_after)


Constraints: TypeAlias = Mapping[str, Callable[[], SeatwebError]]
"""The error to raise for a violation of each constraint of the schema, by the constraint's name."""
