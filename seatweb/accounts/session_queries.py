"""The SQL of sessions (`sql/queries/sessions.sql`), typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from seatweb.accounts.model import Session, SessionSummary
from seatweb.accounts.queries import user_of
from seatweb.http.client_address import Client
from seatweb.storage.statements import Statements


class SessionChanges(Struct, frozen=True):
    """Users whose sessions or rights changed, and the horizon to ask after next time."""

    horizon: int
    user_ids: frozenset[int]


async def start_session(
    sql: Statements,
    user_id: int,
    expires_at: datetime,
    client: Client,
    password_hash: str | None,
    *,
    enrolling: bool,
    most: int,
) -> UUID | None:
    """Start a session and return its id; None if the account is disabled, or the password hash no longer current.

    Of more than `most` sessions, the least recently used ones end.
    """
    session_id: UUID | None = await sql.one(
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


async def lock_session(sql: Statements, session_id: UUID, user_id: int) -> bool:
    """Lock the session until the transaction ends; return False if it has ended."""
    return await sql.one("lock_session", session_id=session_id, user_id=user_id) is not None


async def find_session(sql: Statements, session_id: UUID, user_id: int, idle: timedelta) -> Session | None:
    """Return the session with its user; None if it is not live."""
    row = await sql.one("find_session", session_id=session_id, user_id=user_id, idle=idle)
    return row and Session(
        id=row["id"],
        user=user_of(row, "user_id"),
        expires_at=row["expires_at"],
        enrolling=row["enrolling"],
    )


async def mark_enrolling(sql: Statements, after: UUID, rows: int, *, needed: bool) -> UUID | None:
    """Mark the next sessions as enrolling if a second factor is needed and their user has none; unmark the others.

    Returns the last id of these: at most `rows`, after the id `after`. None if there are no more sessions.
    """
    last: UUID | None = await sql.one("mark_enrolling", needed=needed, after=after, rows=rows)
    return last


async def live_sessions(sql: Statements, session_ids: Iterable[UUID], idle: timedelta) -> set[UUID]:
    """Return the ids of those sessions that are live."""
    return {row["id"] for row in await sql.all("live_sessions", session_ids=list(session_ids), idle=idle)}


async def session_changes(sql: Statements, after: int | None) -> SessionChanges:
    """Return the users whose sessions or rights changed after the horizon `after`; none if it is None."""
    row = await sql.one("session_changes", after=None if after is None else str(after))
    return SessionChanges(horizon=row["horizon"], user_ids=frozenset(row["user_ids"]))


async def prune_session_changes(sql: Statements) -> None:
    """Delete the changes that every process has seen."""
    await sql.one("prune_session_changes")


async def list_sessions(sql: Statements, user_id: int, idle: timedelta, rows: int) -> list[SessionSummary]:
    """Return at most `rows` of the user's live sessions, most recently used first."""
    return [_sign_in(row) for row in await sql.all("list_sessions", user_id=user_id, idle=idle, rows=rows)]


async def touch_sessions(sql: Statements, session_ids: Iterable[UUID], idle: timedelta) -> None:
    """Record that these sessions were used just now, if they are live."""
    await sql.one("touch_sessions", session_ids=list(session_ids), idle=idle)


async def end_session(sql: Statements, session_id: UUID, user_id: int) -> None:
    """End one of the user's sessions; ending it twice is no error."""
    await sql.one("end_session", session_id=session_id, user_id=user_id)


async def end_sessions(sql: Statements, user_id: int, kept: UUID | None) -> set[UUID]:
    """End the user's sessions except `kept`, and return the ids of those that ended."""
    return {row["id"] for row in await sql.all("end_sessions", user_id=user_id, kept=kept)}


async def delete_sessions(sql: Statements, user_id: int) -> None:
    """Delete all of a user's sessions."""
    await sql.one("delete_sessions", user_id=user_id)


async def export_sessions(sql: Statements, user_id: int) -> list[SessionSummary]:
    """Return all of a user's sessions that are still stored, including ended ones, oldest first."""
    return [_sign_in(row) for row in await sql.all("export_sessions", user_id=user_id)]


async def prune_sessions(sql: Statements, days: int, rows: int) -> int:
    """Delete up to `rows` sessions that ended more than `days` days ago; return how many were deleted."""
    return int(await sql.one("prune_sessions", days=days, rows=rows))


def _sign_in(row: Mapping[str, Any]) -> SessionSummary:
    return SessionSummary(
        id=row["id"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        client=Client(address=row["address"], device=row["device"]),
    )
