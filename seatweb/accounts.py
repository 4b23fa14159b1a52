"""Register, sign in, and change the password."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from uuid import UUID

import structlog

from seatweb.database import Database, Transaction
from seatweb.errors import BadCredentials, InvalidInput
from seatweb.limits import Limits
from seatweb.model import Client, Session, User
from seatweb.passwords import PasswordRules, Passwords
from seatweb.queries import Credentials
from seatweb.sessions import Sessions

log = structlog.get_logger(__name__)

SHORTEST_USERNAME: Final = 3
LONGEST_USERNAME: Final = 50
# Of what is typed no more is looked at: to bring it into one form takes time that grows with the square of its length.
# No four characters become fewer than one (Unicode Standard Annex 15), so what is longer than this stays too long.
LONGEST_TYPED: Final = 4 * (LONGEST_USERNAME + 1)
# What shows nothing though Python prints it: of Unicode's Default_Ignorable_Code_Point, and the empty Braille cell.
INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
NOWHERE: Final = Client()


class Accounts:
    """People and their passwords."""

    def __init__(
        self, database: Database, passwords: Passwords, sessions: Sessions, limits: Limits, rules: PasswordRules
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._limits = limits
        self._rules = rules

    async def register(self, username: str, password: str, client: Client = NOWHERE) -> Session:
        """Return the first session of a new user; both are there or neither is.

        Raises:
            InvalidInput: with a text for each field that cannot be used.
            UsernameTaken: someone has the name, in whatever case.
            TooManyAttempts: too many were tried from this address.
            Overloaded: too many passwords are being hashed.
        """
        name = typed_username(username)
        problems = {
            "username": _username_problem(name),
            "password": self._rules.problem(password, name),
        }
        fields = {field: problem for field, problem in problems.items() if problem}
        if fields:
            raise InvalidInput(fields=fields)
        await self._limits.registration(client.address)
        password_hash = await self._passwords.hash(password)

        async def register(transaction: Transaction) -> Session:
            user = await transaction.register_user(name, username_key(name), password_hash)
            return await self._sessions.start(transaction, user, client, with_factor=False)

        return await self._database.transaction(register)

    async def check_password(self, username: str, password: str, client: Client = NOWHERE) -> Credentials:
        """Return the user whose name and password these are, with the hash that the session is then started under.

        Raises:
            BadCredentials: they do not go together, or the account is disabled; no one can tell which.
            TooManyAttempts: that failed too often with this username or from this address.
            Overloaded: too many passwords are being verified.
        """
        name = typed_username(username)
        async with self._limits.sign_in_attempt(username_key(name), client.address):
            return await self._check_password(name, password)

    async def _check_password(self, name: str, password: str) -> Credentials:
        known = None
        if not _username_problem(name):
            known = await self._database.run(lambda queries: queries.find_credentials(username_key(name)))
        right = await self._passwords.verify(password, known.password_hash if known else None)
        if known is None or not right or known.disabled:
            log.info("sign-in refused", user_id=known.user.id if known else None)
            raise BadCredentials
        if self._passwords.is_outdated(known.password_hash):
            await self._rehash(known.user, known.password_hash, password)
            return await self._check_password(name, password)  # under the hash of today
        return known

    async def start_session(
        self, user: User, client: Client = NOWHERE, password_hash: str | None = None, *, with_factor: bool
    ) -> Session:
        """Return a new session of the user; one for a password starts only while that is still the password.

        `with_factor` is as in `Sessions.start`.

        Raises:
            BadCredentials: it was changed meanwhile, or the account disabled or deleted.
        """
        return await self._database.write(
            lambda queries: self._sessions.start(queries, user, client, password_hash, with_factor=with_factor)
        )

    async def _rehash(self, user: User, known_hash: str, password: str) -> None:
        password_hash = await self._passwords.hash(password)
        await self._database.write(lambda queries: queries.rehash_password(user.id, known_hash, password_hash))

    async def confirm_password(self, user: User, password: str) -> None:
        """Return when the password is the user's: what is asked before something grave.

        Raises:
            InvalidInput: it is not.
            Overloaded: too many passwords are being verified.
        """
        known_hash = await self._database.run(lambda queries: queries.find_password(user.id))
        try:
            # Counted apart from sign-ins: whoever tries those from elsewhere does not keep the user from this.
            async with self._limits.sign_in_attempt(str(user.id), None, "confirmation"):
                if not await self._passwords.verify(password, known_hash):
                    log.info("password refused", user_id=user.id)
                    raise BadCredentials
        except BadCredentials:
            raise InvalidInput(fields={"password": "That is not your password."}) from None

    async def change_password(self, session: Session, password: str, new_password: str) -> None:
        """Give the user a new password, and end all their sessions but this one.

        Raises:
            InvalidInput: `password` is not theirs, or `new_password` cannot be used.
            Overloaded: too many passwords are being hashed.
        """
        user = session.user
        await self.confirm_password(user, password)
        problem = self._rules.problem(new_password, user.username)
        if new_password == password:
            problem = "That is your password now. Choose another."
        if problem:
            raise InvalidInput(fields={"new_password": problem})
        password_hash = await self._passwords.hash(new_password)

        async def change(transaction: Transaction) -> set[UUID]:
            await transaction.change_password(user.id, password_hash, session.id)
            return await transaction.end_sessions(user.id, session.id)

        self._sessions.forget(user.id, await self._database.transaction(change))


def typed_username(username: str) -> str:
    """Return a username as it is kept (NFC), of as much of what was typed as could be one."""
    return unicodedata.normalize("NFC", username.strip()[:LONGEST_TYPED])


def _username_problem(name: str) -> str | None:
    if not name:
        return "Choose a username."
    if not SHORTEST_USERNAME <= len(name) <= LONGEST_USERNAME:
        return f"Use {SHORTEST_USERNAME} to {LONGEST_USERNAME} characters."
    if not name.isprintable():
        return "Use letters, digits, spaces and punctuation only."
    letters = [character for character in INVISIBLE.sub("", name) if character.isalnum()]
    marks = [character for character in name if unicodedata.combining(character)]
    if not letters or len(marks) > 2 * len(letters):
        return "Use at least one letter or digit."
    return None


def username_key(name: str) -> str:
    """Return what makes two usernames the same: compatibility forms, case and what nobody sees do not count.

    That is Unicode's NFKC_Casefold, and pages show several spaces as one.
    """
    visible = unicodedata.normalize("NFKC", INVISIBLE.sub("", name))
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())
