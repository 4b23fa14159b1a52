"""What a visitor wanted to book when they were asked to sign in, read from the path that they continue to."""

from __future__ import annotations

import re
from datetime import date
from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from seatweb.accounts.model import User
from seatweb.booking.day_views import DayViews
from seatweb.booking.model import Status
from seatweb.booking.window import BookingWindow
from seatweb.storage.ids import parse_id
from seatweb.web.map.place import Place
from seatweb.web.requests import PageNotFound, read_day

PATH: Final = re.compile(r"/days/([^/]+)/(?:any|seats/([^/]+))")
SECTION: Final = re.compile(r"section=([A-Z0-9]+)")


class Intent(Struct, frozen=True):
    """What a visitor wants to book on a day: a seat, or any free one."""

    day: date
    seat: str | None
    """The seat's label, such as `A-07`; None for any free seat."""
    section: str | None
    """The section that any free seat must be in, if the visitor chose one."""


class Intents:
    """Finds out what visitors want to book, and whether they still can once they are signed in."""

    def __init__(self, views: DayViews, window: BookingWindow) -> None:
        self._views = views
        self._window = window

    async def find(self, path: str) -> Intent | None:
        """Return what a visitor wants to book who continues to this path after signing in; None if it is nothing."""
        place = self._place(path)
        if place is None:
            return None
        view = await self._views.day(place.day)
        if place.seat_id is None:
            return Intent(place.day, None, place.section) if view.shown(place.section) else None
        seat = view.seats.get(place.seat_id)
        if seat is None or view.status_of(seat, None) is not Status.FREE:
            return None
        return Intent(place.day, seat.seat.label, None)

    async def notice(self, path: str, user: User, greeting: Literal["signed_in", "welcome"]) -> str:
        """Return the notice for a user who has just signed in; it says whether the seat that they chose is free."""
        place = self._place(path)
        if place is None or place.seat_id is None:
            return greeting
        view = await self._views.day(place.day, fresh=True)
        seat = view.seats.get(place.seat_id)
        if seat is None or user.id in view.seat_of:  # they already have a seat on that day
            return greeting
        free = view.status_of(seat, user.id) is Status.FREE
        return f"{greeting}_{'book' if free else 'late'}.{seat.seat.label}"

    def _place(self, path: str) -> Place | None:
        """Return the place of a path that leads to a seat, or to any free one, on a day that can be booked."""
        parts = urlsplit(path)
        match = PATH.fullmatch(parts.path)
        try:
            day = read_day(match[1] if match else "")
        except PageNotFound:
            return None
        seat_id = parse_id(match[2]) if match and match[2] else None
        if match is None or not self._window.includes(day) or (match[2] and seat_id is None):
            return None
        section = SECTION.fullmatch(parts.query)
        return Place(day, section[1] if section else None, seat_id)
