"""Concurrent questions share a batch; each caller gets its own answer, and nobody waits forever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from seatweb.storage.batching import Batcher


class Source:
    """Doubles numbers in batches; refuses negative ones. Tests can make it wait (`open`) or fail (`broken`)."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def __call__(self, questions: list[int]) -> Sequence[int | Exception]:
        self.asked.append(questions)
        await self.open.wait()
        if self.broken:
            raise ConnectionError
        return [2 * number if number >= 0 else ValueError(number) for number in questions]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def batcher(source: Source) -> Batcher[int, int]:
    return Batcher(source)


async def start(batcher: Batcher[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Start callers, and return once their questions are queued or sent."""
    tasks = [asyncio.create_task(batcher.get(number)) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_a_lone_question_is_asked_at_once(batcher: Batcher[int, int], source: Source) -> None:
    async with asyncio.timeout(30):
        assert [await batcher.get(1), await batcher.get(2)] == [2, 4]
    assert source.asked == [[1], [2]]


async def test_questions_that_arrive_during_a_batch_share_the_next_one(
    batcher: Batcher[int, int], source: Source
) -> None:
    source.open.clear()
    first = await start(batcher, 1)
    later = await start(batcher, 2, 2, 3)
    assert source.asked == [[1]]  # a later question must not get an answer that was already requested
    source.open.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 4, 6]
    assert source.asked == [[1], [2, 2, 3]]


async def test_a_refused_question_does_not_affect_the_others(batcher: Batcher[int, int]) -> None:
    found = await asyncio.gather(*await start(batcher, 1, -1, 2), return_exceptions=True)
    assert (found[0], found[2]) == (2, 4)
    assert isinstance(found[1], ValueError)


async def test_a_failure_reaches_the_whole_batch_and_the_next_batch_is_asked(
    batcher: Batcher[int, int], source: Source
) -> None:
    source.open.clear()
    source.broken = True
    asked = await start(batcher, 1, 2)
    source.open.set()
    assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [ConnectionError] * 2
    source.broken = False
    assert await batcher.get(3) == 6


async def test_questions_of_cancelled_callers_are_not_asked(batcher: Batcher[int, int], source: Source) -> None:
    source.open.clear()
    first, left, stayed = await start(batcher, 1), await start(batcher, 2), await start(batcher, 3)
    for task in (*first, *left):  # one already asked, and one still queued
        task.cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*stayed) == [6]
    assert source.asked == [[1], [3]]


async def test_closing_cancels_all_callers(batcher: Batcher[int, int], source: Source) -> None:
    source.open.clear()
    asked = await start(batcher, 1) + await start(batcher, 2)
    batcher.close()
    async with asyncio.timeout(30):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [asyncio.CancelledError] * 2
    batcher.close()  # closing twice is no error
