"""Codes and passkeys: which are accepted, which are refused, and that no code or challenge works twice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pyotp
import pytest
from seatweb.accounts.errors import BadCode, BadCredentials, SecondFactorNeeded
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.model import Role, Session
from seatweb.accounts.passkeys import LONGEST_ANSWER, Challenge, Passkeys, RelyingParty
from seatweb.accounts.password_checks import PasswordChecks
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.registration import Registration
from seatweb.accounts.second_factor import CODE_TRIES, RECOVERY_CODES, WAITING_TRIES, SecondFactors
from seatweb.accounts.sessions import MOST_SESSIONS, Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.errors import InvalidInput, NotSignedIn, SeatwebError, TooManyAttempts
from seatweb.http.client_address import Client
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.web.account.passkey_forms import relying_party

from tests.authenticator import PRESENT, Authenticator
from tests.support import CHEAP, until_blocked

PASSWORD = "correct horse battery"
HERE = RelyingParty(id="localhost", origin="http://localhost:8000", name="Seatweb")
NOW = 1_800_000_000.0  # the start of a time step


class Clock:
    """A clock that stands still, in seconds since 1970."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Env:
    """The accounts of a site, and ada, who has a session."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        limits: Limits,
        failed_sign_ins: FailedSignIns,
        *,
        needed: bool = False,
    ) -> None:
        self.clock = Clock()
        self.sessions = Sessions(database, days=14, idle_hours=72, factor_needed=needed)
        rules = PasswordRules(shortest=1, refuse_common=False)
        self.registration = Registration(database, passwords, self.sessions, limits, rules)
        password_checks = PasswordChecks(database, passwords, self.sessions, failed_sign_ins, rules)
        self.factors = SecondFactors(database, passwords, "Seatweb", self.clock, needed=needed)
        self.passkeys = Passkeys(database)
        self.sign_in_flow = SignInFlow(database, self.sessions, password_checks, self.factors, self.passkeys)
        self.ada: Session

    async def add_app(self, session: Session | None = None) -> pyotp.TOTP:
        """Add an authenticator app whose first code was confirmed a while ago."""
        session = session or self.ada
        await self.factors.begin_totp(session)
        enrolment = await self.factors.enrolment(session.user)
        assert enrolment
        app = pyotp.TOTP(enrolment.secret)
        await self.factors.confirm_totp(session, app.at(int(self.clock() - 30)))
        self.clock.seconds += 300
        return app

    async def add_passkey(self, session: Session | None = None, name: str = "") -> Authenticator:
        device = Authenticator()
        options, challenge = await self.passkeys.options_to_add(HERE, (session or self.ada).user)
        await self.passkeys.add(session or self.ada, HERE, challenge, device.create(options), name)
        return device


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(hasher=CHEAP)
    yield passwords
    passwords.close()


@pytest.fixture
async def env(database: Database, passwords: Passwords, limits: Limits, failed_sign_ins: FailedSignIns) -> Env:
    env = Env(database, passwords, limits, failed_sign_ins)
    env.ada = await env.registration.register("ada", PASSWORD)
    return env


@pytest.fixture
async def strict(database: Database, passwords: Passwords, limits: Limits, failed_sign_ins: FailedSignIns) -> Env:
    """Return an environment where everyone needs a second factor."""
    env = Env(database, passwords, limits, failed_sign_ins, needed=True)
    env.ada = await env.registration.register("ada", PASSWORD)
    return env


async def outcomes(*attempts: Awaitable[Any]) -> Counter[str]:
    """Make all attempts concurrently, and count each outcome: "done", or the name of the error."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    unexpected = [one for one in results if isinstance(one, BaseException) and not isinstance(one, SeatwebError)]
    assert unexpected == []
    return Counter(type(result).__name__ if isinstance(result, SeatwebError) else "done" for result in results)


async def audit(connection: asyncpg.Connection) -> list[str]:
    return [row["action"] for row in await connection.fetch("select action from audit order by id")]


# The authenticator app


@pytest.mark.parametrize(("seconds", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
async def test_a_clock_may_be_off_by_one_step(env: Env, seconds: int, *, accepted: bool) -> None:
    app = await env.add_app()
    code = app.at(int(env.clock() + seconds))
    assert await outcomes(env.factors.check_code(env.ada.user, code)) == {"done" if accepted else "BadCode": 1}


async def test_a_code_works_once_and_invalidates_earlier_codes(env: Env) -> None:
    app, user = await env.add_app(), env.ada.user
    now = app.at(int(env.clock()))
    await env.factors.check_code(user, f" {now[:3]} {now[3:]} ")
    with pytest.raises(BadCode):
        await env.factors.check_code(user, now)
    with pytest.raises(BadCode):  # the code of the step before
        await env.factors.check_code(user, app.at(int(env.clock() - 30)))
    await env.factors.check_code(user, app.at(int(env.clock() + 30)))


async def test_the_code_that_confirmed_the_app_cannot_be_used_again(env: Env) -> None:
    await env.factors.begin_totp(env.ada)
    enrolment = await env.factors.enrolment(env.ada.user)
    assert enrolment
    assert enrolment.uri.startswith("otpauth://totp/Seatweb:ada?")
    code = pyotp.TOTP(enrolment.secret).at(int(env.clock()))
    await env.factors.confirm_totp(env.ada, code)
    with pytest.raises(BadCode):
        await env.factors.check_code(env.ada.user, code)


async def test_of_concurrent_attempts_with_one_code_one_succeeds(env: Env) -> None:
    app = await env.add_app()
    code = app.at(int(env.clock()))
    seen = await outcomes(*(env.factors.check_code(env.ada.user, code) for _ in range(CODE_TRIES)))
    assert seen == {"done": 1, "BadCode": CODE_TRIES - 1}


async def test_a_secret_must_be_confirmed_and_is_not_shown_again(env: Env, connection: asyncpg.Connection) -> None:
    user = env.ada.user
    assert await env.factors.begin_totp(env.ada)
    assert await env.factors.missing(user)
    first = await env.factors.enrolment(user)
    assert await env.factors.begin_totp(env.ada)  # starting again makes another secret
    second = await env.factors.enrolment(user)
    assert first
    assert second
    assert first.secret != second.secret
    with pytest.raises(BadCode):
        await env.factors.confirm_totp(env.ada, pyotp.TOTP(first.secret).at(int(env.clock())))
    for code in ("", "12345", "1234567", "٣٣٣٣٣٣", "abcdef"):
        with pytest.raises(BadCode):
            await env.factors.confirm_totp(env.ada, code)
    assert "second_factor_add" not in await audit(connection)
    await env.factors.confirm_totp(env.ada, pyotp.TOTP(second.secret).at(int(env.clock())))
    assert not await env.factors.missing(user)
    assert await env.factors.enrolment(user) is None
    assert not await env.factors.begin_totp(env.ada)
    await env.factors.remove_totp(env.ada)
    await env.factors.remove_totp(env.ada)
    assert await env.factors.missing(user)
    actions = ["register", "sign_in", "second_factor_add", "second_factor_remove"]
    assert await audit(connection) == actions
    assert await connection.fetchval("select count(*) from audit where session_id = $1", env.ada.id) == 3


# Recovery codes


async def test_a_recovery_code_works_once_even_concurrently(env: Env, connection: asyncpg.Connection) -> None:
    await env.add_app()
    codes = await env.factors.first_recovery_codes(env.ada)
    assert len(set(codes)) == RECOVERY_CODES
    assert await env.factors.first_recovery_codes(env.ada) == []
    seen = await outcomes(*(env.factors.check_code(env.ada.user, codes[3]) for _ in range(20)))
    # The attempts are counted until the successful one resets the count, so some may be refused as too many.
    assert seen["done"] == 1
    assert seen["BadCode"] + seen["TooManyAttempts"] == 19
    await connection.execute("delete from code_tries")
    with pytest.raises(BadCode):
        await env.factors.check_code(env.ada.user, codes[3])
    await env.factors.check_code(env.ada.user, codes[4].replace("-", " "))
    factors = await env.factors.of(env.ada.user)
    assert (factors.recovery_made, factors.recovery_left) == (RECOVERY_CODES, RECOVERY_CODES - 2)
    assert (await audit(connection)).count("recovery_code_use") == 2


async def test_recovery_codes_are_stored_as_hashes_and_new_ones_replace_the_old(
    env: Env, connection: asyncpg.Connection
) -> None:
    await env.add_app()
    old = await env.factors.first_recovery_codes(env.ada)
    stored = [row["code_hash"] for row in await connection.fetch("select code_hash from recovery_codes")]
    assert all(re.fullmatch("[0-9a-f]{64}", code_hash) for code_hash in stored)
    assert not {code.replace("-", "") for code in old} & set(stored)
    new = await env.factors.new_recovery_codes(env.ada)
    for code in (old[0], old[9], new[0][:-1], ""):
        with pytest.raises(BadCode):
            await env.factors.check_code(env.ada.user, code)
    await env.factors.check_code(env.ada.user, new[0])
    assert (await audit(connection)).count("recovery_codes") == 2


async def test_recovery_codes_in_the_old_format_still_work_once(
    env: Env, passwords: Passwords, connection: asyncpg.Connection
) -> None:
    app, user = await env.add_app(), env.ada.user
    stored = await passwords.hash("123456789012345", Requester("", "ada"))
    await connection.execute("insert into recovery_codes values ($1, 7, $2)", user.id, stored)
    for wrong in ("7123-4567-8901-2346", "6123-4567-8901-2345"):
        with pytest.raises(BadCode):
            await env.factors.check_code(user, wrong)
    await env.factors.check_code(user, "7123-4567-8901-2345")
    with pytest.raises(BadCode):
        await env.factors.check_code(user, "7123 4567 8901 2345")
    with pytest.raises(BadCode):
        await env.factors.check_code(user, stored)  # the stored hash is not a code
    await env.factors.check_code(user, app.at(int(env.clock())))


async def test_removing_the_last_factor_deletes_the_recovery_codes(env: Env, connection: asyncpg.Connection) -> None:
    await env.add_app()
    await env.add_passkey()
    await env.factors.first_recovery_codes(env.ada)
    await env.factors.remove_totp(env.ada)
    assert (await env.factors.of(env.ada.user)).recovery_left == RECOVERY_CODES
    (passkey,) = (await env.factors.of(env.ada.user)).passkeys
    await env.factors.remove_passkey(env.ada, passkey.id)
    factors = await env.factors.of(env.ada.user)
    assert (factors.any, factors.recovery_made) == (False, 0)


async def test_the_statement_in_the_guide_removes_one_users_second_factors(
    env: Env, connection: asyncpg.Connection
) -> None:
    eve = await env.registration.register("eve", PASSWORD)
    for session in (env.ada, eve):
        await env.add_app(session)
        await env.add_passkey(session)
        await env.factors.first_recovery_codes(session)
    guide = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    found = re.search(r"^    with gone as .*? from gone;$", guide, re.MULTILINE | re.DOTALL)
    assert found
    await connection.execute(found[0])
    assert not (await env.factors.of(env.ada.user)).any
    assert (await env.factors.of(env.ada.user)).recovery_made == 0
    assert (await env.factors.of(eve.user)).any
    assert (await audit(connection)).count("second_factor_remove") == 1
    assert isinstance(await env.sign_in_flow.begin("ada", PASSWORD), Session)


# Limits of attempts


async def test_after_ten_wrong_codes_the_right_one_must_wait(env: Env, connection: asyncpg.Connection) -> None:
    app = await env.add_app()
    seen = await outcomes(*(env.factors.check_code(env.ada.user, "000 000 0") for _ in range(30)))
    assert seen == {"BadCode": CODE_TRIES, "TooManyAttempts": 30 - CODE_TRIES}
    with pytest.raises(TooManyAttempts) as refused:
        await env.factors.check_code(env.ada.user, app.at(int(env.clock())))
    assert refused.value.retry_after
    assert 3500 < refused.value.retry_after <= 3600
    await connection.execute("update code_tries set last_at = now() - interval '1 hour 1 second'")
    await env.factors.check_code(env.ada.user, app.at(int(env.clock())))
    assert await connection.fetchval("select count(*) from code_tries") == 0


async def test_a_waiting_sign_in_has_five_attempts(env: Env, connection: asyncpg.Connection) -> None:
    app = await env.add_app()
    waiting = await env.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    seen = await outcomes(*(env.sign_in_flow.finish(waiting, "1234567") for _ in range(12)))
    assert seen == {"BadCode": WAITING_TRIES, "NotSignedIn": 12 - WAITING_TRIES}
    with pytest.raises(NotSignedIn):
        await env.sign_in_flow.finish(waiting, app.at(int(env.clock())))
    assert await connection.fetchval("select count(*) from sessions") == 1  # from registering


# Signing in


async def test_a_user_with_a_second_factor_needs_more_than_a_password(env: Env, connection: asyncpg.Connection) -> None:
    assert isinstance(await env.sign_in_flow.begin("ada", PASSWORD), Session)
    app = await env.add_app()
    waiting = await env.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    with pytest.raises(SecondFactorNeeded):
        await env.sign_in_flow.in_one_step("ada", PASSWORD, None)
    assert (await audit(connection)).count("sign_in") == 2  # from registering, and from before there was an app
    session = await env.sign_in_flow.finish(waiting, app.at(int(env.clock())))
    assert session.user == env.ada.user
    with pytest.raises(NotSignedIn):  # it works once
        await env.sign_in_flow.finish(waiting, app.at(int(env.clock() + 30)))


@pytest.mark.parametrize(
    "change",
    [
        "update waiting_sign_ins set created_at = now() - interval '301 seconds'",
        "update users set password_hash = 'another'",
        "update users set disabled_at = now()",
    ],
)
async def test_a_waiting_sign_in_ends_when_it_expires_or_the_account_changes(
    env: Env, connection: asyncpg.Connection, change: str
) -> None:
    app, device = await env.add_app(), await env.add_passkey()
    waiting = await env.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    options, challenge = await env.passkeys.options_to_use(HERE, "second", env.ada.user)
    await connection.execute(change)
    with pytest.raises(NotSignedIn):
        await env.sign_in_flow.finish(waiting, app.at(int(env.clock())))
    with pytest.raises(NotSignedIn):
        await env.sign_in_flow.finish_with_passkey(waiting, HERE, challenge, device.get(options))


# Passkeys


async def test_a_passkey_signs_in_alone_and_as_a_second_factor(env: Env, connection: asyncpg.Connection) -> None:
    device = await env.add_passkey(name="  My\u0000 phone ")
    await connection.execute("update users set role = 'admin' where id = $1", env.ada.user.id)
    ada = msgspec.structs.replace(env.ada.user, role=Role.ADMIN)
    (passkey,) = (await env.factors.of(env.ada.user)).passkeys
    assert (passkey.name, passkey.last_used_at) == ("My phone", None)
    assert await connection.fetchval("select transports from passkeys") == ["hybrid", "internal"]
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    assert '"allowCredentials": []' in options
    assert '"userVerification": "required"' in options
    session = await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    assert session.user == ada
    waiting = await env.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    options, challenge = await env.passkeys.options_to_use(HERE, "second", env.ada.user)
    assert (await env.sign_in_flow.finish_with_passkey(waiting, HERE, challenge, device.get(options))).user == ada
    (passkey,) = (await env.factors.of(env.ada.user)).passkeys
    assert passkey.last_used_at
    await env.factors.remove_passkey(env.ada, passkey.id)
    assert (await audit(connection))[2:] == ["passkey_add", "sign_in", "sign_in", "passkey_remove"]
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials, match="unknown_passkey"):
        await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))


async def test_an_answer_that_is_too_long_is_not_parsed(env: Env) -> None:
    """CBOR can hold numbers and texts that take far longer to parse than their length suggests."""
    device = await env.add_passkey()
    for padding, accepted in ((" " * 4000, True), (" " * LONGEST_ANSWER, False)):
        options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
        signing_in = env.sign_in_flow.with_passkey(HERE, challenge, device.get(options) + padding)
        assert await outcomes(signing_in) == {"done" if accepted else "BadCredentials": 1}
        options, challenge = await env.passkeys.options_to_add(HERE, env.ada.user)
        adding = env.passkeys.add(env.ada, HERE, challenge, Authenticator().create(options) + padding, "")
        assert await outcomes(adding) == {"done" if accepted else "InvalidInput": 1}


async def test_a_passkey_removed_after_its_verification_is_refused(
    env: Env, database: Database, connection: asyncpg.Connection
) -> None:
    device = await env.add_passkey()
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    user, proof = await env.passkeys.prove(HERE, challenge, "sign_in", device.get(options))
    assert user == env.ada.user
    await connection.execute("delete from passkeys")
    with pytest.raises(BadCredentials):
        await database.transaction(proof)


async def test_passkeys_of_a_disabled_account_are_refused(env: Env, connection: asyncpg.Connection) -> None:
    device = await env.add_passkey()
    await connection.execute("update users set disabled_at = now()")
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    with pytest.raises(InvalidInput):
        await env.sign_in_flow.confirm(env.ada, PASSWORD, "")


async def test_a_challenge_works_once_even_concurrently(env: Env) -> None:
    device = await env.add_passkey()
    device.count = -1  # a passkey without a counter: only the challenge prevents reuse
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    answer = device.get(options)
    seen = await outcomes(*(env.sign_in_flow.with_passkey(HERE, challenge, answer) for _ in range(20)))
    assert seen == {"done": 1, "BadCredentials": 19}
    options, challenge = await env.passkeys.options_to_add(HERE, env.ada.user)
    devices = [Authenticator() for _ in range(5)]
    seen = await outcomes(*(env.passkeys.add(env.ada, HERE, challenge, new.create(options), "") for new in devices))
    assert seen == {"done": 1, "InvalidInput": 4}


@pytest.mark.parametrize("count", [0, 6, 7])
async def test_a_passkey_whose_counter_does_not_grow_is_refused(
    env: Env, connection: asyncpg.Connection, count: int
) -> None:
    device = await env.add_passkey()
    await connection.execute("update passkeys set sign_count = 7")
    device.count = count - 1
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    device.count = 7
    assert await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    assert await connection.fetchval("select sign_count from passkeys") == 8


async def test_of_concurrent_answers_with_the_same_count_one_is_accepted(env: Env) -> None:
    """A device and its copies at the same time: the library sees the old count each time, but the database decides."""
    device = await env.add_passkey()
    attempts = []
    for _ in range(6):
        options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
        device.count = 41
        attempts.append(env.sign_in_flow.with_passkey(HERE, challenge, device.get(options)))
    assert await outcomes(*attempts) == {"done": 1, "BadCredentials": 5}


def from_another_site(device: Authenticator) -> None:
    device.origin = "http://localhost.evil.example:8000"


def for_another_party(device: Authenticator) -> None:
    device.rp_id = "evil.example"


def unverified(device: Authenticator) -> None:
    device.flags = PRESENT


def with_another_key(device: Authenticator) -> None:
    device.key = Authenticator().key


def of_another_user(device: Authenticator) -> None:
    device.user_handle = b"someone else 123"


@pytest.mark.parametrize("fault", [from_another_site, for_another_party, unverified, with_another_key, of_another_user])
async def test_an_invalid_passkey_is_refused(
    env: Env, connection: asyncpg.Connection, fault: Callable[[Authenticator], None]
) -> None:
    device = await env.add_passkey()
    fault(device)
    options, challenge = await env.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    assert await connection.fetchval("select count(*) from sessions") == 1


@pytest.mark.parametrize("fault", [from_another_site, for_another_party, unverified])
async def test_an_invalid_passkey_is_not_added(env: Env, fault: Callable[[Authenticator], None]) -> None:
    device = Authenticator()
    fault(device)
    options, challenge = await env.passkeys.options_to_add(HERE, env.ada.user)
    with pytest.raises(InvalidInput):
        await env.passkeys.add(env.ada, HERE, challenge, device.create(options), "")
    assert await env.factors.missing(env.ada.user)


async def test_a_passkey_of_another_user_is_no_second_factor(env: Env) -> None:
    eve = await env.registration.register("eve", PASSWORD)
    device = await env.add_passkey(eve)
    await env.add_app()
    waiting = await env.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    for user in (env.ada.user, eve.user):
        options, challenge = await env.passkeys.options_to_use(HERE, "second", user)
        with pytest.raises(BadCredentials):
            await env.sign_in_flow.finish_with_passkey(waiting, HERE, challenge, device.get(options))
        options, challenge = await env.passkeys.options_to_use(HERE, "confirm", user)
        with pytest.raises(BadCredentials):
            await env.sign_in_flow.confirm_with_passkey(env.ada, HERE, challenge, device.get(options))
    (passkey,) = (await env.factors.of(eve.user)).passkeys
    await env.factors.remove_passkey(env.ada, passkey.id)  # not hers, so nothing happens
    assert (await env.factors.of(eve.user)).passkeys


async def test_a_challenge_is_for_one_purpose_and_one_user(env: Env) -> None:
    eve = await env.registration.register("eve", PASSWORD)
    device = await env.add_passkey()
    for purpose in ("second", "confirm"):
        options, challenge = await env.passkeys.options_to_use(HERE, purpose, env.ada.user)
        with pytest.raises(BadCredentials):
            await env.sign_in_flow.with_passkey(HERE, challenge, device.get(options))
    with pytest.raises(BadCredentials):
        await env.sign_in_flow.with_passkey(HERE, None, device.get(options))
    options, challenge = await env.passkeys.options_to_add(HERE, eve.user)
    with pytest.raises(InvalidInput):
        await env.passkeys.add(env.ada, HERE, challenge, Authenticator().create(options), "")
    options, challenge = await env.passkeys.options_to_add(HERE, env.ada.user)
    with pytest.raises(InvalidInput, match="known_passkey"):
        await env.passkeys.add(env.ada, HERE, challenge, device.create(options), "")


@pytest.mark.parametrize(
    "answer",
    ["", "null", "[]", "{}", "x", '{"id": "a", "rawId": "a"}', '{"id":"%","rawId":"%","type":"public-key"}', "\ud800",
     ('{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"e30",'
      '"signature":"e30","userHandle":"%%%"}}'),
     '{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}',
     "[" * 5000],
)  # fmt: skip
async def test_malformed_answers_are_refused(env: Env, answer: str) -> None:
    for purpose in ("add", "sign_in"):
        challenge = Challenge(purpose, b"0" * 32, env.ada.user.id)
        with pytest.raises(SeatwebError) as refused:
            await (
                env.passkeys.add(env.ada, HERE, challenge, answer, "")
                if purpose == "add"
                else env.sign_in_flow.with_passkey(HERE, challenge, answer)
            )
        assert refused.value.status in {401, 422}


def test_passkeys_work_over_https_with_a_host_name_and_at_localhost() -> None:
    party_ids = {
        ("https://seats.example.org", "seats.example.org"): "seats.example.org",
        ("https://seats.example.org", "Seats.Example.org"): "seats.example.org",
        ("https://seats.example.org:8443", "seats.example.org:8443"): "seats.example.org",
        ("http://localhost:8000", "localhost:8000"): "localhost",
        (None, "localhost:8000"): "localhost",
        (None, "seats.localhost:8000"): "seats.localhost",
        ("https://seats.example.org", "10.0.0.7"): None,
        ("https://10.0.0.7", "10.0.0.7"): None,
        ("https://[2001:db8::1]", "[2001:db8::1]"): None,
        ("http://seats.example.org", "seats.example.org"): None,
        (None, "seats.example.org"): None,
        (None, "127.0.0.1:8000"): None,
        (None, "[::1]:8000"): None,
        (None, "[::"): None,
        (None, ""): None,
        (None, "localhost/evil"): None,
    }
    for (public_url, host), expected in party_ids.items():
        party = relying_party(public_url, host, "Seatweb")
        assert (party and party.id) == expected, (public_url, host)
    assert relying_party(None, "localhost:8000", "Seatweb") == HERE


# Sites where everyone needs a second factor


async def test_of_several_enrolling_sessions_one_becomes_a_full_session(strict: Env) -> None:
    other = await strict.sign_in_flow.begin("ada", PASSWORD)
    assert isinstance(other, Session)
    assert strict.ada.enrolling
    assert other.enrolling
    await strict.add_app()
    attempts = [strict.sessions.finish_enrolling(session, Client()) for session in (strict.ada, other, strict.ada)]
    assert await outcomes(*attempts) == {"done": 1, "NotSignedIn": 2}
    (left,) = await strict.sessions.of(strict.ada.user)
    found = await strict.sessions.find(left.id, strict.ada.user.id)
    assert found
    assert not found.enrolling


# Locks: the account comes first, so that two requests of one user cannot deadlock.


async def use_code(env: Env) -> Awaitable[Any]:
    app = await env.add_app()
    return env.factors.check_code(env.ada.user, app.at(int(env.clock())))


async def use_passkey(env: Env) -> Awaitable[Any]:
    device = await env.add_passkey()
    options, challenge = await env.passkeys.options_to_use(HERE, "confirm", env.ada.user)
    answer = device.get(options)
    return env.sign_in_flow.confirm_with_passkey(env.ada, HERE, challenge, answer)


async def finish_enrolling(env: Env) -> Awaitable[Any]:
    await env.add_app()
    return env.sessions.finish_enrolling(env.ada, Client())


@pytest.mark.parametrize("prepare", [use_code, use_passkey, finish_enrolling])
async def test_the_account_is_locked_before_its_sessions_and_factors(
    strict: Env,
    connection: asyncpg.Connection,
    database_url: str,
    prepare: Callable[[Env], Awaitable[Awaitable[Any]]],
) -> None:
    work = await prepare(strict)
    async with connection.transaction():
        await connection.execute("select from users for no key update")
        acting = asyncio.ensure_future(work)
        await until_blocked(database_url, acting)
        for table in ("sessions", "totp_secrets", "passkeys"):
            await connection.execute(f"select from {table} for update nowait")
    await acting


async def test_concurrent_sign_ins_leave_at_most_fifty_sessions(
    env: Env, connection: asyncpg.Connection, database_url: str
) -> None:
    await connection.execute(
        """
        insert into sessions (user_id, expires_at)
        select id, now() + interval '1 day' from users, generate_series(2, $1)
        """,
        MOST_SESSIONS,
    )
    async with connection.transaction():
        await connection.execute("select from users for no key update")
        attempts = [asyncio.create_task(env.sign_in_flow.begin("ada", PASSWORD)) for _ in range(2)]
        await until_blocked(database_url, *attempts)
    await asyncio.gather(*attempts)
    assert await connection.fetchval("select count(*) from sessions where ended_at is null") == MOST_SESSIONS


async def test_an_ended_session_cannot_finish_enrolling(strict: Env) -> None:
    await strict.add_app()
    await strict.sessions.end(strict.ada.user, strict.ada.id)
    with pytest.raises(NotSignedIn):
        await strict.sessions.finish_enrolling(strict.ada, Client())


async def test_of_two_factors_removed_concurrently_one_stays(strict: Env) -> None:
    for _ in range(10):
        found = await strict.factors.of(strict.ada.user)
        if found.totp_since is None:
            await strict.add_app()
        if not found.passkeys:
            await strict.add_passkey()
        (passkey,) = (await strict.factors.of(strict.ada.user)).passkeys
        both = [strict.factors.remove_totp(strict.ada), strict.factors.remove_passkey(strict.ada, passkey.id)]
        assert await outcomes(*both) == {"done": 1, "LastFactor": 1}
        assert not await strict.factors.missing(strict.ada.user)


async def test_a_session_started_with_a_second_factor_is_not_enrolling(strict: Env) -> None:
    app = await strict.add_app()
    waiting = await strict.sign_in_flow.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    assert not (await strict.sign_in_flow.finish(waiting, app.at(int(strict.clock())))).enrolling
