"""Questions that are wanted at the same moment go together: a round trip costs more than what it carries."""

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
    """Gives `ask` one question after the other when there is time, and all at once when there is not.

    `ask` returns what each question ends with, in their order: its answer, or the exception that is raised for it.
    """

    def __init__(self, ask: Callable[[list[Q]], Awaitable[Sequence[A | Exception]]]) -> None:
        self._ask = ask
        self._waiting: list[_Wanted[Q, A]] = []
        self._asking: asyncio.Task[None] | None = None

    async def get(self, question: Q) -> A:
        """Return the answer to the question, which is asked after this call: once those under way are answered.

        Raises:
            Exception: what `ask` gives for this question, or raises for all that it was given.
        """
        wanted: _Wanted[Q, A] = _Wanted(question, asyncio.get_running_loop().create_future())
        self._waiting.append(wanted)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await wanted.answer

    def close(self) -> None:
        """Let go of what is under way; who waits for it is cancelled."""
        if self._asking:
            self._asking.cancel()

    async def _ask_all(self) -> None:
        asked: list[_Wanted[Q, A]] = []
        try:
            while self._waiting:
                asked = [wanted for wanted in self._waiting if not wanted.answer.done()]  # some may be wanted no more
                self._waiting = []
                if asked:
                    _give(asked, await self._answers([wanted.question for wanted in asked]))
        finally:
            self._asking = None
            for wanted in asked + self._waiting:
                wanted.answer.cancel()  # which does nothing where there is an answer

    async def _answers(self, questions: list[Q]) -> Sequence[A | Exception]:
        try:
            return await self._ask(questions)
        except Exception as error:  # noqa: BLE001 - raised where the answers are waited for
            return [error] * len(questions)


def _give(asked: list[_Wanted[Q, A]], answers: Sequence[A | Exception]) -> None:
    for wanted, answer in zip(asked, answers, strict=True):
        if wanted.answer.done():
            continue
        if isinstance(answer, Exception):
            wanted.answer.set_exception(answer)
        else:
            wanted.answer.set_result(answer)
