"""Typed functions for the queries of seats and bookings (`sql/queries/booking.sql`): they return structs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from msgspec import Struct

from seatweb.booking.model import Booking, CancelledBooking, FreeSeats, Seat, SeatView, Section, Sitter
from seatweb.storage.statements import Statements


class LockedBooking(Struct, frozen=True):
    """A booking that nobody else can change until the transaction ends."""

    id: int
    day: date
    seat_id: int
    status: str


class SectionSeats(Struct, frozen=True):
    """The seats of a section on a day, and the generation of this state."""

    generation: int
    seats: tuple[SeatView, ...]


class SeatInSection(Struct, frozen=True):
    """A seat and the id of its section."""

    seat: Seat
    section_id: int


class Change(Struct, frozen=True):
    """A booking was made, or moved from another seat."""

    seat_id: int
    from_seat_id: int | None


class StoredAnswer(Struct, frozen=True):
    """The answer to a request that did something with an idempotency key; `fingerprint` says what it asked for."""

    fingerprint: str
    status: int
    body: str


async def read_generations(sql: Statements, days: Collection[date]) -> dict[date, list[tuple[Section, int]]]:
    """Return, for each of the days, every section in map order with its generation on that day."""
    found: dict[date, list[tuple[Section, int]]] = {day: [] for day in days}
    for row in await sql.all("read_generations", days=list(found)):
        found[row["day"]].append((Section(id=row["id"], name=row["name"]), row["generation"]))
    return found


async def read_seats(sql: Statements, wanted: Collection[tuple[int, date]]) -> dict[tuple[int, date], SectionSeats]:
    """Return the seats of sections, each on its day, by section id and day; sections without seats are absent."""
    seats: dict[tuple[int, date], list[SeatView]] = {}
    generations: dict[tuple[int, date], int] = {}
    section_ids, days = [section_id for section_id, _ in wanted], [day for _, day in wanted]
    for row in await sql.all("read_seats", section_ids=section_ids, days=days):
        key = (row["section_id"], row["day"])
        sitter = None if row["user_id"] is None else Sitter(row["user_id"], row["username"], row["booking_id"])
        seats.setdefault(key, []).append(SeatView(seat=_seat(row, "id"), sitter=sitter))
        generations[key] = row["generation"]
    return {key: SectionSeats(generation=generations[key], seats=tuple(views)) for key, views in seats.items()}


async def find_seat(sql: Statements, seat_id: int) -> SeatInSection | None:
    """Return one seat."""
    row = await sql.one("find_seat", seat_id=seat_id)
    return row and SeatInSection(seat=_seat(row, "id"), section_id=row["section_id"])


async def find_sitter(sql: Statements, seat_id: int, day: date) -> int | None:
    """Return the id of the user who has the seat on the day."""
    return (await find_sitters(sql, [(seat_id, day)])).get((seat_id, day))


async def find_sitters(sql: Statements, wanted: Collection[tuple[int, date]]) -> dict[tuple[int, date], int]:
    """Return the ids of the users who have these seats, by seat and day; free seats are absent."""
    seat_ids, days = [seat_id for seat_id, _ in wanted], [day for _, day in wanted]
    rows = await sql.all("find_sitters", seat_ids=seat_ids, days=days)
    return {(row["seat_id"], row["day"]): row["user_id"] for row in rows}


async def book_seat(sql: Statements, seat_id: int, user_id: int, day: date, session_id: UUID | None) -> Booking | None:
    """Book the seat and return the booking; None if the seat does not exist or is closed.

    Raises:
        SeatTaken: someone else has the seat.
        DayAlreadyBooked: the user has a seat that day.
    """
    row = await sql.one("book_seat", seat_id=seat_id, user_id=user_id, day=day, session_id=session_id)
    return row and _booking(row)


async def bump_generations(sql: Statements, section_ids: Iterable[int], day: date) -> None:
    """Increment the generations of the sections, which locks them until the transaction ends."""
    await sql.one("bump_generations", section_ids=sorted(set(section_ids)), day=day)


async def book_any_seat(
    sql: Statements, user_id: int, day: date, section_ids: list[int], held: list[int], session_id: UUID | None
) -> int | None:
    """Book the free seat with the most room in the emptiest section; return the booking's id, or None if none is free.

    Raises:
        DayAlreadyBooked: the user has a seat that day.
    """
    booking_id: int | None = await sql.one(
        "book_any_seat", user_id=user_id, day=day, section_ids=section_ids, held=held, session_id=session_id
    )
    return booking_id


async def any_free_seat(sql: Statements, section_ids: list[int], day: date, held: list[int]) -> bool:
    """Return whether one of the sections has a free seat that is not held."""
    return bool(await sql.one("any_free_seat", section_ids=section_ids, day=day, held=held))


async def find_booking_of_day(sql: Statements, user_id: int, day: date) -> Booking | None:
    """Return the user's confirmed booking on the day."""
    row = await sql.one("find_booking_of_day", user_id=user_id, day=day)
    return row and _booking(row)


async def find_last_booking_of_day(sql: Statements, user_id: int, day: date) -> Booking | None:
    """Return the booking that the user made last for the day, whatever its status."""
    row = await sql.one("find_last_booking_of_day", user_id=user_id, day=day)
    return row and _booking(row)


async def find_booking(sql: Statements, booking_id: int, user_id: int) -> Booking | None:
    """Return one of the user's bookings, whatever its status."""
    row = await sql.one("find_booking", booking_id=booking_id, user_id=user_id)
    return row and _booking(row)


async def lock_booking(sql: Statements, booking_id: int, user_id: int) -> LockedBooking | None:
    """Lock one of the user's bookings, whatever its status, and return it."""
    row = await sql.one("lock_booking", booking_id=booking_id, user_id=user_id)
    return row and LockedBooking(**row)


async def cancel_booking(sql: Statements, booking_id: int, session_id: UUID | None) -> None:
    """Cancel a locked booking."""
    await sql.one("cancel_booking", booking_id=booking_id, session_id=session_id)


async def move_booking(sql: Statements, booking: LockedBooking, seat_id: int, session_id: UUID | None) -> None:
    """Move a locked booking to another seat.

    Raises:
        SeatTaken: someone else has that seat.
    """
    await sql.one(
        "move_booking",
        booking_id=booking.id,
        seat_id=seat_id,
        from_seat_id=booking.seat_id,
        session_id=session_id,
    )


async def find_last_change(sql: Statements, user_id: int, booking_id: int, seconds: int) -> Change | None:
    """Return the last time that the user made or moved a booking of theirs, if that was less than `seconds` ago."""
    row = await sql.one("find_last_change", user_id=user_id, booking_id=booking_id, seconds=seconds)
    return row and Change(**row)


async def list_confirmed_bookings(sql: Statements, user_id: int, first_day: date, last_day: date) -> list[Booking]:
    """Return the user's confirmed bookings between the days, inclusive, soonest first."""
    rows = await sql.all("list_confirmed_bookings", user_id=user_id, first_day=first_day, last_day=last_day)
    return [_booking(row) for row in rows]


async def count_free_seats(
    sql: Statements, first_day: date, last_day: date, section: str | None
) -> dict[date, FreeSeats]:
    """Return the free seats of every day, in one section or in all; empty if there is no such section."""
    rows = await sql.all("count_free_seats", first_day=first_day, last_day=last_day, section=section)
    return {row["day"]: FreeSeats(free=row["free"], bookable=row["bookable"]) for row in rows}


async def list_just_cancelled_bookings(
    sql: Statements, user_id: int, first_day: date, seconds: int, kept: list[int]
) -> list[CancelledBooking]:
    """Return the user's bookings that were cancelled less than `seconds` ago, or are among `kept`, soonest first.

    Left out are those of days before `first_day`, and of days that the user has booked again since.
    """
    rows = await sql.all(
        "list_just_cancelled_bookings", user_id=user_id, first_day=first_day, seconds=seconds, kept=kept
    )
    return [CancelledBooking(booking=_booking(row), seconds_left=row["seconds_left"]) for row in rows]


async def list_ended_bookings(sql: Statements, user_id: int, day: date, rows: int) -> list[Booking]:
    """Return up to `rows` of the user's bookings that are cancelled or before the day, latest first."""
    return [_booking(row) for row in await sql.all("list_ended_bookings", user_id=user_id, day=day, rows=rows)]


async def list_bookings(
    sql: Statements,
    user_id: int,
    first_day: date,
    last_day: date,
    status: str | None,
    after: tuple[date, int],
    rows: int | None,
) -> list[Booking]:
    """Return up to `rows` of the user's bookings between the days, inclusive, after the one with this day and id."""
    found = await sql.all(
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


async def try_idempotency_lock(sql: Statements, user_id: int, key: str) -> bool:
    """Lock the key until the transaction ends; return False if another request with it is being answered now."""
    return bool(await sql.one("try_idempotency_lock", user_id=user_id, key=key))


async def find_answer(sql: Statements, user_id: int, key: str) -> StoredAnswer | None:
    """Return the stored answer to the request that did something with this key."""
    row = await sql.one("find_answer", user_id=user_id, key=key)
    return row and StoredAnswer(**row)


async def store_answer(sql: Statements, user_id: int, key: str, answer: StoredAnswer) -> None:
    """Store the answer of the request that did something."""
    await sql.one(
        "store_answer",
        user_id=user_id,
        key=key,
        fingerprint=answer.fingerprint,
        status=answer.status,
        body=answer.body,
    )


async def count_upcoming_bookings(sql: Statements, user_ids: list[int], first_day: date) -> dict[int, int]:
    """Return how many bookings each of these users has from a day on, by user id; users who have none are left out."""
    rows = await sql.all("count_upcoming_bookings", user_ids=user_ids, first_day=first_day)
    return {row["user_id"]: row["bookings"] for row in rows}


async def cancel_upcoming_bookings(
    sql: Statements, user_id: int, first_day: date, actor_id: int | None, session_id: UUID | None
) -> list[date]:
    """Cancel the user's bookings from a day on, and return their days; `actor_id` is None for users themselves."""
    values = {"user_id": user_id, "first_day": first_day, "actor_id": actor_id, "session_id": session_id}
    rows = await sql.all("cancel_upcoming_bookings", **values)
    return [row["day"] for row in rows]


async def prune_idempotency_keys(sql: Statements, days: int, rows: int) -> int:
    """Delete up to `rows` idempotency keys older than `days` days, and return how many."""
    return int(await sql.one("prune_idempotency_keys", days=days, rows=rows))


async def prune_bookings(sql: Statements, before: date, rows: int) -> int:
    """Delete up to `rows` bookings of days before this one, and return how many."""
    return int(await sql.one("prune_bookings", before=before, rows=rows))


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
