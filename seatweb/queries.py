"""The named queries of `sql/queries/`, typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from seatweb.factor_queries import FactorQueries
from seatweb.model import Booking, Seat, SeatView, Section, Session, Sitter, User

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
        user_id: int | None = await self._one("find_sitter", seat_id=seat_id, day=day)
        return user_id

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
        rows: int,
    ) -> list[Booking]:
        """Return the user's next bookings between the days after one that is given by its day and id."""
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

    async def register_user(self, username: str, username_key: str, password_hash: str) -> User:
        """Return the new user.

        Raises:
            UsernameTaken: someone has that name.
        """
        row = await self._one(
            "register_user", username=username, username_key=username_key, password_hash=password_hash
        )
        return User(**row)

    async def find_credentials(self, username_key: str) -> Credentials | None:
        """Return what a sign-in under this name is compared with."""
        row = await self._one("find_credentials", username_key=username_key)
        return row and Credentials(
            user=User(id=row["id"], username=row["username"], created_at=row["created_at"]),
            password_hash=row["password_hash"],
            disabled=row["disabled"],
        )

    async def find_password(self, user_id: int) -> str | None:
        """Return the hash of the user's password while their account counts."""
        password_hash: str | None = await self._one("find_password", user_id=user_id)
        return password_hash

    async def start_session(self, user_id: int, expires_at: datetime) -> UUID:
        """Return the id of a new session."""
        session_id: UUID = await self._one("start_session", user_id=user_id, expires_at=expires_at)
        return session_id

    async def find_session(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session with its user while it counts."""
        row = await self._one("find_session", session_id=session_id, user_id=user_id)
        return row and Session(
            id=row["id"],
            user=User(id=row["user_id"], username=row["username"], created_at=row["created_at"]),
            expires_at=row["expires_at"],
        )

    async def live_sessions(self, session_ids: Iterable[UUID]) -> set[UUID]:
        """Return those of the sessions that still count."""
        return {row["id"] for row in await self._all("live_sessions", session_ids=list(session_ids))}

    async def end_session(self, session_id: UUID) -> None:
        """End a session; ending it twice is no error."""
        await self._one("end_session", session_id=session_id)


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
