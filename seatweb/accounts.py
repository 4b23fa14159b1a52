"""Register, sign in, and the sessions that a sign-in starts."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from seatweb.database import Database
from seatweb.errors import BadCredentials, InvalidInput
from seatweb.model import Session, User
from seatweb.passwords import LONGEST, Passwords

SHORTEST_USERNAME: Final = 3
LONGEST_USERNAME: Final = 50


class Accounts:
    """People and their sign-ins."""

    def __init__(self, database: Database, passwords: Passwords, *, session_days: int, shortest_password: int) -> None:
        self._database = database
        self._passwords = passwords
        self._session_length = timedelta(days=session_days)
        self._shortest_password = shortest_password

    async def register(self, username: str, password: str) -> User:
        """Return the new user.

        Raises:
            InvalidInput: with a text for each field that cannot be used.
            UsernameTaken: someone has the name, in whatever case.
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
        password_hash = await self._passwords.hash(password)
        return await self._database.run(lambda queries: queries.register_user(name, _username_key(name), password_hash))

    async def sign_in(self, username: str, password: str) -> Session:
        """Return a new session of the user whose name and password these are.

        Raises:
            BadCredentials: they do not go together, or the account is disabled; no one can tell which.
            Overloaded: too many passwords are being verified.
        """
        name = unicodedata.normalize("NFC", username.strip())
        known = None
        if not _username_problem(name):
            known = await self._database.run(lambda queries: queries.find_credentials(_username_key(name)))
        right = await self._passwords.verify(password[: LONGEST + 1], known.password_hash if known else None)
        if known is None or not right or known.disabled:
            raise BadCredentials
        return await self.start_session(known.user)

    async def start_session(self, user: User) -> Session:
        """Return a new session of the user."""
        expires_at = datetime.now(UTC) + self._session_length
        session_id = await self._database.run(lambda queries: queries.start_session(user.id, expires_at))
        return Session(id=session_id, user=user, expires_at=expires_at)

    async def find_session(self, session_id: UUID, user_id: int) -> Session | None:
        """Return the session while it counts: not ended, not over, its user not disabled."""
        return await self._database.run(lambda queries: queries.find_session(session_id, user_id))

    async def end_session(self, session_id: UUID) -> None:
        """End the session; ending it twice is no error."""
        await self._database.run(lambda queries: queries.end_session(session_id))

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
    if not any(character.isalnum() for character in name):
        return "Use at least one letter or digit."
    return None


def _username_key(name: str) -> str:
    """Return what makes two usernames the same: compatibility forms and case do not count (Unicode's NFKC casefold)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
