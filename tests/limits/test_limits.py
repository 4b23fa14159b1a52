"""Limits in a real Redis: exact for any number of processes and attempts at once, and in force whatever befalls it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from seatweb.accounts.errors import BadCredentials
from seatweb.errors import SeatwebError, TooManyAttempts
from seatweb.limits.fallback import Log, OwnAttempts
from seatweb.limits.limits import TAKE, Limits, Rules
from seatweb.settings import Limit
from seatweb.storage.redis import RedisClient

from tests.faults.support import FAULTS, OwnRedis
from tests.support import until

pytestmark = pytest.mark.alone

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = "of these tests"
RULES = Rules(failures_per_account=Limit(10, 3600), failures_per_address=Limit(30, 60))
PAUSE_SECONDS = 9  # longer than anyone waits here for another's attempt to be given back
BREAKS = FAULTS | {"paused": (lambda own: own.store.client_pause(PAUSE_SECONDS * 1000), OwnRedis.unpause)}

Start = Callable[..., Awaitable[Limits]]


@pytest.fixture
async def process(own: OwnRedis) -> AsyncIterator[Start]:
    """Give a function that returns the limits as one more process sees them."""
    async with AsyncExitStack() as stack:

        async def start(rules: Rules = RULES, *, workers: int = 4, url: str = own.url) -> Limits:
            client = await stack.enter_async_context(RedisClient(url))
            return Limits(client, rules, secret=SECRET, workers=workers, now=lambda: NOON)

        yield start


class Guess:
    """What became of a sign-in: whether the password was looked at, or when to come again."""

    def __init__(self) -> None:
        self.verified = False
        self.retry_after: int | None = None


async def guess(limits: Limits, account: str = "ada", address: str = "192.0.2.1", *, right: bool = False) -> Guess:
    found = Guess()
    try:
        async with limits.sign_in_attempt(account, address):
            found.verified = True
            await asyncio.sleep(0.01)  # as a password is verified: others come meanwhile
            if not right:
                raise BadCredentials
    except TooManyAttempts as error:
        found.retry_after = error.retry_after
    except BadCredentials:
        pass
    return found


async def guesses(limits: list[Limits], times: int, **options: Any) -> list[Guess]:
    """Guess so many times at once, by turns in each process."""
    return list(await asyncio.gather(*(guess(limits[n % len(limits)], **options) for n in range(times))))


def verified(found: list[Guess]) -> int:
    return sum(one.verified for one in found)


@pytest.mark.usefixtures("patient_with_redis")
async def test_two_hundred_guesses_at_once_in_four_processes_are_ten(process: Start) -> None:
    four = [await process() for _ in range(4)]
    addresses = [f"192.0.2.{n}" for n in range(200)]
    found = await asyncio.gather(*(guess(four[n % 4], address=address) for n, address in enumerate(addresses)))
    assert verified(found) == 10
    waits = [one.retry_after for one in found if one.retry_after is not None]
    assert len(waits) == 190
    assert all(3590 < wait <= 3600 for wait in waits)
    assert not (await guess(await process(), right=True)).verified  # not even with the right password
    assert (await guess(four[0], account="grace")).verified


@pytest.mark.usefixtures("patient_with_redis")
async def test_two_hundred_accounts_at_once_from_one_address_are_thirty(process: Start) -> None:
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}") for n in range(200)))
    assert verified(found) == 30
    assert all(0 < (one.retry_after or 1) <= 60 for one in found)
    assert (await guess(four[1], account="user 1", address="192.0.2.2")).verified


async def test_who_is_refused_is_not_counted(process: Start, own: OwnRedis) -> None:
    """Neither by the account nor by the address: the time that was told stays true."""
    one, two = await process(), await process()
    await guesses([one, two], 10)
    for _ in range(30):
        assert not (await guess(two, address="192.0.2.9")).verified
    assert sorted(own.store.zcard(key) for key in own.store.keys("limit:*")) == [10, 10]


async def test_a_right_password_gives_back_its_own_attempt_only(process: Start, own: OwnRedis) -> None:
    one, two = await process(), await process()
    await guesses([one], 9)
    for _ in range(50):
        assert (await guess(two, right=True)).verified
    assert verified([await guess(two), await guess(two)]) == 1
    await guesses([one, two], 19, account="grace")
    assert verified([await guess(one, account="joan", right=True) for _ in range(5)]) == 5
    assert sorted(own.store.zcard(key) for key in own.store.keys("limit:*")) == [10, 10, 20]


async def test_what_was_not_found_wrong_is_given_back(process: Start) -> None:
    limits, other = await process(), await process()
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            async with limits.sign_in_attempt("ada", "192.0.2.1"):
                raise ZeroDivisionError
        entered = asyncio.Event()
        sleeping = asyncio.create_task(_sleep_inside(limits, entered))
        await entered.wait()
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
    assert verified(await guesses([other], 12, address="192.0.2.2")) == 10


async def _sleep_inside(limits: Limits, entered: asyncio.Event) -> None:
    async with limits.sign_in_attempt("ada", "192.0.2.1"):
        entered.set()
        await asyncio.sleep(10)


async def test_many_who_sign_in_at_once_behind_one_address_wait_for_each_other(process: Start) -> None:
    """While none of them failed, none is refused: 60 colleagues at nine o'clock."""
    four = [await process() for _ in range(4)]
    found = await asyncio.gather(*(guess(four[n % 4], account=f"user {n}", right=True) for n in range(60)))
    assert verified(found) == 60


async def test_the_window_slides_by_the_clock_of_redis(process: Start, own: OwnRedis) -> None:
    limits = await process(Rules(holds=Limit(3, 60)), workers=1)
    await limits.hold(7)
    (key,) = own.store.keys("limit:*")
    (first,) = own.store.zrange(key, 0, 0)
    assert isinstance(first, bytes)
    now = own.store.time()[0] * 1000
    own.store.zadd(
        key, {first: now - 50_000, b"another": now - 30_000, b"over": now - 60_001, b"to come": now + 3_600_000}
    )
    other = await process(Rules(holds=Limit(3, 60)))
    await other.hold(7)
    with pytest.raises(TooManyAttempts) as refused:
        await other.hold(7)
    assert refused.value.retry_after in {9, 10}
    own.store.zadd(key, {first: now - 60_001})
    await other.hold(7)
    with pytest.raises(TooManyAttempts) as refused:
        await other.hold(7)
    assert refused.value.retry_after in {29, 30}


async def test_a_short_limit_is_over_when_it_says(process: Start) -> None:
    one, two = [await process(Rules(bookings=Limit(2, 1)), workers=1) for _ in range(2)]
    await one.booking(7)
    await two.booking(7)
    with pytest.raises(TooManyAttempts) as refused:
        await one.booking(7)
    assert refused.value.retry_after == 1
    began = time.monotonic()
    while True:
        try:
            await one.booking(7)
            break
        except TooManyAttempts:
            assert time.monotonic() - began < 1.2
            await asyncio.sleep(0.01)
    assert time.monotonic() - began > 0.5


async def test_every_kind_counts_for_itself(process: Start) -> None:
    one = Limit(1, 3600)
    limits = await process(Rules(one, one, one, one, one, one))
    actions: list[Callable[[], Awaitable[object]]] = [
        lambda: limits.registration("192.0.2.1"),
        lambda: limits.hold(7),
        lambda: limits.booking(7),
        lambda: limits.request(7, "192.0.2.1"),
        lambda: limits.request(None, "192.0.2.1"),
    ]
    for action in actions:
        await action()
    assert (await guess(limits)).verified
    for action in actions:
        with pytest.raises(TooManyAttempts):
            await action()
    assert not (await guess(limits)).verified


async def test_off_asks_nobody(process: Start, own: OwnRedis) -> None:
    limits = await process(Rules())
    before = own.store.info("stats")["total_commands_processed"]
    assert verified([await guess(limits) for _ in range(50)]) == 50
    for _ in range(200):
        await limits.hold(7)
        await limits.registration("192.0.2.1")
        await limits.request(7, "192.0.2.1")
    assert own.store.info("stats")["total_commands_processed"] == before + 1
    assert own.store.dbsize() == 0


async def test_keys_end_by_themselves_and_tell_no_names(process: Start, own: OwnRedis) -> None:
    limits = await process(RULES)
    for name in ("ada", "x" * 60_000, "", "\0\ud7ff{}", "192.0.2.1"):
        await guess(limits, account=name, address="2001:db8::1")
    keys = [str(key, "ascii") for key in own.store.keys("*") if isinstance(key, bytes)]
    assert len(keys) == 6
    for key in keys:
        assert len(key) < 64
        assert "ada" not in key
        assert "2001" not in key
        assert 0 < own.store.pttl(key) <= (3_600_000 if "account" in key else 60_000)
    other = Limits(limits._redis, RULES, secret="another", workers=1, now=lambda: NOON)
    assert (await guess(other, account="ada", address="2001:db8::1")).verified
    assert own.store.dbsize() == 8  # nobody who knows no secret can tell whose a key is


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
async def test_whose_address_it_is(process: Start, first: str, second: str, *, same: bool) -> None:
    limits = await process(Rules(registrations=Limit(1, 60)))
    await limits.registration(first)
    if same:
        with pytest.raises(TooManyAttempts):
            await limits.registration(second)
    else:
        await limits.registration(second)


async def test_an_attempt_sent_twice_is_one(process: Start, own: OwnRedis) -> None:
    """The client sends it again when the connection breaks before the answer."""
    async with RedisClient(own.url) as client:
        take = client.script(TAKE)
        for _ in range(3):
            assert await take(["key"], ["same", 1, 60_000, 5000, 0]) == [0, 0]
        assert (await take(["key"], ["another", 1, 60_000, 5000, 0]))[0] > 0


@pytest.mark.parametrize("fault", BREAKS)
async def test_with_redis_in_trouble_a_process_has_its_share(process: Start, own: OwnRedis, fault: str) -> None:
    breaks, heals = BREAKS[fault]
    four = [await process() for _ in range(4)]
    breaks(own)
    found = await guesses(four, 200, account="ada")
    assert verified(found) == 4 * (10 // 4)
    assert all(0 < (one.retry_after or 1) <= 3600 for one in found)
    assert verified(await guesses([four[0]], 50, account="grace", address="192.0.2.2")) == 2
    heals(own)
    await until_counted(four, own)
    # What was counted meanwhile still counts for its process; 'ada' has what Redis has left for her, and no more.
    assert verified(await guesses(four, 200, account="ada", address="192.0.2.3")) <= 10
    assert verified(await guesses(four, 200, account="joan", address="192.0.2.4")) == 10


@pytest.mark.usefixtures("patient_with_redis")
async def test_a_full_redis_still_counts(process: Start, own: OwnRedis) -> None:
    four = [await process() for _ in range(4)]
    await guess(four[0], account="grace", address="192.0.2.2", right=True)
    own.fill()
    assert verified(await guesses(four, 200)) == 10


async def test_redis_learns_what_was_counted_without_it(process: Start, own: OwnRedis) -> None:
    """From whoever tries next; also when it came back with nothing at all."""
    four = [await process() for _ in range(4)]
    await guesses(four[:1], 6)
    own.kill()
    assert verified(await guesses(four[1:], 30)) == 6
    own.start()
    await until_counted(four, own)
    for limits in four:
        await guess(limits)
    assert verified(await guesses([await process()], 30)) == 0
    (key,) = own.store.keys("*account*")
    (address,) = own.store.keys("*address*")
    assert (own.store.zcard(key), own.store.zcard(address)) == (14, 14)  # two were let in before all had told
    assert 0 < own.store.pttl(address) <= 60_000
    assert len(await guesses([await process()], 1, account="grace")) == 1


async def until_counted(processes: list[Limits], own: OwnRedis) -> None:
    """Return when every process counts in Redis again."""
    for limits in processes:
        async with asyncio.timeout(5):
            while not await limits._redis.ping() or limits._redis._rests_until:
                await guess(limits, account="nobody in particular", address="198.51.100.1", right=True)
                await asyncio.sleep(0.02)


async def test_what_a_process_counted_before_redis_went_still_counts(process: Start, own: OwnRedis) -> None:
    one, two = await process(), await process()
    assert verified(await guesses([one], 10)) == 10
    own.kill()
    assert verified(await guesses([one], 20)) == 0
    assert verified(await guesses([two], 20)) == 2  # it cannot know; its share is what it may let in


async def test_an_emptied_redis_does_not_empty_what_the_process_knows(process: Start, own: OwnRedis) -> None:
    one = await process()
    await guesses([one], 10)
    own.flush()
    assert verified(await guesses([one], 20)) == 0
    assert verified(await guesses([one], 20, account="grace")) == 10


async def test_with_redis_away_everyone_may_try_once(process: Start, own: OwnRedis) -> None:
    own.kill()
    limits = await process(Rules(holds=Limit(1, 60), bookings=Limit(3, 60)), workers=16)
    await limits.booking(7)
    actions: list[Callable[[], Awaitable[None]]] = [lambda: limits.hold(7), lambda: limits.booking(7)]
    for action in actions:
        error: SeatwebError | None = None
        for _ in range(2):
            try:
                await action()
            except TooManyAttempts as refused:
                error = refused
        assert error


async def test_the_local_window_slides(process: Start, own: OwnRedis) -> None:
    own.kill()
    limits = await process(Rules(holds=Limit(2, 1)), workers=2)
    await limits.hold(7)
    with pytest.raises(TooManyAttempts) as refused:
        await limits.hold(7)
    assert refused.value.retry_after == 1
    began = time.monotonic()

    def allowed() -> bool:
        return limits._own.refusal(limits._log("{hold}", "7", Limit(2, 1)), "", share=2) is None

    await until(allowed, 1.2)
    assert time.monotonic() - began > 0.3
    await limits.hold(7)


def test_what_a_process_remembers_is_bounded() -> None:
    own = OwnAttempts(1000)
    for number in range(5000):
        assert (
            own.add([Log(f"account {number}", Limit(10, 3600)), Log("address", Limit(10_000, 60))], f"{number}") is None
        )
        assert own._size == sum(map(len, own._logs.values())) <= 1000
    for number in range(4990, 5000):
        own.remove([Log(f"account {number}", Limit(10, 3600)), Log("address", Limit(10_000, 60))], f"{number}")
    assert own._size == sum(map(len, own._logs.values()))
    assert all(own._logs.values())


async def test_what_is_over_is_forgotten_also_when_the_next_is_refused() -> None:
    own = OwnAttempts(1000)
    short, full = Log("short", Limit(1, 1)), Log("full", Limit(1, 3600))
    assert own.add([short, full], "first") is None
    await until(lambda: own.refusal([short], "") is None)
    assert own.add([short, full], "second")
    assert list(own._logs) == ["full"]
    assert own._size == 1


@pytest.mark.parametrize(
    ("seconds", "now", "words"),
    [
        (1, NOON, "Too many attempts. Try again in 1 second."),
        (59, NOON, "Too many attempts. Try again in 59 seconds."),
        (60, NOON, "Too many attempts. Try again at 12:01, in 1 minute."),
        (61, NOON, "Too many attempts. Try again at 12:02, in 2 minutes."),
        (720, NOON + timedelta(microseconds=1), "Too many attempts. Try again at 12:13, in 12 minutes."),
        (3600, NOON, "Too many attempts. Try again at 13:00, in 60 minutes."),
        (7201, NOON, "Too many attempts. Try again at 14:01, in 3 hours."),
        (86_399, NOON, "Too many attempts. Try again at 12:00 tomorrow, in 24 hours."),
    ],
)
def test_the_words_say_when(seconds: int, now: datetime, words: str) -> None:
    error = TooManyAttempts(retry_after=seconds, until=now + timedelta(seconds=seconds))
    assert (error.text, error.retry_after) == (words, seconds)
