"""Holds in a real Redis: one per user and day, they expire, and they do no harm when Redis fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import date
from types import SimpleNamespace

import pytest
import redis
from seatweb.accounts import queries as account_queries
from seatweb.accounts.model import User
from seatweb.booking import hold_store as hold_store_module
from seatweb.booking.bookings import Bookings
from seatweb.booking.errors import SeatHeld, SeatTaken
from seatweb.booking.hold_store import GrantedHold, HoldStore
from seatweb.storage import redis as redis_module
from seatweb.storage.database import Database
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient

from tests.faults.support import FAULTS, HEALED_SECONDS, OwnRedis
from tests.support import Clock, until

DAY = date(2026, 11, 23)
KEY = "holds:{2026-11-23}"
FIRST_CALL_SECONDS = 0.8  # half a second to notice that Redis is away, plus a margin for slow machines


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def other_process(redis_url: str) -> AsyncIterator[HoldStore]:
    """Give the hold store of another process."""
    async with RedisClient(redis_url) as client, RedisOutbox(client) as outbox:
        yield HoldStore(client, outbox, seconds=90)


@pytest.fixture
async def unreliable(own: OwnRedis) -> AsyncIterator[HoldStore]:
    """Give a hold store on this test's own Redis, which the test can break."""
    async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
        yield HoldStore(client, outbox, seconds=90)


async def take(hold_store: HoldStore, seat_id: int, user_id: int, token: str | None = None) -> str:
    """Hold a seat, and return the hold's token."""
    found = await hold_store.take(DAY, seat_id, user_id, token)
    assert isinstance(found, GrantedHold)
    return found.token


async def until_taken(hold_store: HoldStore, seat_id: int, user_id: int, seconds: float = 30) -> None:
    """Try to hold a seat until Redis answers again."""
    async with asyncio.timeout(seconds):
        while await hold_store.take(DAY, seat_id, user_id) is None:
            await asyncio.sleep(0.01)


async def holders(hold_store: HoldStore, day: date = DAY) -> dict[int, int]:
    """Return the id of the user who holds each seat, by seat id."""
    return {seat_id: hold.user_id for seat_id, hold in (await hold_store.active(day)).items()}


def write(store: redis.Redis, seat_id: int, user_id: int, begin: float, end: float) -> None:
    """Store a hold that begins and ends this many seconds from now, by Redis's clock."""
    seconds, microseconds = store.time()
    now = seconds * 1000 + microseconds // 1000
    store.hset(KEY, str(seat_id), f"{user_id} token-{user_id} {now + int(begin * 1000)} {now + int(end * 1000)}")


def times(store: redis.Redis) -> tuple[int, int]:
    """Return when the hold of seat 7 begins and ends, in milliseconds of Redis's clock."""
    _, _, began, ends = (store.hget(KEY, "7") or b"").split()
    return int(began), int(ends)


async def test_a_hold_is_taken_and_then_renewed_and_released_by_its_token(
    hold_store: HoldStore, other_process: HoldStore, store: redis.Redis
) -> None:
    first = await hold_store.take(DAY, 7, 1)
    assert first
    assert first.seconds == 90
    assert await holders(other_process) == {7: 1}
    assert 0 < store.pttl(KEY) <= 90_000
    with pytest.raises(SeatHeld) as refused:
        await other_process.take(DAY, 7, 2)
    assert 0 < (refused.value.retry_after or 0) <= 90
    began, ends = times(store)
    await until(lambda: store.time()[1] // 1000 != began % 1000)  # wait for the next millisecond
    renewed = await hold_store.take(DAY, 7, 1, first.token)
    assert renewed == first
    assert times(store) > (began, ends)
    assert await other_process.release(DAY, 7, 1, first.token)
    assert not await other_process.release(DAY, 7, 1, first.token)
    assert await holders(hold_store) == {}
    assert store.dbsize() == 0


async def test_nobody_else_can_change_a_hold(hold_store: HoldStore) -> None:
    mine, theirs = await take(hold_store, 7, 1), await take(hold_store, 8, 2)
    for user_id, token in ((1, theirs), (1, ""), (1, "x"), (1, "1"), (2, theirs), (2, mine), (2, "")):
        assert not await hold_store.release(DAY, 7, user_id, token)
    assert not await hold_store.release(DAY, 9, 1, mine)
    assert not await hold_store.release(date(2026, 11, 24), 7, 1, mine)
    for token in (mine, theirs):
        with pytest.raises(SeatHeld):
            await hold_store.take(DAY, 7, 2, token)
    assert await holders(hold_store) == {7: 1, 8: 2}
    hold_store.end_soon(DAY, 3)
    hold_store.end_soon(date(2026, 11, 24), 2)
    hold_store.end_soon(DAY, 2)
    async with asyncio.timeout(30):
        while await holders(hold_store) != {7: 1}:
            await asyncio.sleep(0.005)


async def test_ending_holds_late_spares_those_taken_since(own: OwnRedis) -> None:
    """Redis was away when the user booked. When it is back, they hold another seat, to move their booking."""
    async with RedisClient(own.url) as client, RedisOutbox(client) as outbox:
        store = HoldStore(client, outbox, seconds=90)
        await take(store, 7, 1)
        await take(store, 8, 2)
        assert await holders(store) == {7: 1, 8: 2}
        monotonic = time.monotonic
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(hold_store_module, "time", SimpleNamespace(monotonic=lambda: monotonic() - 1))
            store.end_soon(DAY, 1)  # as if they had booked a second ago
        store.end_soon(DAY, 2)
        async with asyncio.timeout(30):
            while await holders(store) != {7: 1}:
                await asyncio.sleep(0.005)


async def test_holding_another_seat_releases_the_first(hold_store: HoldStore, other_process: HoldStore) -> None:
    first = await take(hold_store, 7, 1)
    other_day = await hold_store.take(date(2026, 11, 24), 7, 1)
    second = await take(other_process, 8, 1)
    assert await holders(hold_store) == {8: 1}
    assert not await hold_store.release(DAY, 7, 1, first)
    assert not await hold_store.release(DAY, 8, 1, first)
    await take(other_process, 7, 2)
    with pytest.raises(SeatHeld):  # a refused user keeps the seat that they hold
        await hold_store.take(DAY, 7, 1)
    assert await holders(hold_store) == {7: 2, 8: 1}
    assert await hold_store.release(DAY, 8, 1, second)
    assert other_day
    assert await holders(hold_store, date(2026, 11, 24)) == {7: 1}


async def test_a_stale_token_does_nothing(hold_store: HoldStore) -> None:
    first = await take(hold_store, 7, 1)
    second = await take(hold_store, 7, 1)  # in another tab
    assert first != second
    assert not await hold_store.release(DAY, 7, 1, first)
    assert await holders(hold_store) == {7: 1}
    assert await hold_store.release(DAY, 7, 1, second)
    await take(hold_store, 7, 2)
    assert not await hold_store.release(DAY, 7, 1, second)
    with pytest.raises(SeatHeld):
        await hold_store.take(DAY, 7, 1, second)
    assert await holders(hold_store) == {7: 2}


async def test_a_hold_expires_and_someone_else_can_book_the_seat(
    bookings: Bookings, database: Database, hold_store: HoldStore, store: redis.Redis, clock: Clock
) -> None:
    """The holder takes too long to book; someone else books the seat meanwhile."""

    async def user(name: str) -> User:
        return await database.run(account_queries.register_user, name, name, [name], "none")

    ada, grace = await user("ada"), await user("grace")
    await take(hold_store, 7, ada.id)
    with pytest.raises(SeatHeld) as refused:
        await bookings.book(grace, 7, clock.today)
    assert 0 < (refused.value.retry_after or 0) <= 90
    write(store, 7, ada.id, begin=-90, end=-0.001)
    await bookings.book(grace, 7, clock.today)
    with pytest.raises(SeatTaken):
        await bookings.book(ada, 7, clock.today)


async def test_an_expired_hold_is_ignored_while_another_keeps_the_hash_alive(
    hold_store: HoldStore, store: redis.Redis
) -> None:
    write(store, 7, 1, begin=-90, end=-0.001)
    write(store, 8, 2, begin=-80, end=10)
    assert await holders(hold_store) == {8: 2}
    assert (await hold_store.active(DAY))[8].seconds_left in {9, 10}
    assert not await hold_store.release(DAY, 7, 1, "token-1")
    await take(hold_store, 7, 3)
    assert await holders(hold_store) == {7: 3, 8: 2}


async def test_a_hold_that_begins_in_the_future_is_ignored(hold_store: HoldStore, store: redis.Redis) -> None:
    """Redis's clock was set back after the hold was made, so it would last too long."""
    write(store, 7, 1, begin=3600, end=3690)
    assert await holders(hold_store) == {}
    await take(hold_store, 7, 2)
    assert await holders(hold_store) == {7: 2}


@pytest.mark.parametrize("value", ["", "1", "one two three four", "1 t -5 99999999999999", "1 t 0", "\0\xff"])
async def test_malformed_values_are_ignored(hold_store: HoldStore, store: redis.Redis, value: str) -> None:
    store.hset(KEY, "7", value)
    store.hset(KEY, "malformed", value)
    assert await holders(hold_store) == {}
    assert await hold_store.release(DAY, 7, 1, "t") is False
    await take(hold_store, 7, 2)
    assert await holders(hold_store) == {7: 2}


async def test_a_key_of_the_wrong_type_causes_no_error(hold_store: HoldStore, store: redis.Redis) -> None:
    store.set(KEY, "not a hash")
    assert await hold_store.take(DAY, 7, 1) is None
    assert await holders(hold_store) == {}
    assert not await hold_store.release(DAY, 7, 1, "t")


async def test_one_of_fifty_users_gets_the_hold(hold_store: HoldStore, other_process: HoldStore) -> None:
    processes = [hold_store, other_process] * 25
    found = await asyncio.gather(
        *(process.take(DAY, 7, user_id) for user_id, process in enumerate(processes, 1)), return_exceptions=True
    )
    won = [(user_id, hold) for user_id, hold in enumerate(found, 1) if isinstance(hold, GrantedHold)]
    assert [type(hold) for hold in found].count(SeatHeld) == 49
    ((winner, hold),) = won
    assert await holders(hold_store) == {7: winner}
    assert await other_process.release(DAY, 7, winner, hold.token)


async def test_a_user_who_takes_fifty_holds_at_once_keeps_one(hold_store: HoldStore, other_process: HoldStore) -> None:
    processes = [hold_store, other_process] * 25
    found = await asyncio.gather(*(process.take(DAY, seat, 1) for seat, process in enumerate(processes)))
    tokens = [hold.token for hold in found if hold]
    assert len(set(tokens)) == 50
    ((seat, _),) = (await holders(hold_store)).items()
    assert [await hold_store.release(DAY, seat, 1, token) for token in tokens].count(True) == 1


# When Redis fails


async def test_holds_can_be_taken_again_after_flushall(own: OwnRedis, unreliable: HoldStore) -> None:
    token = await take(unreliable, 7, 1)
    own.flush()
    own.store.script_flush()  # as after a restart
    assert await holders(unreliable) == {}
    assert not await unreliable.release(DAY, 7, 1, token)
    await take(unreliable, 7, 2)
    with pytest.raises(SeatHeld):
        await unreliable.take(DAY, 7, 1, token)


@pytest.mark.parametrize("fault", FAULTS)
async def test_without_redis_nothing_is_held_and_few_calls_wait(
    own: OwnRedis, unreliable: HoldStore, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks, heals = FAULTS[fault]
    token = await take(unreliable, 7, 1)
    breaks(own)
    monkeypatch.setattr(redis_module, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(redis_module, "REST_SECONDS", 1000)
    assert await asyncio.gather(*(unreliable.take(DAY, seat, seat) for seat in range(10, 60))) == [None] * 50
    monkeypatch.setattr(redis_module, "CALL_SECONDS", 1000)
    async with asyncio.timeout(30):
        for _ in range(50):  # the circuit breaker is open now, so that no call waits
            assert await unreliable.take(DAY, 8, 2) is None
            assert await unreliable.active(DAY) == {}
            assert not await unreliable.release(DAY, 7, 1, token)
    heals(own)
    monotonic = time.monotonic
    monkeypatch.setattr(redis_module, "time", SimpleNamespace(monotonic=lambda: monotonic() + 1000))
    monkeypatch.setattr(redis_module, "REST_SECONDS", 0)
    await until_taken(unreliable, 9, 3)
    kept = {} if fault == "killed" else {7: 1}
    assert (await holders(unreliable)).items() >= {9: 3, **kept}.items()


@pytest.mark.timing
@pytest.mark.parametrize("fault", FAULTS)
async def test_without_redis_calls_return_soon(own: OwnRedis, unreliable: HoldStore, fault: str) -> None:
    breaks, heals = FAULTS[fault]
    token = await take(unreliable, 7, 1)
    breaks(own)
    started = time.monotonic()
    assert await asyncio.gather(*(unreliable.take(DAY, seat, seat) for seat in range(10, 60))) == [None] * 50
    assert time.monotonic() - started < FIRST_CALL_SECONDS
    started = time.monotonic()
    for _ in range(50):  # the circuit breaker is open now
        assert await unreliable.take(DAY, 8, 2) is None
        assert await unreliable.active(DAY) == {}
        assert not await unreliable.release(DAY, 7, 1, token)
    assert time.monotonic() - started < 0.3
    heals(own)
    await until_taken(unreliable, 9, 3, HEALED_SECONDS)


async def test_a_full_redis_takes_no_new_holds_and_keeps_existing_ones(own: OwnRedis, unreliable: HoldStore) -> None:
    token = await take(unreliable, 7, 1)
    own.fill()
    assert await unreliable.take(DAY, 8, 2) is None
    with pytest.raises(SeatHeld):
        await unreliable.take(DAY, 7, 2)
    assert await holders(unreliable) == {7: 1}
    assert await unreliable.release(DAY, 7, 1, token)
    own.make_room()
    await take(unreliable, 8, 2)


async def test_a_cancelled_call_does_not_block_later_calls_to_redis(
    own: OwnRedis, unreliable: HoldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser disconnects while its call probes whether Redis is back."""
    monkeypatch.setattr(redis_module, "CALL_SECONDS", 0.05)
    monkeypatch.setattr(redis_module, "REST_SECONDS", 0.05)
    own.freeze()
    assert await unreliable.take(DAY, 7, 1) is None

    async def probe() -> asyncio.Task[GrantedHold | None]:
        """Return a call that waits for Redis; calls return at once while the circuit breaker is open."""
        while True:
            call = asyncio.create_task(unreliable.take(DAY, 7, 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not call.done():
                return call
            await asyncio.sleep(0.01)

    async with asyncio.timeout(30):
        cancelled = await probe()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert cancelled.cancelled()
        assert await (await probe()) is None
    own.thaw()
    monkeypatch.setattr(redis_module, "CALL_SECONDS", 10)
    await until_taken(unreliable, 7, 1)
