"""What each page is given: one frozen struct a template, so that a template never asks for anything else.

Every template also gets the `Shell` as `shell`, the functions `static(path)` (address of a file with its fingerprint)
and `csrf_field()` (the hidden field of every form), and `origin` (the public address of the site, or nothing).
Days are dates in the site's time zone.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import Account, User
from seatweb.booking.model import Booking, Seat, Status


class Notice(Struct, frozen=True):
    """What an action did: `role="status"` when it worked, `role="alert"` when it did not."""

    kind: Literal["status", "alert"]
    text: str


class Shell(Struct, frozen=True):
    """What surrounds every page: `templates/base.html`."""

    site_name: str
    user: User | None
    path: str
    """Where the visitor is, to mark the current link and to come back after signing in."""
    notice: Notice | None = None


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


class SignInRow(Struct, frozen=True):
    """One of the places where the user is signed in; times are in the site's time zone."""

    id: str
    device: str
    address: str
    seen_at: datetime
    here: bool
    """Whether it is the session of this very request."""


class AccountPage(Struct, frozen=True):
    """`account/account.html`."""

    user: User
    here_since: date
    coming_count: int
    second_factor: bool
    sign_ins: list[SignInRow]
    """The one that was used last first."""
    more_sign_ins: bool
    """Whether there may be others, which are not listed."""


class PeoplePage(Struct, frozen=True):
    """`admin/people.html`."""

    name: str
    """What the names begin with that were asked for."""
    accounts: list[Account]
    own_id: int
    after: str | None
    """The key from which the next page goes on, if there is one."""


class DeletePage(Struct, frozen=True):
    """`account/delete_account.html`."""

    coming_count: int
    errors: dict[str, str]
    """By field name."""


class PasswordPage(Struct, frozen=True):
    """`account/password.html`."""

    shortest: int
    errors: dict[str, str]
    """By field name."""


class CredentialsPage(Struct, frozen=True):
    """`account/login.html` and `account/register.html`: what was typed is kept, but for the password."""

    username: str
    next: str
    """The path to go to afterwards, always one of ours."""
    errors: dict[str, str]
    """By field name; `form` for the whole form, `wait` where nothing is wrong with it but that it came too often."""
    shortest_password: int
    passkeys: bool = False
    """Whether passkeys work at this address."""


class SecondStepPage(Struct, frozen=True):
    """`account/second_step.html`: the password was right, and the second factor is to come."""

    next: str
    app: bool
    """Whether the user has an authenticator app."""
    passkeys: bool
    """Whether the user has a passkey, and passkeys work at this address."""
    errors: dict[str, str]
    """Of `code`, or of the whole `form`."""


class PasskeyRow(Struct, frozen=True):
    """One line of the passkeys."""

    id: int
    name: str
    added: date
    last_used: date | None


class FactorsPage(Struct, frozen=True):
    """`account/second_factor.html`: what the user has beside the password."""

    confirmed: bool
    """Whether the user proved a moment ago who they are; only then something can be changed."""
    app_since: date | None
    passkeys: list[PasskeyRow]
    recovery_made: int
    recovery_left: int
    passkeys_here: bool
    """Whether passkeys work at this address."""
    local_address: str | None
    """Where they do work, if this is the machine itself under its number."""
    afterwards: str | None
    """The name of what the user came to prove who they are for; None to see and change this page."""
    needed: bool
    """Whether the site asks everyone for a second factor."""
    errors: dict[str, str]
    """Of `password` and `code`, or of the whole `form`."""

    @property
    def enrolling(self) -> bool:
        """Whether there has to be one before anything else can be done."""
        return self.needed and not self.any

    @property
    def removable(self) -> bool:
        """Whether one may be removed."""
        return not self.needed or len(self.passkeys) + (self.app_since is not None) > 1

    @property
    def any(self) -> bool:
        """Whether there is a second factor."""
        return self.app_since is not None or bool(self.passkeys)

    @property
    def asking(self) -> bool:
        """Whether the page only asks who the user is, to go on elsewhere afterwards."""
        needs_proof = self.any or self.afterwards == "people"  # the others ask for the password themselves
        return self.afterwards is not None and needs_proof and not self.confirmed


class PasswordResetPage(Struct, frozen=True):
    """`account/password_reset.html`: a new password for a forgotten one."""

    username: str
    shortest: int
    """The fewest characters of a new password."""
    errors: dict[str, str]
    """Of a field, of the whole `form`, or how long to `wait`."""


class ResetCodePage(Struct, frozen=True):
    """`admin/reset_code.html`: a code for someone who forgot their password, shown once to an administrator."""

    username: str
    code: str
    hours: int
    """How long it counts."""


class EnrolmentPage(Struct, frozen=True):
    """`account/authenticator_app.html`: the secret for the app, until a first code of it is confirmed."""

    secret: str
    """In groups of four."""
    uri: str
    drawing: Markup
    """The QR code of the address."""
    errors: dict[str, str]


class RecoveryCodesPage(Struct, frozen=True):
    """`account/recovery_codes.html`: shown once."""

    codes: list[str]
    added: Literal["app", "passkey"] | None
    """What was added just before."""


class ErrorPage(Struct, frozen=True):
    """`error.html`, for 403, 404, 405, 409, 413, 422, 429, 500 and 503."""

    status: int
    title: str
    text: str
    """What happened and what can be done."""
    request_id: str
    links: list[tuple[str, str]]
    """(address, words) that help the visitor on."""
    retry_after: int | None = None
    """Seconds after which trying again makes sense."""
