"""Signing in, step by step: which steps an account needs, and when its session starts."""

from __future__ import annotations

from uuid import UUID

from seatweb.accounts import NOWHERE, Accounts
from seatweb.errors import SecondFactorMissing, SecondFactorNeeded
from seatweb.model import Client, Session, User
from seatweb.passkeys import Challenge, Passkeys, RelyingParty
from seatweb.second_factor import SecondFactors


class SigningIn:
    """The ways to a session. Where there is a second factor, no password alone starts one."""

    def __init__(self, accounts: Accounts, factors: SecondFactors, passkeys: Passkeys) -> None:
        self._accounts = accounts
        self._factors = factors
        self._passkeys = passkeys

    async def begin(self, username: str, password: str, client: Client = NOWHERE) -> Session | UUID:
        """Return a new session, or the id of a sign-in that waits for the second factor.

        Raises:
            BadCredentials, Overloaded: as `Accounts.check_password` does.
        """
        known = await self._accounts.check_password(username, password, client)
        if await self._factors.missing(known.user):
            return await self._accounts.start_session(known.user, client, known.password_hash, with_factor=False)
        return await self._factors.begin_waiting(known.user, known.password_hash)

    async def at_once(self, username: str, password: str, code: str | None, client: Client = NOWHERE) -> Session:
        """Return a new session for a password and, where there is a second factor, a code of it.

        Raises:
            SecondFactorNeeded: there is one, and no code.
            SecondFactorMissing: there is none, and the site asks everyone for one.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
            BadCredentials, Overloaded: as `Accounts.check_password` does.
        """
        known = await self._accounts.check_password(username, password, client)
        missing = await self._factors.missing(known.user)
        if missing and self._factors.needed:
            raise SecondFactorMissing
        if not missing:
            if not code:
                raise SecondFactorNeeded
            await self._factors.check_code(known.user, code)
        return await self._accounts.start_session(known.user, client, known.password_hash, with_factor=not missing)

    async def finish(self, waiting_id: UUID, code: str, client: Client = NOWHERE) -> Session:
        """Return a new session for a sign-in that waits and a code.

        Raises:
            NotSignedIn: it does not wait any more, or had too many tries.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
        """
        user = await self._factors.find_waiting(waiting_id)
        await self._factors.count_waiting_try(waiting_id)
        await self._factors.check_code(user, code)
        return await self._go_on(waiting_id, user, client)

    async def finish_with_passkey(
        self,
        waiting_id: UUID,
        party: RelyingParty,
        challenge: Challenge | None,
        answer: str,
        client: Client = NOWHERE,
    ) -> Session:
        """Return a new session for a sign-in that waits and a passkey of its user.

        Raises:
            NotSignedIn: it does not wait any more.
            BadCredentials: as `Passkeys.use` does.
        """
        user = await self._factors.find_waiting(waiting_id)
        await self._passkeys.use(party, _only_of(user, challenge), "second", answer)
        return await self._go_on(waiting_id, user, client)

    async def with_passkey(
        self, party: RelyingParty, challenge: Challenge | None, answer: str, client: Client = NOWHERE
    ) -> Session:
        """Return a new session for a passkey alone: to have it and to unlock it are two factors.

        Raises:
            BadCredentials: as `Passkeys.use` does.
        """
        user = await self._passkeys.use(party, challenge, "sign_in", answer)
        return await self._accounts.start_session(user, client, with_factor=True)

    async def confirm(self, session: Session, password: str, code: str) -> None:
        """Return when whoever has the session also knows the password, and has the second factor if there is one.

        Raises:
            InvalidInput: it is not the password.
            BadCode, TooManyAttempts: as `SecondFactors.check_code` does.
            Overloaded: too many passwords are being verified.
        """
        await self._accounts.confirm_password(session.user, password)
        if not await self._factors.missing(session.user):
            await self._factors.check_code(session.user, code)

    async def confirm_with_passkey(
        self, session: Session, party: RelyingParty, challenge: Challenge | None, answer: str
    ) -> None:
        """Return when whoever has the session also has a passkey of its user.

        Raises:
            BadCredentials: as `Passkeys.use` does.
        """
        await self._passkeys.use(party, _only_of(session.user, challenge), "confirm", answer)

    async def _go_on(self, waiting_id: UUID, user: User, client: Client) -> Session:
        password_hash = await self._factors.end_waiting(waiting_id)
        return await self._accounts.start_session(user, client, password_hash, with_factor=True)


def _only_of(user: User, challenge: Challenge | None) -> Challenge | None:
    return challenge if challenge and challenge.user_id == user.id else None
