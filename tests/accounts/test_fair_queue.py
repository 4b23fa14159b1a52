"""However many jobs one client submits, other clients get theirs done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from seatweb.accounts.fair_queue import WAITING_PER_ACCOUNT, FairQueue, Requester
from seatweb.errors import Overloaded

from tests.support import until


class PausedQueue:
    """A queue whose threads wait until they are released; it records the jobs that ran, in order."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads)
        self.fair_queue = FairQueue(self._executor, threads=threads, waiting=waiting)
        self.released = threading.Event()
        self.started: list[str] = []
        self.finished: list[str] = []

    def submit(self, address: str, account: str, name: str | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self.fair_queue.run(Requester(address, account), self._job(name or account)))

    def _job(self, name: str) -> Callable[[], None]:
        def job() -> None:
            self.started.append(name)
            assert self.released.wait(20)
            self.finished.append(name)

        return job

    async def occupy(self) -> list[asyncio.Task[None]]:
        """Give every thread a job that lasts until the release."""
        threads = self._executor._max_workers
        tasks = [self.submit("203.0.113.1", f"busy {number}", "busy") for number in range(threads)]
        await until(lambda: len(self.started) == threads)
        return tasks

    def close(self) -> None:
        self.released.set()
        self._executor.shutdown(cancel_futures=True)


@pytest.fixture
def queue() -> Iterator[PausedQueue]:
    queue = PausedQueue(threads=1, waiting=16)
    yield queue
    queue.close()


async def run_all(queue: PausedQueue, tasks: list[asyncio.Task[None]]) -> list[str]:
    """Release the threads, and return the names of the jobs that ran, in order; the others were refused."""
    queue.released.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, Overloaded) for result in results)
    return [name for name in queue.finished if name != "busy"]


async def test_addresses_take_turns(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    tasks += [queue.submit("192.0.2.1", f"greedy {number}") for number in range(10)]
    await asyncio.sleep(0)
    tasks.append(queue.submit("192.0.2.2", "ada"))
    await asyncio.sleep(0)
    assert (await run_all(queue, tasks))[:3] == ["greedy 0", "ada", "greedy 1"]


async def test_all_addresses_of_one_ipv6_network_share_a_turn(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    tasks += [queue.submit(f"2001:db8::{number}", f"greedy {number}") for number in range(1, 6)]
    tasks.append(queue.submit("2001:db8:0:1::1", "ada"))
    await asyncio.sleep(0)
    assert (await run_all(queue, tasks))[:2] == ["greedy 1", "ada"]


async def test_accounts_at_one_address_take_turns(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    tasks += [queue.submit("192.0.2.1", "greedy") for _ in range(8)]
    tasks.append(queue.submit("192.0.2.1", "ada"))
    await asyncio.sleep(0)
    assert (await run_all(queue, tasks))[:3] == ["greedy", "ada", "greedy"]


async def test_an_account_has_one_job_running_at_a_time_across_addresses() -> None:
    queue = PausedQueue(threads=3, waiting=16)
    try:
        tasks = [queue.submit(f"192.0.2.{number}", "ada") for number in range(3)]
        tasks.append(queue.submit("192.0.2.9", "grace"))
        await until(lambda: len(queue.started) == 2)
        assert sorted(queue.started) == ["ada", "grace"]
        assert sorted(await run_all(queue, tasks)) == ["ada", "ada", "ada", "grace"]
    finally:
        queue.close()


async def test_a_full_queue_drops_a_job_of_the_address_with_the_most_jobs(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    greedy = [queue.submit("192.0.2.1", f"greedy {number}") for number in range(16)]
    await asyncio.sleep(0)
    ada = queue.submit("192.0.2.2", "ada")
    await until(greedy[15].done)
    assert isinstance(greedy[15].exception(), Overloaded)
    assert "ada" in await run_all(queue, [*tasks, *greedy, ada])
    assert len(queue.finished) == 1 + 15 + 1


async def test_a_newcomer_is_refused_if_their_own_address_filled_the_queue(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    tasks += [queue.submit("192.0.2.1", f"person {number}") for number in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await queue.submit("192.0.2.1", "one more")
    assert refused.value.retry_after
    assert len(await run_all(queue, tasks)) == 16


async def test_an_account_has_a_limited_number_of_waiting_jobs_per_address(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    tasks += [queue.submit("192.0.2.1", "ada") for _ in range(WAITING_PER_ACCOUNT)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await queue.submit("192.0.2.1", "ada")
    elsewhere = queue.submit("192.0.2.2", "ada")
    assert len(await run_all(queue, [*tasks, elsewhere])) == WAITING_PER_ACCOUNT + 1
    await queue.submit("192.0.2.1", "ada")


async def test_the_queue_of_one_account_is_bounded_even_while_threads_are_idle() -> None:
    queue = PausedQueue(threads=3, waiting=4)
    try:
        tasks = [queue.submit(f"192.0.2.{number}", "ada") for number in range(6)]
        await until(lambda: any(task.done() for task in tasks))
        assert len(await run_all(queue, tasks)) == 1 + 4
    finally:
        queue.close()


async def test_cancelled_requests_leave_the_queue(queue: PausedQueue) -> None:
    tasks = await queue.occupy()
    waiting = [queue.submit("192.0.2.1", f"person {number}") for number in range(16)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    tasks += [queue.submit("192.0.2.1", f"later {number}") for number in range(16)]
    await asyncio.sleep(0)
    assert await run_all(queue, tasks) == [f"later {number}" for number in range(16)]


async def test_an_exception_in_a_job_reaches_its_caller(queue: PausedQueue) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await queue.fair_queue.run(Requester("192.0.2.1", "ada"), fail)
    queue.released.set()
    await queue.submit("192.0.2.1", "ada")  # and the thread is free again
