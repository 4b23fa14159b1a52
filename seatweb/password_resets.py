"""A forgotten password: a code that whoever runs the site hands over, once they are sure who it is."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final
from uuid import UUID

import structlog

from seatweb.accounts import NOWHERE
from seatweb.database import Database, Transaction
from seatweb.errors import BadCredentials, InvalidInput, NotAllowed, UserNotFound
from seatweb.limits import Limits
from seatweb.model import Client, Role, Session, User
from seatweb.passwords import PasswordRules, Passwords
from seatweb.sessions import Sessions
from seatweb.usernames import typed_username, username_key

log = structlog.get_logger(__name__)

CODE_HOURS: Final = 24
CODE_BYTES: Final = 15  # 120 random bits: unlike a password, it needs no slow hash
LONGEST_TYPED: Final = 100  # characters; a code has 29
SEPARATORS: Final = re.compile(r"[\s-]+")
MISREAD: Final = str.maketrans("018", "OIB")  # base32 (RFC 4648) has none of these digits


class ResetCodes:
    """Make the codes. They replace the password only: a second factor stays."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, user_id: int, by: Session | None = None) -> tuple[User, str]:
        """Return the user and a code for their next password; it counts once, for 24 hours, and none before it does.

        Raises:
            UserNotFound: there is no such account.
            NotAllowed: it is an administrator's; those get one from the command only.
        """
        code = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()

        async def put(transaction: Transaction) -> User:
            user = await transaction.find_user(user_id)
            if user is None:
                raise UserNotFound
            if by and user.role is Role.ADMIN:
                raise NotAllowed("An administrator gets a code from who runs the site, by its command.")
            await transaction.put_password_reset(user_id, _hash(code), CODE_HOURS, by.user.id if by else None)
            return user

        user = await self._database.transaction(put)
        return user, "-".join(code[place : place + 4] for place in range(0, len(code), 4))


class PasswordResets:
    """Use the codes."""

    def __init__(
        self, database: Database, passwords: Passwords, sessions: Sessions, limits: Limits, rules: PasswordRules
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._limits = limits
        self._rules = rules

    async def use(self, username: str, code: str, new_password: str, client: Client = NOWHERE) -> None:
        """Give the user a new password, and end all their sessions.

        Raises:
            InvalidInput: the new password cannot be used.
            BadCredentials: the code is not this user's, is over, or was used; no one can tell which.
            TooManyAttempts: that failed too often with this username or from this address.
            Overloaded: too many passwords are being hashed.
        """
        key, code_hash = username_key(typed_username(username)), _hash(code)
        problem = self._rules.problem(new_password, username)
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        # Counted apart from sign-ins: whoever tries codes keeps nobody from signing in.
        async with self._limits.sign_in_attempt(key, client.address, "reset"):
            user_id = await self._database.run(lambda queries: queries.find_password_reset(key, code_hash))
            if user_id is None:
                log.info("password reset refused")
                raise BadCredentials
            password_hash = await self._passwords.hash(new_password)

            async def change(transaction: Transaction) -> set[UUID]:
                if not await transaction.use_password_reset(user_id, code_hash):
                    raise BadCredentials
                await transaction.change_password(user_id, password_hash, None)
                return await transaction.end_sessions(user_id, None)

            self._sessions.forget(user_id, await self._database.transaction(change))
            log.info("password reset", user_id=user_id)


def _hash(code: str) -> str:
    plain = SEPARATORS.sub("", code[:LONGEST_TYPED]).upper().translate(MISREAD)
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
