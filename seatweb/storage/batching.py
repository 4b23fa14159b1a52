"""Batch concurrent requests into one round trip, since the round trip costs more than its content."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

Q = TypeVar("Q")
A = TypeVar("A")


class _Pending(Struct, Generic[Q, A], frozen=True):
    question: Q
    answer: asyncio.Future[A]


class Batcher(Generic[Q, A]):
    """Passes questions to `ask` in batches: the first at once, and those that arrive meanwhile in the next batch.

    `ask` returns one result for each question, in the same order: its answer, or the exception to raise for it.
    """

    def __init__(self, ask: Callable[[list[Q]], Awaitable[Sequence[A | Exception]]]) -> None:
        self._ask = ask
        self._waiting: list[_Pending[Q, A]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, question: Q) -> A:
        """Return the answer to the question; it is asked after this call, once the current batch is answered.

        Raises:
            Exception: what `ask` returned for this question, or raised for the whole batch.
        """
        pending: _Pending[Q, A] = _Pending(question, asyncio.get_running_loop().create_future())
        self._waiting.append(pending)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await pending.answer

    def close(self) -> None:
        """Cancel the current batch and all callers that are waiting."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        batch: list[_Pending[Q, A]] = []
        try:
            while self._waiting:
                batch = [pending for pending in self._waiting if not pending.answer.done()]  # skip cancelled callers
                self._waiting = []
                if batch:
                    _deliver(batch, await self._answers([pending.question for pending in batch]))
        finally:
            self._task = None
            for pending in batch + self._waiting:
                pending.answer.cancel()  # does nothing if it is already answered

    async def _answers(self, questions: list[Q]) -> Sequence[A | Exception]:
        try:
            return await self._ask(questions)
        except Exception as error:  # noqa: BLE001 - raised in the callers
            return [error] * len(questions)


def _deliver(batch: list[_Pending[Q, A]], answers: Sequence[A | Exception]) -> None:
    for pending, answer in zip(batch, answers, strict=True):
        if pending.answer.done():
            continue
        if isinstance(answer, Exception):
            pending.answer.set_exception(answer)
        else:
            pending.answer.set_result(answer)
