"""Values that may be a moment old: many readers make one fetch, and no change is hidden from who comes after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from seatweb.errors import Overloaded
from seatweb.storage.caching import TimedCache

from tests.support import until


class Source:
    """What is read: like a database, it answers with what was true when it was asked, once it answers."""

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
def memory(source: Source) -> TimedCache[object, int]:
    return TimedCache(source.fetch, seconds=60, entries=3)


async def readers(memory: TimedCache[object, int], count: int, **options: Any) -> list[asyncio.Task[int]]:
    """Return so many readers, all of them waiting."""
    tasks = [asyncio.create_task(memory.get("day", **options)) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_five_hundred_readers_of_a_cold_key_make_one_fetch(
    memory: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    waiting = await readers(memory, 500)
    assert memory.peek("day") is None
    source.answers.set()
    assert await asyncio.gather(*waiting) == [0] * 500
    assert (memory.peek("day"), await memory.get("day"), source.fetches) == (0, 0, 1)


async def test_a_change_during_a_fetch_is_seen_by_everyone_who_comes_after_it(
    memory: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    (before,) = await readers(memory, 1)
    source.value = 1
    memory.forget("day")
    after = await readers(memory, 20)
    source.answers.set()
    assert await before == 0
    assert await asyncio.gather(*after) == [1] * 20
    assert (memory.peek("day"), source.fetches) == (1, 2)


async def test_what_was_asked_before_a_change_is_not_kept(memory: TimedCache[object, int], source: Source) -> None:
    source.answers.clear()
    (before,) = await readers(memory, 1)
    source.value = 1
    memory.forget("day")
    source.answers.set()
    assert await before == 0
    assert memory.peek("day") is None
    assert await memory.get("day") == 1


async def test_fresh_means_asked_after_the_call(memory: TimedCache[object, int], source: Source) -> None:
    assert await memory.get("day") == 0
    source.value = 1
    assert await memory.get("day") == 0
    assert await memory.get("day", fresh=True) == 1
    memory.forget("day")
    source.answers.clear()
    (running,) = await readers(memory, 1)
    source.value = 2
    fresh = await readers(memory, 500, fresh=True)
    source.answers.set()
    assert await running == 1
    assert await asyncio.gather(*fresh) == [2] * 500
    assert source.fetches == 4


async def test_a_rush_of_changes_starves_no_reader(memory: TimedCache[object, int], source: Source) -> None:
    async def rush() -> None:
        while True:
            source.value += 1
            memory.forget("day")
            await asyncio.sleep(0)

    rushing = asyncio.create_task(rush())
    async with asyncio.timeout(5):
        for task in [*await readers(memory, 50), *await readers(memory, 50, fresh=True)]:
            await task
    rushing.cancel()
    assert source.fetches < 20


async def test_a_reader_who_leaves_takes_nobody_along(memory: TimedCache[object, int], source: Source) -> None:
    source.answers.clear()
    first, *others = await readers(memory, 10)
    first.cancel()
    await asyncio.wait([first])
    source.answers.set()
    assert await asyncio.gather(*others) == [0] * 9
    assert source.fetches == 1


async def test_an_exception_reaches_everyone_who_waits_and_is_not_kept(
    memory: TimedCache[object, int], source: Source
) -> None:
    source.answers.clear()
    source.broken = True
    waiting = await readers(memory, 10)
    source.answers.set()
    assert {type(found) for found in await asyncio.gather(*waiting, return_exceptions=True)} == {Overloaded}
    assert source.fetches == 1
    source.broken = False
    assert await memory.get("day") == 0


async def test_an_exception_that_nobody_waits_for_any_more_is_no_noise(
    memory: TimedCache[object, int], source: Source
) -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    source.answers.clear()
    source.broken = True
    (left,) = await readers(memory, 1)
    left.cancel()
    await asyncio.wait([left])
    source.broken = False
    source.answers.set()
    assert await memory.get("other day") == 0
    assert noise == []


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(
    memory: TimedCache[object, int], source: Source
) -> None:
    for key in range(10):
        await memory.get(key)
    assert [key for key in range(10) if memory.peek(key) is not None] == [7, 8, 9]


async def test_a_value_is_known_for_its_time_which_begins_with_the_question(source: Source) -> None:
    memory = TimedCache(source.fetch, seconds=0.05, entries=3)
    await memory.get("day")
    assert memory.peek("day") == 0
    await until(lambda: memory.peek("day") is None, 1)
    source.value = 1
    assert await memory.get("day") == 1
    await until(lambda: memory.peek("day") is None, 1)
    source.answers.clear()
    (slow,) = await readers(memory, 1)
    asked = asyncio.get_running_loop().time()
    await until(lambda: asyncio.get_running_loop().time() - asked > 0.06)
    source.answers.set()
    assert await slow == 1
    assert memory.peek("day") is None
