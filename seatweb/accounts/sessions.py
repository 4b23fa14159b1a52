"""Sessions: sign-ins of users on devices. A session is live until it is ended, expires, or is idle for too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.model import Role, Session, SessionSummary, User
from seatweb.errors import NotAllowed, NotSignedIn, Overloaded
from seatweb.http.client_address import Client
from seatweb.storage.caching import BoundedDict, TimedCache
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

# How long this process may accept a session that ended elsewhere; 1 s is promised. It asks more often what has changed.
SESSION_SECONDS: Final = 0.9
FOLLOW_SECONDS: Final = 0.4
LONGEST_GAP_SECONDS: Final = 1800.0  # changes are kept for an hour
USED_SECONDS: Final = 60.0
TOUCH_SECONDS: Final = 60.0
SESSIONS_KEPT: Final = 10_000
MARKED_AT_ONCE: Final = 5000  # sessions per statement, so that none takes long
MOST_SESSIONS: Final = 50  # per user; nobody uses as many devices
LISTED: Final = 50  # naming a device takes milliseconds, and an API client may have signed in a thousand times

Proof: TypeAlias = Callable[[Statements], Awaitable[None]]
"""Uses up a proof of identity, such as a code, in the transaction of the action that it authorizes.

It locks the user's account, and raises if the proof is no longer valid.
"""

log = structlog.get_logger(__name__)


async def require_signed_in(sql: Statements, session: Session) -> None:
    """Check that the session is live, and lock it and the user's account until the transaction ends.

    A password or code was checked before, for this session. So an action that relies on that check calls this in its
    own transaction: a changed password or a disabled account has ended the session.

    Raises:
        NotSignedIn: the session has ended, or the account is disabled or deleted.
    """
    user_id = session.user.id
    if not await queries.lock_accounts(sql, user_id) or not await session_queries.lock_session(
        sql, session.id, user_id
    ):
        raise NotSignedIn


async def require_administrator(sql: Statements, session: Session, user_id: int) -> dict[int, Role]:
    """Check that the session is an administrator's; lock it, their account and the user's until the transaction ends.

    Return the roles of the accounts that are not disabled, by id.

    Raises:
        NotSignedIn: the session has ended, or the administrator's account is disabled.
        NotAllowed: its user is no longer an administrator.
    """
    actor_id = session.user.id
    roles = await queries.lock_accounts(sql, actor_id, user_id)
    if actor_id not in roles or not await session_queries.lock_session(sql, session.id, actor_id):
        raise NotSignedIn
    if roles[actor_id] is not Role.ADMIN:
        raise NotAllowed
    return roles


class Sessions:
    """All users' sessions; each lasts for `days`, and ends when it has not been used for `idle_hours`.

    With `factor_needed`, a session started with only a password is an enrolling one (see `Session.enrolling`).
    """

    def __init__(self, database: Database, *, days: int, idle_hours: int, factor_needed: bool = False) -> None:
        self._database = database
        self.factor_needed: Final = factor_needed
        self._length = timedelta(days=days)
        self._idle = timedelta(hours=idle_hours)
        self._sessions = TimedCache(self._read, seconds=SESSION_SECONDS, entries=SESSIONS_KEPT)
        self._used: BoundedDict[tuple[UUID, int], float] = BoundedDict(SESSIONS_KEPT)
        self._horizon: int | None = None  # of the changes that this process knows
        self._followed_at = float("-inf")

    async def start(
        self,
        sql: Statements,
        user: User,
        client: Client,
        password_hash: str | None = None,
        *,
        with_factor: bool,
    ) -> Session:
        """Start a session in the caller's transaction and return it; of more than 50, the least recently used ones end.

        If a second factor is needed, the session is an enrolling one, unless it starts `with_factor`.

        Raises:
            BadCredentials: `password_hash` is given and no longer current, or the account was disabled or deleted.
        """
        expires_at = datetime.now(UTC) + self._length
        enrolling = self.factor_needed and not with_factor
        session_id = await session_queries.start_session(
            sql, user.id, expires_at, client, password_hash, enrolling=enrolling, most=MOST_SESSIONS
        )
        if session_id is None:
            raise BadCredentials
        return Session(id=session_id, user=user, expires_at=expires_at, enrolling=enrolling)

    @property
    def idle(self) -> timedelta:
        """How long a session lasts without being used."""
        return self._idle

    async def mark_enrolling(self) -> None:
        """Update which sessions are enrolling, in case the setting has changed, some thousands at a time."""
        after: UUID | None = UUID(int=0)
        while after is not None:
            after = await self._database.write(
                session_queries.mark_enrolling, after, MARKED_AT_ONCE, needed=self.factor_needed
            )

    async def finish_enrolling(self, session: Session, client: Client) -> Session:
        """Replace all the user's sessions with one that is not enrolling, now that there is a second factor; return it.

        Raises:
            NotSignedIn: the enrolling session has ended.
            BadCredentials: the account was disabled or deleted meanwhile.
        """

        async def finish(sql: Statements) -> tuple[set[UUID], Session]:
            await queries.lock_accounts(sql, session.user.id)  # before the sessions, as everywhere, to avoid deadlocks
            ended = await session_queries.end_sessions(sql, session.user.id, None)
            if session.id not in ended:
                raise NotSignedIn
            return ended, await self.start(sql, session.user, client, with_factor=True)

        ended, new = await self._database.transaction(finish)
        self.forget(session.user.id, ended)
        return new

    async def find(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session if it is live: not ended, expired or idle for too long, and its user not disabled.

        It may be an enrolling one, which most callers must not accept: see `Session.enrolling`.
        """
        self._use(session_id, user_id)
        return await self._sessions.get((session_id, user_id))

    def peek(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session if it is cached as live and is not an enrolling one; never ask the database."""
        self._use(session_id, user_id)
        session = self._sessions.peek((session_id, user_id))
        return session if session and not session.enrolling else None

    async def of(self, user: User) -> list[SessionSummary]:
        """Return the user's live sessions, most recently used first, at most `LISTED`."""
        return await self._database.run(session_queries.list_sessions, user.id, self._idle, LISTED)

    async def end(self, user: User, session_id: UUID) -> None:
        """End one of the user's sessions; do nothing if it has ended or is another user's."""
        try:
            await self._database.write(session_queries.end_session, session_id, user.id)
        finally:
            self._sessions.forget((session_id, user.id))

    async def end_all(self, user: User) -> None:
        """End every session of the user."""
        ended = await self._database.write(session_queries.end_sessions, user.id, None)
        self.forget(user.id, ended)

    def forget(self, user_id: int, ended: Iterable[UUID]) -> None:
        """Treat these sessions as ended in this process from now on; other processes notice within a second."""
        for session_id in ended:
            self._sessions.forget((session_id, user_id))

    def _use(self, session_id: UUID, user_id: int) -> None:
        key, now = (session_id, user_id), time.monotonic()
        if now - self._used.get(key, float("-inf")) > USED_SECONDS:
            self._sessions.forget(key)  # it may have been idle for too long
        self._used[key] = now

    @asynccontextmanager
    async def following(
        self, watched: Callable[[], Mapping[UUID, int]], ended: Callable[[set[UUID]], None]
    ) -> AsyncIterator[None]:
        """Keep asking, in one query for all users, whose sessions have changed, and forget those.

        `watched` returns sessions that must end at once, with their users' ids; call `ended` with those that have
        ended. Once a minute, record which sessions were used, and look for watched ones that have expired.
        """
        tasks = [asyncio.create_task(self._follow(watched, ended)), asyncio.create_task(self._touch(watched, ended))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watched: Callable[[], Mapping[UUID, int]], ended: Callable[[set[UUID]], None]) -> None:
        changed: set[int] = set()  # users whose watched sessions have not been looked up since
        while True:
            try:
                changed |= await self._read_changes()
                await self._end_watched({id_ for id_, user_id in watched().items() if user_id in changed}, ended)
                changed.clear()
            except Overloaded:
                pass  # sessions that are not known to be unchanged are looked up when they are used
            except Exception:
                log.exception("checking for changed sessions failed")
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _read_changes(self) -> frozenset[int]:
        """Forget the sessions that may have changed, and return the ids of their users."""
        began = time.monotonic()
        horizon = self._horizon if began - self._followed_at < LONGEST_GAP_SECONDS else None
        changes = await self._database.run(session_queries.session_changes, horizon)
        if horizon is None or changes.horizon < horizon:  # the latter in another database, such as a restored one
            self._sessions.forget_all()
        elif changes.user_ids:
            self._sessions.forget_all(lambda key: key[1] in changes.user_ids)
        self._sessions.renew_all(began)
        self._horizon, self._followed_at = changes.horizon, began
        return changes.user_ids

    async def _end_watched(self, ids: set[UUID], ended: Callable[[set[UUID]], None]) -> None:
        if ids:
            ended(ids - await self._database.run(session_queries.live_sessions, ids, self._idle))

    async def _touch(self, watched: Callable[[], Mapping[UUID, int]], ended: Callable[[set[UUID]], None]) -> None:
        since = time.monotonic()
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            now = time.monotonic()
            used = {session_id for (session_id, _), at in self._used.items() if at >= since}
            try:
                if used:
                    await self._record_use(used)
                since = now
                await self._end_watched({*watched()}, ended)
                await self._database.write(session_queries.prune_session_changes)
            except Overloaded:
                continue  # next time
            except Exception:
                log.exception("recording the use of sessions failed")

    async def _record_use(self, session_ids: set[UUID]) -> None:
        await self._database.write(session_queries.touch_sessions, session_ids, self._idle)

    async def _read(self, key: tuple[UUID, int]) -> Session | None:
        return await self._database.run(session_queries.find_session, *key, self._idle)
