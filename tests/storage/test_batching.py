"""What is asked at the same moment goes together; each gets its own answer, and nobody waits for good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from seatweb.storage.batching import Batcher


class Source:
    """Doubles numbers, as many at once as it is given; refuses those below zero, and stops where it is told to."""

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
def together(source: Source) -> Batcher[int, int]:
    return Batcher(source)


async def start(together: Batcher[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Ask, and return when the questions were heard."""
    tasks = [asyncio.create_task(together.get(number)) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_one_by_itself_does_not_wait_for_others(together: Batcher[int, int], source: Source) -> None:
    async with asyncio.timeout(5):
        assert [await together.get(1), await together.get(2)] == [2, 4]
    assert source.asked == [[1], [2]]


async def test_what_comes_meanwhile_goes_together_and_is_asked_afterwards(
    together: Batcher[int, int], source: Source
) -> None:
    source.open.clear()
    first = await start(together, 1)
    later = await start(together, 2, 2, 3)
    assert source.asked == [[1]]  # an answer that is on its way is not that to a question that came later
    source.open.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 4, 6]
    assert source.asked == [[1], [2, 2, 3]]


async def test_one_that_is_refused_is_no_harm_to_the_others(together: Batcher[int, int]) -> None:
    found = await asyncio.gather(*await start(together, 1, -1, 2), return_exceptions=True)
    assert (found[0], found[2]) == (2, 4)
    assert isinstance(found[1], ValueError)


async def test_all_that_were_asked_hear_of_a_failure_and_the_next_are_asked_anew(
    together: Batcher[int, int], source: Source
) -> None:
    source.open.clear()
    source.broken = True
    asked = await start(together, 1, 2)
    source.open.set()
    assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [ConnectionError] * 2
    source.broken = False
    assert await together.get(3) == 6


async def test_what_nobody_waits_for_any_more_is_not_asked(together: Batcher[int, int], source: Source) -> None:
    source.open.clear()
    first, left, stayed = await start(together, 1), await start(together, 2), await start(together, 3)
    for task in (*first, *left):  # one that is on its way, and one that is not
        task.cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*stayed) == [6]
    assert source.asked == [[1], [3]]


async def test_nobody_waits_for_what_was_closed(together: Batcher[int, int], source: Source) -> None:
    source.open.clear()
    asked = await start(together, 1) + await start(together, 2)
    together.close()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [asyncio.CancelledError] * 2
    together.close()  # once more is no error
