"""What each page is given: one frozen struct a template, so that a template never asks for anything else.

Every template also gets the `Shell` as `shell`, the functions `static(path)` (address of a file with its fingerprint)
and `csrf_field()` (the hidden field of every form), and `origin` (the public address of the site, or nothing).
Days are dates in the site's time zone.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.booking.model import Booking, Seat, Status


class SeatBox(Struct, frozen=True):
    """One seat on the map, as this viewer sees it: the macro in `components/seat.html`."""

    id: int
    label: str
    number: str
    row: int
    column: int
    status: Status
    href: str
    initials: str | None
    """The sitter's, for signed-in viewers only."""
    accessible_name: str
    """Such as "Seat A-07, free"."""
    chosen: bool
    """Whether its panel is open."""


class SectionBox(Struct, frozen=True):
    """One section on the map: `map/partials/section.html`."""

    name: str
    columns: int
    generation: int
    seats: list[SeatBox]
    free_count: int


class DayLink(Struct, frozen=True):
    """One day of the week strip."""

    day: date
    href: str
    current: bool
    today: bool
    bookable: bool
    mine: str | None
    """The label of the viewer's own seat that day."""


class Panel(Struct, frozen=True):
    """What can be done with one seat: `map/partials/panel.html`; the element `#panel` is there, empty, without it."""

    seat: Seat
    day: date
    status: Status
    action: Literal["book", "move", "cancel", "sign_in", "none"]
    """`book` it, `move` here from `mine`, `cancel` it, `sign_in` first, or nothing can be done."""
    sitter: str | None
    """The name of who has it, for signed-in viewers only."""
    seconds_left: int | None
    """How long someone else may still be choosing it."""
    mine: Booking | None
    """The viewer's booking of the day."""
    nearest: Seat | None
    """The nearest free seat, offered when this one cannot be booked."""
    close_href: str
    """The day without the panel."""
    problem: str | None = None
    """Why the last try did not work."""


class Tally(Struct, frozen=True):
    """How many seats are free: `map/partials/tally.html` (element `#tally`)."""

    state: Literal["open", "past", "beyond"]
    free_count: int
    """Of the sections shown."""
    section: str | None
    last_day: date
    next_href: str | None


class HoldBox(Struct, frozen=True):
    """What the viewer holds: `map/partials/hold.html` (element `#hold`)."""

    day: date
    seat: Seat
    place_query: str
    """What the addresses of this place end with: nothing, or `?section=A`."""
    token: str | None
    """What ends or renews the hold; None where nothing is held (Redis is away), and booking works all the same."""
    seconds: int
    """Whole seconds that are left."""


class DayPage(Struct, frozen=True):
    """The map of a day: `map/day.html`, and `map/partials/day.html` (element `#day`) for swaps."""

    day: date
    today: date
    last_day: date
    """The last day that can be booked."""
    state: Literal["open", "past", "beyond"]
    """Whether the day can be booked, is over, or cannot be booked yet."""
    map: Markup
    """The sections shown, one after the other: all, or the one asked for."""
    tag: str
    """The state of the map, from where the live map goes on."""
    tally: Markup
    """How many seats are free, ready."""
    section: str | None
    """The section asked for."""
    section_names: list[str]
    week: list[DayLink]
    """Seven days, Monday first."""
    previous_href: str | None
    next_href: str | None
    """None where no day can be booked in that direction."""
    mine: Booking | None
    """The viewer's booking of the day."""
    panel: Panel | None


class BookingRow(Struct, frozen=True):
    """One line of "My bookings"."""

    booking: Booking
    href: str
    """The day on the map, with the seat's panel open."""


class MyBookingsPage(Struct, frozen=True):
    """`map/my_bookings.html`, and `map/partials/my_bookings.html` (element `#my_bookings`) for swaps."""

    today: date
    coming: list[BookingRow]
    """Soonest first; each can be cancelled or moved (a link to the map)."""
    past: list[BookingRow]
    """Over or cancelled, latest first, 50 at most."""
