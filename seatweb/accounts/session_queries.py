"""The SQL of sessions (`sql/queries/sessions.sql`), typed: parameters in, structs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from seatweb.accounts.model import Session, SignIn
from seatweb.accounts.queries import user_of
from seatweb.http.client_address import Client
from seatweb.storage.statements import Statements


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
    """Return the id of a new session; None where the account does not count, or has not this hash any more.

    The user has `most` sessions at most; those end that were not used for longest.
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
    """Hold the session until the transaction ends; return whether it still counts."""
    return await sql.one("lock_session", session_id=session_id, user_id=user_id) is not None


async def find_session(sql: Statements, session_id: UUID, user_id: int, idle: timedelta) -> Session | None:
    """Return the session with its user while it counts."""
    row = await sql.one("find_session", session_id=session_id, user_id=user_id, idle=idle)
    return row and Session(
        id=row["id"],
        user=user_of(row, "user_id"),
        expires_at=row["expires_at"],
        enrolling=row["enrolling"],
    )


async def mark_enrolling(sql: Statements, after: UUID, rows: int, *, needed: bool) -> UUID | None:
    """Let the next sessions after an id be enrolling ones where a second factor is needed and missing, else not.

    Returns the last id that was looked at, None when there is no further session.
    """
    last: UUID | None = await sql.one("mark_enrolling", needed=needed, after=after, rows=rows)
    return last


async def live_sessions(sql: Statements, session_ids: Iterable[UUID], idle: timedelta) -> set[UUID]:
    """Return those of the sessions that still count."""
    return {row["id"] for row in await sql.all("live_sessions", session_ids=list(session_ids), idle=idle)}


async def list_sessions(sql: Statements, user_id: int, idle: timedelta, rows: int) -> list[SignIn]:
    """Return the user's sessions that still count, the one that was used last first, this many at most."""
    return [_sign_in(row) for row in await sql.all("list_sessions", user_id=user_id, idle=idle, rows=rows)]


async def touch_sessions(sql: Statements, session_ids: Iterable[UUID], idle: timedelta) -> None:
    """Note that these sessions were used just now, if they still count."""
    await sql.one("touch_sessions", session_ids=list(session_ids), idle=idle)


async def end_session(sql: Statements, session_id: UUID, user_id: int) -> None:
    """End a session of the user; ending it twice is no error."""
    await sql.one("end_session", session_id=session_id, user_id=user_id)


async def end_sessions(sql: Statements, user_id: int, kept: UUID | None) -> set[UUID]:
    """End the user's sessions but for one that is kept, and return the ids of those that ended."""
    return {row["id"] for row in await sql.all("end_sessions", user_id=user_id, kept=kept)}


async def delete_sessions(sql: Statements, user_id: int) -> None:
    """Forget where a user was signed in."""
    await sql.one("delete_sessions", user_id=user_id)


async def export_sessions(sql: Statements, user_id: int) -> list[SignIn]:
    """Return every session of a user that is still kept, oldest first."""
    return [_sign_in(row) for row in await sql.all("export_sessions", user_id=user_id)]


async def prune_sessions(sql: Statements, days: int, rows: int) -> int:
    """Forget sessions that are over for so many days."""
    return int(await sql.one("prune_sessions", days=days, rows=rows))


def _sign_in(row: Mapping[str, Any]) -> SignIn:
    return SignIn(
        id=row["id"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        client=Client(address=row["address"], device=row["device"]),
    )
