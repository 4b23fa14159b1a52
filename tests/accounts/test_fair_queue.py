"""Nobody who asks for much work keeps others from getting theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from seatweb.accounts.fair_queue import WAITING_PER_ACCOUNT, Asker, FairQueue
from seatweb.errors import Overloaded

from tests.support import until


class Works:
    """A queue whose threads do nothing until they are released, and what has run, in order."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads)
        self.queue = FairQueue(self._executor, threads=threads, waiting=waiting)
        self.go_on = threading.Event()
        self.begun: list[str] = []
        self.done: list[str] = []

    def ask(self, address: str, account: str, name: str | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self.queue.run(Asker(address, account), self._work(name or account)))

    def _work(self, name: str) -> Callable[[], None]:
        def work() -> None:
            self.begun.append(name)
            assert self.go_on.wait(20)
            self.done.append(name)

        return work

    async def busy(self) -> list[asyncio.Task[None]]:
        """Give every thread a job that goes on until the release."""
        threads = self._executor._max_workers
        tasks = [self.ask("203.0.113.1", f"busy {number}", "busy") for number in range(threads)]
        await until(lambda: len(self.begun) == threads)
        return tasks

    def close(self) -> None:
        self.go_on.set()
        self._executor.shutdown(cancel_futures=True)


@pytest.fixture
def works() -> Iterator[Works]:
    works = Works(threads=1, waiting=16)
    yield works
    works.close()


async def together(works: Works, tasks: list[asyncio.Task[None]]) -> list[str]:
    """Return what ran, in order, and what was refused, marked by an exclamation mark."""
    works.go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, Overloaded) for result in results)
    return [name for name in works.done if name != "busy"]


async def test_addresses_take_turns(works: Works) -> None:
    tasks = await works.busy()
    tasks += [works.ask("192.0.2.1", f"greedy {number}") for number in range(10)]
    await asyncio.sleep(0)
    tasks.append(works.ask("192.0.2.2", "ada"))
    await asyncio.sleep(0)
    assert (await together(works, tasks))[:3] == ["greedy 0", "ada", "greedy 1"]


async def test_all_addresses_of_one_ipv6_network_share_a_turn(works: Works) -> None:
    tasks = await works.busy()
    tasks += [works.ask(f"2001:db8::{number}", f"greedy {number}") for number in range(1, 6)]
    tasks.append(works.ask("2001:db8:0:1::1", "ada"))
    await asyncio.sleep(0)
    assert (await together(works, tasks))[:2] == ["greedy 1", "ada"]


async def test_accounts_at_one_address_take_turns(works: Works) -> None:
    tasks = await works.busy()
    tasks += [works.ask("192.0.2.1", "greedy") for _ in range(8)]
    tasks.append(works.ask("192.0.2.1", "ada"))
    await asyncio.sleep(0)
    assert (await together(works, tasks))[:3] == ["greedy", "ada", "greedy"]


async def test_of_one_account_one_job_runs_at_a_time_from_wherever_it_is_asked_for() -> None:
    works = Works(threads=3, waiting=16)
    try:
        tasks = [works.ask(f"192.0.2.{number}", "ada") for number in range(3)]
        tasks.append(works.ask("192.0.2.9", "grace"))
        await until(lambda: len(works.begun) == 2)
        assert sorted(works.begun) == ["ada", "grace"]
        assert sorted(await together(works, tasks)) == ["ada", "ada", "ada", "grace"]
    finally:
        works.close()


async def test_a_full_queue_makes_room_at_the_cost_of_the_address_that_asks_for_most(works: Works) -> None:
    tasks = await works.busy()
    greedy = [works.ask("192.0.2.1", f"greedy {number}") for number in range(16)]
    await asyncio.sleep(0)
    ada = works.ask("192.0.2.2", "ada")
    await until(greedy[15].done)
    assert isinstance(greedy[15].exception(), Overloaded)
    assert "ada" in await together(works, [*tasks, *greedy, ada])
    assert len(works.done) == 1 + 15 + 1


async def test_in_a_queue_that_its_own_address_filled_a_newcomer_is_refused(works: Works) -> None:
    tasks = await works.busy()
    tasks += [works.ask("192.0.2.1", f"person {number}") for number in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await works.ask("192.0.2.1", "one more")
    assert refused.value.retry_after
    assert len(await together(works, tasks)) == 16


async def test_an_account_waits_in_few_places_and_may_come_again_when_they_are_free(works: Works) -> None:
    tasks = await works.busy()
    tasks += [works.ask("192.0.2.1", "ada") for _ in range(WAITING_PER_ACCOUNT)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await works.ask("192.0.2.1", "ada")
    elsewhere = works.ask("192.0.2.2", "ada")
    assert len(await together(works, [*tasks, elsewhere])) == WAITING_PER_ACCOUNT + 1
    await works.ask("192.0.2.1", "ada")


async def test_the_queue_of_one_account_is_bounded_too_though_threads_are_idle() -> None:
    works = Works(threads=3, waiting=4)
    try:
        tasks = [works.ask(f"192.0.2.{number}", "ada") for number in range(6)]
        await until(lambda: any(task.done() for task in tasks))
        assert len(await together(works, tasks)) == 1 + 4
    finally:
        works.close()


async def test_a_request_that_was_cancelled_leaves_its_place(works: Works) -> None:
    tasks = await works.busy()
    waiting = [works.ask("192.0.2.1", f"person {number}") for number in range(16)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    tasks += [works.ask("192.0.2.1", f"later {number}") for number in range(16)]
    await asyncio.sleep(0)
    assert await together(works, tasks) == [f"later {number}" for number in range(16)]


async def test_what_work_raises_reaches_who_asked(works: Works) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await works.queue.run(Asker("192.0.2.1", "ada"), fail)
    works.go_on.set()
    await works.ask("192.0.2.1", "ada")  # and the thread is free again
