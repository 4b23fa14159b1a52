"""Reset forgotten passwords with codes that an administrator or the operator hands over, once sure who is asking."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.codes import hash_code, new_code
from seatweb.accounts.errors import BadCredentials, UserNotFound
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.model import Role, Session, User
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.sessions import Sessions, require_administrator
from seatweb.accounts.usernames import typed_username, username_key
from seatweb.errors import InvalidInput, NotAllowed
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

CODE_HOURS: Final = 24


class ResetCodes:
    """Makes reset codes. They replace only the password; a second factor is still required."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, user_id: int, by: Session | None = None) -> tuple[User, str]:
        """Return the user, and a code with which they can set a new password.

        It works once, for 24 hours, and replaces any earlier code. It stops working when the role or the state of the
        user changes, or of its maker: the administrator whose session is `by`, or the operator if that is None.

        Raises:
            UserNotFound: there is no such account.
            NotSignedIn, NotAllowed: `by` has ended, or its user is no longer an administrator.
            NotAllowed: the account is an administrator's; only the operator's command makes codes for those.
        """
        code = new_code()

        async def store(sql: Statements) -> User:
            if by:
                await require_administrator(sql, by, user_id)
            else:
                await queries.lock_accounts(sql, user_id)
            account = await queries.find_account(sql, user_id)
            if account is None:
                raise UserNotFound
            user = account.user
            if by and user.role is Role.ADMIN:
                raise NotAllowed(reason="reset_of_administrator")
            await queries.put_password_reset(sql, user_id, hash_code(code), CODE_HOURS, by.user.id if by else None)
            return user

        return await self._database.transaction(store), code


class PasswordResets:
    """Accepts reset codes."""

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
        """Set the user's password, and end all their sessions.

        Raises:
            InvalidInput: the new password breaks a rule.
            BadCredentials: the code is another user's, expired or used; the error does not tell which.
            TooManyAttempts: too many attempts from this address failed.
            Overloaded: too many passwords are being hashed.
        """
        key, code_hash = username_key(typed_username(username)), hash_code(code)
        problem = self._rules.problem(new_password, username)
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        # Nobody can guess 120 random bits. Counting attempts per username would only let others lock the owner out.
        async with self._failed_sign_ins.reset_code(client.address):
            user_id = await self._database.run(queries.find_password_reset, key, code_hash)
            if user_id is None:
                log.info("password reset refused")
                raise BadCredentials
            password_hash = await self._passwords.hash(new_password, Requester(client.address, f"reset {key}"))

            async def change(sql: Statements) -> set[UUID]:
                await queries.lock_accounts(sql, user_id)
                if not await queries.use_password_reset(sql, user_id, code_hash):
                    raise BadCredentials
                await queries.change_password(sql, user_id, None, password_hash, None)
                return await session_queries.end_sessions(sql, user_id, None)

            self._sessions.forget(user_id, await self._database.transaction(change))
            log.info("password reset", user_id=user_id)
