"""Failed sign-ins in a real PostgreSQL: counted exactly, for any number of processes and concurrent attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from seatweb.accounts import failed_sign_in_queries as queries
from seatweb.accounts import failed_sign_ins as module
from seatweb.accounts.errors import BadCredentials
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.app import CONSTRAINTS
from seatweb.errors import Overloaded, TooManyAttempts
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.settings import Limit
from seatweb.storage.database import Database

from tests.support import ADDRESS_PAIRS, until_blocked, within

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = "test secret"
PER_ACCOUNT, PER_ADDRESS = Limit(10, 3600), Limit(30, 60)

Start = Callable[..., Awaitable[FailedSignIns]]


def make_counters(
    database: Database,
    per_account: Limit | None = PER_ACCOUNT,
    per_address: Limit | None = PER_ADDRESS,
    secret: str = SECRET,
) -> FailedSignIns:
    return FailedSignIns(
        database, KeyedHash(secret), per_account=per_account, per_address=per_address, now=lambda: NOON
    )


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Start]:
    """Yield a function that returns the counters of another process, which has its own connections."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> FailedSignIns:
            database = await stack.enter_async_context(Database(database_url, CONSTRAINTS, size=8))
            return make_counters(database, **options)

        yield start


@pytest.fixture
async def counters(database: Database) -> FailedSignIns:
    return make_counters(database)


class Guess:
    """The outcome of a sign-in: whether the password was verified, or else when to try again."""

    def __init__(self) -> None:
        self.verified = False
        self.retry_after: int | None = None

    def has_to_wait(self, seconds: int) -> bool:
        """Return whether the wait is that long, or up to 2 s shorter because a busy machine was slow before."""
        return self.retry_after is not None and seconds - 2 <= self.retry_after <= seconds


async def guess(
    counters: FailedSignIns, account: str = "ada", address: str = "192.0.2.1", *, right: bool = False
) -> Guess:
    outcome = Guess()
    try:
        async with counters.sign_in(account, address):
            outcome.verified = True
            await asyncio.sleep(0.01)  # as when a password is verified; other attempts arrive meanwhile
            if not right:
                raise BadCredentials
    except TooManyAttempts as error:
        outcome.retry_after = error.retry_after
    except BadCredentials:
        pass
    return outcome


async def guesses(processes: list[FailedSignIns], times: int, **options: Any) -> list[Guess]:
    """Make concurrent guesses, spread evenly over the processes."""
    return list(await asyncio.gather(*(guess(processes[n % len(processes)], **options) for n in range(times))))


def count_verified(outcomes: list[Guess]) -> int:
    return sum(outcome.verified for outcome in outcomes)


async def lengths(connection: asyncpg.Connection) -> list[int]:
    """Return how many attempts each counter holds, in ascending order."""
    rows = await connection.fetch("select cardinality(times) as length from failed_sign_ins order by length")
    return [row["length"] for row in rows]


async def age_attempts(connection: asyncpg.Connection, seconds: float) -> None:
    """Make all counted attempts older by some seconds."""
    await connection.execute(
        """
        update failed_sign_ins set
        times = array(
            select time - make_interval(secs => $1) from unnest(times) with ordinality as t (time, place) order by place
        ),
        over_at = over_at - make_interval(secs => $1)
        """,
        seconds,
    )


@pytest.mark.usefixtures("patient_with_database")
async def test_of_two_hundred_guesses_in_four_processes_ten_are_verified(process: Start) -> None:
    four = [await process() for _ in range(4)]
    addresses = [f"192.0.2.{n}" for n in range(200)]
    found = await asyncio.gather(*(guess(four[n % 4], address=address) for n, address in enumerate(addresses)))
    assert count_verified(found) == 10
    waits = [outcome.retry_after for outcome in found if outcome.retry_after is not None]
    assert len(waits) == 190
    assert all(3590 < wait <= 3600 for wait in waits)
    assert not (await guess(await process(), right=True)).verified  # not even the right password
    assert (await guess(four[0], account="grace")).verified


@pytest.mark.usefixtures("patient_with_database")
async def test_of_two_hundred_accounts_at_one_address_thirty_are_verified(
    process: Start, connection: asyncpg.Connection
) -> None:
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}") for n in range(200)))
    assert count_verified(found) == 30
    assert all(0 < (outcome.retry_after or 1) <= 60 for outcome in found)
    assert (await guess(four[1], account="user 1", address="192.0.2.2")).verified
    assert sum(await lengths(connection)) == 30 + 30 + 2  # refused attempts do not count for their accounts


@pytest.mark.usefixtures("patient_with_database")
async def test_an_attempt_counts_for_both_account_and_address_or_for_neither(
    process: Start, connection: asyncpg.Connection
) -> None:
    two = [await process(per_address=Limit(100, 3600)) for _ in range(2)]
    assert count_verified(await guesses(two, 60)) == 10
    assert await lengths(connection) == [10, 10]
    for _ in range(3):
        assert not (await guess(two[0], address="192.0.2.9")).verified
    assert await lengths(connection) == [10, 10]


@pytest.mark.usefixtures("short_retries")
async def test_attempts_while_refused_do_not_extend_the_wait(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    for _ in range(10):
        await guess(counters)
    await age_attempts(connection, 3000)
    for _ in range(3):
        assert (await guess(counters)).has_to_wait(600)
    await age_attempts(connection, 600)
    assert (await guess(counters)).verified


@pytest.mark.usefixtures("short_retries")
async def test_the_period_slides(counters: FailedSignIns, connection: asyncpg.Connection) -> None:
    for _ in range(9):
        await guess(counters)
    await age_attempts(connection, 1000)
    await guess(counters)
    await age_attempts(connection, 2590)
    assert (await guess(counters)).has_to_wait(10)
    await age_attempts(connection, 10)
    assert count_verified([await guess(counters, address=f"192.0.2.{n}") for n in range(10)]) == 9
    await age_attempts(connection, 990)
    assert (await guess(counters)).has_to_wait(10)  # until the single later attempt expires
    await age_attempts(connection, 10)
    assert count_verified([await guess(counters), await guess(counters)]) == 1
    account, *_ = sorted(await lengths(connection), reverse=True)
    assert account == 10  # a counter keeps no more attempts than the limit


@pytest.mark.usefixtures("short_retries")
async def test_a_lowered_limit_applies_to_attempts_counted_before(
    database: Database, connection: asyncpg.Connection
) -> None:
    before, after = make_counters(database, Limit(5, 3600)), make_counters(database, Limit(2, 3600))
    for _ in range(3):
        await guess(before)
        await age_attempts(connection, 1000)
    assert (await guess(after)).has_to_wait(1600)  # when the second latest expires
    await age_attempts(connection, 1600)
    assert (await guess(after)).verified


@pytest.mark.usefixtures("short_retries")
async def test_a_right_password_gives_back_only_its_attempt(process: Start, connection: asyncpg.Connection) -> None:
    one, two = await process(), await process()
    await guesses([one], 9)
    for _ in range(20):
        assert (await guess(two, right=True)).verified
    assert await lengths(connection) == [9, 9]
    assert count_verified([await guess(two), await guess(two)]) == 1
    await age_attempts(connection, 6)
    assert not (await guess(one, right=True)).verified


async def test_of_two_attempts_at_the_same_microsecond_one_is_given_back(
    database: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into failed_sign_ins values ('x', array[$1, $2, $2, $3]::timestamptz [], now())",
        *(NOON.replace(day=n) for n in (3, 2, 1)),
    )
    await database.run(queries.give_attempt_back, b"x", NOON.replace(day=2))
    times = await connection.fetchval("select times from failed_sign_ins")
    assert [time.day for time in times] == [3, 2, 1]
    await database.run(queries.give_attempt_back, b"x", NOON.replace(day=9))
    assert await lengths(connection) == [3]


@pytest.mark.usefixtures("short_retries")
async def test_an_interrupted_attempt_is_given_back(counters: FailedSignIns, connection: asyncpg.Connection) -> None:
    for _ in range(12):
        with pytest.raises(ZeroDivisionError):
            async with counters.sign_in("ada", "192.0.2.1"):
                raise ZeroDivisionError
        entered = asyncio.Event()
        sleeping = asyncio.create_task(_sleep_inside(counters, entered))
        await entered.wait()
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
    assert await lengths(connection) == [0, 0]


async def _sleep_inside(counters: FailedSignIns, entered: asyncio.Event) -> None:
    async with counters.sign_in("ada", "192.0.2.1"):
        entered.set()
        await asyncio.sleep(10)


async def test_a_sign_in_succeeds_even_if_its_attempt_cannot_be_given_back(
    counters: FailedSignIns, database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overloaded(*_: object) -> None:
        raise Overloaded

    async with counters.sign_in("ada", "192.0.2.1"):
        monkeypatch.setattr(database, "write", overloaded)
    assert await lengths(connection) == [1, 1]


@pytest.mark.usefixtures("patient_with_database")
async def test_concurrent_sign_ins_behind_one_address_wait_for_each_other(process: Start) -> None:
    """As long as none fails, none is refused: 60 colleagues at nine o'clock."""
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}", right=True) for n in range(60)))
    assert count_verified(found) == 60


@pytest.mark.usefixtures("short_retries")
async def test_an_attempt_waits_for_one_in_progress(
    database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRIES", 1000)
    counters = make_counters(database, Limit(1, 3600))
    async with counters.sign_in("ada", "192.0.2.1"):
        second = asyncio.create_task(guess(counters))
        await within(30, lambda: _is_waiting(counters))
        assert not second.done()
    assert (await second).verified
    assert counters._waiting == 0


async def _is_waiting(counters: FailedSignIns) -> bool:
    return counters._waiting == 1


@pytest.mark.usefixtures("short_retries")
async def test_waiting_is_limited_in_time_and_number(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = make_counters(database, Limit(1, 3600))
    waits = 0
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal waits
        waits += 1
        await sleep(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", counted)  # type: ignore[attr-defined]
    async with counters.sign_in("ada", "192.0.2.1"):
        assert not (await guess(counters)).verified
        assert waits == module.RETRIES
        monkeypatch.setattr(module, "MOST_WAITING", 0)
        assert not (await guess(counters)).verified
        assert waits == module.RETRIES


async def test_an_attempt_does_not_wait_for_a_counter_full_of_failures(
    counters: FailedSignIns, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the other counter is full of attempts in progress, since their end would change nothing."""
    await guesses([counters], 10)
    await age_attempts(connection, 6)
    monkeypatch.setattr(module, "RETRY_SECONDS", 60)
    assert not (await guess(counters)).verified
    busy = make_counters(counters._database, per_address=Limit(1, 60))
    async with busy.sign_in("grace", "192.0.2.2"):
        assert (await guess(busy, address="192.0.2.2")).has_to_wait(3594)


async def test_accounts_confirmations_and_addresses_are_counted_separately(
    database: Database, connection: asyncpg.Connection
) -> None:
    counters = make_counters(database, Limit(1, 3600), Limit(2, 3600))

    async def failed(attempt: Any) -> bool:
        try:
            async with attempt:
                raise BadCredentials
        except BadCredentials:
            return True
        except TooManyAttempts:
            return False

    assert await failed(counters.sign_in("7", "7"))
    assert await failed(counters.confirmation(7))
    assert await failed(counters.reset_code("7"))
    assert await lengths(connection) == [1, 1, 2]
    await age_attempts(connection, 6)
    assert not await failed(counters.sign_in("7", "8"))
    assert not await failed(counters.confirmation(7))
    assert not await failed(counters.reset_code("7"))
    assert not await failed(counters.sign_in("8", "7"))
    assert await failed(counters.confirmation(8))
    assert await failed(counters.reset_code("8"))
    assert await failed(counters.sign_in("8", "8"))


async def test_without_limits_nothing_is_queried(
    database_url: str, database: Database, connection: asyncpg.Connection
) -> None:
    closed = Database(database_url, CONSTRAINTS, size=1)  # never opened
    assert count_verified(await guesses([make_counters(closed, None, None)], 50)) == 50
    await guess(make_counters(database, PER_ACCOUNT, None))
    await guess(make_counters(database, None, PER_ADDRESS))
    assert await lengths(connection) == [1, 1]


async def test_the_table_reveals_no_names_or_addresses(database: Database, connection: asyncpg.Connection) -> None:
    for name in ("ada", "x" * 60_000, "", "\0\ud7ff{}", "192.0.2.1"):
        await guess(make_counters(database), account=name, address="2001:db8::1")
    keys = [row["key"] for row in await connection.fetch("select key from failed_sign_ins")]
    assert [len(key) for key in keys] == [16] * 6
    assert not any(b"ada" in key or b"2001" in key for key in keys)
    await guess(make_counters(database, secret="another"), account="ada", address="2001:db8::1")
    assert len(await lengths(connection)) == 8  # without the secret, nobody can tell whose key it is


@pytest.mark.parametrize(("first", "second", "same"), ADDRESS_PAIRS)
async def test_addresses_are_counted_by_network(
    database: Database, connection: asyncpg.Connection, first: str, second: str, *, same: bool
) -> None:
    counters = make_counters(database, None)
    await guess(counters, address=first)
    await guess(counters, address=second)
    assert await lengths(connection) == ([2] if same else [1, 1])


# Locks and pruning


async def test_nothing_is_locked_while_the_password_is_verified(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    async with counters.sign_in("ada", "192.0.2.1"):
        assert len(await connection.fetch("select from failed_sign_ins for update nowait")) == 2
        assert await lengths(connection) == [1, 1]  # counted before the password is verified


async def test_a_refused_attempt_waits_for_no_lock_and_writes_nothing(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await guesses([counters], 10)
    await age_attempts(connection, 6)
    versions = "select xmin::text, xmax::text, ctid::text from failed_sign_ins order by key"
    before = await connection.fetch(versions)
    assert not (await guess(counters)).verified
    assert await connection.fetch(versions) == before
    async with connection.transaction():
        await connection.execute("select from failed_sign_ins for update")
        async with asyncio.timeout(30):
            assert not (await guess(counters)).verified


async def test_giving_an_attempt_back_locks_one_row_at_a_time(
    counters: FailedSignIns, connection: asyncpg.Connection, database_url: str
) -> None:
    """Otherwise it could deadlock with an attempt that is being counted."""
    watcher = await asyncpg.connect(database_url)
    address = counters._address("192.0.2.1")[0].key
    try:
        leave = asyncio.Event()
        attempt = asyncio.create_task(_sign_in_until(counters, leave))
        await within(30, lambda: _has_lengths(watcher, [1, 1]))
        async with connection.transaction():
            await connection.execute("select from failed_sign_ins where key = $1 for update", address)
            leave.set()
            await until_blocked(database_url, attempt)
            await within(30, lambda: _has_lengths(watcher, [0, 1]))
        await attempt
        assert await lengths(watcher) == [0, 0]
    finally:
        await watcher.close()


async def _has_lengths(connection: asyncpg.Connection, expected: list[int]) -> bool:
    return await lengths(connection) == expected


async def _sign_in_until(counters: FailedSignIns, leave: asyncio.Event) -> None:
    async with counters.sign_in("ada", "192.0.2.1"):
        await leave.wait()


async def test_each_attempt_deletes_expired_counters_left_by_a_flood(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into failed_sign_ins select sha256(n::text::bytea), array[now()], now() from generate_series(1, 95) n"
    )
    await guess(counters)
    assert len(await lengths(connection)) == 2 + 95 - 10
    for n in range(20):
        await guess(counters, account=f"user {n}")
    assert len(await lengths(connection)) == 1 + 21  # one for the address, one for each account
    await age_attempts(connection, 3601)
    await guesses([counters], 3, account="grace", address="192.0.2.2")
    assert await lengths(connection) == [3, 3]


async def test_pruning_waits_for_no_lock_and_keeps_current_counters(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await connection.execute("insert into failed_sign_ins values ('over', array[now()], now())")
    async with connection.transaction():
        await connection.execute("select from failed_sign_ins for update")
        async with asyncio.timeout(30):
            assert (await guess(counters)).verified
    assert await lengths(connection) == [1, 1, 1]
    assert await counters._database.write(queries.prune_failed_sign_ins, 100) == 1
    assert await lengths(connection) == [1, 1]


@pytest.mark.usefixtures("short_retries")
async def test_a_counter_expires_with_its_latest_attempt(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await guess(counters)
    await age_attempts(connection, 3000)
    await guess(counters)
    await age_attempts(connection, 3000)
    assert await counters._database.write(queries.prune_failed_sign_ins, 100) == 1  # the address's
    assert count_verified([await guess(counters) for _ in range(10)]) == 9
