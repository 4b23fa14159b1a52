"""Sign in: which steps an account needs, and when its session starts."""

from __future__ import annotations

from uuid import UUID

from seatweb.accounts import queries
from seatweb.accounts.errors import SecondFactorMissing, SecondFactorNeeded
from seatweb.accounts.model import Session, User
from seatweb.accounts.passkeys import Challenge, Passkeys, RelyingParty
from seatweb.accounts.password_checks import PasswordChecks
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Proof, Sessions
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements


class SignInFlow:
    """Starts sessions. A user with a second factor cannot start one with the password alone.

    The transaction that starts a session also uses up the code or challenge, so it must still be valid then.
    """

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        password_checks: PasswordChecks,
        factors: SecondFactors,
        passkeys: Passkeys,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._password_checks = password_checks
        self._factors = factors
        self._passkeys = passkeys

    async def begin(self, username: str, password: str, client: Client = NOWHERE) -> Session | UUID:
        """Start and return a session, or return the id of a sign-in that waits for the second factor.

        Raises:
            BadCredentials, TooManyAttempts, Overloaded: as `PasswordChecks.check` does.
        """
        known = await self._password_checks.check(username, password, client)
        if await self._factors.missing(known.user):
            return await self._start(known.user, client, known.password_hash)
        return await self._factors.begin_waiting(known.user, known.password_hash)

    async def in_one_step(self, username: str, password: str, code: str | None, client: Client = NOWHERE) -> Session:
        """Start and return a session for a password and, if the user has a second factor, its code.

        Raises:
            SecondFactorNeeded: the user has a second factor, and `code` is empty.
            SecondFactorMissing: the user has none, and the site requires one.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
            BadCredentials, Overloaded: as `PasswordChecks.check` does.
        """
        known = await self._password_checks.check(username, password, client)
        if await self._factors.missing(known.user):
            if self._factors.needed:
                raise SecondFactorMissing
            return await self._start(known.user, client, known.password_hash)
        if not code:
            raise SecondFactorNeeded
        proof = await self._factors.prove(known.user, code, client)
        return await self._start(known.user, client, known.password_hash, proof)

    async def finish(self, waiting_id: UUID, code: str, client: Client = NOWHERE) -> Session:
        """Finish a waiting sign-in with a code, and return its session.

        Raises:
            NotSignedIn: it no longer waits, or had too many attempts.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
        """
        user = await self._factors.find_waiting(waiting_id)
        await self._factors.count_waiting_try(waiting_id)
        proof = await self._factors.prove(user, code, client)
        return await self._end_wait(waiting_id, user, client, proof)

    async def finish_with_passkey(
        self,
        waiting_id: UUID,
        party: RelyingParty,
        challenge: Challenge | None,
        answer: str,
        client: Client = NOWHERE,
    ) -> Session:
        """Finish a waiting sign-in with a passkey of its user, and return its session.

        Raises:
            NotSignedIn: it no longer waits.
            BadCredentials: as `Passkeys.prove` does.
        """
        user = await self._factors.find_waiting(waiting_id)
        _, proof = await self._passkeys.prove(party, _challenge_of(user, challenge), "second", answer)
        return await self._end_wait(waiting_id, user, client, proof)

    async def with_passkey(
        self, party: RelyingParty, challenge: Challenge | None, answer: str, client: Client = NOWHERE
    ) -> Session:
        """Start and return a session for a passkey alone: having it and unlocking it are two factors.

        Raises:
            BadCredentials: as `Passkeys.prove` does.
        """
        user, proof = await self._passkeys.prove(party, challenge, "sign_in", answer)
        return await self._start(user, client, None, proof)

    async def confirm(self, session: Session, password: str, code: str, client: Client = NOWHERE) -> None:
        """Check the password, and a code if the user has a second factor, before a sensitive action in this session.

        Raises:
            InvalidInput: the password is wrong.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
            Overloaded: too many passwords are being verified.
        """
        await self._password_checks.confirm(session.user, password, client)
        if not await self._factors.missing(session.user):
            await self._factors.check_code(session.user, code, client)

    async def confirm_with_passkey(
        self, session: Session, party: RelyingParty, challenge: Challenge | None, answer: str
    ) -> None:
        """Check a passkey of the user, before a sensitive action in this session.

        Raises:
            BadCredentials: as `Passkeys.prove` does.
        """
        _, proof = await self._passkeys.prove(party, _challenge_of(session.user, challenge), "confirm", answer)
        await self._database.transaction(proof)

    async def _start(
        self, user: User, client: Client, password_hash: str | None, proof: Proof | None = None
    ) -> Session:
        """Use up the proof, and start a session if the password hash, when given, is still current."""

        async def start(sql: Statements) -> Session:
            if proof:
                await proof(sql)
            else:
                await queries.lock_accounts(sql, user.id)
            return await self._sessions.start(sql, user, client, password_hash, with_factor=bool(proof))

        return await self._database.transaction(start)

    async def _end_wait(self, waiting_id: UUID, user: User, client: Client, proof: Proof) -> Session:
        """Use up the proof, end the wait, and start the session."""

        async def start(sql: Statements) -> Session:
            await proof(sql)
            password_hash = await self._factors.end_waiting(sql, waiting_id)
            return await self._sessions.start(sql, user, client, password_hash, with_factor=True)

        return await self._database.transaction(start)


def _challenge_of(user: User, challenge: Challenge | None) -> Challenge | None:
    return challenge if challenge and challenge.user_id == user.id else None
