"""Failed sign-ins in a real PostgreSQL: counted exactly, for any number of processes and attempts at once."""

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

from tests.support import until_blocked, within

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = "of these tests"
PER_ACCOUNT, PER_ADDRESS = Limit(10, 3600), Limit(30, 60)

Start = Callable[..., Awaitable[FailedSignIns]]


def counted_in(
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
    """Give a function that returns the counters as one more process sees them: by connections of its own."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> FailedSignIns:
            database = await stack.enter_async_context(Database(database_url, CONSTRAINTS, size=8))
            return counted_in(database, **options)

        yield start


@pytest.fixture
async def counters(database: Database) -> FailedSignIns:
    return counted_in(database)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for attempts in progress."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.001)


class Guess:
    """What became of a sign-in: whether the password was looked at, or when to come again."""

    def __init__(self) -> None:
        self.looked_at = False
        self.retry_after: int | None = None

    def has_to_wait(self, seconds: int) -> bool:
        """Return whether it is so long: a busy machine may take two seconds over what was done before."""
        return self.retry_after is not None and seconds - 2 <= self.retry_after <= seconds


async def guess(
    counters: FailedSignIns, account: str = "ada", address: str = "192.0.2.1", *, right: bool = False
) -> Guess:
    found = Guess()
    try:
        async with counters.sign_in(account, address):
            found.looked_at = True
            await asyncio.sleep(0.01)  # as a password is verified: others come meanwhile
            if not right:
                raise BadCredentials
    except TooManyAttempts as error:
        found.retry_after = error.retry_after
    except BadCredentials:
        pass
    return found


async def guesses(processes: list[FailedSignIns], times: int, **options: Any) -> list[Guess]:
    """Guess so many times at once, by turns in each process."""
    return list(await asyncio.gather(*(guess(processes[n % len(processes)], **options) for n in range(times))))


def looked_at(found: list[Guess]) -> int:
    return sum(one.looked_at for one in found)


async def lengths(connection: asyncpg.Connection) -> list[int]:
    """Return how many attempts each counter holds, the fewest first."""
    rows = await connection.fetch("select cardinality(times) as length from failed_sign_ins order by length")
    return [row["length"] for row in rows]


async def let_pass(connection: asyncpg.Connection, seconds: float) -> None:
    """Let what was counted be older by so much."""
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


@pytest.mark.alone
@pytest.mark.usefixtures("patient_with_database")
async def test_two_hundred_guesses_at_once_in_four_processes_are_ten(process: Start) -> None:
    four = [await process() for _ in range(4)]
    addresses = [f"192.0.2.{n}" for n in range(200)]
    found = await asyncio.gather(*(guess(four[n % 4], address=address) for n, address in enumerate(addresses)))
    assert looked_at(found) == 10
    waits = [one.retry_after for one in found if one.retry_after is not None]
    assert len(waits) == 190
    assert all(3590 < wait <= 3600 for wait in waits)
    assert not (await guess(await process(), right=True)).looked_at  # not even with the right password
    assert (await guess(four[0], account="grace")).looked_at


@pytest.mark.alone
@pytest.mark.usefixtures("patient_with_database")
async def test_two_hundred_accounts_at_once_from_one_address_are_thirty(
    process: Start, connection: asyncpg.Connection
) -> None:
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}") for n in range(200)))
    assert looked_at(found) == 30
    assert all(0 < (one.retry_after or 1) <= 60 for one in found)
    assert (await guess(four[1], account="user 1", address="192.0.2.2")).looked_at
    assert sum(await lengths(connection)) == 30 + 30 + 2  # by the account of who was refused nothing is counted


@pytest.mark.alone
@pytest.mark.usefixtures("patient_with_database")
async def test_an_attempt_is_counted_by_account_and_address_or_by_neither(
    process: Start, connection: asyncpg.Connection
) -> None:
    two = [await process(per_address=Limit(100, 3600)) for _ in range(2)]
    assert looked_at(await guesses(two, 60)) == 10
    assert await lengths(connection) == [10, 10]
    for _ in range(3):
        assert not (await guess(two[0], address="192.0.2.9")).looked_at
    assert await lengths(connection) == [10, 10]


@pytest.mark.usefixtures("hurried")
async def test_the_time_that_was_told_stays_true_for_who_tries_on(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    for _ in range(10):
        await guess(counters)
    await let_pass(connection, 3000)
    for _ in range(3):
        assert (await guess(counters)).has_to_wait(600)
    await let_pass(connection, 600)
    assert (await guess(counters)).looked_at


@pytest.mark.usefixtures("hurried")
async def test_the_period_slides(counters: FailedSignIns, connection: asyncpg.Connection) -> None:
    for _ in range(9):
        await guess(counters)
    await let_pass(connection, 1000)
    await guess(counters)
    await let_pass(connection, 2590)
    assert (await guess(counters)).has_to_wait(10)
    await let_pass(connection, 10)
    assert looked_at([await guess(counters, address=f"192.0.2.{n}") for n in range(10)]) == 9
    await let_pass(connection, 990)
    assert (await guess(counters)).has_to_wait(10)  # until the one that was alone stops counting
    await let_pass(connection, 10)
    assert looked_at([await guess(counters), await guess(counters)]) == 1
    account, *_ = sorted(await lengths(connection), reverse=True)
    assert account == 10  # it holds no more than count


@pytest.mark.usefixtures("hurried")
async def test_a_limit_that_was_lowered_counts_by_what_is_known(
    database: Database, connection: asyncpg.Connection
) -> None:
    before, after = counted_in(database, Limit(5, 3600)), counted_in(database, Limit(2, 3600))
    for _ in range(3):
        await guess(before)
        await let_pass(connection, 1000)
    assert (await guess(after)).has_to_wait(1600)  # when the second latest stops counting
    await let_pass(connection, 1600)
    assert (await guess(after)).looked_at


@pytest.mark.usefixtures("hurried")
async def test_a_right_password_gives_back_its_own_attempt_only(process: Start, connection: asyncpg.Connection) -> None:
    one, two = await process(), await process()
    await guesses([one], 9)
    for _ in range(20):
        assert (await guess(two, right=True)).looked_at
    assert await lengths(connection) == [9, 9]
    assert looked_at([await guess(two), await guess(two)]) == 1
    await let_pass(connection, 6)
    assert not (await guess(one, right=True)).looked_at


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


@pytest.mark.usefixtures("hurried")
async def test_what_was_not_found_wrong_is_given_back(counters: FailedSignIns, connection: asyncpg.Connection) -> None:
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


async def test_a_sign_in_succeeds_also_when_its_attempt_cannot_be_given_back(
    counters: FailedSignIns, database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overloaded(*_: object) -> None:
        raise Overloaded

    async with counters.sign_in("ada", "192.0.2.1"):
        monkeypatch.setattr(database, "write", overloaded)
    assert await lengths(connection) == [1, 1]


@pytest.mark.alone
@pytest.mark.usefixtures("patient_with_database")
async def test_many_who_sign_in_at_once_behind_one_address_wait_for_each_other(process: Start) -> None:
    """While none of them failed, none is refused: 60 colleagues at nine o'clock."""
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}", right=True) for n in range(60)))
    assert looked_at(found) == 60


@pytest.mark.usefixtures("hurried")
async def test_who_meets_an_attempt_in_progress_waits_for_its_end(
    database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_TIMES", 1000)
    counters = counted_in(database, Limit(1, 3600))
    async with counters.sign_in("ada", "192.0.2.1"):
        next_one = asyncio.create_task(guess(counters))
        await within(5, lambda: _is_waiting(counters))
        assert not next_one.done()
    assert (await next_one).looked_at
    assert counters._waiting == 0


async def _is_waiting(counters: FailedSignIns) -> bool:
    return counters._waiting == 1


@pytest.mark.usefixtures("hurried")
async def test_nobody_waits_for_ever_nor_do_too_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = counted_in(database, Limit(1, 3600))
    waits = 0
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal waits
        waits += 1
        await sleep(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", counted)  # type: ignore[attr-defined]
    async with counters.sign_in("ada", "192.0.2.1"):
        assert not (await guess(counters)).looked_at
        assert waits == module.PATIENCE_TIMES
        monkeypatch.setattr(module, "WAITING_AT_MOST", 0)
        assert not (await guess(counters)).looked_at
        assert waits == module.PATIENCE_TIMES


async def test_who_meets_failures_that_are_decided_is_refused_at_once(
    counters: FailedSignIns, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the other counter is full of attempts in progress: their end would change nothing."""
    await guesses([counters], 10)
    await let_pass(connection, 6)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 60)
    assert not (await guess(counters)).looked_at
    busy = counted_in(counters._database, per_address=Limit(1, 60))
    async with busy.sign_in("grace", "192.0.2.2"):
        assert (await guess(busy, address="192.0.2.2")).has_to_wait(3594)


async def test_accounts_confirmations_and_addresses_count_apart(
    database: Database, connection: asyncpg.Connection
) -> None:
    counters = counted_in(database, Limit(1, 3600), Limit(2, 3600))

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
    await let_pass(connection, 6)
    assert not await failed(counters.sign_in("7", "8"))
    assert not await failed(counters.confirmation(7))
    assert not await failed(counters.reset_code("7"))
    assert not await failed(counters.sign_in("8", "7"))
    assert await failed(counters.confirmation(8))
    assert await failed(counters.reset_code("8"))
    assert await failed(counters.sign_in("8", "8"))


async def test_off_asks_nobody(database_url: str, database: Database, connection: asyncpg.Connection) -> None:
    nowhere = Database(database_url, CONSTRAINTS, size=1)  # which is not opened
    assert looked_at(await guesses([counted_in(nowhere, None, None)], 50)) == 50
    await guess(counted_in(database, PER_ACCOUNT, None))
    await guess(counted_in(database, None, PER_ADDRESS))
    assert await lengths(connection) == [1, 1]


async def test_the_table_tells_no_names(database: Database, connection: asyncpg.Connection) -> None:
    for name in ("ada", "x" * 60_000, "", "\0\ud7ff{}", "192.0.2.1"):
        await guess(counted_in(database), account=name, address="2001:db8::1")
    keys = [row["key"] for row in await connection.fetch("select key from failed_sign_ins")]
    assert [len(key) for key in keys] == [16] * 6
    assert not any(b"ada" in key or b"2001" in key for key in keys)
    await guess(counted_in(database, secret="another"), account="ada", address="2001:db8::1")
    assert len(await lengths(connection)) == 8  # nobody who knows no secret can tell whose a key is


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
async def test_whose_address_it_is(
    database: Database, connection: asyncpg.Connection, first: str, second: str, *, same: bool
) -> None:
    counters = counted_in(database, None)
    await guess(counters, address=first)
    await guess(counters, address=second)
    assert await lengths(connection) == ([2] if same else [1, 1])


# What is locked, and what is left


async def test_nothing_is_locked_while_the_password_is_looked_at(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    async with counters.sign_in("ada", "192.0.2.1"):
        assert len(await connection.fetch("select from failed_sign_ins for update nowait")) == 2
        assert await lengths(connection) == [1, 1]  # it counts before it is looked at


async def test_who_is_refused_waits_for_no_lock_and_writes_nothing(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await guesses([counters], 10)
    await let_pass(connection, 6)
    versions = "select xmin::text, xmax::text, ctid::text from failed_sign_ins order by key"
    before = await connection.fetch(versions)
    assert not (await guess(counters)).looked_at
    assert await connection.fetch(versions) == before
    async with connection.transaction():
        await connection.execute("select from failed_sign_ins for update")
        async with asyncio.timeout(1):
            assert not (await guess(counters)).looked_at


async def test_giving_back_holds_one_row_at_a_time(
    counters: FailedSignIns, connection: asyncpg.Connection, database_url: str
) -> None:
    """Else one who gives back could wait for one who counts, who waits for the first."""
    watcher = await asyncpg.connect(database_url)
    address = counters._address("192.0.2.1")[0].key
    try:
        leaving = asyncio.Event()
        attempt = asyncio.create_task(_leave_when_told(counters, leaving))
        await within(5, lambda: _has_lengths(watcher, [1, 1]))
        async with connection.transaction():
            await connection.execute("select from failed_sign_ins where key = $1 for update", address)
            leaving.set()
            await until_blocked(database_url, attempt)
            await within(1, lambda: _has_lengths(watcher, [0, 1]))
        await attempt
        assert await lengths(watcher) == [0, 0]
    finally:
        await watcher.close()


async def _has_lengths(connection: asyncpg.Connection, expected: list[int]) -> bool:
    return await lengths(connection) == expected


async def _leave_when_told(counters: FailedSignIns, leaving: asyncio.Event) -> None:
    async with counters.sign_in("ada", "192.0.2.1"):
        await leaving.wait()


async def test_attempts_forget_what_is_over_so_that_a_flood_does_not_stay(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into failed_sign_ins select sha256(n::text::bytea), array[now()], now() from generate_series(1, 95) n"
    )
    await guess(counters)
    assert len(await lengths(connection)) == 2 + 95 - 10
    for n in range(20):
        await guess(counters, account=f"user {n}")
    assert len(await lengths(connection)) == 1 + 21  # one of the address, one of each account
    await let_pass(connection, 3601)
    await guesses([counters], 3, account="grace", address="192.0.2.2")
    assert await lengths(connection) == [3, 3]


async def test_forgetting_waits_for_nobody_and_forgets_nothing_that_counts(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await connection.execute("insert into failed_sign_ins values ('over', array[now()], now())")
    async with connection.transaction():
        await connection.execute("select from failed_sign_ins for update")
        async with asyncio.timeout(1):
            assert (await guess(counters)).looked_at
    assert await lengths(connection) == [1, 1, 1]
    assert await counters._database.write(queries.prune_failed_sign_ins, 100) == 1
    assert await lengths(connection) == [1, 1]


@pytest.mark.usefixtures("hurried")
async def test_a_counter_is_over_when_its_latest_attempt_is(
    counters: FailedSignIns, connection: asyncpg.Connection
) -> None:
    await guess(counters)
    await let_pass(connection, 3000)
    await guess(counters)
    await let_pass(connection, 3000)
    assert await counters._database.write(queries.prune_failed_sign_ins, 100) == 1  # that of the address
    assert looked_at([await guess(counters) for _ in range(10)]) == 9
