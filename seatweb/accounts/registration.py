"""Register, sign in, and change the password."""

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
from seatweb.accounts.sessions import Sessions, still_signed_in
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
    """People and their passwords."""

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
        """Return the first session of a new user; both are there or neither is.

        Raises:
            InvalidInput: with a message for each field that cannot be used.
            UsernameTaken: someone has the name, in whatever case, or one that looks the same.
            TooManyAttempts: too many were tried from this address.
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
        # Queued apart from the name's account: registering with someone's name does not hold up their sign-in.
        password_hash = await self._passwords.hash(password, Asker(client.address, f"register {username_key(name)}"))

        async def register(sql: Statements) -> Session:
            user = await queries.register_user(sql, name, username_key(name), username_skeletons(name), password_hash)
            return await self._sessions.start(sql, user, client, with_factor=False)

        return await self._database.transaction(register)

    async def check_password(self, username: str, password: str, client: Client = NOWHERE) -> KnownPassword:
        """Return the user whose name and password these are, with the hash that the session is then started under.

        Raises:
            BadCredentials: they do not go together, or the account is disabled; no one can tell which.
            TooManyAttempts: that failed too often with this username or from this address.
            Overloaded: too many passwords are being verified.
        """
        name = typed_username(username)
        async with self._failed_sign_ins.sign_in(username_key(name), client.address):
            return await self._check_password(name, password, client)

    async def _check_password(self, name: str, password: str, client: Client) -> KnownPassword:
        known = None
        if may_be_registered(name):
            known = await self._database.run(queries.find_credentials, username_key(name))
        asker = Asker(client.address, username_key(name))
        right = await self._passwords.verify(password, known.password_hash if known else None, asker)
        if known is None or not right or known.disabled:
            log.info("sign-in refused", user_id=known.user.id if known else None)
            raise BadCredentials
        if self._passwords.is_outdated(known.password_hash):
            await self._rehash(known.user, known.password_hash, password, asker)
            return await self._check_password(name, password, client)  # under the hash of today
        return known

    async def _rehash(self, user: User, known_hash: str, password: str, asker: Asker) -> None:
        password_hash = await self._passwords.hash(password, asker)
        await self._database.write(queries.rehash_password, user.id, known_hash, password_hash)

    async def confirm_password(self, user: User, password: str, client: Client = NOWHERE) -> str:
        """Return the hash of the user's password, if this is the password: what is asked before something grave.

        What then is done checks in its transaction that the hash is still the same.

        Raises:
            InvalidInput: it is not.
            Overloaded: too many passwords are being verified.
        """
        known_hash = await self._database.run(queries.find_password, user.id)
        try:
            # Counted apart from sign-ins: whoever tries those from elsewhere does not keep the user from this.
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
        """Give the user a new password, and end all their sessions but this one.

        Raises:
            InvalidInput: `password` is not theirs (any more), or `new_password` cannot be used.
            NotSignedIn: the session was ended meanwhile.
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
            await still_signed_in(sql, session)
            if not await queries.change_password(sql, user.id, known_hash, password_hash, session.id):
                raise InvalidInput(fields={"password": PASSWORD_CHANGED_MEANWHILE})
            return await session_queries.end_sessions(sql, user.id, session.id)

        self._sessions.forget(user.id, await self._database.transaction(change))
