"""Users' personal data: download all of it, and erase it when the account is deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from seatweb.accounts import factor_queries, session_queries
from seatweb.accounts import queries as account_queries
from seatweb.accounts.model import Passkey, Role, Session, SessionSummary, User
from seatweb.accounts.password_checks import PASSWORD_CHANGED_MEANWHILE, PasswordChecks
from seatweb.accounts.queries import AuditRow
from seatweb.accounts.sessions import Sessions, require_signed_in
from seatweb.booking import queries as booking_queries
from seatweb.booking.changes import Changes
from seatweb.booking.model import Booking
from seatweb.errors import InvalidInput
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


class BookingRecord(Struct, frozen=True):
    """A booking as its user downloads it."""

    id: int
    day: date
    seat: str
    status: str
    created_at: datetime


class SignInRecord(Struct, frozen=True):
    """A session as its user downloads it."""

    created_at: datetime
    seen_at: datetime
    address: str
    device: str


class PasskeyRecord(Struct, frozen=True):
    """A passkey as its user downloads it; the private key never leaves their device."""

    name: str
    created_at: datetime
    last_used_at: datetime | None


class Export(Struct, frozen=True):
    """Everything that is stored about a user; times are in UTC, days in the site's time zone."""

    id: int
    username: str
    created_at: datetime
    role: Role
    bookings: list[BookingRecord]
    sign_ins: list[SignInRecord]
    passkeys: list[PasskeyRecord]
    actions: list[AuditRow]


class PersonalData:
    """Exports and deletes what is stored about a user."""

    def __init__(
        self,
        database: Database,
        password_checks: PasswordChecks,
        sessions: Sessions,
        changes: Changes,
        today: Callable[[], date],
    ) -> None:
        self._database = database
        self._password_checks = password_checks
        self._sessions = sessions
        self._changes = changes
        self._today = today

    async def export(self, user: User) -> Export:
        """Return everything that is stored about the user, except secrets and hashes."""

        async def read(sql: Statements) -> tuple[list[Booking], list[SessionSummary], list[Passkey], list[AuditRow]]:
            return (
                await booking_queries.list_bookings(sql, user.id, date.min, date.max, None, (date.min, 0), None),
                await session_queries.export_sessions(sql, user.id),
                [passkey for passkey, _ in await factor_queries.list_passkeys(sql, user.id)],
                await account_queries.export_audit(sql, user.id),
            )

        bookings, sign_ins, passkeys, actions = await self._database.run(read)
        return Export(
            id=user.id,
            username=user.username,
            created_at=user.created_at,
            role=user.role,
            bookings=[
                BookingRecord(
                    id=booking.id,
                    day=booking.day,
                    seat=booking.seat.label,
                    status=booking.status,
                    created_at=booking.created_at,
                )
                for booking in bookings
            ],
            sign_ins=[
                SignInRecord(
                    created_at=sign_in.created_at,
                    seen_at=sign_in.seen_at,
                    address=sign_in.client.address,
                    device=sign_in.client.device,
                )
                for sign_in in sign_ins
            ],
            passkeys=[
                PasskeyRecord(name=passkey.name, created_at=passkey.created_at, last_used_at=passkey.last_used_at)
                for passkey in passkeys
            ],
            actions=actions,
        )

    async def delete(self, session: Session, password: str, client: Client = NOWHERE) -> None:
        """Delete the user's account and cancel upcoming bookings; past ones and the audit trail keep no name.

        Raises:
            InvalidInput: the password is wrong or was changed meanwhile.
            NotSignedIn: the session has ended, or the account is deleted already.
            Overloaded: the account may or may not be deleted; signing in will show.
        """
        user = session.user
        known_hash = await self._password_checks.confirm(user, password, client)

        async def delete(sql: Statements) -> tuple[list[date], set[UUID]]:
            await require_signed_in(sql, session)
            if await account_queries.find_password(sql, user.id) != known_hash:
                raise InvalidInput(fields={"password": PASSWORD_CHANGED_MEANWHILE})
            days = await booking_queries.cancel_upcoming_bookings(sql, user.id, self._today(), None, session.id)
            ended = await session_queries.end_sessions(sql, user.id, None)
            await session_queries.delete_sessions(sql, user.id)
            await account_queries.delete_account(sql, user.id, session.id)
            return days, ended

        days, ended = await self._database.transaction(delete)
        self._sessions.forget(user.id, ended)
        for day in days:
            self._changes.signal(day)
