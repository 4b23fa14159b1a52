"""What the pages for administrators are made of."""

from __future__ import annotations

from msgspec import Struct

from seatweb.accounts.model import Account


class PeoplePage(Struct, frozen=True):
    """`admin/people.html`."""

    name: str
    """What the names begin with that were asked for."""
    accounts: list[Account]
    own_id: int
    after: str | None
    """The key from which the next page goes on, if there is one."""


class ResetCodePage(Struct, frozen=True):
    """`admin/reset_code.html`: a code for someone who forgot their password, shown once to an administrator."""

    username: str
    code: str
    hours: int
    """How long it counts."""
