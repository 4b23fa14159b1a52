"""Limits in a real Redis: for any number of processes and concurrent attempts, and enforced during faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from seatweb.errors import TooManyAttempts
from seatweb.i18n.catalogue import text_of
from seatweb.limits import fallback
from seatweb.limits.fallback import LocalLimits
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.limits.limits import Limits, Rules
from seatweb.settings import Limit
from seatweb.storage import redis as redis_module
from seatweb.storage.redis import RedisClient

from tests.faults.support import FAULTS, OwnRedis
from tests.support import ADDRESS_PAIRS

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TEN = Rules(holds=Limit(10, 3600))

Start = Callable[..., Awaitable[Limits]]


@pytest.fixture
async def process(own: OwnRedis) -> AsyncIterator[Start]:
    """Yield a function that returns the limits of another process."""
    async with AsyncExitStack() as stack:

        async def start(rules: Rules = TEN, *, workers: int = 4, secret: str = "test secret") -> Limits:
            client = await stack.enter_async_context(RedisClient(own.url))
            return Limits(client, rules, KeyedHash(secret), workers=workers, now=lambda: NOON)

        yield start


async def waits(action: Awaitable[None]) -> int:
    """Run the action, and return how many seconds to wait if it was refused; 0 if it was allowed."""
    try:
        await action
    except TooManyAttempts as error:
        return error.retry_after or 0
    return 0


async def count_allowed(processes: list[Limits], times: int, user_id: int = 7) -> int:
    """Make concurrent holds, spread evenly over the processes, and return how many were allowed."""
    found = await asyncio.gather(*(waits(processes[n % len(processes)].hold(user_id)) for n in range(times)))
    assert all(0 <= wait <= 3600 for wait in found)
    return found.count(0)


def age_attempts(own: OwnRedis, seconds: int) -> None:
    """Make all counted attempts older by some seconds."""
    for key in own.store.keys("limit:*"):
        for place, at in enumerate(own.store.lrange(key, 0, -1)):
            own.store.lset(key, place, str(int(at) - 1000 * seconds))


async def test_of_two_hundred_holds_in_four_processes_ten_are_allowed(process: Start) -> None:
    four = [await process() for _ in range(4)]
    assert await count_allowed(four, 200) == 10
    assert await count_allowed([await process()], 1) == 0
    assert await count_allowed(four, 200, user_id=8) == 10


async def test_refused_attempts_are_not_counted(process: Start, own: OwnRedis) -> None:
    """So they do not extend the wait."""
    one, two = await process(), await process()
    await count_allowed([one, two], 60)
    age_attempts(own, 3000)
    for limits in (one, two):
        assert 598 <= await waits(limits.hold(7)) <= 600
    age_attempts(own, 600)
    assert await count_allowed([one, two], 60) == 10


async def test_the_period_slides_by_the_redis_clock(process: Start, own: OwnRedis) -> None:
    limits = await process(Rules(holds=Limit(3, 60)))
    for seconds in (20, 30, 0):
        await limits.hold(7)
        age_attempts(own, seconds)
    assert 9 <= await waits(limits.hold(7)) <= 10  # when the oldest of three expires
    age_attempts(own, 10)
    assert await waits(limits.hold(7)) == 0
    assert 19 <= await waits(limits.hold(7)) <= 20
    age_attempts(own, -3600)  # the clock was set back: times in the future are ignored
    assert await waits(limits.hold(7)) == 0
    (key,) = own.store.keys("limit:*")
    assert own.store.llen(key) <= 4
    assert 0 < own.store.pttl(key) <= 60_000


async def test_each_kind_is_counted_separately(process: Start) -> None:
    one = Limit(1, 3600)
    limits = await process(Rules(one, one, one, one))
    actions: list[Callable[[], Awaitable[None]]] = [
        lambda: limits.registration("192.0.2.1"),
        lambda: limits.hold(7),
        lambda: limits.booking(7),
        lambda: limits.request(7, "192.0.2.1"),
        lambda: limits.request(None, "192.0.2.1"),
    ]
    assert [await waits(action()) for action in actions] == [0] * 5
    assert all([await waits(action()) for action in actions])


async def test_without_limits_redis_is_not_used(process: Start, own: OwnRedis) -> None:
    limits = await process(Rules())
    before = own.store.info("stats")["total_commands_processed"]
    for _ in range(200):
        await limits.hold(7)
        await limits.registration("192.0.2.1")
        await limits.request(7, "192.0.2.1")
    assert own.store.info("stats")["total_commands_processed"] == before + 1
    assert own.store.dbsize() == 0


async def test_keys_reveal_no_addresses(process: Start, own: OwnRedis) -> None:
    rules = Rules(registrations=Limit(10, 3600))
    for secret in ("one", "one", "another"):
        await (await process(rules, secret=secret)).registration("2001:db8::1")
    keys = [str(key, "ascii") for key in own.store.keys("*") if isinstance(key, bytes)]
    assert len(keys) == 2  # without the secret, nobody can tell whose key it is
    for key in keys:
        assert len(key) < 64
        assert "2001" not in key
        assert 0 < own.store.pttl(key) <= 3_600_000


@pytest.mark.parametrize(("first", "second", "same"), ADDRESS_PAIRS)
async def test_addresses_are_counted_by_network(process: Start, first: str, second: str, *, same: bool) -> None:
    limits = await process(Rules(registrations=Limit(1, 60)))
    await limits.registration(first)
    assert bool(await waits(limits.registration(second))) == same


@pytest.mark.parametrize("fault", FAULTS)
async def test_during_a_redis_fault_each_process_allows_its_share(
    process: Start, own: OwnRedis, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    breaks, heals = FAULTS[fault]
    four = [await process() for _ in range(4)]
    breaks(own)
    for name in ("CALL_SECONDS", "REST_SECONDS"):
        monkeypatch.setattr(redis_module, name, 0.1)
    assert await count_allowed(four, 200) == 4 * (10 // 4)
    assert await count_allowed([four[0]], 50, user_id=8) == 2
    heals(own)
    monkeypatch.setattr(redis_module, "CALL_SECONDS", 10)
    for limits in four:
        await until_counted(limits, own)
    assert await count_allowed(four, 200, user_id=9) == 10


async def until_counted(limits: Limits, own: OwnRedis) -> None:
    """Wait until the process counts in Redis again."""
    async with asyncio.timeout(30):
        for user_id in range(100, 10_000):
            known = own.store.dbsize()
            await limits.hold(user_id)
            if own.store.dbsize() > known:
                return
            await asyncio.sleep(0.02)


async def test_a_full_redis_still_counts(process: Start, own: OwnRedis) -> None:
    four = [await process() for _ in range(4)]
    await count_allowed(four, 4, user_id=8)
    own.fill()
    assert await count_allowed(four, 200) == 10


async def test_a_share_includes_attempts_from_before_the_fault(process: Start, own: OwnRedis) -> None:
    one, two = await process(), await process()
    assert await count_allowed([one], 10) == 10
    own.kill()
    assert await count_allowed([one], 20) == 0
    assert await count_allowed([two], 20) == 2  # it does not know what the other allowed


async def test_a_share_is_at_least_one(process: Start, own: OwnRedis) -> None:
    own.kill()
    limits = await process(Rules(holds=Limit(1, 60), bookings=Limit(3, 60)), workers=16)
    for action in (limits.hold, limits.booking):
        assert [await waits(action(7)) > 0 for _ in range(3)] == [False, True, True]


def test_the_period_of_a_share_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 1000.0
    monkeypatch.setattr(fallback.time, "monotonic", lambda: seconds)  # type: ignore[attr-defined]
    share, limit = LocalLimits(workers=2), Limit(4, 60)
    for _ in range(3):
        share.add("key", limit)
        seconds += 10
    assert share.seconds_to_wait("another", limit) == 0
    assert share.seconds_to_wait("key", limit) == 40  # the older of the latest two was 20 seconds ago
    seconds += 40
    assert share.seconds_to_wait("key", limit) == 0


def test_a_process_keeps_a_bounded_number_of_keys() -> None:
    share = LocalLimits(workers=1)
    for number in range(fallback.KEYS_KEPT + 5):
        share.add(f"{number}", Limit(1, 3600))
        share.add("often", Limit(10, 3600))
    assert len(share._times) == fallback.KEYS_KEPT
    assert len(share._times["often"]) == 10
    assert share.seconds_to_wait("often", Limit(10, 3600)) > 0


@pytest.mark.parametrize(
    ("seconds", "now", "text"),
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
def test_the_message_says_when_to_try_again(seconds: int, now: datetime, text: str) -> None:
    error = TooManyAttempts(retry_after=seconds, until=now + timedelta(seconds=seconds))
    assert (text_of(error), error.retry_after) == (text, seconds)
