"""Second factors: authenticator apps (TOTP, RFC 6238), recovery codes, and sign-ins that wait for a second factor."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Final, TypeAlias
from uuid import UUID

import pyotp
import structlog
from msgspec import Struct
from pyotp.exceptions import OTPVerificationError

from seatweb.accounts import factor_queries, queries
from seatweb.accounts.codes import hash_code, new_code, without_separators
from seatweb.accounts.errors import BadCode, LastFactor
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.model import Factors, Session, User
from seatweb.accounts.passwords import Passwords
from seatweb.accounts.sessions import Proof, require_signed_in
from seatweb.errors import NotSignedIn, TooManyAttempts
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

WAITING_SECONDS: Final = 300  # from the password to the second factor
WAITING_TRIES: Final = 5  # per sign-in
CODE_TRIES: Final = 10  # per account, in a row; a guess is right with a chance of 3 in a million
CODE_SECONDS: Final = 3600  # how long to wait after these
DRIFT: Final = 1  # time steps (30 s) by which a clock may be off, as RFC 6238 recommends
RECOVERY_CODES: Final = 10

TOTP: Final = re.compile(r"[0-9]{6}", re.ASCII)
OLD_RECOVERY_CODE: Final = re.compile(r"([0-9])([0-9]{15})", re.ASCII)
"""The old format: the code's number, and 15 digits. With only 50 random bits, these are hashed like passwords."""

_Use: TypeAlias = Callable[[Statements], Awaitable[bool]]


class Enrolment(Struct, frozen=True):
    """What a user gives to an authenticator app; shown until the first code is confirmed, and never again."""

    secret: str
    """In base32, for typing."""
    uri: str
    """The same as a URI, for a QR code."""


class SecondFactors:
    """All users' second factors."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        issuer: str,
        now: Callable[[], float] = time.time,
        *,
        needed: bool = False,
    ) -> None:
        """`issuer` is the site's name in authenticator apps; with `needed`, every user must have a second factor."""
        self.needed: Final = needed
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._now = now

    async def of(self, user: User) -> Factors:
        """Return the user's second factors."""
        row = await self._database.run(factor_queries.find_factors, user.id)
        passkeys = await self._database.run(factor_queries.list_passkeys, user.id)
        return Factors(
            totp_since=row.totp_since,
            passkeys=tuple(passkey for passkey, _ in passkeys),
            recovery_made=row.recovery_made,
            recovery_left=row.recovery_left,
        )

    async def missing(self, user: User) -> bool:
        """Return whether the user has no second factor."""
        return not await self._database.run(factor_queries.has_second_factor, user.id)

    # The authenticator app

    async def begin_totp(self, session: Session) -> bool:
        """Store a new, unconfirmed secret; return False if the user has an authenticator app already.

        Raises:
            NotSignedIn: the session has ended; the other methods that take a session raise this too.
        """

        async def begin(sql: Statements) -> bool:
            await require_signed_in(sql, session)
            return await factor_queries.begin_totp(sql, session.user.id, pyotp.random_base32())

        return await self._database.transaction(begin)

    async def enrolment(self, user: User) -> Enrolment | None:
        """Return the unconfirmed secret, or None."""
        found = await self._database.run(factor_queries.find_totp, user.id)
        if found is None or found.confirmed:
            return None
        uri = pyotp.TOTP(found.secret).provisioning_uri(name=user.username, issuer_name=self._issuer)
        return Enrolment(secret=found.secret, uri=uri)

    async def confirm_totp(self, session: Session, code: str) -> None:
        """Confirm the new secret with a code from the app, which shows that the app has it.

        Raises:
            BadCode: the code is wrong.
        """
        user, found = session.user, await self.enrolment(session.user)
        step = self._step(found.secret, code) if found else None
        if found is None or step is None:
            raise BadCode(reason="new_app")
        secret = found.secret

        async def confirm(sql: Statements) -> None:
            await require_signed_in(sql, session)
            if not await factor_queries.confirm_totp(sql, user.id, secret, step, session.id):
                raise BadCode

        await self._database.transaction(confirm)

    async def remove_totp(self, session: Session) -> None:
        """Remove the authenticator app; removing it twice is no error.

        Raises:
            LastFactor: a second factor is needed, and there is no other.
        """
        await self._remove(session, lambda sql: factor_queries.remove_totp(sql, session.user.id, session.id))

    async def remove_passkey(self, session: Session, passkey_id: int) -> None:
        """Remove one of the user's passkeys; do nothing if it was removed already or is another user's.

        Raises:
            LastFactor: a second factor is needed, and there is no other.
        """
        user_id = session.user.id
        await self._remove(session, lambda sql: factor_queries.remove_passkey(sql, passkey_id, user_id, session.id))

    async def _remove(self, session: Session, work: Callable[[Statements], Awaitable[None]]) -> None:
        async def remove(sql: Statements) -> None:
            await require_signed_in(sql, session)
            await work(sql)
            if not await factor_queries.has_second_factor(sql, session.user.id):
                if self.needed:
                    raise LastFactor
                await factor_queries.remove_recovery_codes(sql, session.user.id)

        await self._database.transaction(remove)

    # Recovery codes

    async def first_recovery_codes(self, session: Session) -> list[str]:
        """Make and return recovery codes if the user has none; otherwise return an empty list."""
        factors = await self._database.run(factor_queries.find_factors, session.user.id)
        return [] if factors.recovery_made else await self.new_recovery_codes(session)

    async def new_recovery_codes(self, session: Session) -> list[str]:
        """Return ten new recovery codes, which replace any earlier ones; they cannot be shown again."""
        codes = [new_code() for _ in range(RECOVERY_CODES)]

        async def replace(sql: Statements) -> None:
            await require_signed_in(sql, session)
            await factor_queries.replace_recovery_codes(
                sql, session.user.id, [hash_code(code) for code in codes], session.id
            )

        await self._database.transaction(replace)
        return codes

    # Codes

    async def check_code(self, user: User, code: str, client: Client = NOWHERE) -> None:
        """Use up a code from the user's authenticator app, or a recovery code.

        Raises:
            BadCode: it is wrong, or was used before.
            TooManyAttempts, Overloaded: as `prove` does.
        """
        await self._database.transaction(await self.prove(user, code, client))

    async def prove(self, user: User, code: str, client: Client = NOWHERE) -> Proof:
        """Check a code from the user's authenticator app, or a recovery code, and return the proof, which uses it up.

        The proof raises BadCode if the code is wrong, or was used or replaced before.

        Raises:
            TooManyAttempts: there were too many wrong codes.
            Overloaded: too many passwords are being verified.
        """
        # Count the attempt before checking the code, so that concurrent attempts cannot exceed the limit.
        if not await self._database.write(factor_queries.count_code_try, user.id, CODE_TRIES, CODE_SECONDS):
            seconds = await self._database.run(factor_queries.seconds_to_wait, user.id, CODE_SECONDS)
            raise TooManyAttempts(reason="wrong_codes", retry_after=seconds, minutes=ceil(seconds / 60))
        typed = without_separators(code)
        if TOTP.fullmatch(typed):
            kind, use = "authenticator app", await self._find_totp_step(user, typed)
        elif old := OLD_RECOVERY_CODE.fullmatch(typed):
            kind, use = "recovery code", await self._find_old_recovery_code(user, int(old[1]), old[2], client)
        else:
            kind, use = "recovery code", lambda sql: factor_queries.use_recovery_code(sql, user.id, hash_code(typed))

        async def proof(sql: Statements) -> None:
            await queries.lock_accounts(sql, user.id)
            if use is None or not await use(sql):
                log.info("code refused", user_id=user.id, kind=kind)
                raise BadCode
            log.info("code accepted", user_id=user.id, kind=kind)
            await factor_queries.forget_code_tries(sql, user.id)

        return proof

    async def _find_totp_step(self, user: User, code: str) -> _Use | None:
        found = await self._database.run(factor_queries.find_totp, user.id)
        step = self._step(found.secret, code) if found and found.confirmed else None
        if found is None or step is None:
            return None
        secret = found.secret
        return lambda sql: factor_queries.use_totp(sql, user.id, secret, step)

    async def _find_old_recovery_code(self, user: User, number: int, code: str, client: Client) -> _Use | None:
        stored = await self._database.run(factor_queries.find_recovery_code, user.id, number)
        matches = await self._passwords.verify(code, stored, Requester(client.address, f"user {user.id}"))
        return (lambda sql: factor_queries.use_recovery_code(sql, user.id, stored)) if matches and stored else None

    def _step(self, secret: str, code: str) -> int | None:
        """Return the time step of a code, if it is the current one, or one before or after; otherwise None."""
        digits = without_separators(code)
        if not TOTP.fullmatch(digits):
            return None
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(digits, for_time=self._now(), valid_window=DRIFT)
        except OTPVerificationError:
            return None

    # Sign-ins that wait for a second factor

    async def begin_waiting(self, user: User, password_hash: str) -> UUID:
        """Store a sign-in whose password was correct, and return its id; it waits for five minutes."""
        return await self._database.write(factor_queries.begin_waiting, user.id, password_hash, WAITING_SECONDS)

    async def find_waiting(self, waiting_id: UUID) -> User:
        """Return the user of a waiting sign-in.

        Raises:
            NotSignedIn: it has expired, the password was changed, or the account was disabled.
        """
        user = await self._database.run(factor_queries.find_waiting, waiting_id, WAITING_SECONDS)
        if user is None:
            raise NotSignedIn(reason="took_too_long")
        return user

    async def count_waiting_try(self, waiting_id: UUID) -> None:
        """Count an attempt of this sign-in.

        Raises:
            NotSignedIn: there were too many.
        """
        if not await self._database.write(factor_queries.count_waiting_try, waiting_id, WAITING_TRIES):
            raise NotSignedIn(reason="wrong_codes")

    async def end_waiting(self, sql: Statements, waiting_id: UUID) -> str:
        """End the wait, and return the password hash that the sign-in was verified with.

        Raises:
            NotSignedIn: another request has ended it.
        """
        password_hash = await factor_queries.end_waiting(sql, waiting_id)
        if password_hash is None:
            raise NotSignedIn(reason="took_too_long")
        return password_hash
