"""The contexts of the administrators' templates."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from msgspec import Struct


class Filter(Struct, frozen=True):
    """Which accounts the list shows: it stays the same while an administrator works with some of them."""

    name: str = ""
    """The beginning of the usernames, as typed into the search field."""
    after: str = ""
    """The username key after which the list begins; empty for the first page."""

    def href(self, **more: int | str) -> str:
        """Return the URL of the list, with more fields in its query."""
        query = urlencode({name: value for name, value in {**self.fields, **more}.items() if value})
        return "/admin/people" + (f"?{query}" if query else "")

    @property
    def fields(self) -> dict[str, str]:
        """The fields with which a form keeps the filter."""
        return {name: value for name, value in (("name", self.name), ("after", self.after)) if value}


class PersonRow(Struct, frozen=True):
    """One account of the list."""

    id: int
    username: str
    administrator: bool
    disabled: bool
    member_since: date
    upcoming: int
    """How many upcoming bookings the user has."""


class ChangedAccount(Struct, frozen=True):
    """An account that was just disabled or enabled, and what became of its upcoming bookings."""

    person: PersonRow
    cancelled: int
    undo: bool
    """Whether it was just disabled, which can be undone."""


class PeoplePage(Struct, frozen=True):
    """`admin/people.html`."""

    filter: Filter
    people: list[PersonRow]
    own_id: int
    more_href: str | None
    """The URL of the next page of the list, if there is one."""
    changed: ChangedAccount | None


class ConfirmPage(Struct, frozen=True):
    """`admin/disable.html` and `admin/cancel_bookings.html`, which ask before anything changes."""

    person: PersonRow
    filter: Filter


class ResetCodePage(Struct, frozen=True):
    """`admin/reset_code.html`: the code with which a user can replace a forgotten password; shown once."""

    username: str
    code: str
    hours: int
    """How long the code is valid."""
    filter: Filter
