"""Check the passwords of users, and change them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.model import Session, User
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.queries import StoredPassword
from seatweb.accounts.sessions import Sessions, require_signed_in
from seatweb.accounts.usernames import may_be_registered, typed_username, username_key
from seatweb.errors import InvalidInput, Message
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

PASSWORD_CHANGED_MEANWHILE: Final = Message("password.changed_meanwhile")


class PasswordChecks:
    """Checks passwords of users, limits how often that fails, and changes them."""

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

    async def check(self, username: str, password: str, client: Client = NOWHERE) -> StoredPassword:
        """Return the user with this name and password, and the hash that must still be current when the session starts.

        Raises:
            BadCredentials: one of them is wrong, or the account is disabled; the error does not tell which.
            TooManyAttempts: too many attempts with this username or from this address failed.
            Overloaded: too many passwords are being verified.
        """
        name = typed_username(username)
        async with self._failed_sign_ins.sign_in(username_key(name), client.address):
            return await self._check(name, password, client)

    async def _check(self, name: str, password: str, client: Client) -> StoredPassword:
        stored = None
        if may_be_registered(name):
            stored = await self._database.run(queries.find_credentials, username_key(name))
        requester = Requester(client.address, username_key(name))
        matches = await self._passwords.verify(password, stored.password_hash if stored else None, requester)
        if stored is None or not matches or stored.disabled:
            log.info("sign-in refused", user_id=stored.user.id if stored else None)
            raise BadCredentials
        if self._passwords.is_outdated(stored.password_hash):
            await self._rehash(stored.user, stored.password_hash, password, requester)
            return await self._check(name, password, client)  # against the new hash
        return stored

    async def _rehash(self, user: User, known_hash: str, password: str, requester: Requester) -> None:
        password_hash = await self._passwords.hash(password, requester)
        await self._database.write(queries.rehash_password, user.id, known_hash, password_hash)

    async def confirm(self, user: User, password: str, client: Client = NOWHERE) -> str:
        """Check the user's password before a sensitive action, and return its stored hash.

        The action's transaction then checks that the hash is still current.

        Raises:
            InvalidInput: the password is wrong.
            TooManyAttempts: too many confirmations by this user failed.
            Overloaded: too many passwords are being verified.
        """
        known_hash = await self._database.run(queries.find_password, user.id)
        try:
            # Counted separately from sign-ins, so that attempts from elsewhere do not lock the user out here.
            async with self._failed_sign_ins.confirmation(user.id):
                requester = Requester(client.address, username_key(user.username))
                if not await self._passwords.verify(password, known_hash, requester) or known_hash is None:
                    log.info("password refused", user_id=user.id)
                    raise BadCredentials
                return known_hash
        except BadCredentials:
            raise InvalidInput(fields={"password": Message("password.wrong")}) from None

    async def change(self, session: Session, password: str, new_password: str, client: Client = NOWHERE) -> None:
        """Change the user's password, and end all their other sessions.

        Raises:
            InvalidInput: `password` is wrong or was changed meanwhile, or `new_password` breaks a rule.
            NotSignedIn: the session has ended.
            Overloaded: too many passwords are being hashed.
        """
        user = session.user
        known_hash = await self.confirm(user, password, client)
        problem = self._rules.problem(new_password, user.username)
        if new_password == password:
            problem = Message("password.same")
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        password_hash = await self._passwords.hash(new_password, Requester(client.address, username_key(user.username)))

        async def change_password(sql: Statements) -> set[UUID]:
            await require_signed_in(sql, session)
            if not await queries.change_password(sql, user.id, known_hash, password_hash, session.id):
                raise InvalidInput(fields={"password": PASSWORD_CHANGED_MEANWHILE})
            return await session_queries.end_sessions(sql, user.id, session.id)

        self._sessions.forget(user.id, await self._database.transaction(change_password))
