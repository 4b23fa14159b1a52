"""Register users, check their passwords and change them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from seatweb.accounts import queries, session_queries
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Asker
from seatweb.accounts.model import Session, User
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.queries import KnownPassword
from seatweb.accounts.sessions import Sessions, require_signed_in
from seatweb.accounts.usernames import (
    may_be_registered,
    typed_username,
    username_key,
    username_problem,
    username_skeletons,
)
from seatweb.errors import InvalidInput, Message
from seatweb.http.client_address import NOWHERE, Client
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

PASSWORD_CHANGED_MEANWHILE: Final = Message("password.changed_meanwhile")


class Accounts:
    """Users and their passwords."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sessions: Sessions,
        limits: Limits,
        failed_sign_ins: FailedSignIns,
        rules: PasswordRules,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._limits = limits
        self._failed_sign_ins = failed_sign_ins
        self._rules = rules

    async def register(self, username: str, password: str, client: Client = NOWHERE) -> Session:
        """Create a user and their first session in one transaction, and return the session.

        Raises:
            InvalidInput: with a message for each unusable field.
            UsernameTaken: another account has the name, in any case, or one that looks the same.
            TooManyAttempts: there were too many registrations from this address.
            Overloaded: too many passwords are being hashed.
        """
        name = typed_username(username)
        problems = {
            "username": username_problem(name),
            "password": self._rules.problem(password, name),
        }
        fields = {field: problem for field, problem in problems.items() if problem}
        if fields:
            raise InvalidInput(fields=fields)
        await self._limits.registration(client.address)
        # Queued separately from the account, so that trying to register someone's name does not delay their sign-in.
        password_hash = await self._passwords.hash(password, Asker(client.address, f"register {username_key(name)}"))

        async def register(sql: Statements) -> Session:
            user = await queries.register_user(sql, name, username_key(name), username_skeletons(name), password_hash)
            return await self._sessions.start(sql, user, client, with_factor=False)

        return await self._database.transaction(register)

    async def check_password(self, username: str, password: str, client: Client = NOWHERE) -> KnownPassword:
        """Return the user with this name and password, and the hash that must still be current when the session starts.

        Raises:
            BadCredentials: one of them is wrong, or the account is disabled; the error does not tell which.
            TooManyAttempts: too many attempts with this username or from this address failed.
            Overloaded: too many passwords are being verified.
        """
        name = typed_username(username)
        async with self._failed_sign_ins.sign_in(username_key(name), client.address):
            return await self._check_password(name, password, client)

    async def _check_password(self, name: str, password: str, client: Client) -> KnownPassword:
        stored = None
        if may_be_registered(name):
            stored = await self._database.run(queries.find_credentials, username_key(name))
        asker = Asker(client.address, username_key(name))
        matches = await self._passwords.verify(password, stored.password_hash if stored else None, asker)
        if stored is None or not matches or stored.disabled:
            log.info("sign-in refused", user_id=stored.user.id if stored else None)
            raise BadCredentials
        if self._passwords.is_outdated(stored.password_hash):
            await self._rehash(stored.user, stored.password_hash, password, asker)
            return await self._check_password(name, password, client)  # against the new hash
        return stored

    async def _rehash(self, user: User, known_hash: str, password: str, asker: Asker) -> None:
        password_hash = await self._passwords.hash(password, asker)
        await self._database.write(queries.rehash_password, user.id, known_hash, password_hash)

    async def confirm_password(self, user: User, password: str, client: Client = NOWHERE) -> str:
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
                asker = Asker(client.address, username_key(user.username))
                if not await self._passwords.verify(password, known_hash, asker) or known_hash is None:
                    log.info("password refused", user_id=user.id)
                    raise BadCredentials
                return known_hash
        except BadCredentials:
            raise InvalidInput(fields={"password": Message("password.wrong")}) from None

    async def change_password(
        self, session: Session, password: str, new_password: str, client: Client = NOWHERE
    ) -> None:
        """Change the user's password, and end all their other sessions.

        Raises:
            InvalidInput: `password` is wrong or was changed meanwhile, or `new_password` breaks a rule.
            NotSignedIn: the session has ended.
            Overloaded: too many passwords are being hashed.
        """
        user = session.user
        known_hash = await self.confirm_password(user, password, client)
        problem = self._rules.problem(new_password, user.username)
        if new_password == password:
            problem = Message("password.same")
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        password_hash = await self._passwords.hash(new_password, Asker(client.address, username_key(user.username)))

        async def change(sql: Statements) -> set[UUID]:
            await require_signed_in(sql, session)
            if not await queries.change_password(sql, user.id, known_hash, password_hash, session.id):
                raise InvalidInput(fields={"password": PASSWORD_CHANGED_MEANWHILE})
            return await session_queries.end_sessions(sql, user.id, session.id)

        self._sessions.forget(user.id, await self._database.transaction(change))
