"""The contexts of the administrators' templates."""

from __future__ import annotations

from msgspec import Struct

from seatweb.accounts.model import Account


class PeoplePage(Struct, frozen=True):
    """`admin/people.html`."""

    name: str
    """The beginning of the usernames to list, as typed into the search field."""
    accounts: list[Account]
    own_id: int
    after: str | None
    """The username key after which the next page begins; None if there is no next page."""


class ResetCodePage(Struct, frozen=True):
    """`admin/reset_code.html`: the code with which a user can replace a forgotten password; shown once."""

    username: str
    code: str
    hours: int
    """How long the code is valid."""
