"""The second factor: codes of an authenticator app (TOTP, RFC 6238), recovery codes, and sign-ins that wait for one."""

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
from seatweb.accounts.fair_queue import Asker
from seatweb.accounts.model import Factors, Session, User
from seatweb.accounts.passwords import Passwords
from seatweb.accounts.sessions import Proof, still_signed_in
from seatweb.errors import NotSignedIn, TooManyAttempts
from seatweb.http.client_address import NOWHERE, Client
from seatweb.storage.database import Database
from seatweb.storage.statements import Statements

log = structlog.get_logger(__name__)

WAITING_SECONDS: Final = 300  # between the password and the second factor
WAITING_TRIES: Final = 5  # of one sign-in
CODE_TRIES: Final = 10  # of one account in a row; a guess is right with a chance of 3 in a million
CODE_SECONDS: Final = 3600  # how long to wait after them
DRIFT: Final = 1  # time-steps (30 s) that a clock may be off, as RFC 6238 recommends
RECOVERY_CODES: Final = 10

TOTP: Final = re.compile(r"[0-9]{6}", re.ASCII)
EARLIER_RECOVERY: Final = re.compile(r"([0-9])([0-9]{15})", re.ASCII)
"""A recovery code as they were: its number, and 50 random bits, which is why it is hashed like a password."""

_Use: TypeAlias = Callable[[Statements], Awaitable[bool]]


class Enrolment(Struct, frozen=True):
    """What an authenticator app is to be told; shown until its first code is confirmed, and never again."""

    secret: str
    """In base32, to be typed."""
    uri: str
    """The same as an address, for a QR code."""


class SecondFactors:
    """What people have beside their passwords."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        issuer: str,
        now: Callable[[], float] = time.time,
        *,
        needed: bool = False,
    ) -> None:
        """`issuer` is what an authenticator app calls the site; `needed` says whether everyone must have one."""
        self.needed: Final = needed
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._now = now

    async def of(self, user: User) -> Factors:
        """Return what the user has."""
        row = await self._database.run(factor_queries.find_factors, user.id)
        passkeys = await self._database.run(factor_queries.list_passkeys, user.id)
        return Factors(
            totp_since=row.totp_since,
            passkeys=tuple(passkey for passkey, _ in passkeys),
            recovery_made=row.recovery_made,
            recovery_left=row.recovery_left,
        )

    async def missing(self, user: User) -> bool:
        """Return whether the user's password is all there is."""
        return not await self._database.run(factor_queries.has_second_factor, user.id)

    # The authenticator app

    async def begin_totp(self, session: Session) -> bool:
        """Make a new secret that does not count yet; False where the user has an app already.

        Raises:
            NotSignedIn: the session was ended meanwhile; so do all others here that change something.
        """

        async def begin(sql: Statements) -> bool:
            await still_signed_in(sql, session)
            return await factor_queries.begin_totp(sql, session.user.id, pyotp.random_base32())

        return await self._database.transaction(begin)

    async def enrolment(self, user: User) -> Enrolment | None:
        """Return the secret that does not count yet, if there is one."""
        found = await self._database.run(factor_queries.find_totp, user.id)
        if found is None or found.confirmed:
            return None
        uri = pyotp.TOTP(found.secret).provisioning_uri(name=user.username, issuer_name=self._issuer)
        return Enrolment(secret=found.secret, uri=uri)

    async def confirm_totp(self, session: Session, code: str) -> None:
        """Let the new secret count, which the app knows if this is a code of it.

        Raises:
            BadCode: it is not.
        """
        user, found = session.user, await self.enrolment(session.user)
        step = self._step(found.secret, code) if found else None
        if found is None or step is None:
            raise BadCode(reason="new_app")
        secret = found.secret

        async def confirm(sql: Statements) -> None:
            await still_signed_in(sql, session)
            if not await factor_queries.confirm_totp(sql, user.id, secret, step, session.id):
                raise BadCode

        await self._database.transaction(confirm)

    async def remove_totp(self, session: Session) -> None:
        """Take the authenticator app away; removing it twice is no error.

        Raises:
            LastFactor: a second factor is needed, and there is no other.
        """
        await self._remove(session, lambda sql: factor_queries.remove_totp(sql, session.user.id, session.id))

    async def remove_passkey(self, session: Session, passkey_id: int) -> None:
        """Take a passkey of the user away; removing it twice, or one that is not theirs, changes nothing.

        Raises:
            LastFactor: a second factor is needed, and there is no other.
        """
        user_id = session.user.id
        await self._remove(session, lambda sql: factor_queries.remove_passkey(sql, passkey_id, user_id, session.id))

    async def _remove(self, session: Session, work: Callable[[Statements], Awaitable[None]]) -> None:
        async def remove(sql: Statements) -> None:
            await still_signed_in(sql, session)
            await work(sql)
            if not await factor_queries.has_second_factor(sql, session.user.id):
                if self.needed:
                    raise LastFactor
                await factor_queries.remove_recovery_codes(sql, session.user.id)

        await self._database.transaction(remove)

    # Recovery codes

    async def first_recovery_codes(self, session: Session) -> list[str]:
        """Return recovery codes for a user who has none; an empty list for one who has."""
        factors = await self._database.run(factor_queries.find_factors, session.user.id)
        return [] if factors.recovery_made else await self.new_recovery_codes(session)

    async def new_recovery_codes(self, session: Session) -> list[str]:
        """Return ten recovery codes in the place of all before; nobody can be shown them again."""
        codes = [new_code() for _ in range(RECOVERY_CODES)]

        async def replace(sql: Statements) -> None:
            await still_signed_in(sql, session)
            await factor_queries.replace_recovery_codes(
                sql, session.user.id, [hash_code(code) for code in codes], session.id
            )

        await self._database.transaction(replace)
        return codes

    # Codes

    async def check_code(self, user: User, code: str, client: Client = NOWHERE) -> None:
        """Return when the code is one of the user's app or a recovery code; it is then used up.

        Raises:
            BadCode: it is not, or was used before.
            TooManyAttempts, Overloaded: as `prove` does.
        """
        await self._database.transaction(await self.prove(user, code, client))

    async def prove(self, user: User, code: str, client: Client = NOWHERE) -> Proof:
        """Return what uses the code up, if it is one of the user's app or a recovery code, and refuses it if not.

        The proof raises BadCode where the code is wrong, or was used or replaced before.

        Raises:
            TooManyAttempts: there were too many wrong ones.
            Overloaded: too many passwords are being verified.
        """
        # Counted before it is looked at, so that no number of tries at once is more than that.
        if not await self._database.write(factor_queries.count_code_try, user.id, CODE_TRIES, CODE_SECONDS):
            seconds = await self._database.run(factor_queries.seconds_to_wait, user.id, CODE_SECONDS)
            raise TooManyAttempts(reason="wrong_codes", retry_after=seconds, minutes=ceil(seconds / 60))
        typed = without_separators(code)
        if TOTP.fullmatch(typed):
            kind, use = "authenticator app", await self._find_totp_step(user, typed)
        elif earlier := EARLIER_RECOVERY.fullmatch(typed):
            kind, use = "recovery code", await self._find_earlier_recovery(user, int(earlier[1]), earlier[2], client)
        else:
            kind, use = "recovery code", lambda sql: factor_queries.use_recovery_code(sql, user.id, hash_code(typed))

        async def use_up(sql: Statements) -> None:
            await queries.lock_accounts(sql, user.id)
            if use is None or not await use(sql):
                log.info("code refused", user_id=user.id, kind=kind)
                raise BadCode
            log.info("code accepted", user_id=user.id, kind=kind)
            await factor_queries.forget_code_tries(sql, user.id)

        return use_up

    async def _find_totp_step(self, user: User, code: str) -> _Use | None:
        found = await self._database.run(factor_queries.find_totp, user.id)
        step = self._step(found.secret, code) if found and found.confirmed else None
        if found is None or step is None:
            return None
        secret = found.secret
        return lambda sql: factor_queries.use_totp(sql, user.id, secret, step)

    async def _find_earlier_recovery(self, user: User, number: int, code: str, client: Client) -> _Use | None:
        known = await self._database.run(factor_queries.find_recovery_code, user.id, number)
        right = await self._passwords.verify(code, known, Asker(client.address, f"user {user.id}"))
        return (lambda sql: factor_queries.use_recovery_code(sql, user.id, known)) if right and known else None

    def _step(self, secret: str, code: str) -> int | None:
        """Return the time-step that a code is of, if it is one of now or of one step before or after."""
        digits = without_separators(code)
        if not TOTP.fullmatch(digits):
            return None
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(digits, for_time=self._now(), valid_window=DRIFT)
        except OTPVerificationError:
            return None

    # Sign-ins that wait for a second factor

    async def begin_waiting(self, user: User, password_hash: str) -> UUID:
        """Return the id of a sign-in whose password was right; it waits for five minutes."""
        return await self._database.write(factor_queries.begin_waiting, user.id, password_hash, WAITING_SECONDS)

    async def find_waiting(self, waiting_id: UUID) -> User:
        """Return whose sign-in it is.

        Raises:
            NotSignedIn: it is over, or the password was changed, or the account disabled.
        """
        user = await self._database.run(factor_queries.find_waiting, waiting_id, WAITING_SECONDS)
        if user is None:
            raise NotSignedIn(reason="took_too_long")
        return user

    async def count_waiting_try(self, waiting_id: UUID) -> None:
        """Return when this sign-in has a try left, which is then gone.

        Raises:
            NotSignedIn: it has none.
        """
        if not await self._database.write(factor_queries.count_waiting_try, waiting_id, WAITING_TRIES):
            raise NotSignedIn(reason="wrong_codes")

    async def end_waiting(self, sql: Statements, waiting_id: UUID) -> str:
        """Let the sign-in wait no more: it goes on. Return the hash of its password.

        Raises:
            NotSignedIn: another request was faster.
        """
        password_hash = await factor_queries.end_waiting(sql, waiting_id)
        if password_hash is None:
            raise NotSignedIn(reason="took_too_long")
        return password_hash
