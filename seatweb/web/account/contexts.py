"""The contexts of the account templates."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import User
from seatweb.web.map.intents import Intent


class SignInRow(Struct, frozen=True):
    """One of the user's sessions; times are in the site's time zone."""

    id: str
    device: str
    address: str
    seen_at: datetime
    here: bool
    """Whether it is the session of this request."""


class AccountPage(Struct, frozen=True):
    """`account/account.html`."""

    user: User
    today: date
    member_since: date
    upcoming: int
    """How many upcoming bookings the user has."""
    second_factor: bool
    sign_ins: list[SignInRow]
    """The most recently used first."""
    more_sign_ins: bool
    """Whether there may be more, which are not listed."""


class DeletePage(Struct, frozen=True):
    """`account/delete_account.html`."""

    upcoming: int
    """How many upcoming bookings will be cancelled."""
    errors: dict[str, str]
    """By field name."""


class PasswordPage(Struct, frozen=True):
    """`account/password.html`."""

    shortest: int
    errors: dict[str, str]
    """By field name."""


class CredentialsPage(Struct, frozen=True):
    """`account/login.html` and `account/register.html`: the form keeps what was typed, except for the password."""

    username: str
    next: str
    """The path to go to after signing in, always on this site."""
    errors: dict[str, str]
    """By field name; `form` for the whole form, `wait` if the only problem is too many attempts."""
    shortest_password: int
    names_shown: bool
    """Whether users see the names of others who have a booking."""
    passkeys: bool
    """Whether passkeys work at this host."""
    intent: Intent | None
    """What the visitor wanted to book, if that is why they sign in or register."""


class SecondStepPage(Struct, frozen=True):
    """`account/second_step.html`: the password was right, and the second factor is next."""

    next: str
    app: bool
    """Whether the user has an authenticator app."""
    passkeys: bool
    """Whether the user has a passkey, and passkeys work at this host."""
    intent: Intent | None
    """What the user wanted to book, if that is why they sign in."""
    errors: dict[str, str]
    """For `code`, or for the whole `form`."""


class PasskeyRow(Struct, frozen=True):
    """One row of the list of passkeys."""

    id: int
    name: str
    added: date
    last_used: date | None


class FactorsPage(Struct, frozen=True):
    """`account/second_factor.html`: the user's second factors."""

    confirmed: bool
    """Whether the user has confirmed their identity recently; only then can they change anything."""
    app_since: date | None
    passkeys: list[PasskeyRow]
    recovery_made: int
    recovery_left: int
    passkeys_here: bool
    """Whether passkeys work at this host."""
    local_address: str | None
    """A URL at which they do work, if the host is `127.0.0.1`."""
    afterwards: str | None
    """The name of the page that the user continues to after confirming their identity; None for this page."""
    needed: bool
    """Whether the site asks everyone for a second factor."""
    errors: dict[str, str]
    """For `password`, `code` and `passkey`, or for the whole `form`."""

    @property
    def enrolling(self) -> bool:
        """Whether the user must add a second factor before they can do anything else."""
        return self.needed and not self.any

    @property
    def removable(self) -> bool:
        """Whether the user may remove one."""
        return not self.needed or len(self.passkeys) + (self.app_since is not None) > 1

    @property
    def any(self) -> bool:
        """Whether the user has a second factor."""
        return self.app_since is not None or bool(self.passkeys)

    @property
    def asking(self) -> bool:
        """Whether the page only asks the user to confirm their identity, and then continues to another page."""
        needs_proof = self.any or self.afterwards == "people"  # the other pages ask for the password themselves
        return self.afterwards is not None and needs_proof and not self.confirmed


class PasswordResetPage(Struct, frozen=True):
    """`account/password_reset.html`: the form to replace a forgotten password."""

    username: str
    shortest: int
    """The minimum length of a new password, in characters."""
    errors: dict[str, str]
    """By field name; `form` for the whole form, `wait` if the only problem is too many attempts."""


class EnrolmentPage(Struct, frozen=True):
    """`account/authenticator_app.html`: the secret for the app, shown until a first code confirms it."""

    secret: str
    """In groups of four characters."""
    uri: str
    drawing: Markup
    """The QR code of the URI, as SVG."""
    errors: dict[str, str]


class RecoveryCodesPage(Struct, frozen=True):
    """`account/recovery_codes.html`, which is shown once."""

    codes: list[str]
    added: Literal["app", "passkey"] | None
    """The factor that was just added."""
    next: str
    """The path to continue to, always on this site."""
