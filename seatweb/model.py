"""What Seatweb speaks of: frozen values without framework or driver.

A `date` is a day in the site's time zone; a `datetime` is aware and in UTC.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct


class Status(StrEnum):
    """A seat on a day, as one viewer sees it."""

    FREE = "free"
    HELD = "held"
    TAKEN = "taken"
    MINE = "mine"
    CLOSED = "closed"


class Section(Struct, frozen=True):
    """A named group of seats."""

    id: int
    name: str


class Seat(Struct, frozen=True):
    """One place in a section; `row` and `column` (from 1) say where it stands on the map."""

    id: int
    section: str
    number: str
    row: int
    column: int
    closed: bool

    @property
    def label(self) -> str:
        """The seat as people call it: `A-07`."""
        return f"{self.section}-{self.number}"


class Sitter(Struct, frozen=True):
    """Who has a seat on a day."""

    user_id: int
    username: str

    @property
    def initials(self) -> str:
        """Two capital letters at most, for the map."""
        words: list[str] = re.findall(r"[^\W_]+", self.username)
        letters = words[0][0] + words[1][0] if len(words) > 1 else (words or [self.username])[0]
        return letters[:2].upper()[:2]


class SeatView(Struct, frozen=True):
    """A seat on a day and who has it, the same for every viewer."""

    seat: Seat
    sitter: Sitter | None

    @property
    def free(self) -> bool:
        """Whether it can be booked."""
        return self.sitter is None and not self.seat.closed

    def status_for(self, user_id: int | None) -> Status:
        """Return the status as this viewer sees it."""
        if self.sitter is not None:
            return Status.MINE if self.sitter.user_id == user_id else Status.TAKEN
        return Status.CLOSED if self.seat.closed else Status.FREE


class SectionView(Struct, frozen=True):
    """What a section looks like on a day, at a generation, the same for every viewer."""

    section: Section
    day: date
    generation: int
    seats: tuple[SeatView, ...]

    @property
    def free_count(self) -> int:
        """How many seats can be booked."""
        return sum(view.free for view in self.seats)


class Booking(Struct, frozen=True):
    """A user has a seat for a day."""

    id: int
    day: date
    seat: Seat
    user_id: int
    status: str
    created_at: datetime


class User(Struct, frozen=True):
    """A person with an account."""

    id: int
    username: str
    created_at: datetime


class Session(Struct, frozen=True):
    """One sign-in of a user on one device."""

    id: UUID
    user: User
    expires_at: datetime
