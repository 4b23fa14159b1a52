"""Accounts and sessions as frozen structs, independent of framework and driver. Every `datetime` is aware, in UTC."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from seatweb.http.client_address import Client


class Role(StrEnum):
    """What a user may do besides booking."""

    USER = "user"
    ADMIN = "admin"


class User(Struct, frozen=True, gc=False):
    """A person with an account."""

    id: int
    username: str
    created_at: datetime
    role: Role = Role.USER


class Account(Struct, frozen=True):
    """A user as administrators see them."""

    user: User
    key: str
    """The form in which usernames are compared and sorted."""
    disabled: bool


class Session(Struct, frozen=True, gc=False):
    """One sign-in of a user on one device."""

    id: UUID
    user: User
    expires_at: datetime
    enrolling: bool = False
    """Whether the session may only be used to add the second factor that the site requires."""

    @property
    def user_id(self) -> int:
        """The id of the session's user."""
        return self.user.id


class SessionSummary(Struct, frozen=True):
    """A session as its user sees it in a list."""

    id: UUID
    created_at: datetime
    seen_at: datetime
    """When it was last used, to the minute."""
    client: Client


class Passkey(Struct, frozen=True):
    """A key on a user's device that signs them in (WebAuthn)."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class Factors(Struct, frozen=True):
    """A user's second factors."""

    totp_since: datetime | None
    """When the authenticator app was added."""
    passkeys: tuple[Passkey, ...]
    recovery_made: int
    recovery_left: int
    """How many recovery codes were made, and how many of them are unused."""

    @property
    def any(self) -> bool:
        """Whether signing in takes more than the password."""
        return self.totp_since is not None or bool(self.passkeys)
