"""Which part of the map a visitor looks at, and who the visitor is."""

from __future__ import annotations

from datetime import date

from msgspec import Struct


class Place(Struct, frozen=True):
    """A day, the section if one was requested, and the seat whose panel is open."""

    day: date
    section: str | None = None
    seat_id: int | None = None

    @property
    def query(self) -> str:
        """The query of this place's URLs: empty, or `?section=A`."""
        return f"?section={self.section}" if self.section else ""

    def href(self, *, day: date | None = None, seat_id: int | None = None) -> str:
        """Return the URL of a day (default: this one) or of one of its seats, with the same section."""
        return f"/days/{day or self.day}" + (f"/seats/{seat_id}" if seat_id else "") + self.query

    def calendar_href(self, month: date | None = None) -> str:
        """Return the URL of the calendar, at a month (default: that of the day), from which one can return to here."""
        section = f"&section={self.section}" if self.section else ""
        return f"/calendar/{(month or self.day).isoformat()[:7]}?day={self.day}{section}"


class Viewer(Struct, frozen=True):
    """Who looks at the map: a user, or a visitor (None); and whether they see who has which seat."""

    user_id: int | None
    names: bool
    past: bool = False
    """Whether the day is over for them."""
