"""Batch concurrent requests into one round trip, since the round trip costs more than its content."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

Q = TypeVar("Q")
A = TypeVar("A")


class _Wanted(Struct, Generic[Q, A], frozen=True):
    question: Q
    answer: asyncio.Future[A]


class Batcher(Generic[Q, A]):
    """Passes questions to `ask` in batches: the first at once, and those that arrive meanwhile in the next batch.

    `ask` returns one result for each question, in the same order: its answer, or the exception to raise for it.
    """

    def __init__(self, ask: Callable[[list[Q]], Awaitable[Sequence[A | Exception]]]) -> None:
        self._ask = ask
        self._waiting: list[_Wanted[Q, A]] = []
        self._asking: asyncio.Task[None] | None = None

    async def get(self, question: Q) -> A:
        """Return the answer to the question; it is asked after this call, once the current batch is answered.

        Raises:
            Exception: what `ask` returned for this question, or raised for the whole batch.
        """
        wanted: _Wanted[Q, A] = _Wanted(question, asyncio.get_running_loop().create_future())
        self._waiting.append(wanted)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await wanted.answer

    def close(self) -> None:
        """Cancel the current batch and all callers that are waiting."""
        if self._asking:
            self._asking.cancel()

    async def _ask_all(self) -> None:
        asked: list[_Wanted[Q, A]] = []
        try:
            while self._waiting:
                asked = [wanted for wanted in self._waiting if not wanted.answer.done()]  # skip cancelled callers
                self._waiting = []
                if asked:
                    _give(asked, await self._answers([wanted.question for wanted in asked]))
        finally:
            self._asking = None
            for wanted in asked + self._waiting:
                wanted.answer.cancel()  # does nothing if it is already answered

    async def _answers(self, questions: list[Q]) -> Sequence[A | Exception]:
        try:
            return await self._ask(questions)
        except Exception as error:  # noqa: BLE001 - raised in the callers
            return [error] * len(questions)


def _give(asked: list[_Wanted[Q, A]], answers: Sequence[A | Exception]) -> None:
    for wanted, answer in zip(asked, answers, strict=True):
        if wanted.answer.done():
            continue
        if isinstance(answer, Exception):
            wanted.answer.set_exception(answer)
        else:
            wanted.answer.set_result(answer)
