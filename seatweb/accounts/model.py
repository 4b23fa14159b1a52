"""Who people are: frozen values without framework or driver. A `datetime` is aware and in UTC."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from seatweb.http.client_address import Client


class Role(StrEnum):
    """What a user may do beside booking."""

    USER = "user"
    ADMIN = "admin"


class User(Struct, frozen=True):
    """A person with an account."""

    id: int
    username: str
    created_at: datetime
    role: Role = Role.USER


class Account(Struct, frozen=True):
    """A user as administrators see them."""

    user: User
    key: str
    """What the username is compared by; lists are in its order."""
    disabled: bool


class Session(Struct, frozen=True):
    """One sign-in of a user on one device."""

    id: UUID
    user: User
    expires_at: datetime
    enrolling: bool = False
    """Whether it counts for nothing but adding the second factor, which its site asks everyone for."""

    @property
    def user_id(self) -> int:
        """The id of its user."""
        return self.user.id


class SignIn(Struct, frozen=True):
    """A session as its user sees it in a list."""

    id: UUID
    created_at: datetime
    seen_at: datetime
    """When it was used last, to the minute."""
    client: Client


class Passkey(Struct, frozen=True):
    """A key on a device of the user, which signs them in (WebAuthn)."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class Factors(Struct, frozen=True):
    """What a user has beside the password."""

    totp_since: datetime | None
    """When the authenticator app was added."""
    passkeys: tuple[Passkey, ...]
    recovery_made: int
    recovery_left: int
    """How many recovery codes there are, and how many of them were not used."""

    @property
    def any(self) -> bool:
        """Whether the password alone lets nobody in."""
        return self.totp_since is not None or bool(self.passkeys)
