"""Where on the map a visitor is, and who looks."""

from __future__ import annotations

from datetime import date

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where on the map a visitor is: the day, the section if one was asked for, the seat if one is chosen."""

    day: date
    section: str | None = None
    seat_id: int | None = None

    @property
    def query(self) -> str:
        """What the addresses of this place end with."""
        return f"?section={self.section}" if self.section else ""

    def href(self, *, day: date | None = None, seat_id: int | None = None) -> str:
        """Return the address of a day, or of one of its seats, with the section kept."""
        return f"/days/{day or self.day}" + (f"/seats/{seat_id}" if seat_id else "") + self.query


class Viewer(Struct, frozen=True):
    """Who looks: a user or nobody, and whether they see who sits where."""

    user_id: int | None
    names: bool
