"""Disable accounts, and cancel the bookings of disabled accounts, so that others can have their seats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.model import Session
from seatweb.booking import queries as booking_queries
from seatweb.errors import NotAllowed
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


class Disabled(Struct, frozen=True):
    """What disabling an account changed."""

    changed: bool
    """False if the account was disabled already."""
    cancelled: int
    """How many upcoming bookings were cancelled."""
    kept: int
    """How many upcoming bookings the user still has."""


class DisabledAccounts:
    """Disables accounts and cancels their bookings. `signal` is called with each day on which seats became free."""

    def __init__(
        self,
        database: Database,
        administration: AccountAdministration,
        signal: Callable[[date], None],
        today: Callable[[], date],
    ) -> None:
        self._database = database
        self._administration = administration
        self._signal = signal
        self._today = today

    async def disable(self, user_id: int, *, keep_bookings: bool = False, by: Session | None = None) -> Disabled:
        """Disable an account, end its sessions and cancel its upcoming bookings, unless they are to be kept.

        Raises:
            NotAllowed, NotSignedIn: as `AccountAdministration.disable_in` does.
        """

        async def disable(sql: Statements) -> tuple[set[UUID] | None, list[date], int]:
            ended = await self._administration.disable_in(sql, user_id, by)
            days = [] if keep_bookings else await self._cancel(sql, user_id, by)
            kept = await booking_queries.count_upcoming_bookings(sql, [user_id], self._today())
            return ended, days, kept.get(user_id, 0)

        ended, days, kept = await self._database.transaction(disable)
        if ended is not None:
            self._administration.forget(user_id, ended)
        self._signal_all(days)
        return Disabled(changed=ended is not None, cancelled=len(days), kept=kept)

    async def cancel_bookings(self, user_id: int, by: Session) -> int:
        """Cancel the upcoming bookings of a disabled account, and return how many there were.

        Raises:
            NotAllowed: the account is not disabled.
            NotAllowed, NotSignedIn: as `AccountAdministration.authorize` does.
        """

        async def cancel(sql: Statements) -> list[date]:
            if user_id in await self._administration.authorize(sql, user_id, by):
                raise NotAllowed(reason="bookings_of_others")
            return await self._cancel(sql, user_id, by)

        days = await self._database.transaction(cancel)
        self._signal_all(days)
        return len(days)

    async def upcoming(self, user_ids: Iterable[int]) -> dict[int, int]:
        """Return how many upcoming bookings each of these users has, by user id; users who have none are left out."""
        return await self._database.run(booking_queries.count_upcoming_bookings, [*user_ids], self._today())

    async def _cancel(self, sql: Statements, user_id: int, by: Session | None) -> list[date]:
        actor_id, session_id = (by.user.id, by.id) if by else (None, None)
        return await booking_queries.cancel_upcoming_bookings(sql, user_id, self._today(), actor_id, session_id)

    def _signal_all(self, days: list[date]) -> None:
        for day in days:
            self._signal(day)
