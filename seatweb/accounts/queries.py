"""The named queries of `sql/queries/`, typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.factor_queries import FactorQueries
from seatweb.accounts.model import Account, Client, Role, Session, SignIn, User
from seatweb.booking.model import Booking, Seat, SeatView, Section, Sitter

if TYPE_CHECKING:
    from collections.abc import Mapping


class Credentials(Struct, frozen=True):
    """What a sign-in is compared with."""

    user: User
    password_hash: str
    disabled: bool


class LockedBooking(Struct, frozen=True):
    """A confirmed booking that no one else changes until the transaction ends."""

    id: int
    day: date
    seat_id: int


class SectionSeats(Struct, frozen=True):
    """The seats of a section on a day, and the generation that names this state."""

    generation: int
    seats: tuple[SeatView, ...]


class AuditRow(Struct, frozen=True):
    """A line of the audit trail, as its user may read it."""

    at: datetime
    action: str
    day: date | None
    seat: str | None
    """Its label, such as `A-07`."""


class SeatInSection(Struct, frozen=True):
    """A seat and the id of its section."""

    seat: Seat
    section_id: int


class StoredAnswer(Struct, frozen=True):
    """The first answer to a request with an idempotency key; `fingerprint` tells requests apart."""

    fingerprint: str
    status: int
    body: str


class Queries(FactorQueries):
    """Every query on one connection; inside `Database.transaction`, of one transaction."""

    # Sections and seats

    async def read_generations(self, day: date) -> list[tuple[Section, int]]:
        """Return every section in the order of the map, with its generation on the day."""
        rows = await self._all("read_generations", day=day)
        return [(Section(id=row["id"], name=row["name"]), row["generation"]) for row in rows]

    async def read_seats(self, section_ids: Iterable[int], day: date) -> dict[int, SectionSeats]:
        """Return the seats on the day of those sections that have any, by section id, in the order of the map."""
        seats: dict[int, list[SeatView]] = {}
        generations: dict[int, int] = {}
        for row in await self._all("read_seats", section_ids=list(section_ids), day=day):
            sitter = None if row["user_id"] is None else Sitter(user_id=row["user_id"], username=row["username"])
            seats.setdefault(row["section_id"], []).append(SeatView(seat=_seat(row, "id"), sitter=sitter))
            generations[row["section_id"]] = row["generation"]
        return {id_: SectionSeats(generation=generations[id_], seats=tuple(views)) for id_, views in seats.items()}

    async def find_seat(self, seat_id: int) -> SeatInSection | None:
        """Return one seat."""
        row = await self._one("find_seat", seat_id=seat_id)
        return row and SeatInSection(seat=_seat(row, "id"), section_id=row["section_id"])

    # Bookings

    async def find_sitter(self, seat_id: int, day: date) -> int | None:
        """Return the id of the user who has the seat on the day."""
        return (await self.find_sitters([(seat_id, day)])).get((seat_id, day))

    async def find_sitters(self, wanted: Collection[tuple[int, date]]) -> dict[tuple[int, date], int]:
        """Return the ids of the users who have these seats on these days, by seat and day; those that are free lack."""
        seat_ids, days = [seat_id for seat_id, _ in wanted], [day for _, day in wanted]
        rows = await self._all("find_sitters", seat_ids=seat_ids, days=days)
        return {(row["seat_id"], row["day"]): row["user_id"] for row in rows}

    async def book_seat(self, seat_id: int, user_id: int, day: date, session_id: UUID | None) -> Booking | None:
        """Book and return the booking, or None where there is no such open seat.

        Raises:
            SeatTaken: someone else has it.
            DayAlreadyBooked: the user has a seat that day.
        """
        row = await self._one("book_seat", seat_id=seat_id, user_id=user_id, day=day, session_id=session_id)
        return row and _booking(row)

    async def bump_generations(self, section_ids: Iterable[int], day: date) -> None:
        """Grow the generations of the sections, and hold them until the transaction ends."""
        await self._all("bump_generations", section_ids=sorted(set(section_ids)), day=day)

    async def book_any_seat(
        self, user_id: int, day: date, section_ids: list[int], held: list[int], session_id: UUID | None
    ) -> int | None:
        """Book the free seat with the most room in the emptiest section; return the booking's id, None if none is free.

        Raises:
            DayAlreadyBooked: the user has a seat that day.
        """
        booking_id: int | None = await self._one(
            "book_any_seat", user_id=user_id, day=day, section_ids=section_ids, held=held, session_id=session_id
        )
        return booking_id

    async def any_free_seat(self, section_ids: list[int], day: date, held: list[int]) -> bool:
        """Return whether one of the sections has a free seat that is not held."""
        return bool(await self._one("any_free_seat", section_ids=section_ids, day=day, held=held))

    async def find_booking_of_day(self, user_id: int, day: date) -> Booking | None:
        """Return the user's confirmed booking on the day."""
        row = await self._one("find_booking_of_day", user_id=user_id, day=day)
        return row and _booking(row)

    async def find_booking(self, booking_id: int, user_id: int) -> Booking | None:
        """Return one booking of the user, whatever its status."""
        row = await self._one("find_booking", booking_id=booking_id, user_id=user_id)
        return row and _booking(row)

    async def lock_booking(self, booking_id: int, user_id: int) -> LockedBooking | None:
        """Return the user's confirmed booking, locked."""
        row = await self._one("lock_booking", booking_id=booking_id, user_id=user_id)
        return row and LockedBooking(**row)

    async def cancel_booking(self, booking_id: int, session_id: UUID | None) -> None:
        """End a locked booking."""
        await self._one("cancel_booking", booking_id=booking_id, session_id=session_id)

    async def move_booking(self, booking: LockedBooking, seat_id: int, session_id: UUID | None) -> None:
        """Give a locked booking another seat.

        Raises:
            SeatTaken: someone else has that seat.
        """
        await self._one(
            "move_booking",
            booking_id=booking.id,
            seat_id=seat_id,
            from_seat_id=booking.seat_id,
            session_id=session_id,
        )

    async def list_confirmed_bookings(self, user_id: int, first_day: date, last_day: date) -> list[Booking]:
        """Return the user's confirmed bookings between the days, both included, soonest first."""
        rows = await self._all("list_confirmed_bookings", user_id=user_id, first_day=first_day, last_day=last_day)
        return [_booking(row) for row in rows]

    async def list_ended_bookings(self, user_id: int, day: date, rows: int) -> list[Booking]:
        """Return the user's bookings that are over on the day or cancelled, latest first."""
        return [_booking(row) for row in await self._all("list_ended_bookings", user_id=user_id, day=day, rows=rows)]

    async def list_bookings(
        self,
        user_id: int,
        first_day: date,
        last_day: date,
        status: str | None,
        after: tuple[date, int],
        rows: int | None,
    ) -> list[Booking]:
        """Return the user's next bookings (all with `rows` None) between the days after one given by its day and id."""
        found = await self._all(
            "list_bookings",
            user_id=user_id,
            first_day=first_day,
            last_day=last_day,
            status=status,
            after_day=after[0],
            after_id=after[1],
            rows=rows,
        )
        return [_booking(row) for row in found]

    # Idempotency keys

    async def try_idempotency_lock(self, user_id: int, key: str) -> bool:
        """Return whether no other request with this key is being answered now."""
        return bool(await self._one("try_idempotency_lock", user_id=user_id, key=key))

    async def find_answer(self, user_id: int, key: str) -> StoredAnswer | None:
        """Return the first answer to a request with this key."""
        row = await self._one("find_answer", user_id=user_id, key=key)
        return row and StoredAnswer(**row)

    async def keep_answer(self, user_id: int, key: str, answer: StoredAnswer) -> None:
        """Keep the first answer."""
        await self._one(
            "keep_answer",
            user_id=user_id,
            key=key,
            fingerprint=answer.fingerprint,
            status=answer.status,
            body=answer.body,
        )

    # Accounts

    async def register_user(
        self, username: str, username_key: str, skeletons: Collection[str], password_hash: str
    ) -> User:
        """Return the new user.

        Raises:
            UsernameTaken: someone has that name, or one with the same key or one of these skeletons.
        """
        values = {"username": username, "username_key": username_key, "password_hash": password_hash}
        return _user(await self._one("register_user", skeletons=list(skeletons), **values))

    async def find_names_without_skeletons(self, after: int, rows: int) -> list[tuple[int, str]]:
        """Return the ids and usernames of accounts that have no skeleton, by id, after this one."""
        return [
            (row["id"], row["username"])
            for row in await self._all("find_names_without_skeletons", after=after, rows=rows)
        ]

    async def put_skeletons(self, skeletons: Collection[tuple[int, str]]) -> None:
        """Give the accounts with these ids a skeleton each, but for those that another account has."""
        user_ids, texts = [user_id for user_id, _ in skeletons], [skeleton for _, skeleton in skeletons]
        await self._one("put_skeletons", user_ids=user_ids, skeletons=texts)

    async def find_credentials(self, username_key: str) -> Credentials | None:
        """Return what a sign-in under this name is compared with."""
        row = await self._one("find_credentials", username_key=username_key)
        return row and Credentials(
            user=_user(row),
            password_hash=row["password_hash"],
            disabled=row["disabled"],
        )

    async def find_password(self, user_id: int) -> str | None:
        """Return the hash of the user's password while their account counts."""
        password_hash: str | None = await self._one("find_password", user_id=user_id)
        return password_hash

    async def change_password(
        self, user_id: int, known_hash: str | None, password_hash: str, session_id: UUID | None
    ) -> bool:
        """Give the user a new password; False where `known_hash` is given and is not the present one any more."""
        values = {"user_id": user_id, "known_hash": known_hash, "password_hash": password_hash}
        return await self._one("change_password", **values, session_id=session_id) is not None

    async def put_password_reset(self, user_id: int, code_hash: str, hours: int, actor_id: int | None) -> None:
        """Keep a code for a forgotten password in the place of any before."""
        values = {"user_id": user_id, "code_hash": code_hash, "hours": hours, "actor_id": actor_id}
        await self._one("put_password_reset", **values)

    async def find_password_reset(self, username_key: str, code_hash: str) -> int | None:
        """Return the id of the user whose code this is, while it counts."""
        found: int | None = await self._one("find_password_reset", username_key=username_key, code_hash=code_hash)
        return found

    async def use_password_reset(self, user_id: int, code_hash: str) -> bool:
        """Use a code up; False when it does not count (any more)."""
        return await self._one("use_password_reset", user_id=user_id, code_hash=code_hash) is not None

    async def rehash_password(self, user_id: int, known_hash: str, password_hash: str) -> None:
        """Keep the same password under a new hash, unless it was changed meanwhile."""
        await self._one("rehash_password", user_id=user_id, known_hash=known_hash, password_hash=password_hash)

    # Sessions

    async def start_session(
        self,
        user_id: int,
        expires_at: datetime,
        client: Client,
        password_hash: str | None,
        *,
        enrolling: bool,
        most: int,
    ) -> UUID | None:
        """Return the id of a new session; None where the account does not count, or has not this hash any more.

        The user has `most` sessions at most; those end that were not used for longest.
        """
        session_id: UUID | None = await self._one(
            "start_session",
            user_id=user_id,
            expires_at=expires_at,
            address=client.address,
            device=client.device,
            password_hash=password_hash,
            enrolling=enrolling,
            most=most,
        )
        return session_id

    async def lock_session(self, session_id: UUID, user_id: int) -> bool:
        """Hold the session until the transaction ends; return whether it still counts."""
        return await self._one("lock_session", session_id=session_id, user_id=user_id) is not None

    async def find_session(self, session_id: UUID, user_id: int, idle: timedelta) -> Session | None:
        """Return the session with its user while it counts."""
        row = await self._one("find_session", session_id=session_id, user_id=user_id, idle=idle)
        return row and Session(
            id=row["id"],
            user=_user(row, "user_id"),
            expires_at=row["expires_at"],
            enrolling=row["enrolling"],
        )

    async def mark_enrolling(self, *, needed: bool) -> None:
        """Let the sessions of users without a second factor be enrolling ones where it is needed, else none."""
        await self._one("mark_enrolling", needed=needed)

    async def live_sessions(self, session_ids: Iterable[UUID], idle: timedelta) -> set[UUID]:
        """Return those of the sessions that still count."""
        return {row["id"] for row in await self._all("live_sessions", session_ids=list(session_ids), idle=idle)}

    async def list_sessions(self, user_id: int, idle: timedelta, rows: int) -> list[SignIn]:
        """Return the user's sessions that still count, the one that was used last first, this many at most."""
        return [_sign_in(row) for row in await self._all("list_sessions", user_id=user_id, idle=idle, rows=rows)]

    async def touch_sessions(self, session_ids: Iterable[UUID], idle: timedelta) -> None:
        """Note that these sessions were used just now, if they still count."""
        await self._one("touch_sessions", session_ids=list(session_ids), idle=idle)

    async def end_session(self, session_id: UUID, user_id: int) -> None:
        """End a session of the user; ending it twice is no error."""
        await self._one("end_session", session_id=session_id, user_id=user_id)

    async def end_sessions(self, user_id: int, kept: UUID | None) -> set[UUID]:
        """End the user's sessions but for one that is kept, and return the ids of those that ended."""
        return {row["id"] for row in await self._all("end_sessions", user_id=user_id, kept=kept)}

    # Rights

    async def list_users(self, pattern: str, after: str, rows: int) -> list[Account]:
        """Return the accounts whose key is like the SQL pattern, in its order, after the one with this key."""
        return [
            Account(user=_user(row), key=row["username_key"], disabled=row["disabled"])
            for row in await self._all("list_users", pattern=pattern, after=after, rows=rows)
        ]

    async def list_admins(self) -> list[User]:
        """Return those who administer the site."""
        return [_user(row) for row in await self._all("list_admins")]

    async def find_user_id(self, username_key: str) -> int | None:
        """Return the id of the account with this name."""
        user_id: int | None = await self._one("find_user_id", username_key=username_key)
        return user_id

    async def find_user(self, user_id: int) -> User | None:
        """Return the user with this id, unless deleted."""
        row = await self._one("find_user", user_id=user_id)
        return row and _user(row)

    async def change_role(self, user_id: int, role: Role, actor_id: int | None) -> bool:
        """Give a user a role; return whether they had another."""
        return await self._one("change_role", user_id=user_id, role=role.value, actor_id=actor_id) is not None

    async def change_disabled(self, user_id: int, *, disabled: bool, actor_id: int | None) -> bool:
        """Disable or enable an account; return whether it was not so before."""
        changed = await self._one("change_disabled", user_id=user_id, disabled=disabled, actor_id=actor_id)
        return changed is not None

    # One's own data

    async def lock_accounts(self, *user_ids: int) -> dict[int, Role]:
        """Hold the accounts until the transaction ends; return the roles of those that are not disabled, by id."""
        rows = await self._all("lock_accounts", user_ids=list(user_ids))
        return {row["id"]: Role(row["role"]) for row in rows if not row["disabled"]}

    async def delete_account(self, user_id: int, session_id: UUID) -> None:
        """Take from an account what tells who it was."""
        await self._one("delete_account", user_id=user_id, session_id=session_id)

    async def cancel_coming_bookings(self, user_id: int, first_day: date, session_id: UUID) -> list[date]:
        """End the user's bookings from a day on, and return their days."""
        rows = await self._all("cancel_coming_bookings", user_id=user_id, first_day=first_day, session_id=session_id)
        return [row["day"] for row in rows]

    async def delete_sessions(self, user_id: int) -> None:
        """Forget where a user was signed in."""
        await self._one("delete_sessions", user_id=user_id)

    async def export_audit(self, user_id: int) -> list[AuditRow]:
        """Return what the audit trail says of a user, oldest first."""
        return [AuditRow(**row) for row in await self._all("export_audit", user_id=user_id)]

    async def export_sessions(self, user_id: int) -> list[SignIn]:
        """Return every session of a user that is still kept, oldest first."""
        return [_sign_in(row) for row in await self._all("export_sessions", user_id=user_id)]

    # Retention: each call takes a batch, and returns how many rows went

    async def prune_sessions(self, days: int, rows: int) -> int:
        """Forget sessions that are over for so many days."""
        return int(await self._one("prune_sessions", days=days, rows=rows))

    async def prune_idempotency_keys(self, days: int, rows: int) -> int:
        """Forget answers to keys that are older than so many days."""
        return int(await self._one("prune_idempotency_keys", days=days, rows=rows))

    async def prune_bookings(self, before: date, rows: int) -> int:
        """Forget bookings of days before this one."""
        return int(await self._one("prune_bookings", before=before, rows=rows))


def _sign_in(row: Mapping[str, Any]) -> SignIn:
    return SignIn(
        id=row["id"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        client=Client(address=row["address"], device=row["device"]),
    )


def _user(row: Mapping[str, Any], id_column: str = "id") -> User:
    return User(id=row[id_column], username=row["username"], created_at=row["created_at"], role=Role(row["role"]))


def _seat(row: Mapping[str, Any], id_column: str) -> Seat:
    return Seat(
        id=row[id_column],
        section=row["section"],
        number=row["number"],
        row=row["grid_row"],
        column=row["grid_column"],
        closed=row["closed"],
    )


def _booking(row: Mapping[str, Any]) -> Booking:
    return Booking(
        id=row["id"],
        day=row["day"],
        seat=_seat(row, "seat_id"),
        user_id=row["user_id"],
        status=row["status"],
        created_at=row["created_at"],
    )
