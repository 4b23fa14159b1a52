"""A forgotten password: a code that whoever runs the site hands over, once they are sure who it is."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.codes import hash_code, new_code
from seatweb.accounts.errors import BadCredentials, UserNotFound
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Asker
from seatweb.accounts.model import Role, Session, User
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.sessions import Sessions, still_administrator
from seatweb.accounts.usernames import typed_username, username_key
from seatweb.errors import InvalidInput, NotAllowed
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

CODE_HOURS: Final = 24


class ResetCodes:
    """Make the codes. They replace the password only: a second factor stays."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, user_id: int, by: Session | None = None) -> tuple[User, str]:
        """Return the user and a code for their next password.

        It works once, for 24 hours, and replaces any before it. It stops working when the role or the state of the user
        changes, or of the administrator `by` whom it was made (None: the operator).

        Raises:
            UserNotFound: there is no such account.
            NotSignedIn, NotAllowed: `by` is no administrator any more.
            NotAllowed: it is an administrator's account; those get a code from the operator's command only.
        """
        code = new_code()

        async def put(sql: Statements) -> User:
            if by:
                await still_administrator(sql, by, user_id)
            else:
                await queries.lock_accounts(sql, user_id)
            user = await queries.find_user(sql, user_id)
            if user is None:
                raise UserNotFound
            if by and user.role is Role.ADMIN:
                raise NotAllowed(reason="reset_of_administrator")
            await queries.put_password_reset(sql, user_id, hash_code(code), CODE_HOURS, by.user.id if by else None)
            return user

        return await self._database.transaction(put), code


class PasswordResets:
    """Use the codes."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sessions: Sessions,
        failed_sign_ins: FailedSignIns,
        rules: PasswordRules,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._failed_sign_ins = failed_sign_ins
        self._rules = rules

    async def use(self, username: str, code: str, new_password: str, client: Client = NOWHERE) -> None:
        """Give the user a new password, and end all their sessions.

        Raises:
            InvalidInput: the new password cannot be used.
            BadCredentials: the code is not this user's, is over, or was used; no one can tell which.
            TooManyAttempts: that failed too often from this address.
            Overloaded: too many passwords are being hashed.
        """
        key, code_hash = username_key(typed_username(username)), hash_code(code)
        problem = self._rules.problem(new_password, username)
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        # Nobody guesses 120 random bits, so tries are not counted by username: that would only lock its owner out.
        async with self._failed_sign_ins.reset_code(client.address):
            user_id = await self._database.run(queries.find_password_reset, key, code_hash)
            if user_id is None:
                log.info("password reset refused")
                raise BadCredentials
            password_hash = await self._passwords.hash(new_password, Asker(client.address, f"reset {key}"))

            async def change(sql: Statements) -> set[UUID]:
                await queries.lock_accounts(sql, user_id)
                if not await queries.use_password_reset(sql, user_id, code_hash):
                    raise BadCredentials
                await queries.change_password(sql, user_id, None, password_hash, None)
                return await session_queries.end_sessions(sql, user_id, None)

            self._sessions.forget(user_id, await self._database.transaction(change))
            log.info("password reset", user_id=user_id)
