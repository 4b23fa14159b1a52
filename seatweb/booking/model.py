"""Seats, sections, days and bookings: frozen values that depend on no framework or driver.

A `date` is a day in the site's time zone; a `datetime` is aware and in UTC.

Thousands of some of them are kept. These have `gc=False`: they refer to nothing that could refer back, so the garbage
collector need not look at them.
"""

from __future__ import annotations

import time
import unicodedata
import zlib
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from math import ceil
from typing import Final, TypeVar

from msgspec import Struct

T = TypeVar("T")

ACCENT: Final = 200  # from this combining class on, marks stand above or below their letter, as accents do


class Status(StrEnum):
    """The status of a seat on a day, as one viewer sees it."""

    FREE = "free"
    HELD = "held"
    TAKEN = "taken"
    MINE = "mine"
    CLOSED = "closed"


class Section(Struct, frozen=True, gc=False):
    """A named group of seats."""

    id: int
    name: str


class Seat(Struct, frozen=True, gc=False):
    """One place in a section; `row` and `column` (from 1) are its position on the map."""

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


class Sitter(Struct, frozen=True, gc=False):
    """The user who has a seat on a day, and their booking's id."""

    user_id: int
    username: str
    booking_id: int

    @property
    def initials(self) -> str:
        """At most two capital letters with their accents, for the map; without other marks, such as vowel signs."""
        words: list[list[str]] = [[]]
        for character in self.username:
            if character.isalnum():
                words[-1].append(character)
            elif unicodedata.category(character).startswith("M") or character in "\u200c\u200d":
                if words[-1] and unicodedata.combining(character) >= ACCENT:
                    words[-1][-1] += character
            elif words[-1]:
                words.append([])
        words = [word for word in words if word] or [[*self.username]]
        letters = [word[0] for word in words[:2]] if len(words) > 1 else words[0][:2]
        return "".join(letter.upper() if len(letter.upper()) == len(letter) else letter for letter in letters)


class Hold(Struct, frozen=True, gc=False):
    """A user's short reservation of a seat."""

    seat_id: int
    user_id: int
    began_at: int
    """In milliseconds of Redis's clock."""
    ends_at: float
    """In seconds of this process's monotonic clock."""

    @property
    def seconds_left(self) -> int:
        """The remaining seconds, rounded up."""
        return max(0, ceil(self.ends_at - time.monotonic()))


class SeatView(Struct, frozen=True, gc=False):
    """A seat on a day and the user who has it, the same for every viewer."""

    seat: Seat
    sitter: Sitter | None

    @property
    def free(self) -> bool:
        """Whether it can be booked."""
        return self.sitter is None and not self.seat.closed

    def status_for(self, user_id: int | None, hold: Hold | None = None) -> Status:
        """Return the status as this viewer sees it; a held seat is free to its holder."""
        if self.sitter is not None:
            return Status.MINE if self.sitter.user_id == user_id else Status.TAKEN
        if self.seat.closed:
            return Status.CLOSED
        return Status.FREE if hold is None or hold.user_id == user_id else Status.HELD


class SectionView(Struct, frozen=True, dict=True):
    """What a section looks like on a day, at a generation, the same for every viewer."""

    section: Section
    day: date
    generation: int
    seats: tuple[SeatView, ...]

    @cached_property
    def by_id(self) -> dict[int, SeatView]:
        """The seats by id."""
        return {view.seat.id: view for view in self.seats}

    @cached_property
    def seat_of(self) -> dict[int, int]:
        """The id of each user's booked seat, by user id."""
        return {view.sitter.user_id: view.seat.id for view in self.seats if view.sitter}

    @cached_property
    def free_count(self) -> int:
        """How many seats are neither taken nor closed."""
        return sum(view.free for view in self.seats)

    @cached_property
    def bookable_count(self) -> int:
        """How many seats are not closed."""
        return sum(not view.seat.closed for view in self.seats)


class FreeSeats(Struct, frozen=True, gc=False):
    """How many seats are free on a day, of how many that are not closed."""

    free: int
    bookable: int


class DayView(Struct, frozen=True, dict=True):
    """What a day looks like, the same for every viewer: its sections, and the holds by seat id."""

    day: date
    sections: tuple[SectionView, ...]
    holds: dict[int, Hold]

    @cached_property
    def tag(self) -> str:
        """The sections' generations and a short hash of the holds: `A:25,B:20,h:0`. It identifies this state."""
        parts = [f"{view.section.name}:{view.generation}" for view in self.sections]
        held = sorted((hold.seat_id, hold.began_at) for hold in self.holds.values())  # no user ids: the tag is public
        return ",".join([*parts, f"h:{zlib.crc32(repr(held).encode()):x}" if held else "h:0"])

    @cached_property
    def seats(self) -> dict[int, SeatView]:
        """The seats by id."""
        return _merged(section.by_id for section in self.sections)

    @cached_property
    def seat_of(self) -> dict[int, int]:
        """The id of each user's booked seat, by user id."""
        return _merged(section.seat_of for section in self.sections)

    def booking_of(self, user_id: int) -> OwnBooking | None:
        """Return the user's booking on this day."""
        seat_id = self.seat_of.get(user_id)
        if seat_id is None:
            return None
        seat = self.seats[seat_id]
        return OwnBooking(seat.sitter.booking_id, self.day, seat.seat) if seat.sitter else None

    @cached_property
    def held_by(self) -> dict[int, int]:
        """The id of each user's held seat, by user id."""
        return {hold.user_id: hold.seat_id for hold in self.holds.values()}

    def shown(self, name: str | None) -> tuple[SectionView, ...]:
        """Return the section with this name, if there is one; without a name, all sections."""
        return tuple(part for part in self.sections if name is None or part.section.name == name)

    def status_of(self, seat: SeatView, user_id: int | None) -> Status:
        """Return the status of a seat as this viewer sees it."""
        return seat.status_for(user_id, self.holds.get(seat.seat.id))

    def held_in(self, section: SectionView) -> list[int]:
        """Return the ids of the seats of a section that someone holds."""
        name = section.section.name
        return [id_ for id_ in self.holds if (seat := self.seats.get(id_)) and seat.seat.section == name]

    def free_count(self, section: SectionView, user_id: int | None) -> int:
        """Return how many seats of a section this viewer can book."""
        if not self.holds:
            return section.free_count
        held = [id_ for id_ in self.held_in(section) if self.holds[id_].user_id != user_id]
        return section.free_count - sum(self.seats[id_].free for id_ in held)

    def free_seats(self, section: str | None, user_id: int | None) -> FreeSeats:
        """Return how many seats this viewer can book in the section with this name, or in all."""
        holder = user_id if user_id in self.held_by else None  # everyone else sees the same
        found = self._free_seats.get((section, holder))
        if found is None:
            shown = self.shown(section)
            found = self._free_seats[section, holder] = FreeSeats(
                free=sum(self.free_count(part, holder) for part in shown),
                bookable=sum(part.bookable_count for part in shown),
            )
        return found

    @cached_property
    def _free_seats(self) -> dict[tuple[str | None, int | None], FreeSeats]:
        return {}

    def nearest_free(self, seat: Seat, user_id: int | None) -> Seat | None:
        """Return the nearest other seat that this viewer can book: in the same section, else in the nearest one."""
        names = [section.section.name for section in self.sections]
        home = names.index(seat.section) if seat.section in names else 0

        def distance(index: int, other: Seat) -> tuple[int, int, int, int]:
            if index != home:
                return (abs(index - home), 0, 0, other.id)
            rows = abs(other.row - seat.row)
            return (0, rows + abs(other.column - seat.column), rows, other.id)

        free = [
            (distance(index, other.seat), other.seat)
            for index, section in enumerate(self.sections)
            for other in section.seats
            if other.seat.id != seat.id and self.status_of(other, user_id) is Status.FREE
        ]
        return min(free, key=lambda pair: pair[0])[1] if free else None


def _merged(parts: Iterable[dict[int, T]]) -> dict[int, T]:
    merged: dict[int, T] = {}
    for part in parts:
        merged |= part
    return merged


class Week(Struct, frozen=True):
    """The views of the days of a week, as far as they are kept. While they stay as they are, so does `version`."""

    days: dict[date, DayView]
    version: int


class OwnBooking(Struct, frozen=True, gc=False):
    """The viewer's confirmed booking on a day, as the map shows it."""

    id: int
    day: date
    seat: Seat


class Booking(Struct, frozen=True):
    """A user has a seat for a day."""

    id: int
    day: date
    seat: Seat
    user_id: int
    status: str
    created_at: datetime
    moved_from: int | None = None
    """In the result of a move: the id of the seat that it was moved from."""


class CancelledBooking(Struct, frozen=True):
    """A booking that was cancelled a moment ago."""

    booking: Booking
    seconds_left: int
    """For how long the user is still offered to undo it."""
