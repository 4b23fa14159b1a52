"""Sessions: one sign-in of a user on one device, which counts until it is ended, over, or idle for too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.model import Role, Session, SignIn, User
from seatweb.errors import NotAllowed, NotSignedIn, Overloaded
from seatweb.http.client_address import Client
from seatweb.storage.caching import BoundedDict, TimedCache
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

# A session that was ended elsewhere may count here for so long; promised is 1 s. Those in use are verified more often.
SESSION_SECONDS: Final = 0.9
VERIFY_SECONDS: Final = 0.4
USED_SECONDS: Final = 60.0
TOUCH_SECONDS: Final = 60.0
SESSIONS_KEPT: Final = 10_000
MARKED_AT_ONCE: Final = 5000  # sessions, so that no statement takes long
MOST_SESSIONS: Final = 50  # of one user; nobody uses as many devices
LISTED: Final = 50  # to name a device takes milliseconds, and a program may have signed in a thousand times

Proof: TypeAlias = Callable[[Statements], Awaitable[None]]
"""Uses up what proved who someone is, in the transaction of what that allows, which then holds the user's account.

It raises where the proof no longer counts.
"""

log = structlog.get_logger(__name__)


async def still_signed_in(sql: Statements, session: Session) -> None:
    """Hold the user's account and the session until the transaction ends.

    What was allowed because of a password or a code is allowed to this session. So what is done because of it asks, in
    its own transaction, whether the session still counts: a new password or a disabled account ends it.

    Raises:
        NotSignedIn: the session has ended, or the account is disabled or deleted.
    """
    user_id = session.user.id
    if not await queries.lock_accounts(sql, user_id) or not await session_queries.lock_session(
        sql, session.id, user_id
    ):
        raise NotSignedIn


async def still_administrator(sql: Statements, session: Session, user_id: int) -> None:
    """Hold the accounts of an administrator and of the user they act on until the transaction ends.

    Raises:
        NotSignedIn: the session has ended, or the administrator's account is disabled.
        NotAllowed: they are no administrator any more.
    """
    actor_id = session.user.id
    roles = await queries.lock_accounts(sql, actor_id, user_id)
    if actor_id not in roles or not await session_queries.lock_session(sql, session.id, actor_id):
        raise NotSignedIn
    if roles[actor_id] is not Role.ADMIN:
        raise NotAllowed


class Sessions:
    """The sessions of everyone; each lasts for `days`, and ends when it is not used for `idle_hours`.

    With `factor_needed`, those that a password alone started are enrolling ones, until there is a second factor.
    """

    def __init__(self, database: Database, *, days: int, idle_hours: int, factor_needed: bool = False) -> None:
        self._database = database
        self.factor_needed: Final = factor_needed
        self._length = timedelta(days=days)
        self._idle = timedelta(hours=idle_hours)
        self._sessions = TimedCache(self._read, seconds=SESSION_SECONDS, entries=SESSIONS_KEPT)
        self._used: BoundedDict[tuple[UUID, int], float] = BoundedDict(SESSIONS_KEPT)

    async def start(
        self,
        sql: Statements,
        user: User,
        client: Client,
        password_hash: str | None = None,
        *,
        with_factor: bool,
    ) -> Session:
        """Return a new session, begun in the caller's transaction; with a hash, only while it is that of the password.

        A user has 50 at most; beyond that those end that were not used for longest.

        Where a second factor is needed, it is an enrolling one, unless it starts `with_factor`.

        Raises:
            BadCredentials: it is another by now, or the account was disabled or deleted.
        """
        expires_at = datetime.now(UTC) + self._length
        enrolling = self.factor_needed and not with_factor
        session_id = await session_queries.start_session(
            sql, user.id, expires_at, client, password_hash, enrolling=enrolling, most=MOST_SESSIONS
        )
        if session_id is None:
            raise BadCredentials
        return Session(id=session_id, user=user, expires_at=expires_at, enrolling=enrolling)

    async def mark_enrolling(self) -> None:
        """Bring the sessions that live in line with whether a second factor is needed, some thousands at a time."""
        after: UUID | None = UUID(int=0)
        while after is not None:
            after = await self._database.write(
                session_queries.mark_enrolling, after, MARKED_AT_ONCE, needed=self.factor_needed
            )

    async def finish_enrolling(self, session: Session, client: Client) -> Session:
        """Return the session that follows an enrolling one, now that there is a second factor; all others end.

        Raises:
            NotSignedIn: the session was ended meanwhile.
            BadCredentials: the account was disabled or deleted meanwhile.
        """

        async def finish(sql: Statements) -> tuple[set[UUID], Session]:
            await queries.lock_accounts(sql, session.user.id)  # before the sessions, as everywhere: else a deadlock
            ended = await session_queries.end_sessions(sql, session.user.id, None)
            if session.id not in ended:
                raise NotSignedIn
            return ended, await self.start(sql, session.user, client, with_factor=True)

        ended, new = await self._database.transaction(finish)
        self.forget(session.user.id, ended)
        return new

    async def find(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session while it counts: not ended, not over, not idle for too long, its user not disabled.

        An enrolling one counts for most things as none: see `Session.enrolling`.
        """
        self._used[session_id, user_id] = time.monotonic()
        return await self._sessions.get((session_id, user_id))

    def peek(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session while it counts for everything, if that is known without asking the database."""
        self._used[session_id, user_id] = time.monotonic()
        session = self._sessions.peek((session_id, user_id))
        return session if session and not session.enrolling else None

    async def of(self, user: User) -> list[SignIn]:
        """Return the user's sessions that still count, the one that was used last first, `LISTED` at most."""
        return await self._database.run(session_queries.list_sessions, user.id, self._idle, LISTED)

    async def end(self, user: User, session_id: UUID) -> None:
        """End a session of the user; ending it twice, or one that is not theirs, changes nothing and is no error."""
        try:
            await self._database.write(session_queries.end_session, session_id, user.id)
        finally:
            self._sessions.forget((session_id, user.id))

    async def end_all(self, user: User) -> None:
        """End every session of the user."""
        ended = await self._database.write(session_queries.end_sessions, user.id, None)
        self.forget(user.id, ended)

    def forget(self, user_id: int, ended: Iterable[UUID]) -> None:
        """Take these sessions of the user as ended from now on, in this process; others see it within a second."""
        for session_id in ended:
            self._sessions.forget((session_id, user_id))

    @asynccontextmanager
    async def verifying(
        self, watched: Callable[[], set[UUID]], ended: Callable[[set[UUID]], None]
    ) -> AsyncIterator[None]:
        """Look again and again, in one query, whether the sessions still count that were used lately or are watched.

        `ended` is told those that do not. Once a minute those that were used are noted as such.
        """
        tasks = [asyncio.create_task(self._verify(watched, ended)), asyncio.create_task(self._touch())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _verify(self, watched: Callable[[], set[UUID]], ended: Callable[[set[UUID]], None]) -> None:
        while True:
            await asyncio.sleep(VERIFY_SECONDS)
            now = time.monotonic()
            used = [key for key, at in self._used.items() if now - at < USED_SECONDS and self._sessions.peek(key)]
            ids = watched().union(session_id for session_id, _ in used)
            if not ids:
                continue
            try:
                live = await self._live(ids)
            except Overloaded:
                continue  # what is not verified in time is looked up when it is used
            except Exception:
                log.exception("verifying sessions failed")
                continue
            for key in used:
                if key[0] in live:
                    self._sessions.renew(key, now)
                else:
                    self._sessions.forget(key)
            ended(ids - live)

    async def _touch(self) -> None:
        since = time.monotonic()
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            now = time.monotonic()
            used = {session_id for (session_id, _), at in self._used.items() if at >= since}
            try:
                if used:
                    await self._note(used)
                since = now
            except Overloaded:
                continue  # next time, then
            except Exception:
                log.exception("noting the use of sessions failed")

    async def _note(self, session_ids: set[UUID]) -> None:
        await self._database.write(session_queries.touch_sessions, session_ids, self._idle)

    async def _live(self, session_ids: set[UUID]) -> set[UUID]:
        return await self._database.run(session_queries.live_sessions, session_ids, self._idle)

    async def _read(self, key: tuple[UUID, int]) -> Session | None:
        return await self._database.run(session_queries.find_session, *key, self._idle)
