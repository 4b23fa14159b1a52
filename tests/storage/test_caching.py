"""The short-lived cache: concurrent readers share one fetch, and reads after a change never return an older value."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from seatweb.errors import Overloaded
from seatweb.storage.caching import TimedCache

from tests.support import until


class Source:
    """A data source: like a database, it returns the value as of the request, even if the answer comes later."""

    def __init__(self) -> None:
        self.value = 0
        self.fetches = 0
        self.broken = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def fetch(self, _: object) -> int:
        self.fetches += 1
        value, broken = self.value, self.broken
        await self.answers.wait()
        if broken:
            raise Overloaded
        return value


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(source: Source) -> TimedCache[object, int]:
    return TimedCache(source.fetch, seconds=60, entries=3)


async def readers(cache: TimedCache[object, int], count: int, **options: Any) -> list[asyncio.Task[int]]:
    """Start `count` readers, and return once all are waiting."""
    tasks = [asyncio.create_task(cache.get("day", **options)) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_five_hundred_readers_of_a_cold_key_make_one_fetch(
    cache: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    waiting = await readers(cache, 500)
    assert cache.peek("day") is None
    source.answers.set()
    assert await asyncio.gather(*waiting) == [0] * 500
    assert (cache.peek("day"), await cache.get("day"), source.fetches) == (0, 0, 1)


async def test_a_change_during_a_fetch_is_seen_by_every_later_reader(
    cache: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    (before,) = await readers(cache, 1)
    source.value = 1
    cache.forget("day")
    after = await readers(cache, 20)
    source.answers.set()
    assert await before == 0
    assert await asyncio.gather(*after) == [1] * 20
    assert (cache.peek("day"), source.fetches) == (1, 2)


async def test_a_value_requested_before_a_change_is_not_cached(cache: TimedCache[object, int], source: Source) -> None:
    source.answers.clear()
    (before,) = await readers(cache, 1)
    source.value = 1
    cache.forget("day")
    source.answers.set()
    assert await before == 0
    assert cache.peek("day") is None
    assert await cache.get("day") == 1


async def test_fresh_means_fetched_after_the_call(cache: TimedCache[object, int], source: Source) -> None:
    assert await cache.get("day") == 0
    source.value = 1
    assert await cache.get("day") == 0
    assert await cache.get("day", fresh=True) == 1
    cache.forget("day")
    source.answers.clear()
    (running,) = await readers(cache, 1)
    source.value = 2
    fresh = await readers(cache, 500, fresh=True)
    source.answers.set()
    assert await running == 1
    assert await asyncio.gather(*fresh) == [2] * 500
    assert source.fetches == 4


async def test_frequent_changes_do_not_starve_readers(cache: TimedCache[object, int], source: Source) -> None:
    async def rush() -> None:
        while True:
            source.value += 1
            cache.forget("day")
            await asyncio.sleep(0)

    rushing = asyncio.create_task(rush())
    async with asyncio.timeout(30):
        for task in [*await readers(cache, 50), *await readers(cache, 50, fresh=True)]:
            await task
    rushing.cancel()
    assert source.fetches < 20


async def test_a_cancelled_reader_does_not_cancel_the_others(cache: TimedCache[object, int], source: Source) -> None:
    source.answers.clear()
    first, *others = await readers(cache, 10)
    first.cancel()
    await asyncio.wait([first])
    source.answers.set()
    assert await asyncio.gather(*others) == [0] * 9
    assert source.fetches == 1


async def test_an_exception_reaches_every_waiting_reader_and_is_not_cached(
    cache: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    source.broken = True
    waiting = await readers(cache, 10)
    source.answers.set()
    assert {type(found) for found in await asyncio.gather(*waiting, return_exceptions=True)} == {Overloaded}
    assert source.fetches == 1
    source.broken = False
    assert await cache.get("day") == 0


async def test_an_exception_without_readers_is_not_logged(cache: TimedCache[object, int], source: Source) -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    source.answers.clear()
    source.broken = True
    (left,) = await readers(cache, 1)
    left.cancel()
    await asyncio.wait([left])
    source.broken = False
    source.answers.set()
    assert await cache.get("other day") == 0
    assert noise == []


async def test_the_cache_is_bounded_and_drops_the_oldest_entry_first(
    cache: TimedCache[object, int], source: Source
) -> None:
    for key in range(10):
        await cache.get(key)
    assert [key for key in range(10) if cache.peek(key) is not None] == [7, 8, 9]


async def test_a_value_expires_a_fixed_time_after_its_fetch_began(source: Source) -> None:
    now = 0.0
    cache = TimedCache(source.fetch, seconds=60, entries=3, monotonic=lambda: now)
    await cache.get("day")
    source.value = 1
    now = 59.9
    assert (cache.peek("day"), await cache.get("day")) == (0, 0)
    now = 60
    assert cache.peek("day") is None
    assert await cache.get("day") == 1
    now = 120
    source.answers.clear()
    (slow,) = await readers(cache, 1)
    now = 180
    source.answers.set()
    assert await slow == 1
    assert cache.peek("day") is None


async def test_a_value_in_steady_use_is_fetched_again_before_it_expires(source: Source) -> None:
    now = 0.0
    cache = TimedCache(source.fetch, seconds=60, renewed_after=40, entries=3, monotonic=lambda: now)
    await cache.get("day")
    source.value = 1
    now = 30
    assert cache.peek("day") == 0
    now = 50
    assert cache.peek("day") == 0  # recent enough, and fetched again meanwhile
    await until(lambda: cache.peek("day") == 1)
    assert source.fetches == 2
    now = 109
    assert cache.peek("day") == 1


async def test_values_that_are_known_to_be_unchanged_stay_cached(source: Source) -> None:
    now = 0.0
    cache = TimedCache(source.fetch, seconds=60, entries=3, monotonic=lambda: now)
    await cache.get("day")
    await cache.get("other day")
    now = 59
    cache.renew_all(unchanged_at=50)
    cache.forget_all(lambda key: key == "day")
    now = 109
    assert cache.peek("day") is None
    assert cache.peek("other day") == 0
    now = 110
    assert cache.peek("other day") is None


async def test_a_fetch_that_began_before_everything_was_forgotten_is_not_cached(
    cache: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    (reader,) = await readers(cache, 1)
    cache.forget_all()
    source.answers.set()
    await reader
    assert cache.peek("day") is None
