"""Register users."""

from __future__ import annotations

import structlog

from seatweb.accounts import queries
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.model import Session
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.usernames import (
    typed_username,
    username_key,
    username_problem,
    username_skeletons,
)
from seatweb.errors import InvalidInput
from seatweb.http.client_address import NOWHERE, Client
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)


class Registration:
    """Registers users."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sessions: Sessions,
        limits: Limits,
        rules: PasswordRules,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._limits = limits
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
        password_hash = await self._passwords.hash(
            password, Requester(client.address, f"register {username_key(name)}")
        )

        async def register(sql: Statements) -> Session:
            user = await queries.register_user(sql, name, username_key(name), username_skeletons(name), password_hash)
            return await self._sessions.start(sql, user, client, with_factor=False)

        return await self._database.transaction(register)
