"""What the pages about the account are made of."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from seatweb.accounts.model import User


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
