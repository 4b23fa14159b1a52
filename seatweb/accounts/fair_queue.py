"""A bounded queue for CPU-bound work, shared fairly between clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

from msgspec import Struct

from seatweb.errors import Overloaded
from seatweb.http.client_address import network_of

T = TypeVar("T")

WAITING_PER_ACCOUNT: Final = 10
"""Jobs that may wait for one account at one address: as many as failed sign-ins are allowed per hour by default."""


class Requester(Struct, frozen=True):
    """For whom a job runs: the client's address, and the account it is about."""

    address: str
    account: str


class _Job(Struct, eq=False):
    requester: Requester
    work: Callable[[], Any]
    result: asyncio.Future[Any]


class FairQueue:
    """Runs jobs in `threads` threads of an executor; at most `waiting` jobs wait.

    Addresses take turns, and so do the accounts at an address; an account has one job running at a time. When the queue
    is full, the address with the most waiting jobs loses one. So however many jobs one client submits, another client's
    first job waits for at most one job of each address.
    """

    def __init__(self, executor: Executor, *, threads: int, waiting: int) -> None:
        self._executor = executor
        self._idle = threads
        self._capacity = waiting
        self._queues: dict[str, dict[str, list[_Job]]] = {}  # by address and account, next turn first
        self._running: set[str] = set()  # accounts

    async def run(self, requester: Requester, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return its result.

        Raises:
            Overloaded: the queue is full, or holds too many jobs of this account.
        """
        job = _Job(
            Requester(network_of(requester.address), requester.account),
            work,
            asyncio.get_running_loop().create_future(),
        )
        self._queues.setdefault(job.requester.address, {}).setdefault(job.requester.account, []).append(job)
        self._start()
        self._make_room(job)
        try:
            result: T = await job.result
            return result
        finally:
            self._remove(job)  # in case the request was cancelled

    def _make_room(self, job: _Job) -> None:
        """Refuse this job or another if too many are waiting."""
        accounts = self._queues.get(job.requester.address, {})
        queue = accounts.get(job.requester.account, [])
        if len(queue) > WAITING_PER_ACCOUNT:
            self._refuse(job)
        elif sum(map(_length, self._queues.values())) > self._capacity:
            # Among equally long queues, prefer the one with the new job, then the one whose turn is last.
            longest = max(reversed(self._queues.values()), key=lambda queues: (_length(queues), queues is accounts))
            self._refuse(max(reversed(longest.values()), key=lambda jobs: (len(jobs), jobs is queue))[-1])

    def _refuse(self, job: _Job) -> None:
        self._remove(job)
        if not job.result.done():
            job.result.set_exception(Overloaded(reason="sign_in_flow"))

    def _remove(self, job: _Job) -> None:
        accounts = self._queues.get(job.requester.address, {})
        queue = accounts.get(job.requester.account, [])
        if job not in queue:
            return
        queue.remove(job)
        if not queue:
            del accounts[job.requester.account]
        if not accounts:
            del self._queues[job.requester.address]

    def _start(self) -> None:
        """Start as many jobs as there are idle threads."""
        while self._idle and (job := self._next()):
            self._idle -= 1
            self._running.add(job.requester.account)
            running = asyncio.get_running_loop().run_in_executor(self._executor, job.work)
            running.add_done_callback(partial(self._finish, job))

    def _next(self) -> _Job | None:
        """Take the next job from its queue; its address and its account move to the back of the line."""
        for address, accounts in self._queues.items():
            for account, queue in accounts.items():
                if account in self._running:
                    continue
                job = queue[0]
                self._remove(job)
                if address in self._queues:
                    self._queues[address] = self._queues.pop(address)
                if account in accounts:
                    accounts[account] = accounts.pop(account)
                return job
        return None

    def _finish(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._idle += 1
        self._running.discard(job.requester.account)
        if done.cancelled():
            job.result.cancel()
        elif not job.result.done():
            if error := done.exception():
                job.result.set_exception(error)
            else:
                job.result.set_result(done.result())
        self._start()


def _length(accounts: dict[str, list[_Job]]) -> int:
    return sum(map(len, accounts.values()))
