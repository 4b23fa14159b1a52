"""The context of each map template: one frozen struct with all that it shows, so that templates fetch nothing.

Every template also gets the `Shell` as `shell`, the functions `static(path)` (URL of a file with its fingerprint),
`integrity(path)` (its hash) and `csrf_field()` (the hidden field of every form), and `origin` (the site's public URL,
or an empty string). Days are dates in the site's time zone.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.booking.model import Booking, FreeSeats, OwnBooking, Seat, Status
from seatweb.booking.undo import Act


class SeatBox(Struct, frozen=True, gc=False):
    """One seat on the map, as this viewer sees it: the macro `seat` in `components/seat.html`."""

    id: int
    label: str
    number: str
    row: int
    column: int
    status: Status
    href: str
    initials: str | None
    """The sitter's; None where names are not shown."""
    sitter: str | None
    """The username of someone else who has booked it; None where names are not shown."""
    accessible_name: str
    """Such as "Seat A-07, free", or "Seat A-07, taken by ada"."""
    chosen: bool
    """Whether its panel is open."""


class SectionBox(Struct, frozen=True):
    """One section on the map: `map/partials/section.html`."""

    name: str
    columns: int
    generation: int
    seats: list[SeatBox]
    free_count: int


class DayLink(Struct, frozen=True, gc=False):
    """One day of the week strip: the macro `weekday` in `components/week.html`."""

    day: date
    href: str
    current: bool
    today: bool
    state: Literal["open", "past", "beyond"]
    opens: date | None
    """The first day on which a day too far ahead can be booked."""
    mine: str | None
    """The label of the seat that the viewer has booked that day."""
    free: FreeSeats | None
    """None if it cannot be booked."""


class Ticket(Struct, frozen=True):
    """The viewer's seat on the day that is shown: the macro `ticket` in `components/week.html`."""

    seat_id: int
    label: str
    href: str
    past: bool


class Panel(Struct, frozen=True):
    """What the viewer can do with one seat: `map/partials/panel.html`. Without one, `#panel` is there but empty."""

    seat: Seat
    day: date
    status: Status
    action: Literal["book", "move", "cancel", "sign_in", "none"]
    """Book it, move to it from `mine`, cancel its booking, sign in first, or nothing."""
    sitter: str | None
    """The username of the user who has booked it; None where names are not shown."""
    seconds_left: int | None
    """How long someone else may still hold it."""
    mine: OwnBooking | None
    """The viewer's booking for the day."""
    nearest: Seat | None
    """The nearest free seat, offered if this one is taken, held or closed."""
    close_href: str
    """The URL of the day without the panel."""
    past: bool = False
    """Whether the day is over."""
    problem: str | None = None
    """Why the last attempt was refused."""


class Tally(Struct, frozen=True):
    """How many seats are free: `map/partials/tally.html` (element `#tally`)."""

    state: Literal["open", "past", "beyond"]
    free_count: int
    """In the sections shown."""
    section: str | None
    last_day: date
    next_href: str | None


class HoldBox(Struct, frozen=True):
    """The viewer's hold: `map/partials/hold.html` (element `#hold`)."""

    day: date
    seat: Seat
    place_query: str
    """The query of this place's URLs: empty, or `?section=A`."""
    token: str | None
    """Ends or renews the hold; None if there is none (such as when Redis is away). Booking works without a hold."""
    seconds: int
    """Whole seconds left."""


class DayPage(Struct, frozen=True):
    """The map of a day: `map/day.html`, and `map/partials/day.html` (element `#day`) for swaps."""

    day: date
    today: date
    last_day: date
    """The last day that can be booked."""
    state: Literal["open", "past", "beyond"]
    """Whether the day can be booked (`open`), is over, or is too far ahead."""
    map: Markup
    """The HTML of the sections shown: all, or the requested one."""
    tag: str
    """The state of the map (`DayView.tag`), from which the live map continues."""
    tally: Markup
    """The HTML of the `Tally`."""
    section: str | None
    """The requested section."""
    section_names: list[str]
    week: Markup
    """The HTML of the week's `DayLink`s."""
    previous_week_href: str | None
    next_week_href: str | None
    """None if no day of that week can be booked."""
    today_href: str
    calendar_href: str
    mine: OwnBooking | None
    """The viewer's booking for the day."""
    ticket: Markup | None
    """The HTML of the `Ticket`, if they have one."""
    panel: Panel | None


class CalendarDay(Struct, frozen=True):
    """One day of the calendar."""

    day: date
    href: str | None
    """None if it cannot be booked yet."""
    past: bool
    opens: date | None
    """The first day on which a day too far ahead can be booked."""
    seats: FreeSeats | None
    """None if it cannot be booked."""
    mine: str | None
    """The label of the seat that the viewer has booked that day."""

    @property
    def state(self) -> Literal["past", "beyond", "closed", "full", "open"]:
        """Whether it can be booked, or why not."""
        if self.past or self.seats is None:
            return "past" if self.past else "beyond"
        return "closed" if not self.seats.bookable else "full" if not self.seats.free else "open"


class CalendarPage(Struct, frozen=True):
    """`map/calendar.html`, and `map/partials/calendar.html` (element `#calendar`) for swaps."""

    month: date
    """Its first day."""
    day: date
    """The day that the map shows."""
    today: date
    end: date
    """The last day of the last month that has bookable days."""
    section: str | None
    weeks: list[list[CalendarDay | None]]
    """Seven days each, Monday first; None for days of other months."""
    previous_href: str | None
    next_href: str | None
    today_href: str
    back_href: str
    query: str
    """The query of the calendar's URLs."""


class BookingRow(Struct, frozen=True):
    """One row of "My bookings"."""

    booking: Booking
    href: str
    """The URL of the day's map with the seat's panel open."""
    undo: Act | None = None
    """The cancellation, while the user is offered to undo it."""
    seconds_left: int = 0
    """How long that is."""


class MyBookingsPage(Struct, frozen=True):
    """`map/my_bookings.html`, and `map/partials/my_bookings.html` (element `#my_bookings`) for swaps."""

    today: date
    upcoming: list[BookingRow]
    """Soonest first. Each can be cancelled, or moved on the map; one that was just cancelled stays in its place."""
    kept: str
    """The ids of the cancelled ones, which the next answer to this page keeps in place."""
    chosen: int | None
    """The id of the booking that the user has just cancelled or taken back."""
    past: list[BookingRow]
    """Past or cancelled ones, latest first, 50 at most."""
