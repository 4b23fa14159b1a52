"""Register, sign in, and the sessions that a sign-in starts."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from seatweb.database import Database, Transaction
from seatweb.errors import BadCredentials, InvalidInput, Overloaded
from seatweb.limits import Limits
from seatweb.memory import Kept, Memory
from seatweb.model import Session, User
from seatweb.passwords import LONGEST, Passwords
from seatweb.queries import Queries

SHORTEST_USERNAME: Final = 3
LONGEST_USERNAME: Final = 50
# A session that was ended elsewhere may count here for so long; promised is 1 s. Those in use are verified more often.
SESSION_SECONDS: Final = 0.9
VERIFY_SECONDS: Final = 0.4
USED_SECONDS: Final = 60.0
SESSIONS_KEPT: Final = 10_000

log = structlog.get_logger(__name__)
INVISIBLE: Final = frozenset("\u115f\u1160\u3164\uffa0")  # Hangul fillers: letters that show nothing


class Accounts:
    """People and their sign-ins."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        limits: Limits,
        *,
        session_days: int,
        shortest_password: int,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._limits = limits
        self._session_length = timedelta(days=session_days)
        self._shortest_password = shortest_password
        self._sessions = Memory(self._read_session, seconds=SESSION_SECONDS, entries=SESSIONS_KEPT)
        self._seen: Kept[tuple[UUID, int], float] = Kept(SESSIONS_KEPT)

    async def register(self, username: str, password: str, address: str) -> Session:
        """Return the first session of a new user; both are there or neither is. The address is the client's.

        Raises:
            InvalidInput: with a text for each field that cannot be used.
            UsernameTaken: someone has the name, in whatever case.
            TooManyAttempts: too many were tried from this address.
            Overloaded: too many passwords are being hashed.
        """
        name = unicodedata.normalize("NFC", username.strip())
        problems = {
            "username": _username_problem(name),
            "password": self._password_problem(password),
        }
        fields = {field: problem for field, problem in problems.items() if problem}
        if fields:
            raise InvalidInput(fields=fields)
        await self._limits.registration(address)
        password_hash = await self._passwords.hash(password)

        async def register(transaction: Transaction) -> Session:
            user = await transaction.register_user(name, _username_key(name), password_hash)
            return await self._start_session(transaction, user)

        return await self._database.transaction(register)

    async def sign_in(self, username: str, password: str, address: str) -> Session:
        """Return a new session of the user whose name and password these are. The address is the client's.

        Raises:
            BadCredentials: they do not go together, or the account is disabled; no one can tell which.
            TooManyAttempts: that failed too often with this username or from this address.
            Overloaded: too many passwords are being verified.
        """
        name = unicodedata.normalize("NFC", username.strip())
        async with self._limits.sign_in_attempt(_username_key(name), address):
            user = await self._check_password(name, password)
        return await self._database.write(lambda queries: self._start_session(queries, user))

    async def _check_password(self, name: str, password: str) -> User:
        known = None
        if not _username_problem(name):
            known = await self._database.run(lambda queries: queries.find_credentials(_username_key(name)))
        right = await self._passwords.verify(password[: LONGEST + 1], known.password_hash if known else None)
        if known is None or not right or known.disabled:
            raise BadCredentials
        return known.user

    async def find_session(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session while it counts: not ended, not over, its user not disabled."""
        self._seen[session_id, user_id] = time.monotonic()
        return await self._sessions.get((session_id, user_id))

    def peek_session(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session while it counts, if that is known without asking the database."""
        self._seen[session_id, user_id] = time.monotonic()
        return self._sessions.peek((session_id, user_id))

    async def end_session(self, session: Session) -> None:
        """End the session; ending it twice is no error."""
        try:
            await self._database.write(lambda queries: queries.end_session(session.id))
        finally:
            self._sessions.forget((session.id, session.user.id))

    @asynccontextmanager
    async def verifying(
        self, watched: Callable[[], set[UUID]], ended: Callable[[set[UUID]], None]
    ) -> AsyncIterator[None]:
        """Look again and again, in one query, whether the sessions still count that were used lately or are watched.

        `ended` is told those that do not.
        """
        task = asyncio.create_task(self._verify(watched, ended))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _verify(self, watched: Callable[[], set[UUID]], ended: Callable[[set[UUID]], None]) -> None:
        while True:
            await asyncio.sleep(VERIFY_SECONDS)
            now = time.monotonic()
            used = [key for key, at in self._seen.items() if now - at < USED_SECONDS and self._sessions.peek(key)]
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

    async def _live(self, session_ids: set[UUID]) -> set[UUID]:
        return await self._database.run(lambda queries: queries.live_sessions(session_ids))

    async def _read_session(self, key: tuple[UUID, int]) -> Session | None:
        return await self._database.run(lambda queries: queries.find_session(*key))

    async def _start_session(self, queries: Queries, user: User) -> Session:
        expires_at = datetime.now(UTC) + self._session_length
        session_id = await queries.start_session(user.id, expires_at)
        return Session(id=session_id, user=user, expires_at=expires_at)

    def _password_problem(self, password: str) -> str | None:
        if not password:
            return "Choose a password."
        if len(password) < self._shortest_password:
            return f"Use at least {self._shortest_password} characters."
        if len(password) > LONGEST:
            return f"Use at most {LONGEST} characters."
        return None


def _username_problem(name: str) -> str | None:
    if not name:
        return "Choose a username."
    if not SHORTEST_USERNAME <= len(name) <= LONGEST_USERNAME:
        return f"Use {SHORTEST_USERNAME} to {LONGEST_USERNAME} characters."
    if not name.isprintable():
        return "Use letters, digits, spaces and punctuation only."
    letters = [character for character in name if character.isalnum() and character not in INVISIBLE]
    marks = [character for character in name if unicodedata.combining(character)]
    if not letters or len(marks) > 2 * len(letters):
        return "Use at least one letter or digit."
    return None


def _username_key(name: str) -> str:
    """Return what makes two usernames the same: compatibility forms and case do not count (Unicode's NFKC casefold)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
