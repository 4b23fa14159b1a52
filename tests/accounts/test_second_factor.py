"""Codes and passkeys: what is taken, what is not, and that nothing is taken twice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pyotp
import pytest
from seatweb.accounts.errors import BadCode, BadCredentials, SecondFactorNeeded
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.fair_queue import Asker
from seatweb.accounts.model import Session
from seatweb.accounts.passkeys import LONGEST_ANSWER, Challenge, Passkeys, RelyingParty
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.registration import Accounts
from seatweb.accounts.second_factor import CODE_TRIES, RECOVERY_CODES, WAITING_TRIES, SecondFactors
from seatweb.accounts.sessions import MOST_SESSIONS, Sessions
from seatweb.accounts.sign_in import SigningIn
from seatweb.errors import InvalidInput, NotSignedIn, SeatwebError, TooManyAttempts
from seatweb.http.client_address import Client
from seatweb.limits.limits import Limits
from seatweb.storage.database import Database
from seatweb.web.account.passkey_forms import relying_party

from tests.authenticator import PRESENT, Authenticator
from tests.support import CHEAP, until_blocked

PASSWORD = "correct horse battery"
HERE = RelyingParty(id="localhost", origin="http://localhost:8000", name="Seatweb")
NOON = 1_800_000_000.0  # the beginning of a time-step


class Clock:
    """Seconds since 1970, which stand still."""

    def __init__(self) -> None:
        self.seconds = NOON

    def __call__(self) -> float:
        return self.seconds


class House:
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
        self.accounts = Accounts(database, passwords, self.sessions, limits, failed_sign_ins, rules)
        self.factors = SecondFactors(database, passwords, "Seatweb", self.clock, needed=needed)
        self.passkeys = Passkeys(database)
        self.signing_in = SigningIn(database, self.sessions, self.accounts, self.factors, self.passkeys)
        self.ada: Session

    async def add_app(self, session: Session | None = None) -> pyotp.TOTP:
        """Add an authenticator app, which shows its first code a while ago."""
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
async def house(database: Database, passwords: Passwords, limits: Limits, failed_sign_ins: FailedSignIns) -> House:
    house = House(database, passwords, limits, failed_sign_ins)
    house.ada = await house.accounts.register("ada", PASSWORD)
    return house


@pytest.fixture
async def strict(database: Database, passwords: Passwords, limits: Limits, failed_sign_ins: FailedSignIns) -> House:
    """Give a house where everyone needs a second factor."""
    house = House(database, passwords, limits, failed_sign_ins, needed=True)
    house.ada = await house.accounts.register("ada", PASSWORD)
    return house


async def outcomes(*tries: Awaitable[Any]) -> Counter[str]:
    """Return how often what came of them, all at once."""
    results = await asyncio.gather(*tries, return_exceptions=True)
    unexpected = [one for one in results if isinstance(one, BaseException) and not isinstance(one, SeatwebError)]
    assert unexpected == []
    return Counter(type(one).__name__ if isinstance(one, SeatwebError) else "done" for one in results)


async def audit(connection: asyncpg.Connection) -> list[str]:
    return [row["action"] for row in await connection.fetch("select action from audit order by id")]


# The authenticator app


@pytest.mark.parametrize(("seconds", "taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
async def test_a_clock_may_be_off_by_one_step(house: House, seconds: int, *, taken: bool) -> None:
    app = await house.add_app()
    code = app.at(int(house.clock() + seconds))
    assert await outcomes(house.factors.check_code(house.ada.user, code)) == {"done" if taken else "BadCode": 1}


async def test_a_code_is_taken_once_and_none_before_it_after_it(house: House) -> None:
    app, user = await house.add_app(), house.ada.user
    now = app.at(int(house.clock()))
    await house.factors.check_code(user, f" {now[:3]} {now[3:]} ")
    with pytest.raises(BadCode):
        await house.factors.check_code(user, now)
    with pytest.raises(BadCode):  # of the step before: it was seen before the one that was taken
        await house.factors.check_code(user, app.at(int(house.clock() - 30)))
    await house.factors.check_code(user, app.at(int(house.clock() + 30)))


async def test_the_code_that_confirmed_the_app_signs_nobody_in(house: House) -> None:
    await house.factors.begin_totp(house.ada)
    enrolment = await house.factors.enrolment(house.ada.user)
    assert enrolment
    assert enrolment.uri.startswith("otpauth://totp/Seatweb:ada?")
    code = pyotp.TOTP(enrolment.secret).at(int(house.clock()))
    await house.factors.confirm_totp(house.ada, code)
    with pytest.raises(BadCode):
        await house.factors.check_code(house.ada.user, code)


async def test_of_twenty_tries_with_one_code_one_is_right(house: House) -> None:
    app = await house.add_app()
    code = app.at(int(house.clock()))
    seen = await outcomes(*(house.factors.check_code(house.ada.user, code) for _ in range(CODE_TRIES)))
    assert seen == {"done": 1, "BadCode": CODE_TRIES - 1}


async def test_a_secret_counts_once_confirmed_and_is_not_shown_again(
    house: House, connection: asyncpg.Connection
) -> None:
    user = house.ada.user
    assert await house.factors.begin_totp(house.ada)
    assert await house.factors.missing(user)
    first = await house.factors.enrolment(user)
    assert await house.factors.begin_totp(house.ada)  # begun anew: another secret
    second = await house.factors.enrolment(user)
    assert first
    assert second
    assert first.secret != second.secret
    with pytest.raises(BadCode):
        await house.factors.confirm_totp(house.ada, pyotp.TOTP(first.secret).at(int(house.clock())))
    for code in ("", "12345", "1234567", "٣٣٣٣٣٣", "abcdef"):
        with pytest.raises(BadCode):
            await house.factors.confirm_totp(house.ada, code)
    assert "second_factor_add" not in await audit(connection)
    await house.factors.confirm_totp(house.ada, pyotp.TOTP(second.secret).at(int(house.clock())))
    assert not await house.factors.missing(user)
    assert await house.factors.enrolment(user) is None
    assert not await house.factors.begin_totp(house.ada)
    await house.factors.remove_totp(house.ada)
    await house.factors.remove_totp(house.ada)
    assert await house.factors.missing(user)
    actions = ["register", "sign_in", "second_factor_add", "second_factor_remove"]
    assert await audit(connection) == actions
    assert await connection.fetchval("select count(*) from audit where session_id = $1", house.ada.id) == 3


# Recovery codes


async def test_a_recovery_code_is_taken_once_also_of_many_at_once(house: House, connection: asyncpg.Connection) -> None:
    await house.add_app()
    codes = await house.factors.first_recovery_codes(house.ada)
    assert len(set(codes)) == RECOVERY_CODES
    assert await house.factors.first_recovery_codes(house.ada) == []
    seen = await outcomes(*(house.factors.check_code(house.ada.user, codes[3]) for _ in range(20)))
    # Who comes before the right one counts its try is a wrong try; after so many nobody is let through.
    assert seen["done"] == 1
    assert seen["BadCode"] + seen["TooManyAttempts"] == 19
    await connection.execute("delete from code_tries")
    with pytest.raises(BadCode):
        await house.factors.check_code(house.ada.user, codes[3])
    await house.factors.check_code(house.ada.user, codes[4].replace("-", " "))
    factors = await house.factors.of(house.ada.user)
    assert (factors.recovery_made, factors.recovery_left) == (RECOVERY_CODES, RECOVERY_CODES - 2)
    assert (await audit(connection)).count("recovery_code_use") == 2


async def test_recovery_codes_are_kept_as_hashes_and_new_ones_end_the_old(
    house: House, connection: asyncpg.Connection
) -> None:
    await house.add_app()
    old = await house.factors.first_recovery_codes(house.ada)
    stored = [row["code_hash"] for row in await connection.fetch("select code_hash from recovery_codes")]
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in stored)
    assert not {code.replace("-", "") for code in old} & set(stored)
    new = await house.factors.new_recovery_codes(house.ada)
    for code in (old[0], old[9], new[0][:-1], ""):
        with pytest.raises(BadCode):
            await house.factors.check_code(house.ada.user, code)
    await house.factors.check_code(house.ada.user, new[0])
    assert (await audit(connection)).count("recovery_codes") == 2


async def test_recovery_codes_of_the_earlier_kind_still_work_once(
    house: House, passwords: Passwords, connection: asyncpg.Connection
) -> None:
    app, user = await house.add_app(), house.ada.user
    stored = await passwords.hash("123456789012345", Asker("", "ada"))
    await connection.execute("insert into recovery_codes values ($1, 7, $2)", user.id, stored)
    for wrong in ("7123-4567-8901-2346", "6123-4567-8901-2345"):
        with pytest.raises(BadCode):
            await house.factors.check_code(user, wrong)
    await house.factors.check_code(user, "7123-4567-8901-2345")
    with pytest.raises(BadCode):
        await house.factors.check_code(user, "7123 4567 8901 2345")
    with pytest.raises(BadCode):
        await house.factors.check_code(user, stored)  # what is kept of a code is none
    await house.factors.check_code(user, app.at(int(house.clock())))


async def test_the_last_factor_takes_the_recovery_codes_along(house: House, connection: asyncpg.Connection) -> None:
    await house.add_app()
    await house.add_passkey()
    await house.factors.first_recovery_codes(house.ada)
    await house.factors.remove_totp(house.ada)
    assert (await house.factors.of(house.ada.user)).recovery_left == RECOVERY_CODES
    (passkey,) = (await house.factors.of(house.ada.user)).passkeys
    await house.factors.remove_passkey(house.ada, passkey.id)
    factors = await house.factors.of(house.ada.user)
    assert (factors.any, factors.recovery_made) == (False, 0)


async def test_who_lost_everything_is_helped_by_the_words_of_the_guide(
    house: House, connection: asyncpg.Connection
) -> None:
    eve = await house.accounts.register("eve", PASSWORD)
    for session in (house.ada, eve):
        await house.add_app(session)
        await house.add_passkey(session)
        await house.factors.first_recovery_codes(session)
    guide = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    found = re.search(r"^    with gone as .*? from gone;$", guide, re.MULTILINE | re.DOTALL)
    assert found
    await connection.execute(found[0])
    assert not (await house.factors.of(house.ada.user)).any
    assert (await house.factors.of(house.ada.user)).recovery_made == 0
    assert (await house.factors.of(eve.user)).any
    assert (await audit(connection)).count("second_factor_remove") == 1
    assert isinstance(await house.signing_in.begin("ada", PASSWORD), Session)


# Tries


async def test_after_ten_wrong_codes_the_right_one_has_to_wait(house: House, connection: asyncpg.Connection) -> None:
    app = await house.add_app()
    seen = await outcomes(*(house.factors.check_code(house.ada.user, "000 000 0") for _ in range(30)))
    assert seen == {"BadCode": CODE_TRIES, "TooManyAttempts": 30 - CODE_TRIES}
    with pytest.raises(TooManyAttempts) as refused:
        await house.factors.check_code(house.ada.user, app.at(int(house.clock())))
    assert refused.value.retry_after
    assert 3500 < refused.value.retry_after <= 3600
    await connection.execute("update code_tries set last_at = now() - interval '1 hour 1 second'")
    await house.factors.check_code(house.ada.user, app.at(int(house.clock())))
    assert await connection.fetchval("select count(*) from code_tries") == 0


async def test_a_sign_in_that_waits_has_five_tries(house: House, connection: asyncpg.Connection) -> None:
    app = await house.add_app()
    waiting = await house.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    seen = await outcomes(*(house.signing_in.finish(waiting, "1234567") for _ in range(12)))
    assert seen == {"BadCode": WAITING_TRIES, "NotSignedIn": 12 - WAITING_TRIES}
    with pytest.raises(NotSignedIn):
        await house.signing_in.finish(waiting, app.at(int(house.clock())))
    assert await connection.fetchval("select count(*) from sessions") == 1  # of registering


# Signing in


async def test_the_password_alone_starts_no_session(house: House, connection: asyncpg.Connection) -> None:
    assert isinstance(await house.signing_in.begin("ada", PASSWORD), Session)
    app = await house.add_app()
    waiting = await house.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    with pytest.raises(SecondFactorNeeded):
        await house.signing_in.at_once("ada", PASSWORD, None)
    assert (await audit(connection)).count("sign_in") == 2  # of registering, and of before there was an app
    session = await house.signing_in.finish(waiting, app.at(int(house.clock())))
    assert session.user == house.ada.user
    with pytest.raises(NotSignedIn):  # once
        await house.signing_in.finish(waiting, app.at(int(house.clock() + 30)))


@pytest.mark.parametrize(
    "change",
    [
        "update waiting_sign_ins set created_at = now() - interval '301 seconds'",
        "update users set password_hash = 'another'",
        "update users set disabled_at = now()",
    ],
)
async def test_a_sign_in_waits_only_while_all_is_as_it_was(
    house: House, connection: asyncpg.Connection, change: str
) -> None:
    app, device = await house.add_app(), await house.add_passkey()
    waiting = await house.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    options, challenge = await house.passkeys.options_to_use(HERE, "second", house.ada.user)
    await connection.execute(change)
    with pytest.raises(NotSignedIn):
        await house.signing_in.finish(waiting, app.at(int(house.clock())))
    with pytest.raises(NotSignedIn):
        await house.signing_in.finish_with_passkey(waiting, HERE, challenge, device.get(options))


# Passkeys


async def test_a_passkey_signs_in_alone_and_as_second_factor(house: House, connection: asyncpg.Connection) -> None:
    device = await house.add_passkey(name="  My\u0000 phone ")
    (passkey,) = (await house.factors.of(house.ada.user)).passkeys
    assert (passkey.name, passkey.last_used_at) == ("My phone", None)
    assert await connection.fetchval("select transports from passkeys") == ["hybrid", "internal"]
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    assert '"allowCredentials": []' in options
    assert '"userVerification": "required"' in options
    session = await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    assert session.user == house.ada.user
    waiting = await house.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    options, challenge = await house.passkeys.options_to_use(HERE, "second", house.ada.user)
    assert (await house.signing_in.finish_with_passkey(waiting, HERE, challenge, device.get(options))).user
    (passkey,) = (await house.factors.of(house.ada.user)).passkeys
    assert passkey.last_used_at
    await house.factors.remove_passkey(house.ada, passkey.id)
    assert (await audit(connection))[2:] == ["passkey_add", "sign_in", "sign_in", "passkey_remove"]
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials, match="unknown_passkey"):
        await house.signing_in.with_passkey(HERE, challenge, device.get(options))


async def test_an_answer_far_longer_than_any_is_not_read(house: House) -> None:
    """CBOR holds numbers and texts that take time far out of proportion to their length."""
    device = await house.add_passkey()
    for padding, taken in ((" " * 4000, True), (" " * LONGEST_ANSWER, False)):
        options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
        signing_in = house.signing_in.with_passkey(HERE, challenge, device.get(options) + padding)
        assert await outcomes(signing_in) == {"done" if taken else "BadCredentials": 1}
        options, challenge = await house.passkeys.options_to_add(HERE, house.ada.user)
        adding = house.passkeys.add(house.ada, HERE, challenge, Authenticator().create(options) + padding, "")
        assert await outcomes(adding) == {"done" if taken else "InvalidInput": 1}


async def test_a_passkey_that_is_removed_while_it_is_looked_at_opens_nothing(
    house: House, database: Database, connection: asyncpg.Connection
) -> None:
    device = await house.add_passkey()
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    user, proof = await house.passkeys.prove(HERE, challenge, "sign_in", device.get(options))
    assert user == house.ada.user
    await connection.execute("delete from passkeys")
    with pytest.raises(BadCredentials):
        await database.transaction(proof)


async def test_a_disabled_account_is_closed_to_its_passkeys(house: House, connection: asyncpg.Connection) -> None:
    device = await house.add_passkey()
    await connection.execute("update users set disabled_at = now()")
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    with pytest.raises(InvalidInput):
        await house.signing_in.confirm(house.ada, PASSWORD, "")


async def test_a_challenge_is_taken_once_also_of_many_at_once(house: House) -> None:
    device = await house.add_passkey()
    device.count = -1  # one without a counter: nothing but the challenge tells a copy
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    answer = device.get(options)
    seen = await outcomes(*(house.signing_in.with_passkey(HERE, challenge, answer) for _ in range(20)))
    assert seen == {"done": 1, "BadCredentials": 19}
    options, challenge = await house.passkeys.options_to_add(HERE, house.ada.user)
    devices = [Authenticator() for _ in range(5)]
    seen = await outcomes(*(house.passkeys.add(house.ada, HERE, challenge, one.create(options), "") for one in devices))
    assert seen == {"done": 1, "InvalidInput": 4}


@pytest.mark.parametrize("count", [0, 6, 7])
async def test_a_counter_that_does_not_grow_shows_a_copy(
    house: House, connection: asyncpg.Connection, count: int
) -> None:
    device = await house.add_passkey()
    await connection.execute("update passkeys set sign_count = 7")
    device.count = count - 1
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    device.count = 7
    assert await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    assert await connection.fetchval("select sign_count from passkeys") == 8


async def test_two_answers_with_one_count_are_one_too_many(house: House) -> None:
    """A device and its copy at the same moment: the library saw the old count both times, the database decides."""
    device = await house.add_passkey()
    tries = []
    for _ in range(6):
        options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
        device.count = 41
        tries.append(house.signing_in.with_passkey(HERE, challenge, device.get(options)))
    assert await outcomes(*tries) == {"done": 1, "BadCredentials": 5}


def of_another_site(device: Authenticator) -> None:
    device.origin = "http://localhost.evil.example:8000"


def of_another_party(device: Authenticator) -> None:
    device.rp_id = "evil.example"


def not_unlocked(device: Authenticator) -> None:
    device.flags = PRESENT


def another_key(device: Authenticator) -> None:
    device.key = Authenticator().key


def another_user(device: Authenticator) -> None:
    device.user_handle = b"someone else 123"


@pytest.mark.parametrize("fault", [of_another_site, of_another_party, not_unlocked, another_key, another_user])
async def test_a_passkey_that_is_not_right_opens_nothing(
    house: House, connection: asyncpg.Connection, fault: Callable[[Authenticator], None]
) -> None:
    device = await house.add_passkey()
    fault(device)
    options, challenge = await house.passkeys.options_to_use(HERE, "sign_in")
    with pytest.raises(BadCredentials):
        await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    assert await connection.fetchval("select count(*) from sessions") == 1


@pytest.mark.parametrize("fault", [of_another_site, of_another_party, not_unlocked])
async def test_a_passkey_that_is_not_right_is_not_added(house: House, fault: Callable[[Authenticator], None]) -> None:
    device = Authenticator()
    fault(device)
    options, challenge = await house.passkeys.options_to_add(HERE, house.ada.user)
    with pytest.raises(InvalidInput):
        await house.passkeys.add(house.ada, HERE, challenge, device.create(options), "")
    assert await house.factors.missing(house.ada.user)


async def test_a_passkey_of_another_user_is_no_second_factor(house: House) -> None:
    eve = await house.accounts.register("eve", PASSWORD)
    device = await house.add_passkey(eve)
    await house.add_app()
    waiting = await house.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    for user in (house.ada.user, eve.user):
        options, challenge = await house.passkeys.options_to_use(HERE, "second", user)
        with pytest.raises(BadCredentials):
            await house.signing_in.finish_with_passkey(waiting, HERE, challenge, device.get(options))
        options, challenge = await house.passkeys.options_to_use(HERE, "confirm", user)
        with pytest.raises(BadCredentials):
            await house.signing_in.confirm_with_passkey(house.ada, HERE, challenge, device.get(options))
    (passkey,) = (await house.factors.of(eve.user)).passkeys
    await house.factors.remove_passkey(house.ada, passkey.id)  # not hers: nothing happens
    assert (await house.factors.of(eve.user)).passkeys


async def test_a_challenge_is_for_one_purpose_and_one_user(house: House) -> None:
    eve = await house.accounts.register("eve", PASSWORD)
    device = await house.add_passkey()
    for purpose in ("second", "confirm"):
        options, challenge = await house.passkeys.options_to_use(HERE, purpose, house.ada.user)
        with pytest.raises(BadCredentials):
            await house.signing_in.with_passkey(HERE, challenge, device.get(options))
    with pytest.raises(BadCredentials):
        await house.signing_in.with_passkey(HERE, None, device.get(options))
    options, challenge = await house.passkeys.options_to_add(HERE, eve.user)
    with pytest.raises(InvalidInput):
        await house.passkeys.add(house.ada, HERE, challenge, Authenticator().create(options), "")
    options, challenge = await house.passkeys.options_to_add(HERE, house.ada.user)
    with pytest.raises(InvalidInput, match="known_passkey"):
        await house.passkeys.add(house.ada, HERE, challenge, device.create(options), "")


@pytest.mark.parametrize(
    "answer",
    ["", "null", "[]", "{}", "x", '{"id": "a", "rawId": "a"}', '{"id":"%","rawId":"%","type":"public-key"}', "\ud800",
     ('{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"e30",'
      '"signature":"e30","userHandle":"%%%"}}'),
     '{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}',
     "[" * 5000],
)  # fmt: skip
async def test_answers_that_are_none(house: House, answer: str) -> None:
    for purpose in ("add", "sign_in"):
        challenge = Challenge(purpose, b"0" * 32, house.ada.user.id)
        with pytest.raises(SeatwebError) as refused:
            await (
                house.passkeys.add(house.ada, HERE, challenge, answer, "")
                if purpose == "add"
                else house.signing_in.with_passkey(HERE, challenge, answer)
            )
        assert refused.value.status in {401, 422}


def test_passkeys_work_at_https_with_a_name_and_at_localhost() -> None:
    here = {
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
    for (public_url, host), expected in here.items():
        party = relying_party(public_url, host, "Seatweb")
        assert (party and party.id) == expected, (public_url, host)
    assert relying_party(None, "localhost:8000", "Seatweb") == HERE


# Where everyone needs one


async def test_one_enrolling_session_becomes_one_session(strict: House) -> None:
    other = await strict.signing_in.begin("ada", PASSWORD)
    assert isinstance(other, Session)
    assert strict.ada.enrolling
    assert other.enrolling
    await strict.add_app()
    tries = [strict.sessions.finish_enrolling(session, Client()) for session in (strict.ada, other, strict.ada)]
    assert await outcomes(*tries) == {"done": 1, "NotSignedIn": 2}
    (left,) = await strict.sessions.of(strict.ada.user)
    found = await strict.sessions.find(left.id, strict.ada.user.id)
    assert found
    assert not found.enrolling


# The order of locks: first the account. Else two requests of one user could wait for each other.


async def use_code(house: House) -> Awaitable[Any]:
    app = await house.add_app()
    return house.factors.check_code(house.ada.user, app.at(int(house.clock())))


async def use_passkey(house: House) -> Awaitable[Any]:
    device = await house.add_passkey()
    options, challenge = await house.passkeys.options_to_use(HERE, "confirm", house.ada.user)
    answer = device.get(options)
    return house.signing_in.confirm_with_passkey(house.ada, HERE, challenge, answer)


async def finish_enrolling(house: House) -> Awaitable[Any]:
    await house.add_app()
    return house.sessions.finish_enrolling(house.ada, Client())


@pytest.mark.parametrize("prepare", [use_code, use_passkey, finish_enrolling])
async def test_the_account_is_locked_before_its_sessions_and_factors(
    strict: House,
    connection: asyncpg.Connection,
    database_url: str,
    prepare: Callable[[House], Awaitable[Awaitable[Any]]],
) -> None:
    work = await prepare(strict)
    async with connection.transaction():
        await connection.execute("select from users for no key update")
        acting = asyncio.ensure_future(work)
        await until_blocked(database_url, acting)
        for table in ("sessions", "totp_secrets", "passkeys"):
            await connection.execute(f"select from {table} for update nowait")
    await acting


async def test_sessions_that_start_at_once_are_not_more_than_fifty(
    house: House, connection: asyncpg.Connection, database_url: str
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
        tries = [asyncio.create_task(house.signing_in.begin("ada", PASSWORD)) for _ in range(2)]
        await until_blocked(database_url, *tries)
    await asyncio.gather(*tries)
    assert await connection.fetchval("select count(*) from sessions where ended_at is null") == MOST_SESSIONS


async def test_what_is_ended_is_not_gone_on_with(strict: House) -> None:
    await strict.add_app()
    await strict.sessions.end(strict.ada.user, strict.ada.id)
    with pytest.raises(NotSignedIn):
        await strict.sessions.finish_enrolling(strict.ada, Client())


async def test_of_two_factors_one_may_go_also_both_at_once(strict: House) -> None:
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


async def test_a_session_with_a_factor_is_whole_from_the_start(strict: House) -> None:
    app = await strict.add_app()
    waiting = await strict.signing_in.begin("ada", PASSWORD)
    assert not isinstance(waiting, Session)
    assert not (await strict.signing_in.finish(waiting, app.at(int(strict.clock())))).enrolling
